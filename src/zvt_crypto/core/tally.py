"""What trades add up to, exactly.

Exchanges add decimals; floats added naively drift from their totals. Every amount is therefore
turned into the decimal its shortest text says, kept as a whole number of tiny units, and divided
once, when the total is asked for: the result is the float64 nearest to the decimal sum.
"""

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.column import as_array, floats_of, times_of
from zvt_crypto.core.record import Side, Trade

# Finer decimals than 10**-40 are rounded to it: no exchange writes them.
_DIGITS: Final = 40
_AMOUNT: Final = 10**_DIGITS
_VALUE: Final = _AMOUNT * _AMOUNT
# Decimals that most prices and sizes fit in. Up to 15 digits no two decimals share a float64.
_SCALES: Final = (8, 12)
_EXACT: Final = 1e15
_MOST: Final = (1 << 63) - 1
# Members are looked up once: an enum's attributes are slow.
_BUY: Final = Side.BUY
_UNKNOWN: Final = Side.UNKNOWN


class Tally(msgspec.Struct):
    """Open, extremes, close and exact sums of some trades; the sums are in tiny units.

    `first` and `last` are time and id of the trades that opened and closed; of equal times the
    smaller id is the earlier where both ids are numbers, else the one that came first.
    """

    first: tuple[int, int | None]
    last: tuple[int, int | None]
    open: float
    high: float
    low: float
    close: float
    volume: int
    value: int | None
    count: int | None
    bought: int | None

    def add(self, other: "Tally") -> None:
        """Take in other trades."""
        if _is_before(other.first, self.first):
            self.first, self.open = other.first, other.open
        if not _is_before(other.last, self.last):
            self.last, self.close = other.last, other.close
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.volume += other.volume
        self.value = _plus(self.value, other.value)
        self.count = _plus(self.count, other.count)
        self.bought = _plus(self.bought, other.bought)

    def copy(self) -> "Tally":
        """Return another one of the same values."""
        return msgspec.structs.replace(self)

    @property
    def totals(self) -> tuple[float, float | None, int | None, float | None]:
        """Return volume, quote volume, trade count and taker buy volume."""
        return (
            self.volume / _AMOUNT,
            None if self.value is None else self.value / _VALUE,
            self.count,
            None if self.bought is None else self.bought / _AMOUNT,
        )


def tally_trades(trades: Sequence[Trade]) -> Tally:
    """Return what one or more trades add up to, in any order.

    A row that folds several fills counts as so many; a trade of unknown side leaves it unknown
    how much takers bought.
    """
    price = np.array([trade.price for trade in trades])
    first, last = _ends(trades)
    prices, sizes = _units(price), _units(np.array([trade.size for trade in trades]))
    sides = [trade.side for trade in trades]
    is_bought = [side is _BUY for side in sides]
    is_known = not [side for side in sides if side is _UNKNOWN]
    return Tally(
        first=_place(trades[first]),
        last=_place(trades[last]),
        open=trades[first].price,
        high=float(price.max()),
        low=float(price.min()),
        close=trades[last].price,
        volume=sizes.total(),
        value=prices.total_times(sizes),
        count=_count([trade.fills for trade in trades]),
        bought=sizes.total(is_bought) if is_known else None,
    )


def tally_candles(table: pa.Table, ends: npt.NDArray[np.int64]) -> Iterator[tuple[int, Tally]]:
    """Yield open and tally of every row of CANDLES; `ends` are their closes."""
    sums = [_amounts(table, name) for name in ("volume", "quote_volume", "taker_buy_volume")]
    prices = [floats_of(table, name).tolist() for name in ("open", "high", "low", "close")]
    counts = as_array(table.column("trade_count")).to_pylist()
    rows = zip(times_of(table).tolist(), ends.tolist(), *prices, *sums, counts, strict=True)
    for start, end, opened, high, low, closed, volume, value, bought, count in rows:
        yield (
            start,
            Tally(
                first=(start, None),
                last=(end - 1, None),
                open=opened,
                high=high,
                low=low,
                close=closed,
                volume=volume,
                value=None if value is None else value * _AMOUNT,
                count=count,
                bought=bought,
            ),
        )


def together(parts: Sequence[Tally]) -> Tally:
    """Return what one or more tallies add up to, oldest first."""
    whole = parts[0].copy()
    for part in parts[1:]:
        whole.add(part)
    return whole


def _count(fills: list[int | None]) -> int:
    """Return how many fills rows stand for; one that does not say is one."""
    unsaid = fills.count(None)
    return unsaid if unsaid == len(fills) else unsaid + sum(filter(None, fills))


def _is_before(one: tuple[int, int | None], other: tuple[int, int | None]) -> bool:
    if one[0] != other[0]:
        return one[0] < other[0]
    return one[1] is not None and other[1] is not None and one[1] < other[1]


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _place(trade: Trade) -> tuple[int, int | None]:
    return trade.ts_event, _number(trade.trade_id)


def _number(trade_id: int | str) -> int | None:
    if isinstance(trade_id, int):
        return trade_id
    return int(trade_id) if trade_id.isascii() and trade_id.isdigit() else None


def _ends(trades: Sequence[Trade]) -> tuple[int, int]:
    """Return which trade opens and which closes."""
    times = [trade.ts_event for trade in trades]
    ascending = sorted(times)
    opens, closes = ascending[0], ascending[-1]
    first, last = 0, len(times) - 1
    is_plain = times == ascending
    if not is_plain or ascending[:2] == [opens, opens]:
        first = _best(trades, [at for at, time in enumerate(times) if time == opens], 0)
    if not is_plain or ascending[-2:] == [closes, closes]:
        last = _best(trades, [at for at, time in enumerate(times) if time == closes], -1)
    return first, last


def _best(trades: Sequence[Trade], rows: Sequence[int], end: int) -> int:
    """Return the first or last of trades of one moment."""
    numbered = [(number, at) for at in rows if (number := _number(trades[at].trade_id)) is not None]
    if len(numbered) < len(rows):
        return rows[end]
    return (min(numbered) if end == 0 else max(numbered))[1]


class _Units(msgspec.Struct, frozen=True):
    """Amounts as multiples of `grain`, itself a multiple of `10**-_DIGITS`.

    They are an array where sums and products of all of them fit into 64 bits with ease.
    """

    grain: int
    whole: npt.NDArray[np.int64] | Sequence[int]
    most: int

    def total(self, chosen: Sequence[bool] | None = None) -> int:
        """Return the sum of all amounts, or of those chosen."""
        if isinstance(self.whole, np.ndarray) and self.most * len(self.whole) <= _MOST:
            if chosen is None:
                return int(self.whole.sum()) * self.grain
            # By way of bytes, which takes half the time of an array made of a list.
            return int(self.whole[np.frombuffer(bytes(chosen), np.bool_)].sum()) * self.grain
        listed = self.listed()
        return self.grain * sum(listed if chosen is None else itertools.compress(listed, chosen))

    def total_times(self, other: "_Units") -> int:
        """Return the sum of the products with other amounts, one by one."""
        mine, theirs = self.whole, other.whole
        grain = self.grain * other.grain
        if (
            isinstance(mine, np.ndarray)
            and isinstance(theirs, np.ndarray)
            and self.most * other.most * len(mine) <= _MOST
        ):
            return int(mine @ theirs) * grain
        return sum(map(int.__mul__, self.listed(), other.listed())) * grain

    def listed(self) -> Sequence[int]:
        """Return the multiples as numbers without bounds."""
        return self.whole.tolist() if isinstance(self.whole, np.ndarray) else self.whole


def _units(values: npt.NDArray[np.float64]) -> _Units:
    for scale in _SCALES:
        factor = 10.0**scale
        whole = np.rint(values * factor)
        # Both sides of the division are exact, so it gives the float64 nearest to that decimal,
        # and there is no other decimal as short.
        if bool(((whole / factor == values) & (np.abs(whole) < _EXACT)).all()):
            units = whole.astype(np.int64)
            # Prices are multiples of a tick: counted in what they share, their products are small.
            shared = int(np.gcd.reduce(units)) or 1
            units //= shared
            return _Units(shared * 10 ** (_DIGITS - scale), units, int(np.abs(units).max()))
    return _Units(1, [_exact(value) for value in values.tolist()], 0)


def _exact(amount: float) -> int:
    top, bottom = Decimal(repr(amount)).as_integer_ratio()
    return (top * _AMOUNT * 2 + bottom) // (2 * bottom)


def _amounts(table: pa.Table, name: str) -> list[int | None]:
    column = as_array(table.column(name))
    if column.null_count == len(column):
        return [None] * len(column)
    units = _units(column.fill_null(0.0).to_numpy(zero_copy_only=False))
    known = np.asarray(column.is_valid()).tolist()
    return [
        unit * units.grain if is_known else None
        for unit, is_known in zip(units.listed(), known, strict=True)
    ]
