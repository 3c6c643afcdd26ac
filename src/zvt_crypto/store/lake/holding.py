"""What one series holds, as one transaction sees it: segments and hot rows together."""

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.schema import KNOWN
from zvt_crypto.core.series import Series
from zvt_crypto.store.lake import hot
from zvt_crypto.store.segments.segment import Segment, SegmentFiles

_FIELDS: Final = "first_us, last_us, rows, digest, bytes, path, known_us, id"
_LIVE: Final = (
    f"SELECT {_FIELDS} FROM segments "  # noqa: S608 - our names
    "WHERE series_id = ? AND retired_us IS NULL AND first_us < ? AND last_us >= ? "
    "ORDER BY first_us"
)
_NEWEST: Final = (
    f"SELECT series_id, {_FIELDS} FROM segments "  # noqa: S608 - our names
    "WHERE id IN (SELECT (SELECT id FROM segments WHERE series_id = e.value "
    "AND retired_us IS NULL ORDER BY first_us DESC LIMIT 1) FROM json_each(?) e)"
)


def live_segments(connection: sqlite3.Connection, series_id: int, asked: Range) -> list[Segment]:
    """Return the segments with rows in or around `asked`, ascending; their rows never overlap."""
    bounds = (series_id, asked.end, asked.start)
    return [_segment(row) for row in connection.execute(_LIVE, bounds)]


def newest_segments(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, Segment]:
    """Return the last segment of each series that has one."""
    return {
        series_id: _segment(row)
        for series_id, *row in connection.execute(_NEWEST, (json.dumps(list(ids)),))
    }


def _segment(row: Sequence[Any]) -> Segment:
    first, last, rows, digest, size, path, known, key = row
    return Segment(first, last, rows, Digest.parse(digest), size, path, known, key)


class Holding:
    """Counts, digests and times of the rows of one series inside `hull`.

    Segments wholly inside a question are answered by the manifest; only the one or two at its
    ends are looked into.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        files: SegmentFiles,
        series: Series,
        series_id: int,
        hull: Range,
    ) -> None:
        """Read the manifest; hot rows are read when first asked for."""
        self._connection = connection
        self._files = files
        self._series = series
        self._series_id = series_id
        self._hull = hull
        self.segments = live_segments(connection, series_id, hull)
        self._hot: RowIndex | None = None

    def measure(self, start: int, end: int) -> tuple[int, Digest]:
        """Count and digest the rows in `[start, end)`."""
        asked = Range(start, end)
        rows, digest = self._hot_index().measure(start, end)
        for segment in self._around(asked):
            if segment.inside(asked):
                rows, digest = rows + segment.rows, digest + segment.digest
            else:
                index = self._files.index(self._series.kind, segment)
                more, part = index.measure(start, end)
                rows, digest = rows + more, digest + part
        return rows, digest

    def times(self, start: int, end: int) -> list[int]:
        """Return the times of the rows in `[start, end)`, ascending."""
        asked = Range(start, end)
        found = [self._hot_index().inside(start, end)]
        found.extend(
            self._files.index(self._series.kind, segment).inside(start, end)
            for segment in self._around(asked)
        )
        return np.sort(np.concatenate(found)).tolist()

    def _around(self, asked: Range) -> list[Segment]:
        """Return the segments that overlap `asked`; there may be thousands of questions."""
        first = bisect_left(self.segments, asked.start, key=lambda s: s.last_us)
        last = bisect_left(self.segments, asked.end, key=lambda s: s.first_us)
        return self.segments[first:last]

    def _hot_index(self) -> RowIndex:
        if self._hot is None:
            kind = self._series.kind
            table = hot.select(self._connection, kind, self._series_id, *self._hull)
            self._hot = RowIndex.of(table.drop_columns([KNOWN.name]))
        return self._hot
