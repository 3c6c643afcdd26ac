"""Blocks of a bulk file to parts by time: sorted, unique, tiling the file's span. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from zvt_crypto.connectors.wire import Page
from zvt_crypto.core.column import times_of
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import empty_table
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.connector import Fetched, Rejected

PART_ROWS: Final = 250_000
"""Most rows of a part, unless more bear one time."""

_HELD_BACK: Final = 50_000


class Disorder(Exception):
    """A row belongs to a part that has left already: the file has to be sorted as a whole."""


class PartCutter:
    """Takes blocks in the order of the file and gives parts in the order of time.

    Fifty thousand rows are held back, so that rows which are late by less than that still
    find their place. `finish` makes a `Fetched` of a page: it sorts and drops repeats.
    """

    def __init__(
        self,
        kind: Kind,
        covers: Range,
        finish: Callable[[Page], Fetched],
        *,
        part_rows: int = PART_ROWS,
        held_back: int = _HELD_BACK,
    ) -> None:
        self._kind = kind
        self._covers = covers
        self._finish = finish
        self._part_rows = part_rows
        self._held_back = held_back
        self._start = covers.start
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._is_sorted = True
        self._rejected: list[Rejected] = []
        self._lost = 0

    def add(self, page: Page) -> Iterator[Fetched]:
        """Take a block; yield the parts that are complete.

        Raises:
            Disorder: a row is earlier than the end of a part that has left.
        """
        done = self._finish(page)
        self._rejected.extend(done.rejected)
        self._lost += done.precision_loss
        table = done.table
        if table.num_rows == 0:
            return
        first = times_of(table.slice(0, 1))[0]
        if first < self._start:
            raise Disorder
        if self._tables and not self._follows(table):
            self._is_sorted = False
        self._tables.append(table)
        self._rows += table.num_rows
        while self._rows >= self._part_rows + self._held_back:
            whole = self._joined()
            times = times_of(whole)
            cut = int(np.searchsorted(times, times[self._part_rows]))
            if cut == 0:  # more rows of one time than a part should hold
                break
            yield self._part(int(times[cut]), whole.slice(0, cut))
            self._tables, self._rows = [whole.slice(cut)], whole.num_rows - cut

    def end(self) -> Iterator[Fetched]:
        """Yield what is left, the last part ending where the file does."""
        whole = self._joined()
        while whole.num_rows > self._part_rows:
            times = times_of(whole)
            cut = int(np.searchsorted(times, times[self._part_rows]))
            if cut == 0:
                break
            yield self._part(int(times[cut]), whole.slice(0, cut))
            whole = whole.slice(cut)
        yield self._part(self._covers.end, whole)

    def _follows(self, table: pa.Table) -> bool:
        """Return whether a block begins after the last one ends."""
        last = self._tables[-1]
        before, after = last.slice(last.num_rows - 1), table.slice(0, 1)
        step = int(times_of(after)[0]) - int(times_of(before)[0])
        if step or self._kind is not Kind.TRADES:
            return step > 0
        return _id(after) > _id(before)

    def _joined(self) -> pa.Table:
        """Return all rows that wait, sorted and unique."""
        if not self._tables:
            return empty_table(self._kind)
        whole = pa.concat_tables(self._tables).combine_chunks()
        if not self._is_sorted:
            whole = self._finish(_as_page(whole)).table
            self._is_sorted = True
        self._tables, self._rows = [whole], whole.num_rows
        return whole

    def _part(self, end: int, table: pa.Table) -> Fetched:
        part = Fetched(
            asked=Range(self._start, end),
            table=table,
            rejected=tuple(self._rejected),
            requests=0,
            precision_loss=self._lost,
        )
        self._start, self._rejected, self._lost = end, [], 0
        return part


def _id(row: pa.Table) -> int:
    return int(row["trade_id"][0].as_py())


def _as_page(table: pa.Table) -> Page:
    """Return a table as the page it was made of."""
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    columns = {n: c.chunk(0) if isinstance(c, pa.ChunkedArray) else c for n, c in columns.items()}
    page = Page({**columns, "timestamp": times_of(table)})
    if "trade_id" in columns:
        page.columns["trade_id"] = columns["trade_id"].cast(pa.int64()).to_numpy()
    return page
