"""What the server can do for a store, found out and told.

Three levels: PostgreSQL alone, with native range partitions; TimescaleDB under its Apache licence,
with hypertables; and under its community licence, with compression and continuous aggregates.
"""

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import psycopg

from zvt_crypto.ports.store import Fact
from zvt_crypto.store.timescale.database import Connection
from zvt_crypto.store.timescale.schema import HEAD


class Level(StrEnum):
    """How much of TimescaleDB a store uses."""

    PLAIN = "plain PostgreSQL"
    APACHE = "TimescaleDB Apache"
    COMMUNITY = "TimescaleDB community"


COARSER: Final = (
    "candles_5m",
    "candles_15m",
    "candles_30m",
    "candles_1h",
    "candles_4h",
    "candles_1d",
    "candles_1wk",
    "candles_1mon",
)
"""The views of coarser candles, each after those it is made of."""

_REFRESH_TRIES: Final = 40
_REFRESH_PAUSE_S: Final = 0.25
_ASKED: Final = """
SELECT current_setting('server_version'),
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
    (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'),
    current_setting('timescaledb.license', true),
    (SELECT value FROM setting WHERE name = 'layout'),
    EXISTS (SELECT FROM setting WHERE name = 'features'),
    (SELECT version_num FROM alembic_version),
    current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery()
"""


def detect(connection: Connection) -> Level:
    """Return the level of a store."""
    row = connection.execute(_ASKED).fetchall()[0]
    return _level(row[4], is_full=row[5])


def describe(connection: Connection) -> list[Fact]:
    """Return what is known of server and schema, and what is missing with its remedy."""
    (row,) = connection.execute(_ASKED).fetchall()
    server, installed, available, licence, layout, is_full, revision = row[:7]
    fsync, synchronous, in_recovery = row[7:]
    level = _level(layout, is_full=is_full)
    facts = [
        Fact("server", f"PostgreSQL {server}" + (", a standby: read only" if in_recovery else "")),
        Fact("schema", f"revision {revision}" + ("" if revision == HEAD else f", not {HEAD}")),
        Fact("level", level.value),
    ]
    if installed:
        facts.append(Fact("timescaledb", f"{installed}, licence {licence}"))
    facts.extend(_missing(level, installed, available, licence))
    if fsync == "off" or synchronous == "off":
        facts.append(
            Fact(
                "durability",
                f"fsync {fsync}, synchronous_commit {synchronous}: a crash loses commits",
                remedy="Set both to on in postgresql.conf",
            )
        )
    return facts


def refresh(connection: Connection, view: str) -> None:
    """Bring a view of coarser candles up to date, after the server's own refresh if need be."""
    for patience in range(_REFRESH_TRIES, -1, -1):
        try:
            connection.execute(f"CALL refresh_continuous_aggregate('{view}', NULL, NULL)".encode())
        except psycopg.errors.LockNotAvailable:  # the policy is at it at this very moment
            if not patience:
                raise
            time.sleep(_REFRESH_PAUSE_S)
        else:
            return


def _level(layout: str | None, *, is_full: bool) -> Level:
    if layout != "hypertable":
        return Level.PLAIN
    return Level.COMMUNITY if is_full else Level.APACHE


def _missing(
    level: Level, installed: str | None, available: str | None, licence: str | None
) -> Sequence[Fact]:
    anew = "a store keeps the tables it was made with: copy it into a new schema with `zvtc copy`"
    if level is Level.PLAIN:
        lacks = "no compression, no continuous aggregates; rows lie in native partitions"
        if installed:
            return [Fact("missing", lacks, remedy=f"TimescaleDB is there now, but {anew}")]
        how = (
            f"TimescaleDB {available} is on the server: add it to shared_preload_libraries, "
            f"CREATE EXTENSION timescaledb; {anew}"
            if available
            else f"Install TimescaleDB on the server; {anew}"
        )
        return [Fact("missing", lacks, remedy=how)]
    if level is Level.APACHE:
        lacks = "no compression, no continuous aggregates: they need the community licence"
        how = "Set timescaledb.license = 'timescale' in postgresql.conf, then run `zvtc migrate`"
        if licence == "timescale":
            how = "Run `zvtc migrate --to 0003` and `zvtc migrate`: the licence allows them now"
        return [Fact("missing", lacks, remedy=how)]
    if licence != "timescale":
        return [
            Fact(
                "missing",
                "the community licence was switched off: compressed rows cannot be read",
                remedy="Set timescaledb.license = 'timescale' in postgresql.conf and restart",
            )
        ]
    return []
