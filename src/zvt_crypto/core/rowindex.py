"""What rows a table holds, in a form that answers in logarithmic time."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest, row_hashes
from zvt_crypto.core.rows import Int64s, times

_U64s = npt.NDArray[np.uint64]

_CHUNK_ROWS: Final = 65_536


class RowIndex:
    """Times and hashes of rows in key order; the sums of hashes make any range O(log n)."""

    __slots__ = ("_high", "_low", "times")

    def __init__(self, moments: Int64s, low: _U64s, high: _U64s) -> None:
        """Take the times and both lanes of the rows' hashes."""
        self.times = moments
        self._low = _sums(low)
        self._high = _sums(high)

    def slice(self, first: int, last: int) -> "RowIndex":
        """Return the index of rows `first` up to `last`."""
        low, high = self.hashes()
        return RowIndex(self.times[first:last], low[first:last], high[first:last])

    def differs(self, mine: Int64s, other: "RowIndex", theirs: Int64s) -> npt.NDArray[np.bool_]:
        """Return for pairs of row numbers whether the rows hold other values."""
        low, high = self.hashes()
        other_low, other_high = other.hashes()
        return (low[mine] != other_low[theirs]) | (high[mine] != other_high[theirs])

    @classmethod
    def of(cls, table: pa.Table) -> "RowIndex":
        """Return the index of a table in a kind's schema."""
        low, high = hashes(table)
        return cls(times(table), low, high)

    @property
    def nbytes(self) -> int:
        """Return the memory it takes."""
        return 3 * self.times.nbytes

    def measure(self, start: int, end: int) -> tuple[int, Digest]:
        """Count and digest the rows in `[start, end)`."""
        first, last = np.searchsorted(self.times, (start, end)).tolist()
        return self.between(first, last)

    def measure_many(self, starts: Int64s, ends: Int64s) -> tuple[Int64s, _U64s, _U64s]:
        """Count rows and sum both lanes for many ranges at once."""
        first, last = np.searchsorted(self.times, starts), np.searchsorted(self.times, ends)
        low, high = self._low[last] - self._low[first], self._high[last] - self._high[first]
        return last - first, low, high

    def between(self, first: int, last: int) -> tuple[int, Digest]:
        """Count and digest the rows from index `first` up to `last`."""
        if last <= first:
            return 0, EMPTY_DIGEST
        upto = Digest(int(self._low[last]), int(self._high[last]))
        return last - first, upto - Digest(int(self._low[first]), int(self._high[first]))

    def inside(self, start: int, end: int) -> Int64s:
        """Return the times of the rows in `[start, end)`."""
        first, last = np.searchsorted(self.times, (start, end)).tolist()
        return self.times[first:last]

    def contains(self, other: "RowIndex", theirs: Int64s) -> npt.NDArray[np.bool_] | None:
        """Return which of the other's rows are here with equal values.

        None if one is here at the same time with other values: only its key can tell then whether
        it is the same row.
        """
        moments = other.times[theirs]
        first = np.searchsorted(self.times, moments)
        last = np.searchsorted(self.times, moments, side="right")
        there = last > first
        low, high = self.hashes()
        other_low, other_high = other.hashes()
        single = np.flatnonzero(last == first + 1)
        here, rows = first[single], theirs[single]
        if ((low[here] != other_low[rows]) | (high[here] != other_high[rows])).any():
            return None
        for place in np.flatnonzero(last > first + 1).tolist():
            span = slice(int(first[place]), int(last[place]))
            row = int(theirs[place])
            if not ((low[span] == other_low[row]) & (high[span] == other_high[row])).any():
                return None
        return there

    def hashes(self) -> tuple[_U64s, _U64s]:
        """Return both lanes of the rows' hashes."""
        return np.diff(self._low), np.diff(self._high)


def hashes(table: pa.Table) -> tuple[_U64s, _U64s]:
    """Return both lanes of the hash of every row, worked out in pieces that fit a cache."""
    parts = [
        row_hashes(table.slice(at, _CHUNK_ROWS)) for at in range(0, table.num_rows, _CHUNK_ROWS)
    ]
    if not parts:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
    return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])


def _sums(values: _U64s) -> _U64s:
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values, out=sums[1:], dtype=np.uint64)
    return sums
