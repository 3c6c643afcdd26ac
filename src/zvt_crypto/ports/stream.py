"""What the live services need of an exchange's stream: its words, its limits, its parsers.

Nothing here does I/O. A `StreamProtocol` says which socket a series is on, what to send, and how to
read what comes; a `Dialer` opens sockets. One parser serves one connection, because exchanges count
and merge per connection.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from zvt_crypto.core.book import BookRule
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.record import DataRecord
from zvt_crypto.core.series import Series


class Target(msgspec.Struct, frozen=True):
    """What a native id on one socket stands for.

    `contract` is what one unit of the exchange's size is worth: in base units on linear markets, in
    quote units on inverse ones, 1 where sizes are base units already.
    """

    symbol: str
    market: Market
    contract: float = 1.0


Resolve = Callable[[str, str], Sequence[Target]]
"""From a route's name and a native id to all instruments it stands for; empty if unknown."""


# -- what a parser says beside data ---------------------------------------------------------------


class Ack(msgspec.Struct, frozen=True):
    """The exchange answered a request.

    `request` is the id it echoes, if it does; `topics` are the native topics it names, if it does.
    With `is_whole` all topics of the request were refused, not only those named.
    """

    ok: bool
    request: str | None = None
    topics: tuple[str, ...] = ()
    code: str = ""
    detail: str = ""
    is_whole: bool = False


class Pong(msgspec.Struct, frozen=True):
    """Answer to our ping, or a heartbeat of the exchange's own; `counter` must grow by one."""

    counter: int | None = None


class Notice(msgspec.Struct, frozen=True):
    """The exchange will close this connection soon: open the next one now."""

    detail: str


class SequenceBreak(msgspec.Struct, frozen=True):
    """The connection's own count jumped: messages were lost, whose is not known."""

    expected: int
    received: int


class Refused(msgspec.Struct, frozen=True):
    """Something in a frame is not what the exchange documents; `raw` is a bounded copy.

    `symbol` is ours, when the parser could still tell. The rest of the frame was read.
    """

    reason: str
    raw: str
    symbol: str | None = None


class Ignored(msgspec.Struct, frozen=True):
    """A message the platform has no use for; `what` names its type, from a closed list."""

    what: str


SessionMessage = Ack | Pong | Notice | SequenceBreak | Refused | Ignored
Message = DataRecord | SessionMessage


class FrameParser(Protocol):
    """Reads the frames of one connection. Pure but for what the exchange makes it remember."""

    def parse(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Translate one frame.

        Args:
            frame: as received, whole; text frames are UTF-8.
            ts_recv: our clock when it arrived, UTC microseconds; 0 if not known.

        Raises:
            MalformedPayload: not JSON, not UTF-8, or of no type the exchange documents. The parser
                remains usable.
        """
        ...


# -- what to send, and how much -------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True):
    """One frame to send; `topics` are the native topics it subscribes or unsubscribes."""

    id: str
    frame: bytes
    topics: tuple[str, ...]


class StreamLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange allows, per route; see `exchanges/*.md`.

    Attributes:
        topics_per_connection: cap on subscriptions of one socket.
        connections_per_s, connections_window_s: new sockets in that window, per address.
        messages_per_s: frames we may send on one socket in a second.
        requests_per_hour: subscribe and unsubscribe requests on one socket.
        ping_every_s: how often `StreamProtocol.ping` is sent; None if the exchange wants none.
        silence_s: a socket on which nothing at all arrived for so long is dead.
        first_message_s: how long after its ack a busy topic may stay without data.
        subscribe_within_s: the first request must follow the connect within this.
        lifetime_s: the exchange cuts the socket after this; None if it does not.
        max_frame_bytes: a larger frame is hostile.
    """

    topics_per_connection: int
    connections_per_window: int
    connections_window_s: float
    messages_per_s: float
    requests_per_hour: int | None = None
    ping_every_s: float | None = None
    silence_s: float = 30.0
    first_message_s: float = 10.0
    subscribe_within_s: float | None = None
    lifetime_s: float | None = None
    max_frame_bytes: int = 32 << 20


class StreamProtocol(Protocol):
    """One exchange's WebSocket side, without I/O."""

    @property
    def exchange(self) -> str:
        """Name of the exchange."""
        ...

    @property
    def quotes_from_book(self) -> bool:
        """Whether quotes are the top of the book stream, because no feed of their own is good.

        Then `topic` of a quotes series is that of its book, and the parser gives no `Quote`.
        """
        ...

    def routes(self) -> Sequence[str]:
        """Return the names of all kinds of socket the exchange has for market data."""
        ...

    def route(self, series: Series, instrument: Instrument) -> str:
        """Return the name of the socket kind that carries a series.

        Raises:
            NotSupported: the exchange does not stream it, with the reason.
        """
        ...

    def topic(self, series: Series, instrument: Instrument) -> str:
        """Return the native topic of a series; the same string as in `Request` and `Ack`.

        Two series may share one topic (Bybit's ticker carries marks, funding and open interest).
        """
        ...

    def urls(self, route: str) -> Sequence[str]:
        """Return the addresses of a route, best first; the others are for failover."""
        ...

    def limits(self, route: str) -> StreamLimits:
        """Return what the exchange allows on such a socket."""
        ...

    def subscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
        """Return the frames that subscribe these topics, as few as the exchange allows.

        Ids count up from `first_id`. A socket's standing extras (Coinbase `heartbeats`) are in
        `opening`, not here.
        """
        ...

    def unsubscribe(self, route: str, topics: Sequence[str], first_id: int) -> Sequence[Request]:
        """Return the frames that end these topics."""
        ...

    def opening(self, route: str) -> Sequence[bytes]:
        """Return what to send first on every new socket, if anything."""
        ...

    def ping(self, route: str) -> bytes | None:
        """Return the heartbeat frame to send, None if the exchange wants none from us."""
        ...

    def parser(self, route: str, resolve: Resolve, *, exact: bool = False) -> FrameParser:
        """Return a parser for one new connection of a route.

        With `exact` numbers are `Decimal` of the wire's text instead of float64, for sums that must
        be exact; the code is the same.
        """
        ...

    @property
    def closes_candles(self) -> bool:
        """Return whether a candle's last push says that it is closed."""
        ...

    @property
    def books_from_rest(self) -> bool:
        """Return whether a book begins with a REST snapshot instead of one on the socket."""
        ...

    def book_rule(self, route: str) -> BookRule:
        """Return how the messages of a book on this route follow one another."""
        ...

    def recorded_route(self, connection: str) -> str:
        """Return the route of a recorded connection's address; a fixture's gets the likeliest."""
        ...


# -- sockets --------------------------------------------------------------------------------------


class SocketListener(Protocol):
    """Who is told what happens on a socket; called on the loop, must not block."""

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Take whole text or binary frames that were read together, oldest first.

        The bytes are the listener's to keep.
        """
        ...

    def on_alive(self) -> None:
        """Take note of a protocol ping or pong: the other side is there."""
        ...

    def on_closed(self, detail: str) -> None:
        """Take note that the socket is gone, once, whoever closed it."""
        ...


class Socket(Protocol):
    """An open WebSocket; pings of the other side are answered by it."""

    def send(self, frame: bytes) -> None:
        """Send one text frame; silently dropped when the socket is closing."""
        ...

    def ping(self) -> None:
        """Send a protocol ping."""
        ...

    def pause(self) -> None:
        """Stop reading: TCP makes the exchange wait."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    async def close(self) -> None:
        """Close in good order, within a second or two."""
        ...


class Dialer(Protocol):
    """Opens sockets."""

    async def dial(self, url: str, listener: SocketListener, *, max_frame_bytes: int) -> Socket:
        """Connect and shake hands.

        Raises:
            NetworkFault: nobody answers, or TLS failed.
            GeoBlocked: the handshake was answered with 451, or 403 that says so.
            RateLimited: the handshake was answered with 429.
            ServerFault: the handshake was answered with another status.
        """
        ...


__all__ = [
    "Ack",
    "Dialer",
    "FrameParser",
    "Ignored",
    "Message",
    "Notice",
    "Pong",
    "Refused",
    "Request",
    "Resolve",
    "SequenceBreak",
    "SessionMessage",
    "Socket",
    "SocketListener",
    "StreamLimits",
    "StreamProtocol",
    "Target",
]
