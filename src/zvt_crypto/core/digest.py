"""A content digest of rows that adds up.

Every row is hashed by its values alone, and the hashes are summed modulo 2**64 in two independent
lanes. So the digest of a range is the sum of the digests of its parts, in any order and however
the rows are spread over segments, tables or engines: the ledger can join and cut ranges, and a
copy between engines can be compared without sorting. It guards against loss, duplication and
decay, not against an adversary who may choose the rows.
"""

from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.schema import LATECOMERS

_U64 = npt.NDArray[np.uint64]

# Odd constants, one a lane: the golden ratio and its neighbours from the splitmix64 and xxhash
# families. They stand in columns, so that one operation works on both lanes of all rows.
_SALTS: Final = np.array([[0x9E3779B97F4A7C15], [0xC2B2AE3D27D4EB4F]], dtype=np.uint64)
_FINISH: Final = (
    (np.uint64(30), np.array([[0xBF58476D1CE4E5B9], [0xFF51AFD7ED558CCD]], dtype=np.uint64)),
    (np.uint64(27), np.array([[0x94D049BB133111EB], [0xC4CEB9FE1A85EC53]], dtype=np.uint64)),
)
# What the length and the words of a text are multiplied by.
_LENGTH: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_WORD: Final = np.uint64(0xBF58476D1CE4E5B9)
# What the place of an element of a list goes into.
_PLACE: Final = np.uint64(0x9E3779B97F4A7C15)
# A NaN payload no exchange value has: stands for null.
_NULL: Final = np.uint64(0x7FF8DEAD5EED0001)
_CHUNK_ROWS: Final = 65_536
_CHUNK_ELEMENTS: Final = 262_144
_LATECOMERS: Final = frozenset(name for names in LATECOMERS.values() for name in names)
_MASK: Final = (1 << 64) - 1


class Digest(msgspec.Struct, frozen=True):
    """Two 64-bit sums; `+` and `-` combine digests of disjoint sets of rows."""

    low: int
    high: int

    def __add__(self, other: "Digest") -> "Digest":
        return Digest((self.low + other.low) & _MASK, (self.high + other.high) & _MASK)

    def __sub__(self, other: "Digest") -> "Digest":
        return Digest((self.low - other.low) & _MASK, (self.high - other.high) & _MASK)

    def __str__(self) -> str:
        return f"{self.high:016x}{self.low:016x}"

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Return the digest printed as 32 hexadecimal digits."""
        return cls(int(text[16:], 16), int(text[:16], 16))


EMPTY_DIGEST: Final = Digest(0, 0)


def digest_table(table: pa.Table) -> Digest:
    """Return the digest of all rows; depends on column names and values, not on row order."""
    total = EMPTY_DIGEST
    for batch in table.to_batches(max_chunksize=_CHUNK_ROWS):
        if batch.num_rows:
            low, high = row_hashes(batch)
            total += Digest(
                int(np.add.reduce(low, dtype=np.uint64)), int(np.add.reduce(high, dtype=np.uint64))
            )
    return total


def row_hashes(batch: pa.RecordBatch | pa.Table) -> tuple[_U64, _U64]:
    """Return both lanes of the hash of every row."""
    # Not from zero: a row of zeros must count, too.
    lanes = np.repeat(_SALTS, batch.num_rows, axis=1)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        weight, factors = _name_constants(name)
        # Spread each column before summing: the sum alone is linear, so equal changes in two
        # columns could cancel out.
        bits = _column_bits(column)
        mixed = (bits ^ weight) * factors
        mixed ^= mixed >> np.uint64(32)
        mixed *= weight
        if name in _LATECOMERS:
            # Rows stored before there was this column must keep their hashes.
            mixed *= bits != 0
        lanes += mixed
    # Scramble (splitmix64), so that sums of hashes stay independent.
    for shift, constants in _FINISH:
        lanes ^= lanes >> shift
        lanes *= constants
    lanes ^= lanes >> np.uint64(31)
    return lanes[0], lanes[1]


@lru_cache(maxsize=256)
def _name_constants(name: str) -> tuple[np.uint64, _U64]:
    """Return an odd constant of the column's name (FNV-1a), and a factor of it for each lane."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    weight = np.uint64(value | 1)
    # The factor must be odd: an even one loses the top bits, among them the sign.
    return weight, (_SALTS ^ weight) | np.uint64(1)


def _column_bits(column: pa.Array | pa.ChunkedArray) -> _U64:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # pyarrow keeps one chunk wrapped in some versions
            column = column.chunk(0)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _text_bits(column)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _list_bits(column)
    if pa.types.is_floating(kind):
        # -0.0 equals 0.0 and must hash alike; adding zero folds the sign away.
        floats = np.asarray(_filled(column, 0.0), dtype=np.float64) + 0.0
        bits = floats.view(np.uint64)
    else:
        if pa.types.is_timestamp(kind):
            in_us = column if kind.unit == "us" else column.cast(pa.timestamp("us", tz=kind.tz))
            whole = in_us.view(pa.int64())  # the same bits; a cast would copy them
        else:
            whole = column if pa.types.is_int64(kind) else column.cast(pa.int64())
        bits = np.asarray(_filled(whole, 0), dtype=np.int64).view(np.uint64)
    if column.null_count:
        bits = np.where(np.asarray(column.is_null()), _NULL, bits)
    return bits


def _list_bits(column: pa.Array) -> _U64:
    """Return 64 bits per list of numbers, from its elements and their places.

    An element's bits do not depend on where the list lies, so a list hashes alike in every layout.
    """
    wide = np.int64 if pa.types.is_large_list(column.type) else np.int32
    rows = len(column)
    offsets = np.frombuffer(column.buffers()[1], dtype=wide) if rows else np.zeros(1, dtype=wide)
    offsets = offsets[column.offset : column.offset + rows + 1].astype(np.int64)
    out = np.diff(offsets).astype(np.uint64) * _LENGTH
    if pa.types.is_floating(column.type.value_type):
        values = column.values
    else:
        values = column.values.cast(pa.float64())
    first = 0
    while first < rows:
        # Rows may be fat: so many elements at once, or one row that has more.
        last = int(np.searchsorted(offsets, offsets[first] + _CHUNK_ELEMENTS, side="right")) - 1
        last = min(max(last, first + 1), rows)
        bounds = offsets[first : last + 1] - offsets[first]
        part = values.slice(int(offsets[first]), int(bounds[-1]))
        out[first:last] ^= _sums_of(part, bounds)
        first = last
    if column.null_count:
        out = np.where(np.asarray(column.is_null()), _NULL, out)
    return out


def _sums_of(values: pa.Array, bounds: npt.NDArray[np.int64]) -> _U64:
    """Return the sum of the hashes of the elements between every two bounds."""
    floats = np.asarray(_filled(values, 0.0), dtype=np.float64) + 0.0
    bits = floats.view(np.uint64)
    if values.null_count:
        bits = np.where(np.asarray(values.is_null()), _NULL, bits)
    places = np.arange(len(bits)) - np.repeat(bounds[:-1], np.diff(bounds))
    # Scrambled by its place, too: elements that change places must count.
    mixed = (bits ^ (places.astype(np.uint64) * _LENGTH)) + _PLACE
    mixed ^= mixed >> np.uint64(32)
    mixed *= _WORD
    mixed ^= mixed >> np.uint64(29)
    mixed *= _PLACE
    mixed ^= mixed >> np.uint64(32)
    sums = np.zeros(len(mixed) + 1, dtype=np.uint64)
    np.cumsum(mixed, out=sums[1:], dtype=np.uint64)
    return sums[bounds[1:]] - sums[bounds[:-1]]


def _filled(column: pa.Array, value: object) -> pa.Array:
    """Return the column without nulls; filling one that has none would copy it."""
    return column.fill_null(value) if column.null_count else column


def _text_bits(column: pa.Array) -> _U64:
    """Return 64 bits per string, from its bytes eight at a time, without a loop over rows."""
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    column = _filled(column, "\x00null")
    wide = np.int64 if pa.types.is_large_string(column.type) else np.int32
    rows = len(column)
    _, places, raw = column.buffers()
    offsets = np.frombuffer(places, dtype=wide)[column.offset : column.offset + rows + 1]
    first, last = offsets[[0, -1]].tolist()
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0]
    # Eight bytes of padding let the last word of the last string be read whole.
    body = np.zeros(last - first + 8, dtype=np.uint8)
    if raw is not None:
        body[:-8] = np.frombuffer(raw, dtype=np.uint8)[first:last]
    words = np.lib.stride_tricks.sliding_window_view(body, 8)
    out = lengths.astype(np.uint64) * _LENGTH
    longest = int(lengths.max()) if rows else 0
    for at in range(0, longest, 8):
        live = np.flatnonzero(lengths > at)
        word = words[starts[live] + at].copy().view(np.uint64).ravel()
        spare = 8 - np.minimum(lengths[live] - at, 8).astype(np.uint64)
        # Little-endian: the bytes past the string's end are the high ones.
        word &= np.uint64(_MASK) >> (spare * np.uint64(8))
        out[live] = (out[live] ^ word) * _WORD
        out[live] ^= out[live] >> np.uint64(29)
    return out
