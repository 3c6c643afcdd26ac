"""Other people's clients on the simulator, moved there by URL alone, see the trades we see."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, Final

import ccxt.pro
import pytest
from sim_process import Sim, simulator
from stream_world import SYMBOL, Streamed, eventually, streaming

from zvt_crypto.core.record import Trade
from zvt_crypto.core.series import Kind, Series

# What stands in the client's URLs, and what takes its place: the address of the simulator.
_ROOTS: Final = {
    "binance": {"https://api.binance.com": "rest", "wss://stream.binance.com:9443": "stream"},
    "okx": {"https://{hostname}": "rest", "wss://ws.okx.com:443": "stream"},
    "bybit": {"https://api.{hostname}": "rest", "wss://stream.{hostname}": "stream"},
    "coinbase": {
        "https://api.coinbase.com": "rest",
        "wss://advanced-trade-ws.coinbase.com": "stream",
    },
}
_UNIFIED: Final = {
    "binance": "BTC/USDT", "okx": "BTC/USDT", "bybit": "BTC/USDT:USDT", "coinbase": "BTC/USD",
}  # fmt: skip
_WANTED: Final = 60


@pytest.fixture(scope="module")
def sim() -> Generator[Sim]:
    with simulator("--trades-per-day", "1000000") as running:
        yield running


def moved(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: moved(own, change) for name, own in value.items()}
    return change(value) if isinstance(value, str) else value


@asynccontextmanager
async def ccxt_client(sim: Sim, name: str) -> AsyncGenerator[Any]:
    exchange: Any = getattr(ccxt.pro, name)({"enableRateLimit": False, "newUpdates": True})
    exchange.has["fetchCurrencies"] = False
    rest = f"{sim.url}/{name}"
    places = {"rest": rest, "stream": rest.replace("http", "ws", 1)}

    def change(url: str) -> str:
        for root, role in _ROOTS[name].items():
            url = url.replace(root, places[role])
        return url

    exchange.urls["api"] = moved(exchange.urls["api"], change)
    if name == "binance":
        exchange.options["fetchMarkets"] = {"types": ["spot"]}
        # Our trades are its aggregate trades; by default ccxt watches the single fills.
        exchange.options["watchTrades"] = {"name": "aggTrade"}
    try:
        await exchange.load_markets()
        yield exchange
    finally:
        await exchange.close()


def ids_of(streamed: Streamed, series: Series) -> list[str]:
    return [str(r.trade_id) for r in streamed.seen.get(series, ()) if type(r) is Trade]


@pytest.mark.parametrize("name", sorted(_ROOTS))
async def test_ccxt_sees_the_trades_we_see(sim: Sim, name: str) -> None:
    series = Series(name, SYMBOL[name], Kind.TRADES)
    async with streaming(sim, [series]) as streamed, ccxt_client(sim, name) as exchange:
        await eventually(lambda: len(ids_of(streamed, series)) > 5, 40)
        # when ccxt watches beside us
        theirs: list[str] = []
        async with asyncio.timeout(60):
            while len(theirs) < _WANTED:
                trades = await exchange.watch_trades(_UNIFIED[name])
                theirs += [trade["id"] for trade in trades]
        await eventually(lambda: theirs[-1] in ids_of(streamed, series), 20)
        ours = ids_of(streamed, series)
    # then between its first and its last that we have, both have the same
    common = [one for one in theirs if one in set(ours)]
    assert len(common) > _WANTED // 2
    if name in ("binance", "okx"):  # single trades in order; okx's ccxt takes the merged channel
        first, last = ours.index(common[0]), ours.index(common[-1])
        missed = set(ours[first : last + 1]) - set(theirs)
        assert not missed or name == "okx"
    assert set(common) <= set(ours)


async def test_cryptofeed_sees_the_trades_we_see(sim: Sim) -> None:
    defines = pytest.importorskip("cryptofeed.defines")
    from cryptofeed.connection_handler import ConnectionHandler
    from cryptofeed.exchanges import Binance
    from cryptofeed.symbols import Symbols

    logging.getLogger("feedhandler").setLevel(logging.ERROR)
    series = Series("binance", "BTC-USDT", Kind.TRADES)
    info: Any = {"tick_size": {}, "instrument_type": {"BTC-USDT": "spot"}}
    Symbols.set(Binance.id, {"BTC-USDT": "BTCUSDT"}, info)
    theirs: list[str] = []

    async def on_trade(trade: Any, received: float) -> None:
        del received
        theirs.append(str(trade.id))

    feed: Any = Binance(
        symbols=["BTC-USDT"], channels=[defines.TRADES], callbacks={defines.TRADES: on_trade}
    )
    [(connection, subscribe, handler, authenticate)] = feed.connect()
    streams = connection.address.partition("?")[2]
    where = f"{sim.url}/binance".replace("http", "ws", 1)
    connection.address = f"{where}/stream?{streams}"
    runner = ConnectionHandler(connection, subscribe, handler, authenticate, 0, timeout=-1)
    async with streaming(sim, [series]) as streamed:
        await eventually(lambda: len(ids_of(streamed, series)) > 5, 40)
        runner.start(asyncio.get_running_loop())
        await eventually(lambda: len(theirs) > _WANTED, 60)
        seen = list(theirs)
        await eventually(lambda: seen[-1] in ids_of(streamed, series), 20)
        runner.running = False
        await connection.close()
        ours = ids_of(streamed, series)
    first, last = ours.index(seen[0]), ours.index(seen[-1])
    assert ours[first : last + 1] == seen
