"""A stream service that is closed leaves nothing behind, whatever it was doing."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sim_process import Sim, simulator
from stream_world import SYMBOL, eventually, streaming

from zvt_crypto.core.record import Trade
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.simulator.stream.registry import STREAMS

STREAMED: Final = tuple(stream.name for stream in STREAMS)
SERIES: Final = [
    Series(exchange, SYMBOL[exchange], kind)
    for exchange in STREAMED
    for kind in (Kind.TRADES, Kind.BOOK)
]
TRADES: Final = [one for one in SERIES if one.kind is Kind.TRADES]
_RESOLVER: Final = "_run_safe_shutdown_loop"  # one thread of pycares, made with its first resolver
WITHIN_S: Final = 30


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "1000000") as running:
        yield running


def sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(one).startswith("socket:")  # noqa: PTH115 - it names no file
        except OSError:  # closed meanwhile
            continue
    return found


def threads() -> list[str]:
    """Return the threads of this process, without those the loop and the resolver keep for good."""
    names = (one.name for one in threading.enumerate())
    return sorted(
        name for name in names if not name.startswith("asyncio_") and _RESOLVER not in name
    )


def left() -> tuple[int, int, list[str]]:
    return len(asyncio.all_tasks()), sockets(), threads()


def open_at(sim: Sim) -> int:
    return sum(sim.stats(exchange)["stream"]["open"] for exchange in STREAMED)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="sockets are counted in /proc")
@pytest.mark.parametrize("times", [6, pytest.param(20, marks=pytest.mark.campaign)])
async def test_opened_and_closed_often_it_leaves_nothing(sim: Sim, times: int) -> None:
    # given what a process has that never streamed
    before = left()

    # when it streams from all exchanges and stops, again and again
    for _ in range(times):
        async with streaming(sim, SERIES) as streamed:
            await eventually(
                lambda: all(
                    any(type(one) is Trade for one in streamed.seen.get(series, ()))
                    for series in TRADES
                )
            )
            assert sockets() > before[1]

        # then no task, socket or thread is left, here or at the exchange
        await eventually(lambda: left() == before, within_s=WITHIN_S)
        await eventually(lambda: open_at(sim) == 0, within_s=WITHIN_S)


async def test_closed_in_the_middle_of_a_repair_it_ends_at_once(sim: Sim) -> None:
    before = len(asyncio.all_tasks())
    try:
        async with streaming(sim, TRADES) as streamed:
            service = streamed.service
            await eventually(lambda: len(streamed.seen) == len(TRADES))

            # given repairs under way that wait for an exchange that takes its time
            sim.fault("slow", delay_s=30.0)
            sim.fault("ws_disconnect", every=10, count=len(TRADES))
            pools = [venue.pool for venue in service.venues.values()]
            await eventually(
                lambda: (
                    service.mender.under_way
                    and all(one.is_open for pool in pools for one in pool.connections)
                )
            )

            # when it is closed
            began = time.monotonic()
            await service.close()
            took_s = time.monotonic() - began

            # then that takes no longer than a moment, and what came is stored
            assert took_s < 5
            assert service.mender.under_way == 0
            assert not any(feed.pending_rows for feed in service.feeds())
        sys.stdout.write(f"\nclosed in the middle of a repair in {took_s:.2f} s\n")
    finally:
        sim.heal()
    await eventually(lambda: len(asyncio.all_tasks()) == before, within_s=WITHIN_S)
