"""Where rows go that will hardly change, when the store keeps its history in files."""

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from zvt_crypto.core.errors import StoreAway
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import times
from zvt_crypto.core.schema import KNOWN, weight
from zvt_crypto.core.series import Series
from zvt_crypto.store.segments.segment import Segment, SegmentFiles, partition, segment_path
from zvt_crypto.store.segments.storage import open_storage

FILED_ROWS: Final = 20_000
"""A commit of so many rows of one series goes into files at once: such come from bulk files."""

# Of light rows: what is read to change one row of a file, at most.
_MOST_ROWS: Final = 1_000_000


class Files:
    """Segments in a folder or a bucket; the manifest in the database says which of them count."""

    def __init__(
        self,
        url: str,
        announce: Callable[[Sequence[str]], None],
        *,
        filed_rows: int,
        keeps_minutes: bool,
    ) -> None:
        """Use the folder or bucket at `url`.

        Args:
            url: a folder, or `s3://bucket/prefix`.
            announce: notes durably that files of these paths are about to be written.
            filed_rows: how many rows a commit files at once.
            keeps_minutes: whether candles of 1m stay in their table, for views made of them.
        """
        self.storage = open_storage(Path(url), url if "://" in url else None)
        self.segments = SegmentFiles(self.storage)
        self._filed_rows = filed_rows
        self._announce = announce
        self._keeps_minutes = keeps_minutes
        self._token = secrets.token_hex(6)
        self._numbers = itertools.count()

    def takes(self, series: Series) -> bool:
        """Return whether rows of `series` go into files at all."""
        return not (self._keeps_minutes and series.interval is Interval.M1)

    def takes_at_once(self, series: Series, rows: int) -> bool:
        """Return whether a commit of so many rows goes there, past the table."""
        return self.takes(series) and rows * weight(series.kind) >= self._filed_rows

    def write(self, series: Series, table: pa.Table) -> list[Segment]:
        """Store sorted rows with their `known_us` durably; nothing names them yet.

        Raises:
            StoreFull: no space.
            StoreAway: the folder or bucket does not take them.
        """
        pieces = list(_pieces(series, table))
        paths = [
            segment_path(series, part, f"{self._token}-{next(self._numbers)}") for part, _ in pieces
        ]
        self._announce(paths)
        try:
            return [
                self.segments.write(
                    series.kind, path, piece, RowIndex.of(piece.drop_columns([KNOWN.name]))
                )
                for path, (_, piece) in zip(paths, pieces, strict=True)
            ]
        except OSError as e:
            raise StoreAway(self.storage.url, str(e)) from e


def _pieces(series: Series, table: pa.Table) -> Iterator[tuple[Range, pa.Table]]:
    """Cut rows where a file must end; rows of one moment stay together."""
    moments = times(table)
    most = max(1, _MOST_ROWS // weight(series.kind))
    at = 0
    while at < len(moments):
        part = partition(series, int(moments[at]))
        end = int(np.searchsorted(moments, part.end))
        if end - at > most:
            cut = int(np.searchsorted(moments, moments[at + most]))
            end = cut if cut > at else int(np.searchsorted(moments, moments[at], side="right"))
        yield part, table.slice(at, end - at)
        at = end
