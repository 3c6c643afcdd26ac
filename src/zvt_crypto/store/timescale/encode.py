"""Columns to the bytes of PostgreSQL's binary COPY, without a loop over rows.

Format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row is a count of
fields, and for each its length and its bytes, big-endian; a length of -1 is null.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zvt_crypto.core.column import as_array

_Bytes = npt.NDArray[np.uint8]
_Places = npt.NDArray[np.int64]

_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
# PostgreSQL counts from 2000-01-01.
_EPOCH_US: Final = 946_684_800_000_000
_COUNT_BYTES: Final = 2
_LENGTH_BYTES: Final = 4
# Of an array: dimensions, flags and type; then for one dimension its size and lower bound; then
# each element with its length. See `array_send` in src/backend/utils/adt/arrayfuncs.c.
_LIST_BYTES: Final = 12
_DIMENSION_BYTES: Final = 8
_ELEMENT_BYTES: Final = 12
_FLOAT8: Final = 701


def encode(columns: Sequence[pa.ChunkedArray | pa.Array]) -> bytes:
    """Return a whole COPY of rows given as columns of equal length, without slices of dictionaries.

    int32 becomes int4, int64 int8, float64 float8, timestamps timestamptz, strings text, lists of
    float64 float8[].
    """
    fields = [_field(as_array(column)) for column in columns]
    rows = len(fields[0].lengths)
    sizes = np.full(rows, _COUNT_BYTES, dtype=np.int64)
    for field in fields:
        sizes += field.lengths + _LENGTH_BYTES
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if rows else 0
    out = np.empty(total, dtype=np.uint8)
    at = ends - sizes
    uniform = bool(rows) and bool((sizes == sizes[0]).all())
    grid = out.reshape(rows, int(sizes[0])) if uniform else None
    _place(out, grid, at, np.tile(_big(len(fields), 2), (rows, 1)))
    at += _COUNT_BYTES
    for field in fields:
        field.write(out, grid, at)
        at += field.lengths + _LENGTH_BYTES
    return b"".join((_HEAD, out.tobytes(), _TAIL))


class _Fixed:
    """A column of numbers: `values` are big-endian, a row each."""

    def __init__(self, values: _Bytes, nulls: npt.NDArray[np.bool_] | None) -> None:
        width = values.shape[1]
        self._values = values
        self._nulls = nulls
        self.lengths = np.full(len(values), width, dtype=np.int64)
        if nulls is not None:
            self.lengths[nulls] = 0

    def write(self, out: _Bytes, grid: _Bytes | None, at: _Places) -> None:
        head = np.tile(_big(self._values.shape[1], _LENGTH_BYTES), (len(at), 1))
        cells = np.concatenate((head, self._values), axis=1)
        if self._nulls is None:
            _place(out, grid, at, cells)
            return
        there = ~self._nulls
        _place(out, None, at[there], cells[there])
        _place(out, None, at[self._nulls], _absent(int(self._nulls.sum())))


class _Text:
    """A column of strings: UTF-8 in `raw`, each from its place in `starts`."""

    def __init__(
        self, raw: _Bytes, starts: _Places, lengths: _Places, nulls: npt.NDArray[np.bool_] | None
    ) -> None:
        self._raw = raw
        self._starts = starts
        self._nulls = nulls
        self.lengths = lengths

    def write(self, out: _Bytes, grid: _Bytes | None, at: _Places) -> None:
        del grid  # whose lengths differ
        heads = self.lengths.astype(">i4").view(np.uint8).reshape(-1, _LENGTH_BYTES)
        _place(out, None, at, heads)
        # Where each byte comes from and goes to: text by text, byte by byte.
        first = np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        within = np.arange(len(first)) - first
        out[np.repeat(at + _LENGTH_BYTES, self.lengths) + within] = self._raw[
            np.repeat(self._starts, self.lengths) + within
        ]
        if self._nulls is not None:
            _place(out, None, at[self._nulls], _absent(int(self._nulls.sum())))


class _Numbers:
    """A column of lists of numbers, none null: `floats` end to end, so many for each row."""

    def __init__(self, floats: npt.NDArray[np.float64], counts: _Places) -> None:
        self._counts = counts
        # Every element is its length and its bytes; a list without any has no dimension.
        self._cells = np.empty((len(floats), _ELEMENT_BYTES), dtype=np.uint8)
        self._cells[:, :_LENGTH_BYTES] = _big(8, _LENGTH_BYTES)
        self._cells[:, _LENGTH_BYTES:] = floats.astype(">f8").view(np.uint8).reshape(-1, 8)
        self._filled = counts > 0
        self.lengths = _LIST_BYTES + _DIMENSION_BYTES * self._filled + _ELEMENT_BYTES * counts

    def write(self, out: _Bytes, grid: _Bytes | None, at: _Places) -> None:
        del grid  # whose lengths differ
        head = np.zeros((len(at), 4), dtype=">i4")
        head[:, 0], head[:, 1], head[:, 3] = self.lengths, self._filled, _FLOAT8
        _place(out, None, at, head.view(np.uint8))
        start = at[self._filled] + head.itemsize * head.shape[1]
        counts = self._counts[self._filled]
        size = np.ones((len(start), 2), dtype=">i4")  # how many, from the first
        size[:, 0] = counts
        _place(out, None, start, size.view(np.uint8))
        within = np.arange(len(self._cells)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(start + _DIMENSION_BYTES, counts) + within * _ELEMENT_BYTES
        _place(out, None, places, self._cells)


def _field(column: pa.Array) -> _Fixed | _Text | _Numbers:
    if pa.types.is_list(column.type):
        counts = np.asarray(pc.call_function("list_value_length", [column]), dtype=np.int64)
        return _Numbers(np.asarray(column.flatten(), dtype=np.float64), counts)
    nulls = np.asarray(column.is_null()) if column.null_count else None
    if pa.types.is_string(column.type):
        return _text(column, nulls)
    is_time = pa.types.is_timestamp(column.type)
    if is_time:
        column = column.view(pa.int64())
    if nulls is not None:
        column = column.fill_null(0)
    if pa.types.is_floating(column.type):
        values = np.asarray(column, dtype=">f8")
    elif pa.types.is_int32(column.type):
        values = np.asarray(column, dtype=">i4")
    else:
        values = (np.asarray(column) - (_EPOCH_US if is_time else 0)).astype(">i8")
    return _Fixed(values.view(np.uint8).reshape(len(column), values.itemsize), nulls)


def _text(column: pa.Array, nulls: npt.NDArray[np.bool_] | None) -> _Text:
    _, places, raw = column.buffers()
    offsets = np.frombuffer(places, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    starts = offsets[:-1].astype(np.int64)
    lengths = np.diff(offsets).astype(np.int64)
    if nulls is not None:
        lengths[nulls] = 0
    data = np.frombuffer(raw, dtype=np.uint8) if raw is not None else np.zeros(0, dtype=np.uint8)
    return _Text(data, starts, lengths, nulls)


def _place(out: _Bytes, grid: _Bytes | None, at: _Places, cells: _Bytes) -> None:
    """Write a row of `cells` at each place; as one block where all rows are of one length."""
    if not len(at):
        return
    if grid is not None:
        first = int(at[0])
        grid[:, first : first + cells.shape[1]] = cells
    else:
        out[at[:, None] + np.arange(cells.shape[1])] = cells


def _big(value: int, size: int) -> _Bytes:
    return np.frombuffer(value.to_bytes(size, "big"), dtype=np.uint8)


def _absent(rows: int) -> _Bytes:
    return np.full((rows, _LENGTH_BYTES), 0xFF, dtype=np.uint8)
