"""Commits: small ones go as hot rows into the catalog, large ones into segments."""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.ledger import ABSENT, Coverage, Verdict, join
from zvt_crypto.core.ranges import Range, union
from zvt_crypto.core.rows import match
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch, Committed
from zvt_crypto.store.lake import coverage, hot
from zvt_crypto.store.lake.catalog import Catalog, Transaction
from zvt_crypto.store.lake.holding import Holding, live_segments
from zvt_crypto.store.lake.intake import Share, sort_in
from zvt_crypto.store.lake.merge import (
    Conflict,
    Merger,
    Part,
    corrections_of,
    record_corrections,
)
from zvt_crypto.store.lake.rowindex import RowIndex
from zvt_crypto.store.lake.segment import SegmentFiles

_log = logging.getLogger(__name__)

_HOT_COMMIT_ROWS: Final = 5_000
_COMPACT_ROWS: Final = 12_000
# Compaction that cannot keep up is helped: past this, commits go into segments directly.
_HOT_LIMIT_ROWS: Final = 60_000
_ATTEMPTS: Final = 40
# After this many conflicts the plan is made while holding the catalog, so that it must succeed.
_PATIENCE: Final = 4
_FAR_APART_US: Final = 6 * 3_600_000_000


class _State(msgspec.Struct):
    """What the catalog says of a series when a commit begins."""

    id: int
    hot_rows: int
    last_us: int | None


class _Work(msgspec.Struct):
    """One share on its way through a commit."""

    share: Share
    state: _State
    parts: Sequence[Part] | None = None
    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0
    hot_added: int = 0
    is_fresh: bool = False
    changed: Sequence[Range] = ()


class _Promoted(Exception):
    """Hot rows will not do for these series: their segments have to be written anew."""

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
        self._ids: dict[Series, int] = {}

    def commit(self, batches: Sequence[Batch]) -> tuple[list[Committed], list[Series]]:
        """Return what each batch did, and the series whose hot rows have become many.

        Raises:
            DataError: a table is not of its kind's schema; nothing was changed.
            StoreBusy: other writers held the store too long; nothing was changed.
            StoreFull: no space; nothing was changed.
        """
        shares = sort_in(batches)
        large = {share.series for share in shares if share.rows > _HOT_COMMIT_ROWS}
        for attempt in range(_ATTEMPTS):
            plans: dict[Series, list[Part]] = {}
            works: list[_Work] = []
            is_done = False
            try:
                if large and attempt < _PATIENCE:
                    with self._catalog.snapshot() as connection:
                        self._plan(connection, shares, large, plans)
                with self._catalog.write() as transaction:
                    works = self._open(transaction, shares)
                    self._promote(works, large)
                    if attempt >= _PATIENCE:
                        self._plan(transaction.connection, shares, large, plans)
                    self._apply(transaction, works, plans)
                is_done = True
            except _Promoted as e:
                large.update(e.series)
            except (Conflict, FileNotFoundError):
                _log.debug("commit_repeated", extra={"attempt": attempt})
            finally:
                if not is_done:
                    for parts in plans.values():
                        self._merger.discard(parts)
            if is_done:
                return self._outcome(len(batches), works)
        raise StoreBusy(str(self._catalog.path.parent), 0.0)

    def compact(self, series: Series) -> bool:
        """Move the hot rows of a series into segments; return False if others were faster."""
        with self._catalog.snapshot() as connection:
            series_id = self._find(connection, series)
            if series_id is None:
                return True
            parts = self._merger.plan_compaction(connection, series, series_id)
        is_done = False
        try:
            with self._catalog.write() as transaction:
                self._merger.apply(
                    transaction.connection, series, series_id, parts, transaction.now_us
                )
            is_done = True
        except Conflict:
            return False
        finally:
            if not is_done:
                self._merger.discard(parts)
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
                series_id = self._find(connection, share.series)
                # A series nobody knows has nothing to merge with, whatever its number will be.
                plans[share.series] = self._merger.plan(connection, series_id or 0, share)

    def _find(self, connection: sqlite3.Connection, series: Series) -> int | None:
        row = connection.execute(
            "SELECT id FROM series WHERE exchange = ? AND symbol = ? AND kind = ? AND interval = ?",
            _name(series),
        ).fetchone()
        return None if row is None else row[0]

    def _open(self, transaction: Transaction, shares: Sequence[Share]) -> list[_Work]:
        """Return the shares with what the catalog knows of their series."""
        wanted = [
            share
            for share in shares
            if share.rows or share.has_findings or any(b.rejected for b in share.batches)
        ]
        connection = transaction.connection
        ids: list[int] = []
        for share in wanted:
            series_id = self._ids.get(share.series) or self._find(connection, share.series)
            if series_id is None:
                series_id = connection.execute(
                    "INSERT INTO series (exchange, symbol, kind, interval) VALUES (?, ?, ?, ?)",
                    _name(share.series),
                ).lastrowid
            ids.append(series_id or 0)
        states = {
            row[0]: _State(*row)
            for row in connection.execute(
                "SELECT id, hot_rows, last_us FROM series "
                "WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            )
        }
        return [_Work(share, states[key]) for share, key in zip(wanted, ids, strict=True)]

    def _promote(self, works: Sequence[_Work], large: set[Series]) -> None:
        crowded = [
            work.share.series
            for work in works
            if work.state.hot_rows > _HOT_LIMIT_ROWS
            and work.share.rows
            and work.share.series not in large
        ]
        if crowded:
            raise _Promoted(crowded)

    def _apply(
        self,
        transaction: Transaction,
        works: Sequence[_Work],
        plans: dict[Series, list[Part]],
    ) -> None:
        connection = transaction.connection
        for work in works:
            parts = plans.get(work.share.series)
            if parts is not None:
                self._apply_parts(transaction, work, parts)
        self._write_hot(transaction, [work for work in works if work.parts is None])
        self._count(connection, works)
        self._write_ledger(transaction, works)
        for work in works:
            self._write_quarantine(transaction, work)

    def _apply_parts(self, transaction: Transaction, work: _Work, parts: Sequence[Part]) -> None:
        work.parts = parts
        work.inserted = sum(part.inserted for part in parts)
        work.corrected = sum(part.corrected for part in parts)
        work.unchanged = sum(part.unchanged for part in parts)
        work.changed = [part.changed for part in parts if part.changed is not None]
        now = transaction.now_us
        connection = transaction.connection
        self._merger.apply(connection, work.share.series, work.state.id, parts, now)

    def _write_hot(self, transaction: Transaction, works: Sequence[_Work]) -> None:
        kinds: dict[Kind, list[_Work]] = {}
        for work in works:
            if work.share.rows:
                kinds.setdefault(work.share.series.kind, []).append(work)
        promoted: list[Series] = []
        for kind, members in kinds.items():
            lot = members[0].share.lot
            chosen = np.zeros(lot.table.num_rows, dtype=bool)
            ids = np.zeros(lot.table.num_rows, dtype=np.int64)
            for work in members:
                share, last = work.share, work.state.last_us
                ids[share.first : share.last] = work.state.id
                work.is_fresh = last is None or int(lot.times[share.first]) > last
                if work.is_fresh:
                    chosen[share.first : share.last] = True
                    work.inserted = share.rows
                    continue
                fresh = self._compare_hot(transaction, work)
                if fresh is None:
                    promoted.append(share.series)
                else:
                    chosen[share.first : share.last] = fresh
            if promoted:
                continue
            table = lot.table if chosen.all() else lot.table.filter(pa.array(chosen))
            if table.num_rows:
                now, connection = transaction.now_us, transaction.connection
                hot.insert(connection, kind, ids[chosen].tolist(), table, now)
        if promoted:
            raise _Promoted(promoted)

    def _compare_hot(self, transaction: Transaction, work: _Work) -> np.ndarray | None:
        """Return which rows to write; None if a row in a segment would have to change."""
        share, connection = work.share, transaction.connection
        kind, series_id, hull = share.series.kind, work.state.id, share.hull
        index, table = share.index, share.table
        held = hot.select(connection, kind, series_id, *hull)
        found = match(kind, held, table)
        fresh = found < 0
        known = np.flatnonzero(~fresh)
        replaced: list[int] = []
        if len(known):
            old = RowIndex.of(held.drop_columns([hot.KNOWN.name]))
            known = known[old.differs(found[known], index, known)]
            fresh[known] = True
            replaced = found[known].tolist()
        for segment in live_segments(connection, series_id, hull):
            there = self._files.index(kind, segment)
            unknown = np.flatnonzero(fresh & (found < 0))
            verdict = there.contains(index, unknown)
            if verdict is None:
                return None
            fresh[unknown[verdict]] = False
        corrections = corrections_of(
            kind, held.take(pa.array(replaced, pa.int64())), table.take(pa.array(known))
        )
        record_corrections(connection, series_id, corrections, transaction.now_us)
        work.corrected = len(replaced)
        work.inserted = int(fresh.sum()) - work.corrected
        work.unchanged = share.rows - int(fresh.sum())
        work.changed = _clusters(index.times[fresh])
        return fresh

    def _count(self, connection: sqlite3.Connection, works: Sequence[_Work]) -> None:
        rows: list[tuple[int, int, int, int, int]] = []
        for work in works:
            if work.inserted:
                hull = work.share.hull
                work.hot_added = work.inserted if work.parts is None else 0
                rows.append(
                    (work.inserted, work.hot_added, hull.start, hull.end - 1, work.state.id)
                )
        connection.executemany(
            "UPDATE series SET rows = rows + ?, hot_rows = hot_rows + ?, "
            "first_us = MIN(COALESCE(first_us, 9223372036854775807), ?), "
            "last_us = MAX(COALESCE(last_us, -9223372036854775808), ?) WHERE id = ?",
            rows,
        )

    def _write_ledger(self, transaction: Transaction, works: Sequence[_Work]) -> None:
        connection = transaction.connection
        simple = [
            work for work in works if work.parts is None and (work.is_fresh or not work.share.rows)
        ]
        tails = coverage.tails(connection, [work.state.id for work in simple]) if simple else {}
        entries: list[tuple[int, Coverage]] = []
        done: set[Series] = set()
        for work in simple:
            extended = _extend(work, tails.get(work.state.id), transaction)
            if extended is not None:
                entries.extend((work.state.id, entry) for entry in extended)
                done.add(work.share.series)
        coverage.put(connection, entries)
        for work in works:
            if work.share.series not in done:
                self._revise(transaction, work)

    def _revise(self, transaction: Transaction, work: _Work) -> None:
        share, series_id = work.share, work.state.id
        changed = work.changed
        if work.is_fresh:
            changed = _clusters(share.index.times)
        news = share.news()
        if not news and not changed:
            return
        connection = transaction.connection
        coverage.update(
            connection,
            share.series,
            series_id,
            lambda hull: Holding(connection, self._files, share.series, series_id, hull),
            news=news,
            changed=changed,
            source=share.batches[-1].source,
            now_us=transaction.now_us,
        )

    def _write_quarantine(self, transaction: Transaction, work: _Work) -> None:
        rejected = [one for batch in work.share.batches for one in batch.rejected]
        if not rejected:
            return
        now, series_id = transaction.now_us, work.state.id
        transaction.connection.executemany(
            "INSERT OR IGNORE INTO quarantine "
            "(series_id, timestamp, reason, raw, written_us, mark) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (series_id, one.timestamp_us, one.reason, one.raw, now, mark)
                for one in rejected
                for mark in [_mark(series_id, one.timestamp_us, one.reason, one.raw)]
            ],
        )

    def _outcome(self, count: int, works: Sequence[_Work]) -> tuple[list[Committed], list[Series]]:
        done = [Committed(0, 0, 0) for _ in range(count)]
        crowded: list[Series] = []
        for work in works:
            self._ids[work.share.series] = work.state.id
            done[work.share.at] = Committed(work.inserted, work.corrected, work.unchanged)
            if work.state.hot_rows + work.hot_added > _COMPACT_ROWS and work.parts is None:
                crowded.append(work.share.series)
        return done, crowded


def _extend(work: _Work, tail: Coverage | None, transaction: Transaction) -> list[Coverage] | None:
    """Return the entries of a commit that only adds to the end; None if it does more.

    This is what a live stream does all day: rows newer than all others, and findings at or after
    the end of the ledger. Nothing stored needs to be looked at.
    """
    share = work.share
    news = share.news()
    end = tail.end if tail is not None else None
    if end is not None:
        if news and news[0].start < end:
            return None
        if share.rows and share.hull.start < end:
            return None
    last = work.state.last_us
    claims: list[Coverage] = []
    for one in news:
        if last is not None and one.start <= last:
            return None
        rows, digest = _part_of(share, one)
        if rows and one.verdict in ABSENT:
            return None
        if one.verdict is not Verdict.OBSERVED:
            rows, digest = 0, EMPTY_DIGEST
        claims.append(
            Coverage(one.start, one.end, one.verdict, one.source, rows, digest, transaction.now_us)
        )
    if tail is None or not claims or claims[0].start != tail.end:
        return join(claims)
    return [entry for entry in join([tail, *claims]) if entry != tail]


def _part_of(share: Share, one: Coverage) -> tuple[int, Digest]:
    hull = share.hull
    if not share.rows or hull.end <= one.start or hull.start >= one.end:
        return 0, EMPTY_DIGEST
    if one.start <= hull.start and hull.end <= one.end:
        return share.rows, share.digest
    return share.index.measure(one.start, one.end)


def _clusters(moments: np.ndarray) -> list[Range]:
    """Return ranges that hold all moments, far-apart ones in ranges of their own."""
    if not len(moments):
        return []
    breaks = np.flatnonzero(np.diff(moments) > _FAR_APART_US) + 1
    return union(Range(int(group[0]), int(group[-1]) + 1) for group in np.split(moments, breaks))


def _name(series: Series) -> tuple[str, str, str, str]:
    interval = series.interval.value if series.interval is not None else ""
    return series.exchange, series.symbol, series.kind.value, interval


def _mark(*fields: object) -> bytes:
    return hashlib.blake2b(json.dumps(fields).encode(), digest_size=16).digest()
