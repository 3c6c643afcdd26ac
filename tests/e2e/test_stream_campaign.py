"""All faults of a stream in turn, on all four exchanges at once, over ten thousand trades each.

The order is drawn from a seed, another for each exchange. At the end the store equals the market,
trade for trade and candle for candle, and what was taken away on purpose is in the ledger as
repaired.
"""

import asyncio
import random
import time
from collections.abc import Generator
from typing import Any, Final

import pytest
from sim_process import Sim, simulator
from stream_cases import CASES, Case, take_back
from stream_world import (
    EXCHANGES,
    SYMBOL,
    Streamed,
    check_book,
    check_trades,
    eventually,
    gaps_of,
    streaming,
)

from zvt_crypto.core.interval import US_PER_S, Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind, Series, candle_series

_SEED: Final = 3
_TRADES: Final = 10_000
_FAULT_S: Final = 5.0
_PAUSE_S: Final = 2.0
_MOST_S: Final = 1_800.0
# Each takes the book or the socket away for good while it is there: they are followed by a pause.
_US_PER_MS: Final = 1_000
_VALUES: Final = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def sim() -> Generator[Sim]:
    with simulator("--trades-per-day", "5000000") as running:
        yield running


@pytest.mark.campaign
async def test_after_all_faults_the_store_is_the_market(sim: Sim) -> None:
    async with asyncio.TaskGroup() as together:
        running = [together.create_task(endure(sim, exchange)) for exchange in EXCHANGES]
    assert sum(task.result() for task in running) > 0


async def endure(sim: Sim, exchange: str) -> int:
    """Return how many messages of trades were dropped, and found in the ledger as repaired."""
    symbol = SYMBOL[exchange]
    trades = Series(exchange, symbol, Kind.TRADES)
    book = Series(exchange, symbol, Kind.BOOK)
    minutes = candle_series(exchange, symbol, Interval.M1)
    chance = random.Random(f"{_SEED} {exchange}")
    cases = list(CASES)
    chance.shuffle(cases)
    async with streaming(sim, [trades, book, minutes]) as streamed:
        await eventually(lambda: len(streamed.seen.get(trades, ())) > 10, 60)
        # given every fault, one after the other, and time for ten thousand trades
        end = time.monotonic() + _MOST_S
        while cases or count(streamed, trades) < _TRADES:
            assert time.monotonic() < end, f"{exchange}: {count(streamed, trades)} trades"
            case = cases.pop() if cases else chance.choice(CASES)
            await asyncio.to_thread(begin, sim, exchange, case)
            await asyncio.sleep(_FAULT_S)
            await asyncio.to_thread(take_back, sim, exchange)
            await asyncio.sleep(_PAUSE_S)
        # when all is over
        before = count(streamed, trades)
        await eventually(lambda: count(streamed, trades) > before + 50, 90)
        await streamed.settled(120)
        # then nothing is lost, nothing is twice, and the book is the market's
        assert await check_trades(sim, streamed, trades) > _TRADES
        await check_book(sim, streamed, book)
        told, repaired, lost = gaps_of(streamed, trades)
        assert told > 5
        assert lost == 0
        assert told == repaired
        await check_candles(sim, streamed, minutes)
        return await check_injected(sim, streamed, trades)


def begin(sim: Sim, exchange: str, case: Case) -> None:
    fault = {"exchange": exchange, **case.fields}
    if case.kind == "ws_silent_symbol":
        fault["symbol"] = SYMBOL[exchange]
    sim.fault(case.kind, **fault)
    if case.early:  # it is about connections that are being made
        sim.fault("ws_disconnect", exchange=exchange, first=2)


def count(streamed: Streamed, series: Series) -> int:
    return streamed.service.venues[series.exchange].feeds[series].counters.messages


async def check_candles(sim: Sim, streamed: Streamed, series: Series) -> None:
    """Check that every minute the ledger holds is the market's."""
    store = streamed.platform.store
    await streamed.service.sink.commit()
    held = [e for e in await store.coverage(series) if e.verdict is Verdict.OBSERVED]
    assert sum(entry.rows for entry in held) >= 2, held
    for entry in held:
        rows = await store.read(series, Range(entry.start, entry.end))
        query = f"exchange={series.exchange}&symbol={series.symbol}&interval=1m&empty=1"
        told = await asyncio.to_thread(
            sim.get, f"/_truth/candles?{query}&start={entry.start}&end={entry.end}"
        )
        assert times(rows).tolist() == [one["open_time_us"] for one in told]
        for name in _VALUES:
            assert rows.column(name).to_pylist() == pytest.approx(
                [float(one[name]) for one in told], rel=1e-9
            )


async def check_injected(sim: Sim, streamed: Streamed, series: Series) -> int:
    """Check that trades that were dropped lie in time the ledger calls repaired; count them."""
    told: list[dict[str, Any]] = await asyncio.to_thread(
        sim.get, f"/_truth/injected?exchange={series.exchange}&kind=ws_drop"
    )
    dropped = [
        one
        for one in told
        if one["symbol"] == series.symbol and "trade" in one["channel"].lower() and one["lost"]
    ]
    ledger = await streamed.platform.store.coverage(series)
    held = [e for e in ledger if e.verdict is Verdict.OBSERVED]
    repaired = [e.range for e in held if e.source is Source.REPAIR]
    assert repaired
    first, last = held[0].start, held[-1].end
    inside = [one for one in dropped if first < one["first_us"] < one["last_us"] + 1 < last]
    for one in inside:
        # The exchange tells whole milliseconds, all but one.
        exact = one["first_us"]
        at = exact if series.exchange == "coinbase" else exact // _US_PER_MS * _US_PER_MS
        near = [e for e in ledger if e.start <= at + US_PER_S and e.end > at - US_PER_S]
        assert any(part.start <= at < part.end for part in repaired), (one, near)
    return len(inside)
