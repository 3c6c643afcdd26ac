"""Live streams under every fault of a stream, on all four exchanges, judged by the market's truth.

For each fault: the store holds exactly the trades that happened, each once; the ledger explains all
time from the first claim to the last; the consumer saw every trade once; the book is the market's.
"""

import asyncio
from collections.abc import Generator, Mapping
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

from zvt_crypto.core.record import Trade
from zvt_crypto.core.series import Kind, Series

# With these, nothing is sent wrong that could show in the trades: there need be no gap.
_TOUCHES_IDS: Final = frozenset({"ws_drop"})


@pytest.fixture(scope="module")
def sim() -> Generator[Sim]:
    """One busy market for all cases; each takes its fault back."""
    with simulator("--trades-per-day", "1000000") as running:
        yield running


def wanted(exchange: str) -> list[Series]:
    symbol = SYMBOL[exchange]
    return [Series(exchange, symbol, kind) for kind in (Kind.TRADES, Kind.BOOK)]


def name(case: Case) -> str:
    what = case.fields.get("what") or case.fields.get("status") or ""
    return f"{case.kind}-{what}".rstrip("-")


# Each fault once, four at a time, each on another exchange.
_TURNS: Final = [
    {EXCHANGES[(at + turn) % len(EXCHANGES)]: case for at, case in enumerate(part)}
    for turn, part in enumerate(
        CASES[start : start + len(EXCHANGES)] for start in range(0, len(CASES), len(EXCHANGES))
    )
]


@pytest.mark.parametrize(
    "cases", _TURNS, ids=lambda cases: "+".join(name(case) for case in cases.values())
)
async def test_nothing_is_lost_and_nothing_is_twice(sim: Sim, cases: dict[str, Case]) -> None:
    await judge_together(sim, cases)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES, ids=name)
async def test_no_exchange_loses_anything(sim: Sim, case: Case) -> None:
    await judge_together(sim, dict.fromkeys(EXCHANGES, case))


async def judge_together(sim: Sim, cases: Mapping[str, Case]) -> None:
    try:
        async with asyncio.TaskGroup() as together:
            for exchange, case in cases.items():
                together.create_task(judge(sim, exchange, case))
    finally:
        sim.heal()


async def judge(sim: Sim, exchange: str, case: Case) -> None:
    series = wanted(exchange)
    trades = series[0]
    fault = {"exchange": exchange, **case.fields}
    if case.kind == "ws_silent_symbol":
        fault["symbol"] = SYMBOL[exchange]
    if case.early:
        await asyncio.to_thread(sim.fault, case.kind, **fault)
    async with streaming(sim, series) as streamed:
        # given a feed that runs, or one that has trouble to begin
        await eventually(lambda: seen(streamed, trades) > 10, 40)
        if not case.early:
            await asyncio.to_thread(sim.fault, case.kind, **fault)
            if case.kind == "http_5xx":
                await asyncio.to_thread(sim.fault, "ws_drop", exchange=exchange, probability=0.05)
        # when the fault has had its time, and is over
        before = seen(streamed, trades)
        await asyncio.sleep(5)
        await asyncio.to_thread(take_back, sim, exchange)
        await eventually(lambda: seen(streamed, trades) > before + 20, 60)
        await streamed.settled(60)
        # then store, ledger, consumer and book agree with the market
        assert await check_trades(sim, streamed, trades) > 20
        await check_book(sim, streamed, series[1])
        told, repaired, lost = gaps_of(streamed, trades)
        assert lost == 0, streamed.seen[trades]
        assert told == repaired
        if case.kind in _TOUCHES_IDS and exchange != "bybit" and injected(sim, exchange, trades):
            assert told > 0


def seen(streamed: Streamed, series: Series) -> int:
    return sum(type(record) is Trade for record in streamed.seen.get(series, ()))


def injected(sim: Sim, exchange: str, series: Series) -> list[Any]:
    """Return the faults that hit trades of one series."""
    told = sim.get(f"/_truth/injected?exchange={exchange}")
    return [
        one
        for one in told
        if one.get("symbol") == series.symbol and "rade" in str(one.get("topic", one))
    ]


async def test_a_book_whose_snapshots_never_come_begins_with_one_of_rest(sim: Sim) -> None:
    series = Series("okx", SYMBOL["okx"], Kind.BOOK)
    sim.fault("ws_no_snapshot", exchange="okx")
    try:
        async with streaming(sim, [series]) as streamed:
            await check_book(sim, streamed, series)
    finally:
        sim.heal()
