"""Which rows of a reply may be stored, and why the others may not.

Every check is about one row, or about two rows of one key. A clean table comes back as it is; what
is refused is handed back with its reason and its values, for the quarantine: nothing is dropped
in silence but exact repeats.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.bookside import BookSide
from zvt_crypto.core.column import (
    Bools,
    Ints,
    arrays_of,
    as_array,
    equals_text,
    floats_of,
    holds_zero,
    nulls_of,
    numeric_ids,
    text_lengths,
    times_of,
    trade_order,
    whole_text,
)
from zvt_crypto.core.digest import row_hashes
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side
from zvt_crypto.core.schema import CANDLES
from zvt_crypto.core.series import Kind

RAW_LIMIT: Final = 500
"""Characters of a refused row that are kept."""

FUTURE_TOLERANCE_US: Final = 5 * US_PER_MINUTE
"""How far a row may be ahead of our clock: more than clocks differ, less than any history."""

# 2100-01-01: with no clock given, later times can only be a wrong unit.
_FAR_US: Final = 4_102_444_800_000_000
# Exchanges round the two volumes of a candle apart.
_TAKER_TOLERANCE: Final = 1e-9
_BLOCK_ROWS: Final = 32_768
_NEVER_NULL: Final = tuple(field.name for field in CANDLES if not field.nullable)


class Reason(StrEnum):
    """Why a row is refused; where several apply, the first in this order is given."""

    NULL = "null"
    """A value that must be there is not."""
    OUTSIDE_WINDOW = "outside_window"
    """The time is not in the range the exchange was asked for."""
    FAR_FUTURE = "far_future"
    """The time is minutes after our clock, or after the year 2100."""
    OFF_GRID = "off_grid"
    """No candle of this interval opens at this time."""
    NOT_FINITE = "not_finite"
    """A number is NaN or infinite."""
    NOT_POSITIVE = "not_positive"
    """A price, or a number of hours, is zero or less."""
    NEGATIVE = "negative"
    """A volume, size or count is less than zero."""
    OHLC = "ohlc"
    """Not low <= open, close <= high."""
    TAKER_VOLUME = "taker_volume"
    """Takers bought more than was traded."""
    BAD_SIDE = "bad_side"
    """The side is none of buy, sell and unknown."""
    NO_ID = "no_id"
    """The trade has no id."""
    BAD_ID = "bad_id"
    """The trade's id holds the character U+0000, which not every store can keep."""
    UNEVEN = "uneven"
    """A side of a book has more prices than sizes, or fewer, or one without a value."""
    UNSORTED = "unsorted"
    """A side of a whole book does not go from the best price on, or names one twice."""
    CROSSED = "crossed"
    """Somebody bids at least what another asks."""
    DUPLICATE = "duplicate"
    """A later row of the same reply has the same key and other values."""


class Rejected(msgspec.Struct, frozen=True):
    """One row that could not be parsed or is invalid: kept beside the data, never dropped.

    `reason` is a `Reason`, or a parser's own word; `raw` is what the row said. Halves of a
    character stand in both as escapes, U+0000 in a reason, too.
    """

    timestamp_us: int | None
    reason: str
    raw: str

    def __post_init__(self) -> None:
        if not self.raw.isascii():
            msgspec.structs.force_setattr(self, "raw", whole_text(self.raw))
        if not self.reason.isprintable():
            reason = whole_text(self.reason).replace("\0", "\\x00")
            msgspec.structs.force_setattr(self, "reason", reason)


class Checked(msgspec.Struct, frozen=True):
    """Rows that may be stored, in key order and unique by key, and the rows that may not."""

    table: pa.Table
    rejected: Sequence[Rejected] = ()


def validate_candles(
    table: pa.Table, interval: Interval, window: Range | None, *, now_us: int | None = None
) -> Checked:
    """Check candles in the schema CANDLES, in the order the exchange sent them.

    Args:
        table: the rows; not changed.
        interval: their interval; every time must be an open of it.
        window: what was asked for; rows that open outside are refused. None accepts all times.
        now_us: our clock, to refuse rows from the future. None refuses only absurd times.

    Returns:
        The same table if nothing is wrong with it, else the valid rows, ascending. Of rows with
        one time and different values the last one stays.
    """
    times = times_of(table)
    bounds = _bounds(window, now_us)
    if _candles_are_clean(table, times, interval, bounds):
        return Checked(table)
    order = _time_order(table)
    if order is not None:
        # Rows of one time stay in the order they came in, so the last of them is still the last.
        table, times = table.take(pa.array(order)), times[order]
        if _candles_are_clean(table, times, interval, bounds):
            return Checked(table)
    codes = _Codes(len(times))
    codes.mark_nulls(table)
    codes.mark_times(times, window, bounds)
    codes.mark(Reason.OFF_GRID, interval.floor_many(times) != times)
    names = ("open", "high", "low", "close")
    open_, high, low, close = (floats_of(table, name) for name in names)
    codes.mark_not_finite(table, (*names, "volume", "quote_volume", "taker_buy_volume"))
    codes.mark(Reason.NOT_POSITIVE, (open_ <= 0) | (high <= 0) | (low <= 0) | (close <= 0))
    for name in ("volume", "quote_volume", "trade_count", "taker_buy_volume"):
        codes.mark(Reason.NEGATIVE, floats_of(table, name) < 0)
    codes.mark(
        Reason.OHLC, (low > open_) | (low > close) | (high < open_) | (high < close) | (low > high)
    )
    ceiling = floats_of(table, "volume") * (1 + _TAKER_TOLERANCE)
    codes.mark(Reason.TAKER_VOLUME, floats_of(table, "taker_buy_volume") > ceiling)
    return _settle(table, times, codes, _time_keys, _time_order)


def validate_trades(table: pa.Table, window: Range | None, *, now_us: int | None = None) -> Checked:
    """Check trades in the schema TRADES; see `validate_candles`.

    Returns:
        The same table if nothing is wrong with it, else the valid rows by time, then numeric id;
        trades without numeric ids stay in the order they came in within one time. Trades are
        equal in key if time and id are.
    """
    times = times_of(table)
    codes = _Codes(len(times))
    codes.mark_nulls(table)
    codes.mark_times(times, window, _bounds(window, now_us))
    price, size = floats_of(table, "price"), floats_of(table, "size")
    codes.mark_not_finite(table, ("price", "size"))
    codes.mark(Reason.NOT_POSITIVE, price <= 0)
    codes.mark(Reason.NEGATIVE, size < 0)
    fills = as_array(table.column("fills"))
    if fills.null_count < len(fills):
        codes.mark(Reason.NEGATIVE, floats_of(table, "fills") < 0)
    side, ids = as_array(table.column("side")), as_array(table.column("trade_id"))
    known = [equals_text(side, one) for one in Side]
    codes.mark(Reason.BAD_SIDE, ~np.logical_or.reduce(known))
    codes.mark(Reason.NO_ID, text_lengths(ids) == 0)
    if (zeros := holds_zero(ids)) is not None:
        codes.mark(Reason.BAD_ID, zeros)
    return _settle(table, times, codes, _trade_keys, trade_order)


def validate_funding(
    table: pa.Table, window: Range | None, *, now_us: int | None = None
) -> Checked:
    """Check settled funding in the schema FUNDING; see `validate_candles`."""
    times = times_of(table)
    codes = _Codes(len(times))
    codes.mark_nulls(table)
    codes.mark_times(times, window, _bounds(window, now_us))
    codes.mark_not_finite(table, ("funding_rate", "interval_hours", "mark_price"))
    for name in ("interval_hours", "mark_price"):
        codes.mark(Reason.NOT_POSITIVE, floats_of(table, name) <= 0)
    return _settle(table, times, codes, _time_keys, _time_order)


def validate_books(
    table: pa.Table, kind: Kind, window: Range | None, *, now_us: int | None = None
) -> Checked:
    """Check snapshots or deltas of books in the schema of `kind`; see `validate_candles`.

    A snapshot has sizes above zero, bids descending, asks ascending, and is not crossed; in a
    delta a size of zero removes its price.

    Returns:
        The same table if nothing is wrong with it, else the valid rows by time, then number.
    """
    times = times_of(table)
    codes = _Codes(len(times))
    codes.mark_nulls(table)
    codes.mark_times(times, window, _bounds(window, now_us))
    is_whole = kind is Kind.BOOK_SNAPSHOTS
    sides = [BookSide(table, name) for name in ("bid", "ask")]
    for side in sides:
        codes.mark(Reason.UNEVEN, side.uneven)
    codes.mark(Reason.NEGATIVE, floats_of(table, "sequence") < 0)
    for side in sides:
        codes.mark(
            Reason.NOT_FINITE, side.any(~np.isfinite(side.prices) | ~np.isfinite(side.sizes))
        )
        codes.mark(Reason.NOT_POSITIVE, side.any(side.prices <= 0))
        too_small = side.sizes <= 0 if is_whole else side.sizes < 0
        codes.mark(Reason.NEGATIVE, side.any(too_small))
        if is_whole:
            codes.mark(Reason.UNSORTED, side.any(side.steps(down=side is sides[0]) <= 0))
    if is_whole:
        codes.mark(Reason.CROSSED, sides[0].best(-np.inf) >= sides[1].best(np.inf))
    return _settle(table, times, codes, _number_keys, _number_order)


class _Codes:
    """The first reason found against every row; 0 stands for none."""

    def __init__(self, rows: int) -> None:
        self.of_row: npt.NDArray[np.int8] = np.zeros(rows, dtype=np.int8)

    def mark(self, reason: Reason, wrong: Bools) -> None:
        if wrong.any():
            self.of_row[wrong & (self.of_row == 0)] = 1 + _REASONS.index(reason)

    def mark_nulls(self, table: pa.Table) -> None:
        for field in table.schema:
            if not field.nullable and table.column(field.name).null_count:
                self.mark(Reason.NULL, nulls_of(table, field.name))

    def mark_times(self, times: Ints, window: Range | None, bounds: Range) -> None:
        if window is not None:
            self.mark(Reason.OUTSIDE_WINDOW, (times < window.start) | (times >= window.end))
        self.mark(Reason.FAR_FUTURE, times >= bounds.end)

    def mark_not_finite(self, table: pa.Table, names: Sequence[str]) -> None:
        for name in names:
            broken = ~np.isfinite(floats_of(table, name))
            if broken.any():
                self.mark(Reason.NOT_FINITE, broken & ~nulls_of(table, name))


_REASONS: Final = tuple(Reason)
_Keys = Callable[[pa.Table], tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]]
_Order = Callable[[pa.Table], Ints | None]


def _bounds(window: Range | None, now_us: int | None) -> Range:
    """Return the times that are neither outside the window nor in the future."""
    latest = _FAR_US if now_us is None else min(_FAR_US, now_us + FUTURE_TOLERANCE_US)
    if window is None:
        return Range(np.iinfo(np.int64).min + 1, latest)
    return Range(window.start, min(window.end, latest))


def _candles_are_clean(table: pa.Table, times: Ints, interval: Interval, bounds: Range) -> bool:
    """Return whether every check passes.

    Comparisons with NaN are false, so they are written to be true of good rows only; between
    a positive low and a finite high, open and close are both.
    """
    if len(times) == 0:
        return True
    columns = arrays_of(table)
    return (
        not any(columns[name].null_count for name in _NEVER_NULL)
        and bounds.start <= int(times[0])
        and int(times[-1]) < bounds.end
        and (_is_gapless(times, interval) or _is_on_grid(times, interval))
        and _amounts_are_sane(columns)
    )


def _is_on_grid(times: Ints, interval: Interval) -> bool:
    return bool((times[1:] > times[:-1]).all()) and bool(
        (interval.floor_many(times) == times).all()
    )


def _amounts_are_sane(columns: Mapping[str, pa.Array]) -> bool:
    """Return whether prices and volumes of every candle agree, walking once in cached blocks."""
    names = ("open", "high", "low", "close", "volume")
    open_, high, low, close, volume = (columns[name].to_numpy() for name in names)
    extras = [_nullable(columns[name]) for name in ("quote_volume", "trade_count")]
    takers = _nullable(columns["taker_buy_volume"])
    for at in range(0, len(open_), _BLOCK_ROWS):
        part = slice(at, at + _BLOCK_ROWS)
        o, h, lo, c, v = open_[part], high[part], low[part], close[part], volume[part]
        agree = (lo <= np.minimum(o, c)) & (np.maximum(o, c) <= h)
        if takers is not None:
            values, present = takers
            within = values[part] <= v * (1 + _TAKER_TOLERANCE)
            agree &= within if present is None else within | ~present[part]
        good = (
            bool(agree.all())
            and lo.min() > 0
            and h.max() < np.inf
            and v.min() >= 0
            and v.max() < np.inf
            and all(_is_amount(extra, part) for extra in (*extras, takers))
        )
        if not good:
            return False
    return True


def _is_gapless(times: Ints, interval: Interval) -> bool:
    """Return whether each candle follows the one before it; cheaper than a division a row."""
    width = interval.width_us
    return (
        width is not None
        and interval.is_open(int(times[0]))
        and bool((times[1:] - times[:-1] == width).all())
    )


def _nullable(column: pa.Array) -> tuple[npt.NDArray[np.float64] | Ints, Bools | None] | None:
    """Return values and presence of a nullable column: None if empty, no mask if full."""
    if column.null_count == len(column):
        return None
    if not column.null_count:
        return column.to_numpy(), None
    return column.fill_null(0).to_numpy(), np.asarray(column.is_valid())


def _is_amount(
    extra: tuple[npt.NDArray[np.float64] | Ints, Bools | None] | None, part: slice
) -> bool:
    if extra is None:
        return True
    values = extra[0][part]
    return bool(values.min() >= 0) and bool(values.max() < np.inf)


def _settle(table: pa.Table, times: Ints, codes: _Codes, keys: _Keys, order: _Order) -> Checked:
    """Refuse the rows with a code, then repeated keys, then sort what is left."""
    rejected: list[Rejected] = []
    bad = np.flatnonzero(codes.of_row)
    if len(bad):
        reasons = [_REASONS[code - 1] for code in codes.of_row[bad].tolist()]
        rejected.extend(_reject(table, times, bad, reasons))
        good = np.flatnonzero(codes.of_row == 0)
        table, times = table.take(pa.array(good)), times[good]
    drop, differing = _repeats(table, keys)
    if len(drop):
        reasons = [Reason.DUPLICATE] * len(differing)
        rejected.extend(_reject(table, times, differing, reasons))
        kept = np.ones(len(times), dtype=np.bool_)
        kept[drop] = False
        table = table.take(pa.array(np.flatnonzero(kept)))
    rows = order(table)
    if rows is not None:
        table = table.take(pa.array(rows))
    return Checked(table, tuple(rejected))


def _repeats(table: pa.Table, keys: _Keys) -> tuple[Ints, Ints]:
    """Return the rows a later row of the same key replaces, and which of them differ from it."""
    first, second = keys(table)
    none: Ints = np.zeros(0, dtype=np.int64)
    if bool((first[1:] > first[:-1]).all()):
        return none, none
    order = np.lexsort((second, first))  # stable: rows of one key keep the order they came in
    first, second = first[order], second[order]
    same = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    if not bool(same.any()):
        return none, none
    # Rows of a run point to its end: the next place where a key is not repeated.
    ends = np.append(np.flatnonzero(~same), len(order) - 1)
    early = np.flatnonzero(same)
    last = ends[np.searchsorted(ends, early)]
    drop, kept = order[early], order[last]
    mine, theirs = (row_hashes(table.take(pa.array(rows))) for rows in (drop, kept))
    differ = (mine[0] != theirs[0]) | (mine[1] != theirs[1])
    return drop, np.sort(drop[differ])


def _time_keys(table: pa.Table) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    # Flipping the sign bit keeps the order of times before 1970 in unsigned numbers.
    times = times_of(table).view(np.uint64) ^ np.uint64(1 << 63)
    return times, np.zeros(len(times), dtype=np.uint64)


def _trade_keys(table: pa.Table) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    ids = numeric_ids(table.column("trade_id"))
    if ids is not None and _has_one_spelling(table, ids):
        # Numeric ids alone are unique in time order far more often than times are.
        if bool((ids[1:] > ids[:-1]).all()):
            return ids.view(np.uint64) ^ np.uint64(1 << 63), np.zeros(len(ids), dtype=np.uint64)
        return _time_keys(table)[0], ids.view(np.uint64)
    return row_hashes(table.select(["timestamp", "trade_id"]))


def _number_keys(table: pa.Table) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    return _time_keys(table)[0], times_of(table, "sequence").view(np.uint64)


def _number_order(table: pa.Table) -> Ints | None:
    moments, numbers = times_of(table), times_of(table, "sequence")
    steps, counts = np.diff(moments), np.diff(numbers)
    if bool(((steps > 0) | ((steps == 0) & (counts > 0))).all()):
        return None
    return np.lexsort((numbers, moments))


def _has_one_spelling(table: pa.Table, ids: Ints) -> bool:
    """Return whether the texts of `ids` are plain numbers, so that 07 and 7 stay two ids."""
    widths = text_lengths(as_array(table.column("trade_id")))
    digits = np.ones(len(ids), dtype=np.int64)
    for power in range(1, 19):
        at_least = ids >= 10**power
        if not at_least.any():
            break
        digits += at_least
    return bool((ids >= 0).all()) and bool((widths == digits).all())


def _time_order(table: pa.Table) -> Ints | None:
    times = times_of(table)
    if bool((times[1:] > times[:-1]).all()):
        return None
    return np.argsort(times, kind="stable")


def _reject(table: pa.Table, times: Ints, rows: Ints, reasons: Sequence[Reason]) -> list[Rejected]:
    """Return the refusals of `rows`, worded from the values of each."""
    part = table.take(pa.array(rows))
    names = part.schema.names
    # Times as numbers: a time out of the calendar has no other text.
    values = [
        (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for column in part.columns
    ]
    missing = nulls_of(part, "timestamp")
    return [
        Rejected(
            None if lacks else int(time),
            reason,
            " ".join(f"{name}={value}" for name, value in zip(names, row, strict=True))[:RAW_LIMIT],
        )
        for time, lacks, reason, row in zip(
            times[rows].tolist(), missing, reasons, zip(*values, strict=True), strict=True
        )
    ]
