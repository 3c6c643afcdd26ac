"""A stream that is killed at any moment keeps what it called durable, and catches up."""

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from sim_process import Sim, simulator
from store_place import on_server, store_at
from stream_world import (
    ALWAYS,
    SYMBOL,
    check_stored,
    check_trades,
    eventually,
    streaming,
    until_whole,
)

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Store
from zvt_crypto.settings import load_settings
from zvt_crypto.simulator.stream.registry import STREAMS

KILLS: Final = int(os.environ.get("ZVTC_TEST_KILLS", "3"))
WITHIN_S: Final = 60
# Small, so that a store that is full for seconds already makes rows go.
PENDING: Final = 150
CHILD: Final = Path(__file__).parents[1] / "support" / "stream_child.py"
STREAMED: Final = tuple(stream.name for stream in STREAMS)
SERIES: Final = [
    Series(exchange, symbol, Kind.TRADES)
    for exchange in STREAMED
    for symbol in (SYMBOL[exchange], SYMBOL[exchange].replace("BTC", "ETH"))
]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "1000000") as running:
        yield running


def name_of(series: Series) -> str:
    return f"{series.exchange}:{series.symbol}"


@dataclass
class Child:
    """A streaming process, what it said, and what it called durable."""

    process: "subprocess.Popen[str]"
    said: "queue.Queue[dict[str, Any] | None]" = field(
        default_factory=queue.Queue[dict[str, Any] | None]
    )
    durable: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    commits: int = 0

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # the last line of one that was killed may be half a line
                self.said.put(json.loads(line))
        self.said.put(None)

    def wait_for(self, event: str, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Return the next of such an event, an empty one for `end`; fail when none comes in time.

        The time does not begin anew with each thing the process says.
        """
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                one = self.said.get(timeout=left_s)
            except queue.Empty:
                break
            if one is None:
                assert event == "end", f"the process ended before {event!r}"
                return {}
            if one["event"] == "committed":
                self.commits += 1
                self.durable.setdefault(one["series"], set()).update(one["ids"])
            if one["event"] == event:
                return one
        raise AssertionError(f"no {event!r} within {within_s} s")

    def commit_until(self, condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Wait until what was committed fulfils a condition; fail when it does not in time."""
        deadline = time.monotonic() + within_s
        while not condition():
            self.wait_for("committed", deadline - time.monotonic())

    def ask(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def state(self) -> dict[str, Any]:
        self.ask("state")
        return self.wait_for("state")


@contextmanager
def child(
    sim: Sim, store: Path, series: Sequence[Series], pending: int = 100_000
) -> Generator[Child]:
    names = map(name_of, series)
    command = [sys.executable, str(CHILD), sim.url, str(store), str(pending), *names]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        made = Child(process)
        reader = threading.Thread(target=made.read, daemon=True)
        reader.start()
        try:
            yield made
        finally:
            process.kill()
            reader.join(WITHIN_S)


def test_a_child_that_talks_on_is_waited_for_no_longer_than_said() -> None:
    talk = "import json, time\nwhile True:\n"
    talk += (
        " print(json.dumps({'event': 'committed', 'series': 'a:B', 'ids': ['1']}), flush=True)\n"
    )
    talk += " time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", talk], stdout=subprocess.PIPE, text=True) as one:
        # given a process that says the same thing for ever
        talking = Child(one)
        reader = threading.Thread(target=talking.read, daemon=True)
        reader.start()
        try:
            talking.wait_for("committed")

            # when something else is waited for, then that ends in time
            began = time.monotonic()
            with pytest.raises(AssertionError, match="no 'ended' within"):
                talking.wait_for("ended", 0.5)
            with pytest.raises(AssertionError, match="no 'committed' within"):
                talking.commit_until(lambda: len(talking.durable) > 1, 0.5)
            assert 1.0 <= time.monotonic() - began < 5.0
            assert talking.commits > 10
        finally:
            one.kill()
            reader.join(WITHIN_S)


async def ids_of(store: Store, series: Series) -> list[str]:
    rows = await store.read(series, ALWAYS)
    return rows.column("trade_id").to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "is_lossy",
    [pytest.param(False, marks=pytest.mark.campaign, id="clean"), pytest.param(True, id="lossy")],
)
def test_a_killed_stream_keeps_what_it_called_durable(
    sim: Sim, tmp_path: Path, *, is_lossy: bool
) -> None:
    # given a stream of thousands of trades a minute, of which some have to be repaired
    chance = Random(11)
    store = tmp_path / "lake"
    if is_lossy:
        sim.fault("ws_drop", probability=0.02)
    durable: dict[str, set[str]] = {name_of(one): set() for one in SERIES}

    # when it is killed at random moments, and started again
    for _ in range(KILLS):
        with child(sim, store, SERIES) as running:
            running.wait_for("started")
            commits = chance.randrange(0, 40)
            running.commit_until(lambda least=commits: running.commits >= least)
            time.sleep(chance.uniform(0.0, 0.3))  # the moment is the chance
            running.process.send_signal(signal.SIGKILL)
            running.wait_for("end")
        for name, ids in running.durable.items():
            durable[name] |= ids
    sim.heal()

    # then the next one catches up, and nothing that was durable is lost, nothing is twice
    count = asyncio.run(_last(sim, store, durable))
    told = {name: len(ids) for name, ids in durable.items()}
    sys.stdout.write(f"\nkills {KILLS}: durable before the last start {told}, checked {count}\n")


async def _last(sim: Sim, folder: Path, durable: dict[str, set[str]]) -> int:
    state = str(folder.with_suffix(".state"))
    async with streaming(sim, SERIES, store=store_at(folder), state_dir=state) as streamed:
        await eventually(lambda: all(one in streamed.seen for one in SERIES), WITHIN_S)
        await streamed.settled(WITHIN_S)
        store = streamed.platform.store
        await until_whole(store, SERIES, WITHIN_S)
        await streamed.settled(WITHIN_S)
        count = 0
        for series in SERIES:
            count += await check_trades(sim, streamed, series)
            ids = await ids_of(store, series)
            assert len(ids) == len(set(ids))
            lost = durable[name_of(series)] - set(ids)
            assert not lost, f"{series}: {len(lost)} durable trades are lost: {sorted(lost)[:5]}"
        assert list((await store.verify()).faults) == []
    return count


def test_a_stream_asked_to_stop_keeps_all_it_was_given(sim: Sim, tmp_path: Path) -> None:
    # given a stream under way
    store = tmp_path / "lake"
    with child(sim, store, SERIES) as running:
        running.commit_until(lambda: len(running.durable) == len(SERIES))

        # when it gets SIGTERM
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait_for("ended")
        running.wait_for("end")
        took = time.monotonic() - began

        # then it ends soon and in good order
        assert running.process.wait(10) == 0
        assert took < 10

    # and every trade a handler was given is durable
    asyncio.run(_check_ended(sim, store, ended["seen"]))


async def _check_ended(sim: Sim, folder: Path, seen: dict[str, list[str]]) -> None:
    given = {
        "store": store_at(folder),
        "sim": sim.url,
        "state_dir": str(folder.with_suffix(".state")),
    }
    async with Platform(load_settings(given, environ={}).settings) as platform:
        for series in SERIES:
            # Bybit's are claimed once they were audited, which may not have been yet.
            if series.exchange != "bybit" or await platform.store.coverage(series):
                await check_stored(sim, platform.store, series)
            lost = set(seen[name_of(series)]) - set(await ids_of(platform.store, series))
            assert not lost, f"{series}: {len(lost)} trades a handler saw are lost"
        assert list((await platform.store.verify()).faults) == []


@pytest.mark.skipif(on_server(), reason="the disk of a server is not its client's")
def test_a_full_disk_costs_no_trade(sim: Sim, tmp_path: Path) -> None:
    store = tmp_path / "lake"
    series = [one for one in SERIES if one.symbol == SYMBOL[one.exchange]]
    with child(sim, store, series, PENDING) as running:
        running.commit_until(lambda: len(running.durable) == len(series))
        before = running.state()["told"]["Trade"]

        # when no file may grow any more, for so long that rows have to go
        running.ask("limit", 4_000)
        most = 0
        deadline = time.monotonic() + WITHIN_S
        while not (state := running.state())["dropped"]:
            most = max(most, state["pending"])
            assert time.monotonic() < deadline, state
            time.sleep(0.05)

        # then the service says why, holds no more than it may, and handlers are served on
        assert "space" in state["failing"], state
        assert most < PENDING + 500
        assert state["told"]["Trade"] > before
        assert state["told"]["Gap"] >= 1

        # and once there is space again what was dropped is loaded
        running.ask("unlimit")
        deadline = time.monotonic() + WITHIN_S
        while state["failing"] or state["open"]:
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
            state = running.state()
        asyncio.run(_wait_in(store, sim, series))
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait_for("ended")
        running.wait_for("end")
    sys.stdout.write(
        f"\nfull disk: {ended['failures']} commits failed, {ended['dropped']} rows dropped, "
        f"at most {most} pending, told {ended['told']}\n"
    )
    asyncio.run(_check_whole(sim, store, series))


async def _wait_in(folder: Path, sim: Sim, series: Sequence[Series]) -> None:
    given = {
        "store": store_at(folder),
        "sim": sim.url,
        "state_dir": str(folder.with_suffix(".state")),
    }
    async with Platform(load_settings(given, environ={}).settings) as platform:
        await until_whole(platform.store, series, WITHIN_S)


async def _check_whole(sim: Sim, folder: Path, series: Sequence[Series]) -> None:
    given = {
        "store": store_at(folder),
        "sim": sim.url,
        "state_dir": str(folder.with_suffix(".state")),
    }
    async with Platform(load_settings(given, environ={}).settings) as platform:
        for one in series:
            await check_stored(sim, platform.store, one)
        assert list((await platform.store.verify()).faults) == []
