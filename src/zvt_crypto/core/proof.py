"""The ledger held against rows: counts and digests inside every entry, summed piece by piece."""

from collections.abc import Iterator, Sequence

import numpy as np

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ledger import ABSENT, Coverage, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex


class Tallies:
    """Rows and digest inside every ledger entry, summed over all files in one pass."""

    def __init__(self, ledger: Sequence[Coverage]) -> None:
        """Count nothing yet."""
        self._starts = np.array([entry.start for entry in ledger], dtype=np.int64)
        self._ends = np.array([entry.end for entry in ledger], dtype=np.int64)
        self._rows = np.zeros(len(ledger), dtype=np.int64)
        self._low = np.zeros(len(ledger), dtype=np.uint64)
        self._high = np.zeros(len(ledger), dtype=np.uint64)
        self._hull = Range(ledger[0].start, ledger[-1].end) if ledger else Range(0, 0)

    @property
    def hull(self) -> Range:
        """Return from the first to the last moment of ledger and rows."""
        return self._hull

    def add(self, index: RowIndex) -> None:
        """Count rows; all rows are given once, in any order."""
        if len(index.times):
            first, last = int(index.times[0]), int(index.times[-1]) + 1
            empty = self._hull.is_empty
            self._hull = Range(
                first if empty else min(first, self._hull.start),
                last if empty else max(last, self._hull.end),
            )
        rows, low, high = index.measure_many(self._starts, self._ends)
        self._rows += rows
        self._low += low
        self._high += high

    def add_lost(self, hull: Range, rows: int, digest: Digest) -> None:
        """Count unreadable rows as whole, where all of them lie inside one entry.

        Their damage is a fault of its own. An entry of many months is only at fault too if
        something else is wrong with it, or if how many of them lie inside is unknown.
        """
        inside = (self._starts <= hull.start) & (hull.end <= self._ends)
        self._rows[inside] += rows
        self._low[inside] += np.uint64(digest.low)
        self._high[inside] += np.uint64(digest.high)

    def of(self, number: int) -> tuple[int, Digest]:
        """Return rows and digest inside one entry."""
        rows = int(self._rows[number])
        if not rows:
            return 0, EMPTY_DIGEST
        return rows, Digest(int(self._low[number]), int(self._high[number]))


def disagreements(ledger: Sequence[Coverage], tallies: Tallies) -> Iterator[tuple[Range, str]]:
    """Yield where the ledger contradicts itself or the rows, and how."""
    before: Coverage | None = None
    for number, entry in enumerate(ledger):
        rows, digest = tallies.of(number)
        if before is not None and before.end > entry.start:
            yield Range(entry.start, before.end), "ledger entries overlap"
        before = entry
        if entry.verdict in ABSENT and rows:
            yield entry.range, f"{rows} rows in a range called {entry.verdict}"
        if entry.verdict is not Verdict.OBSERVED:
            continue
        if rows != entry.rows:
            yield entry.range, f"the ledger counts {entry.rows} rows, found {rows}"
        elif digest != entry.digest:
            yield entry.range, f"{rows} rows, but not those the ledger knows"
