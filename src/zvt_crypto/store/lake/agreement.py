"""Verdicts on candles in the catalog, as the lines of `core.agreement`."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from zvt_crypto.core.agreement import Line, arriving, bars, lines_of, overlay, travelling
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.parcel import Judged
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Reconciled

AGREEMENT_TABLE: Final = """CREATE TABLE agreement (
    series_id INTEGER NOT NULL REFERENCES series (id),
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL CHECK (last_us >= first_us),
    verdict TEXT NOT NULL,
    source TEXT NOT NULL,
    differs TEXT,
    built TEXT,
    venue TEXT,
    written_us INTEGER NOT NULL,
    PRIMARY KEY (series_id, first_us)) WITHOUT ROWID"""

_FIELDS: Final = "first_us, last_us, verdict, source, differs, built, venue, written_us"
# Lines never overlap: one that reaches into a range starts in it, or is the last before it.
_NEAR: Final = (
    f"SELECT {_FIELDS} FROM agreement WHERE series_id = ? AND first_us <= ? AND first_us >= "  # noqa: S608
    "COALESCE((SELECT MAX(first_us) FROM agreement WHERE series_id = ? AND first_us < ?), ?) "
    "ORDER BY first_us"
)


def put(
    connection: sqlite3.Connection,
    series_id: int,
    interval: Interval,
    reconciled: Iterable[Reconciled],
    now_us: int,
) -> None:
    """Write verdicts, each instead of what was said of its bar before; the last given wins."""
    for line in lines_of(reconciled, interval, now_us):
        _overlay(connection, series_id, interval, line)


def rows(
    connection: sqlite3.Connection, series_id: int, interval: Interval, asked: Range | None
) -> Iterator[tuple[object, ...]]:
    """Yield time, verdict, fields that differ, both sides, source and when, of each bar."""
    if asked is None:
        asked = Range(-(1 << 62), 1 << 62)
    bounds = (series_id, asked.end - 1, series_id, asked.start, asked.start)
    lines = (Line(*fields) for fields in connection.execute(_NEAR, bounds))
    yield from bars(lines, interval, asked)


def judged(
    connection: sqlite3.Connection, series_id: int, interval: Interval, asked: Range
) -> Iterator[Judged]:
    """Yield the lines of bars that open in `asked`, cut to it, as they travel between stores."""
    bounds = (series_id, asked.end - 1, series_id, asked.start, asked.start)
    lines = (Line(*fields) for fields in connection.execute(_NEAR, bounds))
    yield from travelling(lines, interval, asked)


def enter(
    connection: sqlite3.Connection,
    series_id: int,
    interval: Interval,
    entered: Iterable[Judged],
) -> int:
    """Write verdicts of another store where none as late is there; return on how many bars."""
    count = 0
    for one in entered:
        bounds = (series_id, one.last_us, series_id, one.first_us, one.first_us)
        near = [Line(*fields) for fields in connection.execute(_NEAR, bounds)]
        for piece in arriving(one, near, interval):
            _overlay(connection, series_id, interval, piece)
            count += interval.count_opens(piece.first, piece.last + 1)
    return count


def _overlay(
    connection: sqlite3.Connection, series_id: int, interval: Interval, line: Line
) -> None:
    """Write a line over whatever is there, and join it with its neighbours."""
    before, after = interval.shift(line.first, -1), interval.shift(line.last, 1)
    bounds = (series_id, after, series_id, line.first, line.first)
    found = [Line(*fields) for fields in connection.execute(_NEAR, bounds)]
    gone, come = overlay([one for one in found if one.last >= before], line, interval)
    connection.executemany(
        "DELETE FROM agreement WHERE series_id = ? AND first_us = ?",
        [(series_id, one.first) for one in gone],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO agreement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(series_id, *msgspec.structs.astuple(one)) for one in come],
    )
