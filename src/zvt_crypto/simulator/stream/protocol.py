"""What a venue's stream side is; `stream/__init__.py` says how to add one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from zvt_crypto.simulator.venue import Venue

if TYPE_CHECKING:
    from zvt_crypto.simulator.stream.connection import Connection
    from zvt_crypto.simulator.stream.topic import Push


@dataclass(frozen=True, slots=True)
class Rules:
    """What a venue demands of its connections; times are real ones, 0 or None for no such rule.

    Attributes:
        ping_every_s, pong_within_s: server pings, and how long it waits for the answer.
        idle_s: a connection nobody sent anything on for so long, neither way, is closed;
            `idle_code` is what with.
        silent_s: the same for what clients send, data sent to them or not.
        starved_s: the same for data sent to clients, whatever they or pings say.
        lifetime_s: how long a connection may live.
        messages_per_s: of a client, control frames included; above it is closed.
        requests_per_hour: requests of a client as the venue counts them (`Connection.request`).
        handshakes, handshakes_s: new connections of one address in so many seconds.
        most_topics: subscriptions of a connection.
        most_bytes: of one message of a client.
        overflow_code: what a client that does not read is closed with.
    """

    ping_every_s: float = 0.0
    pong_within_s: float = 60.0
    idle_s: float = 0.0
    idle_code: int = 1000
    silent_s: float = 0.0
    starved_s: float = 0.0
    lifetime_s: float = 86_400.0
    messages_per_s: int = 0
    requests_per_hour: int = 0
    handshakes: int = 0
    handshakes_s: float = 1.0
    most_topics: int = 0
    most_bytes: int = 65_536
    rate_code: int = 1008
    overflow_code: int = 1008


@dataclass(frozen=True, slots=True)
class Route:
    """Which of a venue's sockets a URL means.

    Attributes:
        name: the venue's own word for it: `spot`, `market`, `public`, `business`.
        rules: what it demands.
        path: of the URL, without the venue's prefix.
        query: decoded parameters of the URL, the last of repeated ones.
        raw_query: the parameters as they came.
        text: what is left for the protocol to know, such as `ws` or `stream`.
    """

    name: str
    rules: Rules
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    raw_query: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Names of fields faults may spoil, at any depth of a message; places in rows by number.

    Attributes:
        id: ids of trades.
        time: times; their unit does not matter, numbers or texts of digits are moved.
        number: prices, sizes, rates.
    """

    id: frozenset[str | int] = frozenset()
    time: frozenset[str | int] = frozenset()
    number: frozenset[str | int] = frozenset()
    units_per_s: int = 1_000


class StreamVenue(ABC):
    """One venue's sockets.

    Attributes:
        name: of the venue.
        hosts: real host names that mean this venue when they come in the Host header.
        words: of its messages.
        seals: whether a connection numbers all it sends, so that each gets messages of its own.
    """

    name: ClassVar[str]
    hosts: ClassVar[frozenset[str]]
    words: ClassVar[Words] = Words()
    seals: ClassVar[bool] = False

    def __init__(self, venue: Venue) -> None:
        self.venue = venue

    @abstractmethod
    def route(self, host: str, path: str, query: Mapping[str, str], raw_query: str) -> Route | None:
        """Return the socket a URL means, or None when it is none of this venue's."""

    def opened(self, connection: "Connection") -> None:  # noqa: B027 - many have nothing to do
        """Welcome a connection, and subscribe what its URL names."""

    @abstractmethod
    def received(self, connection: "Connection", text: str) -> None:
        """Act on a text a client sent."""

    def seal(self, connection: "Connection", payload: bytes, push: "Push | None" = None) -> bytes:
        """Return a message as it goes to one connection, with the connection's number.

        Called where the venue `seals`, in the order the market made the messages, even for those
        that a fault loses: theirs are `push`es without a payload. A push that is sent twice, or
        after its successor, keeps its number.
        """
        del connection, push
        return payload

    def notify(self, connection: "Connection", within_s: float) -> None:  # noqa: B027
        """Announce that the connection will be closed, as the venue does before an upgrade."""

    def error_ack(self, connection: "Connection", request: Any) -> bytes:
        """Return the answer to a request a fault refuses; `request` as given to `answers`."""
        del connection, request
        return b'{"code":1,"msg":"Internal error"}'
