"""Coinbase's public streams without I/O: what to subscribe where, and who reads the frames."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from zvt_crypto.connectors.coinbase.channel import topic_name
from zvt_crypto.connectors.coinbase.exchange import ExchangeParser
from zvt_crypto.connectors.coinbase.frame import CoinbaseParser
from zvt_crypto.connectors.coinbase.spec import (
    BOOK_ROUTE,
    CANDLE_INTERVAL,
    CHANNELS,
    CONNECTIONS,
    CONNECTIONS_WINDOW_S,
    EXCHANGE_ROUTE,
    HEARTBEATS,
    MARKET_ROUTE,
    MESSAGES_PER_S,
    NAME,
    NOT_STREAMED,
    SILENCE_S,
    STREAM,
    STREAM_ENVIRONMENTS,
    STREAM_HOSTS,
    SUBSCRIBE_WITHIN_S,
    TOPICS_PER_CONNECTION,
)
from zvt_crypto.connectors.wire.topic import check_streamed, checked_hosts, host_urls
from zvt_crypto.core.book import BookRule
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.stream import FrameParser, Request, Resolve, StreamLimits

_LIMITS: Final = {
    route: StreamLimits(
        topics_per_connection=topics,
        connections_per_window=CONNECTIONS,
        connections_window_s=CONNECTIONS_WINDOW_S,
        messages_per_s=MESSAGES_PER_S,
        silence_s=SILENCE_S,
        subscribe_within_s=SUBSCRIBE_WITHIN_S,
        max_frame_bytes=64 << 20,
    )
    for route, topics in TOPICS_PER_CONNECTION.items()
}

ROUTES: Final = tuple(TOPICS_PER_CONNECTION)
HOSTS: Final = STREAM_HOSTS
ENVIRONMENTS: Final = STREAM_ENVIRONMENTS

_HEARTBEATS: Final = msgspec.json.encode({"type": "subscribe", "channel": HEARTBEATS})


class CoinbaseProtocol:
    """Coinbase's side of `ports.stream.StreamProtocol`.

    Books have sockets of their own, on the same host. The route `exchange` reads recordings of
    the institutional feed; nothing is subscribed there.
    """

    exchange: str = NAME
    quotes_from_book: bool = True

    def __init__(self, hosts: Mapping[str, str] | None = None, depth: int = 0) -> None:
        """Choose hosts.

        Args:
            hosts: base address that replaces `stream` or `exchange`.
            depth: 0, the whole book, is all there is.

        Raises:
            NotSupported: there is no such host, or no such depth.
        """
        self._hosts = checked_hosts(NAME, HOSTS, hosts)
        if depth:
            raise NotSupported(NAME, f"book of {depth} levels", "0 (all) it has")

    def routes(self) -> Sequence[str]:
        """Return the kinds of socket."""
        return ROUTES

    def route(self, series: Series, instrument: Instrument) -> str:  # noqa: ARG002
        """Return `book` for books and the quotes made of them, else `market`.

        Raises:
            NotSupported: the exchange does not stream it.
        """
        check_streamed(NAME, series.kind)
        if series.kind in NOT_STREAMED:
            raise NotSupported(NAME, f"stream of {series.kind}", NOT_STREAMED[series.kind])
        if series.kind is Kind.CANDLES and series.interval is not CANDLE_INTERVAL:
            reason = f"candles are streamed in buckets of {CANDLE_INTERVAL} only"
            remedy = f"Stream {CANDLE_INTERVAL} candles, or build others from trades"
            raise NotSupported(NAME, f"stream of {series.interval} candles", reason, remedy=remedy)
        return BOOK_ROUTE if series.kind in (Kind.BOOK, Kind.QUOTES) else MARKET_ROUTE

    def topic(self, series: Series, instrument: Instrument) -> str:
        """Return `channel:product`; quotes share the topic of the book they are made of.

        Raises:
            NotSupported: the exchange does not stream it.
        """
        self.route(series, instrument)
        return topic_name(CHANNELS[series.kind], instrument.native)

    def urls(self, route: str) -> Sequence[str]:
        """Return the one address of a route."""
        name = EXCHANGE_ROUTE if route == EXCHANGE_ROUTE else STREAM
        return host_urls(HOSTS, self._hosts, name, "")

    def limits(self, route: str) -> StreamLimits:
        """Return what the exchange allows on such a socket."""
        return _LIMITS[route]

    def subscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:  # noqa: ARG002
        """Return a request per channel; no id is echoed, each answer names all that is held."""
        return _requests("subscribe", topics, first_id)

    def unsubscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:  # noqa: ARG002
        """Return a request per channel that ends topics."""
        return _requests("unsubscribe", topics, first_id)

    def opening(self, route: str) -> Sequence[bytes]:
        """Return the subscription of heartbeats, which keeps the channels open."""
        return () if route == EXCHANGE_ROUTE else (_HEARTBEATS,)

    def ping(self, route: str) -> bytes | None:  # noqa: ARG002
        """Return nothing: the exchange sends heartbeats and wants none."""
        return None

    @property
    def books_from_rest(self) -> bool:
        """Return whether a book begins with a REST snapshot."""
        return False

    @property
    def closes_candles(self) -> bool:
        """Return whether a candle's last push says that it is closed."""
        return False

    def book_rule(self, route: str) -> BookRule:  # noqa: ARG002 - the same for all
        """Return how the messages of a book follow one another."""
        return BookRule()

    def parser(self, route: str, resolve: Resolve, *, exact: bool = False) -> FrameParser:
        """Return a parser for one new connection of a route."""
        if route == EXCHANGE_ROUTE:
            return ExchangeParser(route, resolve, exact=exact)
        return CoinbaseParser(route, resolve, exact=exact)

    def recorded_route(self, connection: str) -> str:
        """Return the route of an address; `market` also reads the frames of books."""
        return EXCHANGE_ROUTE if "ws-feed" in connection else MARKET_ROUTE


def _requests(type_: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
    held: dict[str, list[str]] = {}
    for topic in topics:
        channel, _, product = topic.partition(":")
        held.setdefault(channel, []).append(product)
    return [
        Request(
            id=str(first_id + place),
            frame=msgspec.json.encode({"type": type_, "product_ids": products, "channel": channel}),
            topics=tuple(topic_name(channel, product) for product in products),
        )
        for place, (channel, products) in enumerate(held.items())
    ]
