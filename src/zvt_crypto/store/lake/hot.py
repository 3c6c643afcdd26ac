"""Hot rows: the newest rows of a series, kept in the catalog until they fill a segment."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from zvt_crypto.core.schema import KEYS, SCHEMAS
from zvt_crypto.core.series import Kind

KNOWN: Final = pa.field("known_us", pa.int64())
"""When this store learned the values of a row: kept beside every row, never shown."""

_EARLIEST: Final = -(1 << 63)


def _declaration(field: pa.Field) -> str:
    if pa.types.is_floating(field.type):
        return f'"{field.name}" REAL'
    return f'"{field.name}" TEXT' if pa.types.is_string(field.type) else f'"{field.name}" INTEGER'


def _table(kind: Kind) -> str:
    columns = ", ".join(_declaration(field) for field in SCHEMAS[kind])
    keys = ", ".join(KEYS[kind])
    return (
        f"CREATE TABLE hot_{kind} (series_id INTEGER NOT NULL REFERENCES series (id), "
        f"known_us INTEGER NOT NULL, {columns}, PRIMARY KEY (series_id, {keys})) WITHOUT ROWID"
    )


HOT_TABLES: Final = tuple(_table(kind) for kind in SCHEMAS)

_COLUMNS: Final = {
    kind: ", ".join(f'"{name}"' for name in ["known_us", *schema.names])
    for kind, schema in SCHEMAS.items()
}
# Names come from our own schemas, values are always bound.
_INSERT: Final = {
    kind: f"INSERT OR REPLACE INTO hot_{kind} (series_id, {columns}) VALUES "  # noqa: S608
    f"({', '.join('?' * (len(SCHEMAS[kind]) + 2))})"
    for kind, columns in _COLUMNS.items()
}
_SELECT: Final = {
    kind: f"SELECT {columns} FROM hot_{kind} WHERE series_id = ? "  # noqa: S608
    "AND timestamp >= ? AND timestamp < ? ORDER BY "
    for kind, columns in _COLUMNS.items()
}


def insert(
    connection: sqlite3.Connection, kind: Kind, ids: Sequence[int], table: pa.Table, now_us: int
) -> None:
    """Write the rows, each of the series in `ids`; a row of the same key is replaced."""
    columns = [
        _values(column, field.type)
        for column, field in zip(table.columns, table.schema, strict=True)
    ]
    known = [now_us] * table.num_rows
    connection.executemany(_INSERT[kind], zip(ids, known, *columns, strict=True))


def select(
    connection: sqlite3.Connection,
    kind: Kind,
    series_id: int,
    start: int,
    end: int,
    *,
    last: int | None = None,
) -> pa.Table:
    """Return the hot rows in `[start, end)`, of the newest only `last`, with `known_us`."""
    direction = "ASC" if last is None else "DESC"
    order = ", ".join(f'"{name}" {direction}' for name in KEYS[kind])
    limit = "" if last is None else f" LIMIT {last:d}"
    rows = connection.execute(f"{_SELECT[kind]}{order}{limit}", (series_id, start, end)).fetchall()
    if last is not None:
        rows.reverse()
    schema = pa.schema([KNOWN, *SCHEMAS[kind]])
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(values, pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(values, field.type)
        for values, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema).select([*SCHEMAS[kind].names, KNOWN.name])


def mark(
    connection: sqlite3.Connection, kind: Kind, series_id: int, start: int, end: int
) -> tuple[int, int]:
    """Return what changes whenever the hot rows in `[start, end)` change."""
    count, newest = connection.execute(
        f"SELECT COUNT(*), MAX(known_us) FROM hot_{kind} "  # noqa: S608
        "WHERE series_id = ? AND timestamp >= ? AND timestamp < ?",
        (series_id, start, end),
    ).fetchone()
    return count, newest or 0


def next_time(
    connection: sqlite3.Connection, kind: Kind, series_id: int, since: int | None
) -> int | None:
    """Return the time of the first hot row, at or after `since`."""
    (moment,) = connection.execute(
        f"SELECT MIN(timestamp) FROM hot_{kind} "  # noqa: S608
        "WHERE series_id = ? AND timestamp >= ?",
        (series_id, _EARLIEST if since is None else since),
    ).fetchone()
    return moment


def delete(connection: sqlite3.Connection, kind: Kind, series_id: int, start: int, end: int) -> int:
    """Remove the hot rows in `[start, end)`; return how many."""
    return connection.execute(
        f"DELETE FROM hot_{kind} "  # noqa: S608
        "WHERE series_id = ? AND timestamp >= ? AND timestamp < ?",
        (series_id, start, end),
    ).rowcount


def _values(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    """Return Python values; much faster than `to_pylist`, which makes a scalar of each first."""
    if pa.types.is_string(kind):
        return column.to_pylist()
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    if not column.null_count:
        return column.to_numpy().tolist()
    values = column.fill_null(0).to_numpy().astype(object)
    values[np.asarray(column.is_null())] = None
    return values.tolist()
