"""Verdicts on bars as lines: neighbours that match share one, all others have one each.

Nearly every bar of a live stream matches: a minute's verdicts on hundreds of series move the ends
of as many lines, and a year of them is no longer than a day. Pure; stores keep the lines.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.parcel import Judged
from zvt_crypto.core.ranges import Range, subtract
from zvt_crypto.core.reconcile import Agreement, Reconciled, json_of


class Line(msgspec.Struct, frozen=True):
    """Bars from `first` to `last`, of one verdict; more than one bar only if they match."""

    first: int
    last: int
    verdict: str
    source: str
    differs: str | None = None
    built: str | None = None
    venue: str | None = None
    written_us: int = 0

    def joins(self, other: "Line") -> bool:
        """Return whether one line can hold the bars of both, if they are neighbours."""
        return self.verdict == other.verdict == Agreement.MATCH and self.source == other.source


def lines_of(reconciled: Iterable[Reconciled], interval: Interval, now_us: int) -> list[Line]:
    """Return verdicts as ascending lines; the last given of a bar wins."""
    latest = {one.timestamp: one for one in reconciled}
    return joined((_line_of(latest[at], now_us) for at in sorted(latest)), interval)


def overlay(near: Sequence[Line], line: Line, interval: Interval) -> tuple[list[Line], list[Line]]:
    """Return the lines that go and those that come when `line` is written over what is there.

    `near` are all lines that overlap it or touch it.
    """
    before, after = interval.shift(line.first, -1), interval.shift(line.last, 1)
    pieces: list[Line] = []
    for one in near:
        if one.first < line.first:
            pieces.append(msgspec.structs.replace(one, last=min(one.last, before)))
        if one.last > line.last:
            pieces.append(msgspec.structs.replace(one, first=max(one.first, after)))
    wanted = joined(sorted([*pieces, line], key=lambda one: one.first), interval)
    kept = {one.first for one in wanted}
    gone = [one for one in near if one.first not in kept]
    return gone, [one for one in wanted if one not in near]


def bars(lines: Iterable[Line], interval: Interval, asked: Range) -> Iterator[tuple[object, ...]]:
    """Yield time, verdict, fields that differ, both sides, source and when, of each bar."""
    for line in lines:
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


def travelling(lines: Iterable[Line], interval: Interval, asked: Range) -> Iterator[Judged]:
    """Yield the lines of bars that open in `asked`, cut to it, as they travel between stores."""
    for line in lines:
        first = line.first if line.first >= asked.start else interval.ceil(asked.start)
        last = line.last if line.last < asked.end else interval.floor(asked.end - 1)
        if first <= last:
            yield Judged(
                first,
                last,
                line.verdict,
                line.source,
                line.differs,
                line.built,
                line.venue,
                line.written_us,
            )


def arriving(one: Judged, near: Iterable[Line], interval: Interval) -> Iterator[Line]:
    """Yield what to write of another store's verdict: all of it where nothing as late is there.

    `near` are all lines that overlap it.
    """
    line = Line(one.first_us, one.last_us, *msgspec.structs.astuple(one)[2:])
    later = [
        Range(there.first, interval.shift(there.last, 1))
        for there in near
        if there.last >= line.first and there.written_us >= line.written_us
    ]
    for part in subtract([Range(line.first, interval.shift(line.last, 1))], later):
        last = interval.shift(part.end, -1)
        yield msgspec.structs.replace(line, first=part.start, last=last)


def joined(lines: Iterable[Line], interval: Interval) -> list[Line]:
    """Return ascending lines with neighbours that match as one, known since the newest."""
    joined: list[Line] = []
    for line in lines:
        before = joined[-1] if joined else None
        if before and before.joins(line) and interval.shift(before.last, 1) == line.first:
            written = max(before.written_us, line.written_us)
            joined[-1] = msgspec.structs.replace(before, last=line.last, written_us=written)
        else:
            joined.append(line)
    return joined


def _line_of(one: Reconciled, now_us: int) -> Line:
    at, source = one.timestamp, one.source.value
    if one.verdict is Agreement.MATCH:
        return Line(at, at, one.verdict.value, source, written_us=now_us)
    return Line(
        at,
        at,
        one.verdict.value,
        source,
        ",".join(one.differs) or None,
        json_of(one.built),
        json_of(one.venue),
        now_us,
    )
