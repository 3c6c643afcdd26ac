"""What the replay of a recording has to know of an exchange: topics, requests and replies.

A dialect tells which topics a recorded frame is about, reads what a client asks for, and words the
replies that a recording lacks. Everything else of a session is the same for all exchanges.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from zvt_crypto.simulator.instrument import Kind

CONNECTION_ID: Final = "a4d3ae55"
_MOST_TOPICS: Final = 10_000


class Part(Enum):
    """What a recorded frame is."""

    DATA = "data"
    REPLY = "reply"
    """Answers a request that was made while recording."""
    PONG = "pong"


@dataclass(frozen=True, slots=True)
class Heard:
    """What one recorded frame is, and about which topics: none if that cannot be told."""

    part: Part
    topics: tuple[str, ...] = ()
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a client: `subscribe`, `unsubscribe`, `list`, `ping`, or `other`."""

    verb: str
    topics: tuple[str, ...] = ()
    value: Any = None
    text: str = ""


class Replies:
    """The recorded replies a client's requests can be answered with, as they stand."""

    def __init__(self) -> None:
        self.by_topic: dict[str, str] = {}
        self.success = ""
        self.pong = ""
        self.failures: list[str] = []

    def note(self, heard: Heard, text: str) -> None:
        """Remember the first reply of each sort."""
        if heard.part is Part.PONG:
            self.pong = self.pong or text
        elif not heard.ok:
            if len(self.failures) < _MOST_TOPICS:
                self.failures.append(text)
        elif heard.topics:
            for topic in heard.topics:
                if len(self.by_topic) < _MOST_TOPICS:
                    self.by_topic.setdefault(topic, text)
        else:
            self.success = self.success or text

    def failure(self, topics: Sequence[str]) -> str:
        """Return the recorded refusal of one of the topics, or nothing."""
        for topic in topics:
            parts = [part for part in topic.split(":") if part]
            for text in self.failures:
                if all(part in text for part in parts):
                    return text
        return ""


class Dialect(ABC):
    """One exchange; stateless.

    Attributes:
        kinds: of instruments, by `family`.
        replies_in_place: replies count in the connection's sequence and stay where they stand.
    """

    name: ClassVar[str]
    replies_in_place: ClassVar[bool] = False
    kinds: ClassVar[Mapping[str, Kind]] = MappingProxyType({})

    @abstractmethod
    def hear(self, text: str) -> Heard:
        """Return what a recorded frame is; data about no topic when it is of no known form."""

    @abstractmethod
    def ask(self, text: str) -> Ask:
        """Return what a client wants."""

    @abstractmethod
    def answer(self, ask: Ask, replies: Replies, subscribed: Sequence[str]) -> list[str]:
        """Return the frames that answer a request."""

    def family(self, host: str, path: Sequence[str]) -> str:
        """Return which of the exchange's sockets an address is, or nothing if that is not told."""
        del host, path
        return ""

    @abstractmethod
    def instrument(self, topic: str) -> str:
        """Return the native id a topic is about, or nothing."""

    def kind(self, connection: str) -> Kind | None:
        """Return what kind of instruments a recorded connection is about, where ids repeat."""
        address = urlsplit(connection)
        segments = [part for part in address.path.split("/") if part]
        return self.kinds.get(self.family(address.hostname or "", segments))

    def url_topics(self, path: str, query: Mapping[str, str]) -> tuple[str, ...]:
        """Return the topics an address subscribes."""
        del path, query
        return ()

    def loose(self, topic: str) -> str:
        """Return what two spellings of one stream have in common."""
        return topic

    def fit(self, text: str, path: str) -> str:
        """Return a frame in the form the socket at `path` has."""
        del path
        return text

    def choose(self, connections: Sequence[str], host: str, path: str) -> frozenset[str]:
        """Return which recorded connections a client at `path` gets.

        Those of its own socket, if the addresses tell; else all of them.
        """
        segments = [part for part in path.split("/") if part]
        wanted = self.family(host, segments)
        fitting: list[str] = []
        same: list[str] = []
        for connection in connections:
            address = urlsplit(connection)
            own = [part for part in address.path.split("/") if part]
            family = self.family(address.hostname or "", own)
            if address.scheme != "fixture" and wanted and family and wanted != family:
                continue
            fitting.append(connection)
            if own and segments[-len(own) :] == own:
                same.append(connection)
        return frozenset(same or fitting)


def with_id(text: str, name: str, wanted: Mapping[str, Any]) -> str:
    """Return a recorded reply with the id of the request it answers now, or with none."""
    value = msgspec.json.decode(text)
    if name in wanted:
        value[name] = wanted[name]
    else:
        value.pop(name, None)
    return write(value)


def write(value: Any) -> str:
    """Return JSON as the exchanges write it."""
    return msgspec.json.encode(value).decode()


def read_request(text: str) -> dict[str, Any]:
    """Return the request of a client; empty if it is none."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        return {}


def texts(value: Any) -> tuple[str, ...]:
    """Return the strings of a list."""
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
