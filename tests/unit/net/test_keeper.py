"""Leases are kept while they are wanted, and known to be lost when they are."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence

import pytest
from loader_world import FakeClock
from stream_world import eventually

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.net.keeper import LeaseKeeper, new_holder, told
from zvt_crypto.store.memory.memory import MemoryStore


class Store(MemoryStore):
    """A store that may fail to renew and to release."""

    fails = False

    async def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        if self.fails:
            raise StoreBusy("memory", 0.0)
        return await super().renew(names, holder, for_s)

    async def release(self, names: Sequence[str], holder: str) -> None:
        if self.fails:
            raise StoreBusy("memory", 0.0)
        await super().release(names, holder)


def test_holders_have_names_of_their_own_that_people_can_read() -> None:
    assert new_holder() != new_holder()
    assert told("box:4711:0123abcd") == "pid 4711 on box"
    assert told("somebody") == "somebody"


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


async def test_the_leases_of_those_who_died_here_are_given_up() -> None:
    # given leases of one that lives, one that died, and some of whom nobody here can know
    mine = new_holder()
    host, _, tail = mine.split(":")
    dead = ended_process()
    store = Store()
    holders = {
        "living": mine,
        "dead": f"{host}:{dead}:{tail}",
        "since another start": f"{host}:{dead}:0badcafe.12345678",
        "by another version": f"{host}:{dead}:12345678",
        "strange": "somebody",
    }
    for name, holder in holders.items():
        await store.acquire([name], holder, 60.0)

    keeper = LeaseKeeper(store, new_holder(), 30.0, FakeClock(0))
    gone = await keeper.bury(await store.held())

    known = {"dead"} if sys.platform == "linux" else set[str]()
    assert gone == known
    assert {one.name for one in await store.held()} == set(holders) - known


async def test_what_is_held_is_renewed_until_it_is_released() -> None:
    store = Store()
    async with LeaseKeeper(store, "me", 0.3, FakeClock(0)) as keeper:
        assert await keeper.acquire(["a", "b"], "note") == {"a", "b"}
        await keeper.release(["b"])
        # for longer than a lease
        for _ in range(10):
            await asyncio.sleep(0.1)
            assert [one.name for one in await store.held()] == ["a"]
        assert keeper.holds("a")
        assert not keeper.holds("b")
        assert keeper.names == {"a"}
    assert await store.held() == []


async def test_what_another_has_is_not_held(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    await store.acquire(["a"], "other", 60.0)
    async with LeaseKeeper(store, "me", 0.3, FakeClock(0)) as keeper:
        assert await keeper.acquire(["a", "b"]) == {"b"}
        assert not keeper.holds("a")

        # when one is taken from us, as after a pause, then we know within a third of its time
        await store.release(["b"], "me")
        await store.acquire(["b"], "other", 60.0)
        with caplog.at_level(logging.WARNING):
            await eventually(lambda: not keeper.holds("b"))
        assert [r.message for r in caplog.records] == ["leases_lost"]
    # and what is not ours is not released
    assert len(await store.held()) == 2


async def test_without_renewal_a_lease_ends_by_our_own_clock_too() -> None:
    # given a store that takes no renewals
    store, clock = Store(), FakeClock(0)
    keeper = LeaseKeeper(store, "me", 30.0, clock)
    await keeper.acquire(["a"])
    store.fails = True

    # when most of its time is over, it is still ours; at its end it is not
    clock.at = 29_000_000
    assert await keeper.renew() == set()
    assert keeper.holds("a")
    clock.at = 30_000_000
    assert not keeper.holds("a")
    assert keeper.names == set()

    # and once the store takes them again and it was nobody else's, it is ours again
    store.fails = False
    assert await keeper.renew() == set()
    assert keeper.holds("a")


async def test_what_cannot_be_released_is_left_to_expire() -> None:
    store = Store()
    keeper = LeaseKeeper(store, "me", 30.0, FakeClock(0))
    await keeper.acquire(["a"])
    store.fails = True

    await keeper.release(["a"])

    assert not keeper.holds("a")
    assert len(await store.held()) == 1
