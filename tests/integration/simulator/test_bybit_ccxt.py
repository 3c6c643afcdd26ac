"""ccxt reads the simulated Bybit with nothing changed but the URL."""

import asyncio
from typing import Any

import ccxt.async_support as ccxt
import pytest
from bybit_client import DAY_MS, HOUR_MS, MINUTE_MS, START_MS

from zvt_crypto.simulator.server import Simulator


def point_at(exchange: Any, url: str) -> None:
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], url)


@pytest.mark.parametrize(
    ("symbol", "native"),
    [("BTC/USDT", "BTCUSDT"), ("BTC/USDT:USDT", "BTCUSDT"), ("BTC/USDC:USDC", "BTCPERP"),
     ("BTC/USD:BTC", "BTCUSD")],
)  # fmt: skip
async def test_ccxt_works_with_nothing_changed_but_the_url(
    sim: Simulator, symbol: str, native: str
) -> None:
    # given a ccxt client whose hosts are the simulator
    exchange: Any = ccxt.bybit({"enableRateLimit": False})
    point_at(exchange, sim.venue_url("bybit"))
    try:
        # when it asks for what every client asks for
        markets = await exchange.load_markets()
        candles = await exchange.fetch_ohlcv(symbol, "1m", since=START_MS + 1, limit=50)
        latest = await exchange.fetch_ohlcv(symbol, "1d", limit=5)
        trades = await exchange.fetch_trades(symbol, limit=20)
        book = await exchange.fetch_order_book(symbol, limit=5)
        ticker = await exchange.fetch_ticker(symbol)
        server_ms = await exchange.fetch_time()
        status = await exchange.fetch_status()

        # then everything is there and agrees with itself
        assert markets[symbol]["id"] == native
        assert sum(market["linear"] is True for market in markets.values()) > 520
        assert [row[0] for row in candles] == [START_MS + n * MINUTE_MS for n in range(1, 51)]
        assert [row[0] % DAY_MS for row in latest] == [0] * 5
        assert len(trades) == 20
        assert {trade["side"] for trade in trades} <= {"buy", "sell"}
        assert book["bids"][0][0] < book["asks"][0][0]
        assert len(book["bids"]) == 5
        assert ticker["last"] > 0
        assert abs(server_ms - exchange.milliseconds()) < 5_000
        assert status["status"] == "ok"
        if markets[symbol]["swap"]:
            rates = await exchange.fetch_funding_rate_history(symbol, since=START_MS, limit=10)
            # ccxt asks for eleven settlements by its end; the venue serves the newest ten
            assert [rate["timestamp"] for rate in rates] == [
                START_MS + n * 8 * HOUR_MS for n in range(1, 11)
            ]
            current = await exchange.fetch_funding_rate(symbol)
            assert -0.01 < current["fundingRate"] < 0.01
            interest = await exchange.fetch_open_interest_history(symbol, "1h", limit=5)
            assert len(interest) == 5
        with pytest.raises(ccxt.BadRequest):
            await exchange.public_get_v5_market_kline({"symbol": "NOPE", "interval": "1"})
    finally:
        await exchange.close()
        await asyncio.sleep(0)
