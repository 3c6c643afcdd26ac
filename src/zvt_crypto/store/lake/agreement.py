"""Verdicts on candles in the catalog: neighbours that match share a line, all others have one each.

Nearly every bar of a live stream matches: a minute's verdicts on hundreds of series move the ends
of as many lines, a few pages in all, and a year of them is no longer than a day.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement, Reconciled, json_of

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


class _Line(msgspec.Struct, frozen=True):
    """Bars from `first` to `last`, of one verdict; more than one bar only if they match."""

    first: int
    last: int
    verdict: str
    source: str
    differs: str | None = None
    built: str | None = None
    venue: str | None = None
    written_us: int = 0

    def joins(self, other: "_Line") -> bool:
        return self.verdict == other.verdict == Agreement.MATCH and self.source == other.source


def put(
    connection: sqlite3.Connection,
    series_id: int,
    interval: Interval,
    reconciled: Iterable[Reconciled],
    now_us: int,
) -> None:
    """Write verdicts, each instead of what was said of its bar before; the last given wins."""
    latest = {one.timestamp: one for one in reconciled}
    lines = [_line_of(latest[at], now_us) for at in sorted(latest)]
    for line in _joined(lines, interval):
        _overlay(connection, series_id, interval, line)


def rows(
    connection: sqlite3.Connection, series_id: int, interval: Interval, asked: Range | None
) -> Iterator[tuple[object, ...]]:
    """Yield time, verdict, fields that differ, both sides, source and when, of each bar."""
    if asked is None:
        asked = Range(-(1 << 62), 1 << 62)
    bounds = (series_id, asked.end - 1, series_id, asked.start, asked.start)
    for fields in connection.execute(_NEAR, bounds):
        line = _Line(*fields)
        start, end = max(line.first, asked.start), min(line.last + 1, asked.end)
        for at in interval.grid(start, end).tolist():
            yield (
                at,
                line.verdict,
                line.differs,
                line.built,
                line.venue,
                line.source,
                line.written_us,
            )


def _line_of(one: Reconciled, now_us: int) -> _Line:
    at, source = one.timestamp, one.source.value
    if one.verdict is Agreement.MATCH:
        return _Line(at, at, one.verdict.value, source, written_us=now_us)
    return _Line(
        at,
        at,
        one.verdict.value,
        source,
        ",".join(one.differs) or None,
        json_of(one.built),
        json_of(one.venue),
        now_us,
    )


def _joined(lines: Iterable[_Line], interval: Interval) -> list[_Line]:
    """Return ascending lines with neighbours that match as one, known since the newest."""
    joined: list[_Line] = []
    for line in lines:
        before = joined[-1] if joined else None
        if before and before.joins(line) and interval.shift(before.last, 1) == line.first:
            written = max(before.written_us, line.written_us)
            joined[-1] = msgspec.structs.replace(before, last=line.last, written_us=written)
        else:
            joined.append(line)
    return joined


def _overlay(
    connection: sqlite3.Connection, series_id: int, interval: Interval, line: _Line
) -> None:
    """Write a line over whatever is there, and join it with its neighbours."""
    before, after = interval.shift(line.first, -1), interval.shift(line.last, 1)
    bounds = (series_id, after, series_id, line.first, line.first)
    found = [_Line(*fields) for fields in connection.execute(_NEAR, bounds)]
    near = [one for one in found if one.last >= before]
    pieces: list[_Line] = []
    for one in near:
        if one.first < line.first:
            pieces.append(msgspec.structs.replace(one, last=min(one.last, before)))
        if one.last > line.last:
            pieces.append(msgspec.structs.replace(one, first=max(one.first, after)))
    wanted = _joined(sorted([*pieces, line], key=lambda one: one.first), interval)
    kept = {one.first for one in wanted}
    gone = [(series_id, one.first) for one in near if one.first not in kept]
    connection.executemany("DELETE FROM agreement WHERE series_id = ? AND first_us = ?", gone)
    connection.executemany(
        "INSERT OR REPLACE INTO agreement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(series_id, *_fields(one)) for one in wanted if one not in near],
    )


def _fields(line: _Line) -> Sequence[object]:
    return msgspec.structs.astuple(line)
