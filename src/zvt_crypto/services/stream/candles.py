"""Feeds of candles: the exchange's own, stored and served, beside those built from its trades.

A bar is taken when the exchange says it is closed; one whose closing push does not come, and every
bar of an exchange that sends none, is loaded over REST a moment after its end. At its close a bar
is compared with the one built from trades. Where they differ REST is asked again, which settles a
push that was early or wrong; where ids do not count the trades, the trades of that time are loaded
again too. What still differs is stored with both values.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import pyarrow as pa

from zvt_crypto.core.bar import Bar, BarBuilder, Values
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S, Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.reconcile import (
    EXACT,
    INVERSE,
    Agreement,
    Reconciled,
    reconcile,
    values_of,
)
from zvt_crypto.core.record import Candle, Gap, GapRepaired, Trade
from zvt_crypto.core.rows import times
from zvt_crypto.core.schema import empty_table
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.stream.feed import Feed, Hub, OpenGap, Place
from zvt_crypto.services.stream.trades import TradeFeed, UncountedTradeFeed

# Bars whose comparison may still change.
_REMEMBERED: Final = 256
# Trades of a bar's end may still be on their way.
_LAG_US: Final = 1_500_000
_RECHECKS: Final = 3


class BarWorks:
    """Bars built from the trades of one instrument, and the candle feeds they are compared with."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.feeds: dict[Interval, CandleFeed] = {}
        self.trades: TradeFeed | None = None
        self._builder: BarBuilder | None = None

    @property
    def is_building(self) -> bool:
        """Return whether trades come."""
        return self._builder is not None

    def begin(self, began_us: int, seeds: Iterable[pa.Table] = ()) -> None:
        """Build from trades since `began_us`; `seeds` are stored minutes from before."""
        if not self.feeds:
            self._builder = None
            return
        wanted = set(self.feeds) | {Interval.M1}
        self._builder = BarBuilder(wanted, began_us=began_us)
        for table in seeds:
            self._built(self._builder.seed(table))

    def on_record(self, record: Any) -> None:
        """Take what the trade feed gives on."""
        kind = type(record)
        builder = self._builder
        if kind is Trade:
            if builder is None:
                # Others of this moment may have come before it.
                self.begin(record.ts_event + 1)
                builder = self._builder
                if builder is None:
                    return
            bars = builder.add(record)
            if bars:
                self._built(bars)
        elif builder is not None and kind is Gap:
            self._built(builder.mark_gap(record.start, record.end))
        elif builder is not None and kind is GapRepaired:
            self._built(builder.fill((), record.start, record.end))

    def advance(self, now_us: int) -> None:
        """Finish bars no trade finishes."""
        if self._builder is not None and self.trades is not None and self.trades.gap is None:
            self._built(self._builder.advance(now_us - _LAG_US))

    def has_passed(self, moment: int) -> bool:
        """Return whether all bars that end by `moment` are built, if they have trades."""
        return self._builder is not None and self._builder.built_to >= moment

    def adopt(self, candle: pa.Table) -> None:
        """Take the exchange's minute where ours is partial: wider bars become whole by it."""
        if self._builder is not None:
            self._built(self._builder.seed(candle))

    def rebuild(self, bar_open: int, interval: Interval, trades: pa.Table) -> None:
        """Make the minutes of a bar anew from all its trades, as they are stored."""
        if self._builder is None:
            return
        end = interval.shift(bar_open, 1)
        for minute in range(bar_open, end, US_PER_MINUTE):
            if minute + US_PER_MINUTE <= self._builder.built_to:
                self._built(self._builder.rebuild(minute, trades))

    def _built(self, bars: Iterable[Bar]) -> None:
        for bar in bars:
            feed = self.feeds.get(bar.interval)
            if feed is not None:
                feed.built(bar)


class CandleFeed(Feed):
    """Candles of one width."""

    def __init__(
        self,
        series: Series,
        instrument: Instrument,
        place: Place,
        hub: Hub,
        *,
        works: BarWorks,
        grace_s: float,
        recheck: Callable[["CandleFeed", int], object],
        is_pushed: bool,
    ) -> None:
        """Make the feed.

        Args:
            series: of candles.
            instrument: what is traded.
            place: where it comes from.
            hub: the service.
            works: what builds the bars to compare with.
            grace_s: how long after its end a bar's closing push may take.
            recheck: begins to ask REST about a bar that does not agree.
            is_pushed: whether the exchange streams this width at all.
        """
        super().__init__(series, instrument, place, hub)
        assert series.interval is not None  # noqa: S101 - a series of candles has one
        self.interval = series.interval
        self.works = works
        self.is_pushed = is_pushed
        works.feeds[self.interval] = self
        self._grace_us = int(grace_s * US_PER_S)
        self._recheck = recheck
        self._next: int | None = None
        """Open of the bar that has to come next."""
        self._venue: OrderedDict[int, tuple[Values, Source]] = OrderedDict()
        self._bars: OrderedDict[int, Bar] = OrderedDict()
        self._verdicts: OrderedDict[int, Agreement] = OrderedDict()
        self._tries: dict[int, int] = {}
        self._reconciled: list[Reconciled] = []
        self._tolerance = INVERSE if instrument.market is Market.INVERSE else EXACT
        self.agreements: dict[Agreement, int] = {}

    # -- what the exchange says -----------------------------------------------------------------

    def connected(self, now_us: int) -> None:
        """The bar that runs now is the first that can be told whole by the exchange."""
        super().connected(now_us)
        if self._next is None:
            self._next = self.interval.floor(now_us)

    def resume_at(self, end: int) -> None:
        """Go on where a store ended: bars closed since are a gap, found at the next close."""
        self._next = self.interval.ceil(end)
        self.claimed_us = end

    def take(self, candle: Candle) -> None:
        """Take a push: a running bar is passed on, a closed one is stored."""
        self.health.saw(candle.ts_recv)
        if not candle.is_closed:
            self.counters.messages += 1
            for put in self.outlets:
                put(candle)
            return
        opened = candle.ts_event
        if self._next is None:
            self._next = opened
        if opened in self._venue and self._venue[opened][0] == values_of(candle):
            self.counters.repeated += 1
            return
        if opened > self._next and self.gap is None:
            self._open_gap(self._next, opened, "disconnect")
        self._release(candle)
        self._say(opened, values_of(candle), Source.LIVE)
        if opened >= self._next:
            self._next = self.interval.shift(opened, 1)

    def tick(self, now_us: int) -> None:
        """Load bars whose closing push is overdue; all of an exchange that sends none."""
        if self._next is None:
            return
        end = self.interval.shift(self._next, 1)
        if self.gap is None and now_us > end + self._grace_us:
            last = self.interval.floor(now_us - self._grace_us)
            start, self._next = self._next, max(last, end)
            if self.is_pushed:
                self._open_gap(start, self._next, "candles")
            else:
                self._fetch(start, self._next)

    def settle(self) -> None:
        """Claim each closed bar by itself: see `_release`."""

    def _release(self, record: Any, *, stored: bool = False) -> None:
        super()._release(record, stored=stored)
        if not stored:
            opened = record.ts_event
            end = self.interval.shift(opened, 1)
            if self.claimed_us is None or opened > self.claimed_us:
                self.claimed_us = opened
            self.claim_to(end)

    def _open_gap(self, start: int, end: int, reason: str) -> None:
        gap = OpenGap(start=start, end=end, reason=reason, opened_us=self.hub.now_us())
        self.counters.gaps += 1
        self.note(start, end, Verdict.MISSING)
        self.gap = gap
        self.health.is_repairing = True
        self.announce(Gap(self.series, start, end, gap.opened_us, reason))
        self.hub.mend(self, gap)

    def _fetch(self, start: int, end: int) -> None:
        """Load bars the usual way of an exchange that does not push them: no gap to speak of."""
        gap = OpenGap(
            start=start, end=end, reason="unpushed", opened_us=self.hub.now_us(), is_late=True
        )
        self.note(start, end, Verdict.MISSING)
        self.gap = gap
        self.hub.mend(self, gap)

    def mended(self, gap: OpenGap, rows: pa.Table, *, is_whole: bool, detail: str) -> None:
        """Take the bars that REST gave."""
        self.gap = None
        self.health.is_repairing = False
        for candle in self._candles(rows):
            self._release(candle, stored=True)
            self._say(candle.ts_event, values_of(candle), Source.REST)
        if gap.reason != "unpushed" or not is_whole:
            self._close_gap(gap, rows.num_rows, is_whole=is_whole, detail=detail)

    def rechecked(self, opened: int, rows: pa.Table) -> None:
        """Take a bar that REST was asked about again."""
        for candle in self._candles(rows):
            if candle.ts_event == opened:
                self._say(opened, values_of(candle), Source.REST)

    def _candles(self, rows: pa.Table) -> Iterable[Candle]:
        now_us = self.hub.now_us()
        names = rows.schema.names[1:]
        columns = [rows.column(name).to_pylist() for name in names]
        for at, *values in zip(times(rows).tolist(), *columns, strict=True):
            yield Candle(
                self.series.exchange,
                self.series.symbol,
                self.interval,
                at,
                now_us,
                *values,
                is_closed=True,
            )

    # -- the comparison -------------------------------------------------------------------------

    def built(self, bar: Bar) -> None:
        """Take a bar made of trades, for the first time or revised."""
        _remember(self._bars, bar.timestamp, bar)
        self._compare(bar.timestamp)

    def _say(self, opened: int, values: Values, source: Source) -> None:
        _remember(self._venue, opened, (values, source))
        self._compare(opened)

    def _compare(self, opened: int) -> None:
        said = self._venue.get(opened)
        bar = self._bars.get(opened)
        if said is None or not self.works.is_building:
            return
        values, source = said
        if bar is None and not self.works.has_passed(self.interval.shift(opened, 1)):
            return  # its trades are not all there yet: `built` comes back to it
        found = reconcile(
            self.series, opened, bar, values, source=source, tolerance=self._tolerance
        )
        if bar is None and values.volume == 0:
            # A flat bar of a time without trades: both sides say so.
            found = Reconciled(self.series, opened, Agreement.MATCH, (), None, values, source)
        self._enter(found)

    def _enter(self, found: Reconciled) -> None:
        opened = found.timestamp
        before = self._verdicts.get(opened)
        if before is not found.verdict:
            if before is not None:
                self.agreements[before] -= 1
            self.agreements[found.verdict] = self.agreements.get(found.verdict, 0) + 1
            _remember(self._verdicts, opened, found.verdict)
        self._reconciled.append(found)
        if found.verdict in (Agreement.DIFFERS, Agreement.UNBUILT):
            tries = self._tries.get(opened, 0)
            if tries < _RECHECKS:
                self._tries[opened] = tries + 1
                self._recheck(self, opened)
        else:
            self._tries.pop(opened, None)

    def recheck_trades(self, opened: int) -> None:
        """Doubt the trades of a bar that REST confirms and that no ids prove."""
        trades = self.works.trades
        if isinstance(trades, UncountedTradeFeed):
            trades.doubt(opened, self.interval.shift(opened, 1), "candles")

    def drain(self) -> Batch | None:
        """Return rows, claims and verdicts."""
        batch = super().drain()
        if not self._reconciled:
            return batch
        verdicts, self._reconciled = self._reconciled, []
        latest = list({one.timestamp: one for one in verdicts}.values())
        if batch is None:
            table = empty_table(self.series.kind)
            return Batch(series=self.series, table=table, source=Source.LIVE, reconciled=latest)
        return Batch(
            series=batch.series,
            table=batch.table,
            findings=batch.findings,
            source=batch.source,
            rejected=batch.rejected,
            reconciled=latest,
        )

    def put_back(self, batch: Batch) -> None:
        """Take back what could not be committed."""
        super().put_back(batch)
        self._reconciled[:0] = batch.reconciled


def _remember(kept: OrderedDict[int, Any], key: int, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)


Recheck = Callable[[CandleFeed, int], Coroutine[Any, Any, None]]

__all__ = ["BarWorks", "CandleFeed"]
