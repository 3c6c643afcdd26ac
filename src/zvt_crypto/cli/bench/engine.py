"""Which engine the store bench is about: where its stores go, its targets, and a bare peer."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa

from zvt_crypto.cli.bench.live import LivePeer, Rows
from zvt_crypto.cli.bench.measure import Target
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.schema import CANDLES
from zvt_crypto.settings import mask_url


class LiveTable(Protocol):
    """Takes live rows without a ledger."""

    def commit(self, rows: Rows) -> None:
        """Write one commit, durably."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Engine(Protocol):
    """One engine under the bench."""

    @property
    def name(self) -> str:
        """What is measured, without secrets."""
        ...

    @property
    def peer(self) -> str:
        """What it is measured beside."""
        ...

    @property
    def targets(self) -> dict[str, Target]:
        """What each figure should be."""
        ...

    def place(self, name: str) -> str:
        """Return where a new, empty store may be."""
        ...

    def discard(self, name: str) -> None:
        """Remove a store that is closed."""
        ...

    def fill(self, table: pa.Table) -> None:
        """Write candles as bare rows, for the peer to read."""
        ...

    def read(self, last: int | None) -> pl.DataFrame:
        """Read them back, or the newest of them, to a frame."""
        ...

    def live(self) -> LiveTable:
        """Return bare tables for live rows."""
        ...

    def close(self) -> None:
        """Remove what the peer has left."""
        ...


_CEILINGS: Final = {
    "read": 15.0,
    "last": 20.0,
    "latest": 20.0,
    "p50": 5.0,
    "p99": 20.0,
    "bytes": 30.0,
}


class LakeEngine:
    """The lake in a folder, beside SQLite."""

    name = "lake"
    peer = "SQLite"

    def __init__(self, folder: Path) -> None:
        """Work in `folder`."""
        self._folder = folder
        self._file = folder / "reads.sqlite"

    @property
    def targets(self) -> dict[str, Target]:
        """See `Engine`."""
        ceilings = {name: Target(value, is_ceiling=True) for name, value in _CEILINGS.items()}
        return {**ceilings, "reload": Target(1_500_000), "live": Target(150_000)}

    def place(self, name: str) -> str:
        """See `Engine`."""
        return str(self._folder / name)

    def discard(self, name: str) -> None:
        """See `Engine`; the folder goes as a whole."""

    def fill(self, table: pa.Table) -> None:
        """See `Engine`."""
        names = ", ".join(f'"{field.name}"' for field in CANDLES)
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(
                f"CREATE TABLE candles (series INT, {names}, "
                "PRIMARY KEY (series, timestamp)) WITHOUT ROWID"
            )
            marks = ", ".join("?" for _ in CANDLES)
            connection.executemany(
                f"INSERT INTO candles VALUES (1, {marks})",  # noqa: S608 - question marks
                plain_rows(table),
            )

    def read(self, last: int | None) -> pl.DataFrame:
        """See `Engine`."""
        tail = "" if last is None else f" DESC LIMIT {last}"
        with closing(sqlite3.connect(self._file)) as connection:
            rows = connection.execute(
                f"SELECT * FROM candles WHERE series = 1 ORDER BY timestamp{tail}"  # noqa: S608
            ).fetchall()
        return pl.DataFrame(rows, schema=["series", *CANDLES.names], orient="row")

    def live(self) -> LiveTable:
        """See `Engine`."""
        return LivePeer(self._folder / "live.sqlite")

    def close(self) -> None:
        """See `Engine`; the folder goes as a whole."""


class MemoryEngine(LakeEngine):
    """The reference engine: every store is a new one in memory."""

    name = "memory"

    def place(self, name: str) -> str:
        """See `Engine`."""
        del name
        return "memory://"


def engine_at(url: str | None, folder: Path) -> Engine:
    """Return the engine a URL names; the lake without one.

    Raises:
        UsageError: it names a place where the bench would meddle with somebody's data.
    """
    if url is None:
        return LakeEngine(folder)
    if url == "memory://":
        return MemoryEngine(folder)
    if url.startswith(("postgresql://", "postgres://", "timescale://")):
        # psycopg is an extra.
        from zvt_crypto.cli.bench.server import ServerEngine  # noqa: PLC0415

        return ServerEngine(url, f"bench_{os.getpid()}")
    raise UsageError(
        f"{mask_url(url)} is none the bench can use",
        remedy="Give postgresql://host/database or memory://, or nothing for a lake of its own",
    )


def plain_rows(table: pa.Table) -> Sequence[tuple[Any, ...]]:
    """Return rows as tuples; times as microseconds."""
    columns = [
        (c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c).to_pylist()
        for c in table.columns
    ]
    return list(zip(*columns, strict=True))
