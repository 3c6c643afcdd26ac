"""Bringing the schema up to date, and telling when it is not."""

import threading
from importlib import resources
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from zvt_crypto.core.errors import BadStore
from zvt_crypto.store.timescale.place import Place
from zvt_crypto.store.timescale.trouble import translated

HEAD: Final = "0007"
"""The revision this version of the package works with."""

# Alembic keeps what it is doing in its modules: threads would get into each other's way.
_ONE_AT_A_TIME: Final = threading.Lock()
_PACKAGE: Final = "zvt_crypto.store.timescale.migrations"


def revision(connection: psycopg.Connection[tuple[object, ...]], place: Place) -> str | None:
    """Return the revision of the schema at `place`; None if there is none yet."""
    found = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL", (f"{place.schema}.alembic_version",)
    ).fetchone()
    if found is None or not found[0]:
        return None
    query = sql.SQL("SELECT version_num FROM {}.alembic_version").format(
        sql.Identifier(place.schema)
    )
    row = connection.execute(query).fetchone()
    return None if row is None else str(row[0])


def current(place: Place) -> str | None:
    """Return the revision of the schema at `place`, over a connection of its own.

    Raises:
        BadStore: no such database, or no right to look.
        StoreAway: the server does not answer.
    """
    try:
        with psycopg.connect(place.conninfo, connect_timeout=5) as connection:
            return revision(connection, place)
    except psycopg.Error as e:
        raise translated(place, e.sqlstate, str(e)) from e


def ensure(place: Place, *, create: bool) -> None:
    """Make the schema in an empty database; refuse one of another version.

    Raises:
        BadStore: there is no store and none is to be made, or it is of another version.
        StoreAway: the server does not answer.
    """
    found = current(place)
    if found is None:
        if not create:
            raise BadStore(
                f"there is no store at {place.shown}",
                remedy="Check the URL, or load something into it first",
            )
        migrate(place)
    elif found < HEAD:
        raise BadStore(
            f"the store at {place.shown} has schema {found}, older than {HEAD}",
            remedy="Run `zvtc migrate` once, with a backup at hand and no other version running",
        )
    elif found > HEAD:
        raise BadStore(
            f"the store at {place.shown} has schema {found}, newer than {HEAD}",
            remedy="Upgrade zvt-crypto: pip install --upgrade zvt-crypto",
        )


def migrate(place: Place, to: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to a revision, up or down, in one transaction; return it before and after.

    `to` is a revision, `head` or `base`. Going down removes what the revisions in between brought,
    data included.

    Raises:
        BadStore: no such revision, or the user lacks a right.
        StoreAway: the server does not answer.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(place.conninfo, connect_timeout=5),
        poolclass=NullPool,
    )
    config = _config(place)
    try:
        if place.timescaledb:
            _enable_timescale(place)
        with psycopg.connect(place.conninfo, connect_timeout=5) as connection:
            before = revision(connection, place)
        with _ONE_AT_A_TIME, engine.begin() as connection:
            config.attributes["connection"] = connection
            if to != "head" and before is not None and (to == "base" or to < before):
                command.downgrade(config, to)
            else:
                command.upgrade(config, to)
        with psycopg.connect(place.conninfo, connect_timeout=5) as connection:
            after = revision(connection, place)
    except psycopg.Error as e:
        raise translated(place, e.sqlstate, str(e)) from e
    except DBAPIError as e:
        code = getattr(e.orig, "sqlstate", None)
        raise translated(place, code, str(e.orig)) from e
    except CommandError as e:
        known = ", ".join(sorted(_revisions(place)))
        raise BadStore(
            f"the schema has no revision {to!r}", remedy=f"Known: base, {known}, head"
        ) from e
    return before, after


def _revisions(place: Place) -> list[str]:
    scripts = ScriptDirectory.from_config(_config(place))
    return [str(one.revision) for one in scripts.walk_revisions()]


def _config(place: Place) -> Config:
    config = Config()
    with resources.as_file(resources.files(_PACKAGE)) as folder:
        config.set_main_option("script_location", str(Path(folder)).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["schema"] = place.schema
    config.attributes["timescaledb"] = place.timescaledb
    return config


def _enable_timescale(place: Place) -> None:
    """Switch the extension on where the server has it and this user may; else do without."""
    with psycopg.connect(place.conninfo, connect_timeout=5, autocommit=True) as connection:
        row = connection.execute(
            "SELECT installed_version IS NULL FROM pg_available_extensions "
            "WHERE name = 'timescaledb'"
        ).fetchone()
        if row is None or not row[0]:
            return
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except psycopg.Error:
            # Not preloaded, or not allowed: `zvtc status` names what is missing.
            return
