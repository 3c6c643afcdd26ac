"""Commits: small ones go as hot rows into the catalog, large ones into segments."""

import itertools
import logging
import sqlite3
from collections.abc import Sequence
from typing import Final

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.schema import weight
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Batch, Committed
from zvt_crypto.store.intake.share import Share, sort_in
from zvt_crypto.store.lake import arrival, hot
from zvt_crypto.store.lake.apply import Applier, Promoted, Work
from zvt_crypto.store.lake.catalog import Catalog, Transaction, find_series
from zvt_crypto.store.lake.merge import Conflict, Merger, Part
from zvt_crypto.store.lake.state import States
from zvt_crypto.store.segments.segment import SegmentFiles

_log = logging.getLogger(__name__)

_HOT_COMMIT_ROWS: Final = 5_000
_COMPACT_ROWS: Final = 8_000
# Candles of many series arrive in step: without this all would be due in the same minute.
_COMPACT_SPREAD_ROWS: Final = 8_192
# Compaction that cannot keep up is helped: past this, a commit compacts before it goes on.
_HOT_LIMIT_ROWS: Final = 200_000
_SCATTER: Final = 2_654_435_761
_ATTEMPTS: Final = 40
# Reads look into each, and moving them holds other writers up: about 10 ms a million bytes.
_ARRIVALS: Final = 96
# After this many conflicts the plan is made while holding the catalog, so that it must succeed.
_PATIENCE: Final = 4


class _Crowded(Exception):
    """Compaction has fallen behind for these series: their hot rows have to go first."""

    def __init__(self, series: Sequence[Series]) -> None:
        super().__init__()
        self.series = series


class Writer:
    """Applies commits to the catalog and the segments."""

    def __init__(self, catalog: Catalog, files: SegmentFiles, merger: Merger) -> None:
        """Write through `catalog`, and through `merger` into `files`."""
        self._catalog = catalog
        self._files = files
        self._merger = merger
        self._states = States()

    def commit(self, batches: Sequence[Batch]) -> tuple[list[Committed], list[Series]]:
        """Return what each batch did, and the series whose hot rows have become many.

        Raises:
            DataError: a table is not of its kind's schema; nothing was changed.
            StoreBusy: other writers held the store too long; nothing was changed.
            StoreFull: no space; nothing was changed.
        """
        shares = sort_in(batches)
        large = {
            share.series
            for share in shares
            if share.rows > _HOT_COMMIT_ROWS // weight(share.series.kind)
        }
        for attempt in range(_ATTEMPTS):
            try:
                works = self._attempt(shares, large, is_patient=attempt < _PATIENCE)
            except Promoted as e:
                large.update(e.series)
            except _Crowded as e:
                self.settle()
                for series in e.series:
                    self.compact(series)
            except (Conflict, FileNotFoundError):
                _log.debug("commit_repeated", extra={"attempt": attempt})
            else:
                return self._outcome(len(batches), works)
        raise StoreBusy(str(self._catalog.path.parent), 0.0)

    def _attempt(
        self, shares: Sequence[Share], large: set[Series], *, is_patient: bool
    ) -> list[Work]:
        plans: dict[Series, list[Part]] = {}
        transaction: Transaction | None = None
        try:
            if large and is_patient:
                with self._catalog.snapshot() as connection:
                    self._plan(connection, shares, large, plans)
            with self._catalog.write() as transaction:
                works = self._open(transaction, shares)
                _check_room(works)
                if not is_patient:
                    self._plan(transaction.connection, shares, large, plans)
                Applier(transaction, self._files, self._merger).apply(works, plans)
        except BaseException:
            self._merger.discard(itertools.chain.from_iterable(plans.values()), transaction)
            raise
        self._states.remember(transaction, {work.share.series: work.after for work in works})
        return works

    def settle_if_many(self) -> None:
        """Settle once so much has arrived that readers feel it."""
        with self._catalog.snapshot() as connection:
            count = arrival.count(connection)
        if count >= _ARRIVALS:
            self.settle()

    def settle(self) -> None:
        """Turn what has arrived into chunks of its series, kind by kind: commits go in between."""
        with self._catalog.snapshot() as connection:
            kinds = arrival.kinds(connection)
        for kind in kinds:
            with self._catalog.snapshot() as connection:
                ids, chunks = arrival.gathered(connection, kind)
            with self._catalog.write() as transaction:
                # Another process may have been faster; then this is not worth a second look.
                if arrival.are_there(transaction.connection, ids):
                    hot.insert(transaction.connection, chunks)
                    arrival.forget(transaction.connection, ids)

    def compact_if_due(self, series: Series) -> None:
        """Compact a crowded series; settle first if most of its rows have only just arrived."""
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            in_chunks = 0 if series_id is None else hot.rows_in_chunks(connection, series_id)
        if in_chunks < _COMPACT_ROWS // 2 // weight(series.kind):
            self.settle()
        self.compact(series)

    def compact(self, series: Series) -> bool:
        """Move the chunks of a series into segments; return False if others were faster.

        Rows that come meanwhile stay hot, so that a busy series is compacted all the same.
        """
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            if series_id is None:
                return True
            plan = self._merger.plan_compaction(connection, series, series_id)
        if not plan.chunks:
            return True
        transaction: Transaction | None = None
        try:
            with self._catalog.write() as transaction:
                self._merger.apply_compaction(
                    transaction.connection, series, series_id, plan, transaction.now_us
                )
        except Conflict:
            self._merger.discard(plan.parts)
            return False
        except BaseException:
            self._merger.discard(plan.parts, transaction)
            raise
        return True

    def _plan(
        self,
        connection: sqlite3.Connection,
        shares: Sequence[Share],
        large: set[Series],
        plans: dict[Series, list[Part]],
    ) -> None:
        for share in shares:
            if share.series in large and share.rows:
                series_id = find_series(connection, share.series)
                # A series nobody knows has nothing to merge with, whatever its number will be.
                plans[share.series] = self._merger.plan(connection, series_id or 0, share)

    def _open(self, transaction: Transaction, shares: Sequence[Share]) -> list[Work]:
        """Return the shares with what the catalog knows of their series."""
        wanted = [
            share
            for share in shares
            if share.rows
            or share.has_findings
            or any(batch.rejected or batch.reconciled for batch in share.batches)
        ]
        states = self._states.read(transaction, [share.series for share in wanted])
        return [Work(share, state) for share, state in zip(wanted, states, strict=True)]

    def _outcome(self, count: int, works: Sequence[Work]) -> tuple[list[Committed], list[Series]]:
        done = [Committed(0, 0, 0) for _ in range(count)]
        crowded: list[Series] = []
        for work in works:
            done[work.share.at] = Committed(work.inserted, work.corrected, work.unchanged)
            due = _COMPACT_ROWS + work.state.id * _SCATTER % _COMPACT_SPREAD_ROWS
            due //= weight(work.share.series.kind)
            if work.state.hot_rows + work.hot_added > due and work.parts is None:
                crowded.append(work.share.series)
        return done, crowded


def _check_room(works: Sequence[Work]) -> None:
    crowded = [
        work.share.series
        for work in works
        if work.share.rows
        and work.state.hot_rows > _HOT_LIMIT_ROWS // weight(work.share.series.kind)
    ]
    if crowded:
        raise _Crowded(crowded)
