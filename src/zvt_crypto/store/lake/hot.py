"""Hot rows: the newest rows of a series, kept in the catalog until they fill a segment.

They lie in chunks, a few a series, which may overlap in time but never share a key. What has
only just arrived lies beside them, see `arrival`.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import match, times
from zvt_crypto.core.series import Kind
from zvt_crypto.store.lake import arrival
from zvt_crypto.store.lake.chunk import Chunk, pack, unpack

HOT_TABLE: Final = """CREATE TABLE hot (
    series_id INTEGER NOT NULL REFERENCES series (id),
    first_us INTEGER NOT NULL,
    known_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    fixed BLOB NOT NULL,
    lengths BLOB NOT NULL,
    texts BLOB NOT NULL,
    PRIMARY KEY (series_id, first_us, known_us)) WITHOUT ROWID"""

HOT_INDEX: Final = """CREATE INDEX hot_last ON hot (series_id, last_us)"""

_INSERT: Final = "INSERT INTO hot VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_WITHIN: Final = "series_id = ? AND first_us < ? AND last_us >= ?"


def insert(connection: sqlite3.Connection, chunks: Sequence[Chunk]) -> None:
    """Write chunks."""
    connection.executemany(_INSERT, chunks)


def select(
    connection: sqlite3.Connection, kind: Kind, series_id: int, start: int, end: int
) -> pa.Table:
    """Return the hot rows in `[start, end)` in key order, with `known_us`."""
    found = _chunks(connection, kind, series_id, start, end)
    table = unpack(kind, found)
    if all(start <= chunk[1] and chunk[3] < end for chunk in found):
        return table
    moments = times(table)
    return table.filter(pa.array((moments >= start) & (moments < end)))


def newest(connection: sqlite3.Connection, kind: Kind, ends: Mapping[int, int]) -> list[Chunk]:
    """Return the chunks of the given series that reach to the given last moments."""
    found = connection.execute(
        "SELECT h.* FROM json_each(?) e CROSS JOIN hot h "
        "ON h.series_id = CAST(e.key AS INTEGER) AND h.last_us = e.value",
        (json.dumps(ends),),
    ).fetchall()
    return found + arrival.newest(connection, kind, ends)


def mark(
    connection: sqlite3.Connection, kind: Kind, series_id: int, start: int, end: int
) -> tuple[int, int]:
    """Return what changes whenever the hot rows in `[start, end)` change."""
    rows, newest = connection.execute(
        f"SELECT SUM(rows), MAX(known_us) FROM hot WHERE {_WITHIN}",  # noqa: S608
        (series_id, end, start),
    ).fetchone()
    fresh = arrival.pieces(connection, kind, series_id, Range(start, end))
    return (rows or 0) + sum(p.rows for p in fresh), max(
        [newest or 0, *(p.known_us for p in fresh)]
    )


def chunks(connection: sqlite3.Connection, series_id: int) -> list[Chunk]:
    """Return the chunks of a series; not what has only just arrived."""
    return connection.execute(
        "SELECT * FROM hot WHERE series_id = ? ORDER BY first_us, known_us", (series_id,)
    ).fetchall()


def rows_in_chunks(connection: sqlite3.Connection, series_id: int) -> int:
    """Return how many of the hot rows of a series lie in chunks."""
    (rows,) = connection.execute(
        "SELECT SUM(rows) FROM hot WHERE series_id = ?", (series_id,)
    ).fetchone()
    return rows or 0


def remove(connection: sqlite3.Connection, chunks: Sequence[Chunk]) -> bool:
    """Remove exactly these chunks; return False if one of them is not what it was.

    A chunk can only lose rows: those that are added are known since a later moment.
    """
    removed = connection.executemany(
        "DELETE FROM hot WHERE series_id = ? AND first_us = ? AND known_us = ? AND rows = ?",
        [(*chunk[:3], chunk[4]) for chunk in chunks],
    )
    return removed.rowcount == len(chunks)


def settle(connection: sqlite3.Connection, kind: Kind) -> None:
    """Turn everything of a kind that has arrived into chunks of its series."""
    ids, chunks = arrival.gathered(connection, kind)
    insert(connection, chunks)
    arrival.forget(connection, ids)


def delete(connection: sqlite3.Connection, kind: Kind, series_id: int, start: int, end: int) -> int:
    """Remove the hot rows in `[start, end)`; return how many."""
    settle(connection, kind)
    removed = 0
    asked = Range(start, end)
    for chunk in _chunks(connection, kind, series_id, start, end):
        if asked.holds(chunk[1]) and asked.holds(chunk[3]):
            removed += chunk[4]
            continue
        moments = times(unpack(kind, [chunk]))
        removed += _drop(connection, kind, chunk, (moments >= start) & (moments < end))
    connection.execute(
        "DELETE FROM hot WHERE series_id = ? AND first_us >= ? AND first_us < ? AND last_us < ?",
        (series_id, start, end, end),
    )
    return removed


def replace(
    connection: sqlite3.Connection, kind: Kind, series_id: int, hull: Range, doomed: pa.Table
) -> None:
    """Make room for rows of the same keys as `doomed`, which lie in `hull` in key order."""
    settle(connection, kind)
    for chunk in _chunks(connection, kind, series_id, *hull):
        _drop(connection, kind, chunk, match(kind, doomed, unpack(kind, [chunk])) >= 0)


def _drop(
    connection: sqlite3.Connection, kind: Kind, chunk: Chunk, lost: npt.NDArray[np.bool_]
) -> int:
    """Write a chunk anew without the rows that are lost, and return how many these are."""
    count = int(lost.sum())
    if count:
        connection.execute(
            "DELETE FROM hot WHERE series_id = ? AND first_us = ? AND known_us = ?", chunk[:3]
        )
        if count < len(lost):
            table = unpack(kind, [chunk]).filter(pa.array(~lost)).combine_chunks()
            insert(connection, [pack(kind, table).chunk(chunk[0], 0, table.num_rows)])
    return count


def _chunks(
    connection: sqlite3.Connection, kind: Kind, series_id: int, start: int, end: int
) -> list[Chunk]:
    found = connection.execute(
        f"SELECT * FROM hot WHERE {_WITHIN} ORDER BY first_us, known_us",  # noqa: S608
        (series_id, end, start),
    ).fetchall()
    return found + arrival.chunks(connection, kind, series_id, Range(start, end))
