"""What a stream brings, coalesced and bounded, however slow the cache is."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from cache_records import CANDLES, EVENTS, QUOTES, TRADES, candle, quote, trade
from prometheus_client import CollectorRegistry, generate_latest

from zvt_crypto.cache.local.local import LocalCache
from zvt_crypto.core.book import OrderBook
from zvt_crypto.core.record import Book, Quote
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.cache import Entry, Published
from zvt_crypto.services.latest import CachePublisher, LatestConfig, LatestValues
from zvt_crypto.services.latest.metrics import NAMES, CacheCollector
from zvt_crypto.store.memory.memory import MemoryStore

ROOT = Path(__file__).resolve().parents[4]


class SlowCache(LocalCache):
    """Takes a write only when it is let to."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.may_go = asyncio.Event()
        self.writes: list[int] = []

    async def put(self, entries: Sequence[Entry], published: Sequence[Published] = ()) -> int:
        self.writes.append(len(entries) + len(published))
        await self.may_go.wait()
        return await super().put(entries, published)


async def test_the_newest_of_each_series_is_kept_and_every_event_published() -> None:
    cache = LocalCache(SystemClock())
    async with cache.subscribe({series for series, _ in EVENTS}) as heard:
        publisher = CachePublisher(cache)
        async with publisher:
            for number in range(5):
                publisher.take(trade(10 + number, number))
            publisher.take(trade(9, 99))  # a repaired one comes late
            for _, record in EVENTS:
                publisher.take(record)
            for number in (1, 2, 3):
                publisher.take(candle(number))
        assert await cache.latest([TRADES]) == [trade(100, 12_345_678_901)]
        assert [one.ts_event for one in await cache.ring(CANDLES, 9)] == [
            candle(number).ts_event for number in (1, 2, 3, 7)
        ]
        got = [await asyncio.wait_for(anext(heard), 5) for _ in range(9 + len(EVENTS))]
    assert [one.record for one in got[:6]] == [*(trade(10 + n, n) for n in range(5)), trade(9, 99)]
    assert [(one.series, one.record) for one in got[6 : 6 + len(EVENTS)]] == EVENTS


async def test_a_cache_that_does_not_take_anything_bounds_what_waits() -> None:
    # given a cache that hangs
    cache = SlowCache()
    config = LatestConfig(events=100, at_once=50)
    publisher = CachePublisher(cache, config=config)
    async with publisher:
        publisher.take(quote(0))
        await asyncio.sleep(0.02)

        # when far more comes than may wait, then taking it does not wait, and the oldest go
        for number in range(1, 1_001):
            publisher.take(quote(number))
        assert len(publisher) == 100
        assert publisher.dropped == 900
        assert cache.writes == [2]
        cache.may_go.set()

    # then the newest is held in the end, and no write was larger than it may be
    assert await cache.latest([QUOTES]) == [quote(1_000)]
    assert max(cache.writes) <= 100
    assert cache.counts.published == 101


async def test_the_top_of_a_book_is_kept_as_a_quote() -> None:
    cache = LocalCache(SystemClock())
    book = OrderBook()
    book.replace([(9.0, 1.0), (8.0, 2.0)], [])
    books: dict[str, OrderBook | None] = {"BTC-USDT": book, "ETH-USDT": None}
    publisher = CachePublisher(cache, books=lambda _, symbol: books[symbol])
    for symbol in books:
        publisher.take(
            Book(exchange="okx", symbol=symbol, ts_event=5, ts_recv=6, is_snapshot=False, bids=[],
                 asks=[(1.0, 0.0)], sequence=9)
        )  # fmt: skip
    await publisher.flush()

    found = await cache.latest([Series("okx", symbol, Kind.BOOK) for symbol in books])
    assert found == [Quote("okx", "BTC-USDT", 5, 6, 9.0, 1.0, None, None, 9), None]


async def test_every_metric_is_told() -> None:
    cache = LocalCache(SystemClock())
    values = LatestValues(cache, MemoryStore(), SystemClock())
    publisher = CachePublisher(cache)
    publisher.take(quote(1))
    await publisher.flush()
    await values.latest([QUOTES, TRADES])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(CacheCollector(cache, publisher, values))

    text = generate_latest(registry).decode()
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert told - {"cache_breaker_open"} == set(NAMES) - {"cache_breaker_open"}
    assert 'cache_reads_total{outcome="hit"} 1.0' in text
    assert 'cache_writes_total{outcome="kept"} 2.0' in text
    assert "latest_store_reads_total 1.0" in text


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_explained(name: str) -> None:
    assert f"`{name}" in (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
