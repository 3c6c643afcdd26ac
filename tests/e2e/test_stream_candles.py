"""Live candles on all four exchanges: stored as the exchange's, compared with the trades."""

import asyncio
import time
from collections.abc import Generator
from typing import Final

import pytest
from market_clock import MarketClock
from sim_process import Sim, simulator
from stream_world import EXCHANGES, SYMBOL, Streamed, eventually, streaming

from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind, Series, candle_series

# What goes wrong with the closing push; the others close in good order.
_FAULTS: Final = {"binance": "ws_late_close", "okx": "ws_revised_candle"}
_VALUES: Final = ("open", "high", "low", "close", "volume")


# How much faster than ours time goes in the default run, for the market and for the service.
_SPEED: Final = 3.0
_LEAD_S: Final = 20.0


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(_SPEED, id="fast"),
        pytest.param(1.0, id="real", marks=pytest.mark.campaign),
    ],
)
def sim(request: pytest.FixtureRequest) -> Generator[Sim]:
    """A market that is some seconds before a minute when it opens."""
    speed: float = request.param
    offset_s = 60.0 - _LEAD_S - time.time() % 60.0
    clock = ("--clock-offset", f"{offset_s:.3f}", "--clock-speed", f"{speed:g}")
    with simulator("--trades-per-day", "400000", *(clock if speed != 1.0 else ())) as running:
        yield running


@pytest.mark.slow
async def test_each_closed_candle_is_the_markets_and_agrees_with_its_trades(sim: Sim) -> None:
    for exchange, kind in _FAULTS.items():
        sim.fault(kind, exchange=exchange)
    try:
        async with asyncio.TaskGroup() as together:
            for exchange in EXCHANGES:
                together.create_task(watch(sim, exchange))
    finally:
        sim.heal()


async def watch(sim: Sim, exchange: str) -> None:
    symbol = SYMBOL[exchange]
    minutes = candle_series(exchange, symbol, Interval.M1)
    series = [
        Series(exchange, symbol, Kind.TRADES),
        minutes,
        candle_series(exchange, symbol, Interval.M5),
    ]
    fast = MarketClock.of(sim)
    clock = fast if fast.speed != 1.0 else None
    async with streaming(sim, series, clock=clock) as streamed:
        # given a stream that has seen one whole minute and the end of another
        await eventually(lambda: streamed.seen.get(series[0]), 60)
        await eventually(lambda: streamed.seen.get(series[0]), 60)
        began = streamed.service.now_us()
        first = Interval.M1.ceil(began)
        wanted = Range(first, first + US_PER_MINUTE)
        await eventually(lambda: streamed.service.now_us() > wanted.end, 125)
        # when its candle is there, however it came
        assert await whole(streamed, minutes, wanted), await streamed.platform.store.coverage(
            minutes
        )
        # then the trades agree with it, and it is the market's, value for value
        assert await agreed(streamed, minutes, wanted)
        rows = await streamed.platform.store.read(minutes, wanted)
        query = f"exchange={exchange}&symbol={symbol}&interval=1m&empty=1"
        told = await asyncio.to_thread(
            sim.get, f"/_truth/candles?{query}&start={wanted.start}&end={wanted.end}"
        )
        assert times(rows).tolist() == [one["open_time_us"] for one in told]
        for name in _VALUES:
            assert rows.column(name).to_pylist() == pytest.approx(
                [float(one[name]) for one in told], rel=1e-9
            )


async def whole(streamed: Streamed, series: Series, wanted: Range) -> bool:
    """Wait until the ledger holds all of a range."""
    for _ in range(400):
        await streamed.service.sink.commit()
        ledger = await streamed.platform.store.coverage(series, wanted)
        if ledger and all(entry.verdict is Verdict.OBSERVED for entry in ledger):
            return True
        await asyncio.sleep(0.1)
    return False


async def agreed(streamed: Streamed, series: Series, wanted: Range) -> bool:
    """Wait until the store says that the candle and its trades agree."""
    table = None
    for _ in range(400):
        await streamed.service.sink.commit()
        table = await streamed.platform.store.reconciliations(series, wanted)
        if table.column("verdict").to_pylist() == [Agreement.MATCH]:
            return True
        await asyncio.sleep(0.1)
    raise AssertionError(table.to_pylist() if table is not None else "no verdict")
