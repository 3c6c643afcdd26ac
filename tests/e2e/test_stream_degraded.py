# pyright: reportPrivateUsage=false
"""What suffers when a handler or the store is slow, and what does not; all of it is counted."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from sim_process import Sim, simulator
from stream_world import (
    QUICK,
    SYMBOL,
    Streamed,
    check_trades,
    eventually,
    gaps_of,
    streaming,
    until_whole,
)
from watched_store import watched

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.record import Trade
from zvt_crypto.core.series import Kind, Series

EXCHANGE: Final = "binance"
TRADES: Final = Series(EXCHANGE, SYMBOL[EXCHANGE], Kind.TRADES)
WITHIN_S: Final = 45


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "4000000") as running:
        yield running


def trades_seen(streamed: Streamed) -> int:
    return sum(type(one) is Trade for one in streamed.seen.get(TRADES, ()))


async def whole(sim: Sim, streamed: Streamed) -> int:
    """Check that nothing is lost once all is settled; return how many trades."""
    await until_whole(streamed.platform.store, [TRADES], WITHIN_S)
    await streamed.settled(WITHIN_S)
    return await check_trades(sim, streamed, TRADES)


async def test_a_slow_handler_that_may_lose_loses_alone(sim: Sim) -> None:
    handled: list[Any] = []

    async def slow(record: Any) -> None:
        await asyncio.sleep(0.2)
        handled.append(record)

    async with streaming(sim, [TRADES]) as streamed:
        # given a handler of five records a second, that may lose the oldest
        queue = streamed.service.on(slow, policy="drop_oldest", size=20)
        offered: list[Any] = []
        streamed.service.on(offered.append, policy="inline")

        # when there are many more
        await eventually(lambda: queue.dropped >= 50)

        # then each drop is counted, what it saw is in order, and nobody else lost any
        await asyncio.sleep(0)
        assert queue.handled + queue.dropped + len(queue) in (len(offered), len(offered) - 1)
        assert len(queue) <= 20
        ids = [one.trade_id for one in handled]
        assert ids == sorted(set(ids))
        assert not streamed.service.is_paused
        assert await whole(sim, streamed) > 50
        streamed.service.off(queue)


async def test_a_slow_handler_that_may_not_lose_makes_the_exchange_wait(sim: Sim) -> None:
    gate = asyncio.Event()
    handled: list[Any] = []

    async def stuck(record: Any) -> None:
        await gate.wait()
        handled.append(record)

    async with streaming(sim, [TRADES]) as streamed:
        # given a handler that stands still, and that may lose nothing
        queue = streamed.service.on(stuck, policy="block", size=30)
        first: list[Any] = []
        streamed.service.on(first.append, policy="inline")
        (connection,) = streamed.service.venues[EXCHANGE].pool.connections

        # when its queue is full
        await eventually(lambda: queue.is_full)
        frames, began = connection.stats.frames, time.monotonic()

        # then nothing is read any more: the exchange waits, memory stays as it is
        await eventually(lambda: time.monotonic() - began > 3.0)
        late = connection.stats.frames - frames
        held = len(queue)
        assert late <= 30, "frames were read while the handler stood still"
        # What was being read when it got full is handed over whole, and a frame may hold many.
        most = max(Counter(one.ts_recv for one in first if type(one) is Trade).values())
        assert held < 30 + most * (late + 1)

        # and when it goes on, no trade is missing anywhere
        gate.set()
        await eventually(lambda: connection.stats.frames > frames + late + 50)
        count = await whole(sim, streamed)
        await eventually(lambda: not queue.is_full)
        assert queue.dropped == queue.failed == 0
        await eventually(lambda: len(handled) >= len(first))
        ids = [one.trade_id for one in handled if type(one) is Trade]
        assert ids == list(range(int(ids[0]), int(ids[0]) + len(ids)))
        sys.stdout.write(
            f"\nblocked for 3 s: {held} waited, {late} frames read meanwhile, "
            f"{count} trades whole, gaps {gaps_of(streamed, TRADES)}\n"
        )


async def test_a_handler_that_raises_is_counted_and_given_the_next(sim: Sim) -> None:
    def broken(record: Any) -> None:
        raise RuntimeError(f"no use for {record}")

    async def broken_too(record: Any) -> None:
        raise RuntimeError(f"no use for {record}")

    async with streaming(sim, [TRADES]) as streamed:
        queues = [
            streamed.service.on(broken, policy="inline"),
            streamed.service.on(broken, policy="drop_oldest"),
            streamed.service.on(broken_too, policy="block"),
        ]
        await eventually(lambda: all(one.failed >= 20 for one in queues))
        assert [one.failed - one.handled for one in queues] == [0, 0, 0]
        assert [one.dropped for one in queues] == [0, 0, 0]
        assert await whole(sim, streamed) >= 20


async def test_a_handler_that_hangs_stops_nobody_else(sim: Sim) -> None:
    async def hangs(record: Any) -> None:
        del record
        await asyncio.Event().wait()

    async with streaming(sim, [TRADES]) as streamed:
        queue = streamed.service.on(hangs, policy="drop_oldest", size=10)
        await eventually(lambda: queue.dropped >= 50)
        assert queue.handled == 0
        assert len(queue) == 10
        seen = trades_seen(streamed)
        await eventually(lambda: trades_seen(streamed) >= seen + 20)
        assert await whole(sim, streamed) >= 50
        streamed.service.off(queue)


class _Outage:
    """A store that other writers hold while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.refused = 0

    def __call__(self) -> None:
        if self.is_on:
            self.refused += 1
            raise StoreBusy("memory://", 1.0)


@pytest.mark.parametrize("pending", [100_000, 60], ids=["all fits", "rows go"])
async def test_a_dead_store_costs_no_trade(sim: Sim, pending: int) -> None:
    outage = _Outage()
    config = replace(QUICK, pending_rows=pending)
    async with streaming(
        sim, [TRADES], config=config, over=lambda store: watched(store, before=outage)
    ) as streamed:
        (feed,) = streamed.service.feeds()
        await eventually(lambda: streamed.service.sink.rows > 20)

        # when the store takes nothing
        outage.is_on = True
        seen = trades_seen(streamed)
        most = 0

        def is_enough() -> bool:
            nonlocal most
            most = max(most, feed.pending_rows)
            enough = feed.counters.dropped_rows if pending == 60 else most > 100
            return bool(enough) and outage.refused > 1

        await eventually(is_enough)

        # then that is said, rows wait within bounds, handlers are served on
        assert "memory://" in streamed.service.sink.failing
        assert streamed.service.sink.failures > 0
        assert trades_seen(streamed) >= seen + 50
        assert most <= pending + 500

        # and once it is back nothing is missing
        outage.is_on = False
        await eventually(lambda: not streamed.service.sink.failing)
        count = await whole(sim, streamed)
        dropped = feed.counters.dropped_rows
        assert bool(dropped) == (pending == 60)
        sys.stdout.write(
            f"\ndead store: {outage.refused} commits refused, at most {most} rows waited, "
            f"{dropped} dropped, gaps {gaps_of(streamed, TRADES)}, {count} trades whole\n"
        )
