# pyright: reportPrivateUsage=false
"""Quiet or dead: a silent feed of a busy market is found out, a quiet market is left alone."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from sim_process import Sim, simulator
from stream_world import (
    ALWAYS,
    QUICK,
    SYMBOL,
    Streamed,
    check_trades,
    eventually,
    gaps_of,
    streaming,
)

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Gap, GapRepaired, Stale, Trade
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream import StreamConfig, Verdict
from zvt_crypto.simulator.stream.registry import STREAMS

STREAMED: Final = tuple(stream.name for stream in STREAMS)
WITHIN_S: Final = 45
FOUND_WITHIN_S: Final = 6.0
US_PER_S: Final = 1_000_000
HOUR_US: Final = 3_600 * US_PER_S
# Bybit's REST has no trades of an hour ago, and its ids do not count.
COUNTED: Final = tuple(name for name in STREAMED if name != "bybit")
# Deadlines of silence as they are in use; only what follows a verdict is quicker.
IN_USE: Final = StreamConfig()
CONFIG: Final = replace(
    QUICK,
    silent_after_s=IN_USE.silent_after_s,
    silent_factor=IN_USE.silent_factor,
    quiet_probe_s=IN_USE.quiet_probe_s,
    probes_per_s=IN_USE.probes_per_s,
    in_flight_s=IN_USE.in_flight_s,
)


class Lag:
    """How late this process's loop is at most: what a shared machine adds to every deadline."""

    def __init__(self) -> None:
        self.most_s = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.02
            await asyncio.sleep(0.02)
            self.most_s = max(self.most_s, loop.time() - due)


def records(streamed: Streamed, series: Series, kind: type[Any]) -> list[Any]:
    return [one for one in streamed.seen.get(series, ()) if type(one) is kind]


@pytest.fixture(scope="module")
def busy() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "400000") as running:
        yield running


async def test_one_silent_symbol_on_a_busy_socket_is_found(busy: Sim) -> None:
    async with asyncio.TaskGroup() as group:
        for exchange in STREAMED:
            group.create_task(_find_silent(busy, exchange))


async def _find_silent(busy: Sim, exchange: str) -> None:
    silent = Series(exchange, SYMBOL[exchange], Kind.TRADES)
    other = Series(exchange, SYMBOL[exchange].replace("BTC", "ETH"), Kind.TRADES)
    async with streaming(busy, [silent, other], config=CONFIG) as streamed:
        # given two busy symbols on one socket
        assert len(streamed.service.venues[exchange].pool.connections) == 1
        await eventually(lambda: all(len(streamed.seen.get(s, ())) > 15 for s in (silent, other)))
        lag = Lag()
        watching = asyncio.create_task(lag.watch())

        # when one of them goes silent while its market trades on
        told = {"kind": "ws_silent_symbol", "exchange": exchange, "symbol": silent.symbol}
        fault = busy.send("POST", "/_faults", told)[0]["id"]
        await eventually(lambda: records(streamed, silent, Stale))
        watching.cancel()
        (stale, *_) = records(streamed, silent, Stale)
        query = f"exchange={exchange}&kind=ws_silent_symbol"
        withheld = min(
            one["first_us"]
            for one in busy.get(f"/_truth/injected?{query}")
            if one["symbol"] == silent.symbol
        )
        took_s = (stale.ts_recv - withheld) / US_PER_S
        sys.stdout.write(
            f"\n{exchange}: stale {took_s:.2f} s after the first trade withheld, "
            f"the loop at most {lag.most_s:.2f} s late\n"
        )

        # then it was found in time, the other was not suspected, and nothing is lost
        assert 0 < took_s < FOUND_WITHIN_S + lag.most_s
        assert not records(streamed, other, Stale)
        busy.send("DELETE", f"/_faults/{fault}")
        (feed, *_) = (one for one in streamed.service.feeds() if one.series == silent)
        await eventually(lambda: feed.health.verdict is Verdict.LIVE)
        await streamed.settled(WITHIN_S)
        await check_trades(busy, streamed, silent)
        await check_trades(busy, streamed, other)


# Sockets that stay silent are found in a second, and replaced after 1, 2, 4, 4 ... seconds.
IMPATIENT: Final = replace(
    QUICK, silent_after_s=0.5, quiet_probe_s=1.0, move_first_s=1.0, move_cap_s=4.0
)
GIVEN_UP_WITHIN_S: Final = 40.0


@pytest.mark.slow
@pytest.mark.campaign
async def test_sockets_that_all_stay_silent_are_replaced_ever_more_rarely(busy: Sim) -> None:
    async with asyncio.TaskGroup() as group:
        for exchange in STREAMED:
            group.create_task(_stay_silent(busy, exchange))


async def _stay_silent(busy: Sim, exchange: str) -> None:
    series = Series(exchange, SYMBOL[exchange], Kind.TRADES)
    async with streaming(busy, [series], config=IMPATIENT) as streamed:
        # given a busy feed
        await eventually(lambda: len(streamed.seen.get(series, ())) > 15)
        (feed,) = streamed.service.feeds()
        opened = busy.stats(exchange)["stream"]["opened"]
        seen = len(records(streamed, series, Trade))

        # when its socket falls silent, and every other that takes its place
        told = {"kind": "ws_silent", "exchange": exchange}
        fault = busy.send("POST", "/_faults", told)[0]["id"]
        began = asyncio.get_running_loop().time()
        await eventually(lambda: feed.health._is_given_up, GIVEN_UP_WITHIN_S)
        verdicts: set[Verdict] = set()
        for _ in range(100):
            verdicts.add(feed.health.verdict)
            await asyncio.sleep(0.05)
        took_s = asyncio.get_running_loop().time() - began

        # then it is dialled for ever more rarely, called dead from then on, and told of once
        dialled = busy.stats(exchange)["stream"]["opened"] - opened
        assert 3 <= dialled <= 3 + took_s / IMPATIENT.move_cap_s
        assert verdicts == {Verdict.DEAD}
        assert len(records(streamed, series, Stale)) == 1
        # and REST brings the trades meanwhile
        assert len(records(streamed, series, Trade)) > seen + 20

        # and once sockets speak again it lives, and nothing is lost
        busy.send("DELETE", f"/_faults/{fault}")
        await eventually(lambda: feed.health.verdict is Verdict.LIVE)
        await streamed.settled(WITHIN_S)
        await check_trades(busy, streamed, series)
        sys.stdout.write(f"\n{exchange}: {dialled} dials in {took_s:.0f} s of silence\n")


async def test_a_wedged_socket_is_replaced_once_with_all_its_topics() -> None:
    with simulator("--trades-per-day", "400000", "--extra-coins", "10") as sim:
        async with asyncio.TaskGroup() as group:
            for exchange in STREAMED:
                group.create_task(_wedge(sim, exchange))


async def _wedge(sim: Sim, exchange: str) -> None:
    names = [SYMBOL[exchange], SYMBOL[exchange].replace("BTC", "ETH")]
    if exchange != "bybit":  # its crowd has no perpetuals, and each market has a socket of its own
        quote = SYMBOL[exchange].split("-")[1]
        names += [f"X{number:04}-{quote}" for number in range(1, 11)]
    crowd = [Series(exchange, name, Kind.TRADES) for name in names]
    async with streaming(sim, crowd, config=replace(CONFIG, probes_per_s=4.0)) as streamed:
        # given feeds of two busy markets and of some quiet ones on one socket
        pool = streamed.service.venues[exchange].pool
        busiest = crowd[0]
        await eventually(lambda: len(streamed.seen.get(busiest, ())) > 15)
        (socket,) = pool.connections
        opened = sim.stats(exchange)["stream"]["opened"]

        # when that one socket falls silent as a whole
        before_us = streamed.service.now_us()
        sim.fault("ws_silent", exchange=exchange, count=1)
        await eventually(lambda: socket.opened_us > before_us)

        # then it was found by some of them, and one new connection is made, with all of them
        assert any(records(streamed, one, Stale) for one in crowd)
        feeds = streamed.service.feeds()
        busy = [feed for feed in feeds if feed.series in crowd[:2]]
        await eventually(lambda: all(one.health.heard_us > socket.opened_us for one in busy))
        await streamed.settled(WITHIN_S)
        assert pool.connections == [socket]
        # One that is being renewed is out for a moment.
        topics = {feed.place.topic for feed in feeds}
        await eventually(lambda: socket.active == topics)
        stats = sim.stats(exchange)["stream"]
        assert stats["opened"] - opened == 1
        assert stats["violations"] == {}
        # and nothing is lost
        for series in crowd[:2]:
            await check_trades(sim, streamed, series)


@pytest.mark.slow
async def test_a_quiet_symbol_is_not_called_stale() -> None:
    # given symbols that trade once a minute or so
    with simulator("--limits", "off", "--trades-per-day", "1500") as sim:
        await _watch_quiet(sim, seconds=12.0)


@pytest.mark.campaign
async def test_a_quiet_symbol_is_not_called_stale_for_minutes() -> None:
    with simulator("--limits", "off", "--trades-per-day", "1500") as sim:
        await _watch_quiet(sim, seconds=180.0)


async def _watch_quiet(sim: Sim, seconds: float) -> None:
    wanted = [
        Series(exchange, symbol, Kind.TRADES)
        for exchange in STREAMED
        for symbol in (SYMBOL[exchange], SYMBOL[exchange].replace("BTC", "ETH"))
    ]
    async with streaming(sim, wanted, config=CONFIG) as streamed:
        began = asyncio.get_running_loop().time()
        probes = streamed.service.watch._probes
        await eventually(lambda: asyncio.get_running_loop().time() - began > seconds, seconds + 10)

        # then silence was looked into, and found to be the market's
        assert all(probes[exchange].asked >= 2 for exchange in STREAMED)
        for feed in streamed.service.feeds():
            seen = streamed.seen.get(feed.series, ())
            assert not [one for one in seen if type(one) in (Stale, Gap, GapRepaired)], feed.series
            assert feed.health.verdict in (Verdict.QUIET, Verdict.LIVE), feed.series
            assert feed.gap is None
        # Chosen before the commit: what comes while it is made is not in it. Claims reach from one
        # moment with a trade to the next.
        moments = {
            one: {r.ts_event for r in streamed.seen.get(one, ()) if type(r) is Trade}
            for one in wanted
        }
        traded = [one for one in wanted if len(moments[one]) > 1]
        assert await streamed.service.sink.commit()
        for series in traded:
            async with asyncio.timeout(WITHIN_S):
                # Bybit's are claimed once REST has been asked whether any lack.
                while not await streamed.platform.store.coverage(series):
                    await asyncio.sleep(0.2)
                    assert await streamed.service.sink.commit()
            await check_trades(sim, streamed, series)
        asked = {exchange: probes[exchange].asked for exchange in STREAMED}
        sys.stdout.write(f"\n{seconds:.0f} s: probes {asked}, {len(traded)} series traded\n")


async def test_an_hour_without_a_trade_is_no_gap() -> None:
    with simulator("--limits", "off", "--trades-per-day", "500000") as sim:
        async with asyncio.TaskGroup() as group:
            for exchange in COUNTED:
                group.create_task(_rest_for_an_hour(sim, exchange))


async def _rest_for_an_hour(sim: Sim, exchange: str) -> None:
    series = Series(exchange, SYMBOL[exchange], Kind.TRADES)
    config = replace(CONFIG, silent_after_s=1.0)
    async with streaming(sim, [], config=config) as streamed:
        # given a store that ends where a market fell silent an hour ago, and rests for seconds yet
        now_us = sim.get("/_clock")["now_us"]
        silent_us, wakes_us = now_us - HOUR_US, now_us + 8 * US_PER_S
        sim.fault("outage", exchange=exchange, start=silent_us, end=wakes_us)
        before = Range(silent_us - 30 * US_PER_S, silent_us + US_PER_S)
        await streamed.platform.loader.fill(series, before, again=False)
        assert (await streamed.platform.store.read(series, ALWAYS)).num_rows > 50

        # when it is streamed until it trades again
        await streamed.service.add([series])
        await eventually(lambda: len(streamed.seen.get(series, ())) > 20)

        # then nothing is missing, nothing was stale, and the whole hour is known
        assert not records(streamed, series, Stale)
        assert gaps_of(streamed, series) == (0, 0, 0)
        await streamed.settled(WITHIN_S)
        await check_trades(sim, streamed, series)
        ledger = await streamed.platform.store.coverage(series)
        assert ledger[0].start == before.start
        assert ledger[-1].end > wakes_us
