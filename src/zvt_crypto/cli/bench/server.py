"""The server store under the bench, beside the same server without ledger and blocks."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from zvt_crypto.cli.bench.engine import LiveTable, plain_rows
from zvt_crypto.cli.bench.live import TABLES, Rows
from zvt_crypto.cli.bench.measure import Target
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.schema import CANDLES, KEYS
from zvt_crypto.settings import mask_url

_CEILINGS: Final = {"read": 100.0, "last": 10.0, "latest": 10.0, "p99": 50.0}


class ServerEngine:
    """Stores in schemas of one database, removed when they are done with."""

    peer = "bare tables of the same server"

    def __init__(self, url: str, prefix: str) -> None:
        """Work in schemas that begin with `prefix`."""
        base, _, query = url.partition("?")
        self._base = base.replace("timescale://", "postgresql://", 1)
        asked = dict(parse_qsl(query))
        self._segments = asked.pop("segments", None)
        if self._segments is not None and "://" in self._segments:
            raise UsageError(
                "the bench does not clean up in buckets",
                remedy="Name a folder with segments=, which it empties afterwards",
            )
        self._query = f"&{urlencode(asked)}" if asked else ""
        self._prefix = prefix
        self.name = mask_url(self._base) + (", history in files" if self._segments else "")
        self._bare = f"{prefix}_bare"

    @property
    def targets(self) -> dict[str, Target]:
        """See `Engine`."""
        ceilings = {name: Target(value, is_ceiling=True) for name, value in _CEILINGS.items()}
        return {**ceilings, "bulk": Target(150_000), "live": Target(50_000)}

    def place(self, name: str) -> str:
        """See `Engine`."""
        mark = f"{self._prefix}_{name}"
        files = f"&segments={quote(str(self._folder(mark)))}" if self._segments else ""
        return f"{self._base}?schema={mark}{self._query}{files}"

    def discard(self, name: str) -> None:
        """See `Engine`."""
        mark = f"{self._prefix}_{name}"
        self._drop(mark)
        if self._segments is not None:
            shutil.rmtree(self._folder(mark), ignore_errors=True)

    def fill(self, table: pa.Table) -> None:
        """See `Engine`."""
        names = ", ".join(f'"{name}" double precision' for name in CANDLES.names[1:])
        with self._connected() as connection:
            connection.execute(
                f'CREATE TABLE candles (series integer, "timestamp" bigint, {names}, '
                'PRIMARY KEY (series, "timestamp"))'.encode()
            )
            with connection.cursor().copy("COPY candles FROM STDIN") as copy:
                for row in plain_rows(table):
                    copy.write_row((1, *row))
        with self._connected(autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE candles")

    def read(self, last: int | None) -> pl.DataFrame:
        """See `Engine`."""
        tail = "" if last is None else f" DESC LIMIT {last}"
        with self._connected() as connection, connection.cursor(binary=True) as cursor:
            query = f'SELECT * FROM candles WHERE series = 1 ORDER BY "timestamp"{tail}'  # noqa: S608
            rows = cursor.execute(query.encode()).fetchall()
        return pl.DataFrame(rows, schema=["series", *CANDLES.names], orient="row")

    def live(self) -> LiveTable:
        """See `Engine`."""
        return _LiveRows(self._connected())

    def close(self) -> None:
        """Remove the bare tables."""
        self._drop(self._bare)

    def _folder(self, mark: str) -> Path:
        return Path(self._segments or "", mark)

    def _connected(self, *, autocommit: bool = False) -> psycopg.Connection[tuple[object, ...]]:
        connection = psycopg.connect(self._base, autocommit=autocommit)
        name = sql.Identifier(self._bare)
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        connection.execute(sql.SQL("SET search_path = {}").format(name))
        return connection

    def _drop(self, schema: str) -> None:
        with psycopg.connect(self._base, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))
            )


class _LiveRows:
    """One plain table a kind, filled by psycopg's own `executemany`, durable at every commit."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection
        self._inserts: Mapping[str, bytes] = {}
        inserts: dict[str, bytes] = {}
        for kind, schema in TABLES.items():
            columns = ", ".join(f'"{field.name}" {_type_of(field.type)}' for field in schema)
            keys = ", ".join(f'"{name}"' for name in KEYS[kind])
            connection.execute(
                f'CREATE TABLE "live_{kind}" (series text, {columns}, '
                f"PRIMARY KEY (series, {keys}))".encode()
            )
            marks = ", ".join(["%s"] * (1 + len(schema)))
            inserts[kind] = (
                f'INSERT INTO "live_{kind}" VALUES ({marks}) ON CONFLICT DO NOTHING'  # noqa: S608
            ).encode()
        connection.commit()
        self._inserts = inserts

    def commit(self, rows: Rows) -> None:
        with self._connection.cursor() as cursor:
            for kind, mine in rows.items():
                cursor.executemany(self._inserts[kind], mine)
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()


def _type_of(kind: pa.DataType) -> str:
    if pa.types.is_string(kind):
        return "text"
    return "double precision" if pa.types.is_floating(kind) else "bigint"
