"""Where a venue's pages come from: the market or a file, encoded once per block."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE
from zvt_crypto.simulator.bar import MINUTE, Bar
from zvt_crypto.simulator.candle import CandleColumns, columns_of, concat
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument
from zvt_crypto.simulator.market import AGGREGATES, GROUP, Market
from zvt_crypto.simulator.rows import Cut, Ints, Rows, Series, select

if TYPE_CHECKING:
    from zvt_crypto.simulator.venue import Request, Venue

AGGREGATE: Final = "aggregate"
_ROWS_A_BLOCK: Final = 1_440
_LONGEST_BLOCK_US: Final = 32 * US_PER_DAY
_TRADES_A_BLOCK: Final = 20_000  # whole orders
_FUNDINGS_A_BLOCK: Final = 512


class CandleSeries(Series):
    """Candles of one width, from the market."""

    def __init__(self, venue: "Venue", instrument: Instrument, bar: Bar) -> None:
        self.bar = bar
        self._venue = venue
        self._instrument = instrument
        self._candles = min(_ROWS_A_BLOCK, max(1, _LONGEST_BLOCK_US // bar.nominal_us))
        self.first_us = bar.floor(instrument.listed_us)

    def block_at(self, time_us: int) -> int:
        """Return the number of the block that would hold a candle."""
        return self.bar.index(time_us) // self._candles

    def rows(self, block: int) -> Rows:
        """Return one block, encoded at most once while it is in the cache."""
        key = (self._venue.name, self._instrument, self.bar, block)
        return self._venue.world.rows.get(key, lambda: self._make(block))

    def running(self, now_us: int) -> Rows:
        """Return the candle that is forming at `now_us`, as a block of one row or none."""
        candles = self._venue.world.market.running(self._instrument, self.bar, now_us)
        if not self._venue.serves_empty_candles:
            candles = candles.take(candles.count > 0)
        return self._encode(columns_of(candles, self._instrument, self.bar), closed=False)

    def _make(self, block: int) -> Rows:
        start = self.bar.opening(block * self._candles)
        end = self.bar.opening((block + 1) * self._candles)
        candles = self._venue.world.market.candles(self._instrument, self.bar, start, end)
        if not self._venue.serves_empty_candles:
            candles = candles.take(candles.count > 0)
        return self._encode(columns_of(candles, self._instrument, self.bar), closed=True)

    def _encode(self, columns: CandleColumns, *, closed: bool) -> Rows:
        text, offsets = self._venue.encode_candles(
            self._instrument, self.bar, columns, closed=closed
        )
        return Rows(columns.open_us, text, offsets, self._venue.newest_first)


class TradeSeries(Series):
    """Trades (or orders, for the style `aggregate`); a block is a day, or an equal part of one."""

    def __init__(self, venue: "Venue", instrument: Instrument, style: str) -> None:
        self._venue = venue
        self._instrument = instrument
        self._style = style
        self.first_us = instrument.listed_us
        self._first_day = instrument.listed_us // US_PER_DAY
        self._count = instrument.trades_per_day
        self._parts = -(-self._count // _TRADES_A_BLOCK)
        aggregate = style == AGGREGATE
        self._per_day = self._rows_of(self._count) if aggregate else self._count
        self._per_block = self._rows_of(_TRADES_A_BLOCK) if aggregate else _TRADES_A_BLOCK

    def block_at(self, time_us: int) -> int:
        """Return the block of the first trade at a moment or after it that day."""
        day = time_us // US_PER_DAY
        if self._parts == 1:
            return day
        times = self._venue.world.market.trades(self._instrument, day).time_us
        place = min(int(np.searchsorted(times, time_us)), self._count - 1)
        return day * self._parts + place // _TRADES_A_BLOCK

    def block_of_id(self, row_id: int) -> int:
        """Return the block of an id."""
        days, place = divmod(row_id - 1, self._per_day)
        return (self._first_day + days) * self._parts + place // self._per_block

    def rows(self, block: int) -> Rows:
        """Return one block, encoded at most once while it is in the cache."""
        key = (self._venue.name, self._instrument, self._style, block)
        return self._venue.world.rows.get(key, lambda: self._make(block))

    def _make(self, block: int) -> Rows:
        day, part = divmod(block, self._parts)
        trades = self._venue.world.market.trades(self._instrument, day)
        if self._parts > 1:
            trades = trades.take(part * _TRADES_A_BLOCK, (part + 1) * _TRADES_A_BLOCK)
        text, offsets = self._venue.encode_trades(self._instrument, trades, self._style)
        keys = trades.time_us
        if self._style == AGGREGATE:
            keys = keys[order_starts(len(keys))]
        first_id = (day - self._first_day) * self._per_day + part * self._per_block + 1
        return Rows(keys, text, offsets, self._venue.newest_first, first_id)

    @staticmethod
    def _rows_of(trades: int) -> int:
        return trades // GROUP * AGGREGATES


class FundingSeries(Series):
    """Settled funding, from the market."""

    def __init__(self, venue: "Venue", instrument: Instrument) -> None:
        self._venue = venue
        self._instrument = instrument
        self._width_us = instrument.funding_hours * US_PER_HOUR
        self._first = instrument.listed_us // self._width_us
        self.first_us = instrument.listed_us

    def block_at(self, time_us: int) -> int:
        """Return the block of a moment; times may be a few milliseconds off the grid."""
        return max(0, time_us // self._width_us - self._first - 1) // _FUNDINGS_A_BLOCK

    def rows(self, block: int) -> Rows:
        """Return one block of settlements."""
        key = (self._venue.name, self._instrument, "funding", block)
        return self._venue.world.rows.get(key, lambda: self._make(block))

    def _make(self, block: int) -> Rows:
        first = block * _FUNDINGS_A_BLOCK
        funding = self._venue.world.market.funding(
            self._instrument, first, first + _FUNDINGS_A_BLOCK
        )
        text, offsets = self._venue.encode_funding(self._instrument, funding)
        keys = self._venue.funding_times(self._instrument, funding)
        return Rows(keys, text, offsets, self._venue.newest_first)


class FixedRows(Series):
    """Rows that are all there: those of a file, or none."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def block_at(self, time_us: int) -> int:
        """Return the only block."""
        del time_us
        return 0

    def block_of_id(self, row_id: int) -> int:
        """Return the only block."""
        del row_id
        return 0

    def rows(self, block: int) -> Rows:
        """Return all rows."""
        del block
        return self._rows


NOTHING: Final = FixedRows(Rows(np.zeros(0, dtype=np.int64), b"", np.zeros(1, dtype=np.int64)))


def candle_series(venue: "Venue", instrument: Instrument, bar: Bar) -> Series:
    """Return the candles a venue serves for an instrument."""
    files = venue.world.files.get((venue.name, instrument.symbol))
    if files is None:
        return CandleSeries(venue, instrument, bar)
    columns = files.candles(bar)
    if columns is None:
        return NOTHING

    def encode() -> Rows:
        text, offsets = venue.encode_candles(instrument, bar, columns, closed=True)
        return Rows(columns.open_us, text, offsets, venue.newest_first)

    return FixedRows(venue.world.rows.get((venue.name, instrument, bar, "file"), encode))


def trade_series(venue: "Venue", instrument: Instrument, style: str) -> Series:
    """Return the trades a venue serves for an instrument."""
    if (venue.name, instrument.symbol) in venue.world.files:
        return NOTHING
    return TradeSeries(venue, instrument, style)


def funding_series(venue: "Venue", instrument: Instrument) -> Series:
    """Return the funding a venue serves for an instrument."""
    files = venue.world.files.get((venue.name, instrument.symbol))
    if files is None:
        return FundingSeries(venue, instrument) if instrument.funding_hours else NOTHING
    if files.funding is None:
        return NOTHING
    text, offsets = venue.encode_funding(instrument, files.funding)
    return FixedRows(Rows(files.funding.time_us, text, offsets, venue.newest_first))


def select_candles(
    series: Series,
    request: "Request",
    start_us: int,
    end_us: int,
    limit: int,
    *,
    newest: bool,
    running: bool,
) -> list[Cut]:
    """Return candles as `rows.select` does, with the running one and without hidden ones.

    The running candle is made anew for every answer, so only for those that reach it.
    """
    if not isinstance(series, CandleSeries):
        return _select_shown(series, request, start_us, end_us, limit, newest=newest)
    opened = series.bar.floor(request.now_us)
    reaches_now = running and start_us <= opened < end_us
    end_us = min(end_us, opened)
    if not reaches_now:
        return _select_shown(series, request, start_us, end_us, limit, newest=newest)
    if newest:
        row = series.running(request.now_us)
        rest = limit - len(row)
        cuts = _select_shown(series, request, start_us, end_us, rest, newest=True)
        return [*cuts, (row, 0, 1)] if len(row) else cuts
    cuts = _select_shown(series, request, start_us, end_us, limit, newest=False)
    if sum(stop - first for _, first, stop in cuts) < limit:
        row = series.running(request.now_us)
        cuts += [(row, 0, 1)] if len(row) else []
    return cuts


def _select_shown(
    series: Series, request: "Request", start_us: int, end_us: int, limit: int, *, newest: bool
) -> list[Cut]:
    if request.hidden is None:
        return select(series, start_us, end_us, limit, newest=newest)
    return _select_visible(series, request, start_us, end_us, limit, newest=newest)


def _select_visible(
    series: Series, request: "Request", start_us: int, end_us: int, limit: int, *, newest: bool
) -> list[Cut]:
    """Select around candles that a fault hides, as if they had never been."""
    hidden = request.hidden
    cuts: list[Cut] = []
    while limit > 0 and hidden is not None:
        batch = select(series, start_us, end_us, limit, newest=newest)
        if not batch:
            break
        (oldest, first, _), (last, _, stop) = batch[0], batch[-1]
        if newest:
            end_us = int(oldest.keys[first])
        else:
            start_us = int(last.keys[stop - 1]) + 1
        kept = [cut for part in batch for cut in _visible(part, hidden(part[0].keys))]
        cuts = kept + cuts if newest else cuts + kept
        limit -= sum(stop - first for _, first, stop in kept)
    return cuts


def _visible(cut: Cut, hidden: Ints) -> list[Cut]:
    rows, first, stop = cut
    return [(rows, i, i + 1) for i in range(first, stop) if not hidden[i]]


def next_id(series: Series, now_us: int) -> int:
    """Return the id after the last row at or before `now_us`."""
    if not isinstance(series, TradeSeries) or now_us < series.first_us:
        return 1
    rows = series.rows(series.block_at(now_us))
    return rows.first_id + int(np.searchsorted(rows.keys, now_us, side="right"))


def order_starts(count: int) -> Ints:
    """Return the places of the first trade of every order among `count` trades."""
    places = np.arange(count, dtype=np.int64)
    return places[np.isin(places % GROUP, _STARTS)]


def order_ends(count: int) -> Ints:
    """Return the places of the last trade of every order among `count` trades."""
    starts = order_starts(count)
    return np.concatenate((starts[1:], [count])) - 1 if count else starts


_STARTS: Final = np.array([0, 1, 2, 4, 5, 8, 9])


@dataclass(frozen=True, slots=True)
class DaySummary:
    """The last 24 hours of an instrument, in its integer units; changes as texts."""

    open: int
    high: int
    low: int
    last: int
    last_size: int
    native: int
    base: int
    quote: int
    count: int
    first_id: int
    last_id: int
    change: str
    change_percent: str
    average: str


def summarise_day(market: Market, instrument: Instrument, now_us: int) -> DaySummary:
    """Return the last 24 hours, from the minute that contains their start."""
    start = max(now_us - US_PER_DAY, instrument.listed_us) // US_PER_MINUTE * US_PER_MINUTE
    running = market.running(instrument, MINUTE, now_us)
    end = now_us // US_PER_MINUTE * US_PER_MINUTE
    rows = concat([market.candles(instrument, MINUTE, start, end), running])
    trades = market.trades(instrument, now_us // US_PER_DAY)
    place = int(np.searchsorted(trades.time_us, now_us, side="right"))
    opened, last = int(rows.open[0]), int(rows.close[-1])
    base, quote, count = (int(column.sum()) for column in (rows.base, rows.quote, rows.count))
    last_id = trades.first_id + place - 1
    scale = 10 ** (instrument.quote_decimals - instrument.base_decimals)
    return DaySummary(
        open=opened,
        high=int(rows.high.max()),
        low=int(rows.low.min()),
        last=last,
        last_size=int(trades.size[place - 1]) if place else 0,
        native=int(rows.native.sum()),
        base=base,
        quote=quote,
        count=count,
        first_id=last_id - count + 1,
        last_id=last_id,
        change=decimal_text(last - opened, instrument.price_decimals),
        change_percent=f"{(last - opened) / opened * 100:.3f}",
        average=f"{quote / base / scale if base else 0:.{instrument.price_decimals}f}",
    )
