"""ccxt's streaming clients read Bybit's and Coinbase's sockets with nothing changed but the URL."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import ccxt.pro as ccxt
import pytest

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

WITHIN_S = 20


def moved(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: moved(own, change) for name, own in value.items()}
    return change(value) if isinstance(value, str) else value


@asynccontextmanager
async def client_of(name: str, rest: str, stream: str) -> AsyncGenerator[Any]:
    """Run a client whose hosts are a simulator's."""
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=400_000, exchanges=(name,))
    async with Simulator(config) as sim:
        exchange: Any = getattr(ccxt, name)({"enableRateLimit": False})

        def change(url: str) -> str:
            return url.replace(rest, sim.venue_url(name)).replace(stream, sim.stream_url(name))

        exchange.urls["api"] = moved(exchange.urls["api"], change)
        try:
            async with asyncio.timeout(WITHIN_S * 3):
                await exchange.load_markets()
            yield exchange
        finally:
            await exchange.close()


async def watch_book(exchange: Any, symbol: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        for _ in range(10):
            book = await exchange.watch_order_book(symbol)
            assert book["bids"][0][0] < book["asks"][0][0]


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"])
async def test_ccxt_follows_bybit(symbol: str) -> None:
    async with client_of("bybit", "https://api.{hostname}", "wss://stream.{hostname}") as exchange:
        async with asyncio.timeout(WITHIN_S):
            trades = await exchange.watch_trades(symbol)
            ticker = await exchange.watch_ticker(symbol)
            [candle, *_] = await exchange.watch_ohlcv(symbol, "1m")
            known = await exchange.fetch_trades(symbol, limit=60)
        await watch_book(exchange, symbol)
    assert {trade["id"] for trade in trades} & {trade["id"] for trade in known}
    assert ticker["last"] > 0
    assert (ticker["bid"] is None) is (":" not in symbol)
    assert candle[0] % 60_000 == 0
    assert candle[3] <= candle[4] <= candle[2]


async def test_ccxt_follows_coinbase() -> None:
    async with client_of(
        "coinbase", "https://api.coinbase.com", "wss://advanced-trade-ws.coinbase.com"
    ) as exchange:
        async with asyncio.timeout(WITHIN_S):
            trades = await exchange.watch_trades("BTC/USD")
            ticker = await exchange.watch_ticker("BTC/USD")
            known = await exchange.fetch_trades("BTC/USD", limit=500)
        await watch_book(exchange, "BTC/USD")
    assert {trade["id"] for trade in trades} <= {trade["id"] for trade in known}
    assert ticker["bid"] < ticker["ask"]
