"""Columns of a table as numpy arrays, without a copy where Arrow allows it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def as_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return the column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    joined = column.combine_chunks()
    # Some versions of pyarrow answer with a chunked array of one chunk.
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def arrays_of(table: pa.Table) -> dict[str, pa.Array]:
    """Return all columns in one piece each, by name."""
    batches = table.to_batches()
    # One piece is the usual case, and a batch hands its columns over at half the price.
    columns = batches[0].columns if len(batches) == 1 else map(as_array, table.columns)
    return dict(zip(table.schema.names, columns, strict=True))


def times_of(table: pa.Table, name: str = "timestamp") -> Ints:
    """Return a time column in microseconds; a null becomes the smallest number."""
    column = as_array(table.column(name))
    # The same 64 bits under another name; a cast walks and copies them.
    is_wide = pa.types.is_timestamp(column.type)
    column = column.view(pa.int64()) if is_wide else column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(np.iinfo(np.int64).min)
    return column.to_numpy(zero_copy_only=False)


def floats_of(table: pa.Table, name: str) -> Floats:
    """Return a column as float64; a null becomes NaN."""
    column = as_array(table.column(name))
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64())
    return column.to_numpy(zero_copy_only=column.null_count == 0)


def nulls_of(table: pa.Table, name: str) -> Bools:
    """Return which values of a column are null."""
    return np.asarray(as_array(table.column(name)).is_null())


def equals_text(column: pa.Array, text: str) -> Bools:
    """Return which values of a text column are `text`; a null is not."""
    # By name, because the stubs of pyarrow.compute lack functions it makes at run time.
    same = pc.call_function("equal", [column, pa.scalar(text, column.type)])
    return np.asarray(same.fill_null(fill_value=False))


def holds_zero(column: pa.Array) -> Bools | None:
    """Return which values of a text column hold the character U+0000; None if none does.

    PostgreSQL keeps no text with it, and no exchange has reason to send one.
    """
    if pa.types.is_string(column.type):
        _, places, raw = column.buffers()
        ends = np.frombuffer(places, dtype=np.int32)[column.offset :] if len(column) else []
        if raw is None or not len(ends) or ends[0] == ends[len(column)]:
            return None
        # In UTF-8 no other character has a byte of zero.
        if np.frombuffer(raw, dtype=np.uint8)[ends[0] : ends[len(column)]].min() > 0:
            return None
    found = pc.call_function("match_substring", [column], pc.MatchSubstringOptions("\0"))
    holds = np.asarray(found.fill_null(fill_value=False))
    return holds if holds.any() else None


def whole_text(text: str) -> str:
    """Return a text that can be encoded: halves of a character stand in it as escapes."""
    return text.encode(errors="backslashreplace").decode()


def text_lengths(column: pa.Array) -> Ints:
    """Return the characters of every text; a null has none."""
    lengths = pc.call_function("utf8_length", [column]).cast(pa.int64())
    return np.asarray(lengths.fill_null(0))


def numeric_ids(column: pa.ChunkedArray | pa.Array) -> Ints | None:
    """Return ids as numbers, or None if one of them is not a number of 63 bits.

    Exchanges number their trades (Binance, OKX, Coinbase) or name them by UUID (Bybit contracts).
    """
    ids = as_array(column)
    if ids.null_count:
        return None
    try:
        return pc.cast(ids, pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None


def trade_order(table: pa.Table) -> Ints | None:
    """Return the row order by time, then numeric id; None if the table is in it already.

    Trades without numeric ids keep the order they came in within one microsecond.
    """
    times = times_of(table)
    steps = np.diff(times)
    if bool((steps > 0).all()):
        return None
    ids = numeric_ids(table.column("trade_id"))
    if ids is None:
        return None if bool((steps >= 0).all()) else np.argsort(times, kind="stable")
    if bool(((steps > 0) | ((steps == 0) & (np.diff(ids) >= 0))).all()):
        return None
    return np.lexsort((ids, times))
