"""What differs between kinds: how to ask, what looks wrong in an answer, what a proof means."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.core.column import Ints, numeric_ids, times_of
from zvt_crypto.core.gap import candle_holes, id_breaks
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, Interval
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range, intersect, union
from zvt_crypto.core.schema import KEYS, SCHEMAS, empty_table
from zvt_crypto.core.series import Kind
from zvt_crypto.core.validation import (
    Rejected,
    validate_candles,
    validate_funding,
    validate_trades,
)
from zvt_crypto.ports.connector import Connector, Fetched
from zvt_crypto.services.loader.seams import Seam

# Farther than any page reaches: to learn the width of one.
_FAR_US: Final = 400 * US_PER_DAY
_FAR_CANDLES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A validated answer: good rows sorted and unique, bad ones with their reasons.

    `answered` is the time it speaks for, which may be less than was asked: Bybit's newest trades
    reach back some minutes only.
    """

    table: pa.Table
    rejected: Sequence[Rejected]
    answered: Sequence[Range]
    requests: int = 0
    body_bytes: int = 0
    precision_loss: int = 0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A stretch where rows may be absent, and its verdict if the exchange confirms it."""

    range: Range
    verdict: Verdict


class Strategy(ABC):
    """How one kind of one instrument is asked for and judged."""

    kind: Kind

    def __init__(self, connector: Connector, instrument: Instrument) -> None:
        self.connector = connector
        self.instrument = instrument

    @property
    def interval(self) -> Interval | None:
        """Return the interval, for candles."""
        return None

    @property
    def counts_ids(self) -> bool:
        """Return whether neighbouring answers are joined by their ids."""
        return False

    @property
    def shows_holes(self) -> bool:
        """Return whether an absent row can be told from the rows around it."""
        return True

    def windows(self, asked: Range) -> list[Range]:
        """Return `asked` in parts that one question answers each."""
        return self.connector.windows(self.instrument, self.kind, self.interval, asked)

    def page_span(self, start: int) -> int:
        """Return the longest time from `start` that one question may ask for."""
        first = self.windows(Range(start, start + _FAR_US))[0]
        return first.end - first.start

    def on_grid(self, wide: Range) -> Range:
        """Return `wide` with bounds where rows can be."""
        return wide

    @abstractmethod
    async def ask(self, window: Range) -> Answer:
        """Ask the exchange for `window`."""

    @abstractmethod
    def judge(self, fetched: Sequence[Fetched], window: Range) -> Answer:
        """Return the validated rows of answers that together cover `window`."""

    @abstractmethod
    def suspects(self, table: pa.Table, window: Range) -> list[Suspect]:
        """Return the stretches of `window` where rows may be absent from `table`."""

    def seam(self, table: pa.Table) -> Seam | None:
        """Return the ends that neighbouring answers must join, for kinds with counted ids."""
        del table
        return None

    def slot(self, moment: int) -> Range:
        """Return the time a row at `moment` speaks for."""
        return Range(moment, moment + 1)

    def is_told_by_time(self, slot: Range, doubtful: Sequence[Range]) -> bool:
        """Return whether a row held at this time is surely the row, not a neighbour of it."""
        del slot, doubtful
        return True

    def merge(self, older: pa.Table, newer: pa.Table) -> pa.Table:
        """Return all rows by key; where both have one, the newer answer wins."""
        if newer.num_rows == 0:
            return older
        if older.num_rows == 0:
            return newer
        keys = list(KEYS[self.kind])
        both = pl.concat([_frame(older), _frame(newer)])
        merged = both.unique(subset=keys, keep="last", maintain_order=True).sort(keys)
        return merged.to_arrow().cast(SCHEMAS[self.kind])

    def holds_all(self, known: pa.Table, answer: pa.Table) -> bool:
        """Return whether every key of `known` is in `answer`."""
        if known.num_rows == 0:
            return True
        keys = list(KEYS[self.kind])
        lost = _frame(known).select(keys).join(_frame(answer).select(keys), on=keys, how="anti")
        return lost.is_empty()


class CandleStrategy(Strategy):
    """Candles lie on a grid, so every open without a row is a suspect."""

    kind = Kind.CANDLES

    def __init__(self, connector: Connector, instrument: Instrument, interval: Interval) -> None:
        super().__init__(connector, instrument)
        self._interval = interval

    @property
    def interval(self) -> Interval:
        """Return the interval."""
        return self._interval

    def page_span(self, start: int) -> int:
        """Return the width of a page of candles."""
        far = self._interval.shift(self._interval.floor(start), _FAR_CANDLES)
        first = self.windows(Range(start, far))[0]
        return first.end - first.start

    def slot(self, moment: int) -> Range:
        """Return the time from the open at or before `moment` to the next."""
        opened = self._interval.floor(moment)
        return Range(opened, self._interval.shift(opened, 1))

    def on_grid(self, wide: Range) -> Range:
        """Return the opens in `wide`."""
        return Range(self._interval.ceil(wide.start), self._interval.ceil(wide.end))

    async def ask(self, window: Range) -> Answer:
        """Ask for the candles that open in `window`."""
        fetched = await self.connector.fetch_candles(self.instrument, self._interval, window)
        return self.judge([fetched], window)

    def judge(self, fetched: Sequence[Fetched], window: Range) -> Answer:
        """Return the valid candles."""
        table = concat(self.kind, fetched)
        checked = validate_candles(table, self._interval, window)
        return _answer(fetched, checked.table, checked.rejected)

    def suspects(self, table: pa.Table, window: Range) -> list[Suspect]:
        """Return every run of absent opens."""
        holes = candle_holes(times_of(table), self._interval, window)
        return [Suspect(hole, Verdict.EMPTY) for hole in holes]


class TradeStrategy(Strategy):
    """Trades have no grid; where ids count up by one, a jump is a suspect."""

    kind = Kind.TRADES

    async def ask(self, window: Range) -> Answer:
        """Ask for the trades of `window`."""
        parts = [part async for part in self.connector.fetch_trades(self.instrument, window)]
        return self.judge(parts, window)

    def judge(self, fetched: Sequence[Fetched], window: Range) -> Answer:
        """Return the valid trades."""
        checked = validate_trades(concat(self.kind, fetched), window)
        return _answer(fetched, checked.table, checked.rejected)

    def suspects(self, table: pa.Table, window: Range) -> list[Suspect]:
        """Return jumps of ids, or the whole window when it has no trade at all."""
        if table.num_rows == 0:
            return [Suspect(window, Verdict.EMPTY)]
        ids = self._counted(table)
        if ids is None:
            return []
        return [Suspect(b.range, Verdict.OBSERVED) for b in id_breaks(ids, times_of(table))]

    def seam(self, table: pa.Table) -> Seam | None:
        """Return first and last id, where they are numbers."""
        ids = self._counted(table) if table.num_rows else None
        if ids is None:
            return None
        times = times_of(table)
        low, high = int(ids.argmin()), int(ids.argmax())
        return Seam(int(times[low]), int(ids[low]), int(times[high]), int(ids[high]))

    @property
    def counts_ids(self) -> bool:
        """Return whether neighbouring answers are joined by their ids."""
        return self.connector.counts_trade_ids(self.instrument)

    @property
    def shows_holes(self) -> bool:
        """Return whether ids tell of absent trades."""
        return self.counts_ids

    def is_told_by_time(self, slot: Range, doubtful: Sequence[Range]) -> bool:
        """Return whether the ids show that nothing is absent around this time."""
        return self.counts_ids and not intersect([slot], doubtful)

    def _counted(self, table: pa.Table) -> Ints | None:
        """Return the ids as numbers, where the exchange counts them up one by one."""
        if not self.counts_ids:
            return None
        return numeric_ids(table["trade_id"])


class FundingStrategy(Strategy):
    """Funding is nearly regular; a pause longer than the usual one is a suspect."""

    kind = Kind.FUNDING

    async def ask(self, window: Range) -> Answer:
        """Ask for the settled funding of `window`."""
        fetched = await self.connector.fetch_funding(self.instrument, window)
        return self.judge([fetched], window)

    def judge(self, fetched: Sequence[Fetched], window: Range) -> Answer:
        """Return the valid rates."""
        checked = validate_funding(concat(self.kind, fetched), window)
        return _answer(fetched, checked.table, checked.rejected)

    def suspects(self, table: pa.Table, window: Range) -> list[Suspect]:
        """Return pauses over one and a half times the commonest, and over it at the edges."""
        if table.num_rows == 0:
            return [Suspect(window, Verdict.EMPTY)]
        times = times_of(table)
        steps = np.diff(times)
        usual = int(np.median(steps)) if len(steps) else 8 * US_PER_HOUR
        usual = min(usual, US_PER_DAY)
        edges = np.concatenate(([window.start - 1], times, [window.end]))
        found: list[Suspect] = []
        longest = np.full(len(edges) - 1, usual * 3 // 2)
        longest[[0, -1]] = usual
        for at in np.flatnonzero(np.diff(edges) > longest):
            pause = Range(int(edges[at]) + 1, int(edges[at + 1]))
            found.append(Suspect(pause, Verdict.OBSERVED))
        return found


def concat(kind: Kind, fetched: Sequence[Fetched]) -> pa.Table:
    """Return the rows of several answers in one table."""
    tables = [one.table for one in fetched if one.table.num_rows]
    return pa.concat_tables(tables) if tables else empty_table(kind)


def cut(table: pa.Table, part: Range) -> pa.Table:
    """Return the rows of a sorted table whose timestamp lies in `part`."""
    first, stop = np.searchsorted(times_of(table), [part.start, part.end])
    return table.slice(int(first), int(stop - first))


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a Series
    return frame


def _answer(fetched: Sequence[Fetched], table: pa.Table, invalid: Sequence[Rejected]) -> Answer:
    unread = [bad for one in fetched for bad in one.rejected]
    return Answer(
        table=table,
        rejected=[*unread, *invalid],
        answered=union(one.asked for one in fetched),
        requests=sum(one.requests for one in fetched),
        body_bytes=sum(one.body_bytes for one in fetched),
        precision_loss=sum(one.precision_loss for one in fetched),
    )
