"""The simulated market: a pure function of seed, instrument and time.

Every UTC day of an instrument holds the same number of trades, so a trade's id follows from its
day and its place in it, and any day since listing can be produced alone. Candles are aggregated
from the trades and from nothing else. What is after the clock's now exists too; callers cut it.

Prices: the logarithm is a sum of octaves of hashed noise from two years down to twenty seconds.
The octaves above a minute are evaluated each minute and joined by lines, the last at each trade.
All instruments of one coin share the noise, and differ by a small basis of their own.

Trades come in orders: of every ten, three share time, price and side with the one before, which
is what venues merge into aggregate trades (`AGGREGATES` of every `GROUP`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, US_PER_S
from zvt_crypto.simulator import candle, noise
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.cache import Cache
from zvt_crypto.simulator.candle import Candles
from zvt_crypto.simulator.instrument import Instrument, Kind, unit_of

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

GROUP: Final = 10
LEADERS: Final = np.array([0, 1, 2, 2, 4, 5, 5, 5, 8, 9])  # place of the first trade of the order
AGGREGATES: Final = 7  # orders among ten trades

_OCTAVES_S: Final = tuple(240 * 4**n for n in range(10))  # four minutes to two years
_FINE_S: Final = 20
_YEARLY_VOLATILITY: Final = 0.45
_PER_ROOT_S: Final = _YEARLY_VOLATILITY / (365 * 86_400) ** 0.5
_BASIS_S: Final = 300
_BASIS: Final = 2e-4
_TYPICAL_NOTIONAL: Final = 400.0
_TAIL: Final = 0.7  # exponent of the size distribution: most trades small, few a hundredfold
_LEAST: Final = 0.99  # leaves the smallest trades a few steps of size
_TRADES_KEPT: Final = 4_000_000  # trades kept, whole days of them, 41 bytes each
_MINUTE_DAYS: Final = 400  # days of minute candles kept, about 140 kB each
_DAY_ROWS: Final = 100_000
_EVEN: Final = 0.5
_FUNDING_CAP: Final = 0.00375


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Consecutive trades of one instrument in its integer units; `id` of row i is `first_id + i`.

    `buy` is the taker's side. `size` is in the venue's unit, `base` and `quote` in coins.
    """

    first_id: int
    time_us: Ints
    price: Ints
    size: Ints
    base: Ints
    quote: Ints
    buy: Flags

    def __len__(self) -> int:
        return len(self.time_us)

    @property
    def id(self) -> Ints:
        """Return the ids."""
        return np.arange(self.first_id, self.first_id + len(self), dtype=np.int64)

    def take(self, first: int, stop: int) -> "Trades":
        """Return the rows from `first` to `stop`."""
        part = slice(first, stop)
        return Trades(
            self.first_id + first,
            self.time_us[part],
            self.price[part],
            self.size[part],
            self.base[part],
            self.quote[part],
            self.buy[part],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Funding:
    """Settlements of one perpetual; `rate` counts 1e-8, `predicted` likewise."""

    index: Ints
    time_us: Ints
    rate: Ints
    predicted: Ints
    price: Ints

    def take(self, mask: Flags) -> "Funding":
        """Return the chosen rows."""
        return Funding(
            self.index[mask],
            self.time_us[mask],
            self.rate[mask],
            self.predicted[mask],
            self.price[mask],
        )


class Market:
    """All instruments of all venues, at any time.

    Args:
        seed: another seed is another market.
        outages: for a venue, ranges `[start_us, end_us)` in which it did not trade at all. Its
            trades of such a day move to the rest of the day; candles inside do not exist.
        kept: trades to keep at least, when they are more than usual.
    """

    def __init__(
        self,
        seed: int,
        outages: dict[str, list[tuple[int, int]]] | None = None,
        *,
        kept: int = 0,
    ) -> None:
        self._seed = seed
        self._outages = outages or {}
        self._trades: Cache[Trades] = Cache(
            max(_TRADES_KEPT, kept), lambda trades: len(trades) + 100
        )
        self._minutes: Cache[Candles] = Cache(_MINUTE_DAYS)
        self._days: Cache[Candles] = Cache(_DAY_ROWS)

    def add_outage(self, exchange: str, start_us: int, end_us: int) -> None:
        """Declare an outage; days it changes are forgotten if they were produced.

        The day after it is one of them: its first quiet minutes have the last price before.
        """
        self._outages.setdefault(exchange, []).append((start_us, end_us))
        first, last = start_us // US_PER_DAY, end_us // US_PER_DAY + 1

        def is_changed(key: tuple[Instrument, int]) -> bool:
            instrument, day = key
            return instrument.exchange == exchange and first <= day <= last

        for kept in (self._trades, self._minutes, self._days):
            kept.forget(is_changed)

    def first_day(self, instrument: Instrument) -> int:
        """Return the day of listing, counted from the epoch."""
        return instrument.listed_us // US_PER_DAY

    def trades(self, instrument: Instrument, day: int) -> Trades:
        """Return all trades of a day, future ones included; none before listing."""
        return self._trades.get((instrument, day), lambda: self.make_trades(instrument, day))

    def keep_trades(self, instrument: Instrument, day: int, trades: Trades) -> None:
        """Keep trades that were made elsewhere, if the day is not there yet."""
        self._trades.get((instrument, day), lambda: trades)

    def minutes(self, instrument: Instrument, day: int) -> Candles:
        """Return the minute candles of a day; flat where nothing traded."""
        return self._minutes.get((instrument, day), lambda: self._make_minutes(instrument, day))

    def candles(self, instrument: Instrument, bar: Bar, start_us: int, end_us: int) -> Candles:
        """Return the candles that open in `[start_us, end_us)`, whole, the future included.

        The range must hold whole candles: both ends are opens of `bar`.
        """
        start_us = max(start_us, bar.floor(instrument.listed_us))
        if end_us <= start_us:
            return candle.EMPTY
        days = range(start_us // US_PER_DAY, -(-end_us // US_PER_DAY))
        if bar.width_us and bar.width_us < US_PER_MINUTE:
            parts = [self._aggregate_trades(self.trades(instrument, day), bar) for day in days]
            return candle.concat(parts).between(start_us, end_us)
        aligned = bar.floor(0) % US_PER_DAY == 0 and bar.nominal_us >= US_PER_DAY
        finest = self.day_candle if aligned else self.minutes
        parts = [finest(instrument, day) for day in days]
        rows = candle.concat(parts).between(start_us, end_us)
        return rows if bar.width_us == US_PER_MINUTE else candle.aggregate(rows, bar)

    def day_candle(self, instrument: Instrument, day: int) -> Candles:
        """Return the candle of one UTC day: one row, or none."""

        def make() -> Candles:
            rows = self.minutes(instrument, day)
            return (
                candle.merge(rows, rows.open_us // US_PER_DAY * US_PER_DAY) if len(rows) else rows
            )

        return self._days.get((instrument, day), make)

    def running(self, instrument: Instrument, bar: Bar, now_us: int) -> Candles:
        """Return the candle that is forming at `now_us`: one row, or none before any trade."""
        opened, minute = bar.floor(now_us), now_us // US_PER_MINUTE * US_PER_MINUTE
        if now_us < instrument.listed_us:
            return candle.EMPTY
        parts: list[Candles] = []
        today = now_us // US_PER_DAY
        for day in range(max(opened // US_PER_DAY, self.first_day(instrument)), today):
            whole = opened <= day * US_PER_DAY
            rows = self.day_candle(instrument, day) if whole else self.minutes(instrument, day)
            parts.append(rows if whole else rows.between(opened, now_us))
        parts.append(self.minutes(instrument, today).between(opened, minute))
        parts.append(self._forming_minute(instrument, max(opened, minute), now_us))
        rows = candle.concat([part for part in parts if len(part)])
        if not len(rows):
            return rows
        return candle.merge(rows, np.full(len(rows), opened, dtype=np.int64))

    def price_at(self, instrument: Instrument, now_us: int) -> int:
        """Return the price of the last trade at or before `now_us`, in the price's unit."""
        found = self._last_trade(instrument, now_us)
        if found is None:
            return int(self._to_steps(instrument, np.array([instrument.price]))[0])
        return int(found[0].price[found[1]])

    def bid_at(self, instrument: Instrument, now_us: int) -> int:
        """Return the best bid after the last trade at or before `now_us`, in the price's unit.

        Takers sell at it and buy a step above.
        """
        found = self._last_trade(instrument, now_us)
        if found is None:
            return int(self._to_steps(instrument, np.array([instrument.price]))[0])
        trades, place = found
        step = unit_of(instrument.price_step)
        return int(trades.price[place]) - (step if trades.buy[place] else 0)

    def last_id(self, instrument: Instrument, now_us: int) -> int:
        """Return the id of the last trade at or before `now_us`; 0 before the first."""
        found = self._last_trade(instrument, now_us)
        return found[0].first_id + found[1] if found else 0

    def trades_between(self, instrument: Instrument, since_us: int, until_us: int) -> Trades:
        """Return the trades after `since_us`, up to `until_us` included."""
        parts: list[Trades] = []
        for day in range(since_us // US_PER_DAY, until_us // US_PER_DAY + 1):
            trades = self.trades(instrument, day)
            first, stop = np.searchsorted(trades.time_us, (since_us, until_us), side="right")
            parts.append(trades.take(int(first), int(stop)))
        return parts[0] if len(parts) == 1 else _join([p for p in parts if len(p)] or parts[:1])

    def funding(self, instrument: Instrument, first: int, stop: int) -> Funding:
        """Return settlements `first` to `stop`, counted from the first after listing."""
        index = np.arange(first, stop, dtype=np.int64)
        width = instrument.funding_hours * US_PER_HOUR
        times = (instrument.listed_us // width + 1 + index) * width
        key = noise.make_key(self._seed, "funding", instrument.exchange, instrument.symbol)
        drift = noise.value_noise(key, times, 3 * US_PER_DAY) if len(times) else times * 0.0
        rates = 0.0001 + 0.0004 * drift**3 + 0.00002 * (noise.uniform(key + 1, index) - 0.5)
        capped = np.clip(rates, -_FUNDING_CAP, _FUNDING_CAP)
        exact = np.round(capped * 1e8).astype(np.int64)
        nudge = np.round((noise.uniform(key + 2, index) - 0.5) * 400).astype(np.int64)
        middle = self._middle(instrument, times) if len(times) else np.zeros(0)
        return Funding(index, times, exact, exact + nudge, self._to_steps(instrument, middle))

    def funding_count(self, instrument: Instrument, now_us: int) -> int:
        """Return how many settlements there were until `now_us`, included."""
        width = instrument.funding_hours * US_PER_HOUR
        return max(0, now_us // width - instrument.listed_us // width)

    def open_interest(self, instrument: Instrument, now_us: int) -> int:
        """Return the open interest in size units: smooth, of the order of half a day's volume."""
        key = noise.make_key(self._seed, "interest", instrument.exchange, instrument.symbol)
        wave = noise.value_noise(key, np.array([now_us]), 6 * US_PER_HOUR)[0]
        return int(instrument.trades_per_day * self.typical_size(instrument) * (1.0 + 0.3 * wave))

    def _last_trade(self, instrument: Instrument, now_us: int) -> tuple[Trades, int] | None:
        """Return the day and the place in it of the last trade at or before `now_us`."""
        day = now_us // US_PER_DAY
        while day >= self.first_day(instrument):
            trades = self.trades(instrument, day)
            place = int(np.searchsorted(trades.time_us, now_us, side="right"))
            if place:
                return trades, place - 1
            day -= 1
        return None

    def make_trades(self, instrument: Instrument, day: int) -> Trades:
        """Make the trades of a day anew; may run in a thread, for `keep_trades` to take over."""
        count = instrument.trades_per_day
        first_id = (day - self.first_day(instrument)) * count + 1
        if day < self.first_day(instrument):
            none = np.zeros(0, dtype=np.int64)
            return Trades(1, none, none, none, none, none, none.astype(np.bool_))
        key = noise.make_key(self._seed, "trades", instrument.exchange, instrument.symbol, day)
        place = np.arange(count, dtype=np.int64)
        leader = place // GROUP * GROUP + LEADERS[place % GROUP]
        times = self._times(instrument, day, key, count)[leader]
        buy = (noise.uniform(key + 1, place) < _EVEN)[leader]
        price = self._prices(instrument, day, times, buy)
        spread = noise.uniform(key + 2, place)
        scale = self.typical_size(instrument) * (1.0 - _TAIL)
        lots = 1 + (scale * (np.maximum(spread, 1e-4) ** -_TAIL - _LEAST)).astype(np.int64)
        size = lots * unit_of(instrument.size_step)
        base, quote = _amounts(instrument, price, size)
        return Trades(first_id, times, price, size, base, quote, buy)

    def _times(self, instrument: Instrument, day: int, key: int, count: int) -> Ints:
        """Return sorted moments of the day, denser at noon, none before listing or in an outage."""
        waits = -np.log1p(-noise.uniform(key, np.arange(count, dtype=np.int64)))
        u = np.cumsum(waits)
        u /= u[-1] + waits[0]
        u = u - 0.3 * np.sin(2 * np.pi * u) / (2 * np.pi)
        start, end = day * US_PER_DAY, (day + 1) * US_PER_DAY
        start = max(start, instrument.listed_us)
        closed = [
            (max(a, start), min(b, end))
            for a, b in sorted(self._outages.get(instrument.exchange, []))
            if a < end and b > start
        ]
        open_us = (end - start) - sum(b - a for a, b in closed)
        times = start + (np.clip(u, 0.0, 1.0 - 1e-12) * max(open_us, 1)).astype(np.int64)
        for a, b in closed:
            times = np.where(times >= a, times + (b - a), times)
        return np.minimum(times, end - 1)

    def _prices(self, instrument: Instrument, day: int, times: Ints, buy: Flags) -> Ints:
        lattice = day * US_PER_DAY + np.arange(1_441, dtype=np.int64) * US_PER_MINUTE
        middle = np.interp(times, lattice, np.log(self._middle(instrument, lattice)))
        fine = noise.value_noise(
            noise.make_key(self._seed, "fine", instrument.symbol), times, _FINE_S * US_PER_S
        )
        middle += fine * (_PER_ROOT_S * _FINE_S**0.5)
        steps = self._to_steps(instrument, np.exp(middle))
        return steps + np.where(buy, unit_of(instrument.price_step), 0)

    def _middle(self, instrument: Instrument, times: Ints) -> npt.NDArray[np.float64]:
        """Return the middle price without its finest octave."""
        total = np.zeros(len(times))
        for period in _OCTAVES_S:
            key = noise.make_key(self._seed, "price", instrument.base, period)
            wave = noise.value_noise(key, times, period * US_PER_S)
            total += wave * (_PER_ROOT_S * period**0.5)
        key = noise.make_key(self._seed, "basis", instrument.exchange, instrument.symbol)
        total += _BASIS * noise.value_noise(key, times, _BASIS_S * US_PER_S)
        return np.asarray(instrument.price * np.exp(total), dtype=np.float64)

    def _to_steps(self, instrument: Instrument, prices: npt.NDArray[np.float64]) -> Ints:
        """Return prices rounded to the step, at least one step, in the price's unit."""
        steps = np.maximum(1.0, np.floor(prices / float(instrument.price_step)))
        return steps.astype(np.int64) * unit_of(instrument.price_step)

    def typical_size(self, instrument: Instrument) -> float:
        """Return the size of an ordinary trade, in steps of size."""
        quote_of_one = float(instrument.contract * instrument.size_step)
        if instrument.kind is not Kind.INVERSE:
            quote_of_one *= instrument.price
        return max(1.0, _TYPICAL_NOTIONAL / quote_of_one)

    def _make_minutes(self, instrument: Instrument, day: int) -> Candles:
        trades = self.trades(instrument, day)
        traded = self._aggregate_trades(trades, Bar(US_PER_MINUTE))
        opens = self._minutes_of(instrument, day)
        if len(traded) == len(opens):
            return traded
        place = np.searchsorted(traded.open_us, opens, side="right") - 1
        before = 0
        if len(opens) and place[0] < 0:
            before = self._close_before(instrument, day)
            if not before:  # listed, but nothing traded yet: candles begin with the first trade
                opens, place = opens[place >= 0], place[place >= 0]
        closes = np.where(place >= 0, traded.close[place], before)
        rows = candle.flat(opens, 0)
        filled = Candles(
            opens, closes, closes, closes, closes, *(getattr(rows, n) for n in candle.COLUMNS[5:])
        )
        at = np.searchsorted(opens, traded.open_us)
        columns: list[Ints] = []
        for name in candle.COLUMNS:
            column = getattr(filled, name).copy()
            column[at] = getattr(traded, name)
            columns.append(column)
        return Candles(*columns)

    def _minutes_of(self, instrument: Instrument, day: int) -> Ints:
        """Return the minutes of a day in which the venue was open, wholly or in part."""
        start = max(day * US_PER_DAY, instrument.listed_us // US_PER_MINUTE * US_PER_MINUTE)
        opens = np.arange(start, (day + 1) * US_PER_DAY, US_PER_MINUTE, dtype=np.int64)
        for a, b in self._outages.get(instrument.exchange, []):
            opens = opens[(opens < a) | (opens + US_PER_MINUTE > b)]
        return opens

    def _close_before(self, instrument: Instrument, day: int) -> int:
        earlier = self.trades(instrument, day - 1)
        return int(earlier.price[-1]) if len(earlier) else 0

    def _forming_minute(self, instrument: Instrument, start_us: int, now_us: int) -> Candles:
        trades = self.trades(instrument, now_us // US_PER_DAY)
        first = int(np.searchsorted(trades.time_us, start_us))
        stop = int(np.searchsorted(trades.time_us, now_us, side="right"))
        if first < stop:
            return self._aggregate_trades(trades.take(first, stop), Bar(US_PER_MINUTE))
        minute = start_us // US_PER_MINUTE * US_PER_MINUTE
        if minute not in self._minutes_of(instrument, now_us // US_PER_DAY):
            return candle.EMPTY
        return candle.flat(np.array([minute]), self.price_at(instrument, start_us))

    def _aggregate_trades(self, trades: Trades, bar: Bar) -> Candles:
        """Return the candles of `trades`; their columns are one-trade candles merged."""
        if not len(trades):
            return candle.EMPTY
        ones = np.ones(len(trades), dtype=np.int64)
        single = Candles(
            trades.time_us, trades.price, trades.price, trades.price, trades.price,
            trades.size, trades.base, trades.quote, ones,
            trades.size * trades.buy, trades.base * trades.buy, trades.quote * trades.buy,
        )  # fmt: skip
        return candle.merge(single, bar.floor_many(trades.time_us))


def _join(parts: list[Trades]) -> Trades:
    """Return trades of consecutive days as one."""
    columns = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("time_us", "price", "size", "base", "quote", "buy")
    ]
    return Trades(parts[0].first_id, *columns)


def _amounts(instrument: Instrument, price: Ints, size: Ints) -> tuple[Ints, Ints]:
    """Return base and quote amounts of trades, in the instrument's units."""
    contract = unit_of(instrument.contract)
    if instrument.kind is not Kind.INVERSE:
        base = size * contract
        return base, base * price
    quote = size * contract
    power = instrument.base_decimals + instrument.price_decimals - instrument.quote_decimals
    return (2 * quote * 10**power + price) // (2 * price), quote
