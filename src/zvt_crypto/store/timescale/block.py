"""Blocks: rows and digest of each stretch of time a series has rows in.

What segments and their manifest are to the lake: a question about a long range is answered by the
blocks inside it, and only the rows at its two ends are read.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.schema import KNOWN
from zvt_crypto.core.series import Series
from zvt_crypto.store.intake.share import Share
from zvt_crypto.store.timescale import rows
from zvt_crypto.store.timescale.database import Connection
from zvt_crypto.store.timescale.tables import TABLES, block_us

_FIELDS: Final = "start_us, first_us, last_us, rows, low, high"
_ADD: Final = """
INSERT INTO blocks AS b (series_id, start_us, first_us, last_us, rows, low, high)
SELECT * FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                     %s::numeric[], %s::numeric[])
ON CONFLICT (series_id, start_us) DO UPDATE SET
    first_us = LEAST(b.first_us, excluded.first_us),
    last_us = GREATEST(b.last_us, excluded.last_us),
    rows = b.rows + excluded.rows,
    low = mod(b.low + excluded.low, 18446744073709551616),
    high = mod(b.high + excluded.high, 18446744073709551616)
"""

RECOUNT: Final = """
UPDATE series SET
    rows = (SELECT COALESCE(sum(rows), 0) FROM blocks WHERE series_id = %(id)s),
    first_us = (SELECT min(first_us) FROM blocks WHERE series_id = %(id)s),
    last_us = (SELECT max(last_us) FROM blocks WHERE series_id = %(id)s),
    known_us = %(now)s
WHERE id = %(id)s
"""
"""Counts a series anew from its blocks."""


class Block(msgspec.Struct, frozen=True):
    """The rows of one stretch; never without any."""

    start_us: int
    first_us: int
    last_us: int
    rows: int
    digest: Digest

    def inside(self, asked: Range) -> bool:
        """Return whether all its rows are in `asked`."""
        return asked.start <= self.first_us and self.last_us < asked.end


def cut(series: Series, index: RowIndex) -> list[Block]:
    """Return the blocks that rows make."""
    width = block_us(series)
    starts = index.times // width * width
    if not len(starts):
        return []
    edges = [0, *(np.flatnonzero(np.diff(starts)) + 1).tolist(), len(starts)]
    blocks: list[Block] = []
    for first, last in itertools.pairwise(edges):
        count, digest = index.between(first, last)
        blocks.append(
            Block(
                int(starts[first]),
                int(index.times[first]),
                int(index.times[last - 1]),
                count,
                digest,
            )
        )
    return blocks


def of(share: Share) -> list[Block]:
    """Return the blocks that all rows of a share make."""
    width = block_us(share.series)
    first, last = share.hull.start, share.hull.end - 1
    start = first // width * width
    if last < start + width:  # as nearly always where a stream commits
        return [Block(start, first, last, share.rows, share.digest)]
    return cut(share.series, share.index)


def less(blocks: Sequence[Block], gone: Sequence[Block]) -> list[Block]:
    """Return what to add to stored blocks when `blocks` come and `gone` go; bounds only widen.

    For rows that are replaced: their keys, and with them the times, stay.
    """
    minus = {one.start_us: one for one in gone}
    return [
        msgspec.structs.replace(
            one,
            rows=one.rows - minus[one.start_us].rows,
            digest=one.digest - minus[one.start_us].digest,
        )
        if one.start_us in minus
        else one
        for one in blocks
    ]


def add(connection: Connection, blocks: Iterable[tuple[int, Block]]) -> None:
    """Add to the blocks of series what has been added to their rows."""
    lines = [
        (key, b.start_us, b.first_us, b.last_us, b.rows, b.digest.low, b.digest.high)
        for key, b in blocks
    ]
    if lines:
        connection.execute(_ADD, [rows.array(column) for column in zip(*lines, strict=True)])


def load(connection: Connection, series: Series, series_id: int, asked: Range) -> list[Block]:
    """Return the blocks with rows in or around `asked`, ascending."""
    width = block_us(series)
    found = connection.execute(
        f"SELECT {_FIELDS} FROM blocks WHERE series_id = %s AND start_us > %s AND start_us < %s "
        "AND last_us >= %s AND first_us < %s ORDER BY start_us",
        (series_id, asked.start - width, asked.end, asked.start, asked.end),
    ).fetchall()
    return [
        Block(start, first, last, count, Digest(int(low), int(high)))
        for start, first, last, count, low, high in found
    ]


def recount(connection: Connection, series: Series, series_id: int, asked: Range) -> None:
    """Make the blocks around `asked` anew from the rows that are there."""
    width = block_us(series)
    first = asked.start // width * width
    end = -(-asked.end // width) * width
    connection.execute(
        "DELETE FROM blocks WHERE series_id = %s AND start_us >= %s AND start_us < %s",
        (series_id, first, end),
    )
    held = rows.select(connection, TABLES[series.kind], series_id, Range(first, end))
    index = RowIndex.of(held.drop_columns([KNOWN.name]))
    add(connection, [(series_id, one) for one in cut(series, index)])


class Holding:
    """Counts, digests and times of a series' rows inside `hull`, as one transaction sees them."""

    def __init__(self, connection: Connection, series: Series, series_id: int, hull: Range) -> None:
        """Load the blocks; rows are read when a question cuts one."""
        self._connection = connection
        self._series = series
        self._series_id = series_id
        self._blocks = load(connection, series, series_id, hull)
        self._starts = np.array([one.first_us for one in self._blocks], dtype=np.int64)
        self._ends = np.array([one.last_us for one in self._blocks], dtype=np.int64)
        self._sums = _sums(self._blocks)
        self._read: dict[int, RowIndex] = {}

    @property
    def edges(self) -> list[int]:
        """Return the times of the first row of each block."""
        return self._starts.tolist()

    def measure(self, start: int, end: int) -> tuple[int, Digest]:
        """Count and digest the rows in `[start, end)`."""
        asked = Range(start, end)
        first = int(np.searchsorted(self._ends, start))
        last = int(np.searchsorted(self._starts, end))
        total, digest = 0, EMPTY_DIGEST
        while first < last and not self._blocks[first].inside(asked):
            part = self._index(first).measure(start, end)
            total, digest, first = total + part[0], digest + part[1], first + 1
        while first < last and not self._blocks[last - 1].inside(asked):
            last -= 1
            part = self._index(last).measure(start, end)
            total, digest = total + part[0], digest + part[1]
        if first < last:
            upto, before = self._sums[last], self._sums[first]
            total, digest = total + upto[0] - before[0], digest + (upto[1] - before[1])
        return total, digest

    def times(self, start: int, end: int) -> list[int]:
        """Return the times of the rows in `[start, end)`, ascending."""
        table = TABLES[self._series.kind]
        return rows.moments(self._connection, table, self._series_id, Range(start, end))

    def _index(self, number: int) -> RowIndex:
        if number not in self._read:
            one = self._blocks[number]
            held = rows.select(
                self._connection,
                TABLES[self._series.kind],
                self._series_id,
                Range(one.first_us, one.last_us + 1),
            )
            self._read[number] = RowIndex.of(held.drop_columns([KNOWN.name]))
        return self._read[number]


def _sums(blocks: Sequence[Block]) -> list[tuple[int, Digest]]:
    sums = [(0, EMPTY_DIGEST)]
    for one in blocks:
        count, digest = sums[-1]
        sums.append((count + one.rows, digest + one.digest))
    return sums
