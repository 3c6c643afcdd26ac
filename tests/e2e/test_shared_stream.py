"""Several stream processes divide a list among them, also when one dies and another comes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from cli_process import finish, start, zvtc
from sim_process import Sim, simulator
from store_place import store_at
from stream_world import SYMBOL, check_stored, eventually_async, until_whole

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Store
from zvt_crypto.settings import load_settings
from zvt_crypto.simulator.stream.registry import STREAMS

KILLS: Final = int(os.environ.get("ZVTC_TEST_KILLS", "3"))
LEASE_S: Final = 3.0
# To start a process and to connect, on a machine that does other things too.
START_S: Final = 30.0
# From the expiry of leases to data: a look around, a socket, the gap repaired, a commit. Some two
# seconds on a machine that does nothing else.
TAKEN_S: Final = 10.0
SERIES: Final = [
    Series(stream.name, symbol, Kind.TRADES)
    for stream in STREAMS
    for symbol in (SYMBOL[stream.name], SYMBOL[stream.name].replace("BTC", "ETH"))
]
UNITS: Final = len(SERIES)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "1000000") as running:
        yield running


@dataclass
class Group:
    """Processes that share, and the store they share."""

    folder: Path
    sim: Sim
    store: Store
    running: list["subprocess.Popen[str]"] = field(default_factory=list["subprocess.Popen[str]"])

    def join(self) -> "subprocess.Popen[str]":
        words = [f"{one.exchange}:{one.symbol}:trades" for one in SERIES]
        process = start(
            "stream", *words, "--share", "all", "--quiet", "--sim", self.sim.url,
            "--store", store_at(self.folder / "store"),
            cwd=self.folder, env={"ZVTC_STREAM__LEASE_S": str(LEASE_S)},
        )  # fmt: skip
        self.running.append(process)
        return process

    def kill(self, process: "subprocess.Popen[str]") -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.running.remove(process)

    async def held(self) -> dict[str, int]:
        """Return which process has which unit."""
        store: Any = self.store
        return {
            one.name.removeprefix("stream/all/unit/"): int(one.holder.split(":")[1])
            for one in await store.held("stream/all/unit/")
        }

    async def is_divided(self) -> bool:
        """Return whether all units are held, in equal shares, by those who live."""
        counts = Counter((await self.held()).values())
        shares = [counts[one.pid] for one in self.running]
        return sum(shares) == UNITS and max(shares) - min(shares) <= 1

    async def divided(self, within_s: float = START_S) -> None:
        await eventually_async(self.is_divided, within_s)

    async def is_live(self, since_us: int, series: Sequence[Series] = SERIES) -> bool:
        """Return whether trades from after a moment are stored of each of these."""
        newest = await self.store.latest(series)
        return all(one.num_rows and int(times(one)[-1]) > since_us for one in newest)

    async def live(self, within_s: float, series: Sequence[Series] = SERIES) -> float:
        """Wait until new trades of these are stored; return how long it took."""
        since_us, began = time.time_ns() // 1_000, time.monotonic()
        await eventually_async(lambda: self.is_live(since_us, series), within_s)
        return time.monotonic() - began

    async def end(self) -> None:
        """Stop all in good order, and check that the store has what was traded, once."""
        await until_whole(self.store, SERIES, 60.0)
        for one in self.running:
            one.send_signal(signal.SIGTERM)
        ended = [finish(one) for one in self.running]
        assert [one.code for one in ended] == [0] * len(ended), [one.err for one in ended]
        store: Any = self.store
        assert await store.held() == []
        count = 0
        for series in SERIES:
            count += await check_stored(self.sim, self.store, series)
        assert list((await self.store.verify()).faults) == []
        sys.stdout.write(f"\n{count} trades checked\n")


@contextmanager
def ended_at_last(group: Group) -> Generator[None]:
    try:
        yield
    finally:
        for one in group.running:
            if one.poll() is None:
                one.kill()
                one.communicate()


@asynccontextmanager
async def grouped(folder: Path, sim: Sim) -> AsyncGenerator[Group]:
    given = {
        "store": store_at(folder / "store"),
        "sim": sim.url,
        "state_dir": str(folder / ".test"),
    }
    chosen = load_settings(given, cwd=folder, environ={}).settings
    async with Platform(chosen, create=True) as platform:
        group = Group(folder, sim, platform.store)
        with ended_at_last(group):
            yield group


def check_told(group: Group) -> None:
    """Check that `zvtc status` says who has what."""
    told = zvtc(
        "status",
        "--offline",
        "--store",
        store_at(group.folder / "store"),
        "--json",
        cwd=group.folder,
    ).json
    holders = {one["holder"] for one in told["leases"] if "/unit/" in one["name"]}
    assert {int(one.split(":")[1]) for one in holders} == {one.pid for one in group.running}
    shares = {one["pid"]: one["share"] for one in told["processes"]}
    assert set(shares) == {one.pid for one in group.running}
    assert all(one["members"] == len(shares) for one in shares.values())
    assert sum(one["held"] for one in shares.values()) == UNITS
    lines = zvtc(
        "status", "--offline", "--store", store_at(group.folder / "store"), cwd=group.folder
    ).out
    text = " ".join(lines.split())
    for one in group.running:
        assert f"pid {one.pid} on " in text
        assert "works on stream/all/unit/" in text


@pytest.mark.slow
async def test_streams_divide_a_list_and_take_over_from_one_that_is_killed(
    sim: Sim, tmp_path: Path
) -> None:
    async with grouped(tmp_path, sim) as group:
        # given three processes: each comes to its share, and all is live
        for _ in range(3):
            group.join()
        await group.divided()
        await group.live(START_S)
        await asyncio.to_thread(check_told, group)

        # when one is killed, then its series live again on others
        victim = group.running[0]
        held = await group.held()
        orphans = [s for s in SERIES if held[f"{s.exchange}/{s.symbol}"] == victim.pid]
        assert len(orphans) in (UNITS // 3, UNITS // 3 + 1)
        began = time.monotonic()
        group.kill(victim)
        killed_us = time.time_ns() // 1_000
        await group.divided(LEASE_S + TAKEN_S)
        divided = time.monotonic() - began
        await eventually_async(lambda: group.is_live(killed_us, orphans), TAKEN_S)
        took = time.monotonic() - began

        # and when another comes, it gets its share
        began = time.monotonic()
        late = group.join()
        await group.divided()
        joined = time.monotonic() - began
        assert list((await group.held()).values()).count(late.pid) >= UNITS // 3
        await group.live(START_S)

        # and in the end nothing is missing, nothing twice
        sys.stdout.write(f"\ntaken over {divided:.1f} s after the kill, trades stored {took:.1f} s")
        sys.stdout.write(f" after it; a newcomer had its share {joined:.1f} s after its start\n")
        await group.end()


@pytest.mark.campaign
async def test_streams_that_are_killed_and_stopped_at_random_lose_nothing(
    sim: Sim, tmp_path: Path
) -> None:
    chance = Random(3)
    async with grouped(tmp_path, sim) as group:
        for _ in range(4):
            group.join()
        await group.divided()
        await group.live(START_S)
        for turn in range(2 * KILLS):
            await group.live(chance.uniform(10.0, 20.0))
            victim = chance.choice(group.running)
            if turn % 3 == 2:
                # one that sleeps past its leases and goes on writing
                victim.send_signal(signal.SIGSTOP)
                group.running.remove(victim)
                await group.divided(LEASE_S + TAKEN_S)
                await group.live(START_S)
                victim.send_signal(signal.SIGCONT)
                group.running.append(victim)
            elif turn % 3 == 1:
                victim.send_signal(signal.SIGTERM)
                assert finish(victim).code == 0
                group.running.remove(victim)
                await group.divided(TAKEN_S)
                group.join()
            else:
                group.kill(victim)
                group.join()
            await group.divided()
        await group.live(START_S)
        await group.end()
