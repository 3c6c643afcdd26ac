"""Bars of all intervals, built from trades as they come.

Minutes are built from trades, coarser bars from finished finer ones, by the calendar of
`core.interval`. A bar covers `[open, close)`; without a trade there is none. It is finished by the
first trade at or after its close, or by the clock (`advance`). What comes later is not lost: the
bar is given again, revised, and with it every finished bar above it. What the trades given do not
cover is said: `is_partial` where the builder had not begun, `is_incomplete` where a gap was marked.

Every trade has to be given once: a builder keeps sums, not ids.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.column import as_array, floats_of, times_of
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range, subtract, union
from zvt_crypto.core.record import Side, Trade
from zvt_crypto.core.tally import Tally, tally_candles, tally_trades, together

KEEP_US: Final = 30 * US_PER_MINUTE
"""How long finished bars stay open to late trades unless a builder is told otherwise."""

# Trades are added up in lots: what a builder holds of a busy minute is bounded.
_LOT: Final = 1_024
_MOST_GAPS: Final = 1_000
_MOST_OUTDATED: Final = 10_000
_LONG_AGO: Final = -(1 << 62)
# Which finer bars each interval is made of.
_FINER: Final = {
    Interval.M5: Interval.M1,
    Interval.M15: Interval.M5,
    Interval.M30: Interval.M15,
    Interval.H1: Interval.M30,
    Interval.H4: Interval.H1,
    Interval.D1: Interval.H4,
    Interval.W1: Interval.D1,
    Interval.MON1: Interval.D1,
}


class Values(msgspec.Struct, frozen=True, gc=False):
    """What a candle says, in the columns and units of CANDLES; None: not known."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trade_count: int | None = None
    taker_buy_volume: float | None = None


class Bar(msgspec.Struct, frozen=True, gc=False):
    """One finished bar; `timestamp` is its open.

    Attributes:
        is_partial: the builder began after its open, so its beginning was never seen.
        is_incomplete: trades of a marked gap are lacking.
        is_revised: it was finished before, and is given again with other values or flags.
    """

    interval: Interval
    timestamp: int
    values: Values
    is_partial: bool = False
    is_incomplete: bool = False
    is_revised: bool = False

    @property
    def is_whole(self) -> bool:
        """Return whether all its trades were given, as far as the builder was told."""
        return not (self.is_partial or self.is_incomplete)


class _Bucket(msgspec.Struct):
    """What a bar is made of, by the open of the finer bar."""

    end: int
    parts: dict[int, Tally]

    def tally(self) -> Tally:
        return together([self.parts[key] for key in sorted(self.parts)])


class _Level(msgspec.Struct):
    """All bars of one interval that run or may still change."""

    interval: Interval
    is_wanted: bool
    coarser: list["_Level"]
    buckets: dict[int, _Bucket]

    def put(self, at: int, tally: Tally) -> int:
        """Take the finer bar that opens at `at`; return the open of the bar it belongs to."""
        opened = self.interval.floor(at)
        bucket = self.buckets.get(opened)
        if bucket is None:
            bucket = self.buckets[opened] = _Bucket(self.interval.shift(opened, 1), {})
        bucket.parts[at] = tally
        return opened

    def drop(self, at: int) -> int | None:
        """Take back the finer bar that opens at `at`; return the bar it belonged to."""
        opened = self.interval.floor(at)
        bucket = self.buckets.get(opened)
        if bucket is None or bucket.parts.pop(at, None) is None:
            return None
        return opened


_Touched = dict[Interval, set[int]]


class BarBuilder:
    """Builds the bars of one instrument."""

    def __init__(
        self,
        intervals: Iterable[Interval] = tuple(Interval),
        *,
        began_us: int,
        keep_us: int = KEEP_US,
    ) -> None:
        """Expect every trade from `began_us` on.

        Args:
            intervals: which bars are given out.
            began_us: since when trades are complete; bars that opened before are partial until
                `seed` or `fill` gives what was before.
            keep_us: how long a finished bar can be revised. A trade later than that, is found in
                `outdated`.
        """
        self._levels = _chain(set(intervals))
        self._minutes = self._levels[0]
        self._began = began_us
        self._keep = keep_us
        self._open = Interval.M1.floor(began_us)
        self._end = self._open + US_PER_MINUTE
        self._pending: list[Trade] = []
        self._running: Tally | None = None
        self._unseen = [Range(_LONG_AGO, began_us)]
        self._gaps: list[Range] = []
        self._outdated: dict[int, None] = {}

    @property
    def outdated(self) -> list[int]:
        """Return opens of the minutes that got a trade too late to be revised here.

        Each, and every bar around it that is not finished yet, counts as incomplete. `rebuild`
        gives the minute anew; the ten thousand newest are kept.
        """
        return list(self._outdated)

    @property
    def built_to(self) -> int:
        """Return up to when bars are finished."""
        return self._open

    def add(self, trade: Trade) -> Sequence[Bar]:
        """Take one trade; return the bars it finishes or revises, most often none."""
        if self._open <= trade.ts_event < self._end:
            self._pending.append(trade)
            if len(self._pending) >= _LOT:
                self._fold()
            return ()
        return self.feed((trade,))

    def feed(self, trades: Iterable[Trade]) -> list[Bar]:
        """Take trades in the order they came; return the bars they finish or revise.

        Finer bars come before coarser ones. Of several trades that are late for one bar, one
        revision is made. Trades are the only clock here: one from the future finishes bars early
        and makes what follows late, so the caller refuses those far ahead of its own.
        """
        bars: list[Bar] = []
        late: list[Trade] = []
        start, end = self._open, self._end
        append = self._pending.append
        for trade in trades:
            moment = trade.ts_event
            if start <= moment < end:
                append(trade)
            elif moment < start:
                late.append(trade)
            else:
                bars += self._roll(moment)
                start, end = self._open, self._end
                append(trade)
        if len(self._pending) >= _LOT:
            self._fold()
        if late:
            bars += self._renew(self._add_late(late))
        return bars

    def advance(self, now_us: int) -> list[Bar]:
        """Finish and return every bar that closes at or before `now_us`.

        The caller subtracts the time that trades take to come.
        """
        return self._roll(now_us) if now_us >= self._end else []

    def mark_gap(self, start: int, end: int) -> list[Bar]:
        """Note that trades of `[start, end)` did not come; return finished bars it revises."""
        gap = Range(start, end)
        news = subtract([gap], self._gaps)
        self._gaps = _bounded(union([*self._gaps, gap]))
        return self._renew(self._around(news))

    def fill(self, trades: Iterable[Trade], start: int, end: int) -> list[Bar]:
        """Take the trades of `[start, end)` that were not given yet; the range is complete then.

        Repairs a marked gap, or gives what happened before the beginning. Minutes too old to be
        revised stay incomplete and are found in `outdated`.
        """
        filled = Range(max(start, self._horizon), end)
        healed = self._heal(filled)
        bars = self.feed(trades)
        given = {(bar.interval, bar.timestamp) for bar in bars}
        again = self._renew(self._around(healed))
        return bars + [bar for bar in again if (bar.interval, bar.timestamp) not in given]

    def seed(
        self, table: pa.Table, interval: Interval = Interval.M1, covered: Range | None = None
    ) -> list[Bar]:
        """Take finished candles from before: those of `interval` instead of trades.

        Args:
            table: rows in the schema CANDLES, each once; ones still running are passed over, and
                of hours, days or weeks those that end after the beginning.
            interval: their width.
            covered: where they are complete, also without a row. None: from the first to the last.

        Returns:
            Finished bars that are revised by it; none of before the beginning.
        """
        opens = times_of(table)
        ends = np.array([interval.shift(at, 1) for at in opens.tolist()], dtype=np.int64)
        if covered is None:
            covered = Range(int(opens.min()), int(ends.max())) if len(opens) else Range(0, 0)
        # Coarser rows must not stand for minutes that were, or should have been, built.
        latest = self._open if interval is Interval.M1 else self._began
        needed = (ends <= latest) & (opens >= self._oldest_open())
        rows = pa.array(np.flatnonzero(needed))
        touched: _Touched = {}
        level = next((one for one in self._levels if one.interval is interval), None)
        for at, tally in tally_candles(table.take(rows), ends[needed]):
            if interval is Interval.M1:
                touched.setdefault(interval, set()).add(self._minutes.put(at, tally))
            elif level is not None:
                for one in level.coarser:
                    touched.setdefault(one.interval, set()).add(one.put(at, tally))
        healed = self._heal(Range(covered.start, interval.floor(min(covered.end, latest))))
        for key, found in self._around(healed).items():
            touched.setdefault(key, set()).update(found)
        bars = self._renew(touched)
        self._forget()
        return bars

    def rebuild(self, bar_open: int, trades: pa.Table) -> list[Bar]:
        """Make the minute at `bar_open` anew of all its trades, in the schema TRADES.

        Returns it and the finished bars around it, revised. Of a minute too old to be revised
        here only itself is made; bars around it stay incomplete, and are made of stored candles
        (`core.candle.aggregate`).

        Raises:
            ValueError: no finished minute opens there.
        """
        minute = Range(bar_open, bar_open + US_PER_MINUTE)
        if not Interval.M1.is_open(bar_open) or minute.end > self._open:
            raise ValueError(f"no finished minute opens at {bar_open}")
        records = [one for one in _records(trades) if minute.holds(one.ts_event)]
        self._outdated.pop(bar_open, None)
        if minute.start < self._horizon:
            if not records or not self._minutes.is_wanted:
                return []
            values = _values(tally_trades(records))
            return [Bar(Interval.M1, bar_open, values, is_revised=True)]
        if records:
            self._minutes.put(bar_open, tally_trades(records))
        else:
            self._minutes.drop(bar_open)
        touched = self._around(self._heal(minute))
        touched.setdefault(Interval.M1, set()).add(bar_open)
        return self._renew(touched)

    @property
    def _horizon(self) -> int:
        """Return from when on minutes can be revised."""
        return Interval.M1.ceil(self._open - self._keep)

    def _oldest_open(self) -> int:
        """Return from when on anything matters to a bar that is not given out yet."""
        return min(level.interval.floor(self._horizon) for level in self._levels)

    def _roll(self, moment: int) -> list[Bar]:
        """Finish what closes at or before `moment`, and begin the minute it lies in."""
        self._fold()
        if self._running is not None:
            self._minutes.put(self._open, self._running)
            self._running = None
        before, self._open = self._open, Interval.M1.floor(moment)
        self._end = self._open + US_PER_MINUTE
        bars: list[Bar] = []
        for level in self._levels:
            for opened in sorted(level.buckets):
                bucket = level.buckets[opened]
                if before < bucket.end <= self._open and bucket.parts:
                    self._finish(level, opened, bucket, bars, is_revised=False)
        self._forget()
        return bars

    def _finish(
        self, level: _Level, opened: int, bucket: _Bucket, bars: list[Bar], *, is_revised: bool
    ) -> None:
        tally = bucket.tally()
        for coarser in level.coarser:
            coarser.put(opened, tally)
        # What ended before the beginning is not ours to tell.
        if level.is_wanted and bucket.end > self._began:
            bars.append(
                Bar(
                    level.interval,
                    opened,
                    _values(tally),
                    _touches(self._unseen, opened, bucket.end),
                    _touches(self._gaps, opened, bucket.end),
                    is_revised,
                )
            )

    def _fold(self) -> None:
        if not self._pending:
            return
        tally = tally_trades(self._pending)
        self._pending.clear()
        if self._running is None:
            self._running = tally
        else:
            self._running.add(tally)

    def _add_late(self, late: Sequence[Trade]) -> _Touched:
        minutes: dict[int, list[Trade]] = {}
        for trade in late:
            minutes.setdefault(Interval.M1.floor(trade.ts_event), []).append(trade)
        changed: set[int] = set()
        lost: list[Range] = []
        for opened, trades in minutes.items():
            if opened < self._horizon:
                # Of what was before the beginning nothing is claimed anyway.
                if opened >= self._began:
                    self._outdated[opened] = None
                    lost.append(Range(opened, opened + US_PER_MINUTE))
                continue
            tally = tally_trades(trades)
            bucket = self._minutes.buckets.get(opened)
            if bucket is not None and bucket.parts:
                # A copy: the bars above hold the one that was.
                tally = together([bucket.parts[opened], tally])
            self._minutes.put(opened, tally)
            changed.add(opened)
        while len(self._outdated) > _MOST_OUTDATED:
            del self._outdated[next(iter(self._outdated))]
        if lost:
            self._gaps = _bounded(union([*self._gaps, *lost]))
        return self._around(lost) | {Interval.M1: changed}

    def _renew(self, touched: _Touched) -> list[Bar]:
        """Give out finished bars again, and what they are part of."""
        bars: list[Bar] = []
        for level in self._levels:
            for opened in sorted(touched.get(level.interval, ())):
                bucket = level.buckets.get(opened)
                if bucket is None or bucket.end > self._open:
                    continue
                if bucket.parts:
                    self._finish(level, opened, bucket, bars, is_revised=True)
                for coarser in level.coarser:
                    if not bucket.parts:
                        coarser.drop(opened)
                    above = coarser.interval.floor(opened)
                    touched.setdefault(coarser.interval, set()).add(above)
        return bars

    def _around(self, ranges: Sequence[Range]) -> _Touched:
        """Return the finished bars that one of the ranges touches."""
        touched: _Touched = {}
        for level in self._levels if ranges else ():
            touched[level.interval] = {
                opened
                for opened, bucket in level.buckets.items()
                if _touches(ranges, opened, bucket.end)
            }
        return touched

    def _heal(self, known: Range) -> list[Range]:
        """Note that nothing lacks in a range; return what of it did."""
        before = [*self._unseen, *self._gaps]
        self._unseen = subtract(self._unseen, [known])
        self._gaps = subtract(self._gaps, [known])
        return subtract(before, [*self._unseen, *self._gaps])

    def _forget(self) -> None:
        """Drop what can neither be revised nor be part of a bar to come."""
        horizon = self._horizon
        for level in self._levels:
            for opened in [at for at, one in level.buckets.items() if one.end <= horizon]:
                del level.buckets[opened]
        if self._gaps or self._unseen:
            oldest = self._oldest_open()
            self._gaps = [gap for gap in self._gaps if gap.end > oldest]
            self._unseen = [part for part in self._unseen if part.end > oldest]


def _chain(wanted: set[Interval]) -> list[_Level]:
    """Return the levels that the bars wanted are made of, finest first."""
    needed = {Interval.M1} | wanted
    for interval in reversed(Interval):
        if interval in needed and interval in _FINER:
            needed.add(_FINER[interval])
    levels = {
        interval: _Level(interval, interval in wanted, [], {})
        for interval in Interval
        if interval in needed
    }
    for interval, level in levels.items():
        if interval in _FINER:
            levels[_FINER[interval]].coarser.append(level)
    return list(levels.values())


def _values(tally: Tally) -> Values:
    return Values(tally.open, tally.high, tally.low, tally.close, *tally.totals)


def _touches(ranges: Sequence[Range], start: int, end: int) -> bool:
    return any(one.start < end and one.end > start for one in ranges)


def _bounded(gaps: list[Range]) -> list[Range]:
    """Return gaps joined across what lies between them until they are few, oldest first."""
    while len(gaps) > _MOST_GAPS:
        gaps[:2] = [Range(gaps[0].start, gaps[1].end)]
    return gaps


def _records(table: pa.Table) -> list[Trade]:
    columns = [as_array(table.column(name)).to_pylist() for name in ("trade_id", "side", "fills")]
    rows = zip(
        times_of(table).tolist(),
        floats_of(table, "price").tolist(),
        floats_of(table, "size").tolist(),
        *columns,
        strict=True,
    )
    return [
        Trade("", "", moment, 0, trade_id, price, size, Side(side), fills)
        for moment, price, size, trade_id, side, fills in rows
    ]
