"""Segments: immutable sorted Parquet files of one series within one partition of time."""

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import times
from zvt_crypto.core.schema import KNOWN, LATECOMERS, SCHEMAS, weight
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import from_us, to_us
from zvt_crypto.store.segments.storage import Storage

_ROW_GROUP: Final = 65_536  # of light rows
_GROUP_BYTES: Final = 16 << 20  # of heavy ones
# 700,000 rows: what commits look into are the newest segments of a few series.
_INDEX_BYTES: Final = 16 * 1024 * 1024


class Segment(msgspec.Struct, frozen=True):
    """One line of the manifest; `known_us` holds for every row that names no time of its own."""

    first_us: int
    last_us: int
    rows: int
    digest: Digest
    bytes: int
    path: str
    known_us: int = 0
    id: int = 0

    def overlaps(self, asked: Range) -> bool:
        """Return whether a row of it may lie in `asked`."""
        return self.first_us < asked.end and self.last_us >= asked.start

    def inside(self, asked: Range) -> bool:
        """Return whether all its rows lie in `asked`."""
        return asked.start <= self.first_us and self.last_us < asked.end


def partition(series: Series, moment: int) -> Range:
    """Return the stretch of time whose rows may share a segment: a month, or a year.

    Busy series have several segments in one, quiet ones are spared a crowd of tiny files.
    """
    date = from_us(moment).date()
    if _is_sparse(series):
        return Range(to_us(dt.date(date.year, 1, 1)), to_us(dt.date(date.year + 1, 1, 1)))
    after = dt.date(date.year + date.month // 12, date.month % 12 + 1, 1)
    return Range(to_us(date.replace(day=1)), to_us(after))


def segment_path(series: Series, part: Range, unique: str) -> str:
    """Return where a segment goes; no folder bears the name of a column inside the file."""
    label = from_us(part.start).strftime("%Y" if _is_sparse(series) else "%Y-%m")
    # The kind is a plain folder: it is the root of a published table, and no partition of it.
    folders = [
        series.kind.value,
        f"p_exchange={series.exchange}",
        f"p_symbol={series.symbol}",
    ]
    if series.interval is not None:
        folders.append(f"p_interval={series.interval}")
    return "/".join(["segments", *folders, f"{label}.{unique}.parquet"])


def newest_of(segments: Sequence[Segment], asked: Range, last: int) -> list[Segment]:
    """Return the segments that surely hold the newest `last` rows of `asked`, in their order."""
    rows, oldest = 0, asked.end
    for segment in sorted(segments, key=lambda one: one.last_us, reverse=True):
        if rows >= last:
            break
        oldest = min(oldest, segment.first_us)
        # How many rows of one that is cut lie inside is not known without reading it.
        rows += segment.rows if segment.inside(asked) else 0
    return [one for one in segments if one.last_us >= oldest]


class SegmentFiles:
    """Writes and reads segments, and remembers what it learned of them: they never change."""

    def __init__(self, storage: Storage) -> None:
        """Keep segments in `storage`."""
        self.storage = storage
        self._indexes: OrderedDict[str, RowIndex] = OrderedDict()
        self._index_bytes = 0
        self._guard = threading.Lock()

    def write(self, kind: Kind, path: str, table: pa.Table, index: RowIndex) -> Segment:
        """Store rows with their `known_us` durably; the manifest does not name them yet."""
        sink = pa.BufferOutputStream()
        group = _ROW_GROUP // weight(kind)
        if weight(kind) > 1:
            group = max(1, min(group, _GROUP_BYTES * table.num_rows // max(table.nbytes, 1)))
        pq.write_table(table, sink, row_group_size=group, **_encoding(kind))
        body = memoryview(sink.getvalue())
        self.storage.put(path, body)
        rows, digest = index.between(0, table.num_rows)
        self._remember(path, index)
        return Segment(int(index.times[0]), int(index.times[-1]), rows, digest, len(body), path)

    def read(
        self,
        kind: Kind,
        segment: Segment,
        asked: Range | None = None,
        *,
        with_known: bool = True,
    ) -> pa.Table:
        """Return the rows in `asked`, and since when they are known.

        Raises:
            FileNotFoundError: the file was vacuumed since the manifest was read.
        """
        columns = [*SCHEMAS[kind].names, *([KNOWN.name] if with_known else [])]
        with self.storage.source(segment.path) as source:
            file = pq.ParquetFile(source)
            groups = _groups(file, segment, asked)
            table = _completed(kind, file.read_row_groups(groups, columns), columns)
        if with_known:
            table = _known(table, segment)
        if asked is None or segment.inside(asked):
            return table
        first, last = np.searchsorted(times(table), asked).tolist()
        return table.slice(first, last - first)

    def index(self, kind: Kind, segment: Segment) -> RowIndex:
        """Return times and hashes of all rows, from memory if they were needed lately."""
        with self._guard:
            found = self._indexes.get(segment.path)
            if found is not None:
                self._indexes.move_to_end(segment.path)
                return found
        index = RowIndex.of(self.read(kind, segment, with_known=False))
        self._remember(segment.path, index)
        return index

    def _remember(self, path: str, index: RowIndex) -> None:
        with self._guard:
            old = self._indexes.pop(path, None)
            self._index_bytes += index.nbytes - (old.nbytes if old else 0)
            self._indexes[path] = index
            while self._index_bytes > _INDEX_BYTES and len(self._indexes) > 1:
                _, dropped = self._indexes.popitem(last=False)
                self._index_bytes -= dropped.nbytes


def _is_sparse(series: Series) -> bool:
    if series.interval is None:
        return series.kind is Kind.FUNDING
    return series.interval.nominal_us >= US_PER_DAY


def _known(table: pa.Table, segment: Segment) -> pa.Table:
    """Fill in the segment's own time where a row names none."""
    at = table.num_columns - 1
    column = table.column(at)
    if column.null_count == table.num_rows:
        filled = pa.array(np.full(table.num_rows, segment.known_us, dtype=np.int64))
    else:
        filled = column.fill_null(segment.known_us)
    return table.set_column(at, KNOWN, filled)


def _completed(kind: Kind, table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Add the columns that the kind did not have when the segment was written."""
    for name in LATECOMERS.get(kind, ()):
        if name not in table.column_names:
            zeros = pa.array(np.zeros(table.num_rows, dtype=np.int64))
            table = table.append_column(SCHEMAS[kind].field(name), zeros)
    return table if table.column_names == columns else table.select(columns)


def _groups(file: pq.ParquetFile, segment: Segment, asked: Range | None) -> list[int]:
    """Return the row groups that may hold rows of `asked`."""
    every = list(range(file.num_row_groups))
    if asked is None or segment.inside(asked) or file.num_row_groups == 1:
        return every
    chosen: list[int] = []
    for number in range(file.num_row_groups):
        statistics = file.metadata.row_group(number).column(0).statistics
        if statistics is None or not statistics.has_min_max:
            return every
        if to_us(statistics.min) < asked.end and to_us(statistics.max) >= asked.start:
            chosen.append(number)
    return chosen


def _encoding(kind: Kind) -> dict[str, Any]:
    """Return how columns are written, as measured: see the notes on each line."""
    encodings: dict[str, str] = {}
    levels: dict[str, int] = {}
    dictionaries = [KNOWN.name]
    for field in SCHEMAS[kind]:
        if pa.types.is_list(field.type):
            # Prices and sizes of levels come back again and again.
            dictionaries.append(f"{field.name}.list.element")
            levels[f"{field.name}.list.element"] = 3
            continue
        levels[field.name] = 1
        if field.name in ("side", "fills", "interval_hours"):
            dictionaries.append(field.name)  # a handful of values
        elif pa.types.is_string(field.type):
            encodings[field.name] = "DELTA_BYTE_ARRAY"  # ids share their beginnings
        elif not pa.types.is_floating(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif field.name == "quote_volume":
            encodings[field.name] = "BYTE_STREAM_SPLIT"  # its lower bits are as good as random
        else:
            encodings[field.name] = "PLAIN"  # decimals repeat whole mantissas
            levels[field.name] = 3 if "volume" in field.name else 1
    levels[KNOWN.name] = 1
    return {
        "compression": "zstd",
        "compression_level": levels,
        "use_dictionary": dictionaries,
        "column_encoding": encodings,
        "write_statistics": ["timestamp"],
        "store_schema": True,
    }
