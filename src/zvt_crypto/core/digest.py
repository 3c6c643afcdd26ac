"""A content digest of rows that adds up.

Every row is hashed by its values alone, and the hashes are summed modulo 2**64 in two independent
lanes. So the digest of a range is the sum of the digests of its parts, in any order and however
the rows are spread over segments, tables or engines: the ledger can join and cut ranges, and a
copy between engines can be compared without sorting. It guards against loss, duplication and
decay, not against an adversary who may choose the rows.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

_U64 = npt.NDArray[np.uint64]

# Odd constants: the golden ratio and its neighbours from the splitmix64 and xxhash families.
_LANES: Final = (
    (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)),
    (np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)),
)
# A NaN payload no exchange value has: stands for null.
_NULL: Final = np.uint64(0x7FF8DEAD5EED0001)
_CHUNK_ROWS: Final = 65_536
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
    rows = batch.num_rows
    # Not from zero: a row of zeros must count, too.
    lanes = [np.full(rows, salt, dtype=np.uint64) for salt, _, _ in _LANES]
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        bits = _column_bits(column)
        weight = _name_weight(name)
        for lane, (salt, _, _) in zip(lanes, _LANES, strict=True):
            # Spread each column before summing: the sum alone is linear, so equal changes in two
            # columns could cancel out.
            # The factor must be odd: an even one loses the top bits, among them the sign.
            mixed = (bits ^ weight) * ((salt ^ weight) | np.uint64(1))
            mixed ^= mixed >> np.uint64(32)
            np.add(lane, mixed * weight, out=lane)
    for lane, (_, first, second) in zip(lanes, _LANES, strict=True):
        _finish(lane, first, second)
    return lanes[0], lanes[1]


def _finish(lane: _U64, first: np.uint64, second: np.uint64) -> None:
    """Scramble in place (splitmix64), so that sums of hashes stay independent."""
    for shift, factor in ((30, first), (27, second), (31, np.uint64(1))):
        np.bitwise_xor(lane, lane >> np.uint64(shift), out=lane)
        np.multiply(lane, factor, out=lane)


def _name_weight(name: str) -> np.uint64:
    """Return an odd constant of the column's name (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return np.uint64(value | 1)


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
    if pa.types.is_floating(kind):
        # -0.0 equals 0.0 and must hash alike; adding zero folds the sign away.
        floats = np.asarray(column.fill_null(0.0), dtype=np.float64) + 0.0
        bits = floats.view(np.uint64)
    else:
        if pa.types.is_timestamp(kind) and kind.unit != "us":
            column = column.cast(pa.timestamp("us", tz=kind.tz))
        whole = column if pa.types.is_int64(kind) else column.cast(pa.int64())
        bits = np.asarray(whole.fill_null(0), dtype=np.int64).view(np.uint64)
    if column.null_count:
        bits = np.where(np.asarray(column.is_null()), _NULL, bits)
    return bits


def _text_bits(column: pa.Array) -> _U64:
    """Return 64 bits per string, from its bytes eight at a time, without a loop over rows."""
    column = column.cast(pa.large_string())
    if column.null_count:
        column = column.fill_null("\x00null")
    data = column.cast(pa.large_binary())
    rows = len(data)
    offsets = np.frombuffer(data.buffers()[1], dtype=np.int64)[data.offset : data.offset + rows + 1]
    raw = data.buffers()[2]
    lengths = np.diff(offsets)
    # Eight bytes of padding let the last word of the last string be read whole.
    body = np.zeros((0 if raw is None else len(raw)) + 8, dtype=np.uint8)
    if raw is not None:
        body[: len(raw)] = np.frombuffer(raw, dtype=np.uint8)
    words = np.lib.stride_tricks.sliding_window_view(body, 8)
    out = lengths.astype(np.uint64) * _LANES[1][0]
    longest = int(lengths.max()) if rows else 0
    for at in range(0, longest, 8):
        live = np.flatnonzero(lengths > at)
        word = words[offsets[live] + at].copy().view(np.uint64).ravel()
        spare = 8 - np.minimum(lengths[live] - at, 8).astype(np.uint64)
        # Little-endian: the bytes past the string's end are the high ones.
        word &= np.uint64(_MASK) >> (spare * np.uint64(8))
        out[live] = (out[live] ^ word) * _LANES[0][1]
        out[live] ^= out[live] >> np.uint64(29)
    return out
