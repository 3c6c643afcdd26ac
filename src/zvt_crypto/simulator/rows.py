"""Encoded rows in blocks, and pages cut from them.

A venue writes each block of a series (a day of minutes, a day of trades) once; after that a page
is a slice of bytes. Rows lie in the order the venue serves, each followed by a comma, so that a
page of one block is `[` + slice without the last comma + `]`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

END_OF_TIME: Final = 2**62


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A block of encoded rows.

    Attributes:
        keys: time of every row in microseconds, ascending whatever the order of service.
        buffer: the rows, each followed by a comma, in the order of service.
        offsets: where each row begins in `buffer`, and the end.
        newest_first: whether the order of service is descending.
        first_id: id of the oldest row, where rows are numbered.
    """

    keys: Ints
    buffer: bytes
    offsets: Ints
    newest_first: bool = False
    first_id: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def slice(self, first: int, stop: int) -> bytes:
        """Return rows `first` to `stop`, counted from the oldest, in the order of service."""
        if self.newest_first:
            first, stop = len(self) - stop, len(self) - first
        return self.buffer[self.offsets[first] : self.offsets[stop]]

    def split(self, first: int, stop: int) -> list[bytes]:
        """Return the same rows one by one, without their commas."""
        if self.newest_first:
            first, stop = len(self) - stop, len(self) - first
        at = self.offsets[first : stop + 1].tolist()
        return [self.buffer[a : b - 1] for a, b in pairwise(at)]


Cut: TypeAlias = tuple[Rows, int, int]
"""A block and the range of its rows, counted from the oldest."""


class Series(ABC):
    """A series as numbered blocks of rows, with random access by time and by id."""

    first_us: int = 0
    """No row is older."""

    @abstractmethod
    def block_at(self, time_us: int) -> int:
        """Return the number of the block that would hold a row of `time_us`."""

    @abstractmethod
    def rows(self, block: int) -> Rows:
        """Return one block."""

    def block_of_id(self, row_id: int) -> int:
        """Return the number of the block that holds a row id."""
        raise NotImplementedError(row_id)


def select(series: Series, start_us: int, end_us: int, limit: int, *, newest: bool) -> list[Cut]:
    """Return up to `limit` rows of `[start_us, end_us)`: the oldest of them, or the newest.

    The cuts are in ascending order either way.
    """
    start_us = max(start_us, series.first_us)
    if start_us >= end_us or limit <= 0:
        return []
    blocks = range(series.block_at(start_us), series.block_at(end_us - 1) + 1)
    cuts: list[Cut] = []
    for block in reversed(blocks) if newest else blocks:
        rows = series.rows(block)
        first, stop = np.searchsorted(rows.keys, (start_us, end_us)).tolist()
        limit -= _cut(cuts, rows, first, stop, limit, newest=newest)
        if limit <= 0:
            break
    return cuts[::-1] if newest else cuts


def select_ids(series: Series, start: int, end: int, limit: int, *, newest: bool) -> list[Cut]:
    """Return up to `limit` rows with ids in `[start, end)`, as `select` does with times."""
    start = max(start, 1)
    if start >= end or limit <= 0:
        return []
    blocks = range(series.block_of_id(start), series.block_of_id(end - 1) + 1)
    cuts: list[Cut] = []
    for block in reversed(blocks) if newest else blocks:
        rows = series.rows(block)
        first = max(0, start - rows.first_id)
        stop = min(len(rows), end - rows.first_id)
        limit -= _cut(cuts, rows, first, stop, limit, newest=newest)
        if limit <= 0:
            break
    return cuts[::-1] if newest else cuts


def _cut(cuts: list[Cut], rows: Rows, first: int, stop: int, limit: int, *, newest: bool) -> int:
    if first >= stop:
        return 0
    if stop - first > limit:
        first, stop = (stop - limit, stop) if newest else (first, first + limit)
    cuts.append((rows, first, stop))
    return stop - first


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a venue's row keeps what faults may touch: list places or object keys.

    Attributes:
        times: places of epoch numbers; the first is the row's own time.
        prices: open, high, low, close of a candle; the price of a trade.
        volume: volume, or size.
    """

    times: tuple[int | str, ...]
    prices: tuple[int | str, ...] = ()
    volume: int | str | None = None


@dataclass(slots=True)
class Page:
    """The rows of one answer, before they are joined.

    Attributes:
        kind: `candles`, `trades` or `funding`.
        cuts: ascending.
        series: where the cuts are from, so that a fault can add rows beyond the bounds.
        until_us: rows of the series from here on are in the future.
    """

    kind: str
    cuts: list[Cut]
    layout: Layout
    newest_first: bool
    series: Series | None = None
    until_us: int = END_OF_TIME

    def __len__(self) -> int:
        return sum(stop - first for _, first, stop in self.cuts)

    def body(self) -> bytes:
        """Return the rows in the order of service, separated by commas."""
        cuts = reversed(self.cuts) if self.newest_first else self.cuts
        return b"".join([rows.slice(first, stop) for rows, first, stop in cuts])[:-1]

    def split(self) -> list[bytes]:
        """Return the rows in the order of service, one by one."""
        cuts = reversed(self.cuts) if self.newest_first else self.cuts
        return [row for rows, first, stop in cuts for row in rows.split(first, stop)]

    def span(self) -> tuple[int, int] | None:
        """Return the times of the oldest and the newest row, or None without rows."""
        if not self.cuts:
            return None
        (oldest, first, _), (newest, _, stop) = self.cuts[0], self.cuts[-1]
        return int(oldest.keys[first]), int(newest.keys[stop - 1])

    def keys(self) -> Ints:
        """Return the times of the rows, ascending."""
        if not self.cuts:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate([rows.keys[first:stop] for rows, first, stop in self.cuts])

    def ids(self) -> tuple[int, int] | None:
        """Return the ids of the oldest and the newest row, or None without rows."""
        if not self.cuts:
            return None
        (oldest, first, _), (newest, _, stop) = self.cuts[0], self.cuts[-1]
        return oldest.first_id + first, newest.first_id + stop - 1
