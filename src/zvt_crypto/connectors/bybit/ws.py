"""Bybit's public streams without I/O: what to subscribe where, and who reads the frames."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from zvt_crypto.connectors.bybit.frame import BybitParser
from zvt_crypto.connectors.bybit.spec import (
    ARGS_CHARS,
    ARGS_PER_REQUEST,
    BYBIT,
    CONNECTIONS,
    CONNECTIONS_WINDOW_S,
    DEPTHS,
    MESSAGES_PER_S,
    NAME,
    NOT_STREAMED,
    PERPETUAL_ONLY,
    PING_EVERY_S,
    ROUTES,
    STREAM,
    STREAM_ENVIRONMENTS,
    STREAM_HOSTS,
    STREAM_PATH,
    TOPICS,
    TOPICS_PER_CONNECTION,
)
from zvt_crypto.connectors.wire.topic import batches, check_streamed, checked_hosts, host_urls
from zvt_crypto.core.book import BookRule
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.series import Series
from zvt_crypto.ports.stream import FrameParser, Request, Resolve, StreamLimits

_LIMITS: Final = StreamLimits(
    topics_per_connection=TOPICS_PER_CONNECTION,
    connections_per_window=CONNECTIONS,
    connections_window_s=CONNECTIONS_WINDOW_S,
    messages_per_s=MESSAGES_PER_S,
    ping_every_s=PING_EVERY_S,
    # Three pings without an answer, or anything else.
    silence_s=3 * PING_EVERY_S,
)

HOSTS: Final = STREAM_HOSTS
ENVIRONMENTS: Final = STREAM_ENVIRONMENTS

_PING: Final = b'{"op":"ping"}'

# A recorded single message does not say its connection: what is not spot by its name is linear.
_LIKELIEST: Final = "linear"


class BybitProtocol:
    """Bybit's side of `ports.stream.StreamProtocol`: spot, linear and inverse."""

    exchange: str = NAME
    quotes_from_book: bool = False

    def __init__(self, hosts: Mapping[str, str] | None = None, depth: int = 200) -> None:
        """Choose the host and the kind of book.

        Args:
            hosts: base address that replaces `stream`, without a path.
            depth: levels a side of books: 50 every 20 ms, 200 every 100 ms, 1000 every 200 ms.

        Raises:
            NotSupported: there is no such host, or no such depth.
        """
        self._hosts = checked_hosts(NAME, HOSTS, hosts)
        if depth not in DEPTHS:
            known = ", ".join(str(one) for one in DEPTHS)
            raise NotSupported(NAME, f"book of {depth} levels", f"{known} it has")
        self._depth = depth

    def routes(self) -> Sequence[str]:
        """Return the categories: a socket serves one of them."""
        return ROUTES

    def route(self, series: Series, instrument: Instrument) -> str:
        """Return the category of an instrument.

        Raises:
            NotSupported: the exchange does not stream it.
        """
        check_streamed(NAME, series.kind)
        if series.kind in NOT_STREAMED:
            raise NotSupported(NAME, f"stream of {series.kind}", NOT_STREAMED[series.kind])
        if series.kind in PERPETUAL_ONLY and not instrument.is_perpetual:
            reason = f"{instrument.symbol} is a spot pair, only perpetuals have it"
            raise NotSupported(NAME, f"stream of {series.kind}", reason)
        return str(instrument.market)

    def topic(self, series: Series, instrument: Instrument) -> str:
        """Return the topic of a series; marks, funding and open interest share one.

        Raises:
            NotSupported: the exchange does not stream it.
        """
        self.route(series, instrument)
        interval = "" if series.interval is None else BYBIT.intervals[series.interval]
        return TOPICS[series.kind].format(
            native=instrument.native, depth=self._depth, interval=interval
        )

    def urls(self, route: str) -> Sequence[str]:
        """Return the one address of a category."""
        return host_urls(HOSTS, self._hosts, STREAM, STREAM_PATH.format(route=route))

    def limits(self, route: str) -> StreamLimits:  # noqa: ARG002 - the same for all
        """Return what the exchange allows."""
        return _LIMITS

    def subscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:  # noqa: ARG002
        """Return requests of ten topics: one wrong topic fails its whole request."""
        return _requests("subscribe", topics, first_id)

    def unsubscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:  # noqa: ARG002
        """Return requests that end topics."""
        return _requests("unsubscribe", topics, first_id)

    def opening(self, route: str) -> Sequence[bytes]:  # noqa: ARG002
        """Return nothing: a connection needs no greeting."""
        return ()

    def ping(self, route: str) -> bytes | None:  # noqa: ARG002
        """Return the heartbeat; frames of the WebSocket protocol are not enough."""
        return _PING

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
        return BookRule()

    def parser(self, route: str, resolve: Resolve, *, exact: bool = False) -> FrameParser:
        """Return a parser for one new connection."""
        return BybitParser(route, resolve, exact=exact)

    def recorded_route(self, connection: str) -> str:
        """Return the category at the end of an address."""
        last = connection.rstrip("/").rpartition("/")[2]
        if last in ROUTES:
            return last
        return next((route for route in ROUTES if route in last), _LIKELIEST)


def _requests(op: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
    requests: list[Request] = []
    for args in batches(topics, ARGS_PER_REQUEST, ARGS_CHARS, len('"",')):
        name = str(first_id + len(requests))
        frame = msgspec.json.encode({"req_id": name, "op": op, "args": args})
        requests.append(Request(name, frame, args))
    return requests
