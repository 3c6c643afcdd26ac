"""Hundreds of series on as many connections as the limits ask, changed while they run."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest
from sim_process import Sim, simulator
from stream_world import SYMBOL, Streamed, check_trades, eventually, streaming

from zvt_crypto.core.record import Stale, Trade
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream.pool import Pool
from zvt_crypto.simulator.stream.registry import STREAMS

COUNT: Final = 500
WITHIN_S: Final = 60
STREAMED: Final = tuple(stream.name for stream in STREAMS)
# A symbol of a crowd is quiet: these are checked row by row, all of them by their ids.
CHECKED: Final = 12


def one_of(exchange: str) -> Any:
    """Return an exchange as a parameter: one in the default run, all in the campaign."""
    return pytest.param(exchange, marks=() if exchange == "okx" else pytest.mark.campaign)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--extra-coins", str(COUNT + 50), "--trades-per-day", "1000000") as running:
        yield running


def coins(exchange: str, first: int, count: int) -> list[Series]:
    quote = SYMBOL[exchange].split("-")[1]
    names = (f"X{number:04}-{quote}" for number in range(first, first + count))
    return [Series(exchange, name, Kind.TRADES) for name in names]


def is_subscribed(pool: Pool) -> bool:
    return all(
        one.is_open and one.ready.is_set() and one.active == set(one.topics)
        for one in pool.connections
    )


def ids_of(streamed: Streamed, series: Series) -> list[int | str]:
    return [one.trade_id for one in streamed.seen.get(series, ()) if type(one) is Trade]


def trades_in(streamed: Streamed, wanted: Sequence[Series]) -> int:
    return sum(len(ids_of(streamed, one)) for one in wanted)


def check_order(streamed: Streamed, wanted: Sequence[Series]) -> None:
    """Check that no trade between the first and the last seen is missing, or came twice."""
    for series in wanted:
        ids = ids_of(streamed, series)
        assert len(ids) == len(set(ids)), series
        if ids and isinstance(ids[0], int) and series.exchange != "bybit":
            assert ids == list(range(ids[0], ids[0] + len(ids))), series


def check_connections(pool: Pool, topics: int) -> None:
    for one in pool.connections:
        assert 0 < len(one.topics) <= one.limits.topics_per_connection
    assert sum(len(one.topics) for one in pool.connections) == topics


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [one_of(name) for name in STREAMED])
async def test_a_crowd_of_series_comes_and_goes(sim: Sim, exchange: str) -> None:
    sim.send("POST", "/_stats/reset")
    began = time.monotonic()
    all_of_them = coins(exchange, 1, COUNT)
    async with streaming(sim, all_of_them) as streamed:
        # given five hundred series, on as many connections as they need and no more
        service = streamed.service
        pool = service.venues[exchange].pool
        most = pool.connections[0].limits.topics_per_connection
        assert len(pool.connections) == math.ceil(COUNT / most)
        await eventually(lambda: is_subscribed(pool))
        took = time.monotonic() - began
        check_connections(pool, COUNT)
        await eventually(lambda: trades_in(streamed, all_of_them) > COUNT)

        # when every fifth goes, and others come, while the rest is streamed on
        gone = all_of_them[::5]
        come = coins(exchange, COUNT + 1, 50)
        stay = [one for one in all_of_them if one not in set(gone)]
        await service.remove(gone)
        await service.add(come)
        told = {one: len(streamed.seen.get(one, ())) for one in gone}
        await eventually(lambda: is_subscribed(pool))
        seen = trades_in(streamed, stay)
        await eventually(lambda: trades_in(streamed, stay) > seen + COUNT)
        await eventually(lambda: trades_in(streamed, come) > 20)

        # then those that stay lose nothing, those that went are not heard of again
        check_connections(pool, len(stay) + len(come))
        assert len(pool.connections) == math.ceil(COUNT / most)
        await eventually(lambda: not any(feed.gap for feed in service.feeds()), WITHIN_S)
        assert await service.sink.commit()
        check_order(streamed, [*stay, *come])
        assert {one: len(streamed.seen.get(one, ())) for one in gone} == told
        busiest = sorted(stay, key=lambda one: len(ids_of(streamed, one)))[-CHECKED:]
        # An audit of hundreds of series, the only proof of Bybit's, takes minutes.
        judged = [] if exchange == "bybit" else busiest
        checked = [await check_trades(sim, streamed, one) for one in judged]
        assert stale_in(streamed) == []

        # and the last to go closes the connections
        await service.set(stay[:1])
        await eventually(lambda: len(pool.connections) == 1)
        check_connections(pool, 1)
        await eventually(lambda: sim.stats(exchange)["stream"]["open"] == 1)
        await service.set([])
        await eventually(lambda: not pool.connections)
        await eventually(lambda: sim.stats(exchange)["stream"]["open"] == 0)

    # and the exchange had nothing to complain of
    stats = sim.stats(exchange)["stream"]
    assert stats["violations"] == {}
    assert stats["refused"] == {}
    sys.stdout.write(
        f"\n{exchange}: {COUNT} series on {math.ceil(COUNT / most)} connections, subscribed in "
        f"{took:.1f} s, {trades_in(streamed, stay)} trades of the {len(stay)} that stayed, "
        f"checked {sum(checked)}, opened {stats['opened']}\n"
    )


def stale_in(streamed: Streamed) -> list[Any]:
    return [one for seen in streamed.seen.values() for one in seen if type(one) is Stale]
