"""What happened in the market between two moments, for topics to encode.

All of it comes from the arrays that REST serves: a trade here has the id, time, price, size and
side it has there.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from zvt_crypto.simulator import noise
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.candle import CandleColumns, columns_of
from zvt_crypto.simulator.encode import Number
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import AGGREGATES, GROUP, LEADERS, Trades
from zvt_crypto.simulator.venue import Venue

Ints = npt.NDArray[np.int64]

_RANKS: Final = np.searchsorted(np.unique(LEADERS), LEADERS)  # number of the order in its group
_LIQUIDATED: Final = 0.002  # share of the trades of perpetuals that are liquidations


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """Trades merged by taker order, as venues aggregate them; integers as in `Trades`.

    Attributes:
        id: running number of the order, the one REST gives aggregate trades.
        first, last: ids of the first and the last trade of each.
    """

    id: Ints
    first: Ints
    last: Ints
    time_us: Ints
    price: Ints
    size: Ints
    base: Ints
    quote: Ints
    buy: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.id)


def trades_between(venue: Venue, instrument: Instrument, since_us: int, until_us: int) -> Trades:
    """Return the trades after `since_us`, up to `until_us` included; none of what a file serves."""
    if is_from_file(venue, instrument):
        until_us = since_us
    return venue.world.market.trades_between(instrument, since_us, until_us)


def orders_between(venue: Venue, instrument: Instrument, since_us: int, until_us: int) -> Orders:
    """Return the orders after `since_us`, up to `until_us`; their trades share their moment."""
    return merge_orders(trades_between(venue, instrument, since_us, until_us))


def merge_orders(trades: Trades) -> Orders:
    """Return the orders whole orders' trades belong to."""
    places = trades.id - 1
    order = places // GROUP * AGGREGATES + _RANKS[places % GROUP] + 1
    starts = np.flatnonzero(np.concatenate(([True], order[1:] != order[:-1])))[: len(order)]
    if not len(order):
        starts = np.zeros(0, dtype=np.int64)
    ends = np.concatenate((starts[1:], [len(order)]))[: len(starts)] - 1

    def total(column: Ints) -> Ints:
        return np.add.reduceat(column, starts) if len(starts) else column

    return Orders(
        order[starts], trades.first_id + starts, trades.first_id + ends, trades.time_us[starts],
        trades.price[starts], total(trades.size), total(trades.base), total(trades.quote),
        trades.buy[starts],
    )  # fmt: skip


def liquidations_between(
    venue: Venue, instrument: Instrument, since_us: int, until_us: int
) -> list[Trades]:
    """Return the trades of a perpetual that were liquidations, one by one."""
    if instrument.kind is Kind.SPOT:
        return []
    trades = trades_between(venue, instrument, since_us, until_us)
    if not len(trades):
        return []
    key = noise.make_key(venue.world.config.seed, "liquidations", venue.name, instrument.symbol)
    places = np.flatnonzero(noise.uniform(key, trades.id) < _LIQUIDATED)
    return [trades.take(place, place + 1) for place in places.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class Candle:
    """A candle as it stands at a moment.

    Attributes:
        columns: one row.
        closed: whether it is over; the values are then the ones REST serves.
        first_id, last_id: ids of its trades; both 0 without any.
        now_us: the moment.
    """

    columns: CandleColumns
    open_us: int
    close_us: int
    closed: bool
    first_id: int
    last_id: int
    now_us: int

    @property
    def count(self) -> int:
        """Return the trades in it."""
        return max(0, self.last_id - self.first_id + 1) if self.first_id else 0


def candle_at(venue: Venue, instrument: Instrument, bar: Bar, now_us: int) -> Candle | None:
    """Return the candle that is forming at a moment, or None where the venue has none."""
    if is_from_file(venue, instrument):
        return None
    rows = venue.world.market.running(instrument, bar, now_us)
    if not len(rows):
        return None
    return _candle(venue, instrument, columns_of(rows, instrument, bar), now_us, closed=False)


def candle_closed(venue: Venue, instrument: Instrument, bar: Bar, close_us: int) -> Candle | None:
    """Return the candle that ends at `close_us`, or None where there is none."""
    if is_from_file(venue, instrument):
        return None
    opened = bar.floor(close_us - 1)
    rows = venue.world.market.candles(instrument, bar, opened, close_us)
    if not len(rows):
        return None
    return _candle(venue, instrument, columns_of(rows, instrument, bar), close_us, closed=True)


def is_from_file(venue: Venue, instrument: Instrument) -> bool:
    """Return whether an instrument is served from a file, and so has no trades."""
    return (venue.name, instrument.symbol) in venue.world.files


def revised(candle: Candle) -> Candle:
    """Return a candle whose close, extremes and volumes are a little off, but possible."""
    columns = candle.columns

    def more(column: object) -> Number:
        assert isinstance(column, Number)  # noqa: S101 - of the market, never of a file
        return Number(column.values + column.values // 50 + 1, column.decimals)

    changed = CandleColumns(
        columns.open_us, columns.close_us, columns.open, more(columns.high), columns.low,
        more(columns.high), more(columns.native), more(columns.base), more(columns.quote),
        columns.count, columns.buy_native, columns.buy_base, columns.buy_quote,
    )  # fmt: skip
    return Candle(
        changed, candle.open_us, candle.close_us, candle.closed, candle.first_id, candle.last_id,
        candle.now_us,
    )  # fmt: skip


def _candle(
    venue: Venue, instrument: Instrument, columns: CandleColumns, now_us: int, *, closed: bool
) -> Candle | None:
    market = venue.world.market
    open_us, close_us = int(columns.open_us[0]), int(columns.close_us[0])
    last = market.last_id(instrument, close_us - 1 if closed else now_us)
    first = market.last_id(instrument, open_us - 1) + 1
    if last < first:
        first = last = 0
        if not venue.serves_empty_candles:
            return None
    return Candle(columns, open_us, close_us, closed, first, last, now_us)
