"""Commits take what feeds hold without keeping the loop from its sockets."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from stream_hub import INSTRUMENT, SERIES, StubHub, trade

from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.store import Batch, Store
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Place
from zvt_crypto.services.stream.sink import Sink
from zvt_crypto.services.stream.trades import CountedTradeFeed


class TakingStore:
    """Keeps the batches it is given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def commit(self, batches: Sequence[Batch]) -> list[Any]:
        self.batches += batches
        return []


def feeds(count: int, rows: int) -> list[CountedTradeFeed]:
    made: list[CountedTradeFeed] = []
    for _ in range(count):
        feed = CountedTradeFeed(SERIES, INSTRUMENT, Place("spot", "btcusdt@aggTrade"), StubHub())
        for number in range(rows):
            feed.take(trade(number))
        made.append(feed)
    return made


def sink_of(store: TakingStore, held: list[CountedTradeFeed]) -> Sink:
    return Sink(cast("Store", store), SystemClock(), StreamConfig(), lambda: held)


async def _commit_beside_a_socket(held: list[CountedTradeFeed]) -> tuple[TakingStore, int]:
    store, turns = TakingStore(), 0

    async def socket() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    reading = asyncio.create_task(socket())
    await asyncio.sleep(0)
    before = turns
    assert await sink_of(store, held).commit()
    reading.cancel()
    return store, turns - before


def test_sockets_get_their_turn_between_feeds_with_many_rows() -> None:
    # when ten feeds of a thousand rows are committed while a socket wants to be read
    store, turns = asyncio.run(_commit_beside_a_socket(feeds(10, 1_000)))

    # then all rows are in one commit, and the socket was read after each feed
    assert [batch.table.num_rows for batch in store.batches] == [1_000] * 10
    assert turns >= 10


def test_feeds_with_few_rows_are_taken_together() -> None:
    _, turns = asyncio.run(_commit_beside_a_socket(feeds(10, 10)))
    assert turns <= 1


def test_a_commit_that_is_cancelled_between_feeds_gives_back_what_it_took() -> None:
    # given a commit that has drained one of two feeds
    held = feeds(2, 1_000)
    store = TakingStore()

    async def cancel() -> None:
        work = asyncio.create_task(sink_of(store, held).commit())
        await asyncio.sleep(0)
        assert [feed.pending_rows for feed in held] == [0, 1_000]
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    # when it is cancelled there
    asyncio.run(cancel())

    # then nothing was stored and both hold their rows and what they claim, to be committed once
    assert store.batches == []
    assert [feed.pending_rows for feed in held] == [1_000, 1_000]
    assert asyncio.run(sink_of(store, held).commit())
    assert [batch.table.num_rows for batch in store.batches] == [1_000, 1_000]
    assert all(batch.findings for batch in store.batches)
