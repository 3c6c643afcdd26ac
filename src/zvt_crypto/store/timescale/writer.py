"""Commits: what happens inside the one transaction that moves rows and ledger."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import psycopg
import pyarrow as pa

from zvt_crypto.core.errors import StoreCorrupt
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.schema import KNOWN
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.ports.store import Batch, Committed
from zvt_crypto.store.intake.compare import Correction, compare
from zvt_crypto.store.intake.fields import series_key
from zvt_crypto.store.intake.growth import clusters, extend
from zvt_crypto.store.intake.share import Share, sort_in
from zvt_crypto.store.timescale import agreement, block, coverage, history, rows
from zvt_crypto.store.timescale.block import Block, Holding
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.partition import Partitions
from zvt_crypto.store.timescale.tables import TABLES

_ENTER: Final = """
INSERT INTO series (exchange, symbol, kind, interval)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING
"""
_FIND: Final = """
SELECT w.at, s.id FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
    AS w (exchange, symbol, kind, interval, at)
JOIN series s USING (exchange, symbol, kind, interval)
"""
# In one order, so that two writers of the same series wait for each other and never in a circle.
_LOCK: Final = """
SELECT id, known_us, last_us FROM series WHERE id = ANY(%s::int[]) ORDER BY id
FOR NO KEY UPDATE
"""
_COUNT: Final = """
UPDATE series s SET
    rows = s.rows + w.rows,
    first_us = LEAST(s.first_us, w.first_us),
    last_us = GREATEST(s.last_us, w.last_us),
    known_us = w.known_us
FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS w (id, rows, first_us, last_us, known_us)
WHERE s.id = w.id
"""
_CORRECT: Final = """
INSERT INTO corrections (series_id, timestamp_us, key, old, new, known_us, corrected_us)
SELECT * FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[],
                     %s::bigint[])
"""
_REFUSE: Final = """
INSERT INTO quarantine (series_id, timestamp_us, reason, raw, written_us, mark)
SELECT * FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::bytea[])
ON CONFLICT (mark) DO NOTHING
"""


class Work(msgspec.Struct):
    """One share on its way through a commit; `fresh` tells which of its rows are written."""

    share: Share
    series_id: int
    last_us: int | None = None
    tail: Coverage | None = None
    fresh: np.ndarray | None = None
    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0
    is_newest: bool = False
    blocks: Sequence[Block] = ()
    corrections: Sequence[Correction] = ()


class Numbers:
    """The numbers of series; one once given stays."""

    def __init__(self, database: Database) -> None:
        """Look numbers up in `database`, once each."""
        self._database = database
        self._guard = threading.Lock()
        self._known: dict[Series, int] = {}

    def of(self, series: Sequence[Series], *, enter: bool = False) -> dict[Series, int]:
        """Return the numbers of those series that have one; with `enter` all are given one."""
        unknown = sorted({one for one in series if one not in self._known}, key=series_key)
        if unknown:
            found = self._database.transact(lambda c: _numbers(c, unknown, enter=enter))
            with self._guard:
                self._known.update(found)
        return {one: self._known[one] for one in series if one in self._known}


class Writer:
    """Applies commits."""

    def __init__(
        self,
        database: Database,
        numbers: Numbers,
        partitions: Partitions,
        clock: Callable[[], int],
    ) -> None:
        """Write through `database`; `clock` tells the time of a commit in microseconds."""
        self._database = database
        self._numbers = numbers
        self._partitions = partitions
        self._clock = clock

    def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Return what each batch did.

        Raises:
            DataError: a table is not of its kind's schema; nothing was changed.
            StoreBusy, StoreAway, StoreFull: as `Database.transact` says; nothing was changed.
        """
        shares = [share for share in sort_in(batches) if _says_something(share)]
        done = [Committed(0, 0, 0) for _ in batches]
        if not shares:
            return done
        numbers = self._numbers.of([share.series for share in shares], enter=True)
        needed = [(TABLES[share.series.kind], share.hull) for share in shares if share.rows]
        # Rows that go into files need no partition; should one turn out to, it is made then.
        files = self._database.files
        self._partitions.ensure(
            (TABLES[share.series.kind], share.hull)
            for share in shares
            if share.rows and not (files and files.takes_at_once(share.series, share.rows))
        )
        try:
            works = self._database.transact(lambda c: self._apply(c, shares, numbers))
        except StoreCorrupt as e:
            if not isinstance(e.__cause__, psycopg.errors.CheckViolation):
                raise
            # Another process has let old rows go, and their partition, which we believed in.
            self._partitions.forget()
            self._partitions.ensure(needed)
            works = self._database.transact(lambda c: self._apply(c, shares, numbers))
        for work in works:
            done[work.share.at] = Committed(work.inserted, work.corrected, work.unchanged)
        return done

    def _apply(
        self, connection: Connection, shares: Sequence[Share], numbers: dict[Series, int]
    ) -> list[Work]:
        works = [Work(share, numbers[share.series]) for share in shares]
        now_us = lock(connection, works, self._clock())
        for work in works:
            _compare(connection, work)
        for kind, members in _by_kind(works):
            _write_rows(connection, kind, members, now_us)
        block.add(connection, [(work.series_id, one) for work in works for one in work.blocks])
        _count(connection, works, now_us)
        _correct(connection, works, now_us)
        _write_ledger(connection, works, now_us)
        _refuse(connection, works, now_us)
        for work in works:
            reconciled = [one for batch in work.share.batches for one in batch.reconciled]
            interval = work.share.series.interval
            if reconciled and interval is not None:
                agreement.put(connection, work.series_id, interval, reconciled, now_us)
        return works


def lock(connection: Connection, works: Sequence[Work], clock_us: int) -> int:
    """Keep other writers away from these series; return the time of this commit.

    It is later than every commit to any of them before, whatever the clock says.
    """
    ids = [work.series_id for work in works]
    found = {row[0]: row[1:] for row in connection.execute(_LOCK, (rows.array(ids),))}
    # Asked after the locks are held: what a writer before us has left is seen.
    tails = coverage.tails(connection, ids)
    known_us = 0
    for work in works:
        known, work.last_us = found[work.series_id]
        work.tail = tails.get(work.series_id)
        known_us = max(known_us, known)
    return max(clock_us, known_us + 1)


def _numbers(connection: Connection, series: Sequence[Series], *, enter: bool) -> dict[Series, int]:
    columns = [list(column) for column in zip(*(series_key(one) for one in series), strict=True)]
    if enter:
        connection.execute(_ENTER, columns)
    return {series[at - 1]: number for at, number in connection.execute(_FIND, columns)}


def _says_something(share: Share) -> bool:
    return bool(
        share.rows
        or share.has_findings
        or any(batch.rejected or batch.reconciled for batch in share.batches)
    )


def _by_kind(works: Iterable[Work]) -> list[tuple[Kind, list[Work]]]:
    kinds: dict[Kind, list[Work]] = {}
    for work in works:
        if work.inserted or work.corrected:
            kinds.setdefault(work.share.series.kind, []).append(work)
    return list(kinds.items())


def _compare(connection: Connection, work: Work) -> None:
    """Find out which rows are new, which replace others, and what that does to the blocks."""
    share = work.share
    if not share.rows:
        return
    work.is_newest = work.last_us is None or share.hull.start > work.last_us
    if work.is_newest:
        work.inserted = share.rows
        work.blocks = block.of(share)
        return
    view = Holding(connection, share.series, work.series_id, share.hull)
    held, digest = view.measure(*share.hull)
    if (held, digest) == (share.rows, share.digest):
        work.unchanged = share.rows
        return
    if not held:
        work.inserted = share.rows
        work.blocks = block.of(share)
        return
    table = TABLES[share.series.kind]
    existing = rows.select(connection, table, work.series_id, share.hull)
    work.fresh, old, work.corrections = compare(share.series.kind, existing, share)
    work.corrected = len(old)
    work.inserted = int(work.fresh.sum()) - work.corrected
    work.unchanged = share.rows - work.inserted - work.corrected
    if not work.inserted and not work.corrected:
        return
    doomed = existing.take(pa.array(old)).combine_chunks()
    low, high = share.index.hashes()
    written = RowIndex(share.index.times[work.fresh], low[work.fresh], high[work.fresh])
    gone = RowIndex.of(doomed.drop_columns([KNOWN.name]))
    work.blocks = block.less(block.cut(share.series, written), block.cut(share.series, gone))
    rows.remove(connection, table, work.series_id, doomed)


def _write_rows(connection: Connection, kind: Kind, works: Sequence[Work], now_us: int) -> None:
    works = [work for work in works if not _file(connection, work, now_us)]
    if not works:
        return
    written = [work.inserted + work.corrected for work in works]
    ids = np.repeat(np.array([work.series_id for work in works], dtype=np.int32), written)
    lot = works[0].share.lot.table
    if lot.num_rows != len(ids):
        parts = [
            work.share.table
            if work.fresh is None
            else work.share.table.filter(pa.array(work.fresh))
            for work in works
        ]
        lot = pa.concat_tables(parts).combine_chunks()
    known = np.full(len(ids), now_us, dtype=np.int64)
    rows.copy_in(connection, TABLES[kind], lot, ids, known)


def _file(connection: Connection, work: Work, now_us: int) -> bool:
    """Put the rows of a large share into files, if the store has any; return whether it did."""
    files, series = connection.files, work.share.series
    rows_written = work.inserted + work.corrected
    if files is None or not files.takes_at_once(series, rows_written):
        return False
    table = work.share.table
    if work.fresh is not None:
        table = table.filter(pa.array(work.fresh)).combine_chunks()
    known = pa.array(np.full(table.num_rows, now_us, dtype=np.int64))
    history.enter(connection, series, work.series_id, table.append_column(KNOWN, known))
    return True


def _count(connection: Connection, works: Sequence[Work], now_us: int) -> None:
    lines = [
        (
            work.series_id,
            work.inserted,
            work.share.hull.start if work.inserted else None,
            work.share.hull.end - 1 if work.inserted else None,
            now_us,
        )
        for work in works
    ]
    connection.execute(_COUNT, [rows.array(column) for column in zip(*lines, strict=True)])


def _correct(connection: Connection, works: Sequence[Work], now_us: int) -> None:
    lines = [
        (work.series_id, c.time, c.key, c.old, c.new, c.known_us, now_us)
        for work in works
        for c in work.corrections
    ]
    if lines:
        connection.execute(_CORRECT, [list(column) for column in zip(*lines, strict=True)])


def _write_ledger(connection: Connection, works: Sequence[Work], now_us: int) -> None:
    grown: list[tuple[int, Coverage]] = []
    others: list[Work] = []
    for work in works:
        entries = None
        if work.is_newest or not work.share.rows:
            entries = extend(work.share, work.tail, work.last_us, now_us)
        if entries is None:
            others.append(work)
        else:
            grown.extend((work.series_id, entry) for entry in entries)
    coverage.put(connection, grown)
    for work in others:
        share, changed = work.share, _changed(work)
        news = share.news()
        if news or changed:
            coverage.update(
                connection,
                share.series,
                work.series_id,
                news=news,
                changed=changed,
                source=share.batches[-1].source,
                now_us=now_us,
            )


def _changed(work: Work) -> list[Range]:
    if not work.inserted and not work.corrected:
        return []
    times = work.share.index.times
    return clusters(times if work.fresh is None else times[work.fresh])


def _refuse(connection: Connection, works: Sequence[Work], now_us: int) -> None:
    lines = [
        (work.series_id, one.timestamp_us, one.reason, rows.bytes_of(one.raw), now_us, mark)
        for work in works
        for batch in work.share.batches
        for one in batch.rejected
        for mark in [mark_of(work.series_id, one)]
    ]
    if lines:
        connection.execute(_REFUSE, [list(column) for column in zip(*lines, strict=True)])


def mark_of(series_id: int, one: Rejected) -> bytes:
    """Return what tells a refused row from all others: the same one is kept once."""
    fields = (series_id, one.timestamp_us, one.reason, one.raw)
    return hashlib.blake2b(json.dumps(fields).encode(), digest_size=16).digest()
