"""Verdicts on candles in PostgreSQL, as the lines of `core.agreement`."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from zvt_crypto.core.agreement import Line, arriving, bars, lines_of, overlay, travelling
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.parcel import Judged
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Reconciled
from zvt_crypto.store.timescale.database import Connection

_FIELDS: Final = "first_us, last_us, verdict, source, differs, built, venue, written_us"
# Lines never overlap: one that reaches into a range starts in it, or is the last before it.
_NEAR: Final = (
    f"SELECT {_FIELDS} FROM agreement WHERE series_id = %(id)s AND first_us <= %(end)s "
    "AND first_us >= COALESCE((SELECT max(first_us) FROM agreement "
    "WHERE series_id = %(id)s AND first_us < %(start)s), %(start)s) ORDER BY first_us"
)
_PUT: Final = (
    f"INSERT INTO agreement (series_id, {_FIELDS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (series_id, first_us) DO UPDATE SET last_us = excluded.last_us, "
    "verdict = excluded.verdict, source = excluded.source, differs = excluded.differs, "
    "built = excluded.built, venue = excluded.venue, written_us = excluded.written_us"
)


def put(
    connection: Connection,
    series_id: int,
    interval: Interval,
    reconciled: Iterable[Reconciled],
    now_us: int,
) -> None:
    """Write verdicts, each instead of what was said of its bar before; the last given wins."""
    for line in lines_of(reconciled, interval, now_us):
        _write(connection, series_id, interval, line)


def rows(
    connection: Connection, series_id: int, interval: Interval, asked: Range | None
) -> Iterator[tuple[object, ...]]:
    """Yield time, verdict, fields that differ, both sides, source and when, of each bar."""
    if asked is None:
        asked = Range(-(1 << 62), 1 << 62)
    yield from bars(_near(connection, series_id, asked.start, asked.end - 1), interval, asked)


def judged(
    connection: Connection, series_id: int, interval: Interval, asked: Range
) -> Iterator[Judged]:
    """Yield the lines of bars that open in `asked`, cut to it, as they travel between stores."""
    lines = _near(connection, series_id, asked.start, asked.end - 1)
    yield from travelling(lines, interval, asked)


def enter(
    connection: Connection, series_id: int, interval: Interval, entered: Iterable[Judged]
) -> int:
    """Write verdicts of another store where none as late is there; return on how many bars."""
    count = 0
    for one in entered:
        near = _near(connection, series_id, one.first_us, one.last_us)
        for piece in arriving(one, near, interval):
            _write(connection, series_id, interval, piece)
            count += interval.count_opens(piece.first, piece.last + 1)
    return count


def _write(connection: Connection, series_id: int, interval: Interval, line: Line) -> None:
    """Write a line over whatever is there, and join it with its neighbours."""
    before, after = interval.shift(line.first, -1), interval.shift(line.last, 1)
    found = _near(connection, series_id, line.first, after)
    gone, come = overlay([one for one in found if one.last >= before], line, interval)
    if gone:
        connection.execute(
            "DELETE FROM agreement WHERE series_id = %s AND first_us = ANY(%s)",
            (series_id, [one.first for one in gone]),
        )
    for one in come:
        connection.execute(_PUT, (series_id, *msgspec.structs.astuple(one)))


def _near(connection: Connection, series_id: int, start: int, end: int) -> list[Line]:
    bounds = {"id": series_id, "start": start, "end": end}
    return [Line(*fields) for fields in connection.execute(_NEAR, bounds)]
