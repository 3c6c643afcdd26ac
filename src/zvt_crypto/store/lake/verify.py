"""Verification: what the files and the catalog hold, against what the ledger says."""

import itertools
import sqlite3
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from zvt_crypto.core.ledger import Coverage, Verdict
from zvt_crypto.core.proof import Tallies, disagreements
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import arrange, times
from zvt_crypto.core.schema import KEYS, SCHEMAS
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Fault, Verified
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.lake import coverage, hot
from zvt_crypto.store.lake.catalog import Catalog, find_series
from zvt_crypto.store.lake.holding import live_segments
from zvt_crypto.store.segments.segment import Segment, SegmentFiles


def verify(
    catalog: Catalog, files: SegmentFiles, series: Sequence[Series] | None = None
) -> Verified:
    """Read every row again; return how much was compared and every disagreement."""
    with catalog.snapshot() as connection:
        if series is None:
            rows = connection.execute("SELECT exchange, symbol, kind, interval FROM series")
            series = [to_series(row) for row in rows.fetchall()]
    ranges, rows_seen = 0, 0
    faults: list[Fault] = []
    for one in series:
        check = _Check(catalog, files, one)
        check.run()
        ranges += check.ranges
        rows_seen += check.rows
        faults.extend(check.faults)
    return Verified(ranges, rows_seen, faults)


class _Check:
    """The verification of one series, on one snapshot."""

    def __init__(self, catalog: Catalog, files: SegmentFiles, series: Series) -> None:
        self._catalog = catalog
        self._files = files
        self._series = series
        self.ranges = 0
        self.rows = 0
        self.faults: list[Fault] = []

    def run(self) -> None:
        kind = self._series.kind
        # The snapshot stays open while files are read: what is retired now stays until vacuum.
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, self._series)
            if series_id is None:
                return
            ledger = coverage.load(connection, series_id)
            segments = live_segments(connection, series_id, ALWAYS)
            warm = hot.select(connection, kind, series_id, *ALWAYS)
            counts = _counts(connection, series_id)
        self._check_order(segments)
        tallies = Tallies(ledger)
        total = warm.num_rows
        tallies.add(RowIndex.of(warm.select(SCHEMAS[kind].names)))
        for segment in segments:
            table = self._read(segment)
            index = None if table is None else RowIndex.of(table.select(SCHEMAS[kind].names))
            if table is None or index is None or not self._is_sound(segment, table, index):
                tallies.add_lost(
                    Range(segment.first_us, segment.last_us + 1), segment.rows, segment.digest
                )
                total += segment.rows
                continue
            self._check_apart(segment, table, warm)
            tallies.add(index)
            total += table.num_rows
        self.rows = total
        found = (total, warm.num_rows)
        if counts != found and not self.faults:
            detail = f"the catalog counts {counts} rows and hot rows, found {found}"
            self._fault(tallies.hull, detail)
        self._check_ledger(ledger, tallies)

    def _fault(self, where: Range, detail: str) -> None:
        self.faults.append(Fault(self._series, where.start, where.end, detail))

    def _where(self, segment: Segment) -> Range:
        return Range(segment.first_us, self._series.cell_end(segment.last_us))

    def _read(self, segment: Segment) -> pa.Table | None:
        try:
            return self._files.read(self._series.kind, segment)
        except (OSError, pa.ArrowException) as e:
            where = self._where(segment)
            self._fault(where, f"segment {segment.path} cannot be read: {e}")
            return None

    def _check_order(self, segments: Sequence[Segment]) -> None:
        for before, after in itertools.pairwise(segments):
            if before.last_us >= after.first_us:
                where = Range(after.first_us, before.last_us + 1)
                self._fault(where, f"segments {before.path} and {after.path} overlap")

    def _is_sound(self, segment: Segment, table: pa.Table, index: RowIndex) -> bool:
        where = self._where(segment)
        rows, digest = index.between(0, table.num_rows)
        if (rows, digest) != (segment.rows, segment.digest):
            self._fault(where, f"segment {segment.path} is not what the manifest says")
            return False
        group = np.zeros(table.num_rows, dtype=np.int64)
        if arrange(self._series.kind, table, group)[0] is not table:
            self._fault(where, f"segment {segment.path} is unsorted or repeats a key")
        elif rows and index.times[[0, -1]].tolist() != [segment.first_us, segment.last_us]:
            self._fault(where, f"segment {segment.path} has other bounds")
        return True

    def _check_apart(self, segment: Segment, table: pa.Table, warm: pa.Table) -> None:
        """Check that no key lies both in a segment and among the hot rows."""
        if not warm.num_rows:
            return
        moments = times(warm)
        first, last = np.searchsorted(moments, (segment.first_us, segment.last_us + 1)).tolist()
        if first == last:
            return
        names = list(KEYS[self._series.kind])
        both = table.select(names).join(
            warm.slice(first, last - first).select(names), names, join_type="inner"
        )
        if both.num_rows:
            where = self._where(segment)
            self._fault(where, f"{both.num_rows} rows are in {segment.path} and hot as well")

    def _check_ledger(self, ledger: Sequence[Coverage], tallies: Tallies) -> None:
        self.ranges = sum(entry.verdict is Verdict.OBSERVED for entry in ledger)
        for where, detail in disagreements(ledger, tallies):
            self._fault(where, detail)


def _counts(connection: sqlite3.Connection, series_id: int) -> tuple[int, int]:
    return connection.execute(
        "SELECT rows, hot_rows FROM series WHERE id = ?", (series_id,)
    ).fetchone()
