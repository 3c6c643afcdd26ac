"""ccxt pages the simulated exchanges by itself, and gets the rows our loader stores."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ccxt.async_support as ccxt
import numpy as np
import pytest
from fault_world import LONG_AGO, FaultWorld, fault_world
from sim_process import Sim, simulator

from zvt_crypto.core.column import times_of
from zvt_crypto.core.interval import US_PER_HOUR, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.services.loader import LoadRequest


@dataclass(frozen=True)
class Case:
    """One class of ccxt, and what it calls what we call `ours`."""

    name: str
    exchange: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("binance", "binance", "BTC/USDT", "BTC-USDT"),
    Case("binanceusdm", "binance", "BTC/USDT:USDT", "BTC-USDT-PERP"),
    Case("okx", "okx", "BTC/USDT", "BTC-USDT"),
    Case("bybit", "bybit", "BTC/USDT:USDT", "BTC-USDT-PERP"),
    Case("coinbase", "coinbase", "BTC/USD", "BTC-USD"),
]
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "8000") as running:
        yield running


@pytest.fixture
async def world(sim: Sim, tmp_path: Path) -> AsyncIterator[FaultWorld]:
    async with fault_world(sim, tmp_path) as opened:
        yield opened


def client_of(name: str, exchange: str, sim: Sim) -> Any:
    """Return a ccxt client with nothing changed but scheme and host of its URLs."""
    client: Any = getattr(ccxt, name)({"enableRateLimit": False})
    base = f"{sim.url}/{exchange}"

    def swap(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"^https://[^/]+", base, value)
        return {key: swap(own) for key, own in value.items()}

    client.urls["api"] = swap(client.urls["api"])
    return client


async def page_candles(client: Any, symbol: str, asked: Range) -> list[list[float]]:
    """Page as ccxt's manual says: on from the last candle, until the end."""
    rows: list[list[float]] = []
    since, end = asked.start // 1_000, asked.end // 1_000
    for _ in range(100):
        page = await client.fetch_ohlcv(symbol, "1m", since=since, limit=300)
        page = [row for row in page if since <= row[0] < end]
        if not page:
            # nothing in this stretch: on to the next, as long as there is one
            since += 300 * MINUTE_MS
        else:
            rows += page
            since = page[-1][0] + MINUTE_MS
        if since >= end:
            return rows
    raise AssertionError("ccxt never came to the end")


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_ccxt_and_the_loader_get_the_same_candles(
    sim: Sim, world: FaultWorld, case: Case
) -> None:
    asked = Range(LONG_AGO, LONG_AGO + 16 * US_PER_HOUR)
    client = client_of(case.name, case.exchange, sim)
    try:
        # when both page through the same hours
        markets = await client.load_markets()
        rows = await page_candles(client, case.theirs, asked)
    finally:
        await client.close()
        await asyncio.sleep(0)
    report = await world.platform.loader.load(
        [LoadRequest(case.exchange, case.ours, Kind.CANDLES, Interval.M1, asked.start, asked.end)]
    )

    # then they hold the same
    assert case.theirs in markets
    assert report.is_complete
    series = candle_series(case.exchange, case.ours, Interval.M1)
    table = await world.platform.store.read(series, asked)
    assert [row[0] * 1_000 for row in rows] == times_of(table).tolist()
    for place, column in enumerate(("open", "high", "low", "close"), start=1):
        assert [row[place] for row in rows] == table[column].to_pylist(), column
    volumes = [row[5] for row in rows]
    assert np.allclose(volumes, np.asarray(table["volume"]), rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_ccxt_and_the_loader_get_the_same_trades(
    sim: Sim, world: FaultWorld, case: Case
) -> None:
    # given the newest trades, which is all that some exchanges page
    client = client_of(case.name, case.exchange, sim)
    try:
        trades = await client.fetch_trades(case.theirs, limit=60)
        moments = [trade["timestamp"] for trade in trades]
        first, last = min(moments), max(moments)
        if case.exchange in ("binance", "coinbase"):
            # when ccxt pages on from there
            for _ in range(3):
                since = first - 600_000
                until = {"until": first} if case.exchange == "coinbase" else {}
                page = await client.fetch_trades(case.theirs, since, 60, until)
                trades = [*page, *trades]
                first = min(trade["timestamp"] for trade in page)
    finally:
        await client.close()
        await asyncio.sleep(0)
    asked = Range(first * 1_000, (last + 1) * 1_000)
    await world.platform.loader.load(
        [LoadRequest(case.exchange, case.ours, Kind.TRADES, None, asked.start, asked.end)]
    )

    # then every trade of ccxt is one of case.ours, side and size included
    table = await world.platform.store.read(Series(case.exchange, case.ours, Kind.TRADES), asked)
    held = {
        row["trade_id"]: (row["price"], round(row["size"], 9), row["side"])
        for row in table.to_pylist()
    }
    assert held
    shared = [trade for trade in trades if trade["id"] in held]
    assert len(shared) >= len(trades) // 2
    for trade in shared:
        size = trade["amount"] * (client.market(case.theirs).get("contractSize") or 1)
        side = trade["side"]
        if case.exchange == "coinbase":  # ccxt hands on the maker's side; ours is the taker's
            side = {"buy": "sell", "sell": "buy"}[side]
        assert held[trade["id"]] == (trade["price"], round(size, 9), side)
