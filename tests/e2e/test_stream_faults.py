"""Live streams under every fault of a stream, on all four exchanges, judged by the market's truth.

For each fault: the store holds exactly the trades that happened, each once; the ledger explains all
time from the first claim to the last; the consumer saw every trade once; the book is the market's.
"""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from sim_process import Sim, simulator
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


@dataclass(frozen=True)
class Case:
    """One fault: when it begins, and what has to be seen of it."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    early: bool = False
    """In force before the first connection."""


CASES: Final = (
    Case("ws_drop", {"probability": 0.05}),
    Case("ws_duplicate", {"probability": 0.2}),
    Case("ws_reorder", {"probability": 0.1}),
    Case("ws_silent_symbol", {"for_s": 5}),
    Case("ws_sequence_jump", {"probability": 0.1}),
    Case("ws_corrupt", {"probability": 0.05}),
    Case("ws_giant", {"probability": 0.02}),
    Case("ws_invalid_utf8", {"probability": 0.05}),
    Case("ws_deep", {"probability": 0.02}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "nan"}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "negative"}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "null"}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "text"}),
    Case("ws_future_time", {"probability": 0.05}),
    Case("ws_wrong_id", {"probability": 0.01}),
    Case("ws_crossed_book", {"probability": 0.1}),
    Case("ws_book_reset"),
    Case("ws_disconnect", {"every": 60}),
    Case("ws_close", {"every": 80}),
    Case("ws_silent", {"for_s": 5, "every": 50, "count": 1}),
    Case("ws_half_open", {"every": 60, "count": 1}),
    Case("ws_slow", {"every": 50, "delay_s": 1, "count": 3}),
    Case("ws_lifetime", {"s": 3}, early=True),
    Case("ws_shutdown_notice", {"s": 2, "count": 4}, early=True),
    Case("ws_refuse", {"first": 2}, early=True),
    Case("ws_status", {"first": 2, "status": 503}, early=True),
    Case("ws_status", {"first": 2, "status": 429}, early=True),
    Case("ws_no_ack", early=True),
    Case("ws_error_ack", {"first": 1}, early=True),
    Case("ws_no_snapshot", {"first": 2}, early=True),
    Case("ws_late_snapshot", {"first": 2}, early=True),
    Case("ws_stale_snapshot", {"first": 2}, early=True),
    Case("http_5xx", {"probability": 0.3}),
)
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


@pytest.mark.parametrize("case", CASES, ids=name)
async def test_nothing_is_lost_and_nothing_is_twice(sim: Sim, case: Case) -> None:
    sim.send("POST", "/_stats/reset")
    try:
        async with asyncio.TaskGroup() as together:
            for exchange in EXCHANGES:
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


def take_back(sim: Sim, exchange: str) -> None:
    """Take back the faults of one exchange."""
    for one in sim.get("/_faults"):
        if one.get("exchange") == exchange:
            sim.send("DELETE", f"/_faults/{one['id']}")


def injected(sim: Sim, exchange: str, series: Series) -> list[Any]:
    """Return the faults that hit trades of one series."""
    told = sim.get(f"/_truth/injected?exchange={exchange}")
    return [
        one
        for one in told
        if one.get("symbol") == series.symbol and "rade" in str(one.get("topic", one))
    ]
