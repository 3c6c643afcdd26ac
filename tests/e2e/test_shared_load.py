"""Several loader processes share one request, also when one of them dies or sleeps."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from cli_process import Ended, finish, start
from judge import check_honest, check_settled
from sim_process import Sim, simulator
from store_place import on_server, store_at

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.settings import load_settings

SINCE, LATE, UNTIL = "2023-07-01", "2023-11-15", "2024-01-01"
ASKED: Final = Range(to_us(SINCE), to_us(UNTIL))
ROWS: Final = 184 * 1_440
# One process asks for so many pages, and twice for the first candle.
ALONE: Final = -(-ROWS // 1_000) + 2
# Three begin a page at each of the bounds between six units, and look for the first candle each.
SHARED: Final = ALONE + 5 + 4
BTC: Final = candle_series("binance", "BTC-USDT", Interval.M1)
KILLS: Final = int(os.environ.get("ZVTC_TEST_KILLS", "3"))
LEASE_S: Final = 3
ENV: Final = {
    "ZVTC_EXCHANGES__BINANCE__LIMIT_FACTOR": "50",
    "ZVTC_LOAD__LEASE_S": str(LEASE_S),
    # Four at once: so that what one process has under way lasts.
    "ZVTC_EXCHANGES__BINANCE__CONCURRENCY": "4",
}


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "500") as running:
        running.fault("slow", delay_s=0.03)
        yield running


Load = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def load(sim: Sim, tmp_path: Path) -> Iterator[Load]:
    """Give what starts a process; those that still run at the end of the test are ended."""
    running: list[subprocess.Popen[str]] = []

    def begin(*more: str, since: str = SINCE) -> "subprocess.Popen[str]":
        one = start(
            "load", "binance", "BTC-USDT", "-i", "1m", "--since", since, "--until", UNTIL,
            "--archive", "never", "--sim", sim.url, "--store", store_at(tmp_path / "store"),
            "--json", *more,
            cwd=tmp_path, env=ENV,
        )  # fmt: skip
        running.append(one)
        return one

    yield begin
    for one in running:
        if one.poll() is None:
            one.kill()
            one.communicate()


def opened(folder: Path, sim: Sim) -> Platform:
    given = {
        "store": store_at(folder / "store"),
        "sim": sim.url,
        "state_dir": str(folder / ".state"),
    }
    return Platform(load_settings(given, cwd=folder, environ={}).settings)


async def check(folder: Path, sim: Sim, *series: Series, asked: Range = ASKED) -> None:
    """Check that rows and ledger are true and whole, and that nothing is held any more."""
    async with opened(folder, sim) as platform:
        for one in series:
            check_settled(await check_honest(platform.store, sim, one, asked), asked)
        assert list((await platform.store.verify()).faults) == []


async def holders(folder: Path, sim: Sim) -> dict[str, int]:
    """Return which process holds what."""
    async with opened(folder, sim) as platform:
        store: Any = platform.store
        return {one.name: int(one.holder.split(":")[1]) for one in await store.held("load/")}


async def stored(folder: Path, sim: Sim) -> int:
    """Return how many rows there are by now."""
    async with opened(folder, sim) as platform:
        return sum(info.rows for info in await platform.store.series())


def until_holding(folder: Path, sim: Sim, process: "subprocess.Popen[str]") -> None:
    """Wait until a process is at some unit, and something is stored."""
    end = time.monotonic() + 30
    while True:
        if on_server() or (folder / "store" / "catalog.sqlite").exists():
            held = asyncio.run(holders(folder, sim))
            if process.pid in held.values() and asyncio.run(stored(folder, sim)):
                return
        assert time.monotonic() < end, "no lease was taken"
        time.sleep(0.1)


def summed(ended: Sequence[Ended]) -> list[dict[str, Any]]:
    return [one.json["series"][0] for one in ended]


@pytest.mark.slow
def test_three_processes_share_one_series(sim: Sim, load: Load, tmp_path: Path) -> None:
    before = sim.data_requests()

    # when three processes are given the same
    ended = [finish(one) for one in [load() for _ in range(3)]]

    # then all are whole, together they asked what one asks, and each did a part
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    asked = sim.data_requests() - before
    sys.stdout.write(f"\nthree share: {asked} questions for data, {ALONE} by one alone\n")
    assert asked <= SHARED
    told = summed(ended)
    assert sum(one["rows_written"] for one in told) == ROWS
    assert {one["rows_total"] for one in told} == {ROWS}
    assert sum(one["rows_written"] > 0 for one in told) > 1  # the last may come too late
    asyncio.run(check(tmp_path, sim, BTC))

    # and one that comes later asks nothing
    before = sim.data_requests()
    assert finish(load()).code == 0
    assert sim.data_requests() == before


@pytest.mark.slow
def test_the_others_take_over_from_one_that_is_killed(sim: Sim, load: Load, tmp_path: Path) -> None:
    before = sim.data_requests()

    # given three processes at the same work, when one is killed in the middle of a unit
    running = [load() for _ in range(3)]
    victim = running[0]
    until_holding(tmp_path, sim, victim)
    victim.send_signal(signal.SIGKILL)
    finish(victim)
    ended = [finish(one) for one in running[1:]]

    # then the others finish it, and hardly anything was asked twice
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    asked = sim.data_requests() - before
    sys.stdout.write(f"\none killed: {asked} questions for data, {ALONE} by one alone\n")
    # but what it had fetched and not yet stored: two chunks at most
    assert asked <= SHARED + 2 * 48
    assert {one["rows_total"] for one in summed(ended)} == {ROWS}
    asyncio.run(check(tmp_path, sim, BTC))


@pytest.mark.slow
def test_one_that_slept_past_its_leases_does_no_harm(sim: Sim, load: Load, tmp_path: Path) -> None:
    # given a process that is stopped while it holds units, until they expired
    sleeper = load()
    until_holding(tmp_path, sim, sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    try:
        mine = [name for name, pid in asyncio.run(holders(tmp_path, sim)).items()
                if pid == sleeper.pid]  # fmt: skip
        assert mine

        # when another takes over all there is, and then the first goes on writing
        other = load()
        end = time.monotonic() + 30
        while set(asyncio.run(holders(tmp_path, sim)).values()) & {sleeper.pid}:
            assert time.monotonic() < end
            time.sleep(0.2)
        until_holding(tmp_path, sim, other)
    finally:
        sleeper.send_signal(signal.SIGCONT)
    ended = [finish(sleeper), finish(other)]

    # then both end well, and rows and ledger are true
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    assert {one["rows_total"] for one in summed(ended)} == {ROWS}
    asyncio.run(check(tmp_path, sim, BTC))


@pytest.mark.campaign
def test_loaders_that_are_killed_and_started_at_random_finish_together(
    sim: Sim, load: Load, tmp_path: Path
) -> None:
    # given four processes at candles and trades of two symbols
    chance = Random(5)
    more = ("ETH-USDT", "-k", "candles", "-k", "trades")
    running = [load(*more, since=LATE) for _ in range(4)]

    # when again and again one is killed or put to sleep, and another comes
    for turn in range(2 * KILLS):
        time.sleep(chance.uniform(1.0, 4.0))
        victim = chance.randrange(len(running))
        if turn % 3 == 2:
            running[victim].send_signal(signal.SIGSTOP)
            time.sleep(LEASE_S + 1.5)
            running[victim].send_signal(signal.SIGCONT)
            continue
        running[victim].send_signal(signal.SIGKILL)
        finish(running[victim])
        running[victim] = load(*more, since=LATE)
    ended = [finish(one) for one in running]

    # then all is there, once
    assert [one.code for one in ended] == [0] * 4, [one.err for one in ended]
    symbols = ("BTC-USDT", "ETH-USDT")
    series = [candle_series("binance", one, Interval.M1) for one in symbols]
    trades = [Series("binance", one, Kind.TRADES) for one in symbols]
    asked = Range(to_us(LATE), to_us(UNTIL))
    asyncio.run(check(tmp_path, sim, *series, *trades, asked=asked))
