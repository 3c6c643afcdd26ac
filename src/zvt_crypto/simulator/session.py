"""Recorded sessions, served as the exchange would: subscribe, and the recorded frames come.

A client of any of the exchange's sockets gets the received frames of the recording byte for byte,
in their order and with their spacing, divided by the speed. Of several recorded connections it
gets those of its own address if that can be told, else all, merged by time. What it did not
subscribe is left out; a frame whose topic cannot be told is always sent.

Frames start when everything in the recording is subscribed, or a second after the last
subscription, or at once if the address subscribes. A request is answered at once: by the recorded
reply if there is one, with the id of the client's request, else by one worded like the exchange's.
A recorded reply to what the client never asked is not sent. On Coinbase replies count in the
connection's sequence; they are sent where they stand if everything is subscribed. When something
is left out there, `sequence_num` is counted anew, and is the only thing that differs.

The instruments of a recording are listed by REST, with steps made up like those of the market; the
replies recorded with the session (`session_rest.py`) go before that.

After the last frame the connection stays open and silent. Every connection starts from the first.
"""

import asyncio
import heapq
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zvt_crypto.simulator.instrument import Kind
from zvt_crypto.simulator.recording import Frame, Recording
from zvt_crypto.simulator.session_dialect import Ask, Dialect, Heard, Part, Replies

SETTLE_S: Final = 1.0
"""How long after a subscription more of them are waited for."""
_MOST_TOPICS: Final = 100_000
_REMEMBERED: Final = 100
_BATCH: Final = 64  # frames written at once, and between two chances for the rest to run
_SHORT_S: Final = 0.001
_SEQUENCE: Final = re.compile(r'"sequence_num":\s*(\d+)')

Send = Callable[[Sequence[str]], Awaitable[None]]


@dataclass(slots=True)
class Progress:
    """What one client was sent; shown at `/_truth/session`."""

    path: str
    frames: int
    sent: int = 0
    left_out: int = 0
    replies: int = 0
    done: bool = False

    def describe(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class Session:
    """The recordings of one exchange.

    Args:
        dialect: of the exchange.
        paths: the files.
        speed: times the recorded speed; 0 is as fast as the client reads.

    Raises:
        ValueError: a file is not a recording; one line says where.
    """

    def __init__(self, dialect: Dialect, paths: Sequence[Path], speed: float) -> None:
        self.dialect = dialect
        self.speed = speed
        self.recordings = [Recording(path) for path in paths]
        self.replies = Replies()
        self.topics: dict[str, set[str]] = {}
        self._loose: dict[str, set[str]] = {}
        self._clients: deque[Progress] = deque(maxlen=_REMEMBERED)
        self.sent = self._served = 0
        for recording in self.recordings:
            for frame in recording.survey():
                self._note(frame)

    def _note(self, frame: Frame) -> None:
        heard = self.dialect.hear(frame.text)
        if heard.part is not Part.DATA:
            self.replies.note(heard, frame.text)
            return
        for topic in heard.topics:
            connections = self.topics.get(topic)
            if connections is None:
                if len(self.topics) >= _MOST_TOPICS:
                    raise ValueError(f"a recording has more than {_MOST_TOPICS} topics")
                connections = self.topics[topic] = set()
                self._loose.setdefault(self.dialect.loose(topic), set()).add(topic)
            connections.add(frame.connection)

    @property
    def connections(self) -> list[str]:
        """Return all recorded connections."""
        return list({name: None for one in self.recordings for name in one.counts})

    def resolve(self, topic: str) -> set[str]:
        """Return the recorded topics a subscription means: itself, or other spellings of it."""
        if topic in self.topics:
            return {topic}
        if topic.endswith(":*"):
            return {name for name in self.topics if name.startswith(topic[:-1])}
        return self._loose.get(self.dialect.loose(topic), set())

    def list_instruments(self, adopt: Callable[[str, Kind | None], object]) -> None:
        """Have everything listed that the recording is about, so that clients may subscribe it."""
        for topic, connections in self.topics.items():
            native = self.dialect.instrument(topic)
            for kind in {self.dialect.kind(connection) for connection in connections}:
                if native:
                    adopt(native, kind)

    def frames_of(self, connections: frozenset[str]) -> int:
        """Return how many frames some connections received."""
        return sum(n for one in self.recordings for name, n in one.counts.items()
                   if name in connections)  # fmt: skip

    def play(self, connections: frozenset[str]) -> Iterator[Frame]:
        """Yield the frames of some connections, by time; `at_s` counts from the first."""
        chosen = [r for r in self.recordings if not connections.isdisjoint(r.counts)]
        same_clock = all(one.timing == "t" for one in chosen)
        earliest = min((one.first_s for one in chosen), default=0.0)
        parts = [
            _since(one.play(connections), earliest if same_clock else one.first_s) for one in chosen
        ]
        return heapq.merge(*parts, key=lambda frame: frame.at_s)

    def join(self, path: str, frames: int) -> Progress:
        """Begin to count what a new client is sent."""
        progress = Progress(path, frames)
        self._served += 1
        self._clients.append(progress)
        return progress

    def describe(self) -> dict[str, Any]:
        """Return what is there and what was sent."""
        return {
            "frames": sum(one.frames for one in self.recordings),
            "speed": self.speed,
            "files": [
                {"file": one.path.name, "frames": one.frames, "spaced_by": one.timing,
                 "cut_off": one.cut_off, "connections": one.counts}
                for one in self.recordings
            ],
            "topics": sorted(self.topics),
            "sent": self.sent,
            "clients": [one.describe() for one in self._clients],
            "clients_served": self._served,
        }  # fmt: skip


def _since(frames: Iterator[Frame], first_s: float) -> Iterator[Frame]:
    for frame in frames:
        yield frame._replace(at_s=frame.at_s - first_s)


class SessionClient:
    """One connected client: `hear` what it says, `play` until it is gone.

    Args:
        session: what to serve.
        send: sends text frames; returns when the client has room for more.
        host, path, query: the address it connected to; `host` is empty if it is the simulator's.
    """

    def __init__(
        self, session: Session, send: Send, host: str, path: str, query: Mapping[str, str]
    ) -> None:
        self._session = session
        self._dialect = session.dialect
        self._send = send
        self._path = path
        names = session.connections
        self._connections = session.dialect.choose(names, host, path)
        self._progress = session.join(path, session.frames_of(self._connections))
        self._there = {topic for topic, own in session.topics.items() if own & self._connections}
        self._subscribed: dict[str, set[str]] = {}
        self._wanted: set[str] = set()
        self._stirred = asyncio.Event()
        self._owed: list[Ask] = []
        self._started = False
        self._in_place = session.dialect.replies_in_place
        self._renumbers = len(self._connections) > 1
        self._sequence = 0
        self._at_once = session.dialect.url_topics(path, query)
        self._add(self._at_once)

    @property
    def _complete(self) -> bool:
        return self._there <= self._wanted

    async def hear(self, text: str) -> None:
        """Take one message of the client."""
        ask = self._dialect.ask(text)
        if ask.verb == "subscribe":
            self._add(ask.topics)
        elif ask.verb == "unsubscribe":
            self._drop(ask.topics)
        if self._in_place and ask.verb in ("subscribe", "unsubscribe"):
            self._owed.append(ask)
            if self._started:
                await self._pay()
        else:
            await self._answer(ask)
        if ask.verb == "subscribe":
            self._stirred.set()

    async def play(self) -> None:
        """Wait for the subscriptions, then send the recording."""
        if not self._at_once:
            await self._settle()
        self._started = True
        started, speed = time.monotonic(), self._session.speed
        batch: list[str] = []
        for number, frame in enumerate(self._session.play(self._connections)):
            wait = started + frame.at_s / speed - time.monotonic() if speed > 0 else 0.0
            if wait > _SHORT_S or number % _BATCH == 0:
                await self._send(batch)
                batch.clear()
                await asyncio.sleep(max(0.0, wait))
            if text := self._offer(frame):
                batch.append(text)
        await self._send(batch)
        self._progress.done = True

    async def _settle(self) -> None:
        """Return when everything is subscribed, or nothing more is for a while."""
        await self._stirred.wait()
        while not self._complete:
            self._stirred.clear()
            try:
                await asyncio.wait_for(self._stirred.wait(), SETTLE_S)
            except TimeoutError:
                if not self._owed:
                    return
                # It may wait for its replies before it subscribes the rest.
                await self._pay()
        if self._in_place:
            self._owed.clear()  # they are in the recording

    def _offer(self, frame: Frame) -> str:
        """Return a frame as the client gets it, or nothing if it does not."""
        heard = self._dialect.hear(frame.text)
        if not self._wants(heard):
            self._progress.left_out += 1
            self._renumbers = self._renumbers or self._in_place
            return ""
        text = self._dialect.fit(frame.text, self._path)
        self._progress.sent += 1
        self._session.sent += 1
        return self._numbered(text) if self._in_place else text

    def _wants(self, heard: Heard) -> bool:
        if heard.part is Part.DATA:
            return not heard.topics or not self._wanted.isdisjoint(heard.topics)
        return self._in_place and heard.part is Part.REPLY and heard.ok and not self._renumbers

    async def _pay(self) -> None:
        """Answer what was asked while answers could still have been in the recording."""
        asks, self._owed = self._owed, []
        self._renumbers = True
        for ask in asks:
            await self._answer(ask)

    async def _answer(self, ask: Ask) -> None:
        names = list(self._subscribed)
        for text in self._dialect.answer(ask, self._session.replies, names):
            self._progress.replies += 1
            is_counted = self._in_place and ask.verb != "other"
            await self._send([self._numbered(text) if is_counted else text])

    def _numbered(self, text: str) -> str:
        """Return a frame with the connection's own count, if the recorded one has holes now."""
        found = _SEQUENCE.search(text)
        if found is None:
            return text
        if not self._renumbers:
            self._sequence = int(found[1]) + 1
            return text
        number = self._sequence
        self._sequence += 1
        return f"{text[: found.start(1)]}{number}{text[found.end(1) :]}"

    def _add(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self._subscribed[topic] = self._session.resolve(topic)
        self._wanted = set().union(*self._subscribed.values())

    def _drop(self, topics: Sequence[str]) -> None:
        for topic in topics:
            if topic.endswith(":*"):
                for name in [n for n in self._subscribed if n.startswith(topic[:-1])]:
                    self._subscribed.pop(name)
            self._subscribed.pop(topic, None)
        self._wanted = set[str]().union(*self._subscribed.values())
