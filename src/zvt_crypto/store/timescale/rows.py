"""Rows in and out of tables, and of the files beside them, inside a transaction."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import sql

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import sorted_together, times
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.store.segments.segment import newest_of
from zvt_crypto.store.timescale import history
from zvt_crypto.store.timescale.database import Connection
from zvt_crypto.store.timescale.encode import encode
from zvt_crypto.store.timescale.tables import Table

# What PostgreSQL can tell apart; beyond lies infinity.
_FIRST_US: Final = -210_866_803_200_000_000
_LAST_US: Final = 9_000_000_000_000_000
# Bytes handed to the server at once.
_PORTION: Final = 1 << 20


def array(values: Iterable[object]) -> str:
    """Return whole numbers, or words of ours, as PostgreSQL writes an array; None is NULL.

    Several times faster than the driver, which asks each value what it is; a live commit has
    thousands. Not for texts from outside: nothing is quoted.
    """
    return "{" + ",".join(["NULL" if one is None else str(one) for one in values]) + "}"


def moment(us: int) -> str:
    """Return SQL for a time, as a literal, so that the planner knows which partitions it needs."""
    if us < _FIRST_US:
        return "'-infinity'::timestamptz"
    if us > _LAST_US:
        return "'infinity'::timestamptz"
    return f"at_us({us})"


def within(asked: Range) -> str:
    """Return SQL that is true of times in `asked`."""
    return f'"timestamp" >= {moment(asked.start)} AND "timestamp" < {moment(asked.end)}'


def names(columns: Sequence[str]) -> str:
    """Return SQL that lists columns."""
    return ", ".join(f'"{name}"' for name in columns)


def select(connection: Connection, table: Table, series_id: int, asked: Range) -> pa.Table:
    """Return the rows of a series in `asked`, in key order, with `known_us`."""
    query = (
        f"SELECT {names(table.columns)} FROM {table.name} "
        f"WHERE series_id = {series_id} AND {within(asked)} ORDER BY {names(table.keys)}"
    )
    with connection.cursor(binary=True) as cursor:
        warm = _table(table.schema, cursor.execute(query.encode()).fetchall())
    cold = history.read(connection, table.kind, series_id, asked)
    return sorted_together(table.kind, [*cold, warm]) if cold else warm


def newest(
    connection: Connection, table: Table, series_id: int, asked: Range, count: int
) -> pa.Table:
    """Return the last rows of a series in `asked`, in key order, with `known_us`."""
    order = ", ".join(f'"{name}" DESC' for name in table.keys)
    query = (
        f"SELECT {names(table.columns)} FROM {table.name} "
        f"WHERE series_id = {series_id} AND {within(asked)} ORDER BY {order} LIMIT {int(count)}"
    )
    with connection.cursor(binary=True) as cursor:
        warm = _table(table.schema, cursor.execute(query.encode()).fetchall()[::-1])
    segments = history.live(connection, series_id, asked)
    if warm.num_rows == count:
        oldest = int(times(warm)[0])
        segments = [segment for segment in segments if segment.last_us >= oldest]
    cold = history.read_all(connection, table.kind, newest_of(segments, asked, count), asked)
    if not cold:
        return warm
    both = sorted_together(table.kind, [*cold, warm])
    return both.slice(max(both.num_rows - count, 0))


def last_query(table: Table, columns: Sequence[str], ends: Iterable[tuple[int, int]]) -> str:
    """Return SQL for the last row of each series, which is at the time given; `id` comes first."""
    # One look into the index each, whatever the planner thinks of tables it has not analysed.
    pairs = ", ".join(f"({key}, {moment(at)})" for key, at in ends)
    order = ", ".join(f'"{name}" DESC' for name in table.keys)
    return (
        f"SELECT v.id, r.* FROM (VALUES {pairs}) AS v (id, at) CROSS JOIN LATERAL "
        f"(SELECT {names(columns)} FROM {table.name} WHERE series_id = v.id "
        f'AND "timestamp" = v.at ORDER BY {order} LIMIT 1) r'
    )


def last_of(
    connection: Connection, table: Table, ends: Iterable[tuple[int, int]]
) -> tuple[pa.Table, list[int]]:
    """Return the last row of each series, with `known_us`, and whose each is."""
    query = last_query(table, table.columns, ends)
    with connection.cursor(binary=True) as cursor:
        found = cursor.execute(query.encode()).fetchall()
    return _table(table.schema, [row[1:] for row in found]), [row[0] for row in found]


def moments(connection: Connection, table: Table, series_id: int, asked: Range) -> list[int]:
    """Return the times of the rows of a series in `asked`, ascending."""
    query = (
        f'SELECT "timestamp" FROM {table.name} '
        f'WHERE series_id = {series_id} AND {within(asked)} ORDER BY "timestamp"'
    )
    with connection.cursor(binary=True) as cursor:
        warm = [at for (at,) in cursor.execute(query.encode()).fetchall()]
    cold = history.read(connection, table.kind, series_id, asked)
    if not cold:
        return warm
    return sorted([*warm, *(at for one in cold for at in times(one).tolist())])


def copy_in(
    connection: Connection,
    table: Table,
    rows: pa.Table,
    series_ids: npt.NDArray[np.int32],
    known_us: npt.NDArray[np.int64],
) -> None:
    """Add rows of a kind's schema, none of which may be there yet."""
    columns = [
        pa.array(series_ids, pa.int32()),
        *(rows.column(name) for name in SCHEMAS[table.kind].names),
        pa.array(known_us, pa.int64()),
    ]
    body = memoryview(encode(columns))
    statement = f"COPY {table.name} (series_id, {names(table.columns)}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for at in range(0, len(body), _PORTION):
            copy.write(body[at : at + _PORTION])


def remove(connection: Connection, table: Table, series_id: int, doomed: pa.Table) -> None:
    """Remove the rows of the keys of `doomed`."""
    if not doomed.num_rows:
        return
    history.remove(connection, table.kind, series_id, doomed)
    at = doomed.column("timestamp").cast(pa.int64()).to_pylist()
    # Between its ends: else every partition there is would be looked into.
    hull = Range(min(at), max(at) + 1)
    extra, arguments = "", [at]
    for name in table.keys[1:]:
        extra += f', "{name}"'
        arguments.append(doomed.column(name).to_pylist())
    kinds = ["bigint[]", *(_array_type(doomed.schema.field(name)) for name in table.keys[1:])]
    keys = ", ".join(f"%s::{kind}" for kind in kinds)
    columns = ", ".join(f"k{number}" for number in range(len(kinds)))
    match = 'at_us(k0) = r."timestamp"' + "".join(
        f' AND r."{name}" = k{number}' for number, name in enumerate(table.keys[1:], 1)
    )
    query = (
        f"DELETE FROM {table.name} r USING unnest({keys}) AS d ({columns}) "
        f"WHERE r.series_id = {series_id} AND {within(hull)} AND {match}"
    )
    connection.execute(sql.SQL(query), arguments)  # pyright: ignore[reportArgumentType]


def remove_range(connection: Connection, table: Table, series_id: int, asked: Range) -> None:
    """Remove all rows of a series in `asked`."""
    query = f"DELETE FROM {table.name} WHERE series_id = {series_id} AND {within(asked)}"
    connection.execute(query.encode())
    history.remove_range(connection, table.kind, series_id, asked)


def bytes_of(text: str) -> bytes:
    """Return text as kept in a column of bytes: hostile frames hold zeros and half characters."""
    return text.encode("utf-8", "surrogatepass")


def text_of(kept: bytes) -> str:
    """Return the text of such bytes."""
    return bytes(kept).decode("utf-8", "surrogatepass")


def _array_type(field: pa.Field) -> str:
    return "text[]" if pa.types.is_string(field.type) else "bigint[]"


def _table(schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(column, pa.int64()).cast(TIMESTAMP)
        if pa.types.is_timestamp(field.type)
        else pa.array(column, field.type)
        for field, column in zip(schema, columns, strict=True)
    ]
    return pa.table(arrays, schema=schema)
