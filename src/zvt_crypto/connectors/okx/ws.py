"""OKX's public and business sockets as a `StreamProtocol`: facts, topics, requests. Pure.

Sources: https://www.okx.com/docs-v5/en/#overview-websocket, and of each channel its own section.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from zvt_crypto.connectors.okx.frame import OkxParser
from zvt_crypto.connectors.okx.spec import NAME, OKX
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

PUBLIC: Final = "public"
BUSINESS: Final = "business"
ROUTES: Final = (PUBLIC, BUSINESS)

HOST: Final = "ws"
HOSTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    # Documented with port 8443; ccxt uses the same paths on 443, which more firewalls let through.
    {HOST: ("wss://ws.okx.com:8443", "wss://ws.okx.com")}
)
"""Base addresses, best first: one host for all routes."""

ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "openapi": {},  # another name of the same exchange
        "demo": {HOST: "wss://wspap.okx.com:8443"},
        "eea": {HOST: "wss://wseea.okx.com:8443"},
        "us": {HOST: "wss://wsus.okx.com:8443"},
    }
)
"""What replaces the host, by the names of `OKX.environments`; `demo` is one of sockets only."""

# Trades one by one and candles moved to the business socket in June 2023; asked for on the other
# one they are refused with 64001 or 60018.
_ON_BUSINESS: Final = (Kind.TRADES, Kind.CANDLES)
_CHANNELS: Final = {
    Kind.TRADES: "trades-all",  # every match, as history-trades; `trades` folds several
    Kind.QUOTES: "bbo-tbt",
    Kind.MARK_PRICE: "mark-price",
    Kind.FUNDING: "funding-rate",
    Kind.OPEN_INTEREST: "open-interest",
}
_BY_TYPE: Final = {Kind.LIQUIDATIONS: "liquidation-orders", Kind.STATUS: "instruments"}
_TYPED: Final = frozenset(_BY_TYPE.values())
_SPOT_KINDS: Final = (Kind.TRADES, Kind.QUOTES, Kind.BOOK, Kind.CANDLES, Kind.STATUS)

BOOKS: Final = {0: "books", 5: "books5"}
"""Channel by depth: changes of 400 levels, or snapshots of five."""

TOPICS_PER_MESSAGE: Final = 100
MESSAGE_BYTES: Final = 60_000
"""A request's list of channels may be 64 KB."""

_ARG_BYTES: Final = len('{"channel":"","instType":""},')

# 480 requests an hour and connection, 3 new connections a second. No number of topics is
# documented, but close code 4003 speaks of 100. A socket without a subscription or without data is
# dropped after 30 s, and so is one that does not ask `ping` in silence.
LIMITS: Final = StreamLimits(
    topics_per_connection=100,
    connections_per_window=3,
    connections_window_s=1.0,
    messages_per_s=2.0,
    requests_per_hour=480,
    ping_every_s=20.0,
    silence_s=30.0,
    subscribe_within_s=30.0,
)


class OkxProtocol:
    """Spot, linear and inverse perpetuals of API v5."""

    def __init__(self, hosts: Mapping[str, str] | None = None, depth: int = 0) -> None:
        """Choose the host and the kind of book.

        Args:
            hosts: base address that replaces `ws`, without a path.
            depth: 0 streams changes of the book's 400 levels; 5 snapshots of its top.

        Raises:
            NotSupported: there is no such host, or no such depth.
        """
        self._hosts = checked_hosts(NAME, HOSTS, hosts)
        if depth not in BOOKS:
            raise NotSupported(NAME, f"book of {depth} levels", "0 (all 400) or 5 it has")
        self._book = BOOKS[depth]

    @property
    def exchange(self) -> str:
        """Name of the exchange."""
        return NAME

    def routes(self) -> Sequence[str]:
        """Return the names of all kinds of socket."""
        return ROUTES

    def route(self, series: Series, instrument: Instrument) -> str:
        """Return the socket kind of a series.

        Raises:
            NotSupported: it is not streamed, with the reason.
        """
        check_streamed(NAME, series.kind)
        if instrument.market is Market.SPOT and series.kind not in _SPOT_KINDS:
            raise NotSupported(NAME, f"{series.kind} of {series.symbol}", "only perpetuals have it")
        return BUSINESS if series.kind in _ON_BUSINESS else PUBLIC

    def topic(self, series: Series, instrument: Instrument) -> str:
        """Return `channel:instId`; liquidations and statuses are by type of instrument.

        Raises:
            NotSupported: see `route`.
        """
        self.route(series, instrument)
        if series.kind in _BY_TYPE:
            kind = "SPOT" if instrument.market is Market.SPOT else "SWAP"
            return f"{_BY_TYPE[series.kind]}:{kind}"
        if series.interval is not None:
            channel = f"candle{OKX.intervals[series.interval]}"
        else:
            channel = self._book if series.kind is Kind.BOOK else _CHANNELS[series.kind]
        return f"{channel}:{instrument.native}"

    def urls(self, route: str) -> Sequence[str]:
        """Return the addresses of a route, best first.

        Raises:
            NotSupported: there is no such route.
        """
        check_route(NAME, route, ROUTES)
        return host_urls(HOSTS, self._hosts, HOST, f"/ws/v5/{route}")

    def limits(self, route: str) -> StreamLimits:
        """Return what OKX allows on a socket.

        Raises:
            NotSupported: there is no such route.
        """
        check_route(NAME, route, ROUTES)
        return LIMITS

    def subscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
        """Return the frames that subscribe these topics; each topic is acknowledged on its own."""
        check_route(NAME, route, ROUTES)
        return _requests("subscribe", topics, first_id)

    def unsubscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
        """Return the frames that end these topics."""
        check_route(NAME, route, ROUTES)
        return _requests("unsubscribe", topics, first_id)

    def opening(self, route: str) -> Sequence[bytes]:
        """Return nothing: a new socket needs no greeting."""
        check_route(NAME, route, ROUTES)
        return ()

    def ping(self, route: str) -> bytes | None:
        """Return the text frame OKX answers with `pong`."""
        check_route(NAME, route, ROUTES)
        return b"ping"

    @property
    def quotes_from_book(self) -> bool:
        """Return whether quotes are tops of the book: a channel has them."""
        return False

    @property
    def books_from_rest(self) -> bool:
        """Return whether a book begins with a REST snapshot."""
        return False

    @property
    def closes_candles(self) -> bool:
        """Return whether a candle's last push says that it is closed."""
        return True

    def book_rule(self, route: str) -> BookRule:  # noqa: ARG002 - the same for all
        """Return how the messages of a book follow one another."""
        return BookRule(joins_rest=True)

    def parser(self, route: str, resolve: Resolve, *, exact: bool = False) -> FrameParser:
        """Return a parser for one new connection."""
        check_route(NAME, route, ROUTES)
        return OkxParser(route, resolve, exact=exact)

    def recorded_route(self, connection: str) -> str:
        """Return the route of a recorded connection."""
        return BUSINESS if "business" in connection else PUBLIC


def _requests(operation: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
    groups = batches(topics, TOPICS_PER_MESSAGE, MESSAGE_BYTES, _ARG_BYTES)
    return tuple(
        Request(
            str(number),
            msgspec.json.encode(
                {"id": str(number), "op": operation, "args": [_arg(topic) for topic in batch]}
            ),
            batch,
        )
        for number, batch in enumerate(groups, first_id)
    )


def _arg(topic: str) -> dict[str, str]:
    channel, _, about = topic.partition(":")
    return {"channel": channel, "instType" if channel in _TYPED else "instId": about}
