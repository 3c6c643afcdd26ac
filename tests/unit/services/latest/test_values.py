"""Reads through the cache: what is asked of the store, how often, and what comes of failures."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from cache_records import CANDLES, HELD, MINUTE_US, QUOTES, TRADES, candle, quote, trade

from zvt_crypto.cache.local.local import LocalCache
from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Candle
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.tabulate import to_table
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.cache import ABSENT, Absent, Entry, Held
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.latest import Latest, LatestConfig, LatestValues
from zvt_crypto.services.latest.recall import records_of
from zvt_crypto.store.memory.memory import MemoryStore

ALL = Range(0, 1 << 62)


class WatchedStore(MemoryStore):
    """Counts questions, takes its time, and fails on request."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[Series]] = []
        self.delay_s = 0.0
        self.error: Exception | None = None

    async def _wait(self, series: Sequence[Series]) -> None:
        self.asked.append(list(series))
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        await self._wait(series)
        return [await super(WatchedStore, self).read(one, ALL, last=1) for one in series]

    async def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        await self._wait([series])
        return await super().read(series, asked, as_of=as_of, last=last)


class SharedCache(LocalCache):
    """Plays the cache that several processes share."""

    is_shared = True


class DeadCache(LocalCache):
    """Plays a cache whose server is away: nothing it was given is ever found."""

    is_shared = True

    async def latest(self, series: Sequence[Series]) -> list[Held | Absent | None]:
        return [None for _ in await super().latest(series)]

    async def ring(self, series: Series, last: int) -> list[Candle]:
        return (await super().ring(series, last))[:0]

    async def claim(self, series: Series, for_s: float) -> bool:
        return await super().claim(series, for_s) or True


class FixedClock(SystemClock):
    """The steady clock of the machine, and the time of day of a test."""

    def __init__(self, minute: int) -> None:
        self.us = minute * MINUTE_US + MINUTE_US // 2

    def now_us(self) -> int:
        return self.us


async def store_with(*rows: tuple[Series, Sequence[Any]]) -> WatchedStore:
    store = WatchedStore()
    await store.commit(
        [
            Batch(series=series, table=to_table(series.kind, records), source=Source.LIVE)
            for series, records in rows
        ]
    )
    return store


async def test_the_cache_answers_and_the_store_only_what_it_does_not_know() -> None:
    # given a quote in the cache and a trade in the store
    store = await store_with((TRADES, [trade(4, "8"), trade(5, "9")]))
    cache = LocalCache(SystemClock())
    await cache.put([Entry(QUOTES, quote(7))])
    values = LatestValues(cache, store, SystemClock())

    # when both are asked for, and something nobody has
    nobody = Series("okx", "X-USDT", Kind.QUOTES)
    first = await values.latest([QUOTES, TRADES, nobody])
    again = await values.latest([QUOTES, TRADES, nobody])

    # then each comes from where it is, and the store was asked once, of absence too
    found = trade(5, "9")
    stored = type(found)("binance", "BTC-USDT", 5, 0, "9", 1.5, 0.25, found.side)
    assert first == [
        Latest(QUOTES, quote(7), "cache"),
        Latest(TRADES, stored, "store"),
        Latest(nobody, None, "nowhere"),
    ]
    assert again == [first[0], Latest(TRADES, stored, "cache"), Latest(nobody, None, "cache")]
    assert store.asked == [[TRADES, nobody]]


async def test_a_hundred_callers_at_once_are_one_question() -> None:
    store = await store_with((TRADES, [trade(5, "9")]))
    store.delay_s = 0.05
    values = LatestValues(DeadCache(SystemClock()), store, SystemClock())

    found = await asyncio.gather(*(values.latest([TRADES]) for _ in range(100)))

    assert {one[0].origin for one in found} == {"store"}
    assert len(store.asked) == 1
    assert values.counts.joined == 99


async def test_many_processes_that_share_a_cache_are_one_question() -> None:
    # given ten processes with a cold cache in common, and a slow store
    store = await store_with((TRADES, [trade(5, "9")]))
    store.delay_s = 0.1
    cache = SharedCache(SystemClock())
    many = [LatestValues(cache, store, SystemClock()) for _ in range(10)]

    # when all are asked for the same at once
    found = await asyncio.gather(*(one.latest([TRADES]) for one in many))

    # then one of them asked the store, and all know
    assert len(store.asked) == 1
    assert all(one[0].record is not None for one in found)
    assert sum(one.counts.awaited for one in many) == 9


async def test_one_that_died_with_its_claim_holds_nobody_up() -> None:
    store = await store_with((TRADES, [trade(5, "9")]))
    cache = SharedCache(SystemClock())
    await cache.claim(TRADES, 60)
    values = LatestValues(cache, store, SystemClock(), LatestConfig(wait_s=0.05))

    async with asyncio.timeout(5):
        (found,) = await values.latest([TRADES])
    assert found.origin == "store"


async def test_a_caller_that_gives_up_does_not_take_the_others_with_it() -> None:
    store = await store_with((TRADES, [trade(5, "9")]))
    store.delay_s = 0.1
    values = LatestValues(DeadCache(SystemClock()), store, SystemClock())
    first = asyncio.create_task(values.latest([TRADES]))
    second = asyncio.create_task(values.latest([TRADES]))
    await asyncio.sleep(0.02)
    first.cancel()

    assert (await second)[0].origin == "store"
    assert len(store.asked) == 1


async def test_a_store_that_hangs_or_fails_is_an_error_in_bounded_time_and_then_asked_anew() -> (
    None
):
    store = await store_with((TRADES, [trade(5, "9")]))
    config = LatestConfig(store_timeout_s=0.05)
    values = LatestValues(DeadCache(SystemClock()), store, SystemClock(), config)

    store.delay_s = 60
    with pytest.raises(StoreBusy):
        await values.latest([TRADES])
    store.delay_s, store.error = 0, StoreBusy("here", 1)
    for ask in (values.latest([TRADES]), values.ring(CANDLES, 5)):
        with pytest.raises(StoreBusy):
            await ask
    store.error = None
    assert (await values.latest([TRADES]))[0].origin == "store"
    assert values.counts.failed == 3


async def test_kinds_the_store_has_no_rows_of_are_not_asked_of_it() -> None:
    store = await store_with()
    values = LatestValues(LocalCache(SystemClock()), store, SystemClock())
    book = Series("binance", "BTC-USDT", Kind.BOOK)

    assert await values.latest([book]) == [Latest(book, None, "nowhere")]
    assert store.asked == []


async def test_a_live_value_that_came_meanwhile_is_not_replaced_by_the_stored_one() -> None:
    store = await store_with((TRADES, [trade(5, "9")]))
    store.delay_s = 0.05
    cache = LocalCache(SystemClock())
    values = LatestValues(cache, store, SystemClock())
    asking = asyncio.create_task(values.latest([TRADES]))
    await asyncio.sleep(0.01)
    await cache.put([Entry(TRADES, trade(6, 10))])
    await asking
    await values.close()

    assert await cache.latest([TRADES]) == [trade(6, 10)]
    # and absence does not replace it either
    assert await cache.put([Entry(TRADES, ABSENT)]) == 0


async def test_a_ring_without_a_hole_is_answered_by_the_cache_alone() -> None:
    store = await store_with((CANDLES, [candle(n) for n in range(1, 30)]))
    cache = LocalCache(SystemClock())
    await cache.put([Entry(CANDLES, candle(n)) for n in range(25, 31)])
    values = LatestValues(cache, store, FixedClock(31))

    assert await values.ring(CANDLES, 5) == [candle(n) for n in range(26, 31)]
    assert store.asked == []


async def test_a_ring_with_a_hole_is_filled_from_the_store_once() -> None:
    # given a cache that lacks two minutes, and a store that lacks the newest
    store = await store_with((CANDLES, [candle(n) for n in range(1, 30)]))
    cache = LocalCache(SystemClock())
    await cache.put([Entry(CANDLES, candle(n)) for n in (25, 26, 29, 30)])
    values = LatestValues(cache, store, FixedClock(31))

    # when six are asked for, then they are all there, in order
    found = await values.ring(CANDLES, 6)
    await values.close()
    assert [one.ts_event // MINUTE_US for one in found] == list(range(25, 31))
    assert len(store.asked) == 1
    # and the next question finds them in the cache
    assert [one.ts_event for one in await values.ring(CANDLES, 6)] == [o.ts_event for o in found]
    assert len(store.asked) == 1


async def test_a_ring_nobody_writes_to_any_more_is_asked_of_the_store() -> None:
    store = await store_with((CANDLES, [candle(n) for n in range(1, 90)]))
    cache = LocalCache(SystemClock())
    await cache.put([Entry(CANDLES, candle(n)) for n in range(1, 31)])
    values = LatestValues(cache, store, FixedClock(90))

    found = await values.ring(CANDLES, 3)
    assert [one.ts_event // MINUTE_US for one in found] == [87, 88, 89]
    assert await values.ring(CANDLES, 0) == []
    with pytest.raises(ValueError, match="no candles"):
        await values.ring(TRADES, 3)


@pytest.mark.parametrize(
    ("series", "record"),
    [(s, r) for s, r in HELD if s.kind in SCHEMAS and s.kind is not Kind.FUNDING],
    ids=lambda one: type(one).__name__,
)
def test_rows_come_back_as_the_records_they_were(series: Series, record: Any) -> None:
    (found,) = records_of(series, to_table(series.kind, [record]))

    lost: dict[str, object] = {"ts_recv": 0, "is_recap": False}
    if hasattr(record, "trade_id"):
        lost["trade_id"] = str(record.trade_id)
    for name in type(record).__struct_fields__:
        assert getattr(found, name) == lost.get(name, getattr(record, name)), name


def test_a_settled_rate_comes_back_as_the_last_one() -> None:
    row = {"timestamp": [8], "funding_rate": [1e-4], "interval_hours": [8.0], "mark_price": [None]}
    table = pa.table(row, schema=SCHEMAS[Kind.FUNDING])
    (found,) = records_of(Series("okx", "BTC-USDT-PERP", Kind.FUNDING), table)

    assert (found.funding_rate, found.funding_time, found.interval_hours) == (1e-4, 8, 8.0)  # type: ignore[union-attr]
    assert found.predicted_rate is None  # type: ignore[union-attr]
