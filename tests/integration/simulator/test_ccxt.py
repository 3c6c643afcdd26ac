"""The public client of others works against the simulator with nothing changed but the hosts."""

import asyncio
import re
from typing import Any

import ccxt.async_support as ccxt
import pytest

from zvt_crypto.simulator.server import Simulator

MINUTE_MS = 60_000


def point_at(exchange: Any, url: str) -> None:
    """Replace scheme and host of every URL of a ccxt exchange."""

    def swap(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"^https://[^/]+", url, value)
        return {name: swap(own) for name, own in value.items()}

    exchange.urls["api"] = swap(exchange.urls["api"])


@pytest.mark.parametrize(
    ("name", "exchange", "symbol"),
    [
        ("binance", "binance", "BTC/USDT"),
        ("binance", "binance", "ETH/USDT:USDT"),
        ("binanceusdm", "binance", "BTC/USDT:USDT"),
        ("okx", "okx", "BTC/USDT"),
        ("okx", "okx", "BTC/USDT:USDT"),
        ("okx", "okx", "BTC/USD:BTC"),
    ],
)
async def test_ccxt_reads_markets_candles_trades_and_books(
    sim: Simulator, name: str, exchange: str, symbol: str
) -> None:
    # given a ccxt client whose hosts are the simulator
    client: Any = getattr(ccxt, name)({"enableRateLimit": False})
    point_at(client, sim.venue_url(exchange))
    try:
        # when it asks for what every client asks for
        markets = await client.load_markets()
        since = client.milliseconds() - 100 * MINUTE_MS
        candles = await client.fetch_ohlcv(symbol, "1m", since=since, limit=50)
        days = await client.fetch_ohlcv(symbol, "1d", limit=5)
        trades = await client.fetch_trades(symbol, limit=20)
        book = await client.fetch_order_book(symbol, limit=5)
        ticker = await client.fetch_ticker(symbol)
        server_ms = await client.fetch_time()

        # then everything is there and agrees with itself
        assert symbol in markets
        assert len(candles) == 50
        assert [row[0] for row in candles] == [
            candles[0][0] + n * MINUTE_MS for n in range(len(candles))
        ]
        assert all(
            row[3] <= min(row[1], row[4]) and row[2] >= max(row[1], row[4]) for row in candles
        )
        assert days[-1][0] % 86_400_000 == 0
        assert len(trades) == 20
        assert {trade["side"] for trade in trades} <= {"buy", "sell"}
        assert book["bids"][0][0] < book["asks"][0][0]
        assert ticker["last"] > 0
        assert abs(server_ms - client.milliseconds()) < 5_000
        if markets[symbol]["swap"]:
            rates = await client.fetch_funding_rate_history(symbol, limit=10)
            assert len(rates) == 10
            current = await client.fetch_funding_rate(symbol)
            assert -0.01 < current["fundingRate"] < 0.01
    finally:
        await client.close()
        await asyncio.sleep(0)
