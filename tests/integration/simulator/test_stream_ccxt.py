"""The stream client of others works against the simulator with nothing changed but the hosts."""

import asyncio
import re
from typing import Any

import ccxt.pro as ccxt
import pytest

from zvt_crypto.simulator.server import Simulator


def point_at(exchange: Any, sim: Simulator) -> None:
    """Replace scheme and host of every URL; the hosts of sockets stay as a part of the path."""
    name = exchange.id

    def swap(value: Any) -> Any:
        if not isinstance(value, str):
            return {own: swap(url) for own, url in value.items()}
        value = re.sub(r"^https://[^/]+", sim.venue_url(name), value)
        return re.sub(r"^wss://([^/:]+)(:\d+)?", rf"{sim.stream_url(name)}/\1", value)

    exchange.urls["api"] = swap(exchange.urls["api"])


@pytest.mark.parametrize("name", ["binance", "okx"])
@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT"])
async def test_ccxt_watches_trades_books_and_candles(
    busy: Simulator, name: str, symbol: str
) -> None:
    # given a ccxt client whose hosts are the simulator
    client: Any = getattr(ccxt, name)({"enableRateLimit": False})
    client.has["fetchCurrencies"] = False
    point_at(client, busy)
    try:
        async with asyncio.timeout(30):
            await client.load_markets()
            # when it watches what every client watches
            trades = await client.watch_trades(symbol)
            books = [await client.watch_order_book(symbol) for _ in range(20)]
            candles = await client.watch_ohlcv(symbol, "1m")
            ticker = await client.watch_ticker(symbol)
    finally:
        await client.close()

    # then it understands it all, and its book is whole
    assert trades[0]["symbol"] == symbol
    book = books[-1]
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(book["bids"]) >= 400
    assert candles[-1][2] >= candles[-1][3] > 0
    assert ticker["last"] > 0
