"""A commit's batches, put in order kind by kind: hundreds of series cost little more than one."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ledger import Coverage, disjoint
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import check
from zvt_crypto.core.rowindex import RowIndex, hashes
from zvt_crypto.core.rows import Int64s, arrange, conform, times
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch


class Lot(msgspec.Struct, frozen=True):
    """All rows of one kind in a commit, sorted by series and key."""

    kind: Kind
    table: pa.Table
    times: Int64s
    low: npt.NDArray[np.uint64]
    high: npt.NDArray[np.uint64]


class Share(msgspec.Struct, frozen=True):
    """One series' part of a commit: rows `first` to `last` of the lot, and its batches.

    `hull` and `digest` are of its rows; the hull is empty without any.
    """

    series: Series
    lot: Lot
    first: int
    last: int
    hull: Range
    digest: Digest
    batches: Sequence[Batch]
    at: int
    rows: int

    @property
    def table(self) -> pa.Table:
        """Return its rows."""
        return self.lot.table.slice(self.first, self.rows)

    @property
    def index(self) -> RowIndex:
        """Return times and hashes of its rows."""
        chosen = slice(self.first, self.last)
        return RowIndex(self.lot.times[chosen], self.lot.low[chosen], self.lot.high[chosen])

    def part(self, first: int, last: int) -> "Share":
        """Return some of its rows as a share without batches."""
        hull, digest = _summaries(self.lot, [first, last])[0]
        return Share(self.series, self.lot, first, last, hull, digest, (), self.at, last - first)

    @property
    def has_findings(self) -> bool:
        """Return whether any batch says something to the ledger."""
        return any(batch.findings for batch in self.batches)

    def news(self) -> list[Coverage]:
        """Return the findings as ledger entries, not measured yet, the later winning."""
        if len(self.batches) == 1 and len(self.batches[0].findings) == 1:
            (one,), source = self.batches[0].findings, self.batches[0].source
            if one.start >= one.end:
                return []
            return [Coverage(one.start, one.end, one.verdict, source)]
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
        DataError: a table is not of its kind's schema, or a verdict on no bar of its series.
    """
    groups: dict[Series, list[int]] = {}
    for at, batch in enumerate(batches):
        check(batch.series, batch.reconciled)
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
        summaries = _summaries(lot, bounds)
        shares.extend(
            Share(
                series,
                lot,
                bounds[number],
                bounds[number + 1],
                *summaries[number],
                [batches[at] for at in groups[series]],
                groups[series][-1],
                bounds[number + 1] - bounds[number],
            )
            for number, series in enumerate(members)
        )
    return shares


def _summaries(lot: Lot, bounds: Sequence[int]) -> list[tuple[Range, Digest]]:
    """Return hull and digest of the rows between every two neighbours of `bounds`."""
    edges = np.asarray(bounds)
    starts, stops = edges[:-1], edges[1:]
    sums: list[list[int]] = []
    for lane in (lot.low, lot.high):
        inside = lane[edges[0] : edges[-1]]
        upto = np.zeros(len(inside) + 1, dtype=np.uint64)
        np.cumsum(inside, out=upto[1:])
        sums.append((upto[stops - edges[0]] - upto[starts - edges[0]]).tolist())
    if not len(lot.times):
        return [(Range(0, 0), Digest(0, 0)) for _ in starts]
    firsts = lot.times[np.minimum(starts, len(lot.times) - 1)]
    lasts = lot.times[np.maximum(stops - 1, 0)] + 1
    filled = stops > starts
    hulls = zip(
        np.where(filled, firsts, 0).tolist(), np.where(filled, lasts, 0).tolist(), strict=True
    )
    return [(Range(*hull), Digest(low, high)) for hull, low, high in zip(hulls, *sums, strict=True)]
