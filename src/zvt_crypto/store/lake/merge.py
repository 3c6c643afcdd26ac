"""Building segments: new rows, hot rows and what lies there already become one sorted run.

The expensive part runs outside the writing transaction, on a snapshot. Before the outcome is
made visible, what it was made from is looked at again; if another writer was faster, the work is
thrown away and done again.
"""

import itertools
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import arrange, match, payloads, times
from zvt_crypto.core.schema import KEYS, SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.store.lake import hot
from zvt_crypto.store.lake.catalog import Transaction
from zvt_crypto.store.lake.chunk import KNOWN
from zvt_crypto.store.lake.holding import Holding, live_segments
from zvt_crypto.store.lake.intake import Share
from zvt_crypto.store.lake.rowindex import RowIndex
from zvt_crypto.store.lake.segment import Segment, SegmentFiles, partition, segment_path

_EARLIEST: Final = -(1 << 62)
_LARGEST_ROWS: Final = 1_000_000
# A neighbour up to this many times the size of what is written anyway is written along with it:
# every row is rewritten a logarithmic number of times, and a partition keeps few segments.
_ABSORB: Final = 2


class Conflict(Exception):
    """Another writer changed meanwhile what a plan was made from."""


class Correction(msgspec.Struct, frozen=True):
    """A row replaced by other values."""

    time: int
    key: str | None
    old: str
    new: str
    known_us: int


class Part(msgspec.Struct, frozen=True):
    """What is to happen to a stretch of one series, and what must still be true then.

    `hull` is the stretch of the segments read and written, `warm` that of the hot rows taken in.
    """

    hull: Range
    warm: Range
    seen: tuple[list[int], tuple[int, int]]
    replaced: Sequence[Segment] = ()
    written: Sequence[Segment] = ()
    absorbs_hot: bool = False
    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0
    changed: Range | None = None
    corrections: Sequence[Correction] = ()


class Merger:
    """Plans and applies changes of segments."""

    def __init__(self, files: SegmentFiles, unique: Callable[[], str]) -> None:
        """Write to `files`, under names from `unique`."""
        self._files = files
        self._unique = unique

    def plan(self, connection: sqlite3.Connection, series_id: int, share: Share) -> list[Part]:
        """Write the segments that a share of a commit needs, partition by partition."""
        parts: list[Part] = []
        try:
            at, moments = share.first, share.lot.times
            while at < share.last:
                window = partition(share.series, int(moments[at]))
                stop = int(np.searchsorted(moments[at : share.last], window.end)) + at
                slice_ = share.part(at, stop)
                parts.append(self._plan_part(connection, share.series, series_id, window, slice_))
                at = stop
        except BaseException:
            self.discard(parts)
            raise
        return parts

    def plan_compaction(
        self, connection: sqlite3.Connection, series: Series, series_id: int
    ) -> list[Part]:
        """Write the segments that take in all hot rows of a series."""
        parts: list[Part] = []
        moment = hot.next_time(connection, series.kind, series_id, _EARLIEST)
        try:
            while moment is not None:
                window = partition(series, moment)
                if hot.mark(connection, series.kind, series_id, *window)[0]:
                    parts.append(self._plan_part(connection, series, series_id, window, None))
                moment = hot.next_time(connection, series.kind, series_id, window.end)
        except BaseException:
            self.discard(parts)
            raise
        return parts

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
            written.extend(self._write(series, window, rest) if rest.num_rows else [])
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
            connection.execute(
                "UPDATE series SET hot_rows = hot_rows - ? WHERE id = ?", (deleted, series_id)
            )

    def discard(self, parts: Iterable[Part], transaction: Transaction | None = None) -> None:
        """Remove segments that were never made visible, if that is certain."""
        if transaction is not None and transaction.is_sealed:
            return
        for part in parts:
            for segment in part.written:
                self._files.storage.remove(segment.path)

    def _plan_part(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        window: Range,
        share: Share | None,
    ) -> Part:
        kind = series.kind
        asked = window if share is None else share.hull
        if share is not None:
            held = Holding(connection, self._files, series, series_id, asked)
            if held.measure(*asked) == (share.rows, share.digest):
                seen = _seen(connection, series, series_id, asked, asked)
                return Part(asked, asked, seen, unchanged=share.rows)
        rows = hot.select(connection, kind, series_id, *asked)
        if share is None and not rows.num_rows:
            return Part(asked, asked, _seen(connection, series, series_id, asked, asked))
        reach = share.hull if share is not None else _hull(rows)
        live = live_segments(connection, series_id, window)
        replaced = _replaced(live, reach, rows.num_rows + (share.rows if share else 0))
        hull = reach
        if replaced:
            first, last = replaced[0].first_us, replaced[-1].last_us
            hull = Range(min(first, reach.start), max(last + 1, reach.end))
        seen = _seen(connection, series, series_id, hull, asked)
        existing = self._existing(kind, replaced, rows)
        if share is None:
            written = self._write(series, window, existing)
            return Part(hull, asked, seen, replaced, written, absorbs_hot=True)
        fresh, old, corrections = _compare(kind, existing, share)
        corrected, inserted = len(old), int(fresh.sum()) - len(old)
        unchanged = share.rows - inserted - corrected
        if not inserted and not corrected:
            return Part(hull, asked, seen, unchanged=unchanged)
        table = _combine(kind, existing, old, share.table, fresh)
        moments = share.index.times[fresh]
        return Part(
            hull,
            asked,
            seen,
            replaced,
            self._write(series, window, table),
            absorbs_hot=rows.num_rows > 0,
            inserted=inserted,
            corrected=corrected,
            unchanged=unchanged,
            changed=Range(int(moments[0]), int(moments[-1]) + 1),
            corrections=corrections,
        )

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

    def _write(self, series: Series, window: Range, table: pa.Table) -> list[Segment]:
        index = RowIndex.of(table.select(SCHEMAS[series.kind].names))
        written: list[Segment] = []
        try:
            for first, last in _cuts(index):
                path = segment_path(series, window, self._unique())
                piece = index.slice(first, last)
                rows = table.slice(first, last - first)
                written.append(self._files.write(series.kind, path, rows, piece))
        except BaseException:
            for segment in written:
                self._files.storage.remove(segment.path)
            raise
        return written


def record_corrections(
    connection: sqlite3.Connection,
    series_id: int,
    corrections: Sequence[Correction],
    now_us: int,
) -> None:
    """Keep the old values of replaced rows."""
    connection.executemany(
        "INSERT INTO corrections "
        "(series_id, timestamp, key, old, new, known_us, corrected_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(series_id, c.time, c.key, c.old, c.new, c.known_us, now_us) for c in corrections],
    )


def corrections_of(kind: Kind, old: pa.Table, new: pa.Table) -> list[Correction]:
    """Pair old rows, with `known_us`, and the new rows of the same keys."""
    if not old.num_rows:
        return []
    second = KEYS[kind][1:]
    keys = new.column(second[0]).to_pylist() if second else [None] * new.num_rows
    before = payloads(kind, old.drop_columns([KNOWN.name]))
    known = old.column(KNOWN.name).to_pylist()
    rows = zip(times(new).tolist(), keys, before, payloads(kind, new), known, strict=True)
    return [Correction(*row) for row in rows]


def sorted_together(kind: Kind, tables: Sequence[pa.Table]) -> pa.Table:
    """Return rows of tables that are each sorted, and share no key, as one sorted table."""
    joined = pa.concat_tables(sorted(tables, key=_first_time)).combine_chunks()
    return arrange(kind, joined, np.zeros(joined.num_rows, dtype=np.int64))[0]


def _first_time(table: pa.Table) -> int:
    return int(times(table.slice(0, 1))[0]) if table.num_rows else 0


def _seen(
    connection: sqlite3.Connection, series: Series, series_id: int, hull: Range, warm: Range
) -> tuple[list[int], tuple[int, int]]:
    live = live_segments(connection, series_id, hull)
    return [s.id for s in live], hot.mark(connection, series.kind, series_id, *warm)


def _hull(table: pa.Table) -> Range:
    moments = times(table)
    return Range(int(moments[0]), int(moments[-1]) + 1)


def _replaced(live: Sequence[Segment], reach: Range, rows: int) -> Sequence[Segment]:
    """Return the neighbouring segments that are written anew along with rows in `reach`."""
    first = bisect_left(live, reach.start, key=lambda s: s.last_us)
    last = bisect_left(live, reach.end, key=lambda s: s.first_us)
    total = rows + sum(segment.rows for segment in live[first:last])
    while first > 0 and _is_worth_it(live[first - 1], total):
        first -= 1
        total += live[first].rows
    while last < len(live) and _is_worth_it(live[last], total):
        total += live[last].rows
        last += 1
    return live[first:last]


def _is_worth_it(segment: Segment, total: int) -> bool:
    return segment.rows <= _ABSORB * total and segment.rows + total <= _LARGEST_ROWS


def _compare(
    kind: Kind, existing: pa.Table, share: Share
) -> tuple[np.ndarray, np.ndarray, list[Correction]]:
    """Return which incoming rows to write, which existing they replace, and the old values."""
    found = match(kind, existing, share.table)
    fresh = found < 0
    known = np.flatnonzero(~fresh)
    if len(known):
        index = RowIndex.of(existing.select(SCHEMAS[kind].names))
        differs = index.differs(found[known], share.index, known)
        fresh[known[differs]] = True
        known = known[differs]
    old = found[known]
    taken = existing.take(pa.array(old))
    return fresh, old, corrections_of(kind, taken, share.table.take(pa.array(known)))


def _combine(
    kind: Kind, existing: pa.Table, old: np.ndarray, incoming: pa.Table, fresh: np.ndarray
) -> pa.Table:
    """Return existing rows less the replaced ones, and the fresh incoming ones, sorted."""
    if len(old):
        kept = np.ones(existing.num_rows, dtype=bool)
        kept[old] = False
        existing = existing.filter(pa.array(kept))
    if not fresh.all():
        incoming = incoming.filter(pa.array(fresh))
    # No time of its own: it is known since the commit that makes the segment visible.
    unknown = pa.nulls(incoming.num_rows, pa.int64())
    tables = [existing, incoming.append_column(KNOWN, unknown)]
    return sorted_together(kind, [table for table in tables if table.num_rows])


def _cuts(index: RowIndex) -> list[tuple[int, int]]:
    """Return where to cut rows into segments: never between rows of one moment."""
    rows = len(index.times)
    pieces = -(-rows // _LARGEST_ROWS)
    bounds = [0]
    for number in range(1, pieces):
        moment = index.times[number * rows // pieces]
        at = int(np.searchsorted(index.times, moment))
        if at > bounds[-1]:
            bounds.append(at)
    bounds.append(rows)
    return list(itertools.pairwise(bounds))
