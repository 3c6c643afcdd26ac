"""Machines that share an address and a Redis, but no disk: together they earn no refusal."""

import asyncio
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import finish, start
from sim_process import simulator
from store_place import store_at
from valkey_server import Server, cluster

from zvt_crypto.bootstrap.caching import cells_of, open_cache
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_shared import PairedGovernor, SharedClock, SharedState
from zvt_crypto.net.governor_state import MemoryState
from zvt_crypto.net.quota import Quota
from zvt_crypto.ports.cache import Cache
from zvt_crypto.settings import Settings

DAYS = ("--since", "2024-03-04", "--until", "2024-03-05")
# Ten in half a second; what is measured is late by as much as this process was kept waiting.
QUOTAS = [Quota("ip", 10, 0.5, "rolling", guard_s=0.0)]


@pytest.mark.slow
def test_two_machines_share_one_rate_budget_through_redis(tmp_path: Path) -> None:
    # given an exchange with its limits in force, and two machines that have a Redis in common
    with Server() as server, simulator("--limits", "real", "--exchange", "coinbase") as strict:
        running = []
        for symbol in ("BTC-USD", "ETH-USD"):
            machine = tmp_path / symbol
            machine.mkdir()
            running.append(
                start("load", "coinbase", symbol, *DAYS, "-i", "1m", "--archive", "never",
                      "--sim", strict.url, "--store", store_at(machine / "store"), "--json",
                      cwd=machine, env={"ZVTC_CACHE": server.url})
            )  # fmt: skip
        # when both load as fast as they may
        ended = [finish(one) for one in running]
        stats = strict.stats("coinbase")

    # then together they stay within the limits, and do use them
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    assert stats["429"] == 0, [one.err for one in ended]
    assert max(stats["peak_share"].values()) > 0.5


def machine(cache: Cache, patience_s: float = 60.0) -> PairedGovernor:
    """Return the governor of one machine: its own count, and the one all share."""
    cells = cells_of(cache)
    assert cells is not None
    state = SharedState(cells, "test", SharedClock())
    return PairedGovernor("test", QUOTAS, MemoryState(), 1.0, shared=state, patience_s=patience_s)


def opened(url: str) -> Cache:
    return open_cache(Settings(cache=url, caching={"write_timeout_s": 1}), SystemClock())  # type: ignore[arg-type]


async def spend(governor: Governor, count: int) -> list[float]:
    left: list[float] = []
    for _ in range(count):
        await governor.acquire({"ip": 1})
        left.append(time.monotonic())
    return left


@pytest.mark.parametrize("layout", ["single", pytest.param("cluster", marks=pytest.mark.campaign)])
async def test_machines_keep_one_limit_together(layout: str) -> None:
    with Server() if layout == "single" else cluster() as server:
        caches = [opened(server.url) for _ in range(3)]
        # when three machines send all they may
        left = await asyncio.gather(*(spend(machine(one), 10) for one in caches))
        for one in caches:
            await one.close()

    # then no span of time has more than the limit, and all took no longer than it takes
    times = sorted(at for one in left for at in one)
    assert all(later - first > 0.3 for first, later in zip(times, times[10:], strict=False))
    assert times[-1] - times[0] < 10


async def test_a_freeze_holds_on_every_machine() -> None:
    with Server() as server:
        first, second = opened(server.url), opened(server.url)
        one, other = machine(first), machine(second)
        await spend(one, 1)
        # when one is told to stop
        one.freeze(0.6, "rate_limited")
        await asyncio.sleep(0.1)

        # then the other stops too, for as long
        began = time.monotonic()
        await spend(other, 1)
        assert 0.3 < time.monotonic() - began < 5
        await first.close()
        await second.close()


async def test_without_the_server_each_goes_on_alone_and_then_together_again() -> None:
    with Server() as server:
        caches = [opened(server.url) for _ in range(2)]
        governors = [machine(one) for one in caches]
        await asyncio.gather(*(spend(one, 2) for one in governors))

        # when the server is away, then each keeps its own count: nobody waits for what is not there
        server.kill()
        await asyncio.sleep(0.6)
        began = time.monotonic()
        alone = await asyncio.gather(*(spend(one, 20) for one in governors))
        assert time.monotonic() - began < 5
        for left in alone:
            assert all(later - at > 0.3 for at, later in zip(left, left[10:], strict=False))
        assert all(one.alone > 0 for one in governors)

        # when it is back, empty, then both count together soon
        server.start()
        end = time.monotonic() + 10
        while not all(one.health().is_reachable for one in caches):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.6)
        before = [one.alone for one in governors]
        left = await asyncio.gather(*(spend(one, 15) for one in governors))
        assert [one.alone for one in governors] == before
        times = sorted(at for one in left for at in one)
        assert all(later - at > 0.3 for at, later in zip(times, times[10:], strict=False))
        for one in caches:
            await one.close()


async def test_what_was_booked_alone_still_counts_when_the_server_is_back() -> None:
    # given a machine that used its limit up while the server was away
    with Server() as server:
        cache = opened(server.url)
        governor = machine(cache)
        server.kill()
        await spend(governor, 10)
        server.start()
        await asyncio.sleep(0.05)

        # when it asks again, then it waits all the same: the stricter count holds
        began = time.monotonic()
        await spend(governor, 1)
        assert time.monotonic() - began > 0.2
        await cache.close()


async def test_a_server_that_forgets_all_is_told_what_this_machine_saw() -> None:
    # given cells that two machines change
    with Server() as server:
        caches = [opened(server.url) for _ in range(2)]
        first, second = (
            SharedState(cells, "test", SharedClock())
            for cells in map(cells_of, caches)
            if cells is not None
        )
        assert await first.update(add(3)) == 3
        assert await second.update(add(4)) == 7
        assert await first.update(add(1)) == 8

        # when the server loses everything, then the next that asks puts back what it saw last
        server.client().flushall()
        assert await first.update(add(0)) == 8
        assert await second.update(add(0)) == 8
        # and what is no value of ours counts as not intact
        (key,) = server.client().keys("*budget*")
        server.client().set(key, b"not what it was at all")
        assert await second.update(lambda cells, intact: (list(cells), intact)) == ([], False)
        for one in caches:
            await one.close()


async def test_changes_that_race_are_all_made_once() -> None:
    with Server() as server:
        caches = [opened(server.url) for _ in range(4)]

        async def work(cache: Cache) -> None:
            cells = cells_of(cache)
            assert cells is not None
            state = SharedState(cells, "test", SharedClock())
            for number in range(25):
                if number % 5:
                    await state.update(add(1))
                else:
                    state.post(lambda cells, _: cells.__setitem__(0, cells[0] + 1) if cells
                               else cells.append(1.0))  # fmt: skip
            await state.update(add(0))

        await asyncio.gather(*(work(one) for one in caches))
        cells = cells_of(caches[0])
        assert cells is not None
        total = await SharedState(cells, "test", SharedClock()).update(add(0))
        for one in caches:
            await one.close()
        assert total == 100


def add(amount: float) -> "Callable[[array[float], bool], float]":
    def change(cells: "array[float]", intact: bool) -> float:
        assert intact
        if not cells:
            cells.append(0.0)
        cells[0] += amount
        return cells[0]

    return change
