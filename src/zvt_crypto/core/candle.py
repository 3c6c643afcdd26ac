"""Candles made of finer candles or of trades, never across a hole without saying so.

A candle is the truth about its whole span or it is not made: what is not known to be complete is
handed back as a hole, for the caller to fetch or to publish as missing.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.column import (
    Bools,
    Floats,
    Ints,
    as_array,
    equals_text,
    floats_of,
    nulls_of,
    times_of,
    trade_order,
)
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range, subtract, union
from zvt_crypto.core.record import Side
from zvt_crypto.core.schema import CANDLES


class Aggregated(msgspec.Struct, frozen=True):
    """Coarser candles, and the spans (joined, ascending) no candle could be made for."""

    table: pa.Table
    holes: Sequence[Range]


def aggregate(
    table: pa.Table, source: Interval, target: Interval, covered: Sequence[Range] | None
) -> Aggregated:
    """Return candles of `target` made of those of `source`.

    Args:
        table: candles in the schema CANDLES, unique by time, in any order.
        source: their interval; must tile `target` (`Interval.divides`).
        target: the interval wanted.
        covered: time in which the source is known complete, observed or confirmed empty. None
            vouches for all of it.

    Returns:
        A candle for every target span that lies inside `covered` and holds a source row; a
        covered span without one had no trades. Every other span from the first to the last that
        `covered` or a row touches is a hole, and rows in it are left out. A sum with a null in it
        is null.

    Raises:
        ValueError: candles of `source` do not tile those of `target`.
    """
    if not source.divides(target):
        raise ValueError(f"candles of {source} do not tile those of {target}")
    times = times_of(table)
    if len(times) > 1 and not bool((np.diff(times) > 0).all()):
        order = np.argsort(times, kind="stable")
        table, times = table.take(pa.array(order)), times[order]
    opens = target.floor_many(times)
    holes: list[Range] = []
    if covered is not None:
        complete = [_whole_spans(part, target) for part in union(covered)]
        complete = [part for part in complete if not part.is_empty]
        holes = subtract(_touched(times, source, target, covered), complete)
        inside = _inside(opens, complete)
        if not bool(inside.all()):
            table, opens = _filter(table, inside), opens[inside]
    return Aggregated(_fold_candles(table, opens), holes)


def candles_from_trades(
    trades: pa.Table, interval: Interval, window: Range | None = None
) -> pa.Table:
    """Return the candles that `trades` make, in the schema CANDLES.

    Args:
        trades: rows in the schema TRADES, in any order, unique by key. The caller vouches that
            they are complete.
        interval: width of the candles.
        window: where the trades are complete; candles that reach out of it are left out. None
            keeps all.

    Returns:
        Candles ascending. First and last price follow time, then numeric trade id.
        `trade_count` counts fills where rows say how many they fold. `taker_buy_volume` is null
        in a candle with a trade of unknown side.
    """
    order = trade_order(trades)
    if order is not None:
        trades = trades.take(pa.array(order))
    times = times_of(trades)
    opens = interval.floor_many(times)
    if window is not None:
        inside = _inside(opens, [_whole_spans(window, interval)])
        if not bool(inside.all()):
            trades, opens = _filter(trades, inside), opens[inside]
    if not len(opens):
        return CANDLES.empty_table()
    starts = _starts(opens)
    price, size = floats_of(trades, "price"), floats_of(trades, "size")
    side = as_array(trades.column("side"))
    fills = as_array(trades.column("fills")).fill_null(1).to_numpy(zero_copy_only=False)
    is_buy = equals_text(side, Side.BUY)
    is_known = is_buy | equals_text(side, Side.SELL)
    buys = np.add.reduceat(np.where(is_buy, size, 0.0), starts)
    known = np.logical_and.reduceat(is_known, starts)
    return _candle_table(
        opens[starts],
        open_=price[starts],
        high=np.maximum.reduceat(price, starts),
        low=np.minimum.reduceat(price, starts),
        close=price[_ends(starts, len(opens))],
        volume=np.add.reduceat(size, starts),
        quote_volume=pa.array(np.add.reduceat(price * size, starts)),
        trade_count=pa.array(np.add.reduceat(fills, starts)),
        taker_buy_volume=pa.array(buys, mask=~known),
    )


def _fold_candles(table: pa.Table, opens: Ints) -> pa.Table:
    if not len(opens):
        return CANDLES.empty_table()
    starts = _starts(opens)
    return _candle_table(
        opens[starts],
        open_=floats_of(table, "open")[starts],
        high=np.maximum.reduceat(floats_of(table, "high"), starts),
        low=np.minimum.reduceat(floats_of(table, "low"), starts),
        close=floats_of(table, "close")[_ends(starts, len(opens))],
        volume=np.add.reduceat(floats_of(table, "volume"), starts),
        quote_volume=_sum(table, "quote_volume", starts),
        trade_count=_sum(table, "trade_count", starts),
        taker_buy_volume=_sum(table, "taker_buy_volume", starts),
    )


def _sum(table: pa.Table, name: str, starts: Ints) -> pa.Array:
    """Return the sums of a nullable column; a sum with a null in it is null."""
    column = as_array(table.column(name))
    if column.null_count == len(column):
        return pa.nulls(len(starts), column.type)
    if not column.null_count:
        return pa.array(np.add.reduceat(column.to_numpy(zero_copy_only=False), starts))
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    broken = np.logical_or.reduceat(nulls_of(table, name), starts)
    return pa.array(np.add.reduceat(values, starts), mask=broken)


def _candle_table(
    opens: Ints,
    *,
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    quote_volume: pa.Array,
    trade_count: pa.Array,
    taker_buy_volume: pa.Array,
) -> pa.Table:
    columns = [opens, open_, high, low, close, volume, quote_volume, trade_count, taker_buy_volume]
    arrays = [
        pa.array(column).cast(field.type) for column, field in zip(columns, CANDLES, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=CANDLES)


def _filter(table: pa.Table, inside: Bools) -> pa.Table:
    """Return the rows inside; most often one stretch, which costs no copy."""
    rows = np.flatnonzero(inside)
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return table.slice(int(rows[0]), len(rows))
    return table.take(pa.array(rows))


def _starts(opens: Ints) -> Ints:
    """Return the first row of every run of equal opens."""
    return np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1]))).astype(np.int64)


def _ends(starts: Ints, rows: int) -> Ints:
    """Return the last row of every run."""
    return np.append(starts[1:], rows) - 1


def _whole_spans(part: Range, interval: Interval) -> Range:
    """Return the part cut to candles that lie in it from open to close; may be empty."""
    return Range(interval.ceil(part.start), interval.floor(part.end))


def _inside(opens: Ints, complete: Sequence[Range]) -> Bools:
    """Return which candles open in one of the disjoint ascending ranges."""
    if not complete:
        return np.zeros(len(opens), dtype=np.bool_)
    starts = np.array([part.start for part in complete], dtype=np.int64)
    ends = np.array([part.end for part in complete], dtype=np.int64)
    at = np.searchsorted(starts, opens, side="right") - 1
    return (at >= 0) & (opens < ends[at])


def _touched(
    times: Ints, source: Interval, target: Interval, covered: Sequence[Range]
) -> list[Range]:
    """Return the target spans from the first to the last that a row or `covered` touches."""
    bounds = union(covered)
    if len(times):
        bounds = union([*bounds, Range(int(times[0]), source.shift(int(times[-1]), 1))])
    if not bounds:
        return []
    return [Range(target.floor(bounds[0].start), target.ceil(bounds[-1].end))]
