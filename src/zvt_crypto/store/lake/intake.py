"""A commit's batches, put in order kind by kind: hundreds of series cost little more than one."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ledger import Coverage, disjoint
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import Int64s, arrange, conform, times
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch
from zvt_crypto.store.lake.rowindex import RowIndex, hashes

_MASK: Final = (1 << 64) - 1


class Lot(msgspec.Struct, frozen=True):
    """All rows of one kind in a commit, sorted by series and key."""

    kind: Kind
    table: pa.Table
    times: Int64s
    low: npt.NDArray[np.uint64]
    high: npt.NDArray[np.uint64]


class Share(msgspec.Struct, frozen=True):
    """One series' part of a commit: rows `first` to `last` of the lot, and its batches."""

    series: Series
    lot: Lot
    first: int
    last: int
    batches: Sequence[Batch]
    at: int

    @property
    def rows(self) -> int:
        """Return how many rows it has."""
        return self.last - self.first

    @property
    def table(self) -> pa.Table:
        """Return its rows."""
        return self.lot.table.slice(self.first, self.rows)

    @property
    def hull(self) -> Range:
        """Return the range of its rows; empty without any."""
        if not self.rows:
            return Range(0, 0)
        return Range(int(self.lot.times[self.first]), int(self.lot.times[self.last - 1]) + 1)

    @property
    def index(self) -> RowIndex:
        """Return times and hashes of its rows."""
        chosen = slice(self.first, self.last)
        return RowIndex(self.lot.times[chosen], self.lot.low[chosen], self.lot.high[chosen])

    @property
    def digest(self) -> Digest:
        """Return the digest of all its rows."""
        if not self.rows:
            return EMPTY_DIGEST
        chosen = slice(self.first, self.last)
        return Digest(
            sum(self.lot.low[chosen].tolist()) & _MASK, sum(self.lot.high[chosen].tolist()) & _MASK
        )

    @property
    def has_findings(self) -> bool:
        """Return whether any batch says something to the ledger."""
        return any(batch.findings for batch in self.batches)

    def news(self) -> list[Coverage]:
        """Return the findings as ledger entries, not measured yet, the later winning."""
        found = [
            Coverage(one.start, one.end, one.verdict, batch.source)
            for batch in self.batches
            for one in batch.findings
            if one.start < one.end
        ]
        return found if len(found) < 2 else disjoint(found)  # noqa: PLR2004


def sort_in(batches: Sequence[Batch]) -> list[Share]:
    """Return one share per series.

    Raises:
        DataError: a table is not of its kind's schema.
    """
    groups: dict[Series, list[int]] = {}
    for at, batch in enumerate(batches):
        groups.setdefault(batch.series, []).append(at)
    kinds: dict[Kind, list[Series]] = {}
    for series in groups:
        kinds.setdefault(series.kind, []).append(series)
    shares: list[Share] = []
    for kind, members in kinds.items():
        ordered = [(number, batches[at]) for number, s in enumerate(members) for at in groups[s]]
        tables = [batch.table for _, batch in ordered]
        table = conform(kind, tables)
        group = np.repeat(
            np.array([number for number, _ in ordered], dtype=np.int64),
            np.array([one.num_rows for one in tables], dtype=np.int64),
        )
        table, group = arrange(kind, table, group)
        lot = Lot(kind, table, times(table), *hashes(table))
        bounds = np.searchsorted(group, np.arange(len(members) + 1)).tolist()
        shares.extend(
            Share(
                series,
                lot,
                bounds[number],
                bounds[number + 1],
                [batches[at] for at in groups[series]],
                groups[series][-1],
            )
            for number, series in enumerate(members)
        )
    return shares
