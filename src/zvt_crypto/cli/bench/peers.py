"""The peers of the live benches, each over its own WebSocket client against the same sender.

cryptofeed is given its address and its snapshot by hand, because it insists on wss and on REST; its
connection, reading loop, message handler, book and callbacks are its own. ccxt.pro is pointed at
the sender by its `urls`; its markets and snapshot are given to it. Neither makes columns: objects
that reach a callback, or the return of a `watch_` call, are all that is asked of them.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from zvt_crypto.cli.bench.target import Lap, ask, waited
from zvt_crypto.cli.bench.wire import FrameSet
from zvt_crypto.core.errors import MissingExtra
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.series import Kind

CRYPTOFEED: Final = "cryptofeed"
CCXT: Final = "ccxt.pro"


# -- cryptofeed ------------------------------------------------------------------------------------


class _Rest:
    """Gives cryptofeed its snapshot."""

    def __init__(self, snapshot: Any) -> None:
        self._text = json.dumps(snapshot)

    async def read(self, address: str, **more: object) -> str:
        """Return the recorded snapshot, whatever is asked."""
        del address, more
        return self._text

    async def close(self) -> None:
        """Nothing is open."""


class _Counts:
    """How much reached cryptofeed's callbacks."""

    def __init__(self) -> None:
        self.trades = self.quotes = self.books = 0

    async def on_trade(self, trade: Any, received: float) -> None:
        del trade, received
        self.trades += 1

    async def on_quote(self, quote: Any, received: float) -> None:
        del quote, received
        self.quotes += 1

    async def on_book(self, book: Any, received: float) -> None:
        del book, received
        self.books += 1

    @property
    def all(self) -> int:
        return self.trades + self.quotes + self.books


async def run_cryptofeed(frames: FrameSet, url: str) -> dict[str, float]:
    """Take all frames of a set once, to the callbacks.

    Raises:
        RuntimeError: not every message reached them.
    """
    try:
        from cryptofeed.connection_handler import ConnectionHandler  # noqa: PLC0415
        from cryptofeed.defines import L2_BOOK, TICKER, TRADES  # noqa: PLC0415
        from cryptofeed.exchanges import Binance, BinanceFutures  # noqa: PLC0415
        from cryptofeed.symbols import Symbols  # noqa: PLC0415
    except ImportError as e:
        raise MissingExtra("zvtc bench", "bench") from e
    logging.getLogger("feedhandler").setLevel(logging.ERROR)
    instrument = frames.instrument
    feed_class: Any = Binance if instrument.market is Market.SPOT else BinanceFutures
    info = {"tick_size": {}, "instrument_type": {instrument.symbol: str(instrument.market)}}
    Symbols.set(feed_class.id, {instrument.symbol: instrument.native}, info)
    counts = _Counts()
    callbacks = {TRADES: counts.on_trade, TICKER: counts.on_quote, L2_BOOK: counts.on_book}
    names = {Kind.TRADES: TRADES, Kind.QUOTES: TICKER, Kind.BOOK: L2_BOOK}
    channels = [names[Kind(kind)] for kind in frames.counts]
    feed = feed_class(symbols=[instrument.symbol], channels=channels, callbacks=callbacks)
    feed.http_conn = _Rest(frames.snapshot)
    [(connection, subscribe, handler, authenticate)] = feed.connect()
    streams = connection.address.partition("?")[2]
    connection.address = f"ws://{url}/stream?{streams}"
    runner = ConnectionHandler(connection, subscribe, handler, authenticate, 0, timeout=-1)
    runner.start(asyncio.get_running_loop())
    await waited(lambda: connection.is_open, "cryptofeed to connect")
    await asyncio.sleep(0.05)
    wanted = sum(frames.counts.values()) + (Kind.BOOK in frames.counts)
    taken = Lap()
    await ask(url, "/go")
    await waited(lambda: counts.all >= wanted, "cryptofeed to take all frames")
    taken.end()
    runner.running = False
    await connection.close()
    if (counts.trades, counts.quotes) != tuple(
        frames.counts.get(kind, 0) for kind in (Kind.TRADES, Kind.QUOTES)
    ):
        raise RuntimeError(f"cryptofeed gave {counts.trades} trades and {counts.quotes} quotes")
    return taken.fields()


# -- ccxt.pro --------------------------------------------------------------------------------------


async def run_ccxt(frames: FrameSet, url: str) -> dict[str, float]:
    """Take all frames of a set once; trades it gives back are counted, it may drop some.

    Raises:
        RuntimeError: it did not read all of them.
    """
    try:
        import ccxt.pro  # noqa: PLC0415
    except ImportError as e:
        raise MissingExtra("zvtc bench", "bench") from e
    instrument = frames.instrument
    is_spot = instrument.market is Market.SPOT
    made: Any = ccxt.pro.binance if is_spot else ccxt.pro.binanceusdm
    exchange = made({"newUpdates": True})
    symbol = "BTC/USDT" if is_spot else "BTC/USDT:USDT"
    exchange.set_markets([_market(exchange, instrument.native, symbol, is_spot=is_spot)])
    base = f"ws://{url}/stream" if is_spot else f"ws://{url}/ws"
    exchange.urls["api"]["ws"]["spot" if is_spot else "linear"] = base

    async def snapshot(symbol: str, limit: Any = None, params: Any = None) -> Any:
        del limit, params
        book = exchange.parse_order_book(frames.snapshot, symbol, None, "bids", "asks")
        return book | {"nonce": frames.snapshot["lastUpdateId"]}

    exchange.fetch_rest_order_book_safe = snapshot
    read, given = _counted(exchange), [0]
    watchers = {
        Kind.TRADES: lambda: exchange.watch_trades(symbol),
        Kind.QUOTES: lambda: exchange.watch_bids_asks([symbol]),
        Kind.BOOK: lambda: exchange.watch_order_book(symbol),
    }
    tasks = [asyncio.ensure_future(_watch(watchers[Kind(kind)], given)) for kind in frames.counts]
    try:
        await waited(lambda: read[0] >= len(tasks), "ccxt.pro to subscribe")
        await asyncio.sleep(0.2)
        before = read[0]
        taken = Lap()
        await ask(url, "/go")
        await waited(lambda: read[0] - before >= len(frames.frames), "ccxt.pro to take all frames")
        taken.end()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await exchange.close()
    return taken.fields() | {"given": given[0]}


def _counted(exchange: Any) -> list[int]:
    """Count the messages ccxt handles."""
    read, handle = [0], exchange.handle_message

    def handle_message(client: Any, message: Any) -> None:
        handle(client, message)
        read[0] += 1

    exchange.handle_message = handle_message
    return read


async def _watch(watch: Callable[[], Any], given: list[int]) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            found = await watch()
            given[0] += len(found) if isinstance(found, list) else 1


def _market(exchange: Any, native: str, symbol: str, *, is_spot: bool) -> Any:
    return exchange.safe_market_structure(
        {
            "id": native,
            "lowercaseId": native.lower(),
            "symbol": symbol,
            "base": "BTC",
            "quote": "USDT",
            "settle": None if is_spot else "USDT",
            "baseId": "BTC",
            "quoteId": "USDT",
            "settleId": None if is_spot else "USDT",
            "type": "spot" if is_spot else "swap",
            "spot": is_spot,
            "swap": not is_spot,
            "margin": False,
            "future": False,
            "option": False,
            "active": True,
            "contract": not is_spot,
            "linear": None if is_spot else True,
            "inverse": None if is_spot else False,
            "contractSize": None if is_spot else 1.0,
            "precision": {"price": 0.01, "amount": 0.001},
            "limits": {},
            "info": {},
        }
    )
