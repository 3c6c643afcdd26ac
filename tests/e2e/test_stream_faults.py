"""Live streams under every fault of a stream, on all four exchanges, judged by the market's truth.

For each fault: the store holds exactly the trades that happened, each once; the ledger explains all
time from the first claim to the last; the consumer saw every trade once; the book is the market's.
"""

import asyncio
from collections.abc import Generator, Iterator, Mapping, Sequence
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

from zvt_crypto.core.record import Gap, GapRepaired, Trade
from zvt_crypto.core.series import Kind, Series

# Beside messages that are lost, these leave trades out: what is wrong in them is refused.
_REFUSED: Final = frozenset({"ws_wrong_types", "ws_wrong_id"})
# Each leaves out messages of trades, or trades in them: two of every ten or so.
_DESTROYING: Final[dict[str, dict[str, object]]] = {
    "ws_drop": {}, "ws_corrupt": {}, "ws_invalid_utf8": {}, "ws_deep": {},
    "ws_wrong_types": {"what": "nan"}, "ws_wrong_id": {},
}  # fmt: skip
_US_PER_MS: Final = 1_000


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
        await eventually(lambda: all_repaired(streamed, trades), 60)
        check_order(streamed, trades)


async def test_each_trade_that_is_destroyed_on_its_way_is_told_as_a_gap(sim: Sim) -> None:
    try:
        async with asyncio.TaskGroup() as together:
            for exchange in EXCHANGES:
                if exchange != "bybit":  # whose ids do not show that a trade is lacking
                    together.create_task(_destroy(sim, exchange))
    finally:
        sim.heal()


async def _destroy(sim: Sim, exchange: str) -> None:
    trades = Series(exchange, SYMBOL[exchange], Kind.TRADES)
    began_us = sim.get("/_clock")["now_us"]
    async with streaming(sim, [trades]) as streamed:
        await eventually(lambda: seen(streamed, trades) > 10, 40)

        # when messages of its trades are lost or spoilt in every way, one after the other
        for kind, fields in _DESTROYING.items():
            since_us = sim.get("/_clock")["now_us"]
            fault = {"exchange": exchange, "channel": "trades", "every": 5, "count": 2, **fields}
            await asyncio.to_thread(sim.fault, kind, **fault)
            await eventually(lambda since=since_us: len(destroyed(sim, trades, since)) >= 2, 40)
            await asyncio.to_thread(take_back, sim, exchange)
        before = seen(streamed, trades)
        await eventually(lambda: seen(streamed, trades) > before + 20, 60)
        await streamed.settled(60)

        # then a gap was told over each of them, and all of it was repaired
        moments = destroyed(sim, trades, began_us)
        assert len(moments) >= 2 * len(_DESTROYING)
        check_told(streamed, trades, moments)
        check_order(streamed, trades)
        await eventually(lambda: all_repaired(streamed, trades), 60)
        await check_trades(sim, streamed, trades)


def all_repaired(streamed: Streamed, series: Series) -> bool:
    """Return whether each gap that was told was repaired; the market goes on meanwhile."""
    told, repaired, lost = gaps_of(streamed, series)
    assert lost == 0, streamed.seen[series]
    return told == repaired


def seen(streamed: Streamed, series: Series) -> int:
    return sum(type(record) is Trade for record in streamed.seen.get(series, ()))


def destroyed(sim: Sim, series: Series, since_us: int) -> list[int]:
    """Return when the trades happened whose messages were kept from us since a moment.

    The simulator remembers what the faults of earlier cases did, too, and numbers faults anew once
    all are taken back.
    """
    query = f"exchange={series.exchange}&symbol={series.symbol}"
    hits = [
        one
        for one in sim.get(f"/_truth/injected?{query}")
        if one["at_us"] >= since_us
        and one["channel"].startswith("trades ")
        and (one["lost"] or one["kind"] in _REFUSED)
    ]
    return sorted({moment for one in hits for moment in (one["first_us"], one["last_us"])})


def check_told(streamed: Streamed, series: Series, moments: Sequence[int]) -> None:
    """Check that trades of these moments, which were kept from us, did not come back in silence.

    They are inside a gap that was told, or came between one and its repair: while a socket is
    silent a gap is told up to what is known then. Or the exchange itself repeated them.
    """
    records = streamed.seen[series]
    gaps = [(one.start, one.end) for one in records if isinstance(one, Gap)]
    explained = {
        one.ts_event for between in repairs(records) for one in between if isinstance(one, Trade)
    } | {one.ts_event for one in records if isinstance(one, Trade) and one.is_recap}
    for moment in moments:
        as_told = moment if series.exchange == "coinbase" else moment // _US_PER_MS * _US_PER_MS
        assert as_told in explained or any(start <= as_told < end for start, end in gaps), (
            f"{series}: a trade of {moment} was kept from us, and only {gaps} were told"
        )


def check_order(streamed: Streamed, series: Series) -> None:
    """Check that the trades of each gap were given after it, and before it was called repaired."""
    for between in repairs(streamed.seen[series]):
        trades = sum(isinstance(one, Trade) for one in between)
        assert trades >= between[-1].rows, f"{series}: {between[-1]} came before its trades"


def repairs(records: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield what the consumer was given from each gap to its repair, both included."""
    for after, repaired in enumerate(records):
        if isinstance(repaired, GapRepaired):
            before = next(
                at
                for at in range(after, -1, -1)
                if isinstance(records[at], Gap)
                and (records[at].start, records[at].end) == (repaired.start, repaired.end)
            )
            yield records[before : after + 1]


async def test_a_book_whose_snapshots_never_come_begins_with_one_of_rest(sim: Sim) -> None:
    series = Series("okx", SYMBOL["okx"], Kind.BOOK)
    sim.fault("ws_no_snapshot", exchange="okx")
    try:
        async with streaming(sim, [series]) as streamed:
            await check_book(sim, streamed, series)
    finally:
        sim.heal()
