"""What every cache does: in this process, one server, one behind Sentinels, a cluster."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from cache_records import (
    CANDLES,
    EVENTS,
    HELD,
    MINUTE_US,
    QUOTES,
    TRADES,
    candle,
    quote,
    trade,
)
from valkey_server import Server, cluster, sentinels

from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.local.local import LocalCache
from zvt_crypto.cache.redis.engine import RedisCache
from zvt_crypto.cache.redis.target import parse_target
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.cache import ABSENT, Cache, Entry, Published, series_of

# The servers of a module are started once, not once by each worker.
pytestmark = pytest.mark.xdist_group("cache")

# Cores are shared: a deadline that is kept to is tested where servers fail.
CONFIG = CacheConfig(ring=5, read_timeout_s=5.0, write_timeout_s=5.0)
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def single_url() -> Iterator[str]:
    with Server() as server:
        yield server.url


@pytest.fixture(scope="module")
def sentinel_url() -> Iterator[str]:
    with sentinels() as running:
        yield running.url


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with cluster() as running:
        yield running.url


@pytest.fixture(params=["local", "single", "sentinel", "cluster"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    made: Cache
    if request.param == "local":
        made = LocalCache(SystemClock(), CONFIG)
    else:
        url = request.getfixturevalue(f"{request.param}_url")
        target = parse_target(f"{url}?prefix=t{next(_NUMBERS)}")
        made = RedisCache(target, SystemClock(), CONFIG)
    yield made
    await made.close()


def entry(record: object, series: Series | None = None, ttl_s: float | None = None) -> Entry:
    return Entry(series or series_of(record), record, ttl_s)  # type: ignore[arg-type]


async def test_every_kind_is_kept_and_found_by_its_series(cache: Cache) -> None:
    # when a record of every kind is kept
    entries = [Entry(series, record) for series, record in HELD]
    assert await cache.put(entries) == len(entries)

    # then each is found by its series, and others are not
    found = await cache.latest([series for series, _ in HELD])
    assert found == [record for _, record in HELD]
    assert await cache.latest([Series("okx", "BTC-USDT", Kind.QUOTES), QUOTES]) == [
        None,
        HELD[0][1],
    ]
    assert await cache.latest([]) == []
    assert cache.counts.hits == len(entries) + 1
    assert cache.counts.misses == 1
    assert cache.health().is_reachable


async def test_an_older_record_never_replaces_a_newer_one(cache: Cache) -> None:
    # given the newest of several records that come in any order
    assert await cache.put([entry(quote(200, 5)), entry(trade(200, 9))]) == 2

    # when older ones come late
    late = [entry(quote(199, 9)), entry(quote(200, 4)), entry(trade(200, 8)), entry(trade(150, 10))]
    assert await cache.put(late) == 0

    # then nothing has changed; the same again and newer ones are taken
    assert await cache.latest([QUOTES, TRADES]) == [quote(200, 5), trade(200, 9)]
    assert await cache.put([entry(quote(200, 5)), entry(quote(200, 6)), entry(trade(201, 1))]) == 3
    assert await cache.latest([QUOTES, TRADES]) == [quote(200, 6), trade(201, 1)]
    assert cache.counts.refused == 4


async def test_writers_that_race_leave_the_newest(cache: Cache) -> None:
    # when many tasks write the records of many instruments in disorder
    symbols = [f"S{number}-USDT" for number in range(12)]
    times = [(7 * n) % 41 for n in range(41)]

    async def write(part: int) -> None:
        for ts in times[part::4]:
            await cache.put([entry(quote(ts, symbol=symbol)) for symbol in symbols])

    await asyncio.gather(*(write(part) for part in range(4)))

    # then of each the newest is held
    wanted = [quote(40, symbol=symbol) for symbol in symbols]
    assert await cache.latest([series_of(one) for one in wanted]) == wanted


async def test_a_value_goes_when_its_time_is_over(cache: Cache) -> None:
    await cache.put([entry(quote(9), ttl_s=0.05), entry(trade(9, 1), ttl_s=30)])
    await asyncio.sleep(0.1)

    # then it is not found, and an older one may take its place
    assert await cache.latest([QUOTES, TRADES]) == [None, trade(9, 1)]
    assert await cache.put([entry(quote(8))]) == 1
    assert await cache.latest([QUOTES]) == [quote(8)]


async def test_absence_is_kept_until_something_is_there(cache: Cache) -> None:
    assert await cache.put([entry(ABSENT, QUOTES)]) == 1
    assert await cache.latest([QUOTES]) == [ABSENT]

    # when a record comes, then it is held, and absence does not replace it
    assert await cache.put([entry(quote(0))]) == 1
    assert await cache.put([entry(ABSENT, QUOTES)]) == 0
    assert await cache.latest([QUOTES]) == [quote(0)]


async def test_closed_candles_make_a_ring_in_order(cache: Cache) -> None:
    # when candles come: late, twice, corrected, running, and more than the ring holds
    for one in (3, 1, 2, 4, 5, 6, 6):
        await cache.put([entry(candle(one))])
    await cache.put([entry(candle(5, recv=9 * MINUTE_US, close=1.75))])
    await cache.put([entry(candle(5, recv=1, close=0.75)), entry(candle(7, closed=False))])

    # then the newest closed ones are held once each, corrected, oldest first
    ring = await cache.ring(CANDLES, 10)
    assert [one.ts_event // MINUTE_US for one in ring] == [2, 3, 4, 5, 6]
    assert [one.close for one in ring] == [1.5, 1.5, 1.5, 1.75, 1.5]
    assert await cache.ring(CANDLES, 2) == ring[-2:]
    assert await cache.ring(CANDLES, 0) == []
    assert await cache.latest([CANDLES]) == [candle(7, closed=False)]
    # and one older than all of them finds no place in a full ring
    await cache.put([entry(candle(1))])
    assert await cache.ring(CANDLES, 10) == ring


async def test_one_caller_of_many_gets_the_claim(cache: Cache) -> None:
    assert sorted(await asyncio.gather(*(cache.claim(QUOTES, 30) for _ in range(8)))) == [
        *[False] * 7,
        True,
    ]
    # and after its time the next one
    assert await cache.claim(TRADES, 0.05)
    await asyncio.sleep(0.1)
    assert await cache.claim(TRADES, 0.05)


async def test_subscribers_get_every_event_of_their_series_in_order(cache: Cache) -> None:
    # given a subscriber to all, and one to trades alone
    every = {series for series, _ in EVENTS}
    async with cache.subscribe(every) as all_of_them, cache.subscribe([TRADES]) as trades:
        # when events are published, in one go with values
        sent = [Published(series, record) for series, record in EVENTS]
        await cache.put([entry(quote(1))], sent)

        # then each gets what it asked for, in the order of each series
        got = [await _next(all_of_them) for _ in sent]
        for series in every:
            assert _of(got, series) == _of(sent, series)
        mine = _of(sent, TRADES)
        assert [await _next(trades) for _ in mine] == mine
    assert cache.counts.published == len(sent)


async def test_a_slow_subscriber_misses_the_oldest_and_is_counted(cache: Cache) -> None:
    sent = [Published(TRADES, trade(number, number)) for number in range(600)]
    async with cache.subscribe([TRADES], size=10) as slow, cache.subscribe([TRADES]) as fast:
        await cache.put([], sent)
        assert [await _next(fast) for _ in sent] == sent
        assert [await _next(slow) for _ in range(10)] == sent[-10:]
        assert (slow.dropped, fast.dropped) == (590, 0)
    assert cache.counts.dropped == 590


async def test_a_subscription_that_ends_hears_nothing_more(cache: Cache) -> None:
    subscription = cache.subscribe([TRADES])
    async with subscription:
        waiting = asyncio.create_task(_all(subscription))
        await cache.put([], [Published(TRADES, trade(1, 1))])
        await asyncio.sleep(0.05)
    await asyncio.wait_for(waiting, 5)

    # and another one to the same series hears all from then on
    async with cache.subscribe([TRADES]) as again:
        await cache.put([], [Published(TRADES, trade(2, 2))])
        assert await _next(again) == Published(TRADES, trade(2, 2))


def test_no_url_shows_a_password() -> None:
    made = RedisCache(parse_target("redis://me:hunter2@127.0.0.1:1"), SystemClock(), CONFIG)
    assert "hunter2" not in made.url + repr(made) + str(vars(made))


def _of(sent: list[Published], series: Series) -> list[Published]:
    return [one for one in sent if one.series == series]


async def _next(subscription: object) -> Published:
    return await asyncio.wait_for(anext(aiter(subscription)), 10)  # type: ignore[call-overload]


async def _all(subscription: object) -> list[Published]:
    return [one async for one in subscription]  # type: ignore[attr-defined]
