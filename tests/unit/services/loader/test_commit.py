"""Commits of one series: one at a time, and what waits meanwhile goes along with the next."""

import asyncio
from collections.abc import Sequence

import pytest
from loader_world import START, candle_table

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch, Committed, Finding
from zvt_crypto.services.loader import commit
from zvt_crypto.services.loader.commit import Committer
from zvt_crypto.store.memory.memory import MemoryStore

BTC = Series("binance", "BTC-USDT", Kind.CANDLES, Interval.M1)
ROWS = 5
WIDTH = ROWS * US_PER_MINUTE


class SlowStore(MemoryStore):
    """Commits once `gate` is open; `commits` are the numbers of the batches that went together.

    The commit of number `failing` fails, counted from one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failing = -1

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        self.commits.append([(b.findings[0].start - START) // WIDTH for b in batches])
        await self.gate.wait()
        if len(self.commits) == self.failing:
            raise StoreBusy("here", 1.0)
        return await super().commit(batches)


def batch(number: int) -> Batch:
    """Return the `number`th stretch of candles, whole."""
    start = START + number * WIDTH
    return Batch(
        series=BTC,
        table=candle_table(range(start, start + WIDTH, US_PER_MINUTE)),
        findings=[Finding(start, start + WIDTH, Verdict.OBSERVED)],
        source=Source.ARCHIVE,
    )


async def put(committer: Committer, *numbers: int) -> list[asyncio.Task[Committed]]:
    """Put batches, each in a task of its own, and let them come as far as they can."""
    tasks = [asyncio.create_task(committer.put(batch(number))) for number in numbers]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_waits_goes_along_with_the_next_commit_in_order_of_time() -> None:
    store = SlowStore()

    tasks = await put(Committer(store), 0, 3, 1, 2)
    assert store.commits == [[0]]
    store.gate.set()
    done = await asyncio.gather(*tasks)

    assert store.commits == [[0], [1, 2, 3]]
    assert sum(one.inserted for one in done) == 4 * ROWS
    (entry,) = await store.coverage(BTC)
    assert (entry.verdict, entry.rows) == (Verdict.OBSERVED, 4 * ROWS)


async def test_a_commit_takes_no_more_rows_along_than_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commit, "_MOST_ROWS", 2 * ROWS)
    store = SlowStore()

    tasks = await put(Committer(store), 0, 1, 2, 3)
    store.gate.set()
    await asyncio.gather(*tasks)

    assert store.commits == [[0], [1, 2], [3]]


async def test_a_batch_larger_than_that_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "_MOST_ROWS", 1)
    store = SlowStore()

    tasks = await put(Committer(store), 0, 1, 2)
    store.gate.set()
    await asyncio.gather(*tasks)

    assert store.commits == [[0], [1], [2]]


async def test_a_failed_commit_is_tried_again_by_those_it_took_along() -> None:
    store = SlowStore()
    store.failing = 2

    tasks = await put(Committer(store), 0, 1, 2)
    store.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert store.commits == [[0], [1, 2], [2]]
    assert isinstance(results[1], StoreBusy)
    assert isinstance(results[2], Committed)
    assert sum(entry.rows for entry in await store.coverage(BTC)) == 2 * ROWS


async def test_a_batch_that_is_given_up_is_not_committed() -> None:
    store = SlowStore()
    tasks = await put(Committer(store), 0, 1, 2)

    tasks[1].cancel()
    store.gate.set()
    await asyncio.wait(tasks)

    assert store.commits == [[0], [2]]
