# pyright: reportPrivateUsage=false
"""Processes that share a list of subscriptions come to equal shares, whoever comes and goes."""

import asyncio
import itertools
import logging
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loader_world import FakeClock
from stream_world import eventually

from zvt_crypto.core.errors import StoreBusy, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.net.keeper import LeaseKeeper
from zvt_crypto.ports.lease import Lease
from zvt_crypto.services.stream import sharing
from zvt_crypto.services.stream.sharing import Sharing, by_liking, share_of
from zvt_crypto.store.memory.memory import MemoryStore

SERIES = [
    Series("okx", f"COIN{number}-USDT", kind, interval)
    for number in range(10)
    for kind, interval in ((Kind.TRADES, None), (Kind.CANDLES, Interval.M1))
]


class Service:
    """What a stream service is to sharing."""

    def __init__(self) -> None:
        self.streamed: set[Series] = set()
        self.refused: set[Series] = set()

    async def check(self, wanted: Iterable[Series]) -> None:
        if any(one.exchange == "nowhere" for one in wanted):
            raise UsageError("no such exchange")

    async def set(self, wanted: Iterable[Series]) -> None:
        await asyncio.sleep(0)
        if self.refused & set(wanted):
            raise StoreBusy("x", 0.0)
        self.streamed = set(wanted)


class Member:
    """One process of a group."""

    def __init__(self, store: MemoryStore, name: str, lease_s: float = 60.0) -> None:
        self.service = Service()
        self.keeper = LeaseKeeper(store, name, lease_s, FakeClock(0))
        self.sharing = Sharing(self.service, self.keeper, "group")

    async def step(self) -> None:
        await self.sharing._step()

    @property
    def symbols(self) -> set[str]:
        return {one.symbol for one in self.service.streamed}


async def settle(*members: Member, rounds: int = 6) -> None:
    for _ in range(rounds):
        for one in members:
            await one.step()


def check_divided(*members: Member, units: int = 10) -> None:
    counts = [len(one.symbols) for one in members]
    assert sum(counts) == units == len(set().union(*(one.symbols for one in members)))
    assert max(counts) - min(counts) <= 1
    for one in members:  # what belongs together is together
        assert len(one.service.streamed) == 2 * len(one.symbols)


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=8), extra=st.integers(0, 20))
def test_shares_add_up_and_differ_by_one_at_most(counts: list[int], extra: int) -> None:
    members = {f"m{number}": count for number, count in enumerate(counts)}
    units = sum(counts) + extra

    shares = {one: share_of(one, members, units) for one in members}

    assert sum(shares.values()) == units
    assert max(shares.values()) - min(shares.values()) <= 1
    # those who hold more keep more
    by_count = sorted(members, key=lambda one: members[one])
    for less, more in itertools.pairwise(by_count):
        assert shares[less] <= shares[more] or members[less] == members[more]


def test_each_likes_another_order() -> None:
    names = [str(number) for number in range(50)]
    assert sorted(by_liking("a", names)) == sorted(names)
    assert by_liking("a", names) != by_liking("b", names)
    assert by_liking("a", reversed(names)) == by_liking("a", names)


async def test_a_group_divides_its_list_and_follows_who_comes_and_goes() -> None:
    store = MemoryStore()
    one, two, three = (Member(store, name) for name in ("one", "two", "three"))

    # given one alone: it streams all
    await one.sharing.set(SERIES)
    await settle(one)
    check_divided(one)

    # when others come, each gets its share, and as little as needed moves
    await two.sharing.set(SERIES)
    await settle(one, two)
    check_divided(one, two)
    kept = {id(member): member.symbols for member in (one, two)}
    await three.sharing.set(SERIES)
    await settle(one, two, three)
    check_divided(one, two, three)
    assert all(member.symbols <= kept[id(member)] for member in (one, two))

    # and when one leaves, the others have its share
    await two.keeper.__aexit__(None, None, None)
    await settle(one, three)
    check_divided(one, three)


async def test_a_killed_member_is_replaced_once_its_leases_expire() -> None:
    store = MemoryStore()
    dying = Member(store, "dying", lease_s=0.5)
    living = Member(store, "living")
    for member in (dying, living):
        await member.sharing.set(SERIES)
    await settle(dying, living)
    check_divided(dying, living)

    # when it says nothing any more: until its leases expire all stays as it is
    await settle(living)
    assert len(living.symbols) == 5
    await asyncio.sleep(0.6)
    await settle(living)
    check_divided(living)

    # and when it was only paused, it finds its share lost, and gets another
    await settle(dying, living)
    check_divided(dying, living)


async def test_lists_that_differ_are_all_streamed_and_nothing_twice() -> None:
    # given members that want different lists, of which some is in both
    store = MemoryStore()
    one, two = Member(store, "one"), Member(store, "two")
    await one.sharing.set(SERIES[:14])
    await two.sharing.set(SERIES[6:])
    await settle(one, two)

    # then each symbol is streamed by one of them
    assert not one.symbols & two.symbols
    assert len(one.symbols | two.symbols) == 10

    # and once they agree, they share it equally
    await one.sharing.set(SERIES)
    await two.sharing.set(SERIES)
    await settle(one, two)
    check_divided(one, two)


async def test_a_list_that_becomes_shorter_is_followed() -> None:
    store = MemoryStore()
    one, two = Member(store, "one"), Member(store, "two")
    for member in (one, two):
        await member.sharing.set(SERIES)
    await settle(one, two)

    for member in (one, two):
        await member.sharing.set(SERIES[:12])
    await settle(one, two)

    check_divided(one, two, units=6)
    units = [lease for lease in await store.held() if "/unit/" in lease.name]
    assert len(units) == 6


async def test_what_is_wrong_is_refused_and_changes_nothing() -> None:
    one = Member(MemoryStore(), "one")
    await one.sharing.set(SERIES)
    await settle(one)

    with pytest.raises(UsageError):
        await one.sharing.set([Series("nowhere", "X-Y", Kind.TRADES)])

    await settle(one)
    check_divided(one)


async def test_what_one_cannot_subscribe_is_left_to_others() -> None:
    store = MemoryStore()
    one, two = Member(store, "one"), Member(store, "two")
    one.service.refused = {SERIES[0]}
    for member in (one, two):
        await member.sharing.set(SERIES)

    for _ in range(8):
        for member in (one, two):
            try:
                await member.step()
            except StoreBusy:
                assert member is one

    assert len(one.symbols | two.symbols) == 10
    assert SERIES[0] in two.service.streamed


class Failing(MemoryStore):
    """A store that does not answer for a while."""

    fails = False

    async def held(self, prefix: str = "") -> list[Lease]:
        if self.fails:
            raise StoreBusy("memory", 0.0)
        return await super().held(prefix)


async def test_while_the_store_does_not_answer_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sharing, "_BEAT_S", 0.01)
    store = Failing()
    one = Member(store, "one")
    await one.sharing.set(SERIES)
    async with one.keeper, one.sharing:
        await eventually(lambda: len(one.symbols) == 10)

        # when the store fails: it is said once, and all goes on
        store.fails = True
        with caplog.at_level(logging.WARNING):
            await eventually(lambda: one.sharing.describe()["failing"])
            await asyncio.sleep(0.1)
        assert len([r for r in caplog.records if r.message == "stream_sharing_failed"]) == 1
        assert len(one.symbols) == 10

        # and when it is back, sharing goes on
        store.fails = False
        await eventually(lambda: not one.sharing.describe()["failing"])
        assert one.sharing.describe() == {
            "group": "group", "members": 1, "units": 10, "held": 10, "failing": "",
        }  # fmt: skip
    assert await store.held() == []
