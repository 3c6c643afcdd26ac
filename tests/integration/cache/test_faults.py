"""Servers that are killed, hang, refuse or come back: nothing fails that does not have to."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from cache_records import EXCHANGE, TRADES, quote, trade
from valkey_server import Server, cluster, sentinels

from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.redis.engine import RedisCache
from zvt_crypto.cache.redis.target import parse_target
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.record import Disconnected
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.tabulate import to_table
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.cache import Entry, Published
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.latest import LatestValues
from zvt_crypto.simulator.tls import make_context
from zvt_crypto.store.memory.memory import MemoryStore

SYMBOLS = [f"COIN{number}-USDT" for number in range(30)]
# What a requirement says, and what a wait on a busy machine may take.
WRITABLE_WITHIN_S = 6.0
BOUNDED_S = 2.0
PATIENT = CacheConfig(read_timeout_s=5.0, write_timeout_s=5.0)


def series(symbol: str) -> Series:
    return Series(EXCHANGE, symbol, Kind.QUOTES)


def opened(url: str) -> RedisCache:
    return RedisCache(parse_target(url), SystemClock(), CacheConfig())


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> float:
    """Wait until a condition holds; return how long it took."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < within_s, f"not so within {within_s:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def stored() -> MemoryStore:
    """Return a store that has an older quote of every symbol."""
    store = MemoryStore()
    batches = [
        Batch(
            series=series(symbol),
            table=to_table(Kind.QUOTES, [quote(1, symbol=symbol)]),
            source=Source.LIVE,
        )
        for symbol in SYMBOLS
    ]
    await store.commit(batches)
    return store


class Load:
    """Writers and readers that go on all the time, and remember what they saw."""

    def __init__(self, cache: RedisCache, values: LatestValues) -> None:
        self.cache = cache
        self.values = values
        self.slowest_s = 0.0
        self.reads = 0
        self.origins: dict[str, int] = {}
        self.refused: dict[str, float] = {}
        self.accepted: dict[str, float] = {}
        self._is_over = False

    async def write(self) -> None:
        number = 10
        while not self._is_over:
            number += 1
            entries = [Entry(series(one), quote(number, symbol=one)) for one in SYMBOLS]
            for entry in entries:
                took = await self.cache.put([entry])
                seen = self.accepted if took else self.refused
                seen[entry.series.symbol] = time.monotonic()
            await asyncio.sleep(0.01)

    async def read(self) -> None:
        while not self._is_over:
            began = time.monotonic()
            for found in await self.values.latest([series(one) for one in SYMBOLS]):
                assert found.record is not None
                self.origins[found.origin] = self.origins.get(found.origin, 0) + 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.reads += 1
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._is_over = True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("full", "how"),
    [
        pytest.param("no", "killed", id="killed"),
        pytest.param("yes", "killed", id="killed-full-coverage", marks=pytest.mark.campaign),
        pytest.param("no", "hanging", id="hanging", marks=pytest.mark.campaign),
    ],
)
async def test_a_cluster_whose_master_is_killed_is_writable_again_and_readers_see_no_error(
    full: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a cluster under load
    async with AsyncExitStack() as stack:
        running = stack.enter_context(cluster(full=full))
        cache = opened(running.url)
        stack.push_async_callback(cache.close)
        values = LatestValues(cache, await stored(), SystemClock())
        stack.push_async_callback(values.close)
        load = Load(cache, values)
        tasks = [asyncio.create_task(one) for one in (load.write(), load.read(), load.read())]
        stack.callback(load.stop)
        await asyncio.sleep(1)
        await eventually(lambda: asyncio.sleep(0, result=set(load.accepted) == set(SYMBOLS)))
        # A first call of a busy machine may take longer than it is given.
        load.refused.clear()

        # when the master of some keys is killed
        victim = await asyncio.to_thread(running.master_of, f"{{{EXCHANGE}:{SYMBOLS[0]}}}")
        killed = time.monotonic()
        if how == "killed":
            victim.kill()
        else:
            os.kill(victim.pid, signal.SIGSTOP)

        # then all can be written again in time, and every read was answered meanwhile
        async def is_writable() -> bool:
            await asyncio.sleep(0)
            return min(load.accepted.values()) > max([killed, *load.refused.values()])

        await eventually(lambda: asyncio.sleep(0, result=bool(load.refused)))
        await eventually(is_writable, within_s=20)
        writable_s = max(load.refused.values()) - killed
        load.stop()
        await asyncio.gather(*tasks)
        hit = sorted(load.refused)
        with capsys.disabled():
            sys.stdout.write(
                f"\n[{how}] writable again {writable_s:.2f} s after the kill; {len(hit)} of "
                f"{len(SYMBOLS)} instruments were hit; {load.reads} reads, slowest "
                f"{load.slowest_s * 1e3:.0f} ms; {load.origins}; errors {cache.counts.errors}\n"
            )
        assert writable_s < WRITABLE_WITHIN_S
        assert load.slowest_s < BOUNDED_S
        assert load.origins.keys() == {"cache", "store"}
        assert cache.counts.opened >= 1
        await eventually(lambda: asyncio.sleep(0, result=cache.health().is_reachable))
        if full == "no":  # the others' keys were never away
            assert len(hit) < len(SYMBOLS)

        # and it may come back as a replica
        if how == "killed":
            victim.start()
        else:
            os.kill(victim.pid, signal.SIGCONT)
        await asyncio.sleep(0.5)
        assert (
            await cache.put([Entry(series(one), quote(10**9, symbol=one)) for one in SYMBOLS]) == 30
        )


async def test_keys_that_move_to_another_server_are_followed_at_the_first_call() -> None:
    # given a cluster, and a replica that is told to take over from a master that is well
    with cluster() as running:
        cache = RedisCache(parse_target(running.url), SystemClock(), PATIENT)
        entries = [Entry(series(one), quote(1, symbol=one)) for one in SYMBOLS]
        assert await cache.put(entries) == len(SYMBOLS)
        before = running.master_of(f"{{{EXCHANGE}:{SYMBOLS[0]}}}")
        for replica in running.servers[3:]:
            replica.client().execute_command("CLUSTER", "FAILOVER")

        async def has_moved() -> bool:
            return running.master_of(f"{{{EXCHANGE}:{SYMBOLS[0]}}}") is not before

        await eventually(has_moved)
        await asyncio.sleep(1)

        # when values are written and read, then nothing is lost: redirects are followed
        entries = [Entry(series(one), quote(2, symbol=one)) for one in SYMBOLS]
        assert await cache.put(entries) == len(SYMBOLS)
        assert await cache.latest([one.series for one in entries]) == [e.record for e in entries]
        assert (cache.counts.lost, cache.counts.errors) == (0, 0)
        assert cache.health().is_reachable
        await cache.close()


@pytest.mark.slow
async def test_a_master_behind_sentinels_that_is_killed_is_followed_to_its_successor() -> None:
    with sentinels() as running:
        cache = opened(running.url)
        assert await cache.put([Entry(TRADES, trade(1, 1))]) == 1
        async with cache.subscribe([TRADES]) as heard:
            running.master.kill()
            killed = time.monotonic()

            # when it is gone, then writes go to the one that took over
            async def is_writable() -> bool:
                return await cache.put([Entry(TRADES, trade(2, 2))]) == 1

            await eventually(is_writable, within_s=30)
            assert time.monotonic() - killed < 20
            assert await cache.latest([TRADES]) == [trade(2, 2)]

            # and subscribers are told that they may have missed something, and hear again
            async def is_heard() -> bool:
                await cache.put([], [Published(TRADES, trade(3, 3))])
                return len(heard) > 1

            await eventually(is_heard)
            assert isinstance((await anext(heard)).record, Disconnected)
            assert (await anext(heard)).record == trade(3, 3)
        await cache.close()


async def test_a_server_that_hangs_costs_its_deadline_and_then_nothing() -> None:
    # given a server that stops answering while connections stay open
    with Server() as server:
        cache = opened(server.url)
        values = LatestValues(cache, await stored(), SystemClock())
        await cache.put([Entry(series(SYMBOLS[0]), quote(5, symbol=SYMBOLS[0]))])
        with server.paused():
            # when it is asked, then the store answers in bounded time
            for _ in range(3):
                began = time.monotonic()
                (found,) = await values.latest([series(SYMBOLS[0])])
                assert found.record is not None
                assert time.monotonic() - began < BOUNDED_S
            health = cache.health()
            assert not health.is_reachable
            assert health.breakers == {f"127.0.0.1:{server.port}": True}
            assert "no answer within" in health.trouble

            # and while the breaker is open calls cost next to nothing
            before = cache.counts.lost
            began = time.perf_counter()
            for _ in range(100):
                assert await cache.latest([TRADES]) == [None]
                assert await cache.put([Entry(TRADES, trade(1, 1))]) == 0
                assert await cache.ring(TRADES, 5) == []
                assert await cache.claim(TRADES, 1)
            assert (time.perf_counter() - began) / 400 < 0.001
            assert cache.counts.lost == before + 100

        # when it goes on, then so does the cache, with what it held
        await eventually(lambda: asyncio.sleep(0, result=cache.health().is_reachable))
        assert await cache.latest([series(SYMBOLS[0])]) == [quote(5, symbol=SYMBOLS[0])]
        await values.close()
        await cache.close()


async def test_a_server_that_is_not_there_at_the_start_is_found_when_it_comes() -> None:
    server = Server()
    with server:
        server.kill()
        for url in (server.url, server.url.replace("redis://", "redis+cluster://"),
                    server.url.replace("redis://", "redis+sentinel://") + "/main"):  # fmt: skip
            cache = opened(url)
            began = time.monotonic()
            assert await cache.latest([TRADES]) == [None]
            assert (
                await cache.put([Entry(TRADES, trade(1, 1))], [Published(TRADES, trade(1, 1))]) == 0
            )
            assert time.monotonic() - began < BOUNDED_S
            assert not cache.health().is_reachable
            assert cache.health().trouble
            assert (cache.counts.unreachable, cache.counts.lost, cache.counts.unpublished) == (
                1,
                1,
                1,
            )
            await cache.close()

        cache = opened(server.url)
        assert await cache.put([Entry(TRADES, trade(1, 1))]) == 0
        async with cache.subscribe([TRADES]) as heard:
            server.start()

            async def is_kept() -> bool:
                return await cache.put([Entry(TRADES, trade(2, 2))]) == 1

            await eventually(is_kept)

            async def is_heard() -> bool:
                await cache.put([], [Published(TRADES, trade(3, 3))])
                return len(heard) > 0

            await eventually(is_heard)
        await cache.close()


async def test_a_server_that_restarts_is_used_again_without_its_scripts() -> None:
    with Server() as server:
        cache = opened(server.url)
        assert await cache.put([Entry(TRADES, trade(1, 1))]) == 1
        server.kill()
        assert await cache.put([Entry(TRADES, trade(2, 2))]) == 0
        server.start()

        async def is_kept() -> bool:
            return await cache.put([Entry(TRADES, trade(3, 3))]) == 1

        await eventually(is_kept)
        server.client().script_flush()
        assert await cache.put([Entry(TRADES, trade(4, 4))]) == 1
        assert await cache.latest([TRADES]) == [trade(4, 4)]
        await cache.close()


async def test_a_wrong_password_is_told_without_showing_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server("--requirepass", "right-one") as server:
        place = f"127.0.0.1:{server.port}"
        good = opened(f"redis://:right-one@{place}")
        assert await good.put([Entry(TRADES, trade(1, 1))]) == 1
        await good.close()
        for login in ("", ":wr0ng-0ne@", "somebody:wr0ng-0ne@"):
            cache = opened(f"redis://{login}{place}")
            for _ in range(4):
                assert await cache.latest([TRADES]) == [None]
            trouble = cache.health().trouble
            assert any(word in trouble.lower() for word in ("password", "auth"))
            told = trouble + cache.url + repr(cache) + caplog.text
            assert "wr0ng" not in told
            assert "right-one" not in told
            await cache.close()
    assert sum("cache_breaker_opened" in record.message for record in caplog.records) == 3


async def test_a_foreign_value_under_our_key_is_a_miss_and_no_error() -> None:
    with Server() as server:
        cache = opened(server.url)
        client = server.client()
        key = "zvtc:{binance:BTC-USDT}:trades"
        client.set(key, b"somebody else's")
        assert await cache.latest([TRADES]) == [None]
        assert await cache.put([Entry(TRADES, trade(1, 1))]) == 1
        client.delete(key)
        client.lpush(key, b"not even text")
        assert await cache.latest([TRADES]) == [None]
        assert await cache.put([Entry(TRADES, trade(2, 2))]) == 0
        assert cache.counts.lost == 1
        assert cache.health().is_reachable
        await cache.close()


async def test_tls_is_spoken_and_only_with_those_who_can_be_trusted(tmp_path: Path) -> None:
    # given a server behind TLS
    context, authority = make_context(tmp_path, "127.0.0.1", ())
    with Server("--requirepass", "s3cret") as server:

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(65_536):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))

        front = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        url = f"rediss://:s3cret@127.0.0.1:{front.sockets[0].getsockname()[1]}"

        # when its authority is trusted, then it is used; when not, nothing is sent to it
        trusting = RedisCache(parse_target(url), SystemClock(), PATIENT, trust=str(authority))
        assert await trusting.put([Entry(TRADES, trade(1, 1))]) == 1
        assert await trusting.latest([TRADES]) == [trade(1, 1)]
        doubting = RedisCache(parse_target(url), SystemClock(), PATIENT)
        assert await doubting.latest([TRADES]) == [None]
        assert "certificate" in doubting.health().trouble.lower()
        await trusting.close()
        await doubting.close()
        front.close()
