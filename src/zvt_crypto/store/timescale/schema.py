"""Bringing the schema up to date, and telling when it is not.

Alembic, and SQLAlchemy with it, take as long to import as a small command takes: that is left until
there is something to migrate.
"""

import io
import threading
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from zvt_crypto.core.errors import BadStore
from zvt_crypto.store.timescale.place import Place
from zvt_crypto.store.timescale.trouble import translated

if TYPE_CHECKING:
    from alembic.config import Config

if find_spec("alembic") is None:
    # Said now, where the extra is named, and not in the middle of something.
    raise ModuleNotFoundError("No module named 'alembic'")

HEAD: Final = "0008"
"""The revision this version of the package works with."""

# Alembic keeps what it is doing in its modules: threads would get into each other's way.
_ONE_AT_A_TIME: Final = threading.Lock()
_PACKAGE: Final = "zvt_crypto.store.timescale.migrations"
_NOT_SWITCHED_ON: Final = (
    "-- TimescaleDB is on this server, but not switched on in this database: this makes plain\n"
    "-- tables. For hypertables run CREATE EXTENSION timescaledb, then print this anew.\n"
)


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
    from alembic import command  # noqa: PLC0415 - see the module's docstring
    from alembic.util import CommandError  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

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
        raise _unknown(to) from e
    return before, after


def script(place: Place, to: str = "head") -> str:
    """Return the SQL that `migrate` would run there now, for somebody else to run by hand.

    It is one transaction, and refuses a schema of another revision than it was written for.

    Raises:
        BadStore: no such revision, or no such database.
        StoreAway: the server does not answer.
    """
    from alembic import command  # noqa: PLC0415 - see the module's docstring

    buffer = io.StringIO()
    config = _config(place)
    config.output_buffer = buffer
    try:
        with psycopg.connect(place.conninfo, connect_timeout=5) as connection:
            before = revision(connection, place)
            config.attributes.update(_facts(connection, place, before))
    except psycopg.Error as e:
        raise translated(place, e.sqlstate, str(e)) from e
    known = revisions()
    goal = {"head": known[-1], "base": "base"}.get(to, to)
    if goal not in ("base", *known):
        raise _unknown(to)
    since = before or "base"
    if goal == since:
        return f"-- schema {since}: nothing to do\n"
    with _ONE_AT_A_TIME:
        if since != "base" and (goal == "base" or goal < since):
            command.downgrade(config, f"{since}:{goal}", sql=True)
        else:
            command.upgrade(config, f"{since}:{goal}", sql=True)
    return f"{config.attributes['note']}{buffer.getvalue()}"


def revisions() -> list[str]:
    """Return all revisions, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see the module's docstring

    scripts = ScriptDirectory.from_config(_config(Place(conninfo="", shown="")))
    return [str(one.revision) for one in scripts.walk_revisions()][::-1]


def _unknown(to: str) -> BadStore:
    return BadStore(
        f"the schema has no revision {to!r}", remedy=f"Known: base, {', '.join(revisions())}, head"
    )


def _facts(
    connection: psycopg.Connection[tuple[object, ...]], place: Place, before: str | None
) -> dict[str, object]:
    """Return what revisions ask of a server; see `migrations.server`."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb'), "
        "EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb'), "
        "COALESCE(current_setting('timescaledb.license', true), '') = 'timescale', "
        "to_regclass(%s) IS NOT NULL",
        (f"{place.schema}.alembic_version",),
    ).fetchone()
    installed, available, is_community, was_made = row or (False, False, False, False)
    settings: dict[str, str] = {}
    first: list[str] = []
    if before is not None:
        first = [_guard(place, before)]
        query = sql.SQL("SELECT name, value FROM {}.setting").format(sql.Identifier(place.schema))
        settings = {str(name): str(value) for name, value in connection.execute(query)}
    elif was_made:  # a store that was taken back to its beginning leaves an empty table
        first = [f"DROP TABLE {place.schema}.alembic_version"]
    lacks = place.timescaledb and available and not installed and before is None
    return {
        "has_timescale": installed,
        "is_community": is_community,
        "settings": settings,
        "before": first,
        "note": _NOT_SWITCHED_ON if lacks else "",
    }


def _guard(place: Place, before: str) -> str:
    return (
        f"DO $guard$ BEGIN IF (SELECT version_num FROM {place.schema}.alembic_version) "
        f"IS DISTINCT FROM '{before}' THEN RAISE EXCEPTION "
        f"'this script is for schema {before} alone: print it anew'; END IF; END $guard$"
    )


def _config(place: Place) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see the module's docstring

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
