"""Building segments: new rows, hot rows and what lies there already become one sorted run.

The expensive part runs outside the writing transaction, on a snapshot. Before the outcome is
made visible, what it was made from is looked at again; if another writer was faster, the work is
thrown away and done again.
"""

import itertools
import sqlite3
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import Int64s, sorted_together, times
from zvt_crypto.core.schema import SCHEMAS, weight
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.unpacking import inside
from zvt_crypto.store.intake.compare import Correction, compare
from zvt_crypto.store.intake.share import Share
from zvt_crypto.store.lake import hot
from zvt_crypto.store.lake.catalog import Transaction
from zvt_crypto.store.lake.chunk import Chunk, unpack
from zvt_crypto.store.lake.combine import combine, record_corrections, without_time
from zvt_crypto.store.lake.holding import Holding, live_segments
from zvt_crypto.store.segments.segment import Segment, SegmentFiles, partition, segment_path

_LARGEST_ROWS: Final = 1_000_000
# Of heavy rows, whose number tells little: a segment in memory, and as a file.
_LARGEST_BYTES: Final = 128 << 20
_LARGEST_FILE: Final = 32 << 20
# A neighbour up to this many times the size of what is written anyway is written along with it:
# every row is rewritten a logarithmic number of times, and a partition keeps few segments.
_ABSORB: Final = 2


Seen = tuple[list[int], tuple[int, int]]
"""The numbers of segments, and the mark of hot rows."""


class Conflict(Exception):
    """Another writer changed meanwhile what a plan was made from."""


class Part(msgspec.Struct, frozen=True):
    """What is to happen to a stretch of one series, and what must still be true then.

    `hull` is the stretch of the segments read and written, `warm` that of the hot rows looked at;
    `seen` is what was there.
    """

    hull: Range
    warm: Range
    seen: Seen
    replaced: Sequence[Segment] = ()
    written: Sequence[Segment] = ()
    absorbs_hot: bool = False
    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0
    changed: Range | None = None
    corrections: Sequence[Correction] = ()


_NOWHERE: Final = Range(0, 0)
_NOTHING: Final = Part(_NOWHERE, _NOWHERE, ([], (0, 0)))


class Compaction(msgspec.Struct, frozen=True):
    """The parts that take in the hot rows of these chunks; whatever came later stays hot."""

    parts: Sequence[Part]
    chunks: Sequence[Chunk]


class _Draft(msgspec.Struct, frozen=True):
    """A part, and the rows it needs written; without a table nothing is to be written."""

    part: Part
    window: Range = Range(0, 0)
    table: pa.Table | None = None
    index: RowIndex | None = None


class Merger:
    """Plans and applies changes of segments."""

    def __init__(self, files: SegmentFiles, unique: Callable[[], str]) -> None:
        """Write to `files`, under names from `unique`."""
        self._files = files
        # Two: while one waits for the disk, the other encodes.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="lake-encode")
        self._unique = unique

    def plan(self, connection: sqlite3.Connection, series_id: int, share: Share) -> list[Part]:
        """Write the segments that a share of a commit needs, partition by partition."""

        def drafts() -> Iterator[_Draft]:
            at, moments = share.first, share.lot.times
            while at < share.last:
                window = partition(share.series, int(moments[at]))
                stop = int(np.searchsorted(moments[at : share.last], window.end)) + at
                part = share.part(at, stop)
                yield self._draft(connection, share.series, series_id, window, part)
                at = stop

        return self._written(share.series, drafts())

    def plan_compaction(
        self, connection: sqlite3.Connection, series: Series, series_id: int
    ) -> Compaction:
        """Write the segments that take in the chunks of a series."""
        chunks = hot.chunks(connection, series_id)
        rows = unpack(series.kind, chunks)
        moments = times(rows)

        def drafts() -> Iterator[_Draft]:
            at = 0
            while at < len(moments):
                window = partition(series, int(moments[at]))
                stop = int(np.searchsorted(moments, window.end))
                part = rows.slice(at, stop - at)
                yield self._fold(connection, series, series_id, window, part)
                at = stop

        return Compaction(self._written(series, drafts()), chunks)

    def plan_entry(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        stretches: Sequence[Range],
        table: pa.Table,
    ) -> list[Part]:
        """Write the segments in which `table`, with `known_us`, is all there is in `stretches`."""
        kind, moments = series.kind, times(table)
        checks = [
            Part(one, one, _seen(connection, series, series_id, one, one)) for one in stretches
        ]

        def drafts() -> Iterator[_Draft]:
            for window in _windows(connection, series, series_id, stretches, moments):
                first, last = np.searchsorted(moments, window).tolist()
                mine = [one for one in (s.overlap(window) for s in stretches) if not one.is_empty]
                reach = Range(mine[0].start, mine[-1].end)
                warm = hot.select(connection, kind, series_id, *reach)
                live = live_segments(connection, series_id, window)
                replaced = _replaced(series.kind, live, reach, last - first + warm.num_rows)
                hull = _around(reach, replaced)
                seen = _seen(connection, series, series_id, hull, reach)
                part = Part(hull, reach, seen, replaced, absorbs_hot=warm.num_rows > 0)
                held = self._existing(kind, replaced, warm)
                rest = held.filter(pa.array(~inside(times(held), mine))).cast(table.schema)
                rows = sorted_together(kind, [rest, table.slice(first, last - first)])
                yield _Draft(part, window, rows if rows.num_rows else None)

        return [*checks, *self._written(series, drafts())]

    def plan_discard(
        self, connection: sqlite3.Connection, series: Series, series_id: int, asked: Range
    ) -> tuple[list[Part], Range]:
        """Write the segments that are left without the rows in `asked`.

        Returns the range that goes: a segment that is damaged goes as a whole.
        """
        live = live_segments(connection, series_id, asked)
        kept: list[tuple[Segment, pa.Table]] = []
        for segment in live:
            table = self._sound(series.kind, segment)
            if table is None:
                last = max(asked.end, series.cell_end(segment.last_us))
                asked = Range(min(asked.start, segment.first_us), last)
            else:
                kept.append((segment, table))
        written: list[Segment] = []
        for segment, table in kept:
            moments = times(table)
            rest = table.filter(pa.array((moments < asked.start) | (moments >= asked.end)))
            window = partition(series, segment.first_us)
            if rest.num_rows:
                written.extend(self._write(series, _Draft(_NOTHING, window, rest)))
        seen = _seen(connection, series, series_id, asked, asked)
        return [Part(asked, asked, seen, live, written, absorbs_hot=True)], asked

    def apply(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        parts: Sequence[Part],
        now_us: int,
    ) -> None:
        """Make planned segments visible.

        Raises:
            Conflict: what a plan was made from has changed.
        """
        for part in parts:
            if part.seen != _seen(connection, series, series_id, part.hull, part.warm):
                raise Conflict
        deleted, now = 0, now_us
        for part in parts:
            connection.executemany(
                "UPDATE segments SET retired_us = ? WHERE id = ?",
                [(now, segment.id) for segment in part.replaced],
            )
            connection.executemany(
                "INSERT INTO segments "
                "(series_id, first_us, last_us, rows, digest, bytes, path, known_us) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (series_id, s.first_us, s.last_us, s.rows, str(s.digest), s.bytes, s.path, now)
                    for s in part.written
                ],
            )
            record_corrections(connection, series_id, part.corrections, now_us)
            if part.absorbs_hot:
                deleted += hot.delete(connection, series.kind, series_id, *part.warm)
        if deleted:
            _subtract_hot(connection, series_id, deleted)

    def apply_compaction(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        plan: Compaction,
        now_us: int,
    ) -> None:
        """Make the segments visible in place of the chunks.

        Raises:
            Conflict: what the plan was made from has changed.
        """
        self.apply(connection, series, series_id, plan.parts, now_us)
        if not hot.remove(connection, plan.chunks):
            raise Conflict
        _subtract_hot(connection, series_id, sum(chunk[4] for chunk in plan.chunks))

    def close(self) -> None:
        """End the threads that encode."""
        self._pool.shutdown()

    def discard(self, parts: Iterable[Part], transaction: Transaction | None = None) -> None:
        """Remove segments that were never made visible, if that is certain."""
        if transaction is not None and transaction.is_sealed:
            return
        for part in parts:
            for segment in part.written:
                self._files.storage.remove(segment.path)

    def _written(self, series: Series, drafts: Iterator["_Draft"]) -> list[Part]:
        """Write what the drafts hold: encoding one runs beside the making of the next."""
        parts: list[Part] = []
        under_way: deque[tuple[_Draft, Future[list[Segment]]]] = deque()
        failures: list[BaseException] = []

        def finish() -> None:
            draft, future = under_way.popleft()
            try:
                parts.append(msgspec.structs.replace(draft.part, written=future.result()))
            except BaseException as e:  # noqa: BLE001 - raised below, when all are finished
                failures.append(e)

        try:
            for draft in drafts:
                under_way.append((draft, self._pool.submit(self._write, series, draft)))
                # Never more than two tables in memory, however long the range is.
                if len(under_way) > 1:
                    finish()
        except BaseException as e:  # noqa: BLE001 - as above
            failures.append(e)
        while under_way:
            finish()
        if failures:
            self.discard(parts)
            raise failures[0]
        return parts

    def _fold(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        window: Range,
        rows: pa.Table,
    ) -> "_Draft":
        """Draft the part that puts hot rows, which lie in no segment yet, into one."""
        live = live_segments(connection, series_id, window)
        reach = _hull(rows)
        replaced = _replaced(series.kind, live, reach, rows.num_rows)
        hull = _around(reach, replaced)
        part = Part(hull, _NOWHERE, _seen(connection, series, series_id, hull), replaced)
        return _Draft(part, window, self._existing(series.kind, replaced, rows))

    def _draft(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        window: Range,
        share: Share,
    ) -> "_Draft":
        """Draft the part that a share of a commit needs."""
        kind, asked = series.kind, share.hull
        held = Holding(connection, self._files, series, series_id, asked)
        if held.measure(*asked) == (share.rows, share.digest):
            seen = _seen(connection, series, series_id, asked, asked)
            return _Draft(Part(asked, asked, seen, unchanged=share.rows))
        rows = hot.select(connection, kind, series_id, *asked)
        live = live_segments(connection, series_id, window)
        replaced = _replaced(series.kind, live, asked, rows.num_rows + share.rows)
        hull = _around(asked, replaced)
        seen = _seen(connection, series, series_id, hull, asked)
        if not replaced and not rows.num_rows:
            part = Part(hull, asked, seen, inserted=share.rows, changed=asked)
            return _Draft(part, window, without_time(share.table), share.index)
        existing = self._existing(kind, replaced, rows)
        fresh, old, corrections = compare(kind, existing, share)
        corrected, inserted = len(old), int(fresh.sum()) - len(old)
        unchanged = share.rows - inserted - corrected
        if not inserted and not corrected:
            return _Draft(Part(hull, asked, seen, unchanged=unchanged))
        moments = share.index.times[fresh]
        part = Part(
            hull,
            asked,
            seen,
            replaced,
            absorbs_hot=rows.num_rows > 0,
            inserted=inserted,
            corrected=corrected,
            unchanged=unchanged,
            changed=Range(int(moments[0]), int(moments[-1]) + 1),
            corrections=corrections,
        )
        return _Draft(part, window, combine(kind, existing, old, share.table, fresh))

    def _sound(self, kind: Kind, segment: Segment) -> pa.Table | None:
        """Return the rows of a segment if they are those that were written."""
        try:
            table = self._files.read(kind, segment)
        except (OSError, pa.ArrowException):
            return None
        index = RowIndex.of(table.select(SCHEMAS[kind].names))
        same = index.between(0, table.num_rows) == (segment.rows, segment.digest)
        return table if same else None

    def _existing(self, kind: Kind, segments: Sequence[Segment], warm: pa.Table) -> pa.Table:
        tables = [self._files.read(kind, segment) for segment in segments]
        if warm.num_rows or not tables:
            tables.append(warm)
        return sorted_together(kind, tables)

    def _write(self, series: Series, draft: "_Draft") -> list[Segment]:
        if draft.table is None:
            return []
        index = draft.index or RowIndex.of(draft.table.select(SCHEMAS[series.kind].names))
        written: list[Segment] = []
        try:
            for first, last in _cuts(series.kind, index, draft.table.nbytes):
                path = segment_path(series, draft.window, self._unique())
                piece = index if last - first == len(index.times) else index.slice(first, last)
                rows = draft.table.slice(first, last - first)
                written.append(self._files.write(series.kind, path, rows, piece))
        except BaseException:
            for segment in written:
                self._files.storage.remove(segment.path)
            raise
        return written


def _windows(
    connection: sqlite3.Connection,
    series: Series,
    series_id: int,
    stretches: Sequence[Range],
    moments: Int64s,
) -> list[Range]:
    """Return the partitions in which rows lie in the stretches, or will."""
    found: set[Range] = set()
    for stretch in stretches:
        for segment in live_segments(connection, series_id, stretch):
            found.add(partition(series, segment.first_us))
        warm = times(hot.select(connection, series.kind, series_id, *stretch))
        for some in (warm, moments):
            at = 0
            while at < len(some):
                window = partition(series, int(some[at]))
                found.add(window)
                at = int(np.searchsorted(some, window.end))
    return sorted(
        window for window in found if any(not s.overlap(window).is_empty for s in stretches)
    )


def _seen(
    connection: sqlite3.Connection,
    series: Series,
    series_id: int,
    hull: Range,
    warm: Range = _NOWHERE,
) -> Seen:
    ids = [segment.id for segment in live_segments(connection, series_id, hull)]
    if warm.is_empty:
        return ids, (0, 0)
    return ids, hot.mark(connection, series.kind, series_id, *warm)


def _subtract_hot(connection: sqlite3.Connection, series_id: int, rows: int) -> None:
    connection.execute("UPDATE series SET hot_rows = hot_rows - ? WHERE id = ?", (rows, series_id))


def _around(reach: Range, segments: Sequence[Segment]) -> Range:
    """Return the stretch of `reach` and of segments in or beside it."""
    if not segments:
        return reach
    first, last = segments[0].first_us, segments[-1].last_us
    return Range(min(first, reach.start), max(last + 1, reach.end))


def _hull(table: pa.Table) -> Range:
    moments = times(table)
    return Range(int(moments[0]), int(moments[-1]) + 1)


def _replaced(kind: Kind, live: Sequence[Segment], reach: Range, rows: int) -> Sequence[Segment]:
    """Return the neighbouring segments that are written anew along with rows in `reach`."""
    first = bisect_left(live, reach.start, key=lambda s: s.last_us)
    last = bisect_left(live, reach.end, key=lambda s: s.first_us)
    total = rows + sum(segment.rows for segment in live[first:last])
    while first > 0 and _is_worth_it(kind, live[first - 1], total):
        first -= 1
        total += live[first].rows
    while last < len(live) and _is_worth_it(kind, live[last], total):
        total += live[last].rows
        last += 1
    return live[first:last]


def _is_worth_it(kind: Kind, segment: Segment, total: int) -> bool:
    heavy = weight(kind)
    is_small = segment.rows + total <= _LARGEST_ROWS // heavy
    if heavy > 1:
        is_small &= segment.bytes <= _LARGEST_FILE
    return is_small and segment.rows <= _ABSORB * total


def _cuts(kind: Kind, index: RowIndex, size: int) -> list[tuple[int, int]]:
    """Return where to cut rows into segments: never between rows of one moment."""
    rows = len(index.times)
    pieces = -(-rows // (_LARGEST_ROWS // weight(kind)))
    if weight(kind) > 1:
        pieces = max(pieces, min(rows, -(-size // _LARGEST_BYTES)))
    bounds = [0]
    for number in range(1, pieces):
        moment = index.times[number * rows // pieces]
        at = int(np.searchsorted(index.times, moment))
        if at > bounds[-1]:
            bounds.append(at)
    bounds.append(rows)
    return list(itertools.pairwise(bounds))
