"""Many processes read through one server, and live records meet what comes from the store."""

import asyncio
from collections.abc import Sequence

import pyarrow as pa
from cache_records import TRADES, trade
from valkey_server import Server

from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.redis.engine import RedisCache
from zvt_crypto.cache.redis.target import parse_target
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.tabulate import to_table
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.cache import Entry
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.latest import CachePublisher, LatestValues
from zvt_crypto.store.memory.memory import MemoryStore

PATIENT = CacheConfig(read_timeout_s=5.0, write_timeout_s=5.0)


class SlowStore(MemoryStore):
    """Takes its time, and counts who asked."""

    asked = 0

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        self.asked += 1
        await asyncio.sleep(0.1)
        return await super().latest(series)


async def test_a_cold_key_asked_for_by_many_is_one_question_to_the_store() -> None:
    # given ten readers with connections of their own, and nothing in the cache
    store = SlowStore()
    table = to_table(Kind.TRADES, [trade(5, "9")])
    await store.commit([Batch(series=TRADES, table=table, source=Source.LIVE)])
    with Server() as server:
        caches = [RedisCache(parse_target(server.url), SystemClock(), PATIENT) for _ in range(10)]
        await asyncio.gather(*(one.latest([TRADES]) for one in caches))  # connected
        readers = [LatestValues(one, store, SystemClock()) for one in caches]

        # when all ask at once, many times each
        found = await asyncio.gather(*(r.latest([TRADES]) for r in readers for _ in range(20)))

        # then all know, and the store was asked once
        assert all(one[0].record is not None for one in found)
        assert store.asked == 1
        for reader, cache in zip(readers, caches, strict=True):
            await reader.close()
            await cache.close()


async def test_a_stream_writes_and_another_process_reads_the_newest() -> None:
    with Server() as server:
        writing, reading = (RedisCache(parse_target(server.url), SystemClock(), PATIENT)
                            for _ in range(2))  # fmt: skip
        async with CachePublisher(writing) as publisher:
            for number in range(5_000):
                publisher.take(trade(number, number))
        # what came last is there, also when the store's older row comes after it
        assert await reading.latest([TRADES]) == [trade(4_999, 4_999)]
        assert await reading.put([Entry(TRADES, trade(10, 10), 2.0)]) == 0
        assert await reading.latest([TRADES]) == [trade(4_999, 4_999)]
        assert (publisher.dropped, writing.counts.published) == (0, 5_000)
        await writing.close()
        await reading.close()
