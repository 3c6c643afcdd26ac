"""Commits of one series: one at a time, and whatever waits meanwhile goes along with the next.

A commit spends half of its time waiting for the disk. While one is under way, files and pages go on
being read; what they bring is made durable by one transaction instead of many.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from zvt_crypto.ports.store import Batch, Committed, Store

# Bounds the memory of a commit; months of candles go several at once, parts of trades alone.
_MOST_ROWS: Final = 100_000


@dataclass(eq=False, slots=True)
class _Waiting:
    batch: Batch
    done: Committed | None = None


@dataclass(slots=True)
class Committer:
    """Puts batches of one series into `store`."""

    store: Store
    _waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def put(self, batch: Batch) -> Committed:
        """Return once `batch` is durable, alone or together with others.

        An error is that of the one whose turn it was: those it took along try again themselves.
        Rows are counted once: where batches went together, one of them reports all.
        """
        mine = _Waiting(batch)
        self._waiting.append(mine)
        try:
            async with self._turn:  # first come, first served: before us nothing waits any more
                if mine.done is None:
                    await self._commit(self._together())
        finally:
            self._waiting.remove(mine)
        assert mine.done is not None  # noqa: S101 - we were first in line, so it went
        return mine.done

    async def drain(self) -> None:
        """Return once all that was put before is durable, or has failed."""
        async with self._turn:  # first come, first served
            pass

    def _together(self) -> list[_Waiting]:
        """Return the next to commit, at least one, ascending in time so that rows are too."""
        chosen: list[_Waiting] = []
        rows = 0
        for one in [one for one in self._waiting if one.done is None]:
            rows += one.batch.table.num_rows
            if chosen and rows > _MOST_ROWS:
                break
            chosen.append(one)
        return sorted(chosen, key=lambda one: _start(one.batch))

    async def _commit(self, together: Sequence[_Waiting]) -> None:
        outcome = await self.store.commit([one.batch for one in together])
        for one, done in zip(together, outcome, strict=True):
            one.done = done


def _start(batch: Batch) -> int:
    return min((finding.start for finding in batch.findings), default=0)
