"""Binance's market streams as a `StreamProtocol`: facts, topics, requests. Pure.

Sources: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams,
for the split of the futures host its notice "Important WebSocket Change Notice" (2026-03-06).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from zvt_crypto.connectors.binance.frame import BinanceParser
from zvt_crypto.connectors.binance.spec import BINANCE, NAME
from zvt_crypto.connectors.wire.topic import (
    batches,
    check_route,
    check_streamed,
    checked_hosts,
    host_urls,
)
from zvt_crypto.core.book import BookRule
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.stream import FrameParser, Request, Resolve, StreamLimits

SPOT: Final = "spot"
LINEAR_PUBLIC: Final = "linear_public"
LINEAR_MARKET: Final = "linear_market"
INVERSE: Final = "inverse"
ROUTES: Final = (SPOT, LINEAR_PUBLIC, LINEAR_MARKET, INVERSE)

HOSTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        # The mirror has spot market data only, and knows no regions.
        SPOT: (
            "wss://stream.binance.com:9443",
            "wss://stream.binance.com:443",
            "wss://data-stream.binance.vision",
        ),
        "linear": ("wss://fstream.binance.com",),
        INVERSE: ("wss://dstream.binance.com",),
    }
)
"""Base addresses per host, best first."""

ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        # Sources differ on the test host of futures: fstream.binancefuture.com in Binance's SDK,
        # demo-fstream.binance.com in NautilusTrader and the documentation of options.
        "testnet": {
            SPOT: "wss://stream.testnet.binance.vision",
            "linear": "wss://fstream.binancefuture.com",
        },
        "demo": {
            SPOT: "wss://demo-stream.binance.com",
            "linear": "wss://demo-fstream.binance.com",
        },
        "mirror": {SPOT: "wss://data-stream.binance.vision"},
    }
)
"""What replaces a host, by the names of `BINANCE.environments`; the other hosts stay."""

# Combined streams: every frame names its stream. Since 2026-04-23 the futures host acknowledges
# any stream on any path, and delivers it on the right one only.
_PLACES: Final = {
    SPOT: (SPOT, "/stream"),
    LINEAR_PUBLIC: ("linear", "/public/stream"),
    LINEAR_MARKET: ("linear", "/market/stream"),
    INVERSE: (INVERSE, "/stream"),
}

TOPICS_PER_CONNECTION: Final = 200
"""1024 are allowed; ccxt and NautilusTrader stop here too, and less is lost with a socket."""

TOPICS_PER_MESSAGE: Final = 200

DEPTHS: Final = (0, 5, 10, 20)

_DAY_S: Final = 86_400.0

# Both count pings, pongs and requests: 5 and 10 a second are allowed. New connections are limited
# to 300 in 5 minutes on spot; nothing is said of futures. Spot pings every 20 s, futures every
# 3 min, and the socket answers: a link on which not even a ping came is dead.
_SPOT_LIMITS: Final = StreamLimits(
    topics_per_connection=TOPICS_PER_CONNECTION,
    connections_per_window=300,
    connections_window_s=300.0,
    messages_per_s=4.0,
    silence_s=60.0,
    lifetime_s=_DAY_S,
)
_FUTURES_LIMITS: Final = msgspec.structs.replace(_SPOT_LIMITS, messages_per_s=8.0, silence_s=200.0)

_ON_PUBLIC: Final = (Kind.QUOTES, Kind.BOOK)
_STATUS_TOPIC: Final = "!contractInfo"


class BinanceProtocol:
    """Spot and USDⓈ-M streams; COIN-M (`inverse`) is read in recordings only."""

    def __init__(self, hosts: Mapping[str, str] | None = None, depth: int = 0) -> None:
        """Choose hosts and the kind of book.

        Args:
            hosts: base address that replaces `spot`, `linear` or `inverse`, without a path.
            depth: 0 streams changes of the whole book; 5, 10 or 20 snapshots of its top.

        Raises:
            NotSupported: there is no such host, or no such depth.
        """
        self._hosts = checked_hosts(NAME, HOSTS, hosts)
        if depth not in DEPTHS:
            raise NotSupported(NAME, f"book of {depth} levels", "0 (all), 5, 10 or 20 it has")
        self._book = f"depth{depth}@100ms" if depth else "depth@100ms"

    @property
    def exchange(self) -> str:
        """Name of the exchange."""
        return NAME

    def routes(self) -> Sequence[str]:
        """Return the names of all kinds of socket."""
        return ROUTES

    def route(self, series: Series, instrument: Instrument) -> str:
        """Return the socket kind of a series; futures have one for books, one for the rest.

        Raises:
            NotSupported: it is not streamed, with the reason.
        """
        kind = series.kind
        check_streamed(NAME, kind)
        if instrument.market is Market.INVERSE:
            raise NotSupported(NAME, f"stream of {series.symbol}", "COIN-M perpetuals are left out")
        if kind is Kind.OPEN_INTEREST:
            raise NotSupported(NAME, "stream of open interest", "only REST has it: it is polled")
        if instrument.market is Market.LINEAR:
            return LINEAR_PUBLIC if kind in _ON_PUBLIC else LINEAR_MARKET
        if kind in (Kind.TRADES, Kind.QUOTES, Kind.BOOK, Kind.CANDLES):
            return SPOT
        if kind is Kind.STATUS:
            raise NotSupported(
                NAME, "stream of spot statuses", "spot announces none: exchangeInfo tells"
            )
        raise NotSupported(NAME, f"{kind} of {series.symbol}", "only perpetuals have it")

    def topic(self, series: Series, instrument: Instrument) -> str:
        """Return the stream's name; mark price and funding share one, statuses share one.

        Raises:
            NotSupported: see `route`.
        """
        self.route(series, instrument)
        if series.kind is Kind.STATUS:
            return _STATUS_TOPIC
        if series.interval is not None:
            channel = f"kline_{BINANCE.intervals[series.interval]}"
        else:
            channel = {
                Kind.TRADES: "aggTrade",  # what REST and the archives have as trades
                Kind.QUOTES: "bookTicker",
                Kind.BOOK: self._book,
                Kind.MARK_PRICE: "markPrice@1s",
                Kind.FUNDING: "markPrice@1s",
                Kind.LIQUIDATIONS: "forceOrder",
            }[series.kind]
        return f"{instrument.native.lower()}@{channel}"

    def urls(self, route: str) -> Sequence[str]:
        """Return the addresses of a route, best first.

        Raises:
            NotSupported: there is no such route.
        """
        check_route(NAME, route, ROUTES)
        name, path = _PLACES[route]
        return host_urls(HOSTS, self._hosts, name, path)

    def limits(self, route: str) -> StreamLimits:
        """Return what Binance allows on a socket.

        Raises:
            NotSupported: there is no such route.
        """
        check_route(NAME, route, ROUTES)
        return _SPOT_LIMITS if route == SPOT else _FUTURES_LIMITS

    def subscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
        """Return the frames that subscribe these streams.

        An unknown stream is acknowledged too, and stays silent.
        """
        check_route(NAME, route, ROUTES)
        return _requests("SUBSCRIBE", topics, first_id)

    def unsubscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
        """Return the frames that end these streams."""
        check_route(NAME, route, ROUTES)
        return _requests("UNSUBSCRIBE", topics, first_id)

    def opening(self, route: str) -> Sequence[bytes]:
        """Return nothing: a new socket needs no greeting."""
        check_route(NAME, route, ROUTES)
        return ()

    def ping(self, route: str) -> bytes | None:
        """Return None: Binance pings, the socket answers."""
        check_route(NAME, route, ROUTES)

    @property
    def quotes_from_book(self) -> bool:
        """Return whether quotes are tops of the book: a channel has them."""
        return False

    @property
    def books_from_rest(self) -> bool:
        """Return whether a book begins with a REST snapshot."""
        return True

    @property
    def closes_candles(self) -> bool:
        """Return whether a candle's last push says that it is closed."""
        return True

    def book_rule(self, route: str) -> BookRule:
        """Return how the messages of a book follow one another."""
        return BookRule(overlaps=route == SPOT)

    def parser(self, route: str, resolve: Resolve, *, exact: bool = False) -> FrameParser:
        """Return a parser for one new connection."""
        check_route(NAME, route, ROUTES)
        return BinanceParser(route, resolve, exact=exact)

    def recorded_route(self, connection: str) -> str:
        """Return the route of a recorded connection; an undivided futures host is `public`."""
        if "dstream" in connection or "coinm" in connection:
            return INVERSE
        if "fstream" in connection or "futures" in connection or "binancefuture" in connection:
            return LINEAR_MARKET if "/market/" in connection else LINEAR_PUBLIC
        return SPOT


def _requests(method: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
    return tuple(
        Request(
            str(number),
            msgspec.json.encode({"method": method, "params": batch, "id": number}),
            batch,
        )
        for number, batch in enumerate(batches(topics, TOPICS_PER_MESSAGE), first_id)
    )
