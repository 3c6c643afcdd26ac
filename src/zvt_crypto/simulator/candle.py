"""Candles as columns, and the exact arithmetic that makes wide ones from narrow ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.encode import Column, Number
from zvt_crypto.simulator.instrument import Instrument

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Candles of one instrument in ascending order, in its integer units.

    Attributes:
        open_us: opens.
        native: volume in the venue's size unit (contracts, where it has contracts).
        base, quote: volume in base and quote coins.
        count: trades.
        buy_native, buy_base, buy_quote: the part of the volumes that takers bought.
    """

    open_us: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    native: Ints
    base: Ints
    quote: Ints
    count: Ints
    buy_native: Ints
    buy_base: Ints
    buy_quote: Ints

    def __len__(self) -> int:
        return len(self.open_us)

    def take(self, index: slice | Ints | npt.NDArray[np.bool_]) -> "Candles":
        """Return the chosen rows."""
        return Candles(*(getattr(self, name)[index] for name in COLUMNS))

    def between(self, start_us: int, end_us: int) -> "Candles":
        """Return the rows that open in `[start_us, end_us)`."""
        first, stop = np.searchsorted(self.open_us, [start_us, end_us])
        return self.take(slice(int(first), int(stop)))


COLUMNS = tuple(Candles.__dataclass_fields__)
_SUMMED = ("native", "base", "quote", "count", "buy_native", "buy_base", "buy_quote")


@dataclass(frozen=True, slots=True, eq=False)
class CandleColumns:
    """Candles ready to be written: the columns of `Candles`, as numbers or as a file's texts."""

    open_us: Ints
    close_us: Ints
    open: Column
    high: Column
    low: Column
    close: Column
    native: Column
    base: Column
    quote: Column
    count: Column
    buy_native: Column
    buy_base: Column
    buy_quote: Column

    def __len__(self) -> int:
        return len(self.open_us)

    def take(self, index: slice | npt.NDArray[np.bool_]) -> "CandleColumns":
        """Return the chosen rows."""
        columns = {name: getattr(self, name).take(index) for name in COLUMNS[1:]}
        return CandleColumns(self.open_us[index], self.close_us[index], **columns)

    def reversed(self) -> "CandleColumns":
        """Return the rows in the opposite order, for venues that answer newest first."""
        return self.take(slice(None, None, -1))


def columns_of(candles: Candles, instrument: Instrument, bar: Bar) -> CandleColumns:
    """Return `candles` with the decimals of their instrument."""
    price, size = instrument.price_decimals, instrument.size_decimals
    base, quote = instrument.base_decimals, instrument.quote_decimals
    return CandleColumns(
        open_us=candles.open_us,
        close_us=bar.closes(candles.open_us),
        open=Number(candles.open, price),
        high=Number(candles.high, price),
        low=Number(candles.low, price),
        close=Number(candles.close, price),
        native=Number(candles.native, size),
        base=Number(candles.base, base),
        quote=Number(candles.quote, quote),
        count=Number(candles.count),
        buy_native=Number(candles.buy_native, size),
        buy_base=Number(candles.buy_base, base),
        buy_quote=Number(candles.buy_quote, quote),
    )


def aggregate(candles: Candles, bar: Bar) -> Candles:
    """Return `candles` merged into the wider `bar`; a bar without any of them does not exist."""
    return merge(candles, bar.floor_many(candles.open_us)) if len(candles) else candles


def merge(candles: Candles, opens: Ints) -> Candles:
    """Return one candle for every run of equal `opens`, which name the candle of each row.

    The prices of rows without trades count only where a whole candle has none, so that a candle
    is the same whether made of trades, of traded minutes or of all minutes.
    """
    rows = _merge_rows(candles, opens)
    traded = candles.count > 0
    if traded.all() or not traded.any():
        return rows
    dealt = _merge_rows(candles.take(traded), opens[traded])
    at = np.searchsorted(rows.open_us, dealt.open_us)
    for name in ("open", "high", "low"):
        getattr(rows, name)[at] = getattr(dealt, name)
    return rows


def _merge_rows(candles: Candles, opens: Ints) -> Candles:
    first = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    last = np.concatenate((first[1:], [len(opens)])) - 1
    sums = {name: np.add.reduceat(getattr(candles, name), first) for name in _SUMMED}
    return Candles(
        open_us=opens[first],
        open=candles.open[first],
        high=np.maximum.reduceat(candles.high, first),
        low=np.minimum.reduceat(candles.low, first),
        close=candles.close[last],
        **sums,
    )


def concat(parts: list[Candles]) -> Candles:
    """Return the rows of all `parts`, in order."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    return Candles(*(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))


def flat(opens: Ints, price: int) -> Candles:
    """Return candles without trades at `price`."""
    prices = np.full(len(opens), price, dtype=np.int64)
    zero = np.zeros(len(opens), dtype=np.int64)
    return Candles(opens, prices, prices, prices, prices, *([zero] * len(_SUMMED)))


EMPTY = flat(np.zeros(0, dtype=np.int64), 0)
