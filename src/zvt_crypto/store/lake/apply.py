"""What happens inside the writing transaction of a commit: rows, counts, ledger and the rest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import match
from zvt_crypto.core.schema import KNOWN
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.store.intake.compare import corrections_of
from zvt_crypto.store.intake.growth import clusters, extend
from zvt_crypto.store.intake.share import Share
from zvt_crypto.store.lake import agreement, arrival, coverage, hot
from zvt_crypto.store.lake.catalog import Transaction
from zvt_crypto.store.lake.chunk import Chunk, pack
from zvt_crypto.store.lake.combine import record_corrections
from zvt_crypto.store.lake.holding import Holding
from zvt_crypto.store.lake.merge import Merger, Part
from zvt_crypto.store.lake.state import State
from zvt_crypto.store.segments.segment import SegmentFiles

# So few series of one kind get chunks of their own at once.
_ALONE: Final = 4


class Work(msgspec.Struct):
    """One share on its way through a commit; `entries` are new in its ledger, if it only grew."""

    share: Share
    state: State
    parts: Sequence[Part] | None = None
    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0
    hot_added: int = 0
    is_fresh: bool = False
    changed: Sequence[Range] = ()
    entries: Sequence[Coverage] | None = None

    @property
    def after(self) -> State | None:
        """Return what the series is then; None if that has to be looked up."""
        if self.entries is None:
            return None
        before, rows = self.state, self.share.rows
        return State(
            before.id,
            before.hot_rows + self.hot_added,
            self.share.hull.end - 1 if rows else before.last_us,
            self.entries[-1] if self.entries else before.tail,
        )


class Promoted(Exception):
    """Hot rows will not do for these series: their segments have to be written anew."""

    def __init__(self, series: Sequence[Series]) -> None:
        super().__init__()
        self.series = series


class Applier:
    """Applies the shares of a commit inside one transaction."""

    def __init__(self, transaction: Transaction, files: SegmentFiles, merger: Merger) -> None:
        """Work in `transaction`."""
        self._connection = transaction.connection
        self._transaction = transaction
        self._files = files
        self._merger = merger

    def apply(self, works: Sequence[Work], plans: Mapping[Series, Sequence[Part]]) -> None:
        """Write rows, ledger and quarantine, and note in `works` what was done.

        Raises:
            Promoted: a row that lies in a segment has to change, and there is no plan for it.
            Conflict: another writer changed what a plan was made from.
        """
        for work in works:
            parts = plans.get(work.share.series)
            if parts is not None:
                self._apply_parts(work, parts)
        self._write_hot([work for work in works if work.parts is None])
        self._count(works)
        self._write_ledger(works)
        self._write_quarantine(works)
        self._write_verdicts(works)

    def _apply_parts(self, work: Work, parts: Sequence[Part]) -> None:
        work.parts = parts
        work.inserted = sum(part.inserted for part in parts)
        work.corrected = sum(part.corrected for part in parts)
        work.unchanged = sum(part.unchanged for part in parts)
        work.changed = [part.changed for part in parts if part.changed is not None]
        now = self._transaction.now_us
        self._merger.apply(self._connection, work.share.series, work.state.id, parts, now)

    def _write_hot(self, works: Sequence[Work]) -> None:
        kinds: dict[Kind, list[Work]] = {}
        for work in works:
            if work.share.rows:
                kinds.setdefault(work.share.series.kind, []).append(work)
        promoted: list[Series] = []
        now = self._transaction.now_us
        for kind, members in kinds.items():
            lot = members[0].share.lot
            stale = [work for work in members if not _is_newest(work)]
            fresh = [work for work in members if work.is_fresh]
            chunks: list[Chunk] = []
            for work in stale:
                wanted = self._compare_hot(work)
                if wanted is None:
                    promoted.append(work.share.series)
                elif wanted.any():
                    rows = work.share.table.filter(pa.array(wanted)).combine_chunks()
                    packed = pack(kind, rows, now)
                    chunks.append(packed.chunk(work.state.id, 0, rows.num_rows))
            if fresh and not promoted:
                packed = pack(kind, lot.table, now)
                pieces = [(work.state.id, work.share.first, work.share.last) for work in fresh]
                if len(pieces) > _ALONE and lot.table.num_rows == sum(w.share.rows for w in fresh):
                    arrival.insert(self._connection, kind, packed, pieces, now)
                else:
                    chunks.extend(packed.chunk(*piece) for piece in pieces)
            hot.insert(self._connection, chunks)
        if promoted:
            raise Promoted(promoted)

    def _compare_hot(self, work: Work) -> np.ndarray | None:
        """Return which rows to write; None if a row in a segment would have to change."""
        share, connection = work.share, self._connection
        kind, series_id, hull = share.series.kind, work.state.id, share.hull
        index, table = share.index, share.table
        view = Holding(connection, self._files, share.series, series_id, hull)
        if view.measure(*hull) == (share.rows, share.digest):
            work.unchanged = share.rows
            return np.zeros(share.rows, dtype=bool)
        held = hot.select(connection, kind, series_id, *hull)
        found = match(kind, held, table)
        fresh = found < 0
        known = np.flatnonzero(~fresh)
        replaced: list[int] = []
        if len(known):
            old = RowIndex.of(held.drop_columns([KNOWN.name]))
            known = known[old.differs(found[known], index, known)]
            fresh[known] = True
            replaced = found[known].tolist()
        for segment in view.segments:
            there = self._files.index(kind, segment)
            unknown = np.flatnonzero(fresh & (found < 0))
            verdict = there.contains(index, unknown)
            if verdict is None:
                return None
            fresh[unknown[verdict]] = False
        doomed = held.take(pa.array(replaced, pa.int64()))
        corrections = corrections_of(kind, doomed, table.take(pa.array(known)))
        if replaced:
            hot.replace(connection, kind, series_id, hull, doomed)
        record_corrections(connection, series_id, corrections, self._transaction.now_us)
        work.corrected = len(replaced)
        work.inserted = int(fresh.sum()) - work.corrected
        work.unchanged = share.rows - int(fresh.sum())
        work.changed = clusters(index.times[fresh])
        return fresh

    def _count(self, works: Sequence[Work]) -> None:
        rows: list[tuple[int, int, int, int, int]] = []
        for work in works:
            if work.inserted:
                hull = work.share.hull
                work.hot_added = work.inserted if work.parts is None else 0
                rows.append(
                    (work.inserted, work.hot_added, hull.start, hull.end - 1, work.state.id)
                )
        self._connection.executemany(
            "UPDATE series SET rows = rows + ?, hot_rows = hot_rows + ?, "
            "first_us = MIN(COALESCE(first_us, 9223372036854775807), ?), "
            "last_us = MAX(COALESCE(last_us, -9223372036854775808), ?) WHERE id = ?",
            rows,
        )

    def _write_ledger(self, works: Sequence[Work]) -> None:
        now = self._transaction.now_us
        for work in works:
            if work.parts is None and (work.is_fresh or not work.share.rows):
                work.entries = extend(work.share, work.state.tail, work.state.last_us, now)
        coverage.put(
            self._connection,
            [(work.state.id, entry) for work in works for entry in work.entries or ()],
        )
        for work in works:
            if work.entries is None:
                self._revise(work)

    def _revise(self, work: Work) -> None:
        share, series_id = work.share, work.state.id
        changed = work.changed
        if work.is_fresh:
            changed = clusters(share.index.times)
        news = share.news()
        if not news and not changed:
            return
        connection = self._connection
        coverage.update(
            connection,
            share.series,
            series_id,
            lambda hull: Holding(connection, self._files, share.series, series_id, hull),
            news=news,
            changed=changed,
            source=share.batches[-1].source,
            now_us=self._transaction.now_us,
        )

    def _write_quarantine(self, works: Sequence[Work]) -> None:
        rejected = [
            (work.state.id, one)
            for work in works
            for batch in work.share.batches
            for one in batch.rejected
        ]
        now = self._transaction.now_us
        self._connection.executemany(
            "INSERT OR IGNORE INTO quarantine "
            "(series_id, timestamp, reason, raw, written_us, mark) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (series_id, one.timestamp_us, one.reason, one.raw, now, mark)
                for series_id, one in rejected
                for mark in [mark_of(series_id, one)]
            ],
        )

    def _write_verdicts(self, works: Sequence[Work]) -> None:
        now = self._transaction.now_us
        for work in works:
            reconciled = [one for batch in work.share.batches for one in batch.reconciled]
            interval = work.share.series.interval
            if reconciled and interval is not None:
                agreement.put(self._connection, work.state.id, interval, reconciled, now)


def _is_newest(work: Work) -> bool:
    """Note and return whether all rows are newer than any stored."""
    last = work.state.last_us
    work.is_fresh = last is None or work.share.hull.start > last
    if work.is_fresh:
        work.inserted = work.share.rows
    return work.is_fresh


def mark_of(series_id: int, one: Rejected) -> bytes:
    """Return what tells a refused row from all others: the same one is kept once."""
    fields = (series_id, one.timestamp_us, one.reason, one.raw)
    return hashlib.blake2b(json.dumps(fields).encode(), digest_size=16).digest()
