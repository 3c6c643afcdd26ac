"""What every store that has leases promises, checked on all of them."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from stream_world import eventually

from zvt_crypto.ports.lease import Lease, Leases
from zvt_crypto.store.lake import LakeStore
from zvt_crypto.store.memory import MemoryStore
from zvt_crypto.store.timescale import TimescaleStore

LONG_S = 60.0
# Short enough to be waited for, long enough that a busy machine does not let it end too soon.
SHORT_S = 0.5

Open = Callable[[], Awaitable[Leases]]


@pytest.fixture(params=["memory", "lake", "postgres"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Give what opens the same store once more, as another process would."""
    opened: list[LakeStore | TimescaleStore] = []
    memory = MemoryStore()
    url = ""

    async def lake() -> Leases:
        opened.append(await LakeStore.open(tmp_path / "lake"))
        return opened[-1]

    async def server() -> Leases:
        opened.append(await TimescaleStore.open(url))
        return opened[-1]

    async def shared() -> Leases:
        return memory

    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")()
    yield {"memory": shared, "lake": lake, "postgres": server}[request.param]
    for one in opened:
        await one.close()


@pytest.fixture
async def leases(opener: Open) -> Leases:
    return await opener()


def brief(held: list[Lease]) -> list[tuple[str, str]]:
    return [(one.name, one.holder) for one in held]


async def test_a_store_with_leases_is_known_as_such(leases: Leases) -> None:
    assert isinstance(leases, Leases)


async def test_what_is_free_is_taken_and_what_others_hold_is_not(opener: Open) -> None:
    first, second = await opener(), await opener()

    # when two ask for overlapping names
    mine = await first.acquire(["a", "b"], "one", LONG_S, "note of one")
    theirs = await second.acquire(["b", "c"], "two", LONG_S)

    # then each name is one's, told to both alike
    assert (mine, theirs) == ({"a", "b"}, {"c"})
    for asked in (first, second):
        held = await asked.held()
        assert brief(held) == [("a", "one"), ("b", "one"), ("c", "two")]
        assert [one.note for one in held] == ["note of one", "note of one", ""]
        assert all(LONG_S - 30 < one.left_s <= LONG_S for one in held)


async def test_taking_what_one_has_prolongs_it(leases: Leases) -> None:
    await leases.acquire(["a"], "one", 5.0)

    assert await leases.acquire(["a", "a"], "one", LONG_S, "new") == {"a"}

    (held,) = await leases.held()
    assert held.left_s > 30.0
    assert held.note == "new"


async def test_only_the_holder_renews_and_releases(leases: Leases) -> None:
    await leases.acquire(["a", "b"], "one", 5.0)
    await leases.acquire(["c"], "two", LONG_S)

    # when one renews what is and what is not its own, then only its own is
    assert await leases.renew(["a", "c", "none"], "one", LONG_S) == {"a"}
    assert [one.left_s > 30.0 for one in await leases.held()] == [True, False, True]

    # and so with releasing
    await leases.release(["a", "c", "none"], "one")
    assert brief(await leases.held()) == [("b", "one"), ("c", "two")]
    assert await leases.acquire(["a", "b"], "two", LONG_S) == {"a"}


async def test_a_lease_that_expired_is_nobodys(opener: Open) -> None:
    first, second = await opener(), await opener()
    await first.acquire(["a", "b"], "one", SHORT_S)
    assert await second.acquire(["a"], "two", LONG_S) == set()

    # when it is not renewed in time
    await asyncio.sleep(SHORT_S + 0.2)

    # then it is not shown, cannot be renewed, even where nobody took it, and is free to take
    assert await first.held() == []
    assert await first.renew(["a", "b"], "one", LONG_S) == set()
    assert await second.acquire(["a"], "two", LONG_S) == {"a"}
    assert await first.acquire(["a", "b"], "one", LONG_S) == {"b"}
    await first.release(["a"], "one")
    assert brief(await first.held()) == [("a", "two"), ("b", "one")]


async def test_a_lease_that_is_renewed_does_not_expire(leases: Leases) -> None:
    await leases.acquire(["a"], "one", SHORT_S)
    for _ in range(6):
        await asyncio.sleep(SHORT_S / 4)
        assert await leases.renew(["a"], "one", SHORT_S) == {"a"}
    assert brief(await leases.held()) == [("a", "one")]


async def test_a_prefix_is_taken_word_for_word(leases: Leases) -> None:
    names = ["load/a_b/1", "load/axb/1", "load/a%b/1", "load/A_b/1", "stream/a", "load/é/币"]
    await leases.acquire(names, "one", LONG_S)

    assert brief(await leases.held("load/a_b/")) == [("load/a_b/1", "one")]
    assert brief(await leases.held("load/a%")) == [("load/a%b/1", "one")]
    assert {one.name for one in await leases.held("load/")} == set(names) - {"stream/a"}
    assert brief(await leases.held("load/é/")) == [("load/é/币", "one")]


async def test_nothing_asked_is_nothing_done(leases: Leases) -> None:
    assert await leases.acquire([], "one", LONG_S) == set()
    assert await leases.renew([], "one", LONG_S) == set()
    await leases.release([], "one")
    assert await leases.held() == []


async def test_hundreds_of_names_go_at_once(leases: Leases) -> None:
    names = [f"load/series/{number}" for number in range(800)]
    assert await leases.acquire(names[::2], "two", LONG_S) == set(names[::2])
    assert await leases.acquire(names, "one", LONG_S) == set(names[1::2])
    assert await leases.renew(names, "one", LONG_S) == set(names[1::2])
    await leases.release(names, "one")
    assert len(await leases.held()) == 400


async def test_of_many_that_ask_at_once_each_name_is_given_to_one(opener: Open) -> None:
    # given eight that share a store
    askers = [await opener() for _ in range(4)] * 2
    names = [f"n{number}" for number in range(40)]

    # when all ask for the same names at the same moment, in any order
    async def ask(number: int, one: Leases) -> set[str]:
        order = names[number:] + names[:number]
        got = [await one.acquire(order[at : at + 8], str(number), LONG_S) for at in range(0, 40, 8)]
        return set(itertools.chain(*got))

    given = await asyncio.gather(*(ask(number, one) for number, one in enumerate(askers)))

    # then together they have each name once
    assert sorted(itertools.chain(*given)) == sorted(names)
    held = {one.name: one.holder for one in await askers[0].held()}
    assert held == {name: str(number) for number, got in enumerate(given) for name in got}


HOLDER = """
import asyncio, sys
from zvt_crypto.store.lake import LakeStore

async def main():
    store = await LakeStore.open(sys.argv[1])
    got = await store.acquire([f"n{i}" for i in range(200)], sys.argv[2], float(sys.argv[3]))
    print(len(got), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_leases_of_a_killed_process_expire(tmp_path: Path) -> None:
    # given a process that holds leases, and one that was too late
    store = await LakeStore.open(tmp_path / "lake")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
        [sys.executable, "-c", HOLDER, str(tmp_path / "lake"), "other", "2"],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "200\n"
        assert await store.acquire(["n0"], "me", LONG_S) == set()
        # when it is killed
        process.kill()
    # then what it held can be taken once its time is over
    got: set[str] = set()

    async def take() -> None:
        while not got:
            got.update(await store.acquire([f"n{i}" for i in range(200)], "me", LONG_S))
            await asyncio.sleep(0.05)

    taking = asyncio.create_task(take())
    await eventually(lambda: got, 10.0)
    await taking
    assert len(got) == 200
    await store.close()
