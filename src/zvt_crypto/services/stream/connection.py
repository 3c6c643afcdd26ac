"""One connection: dial, subscribe, read, notice when it is dead, dial again.

The policy for frames that cannot be read: each is counted and a bounded copy goes to the
quarantine; more than `malformed_limit` of them in `malformed_window_s` end the connection, for then
the socket is not what it says it is. A frame beyond the exchange's size ends it at once. A
connection that ends is made anew, the first time without waiting.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from random import Random
from typing import Any, Final, Protocol

from zvt_crypto.core.errors import CryptoError, FatalError, MalformedPayload
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.record import Book, Quote, Trade
from zvt_crypto.net.backoff import backoff
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.stream import (
    Ack,
    Dialer,
    FrameParser,
    Ignored,
    Message,
    Notice,
    Pong,
    Refused,
    Resolve,
    SequenceBreak,
    Socket,
    StreamProtocol,
)
from zvt_crypto.services.stream.config import StreamConfig

log = logging.getLogger(__name__)

# A socket on which nothing arrived for this long is asked by a ping whether it lives.
_PING_IDLE_S: Final = 5.0
_FATAL_WAIT_S: Final = 60.0
_SHORT_LIFE_S: Final = 5.0
_LONGEST_REFUSAL_S: Final = 60.0
_HOUR_S: Final = 3600.0
_BY_ID: Final = attrgetter("trade_id")


class Router(Protocol):
    """Where a connection gives what it reads; one for each exchange."""

    trades: dict[str, Callable[[Trade], None]]
    quotes: dict[str, Callable[[Quote], None]]
    books: dict[str, Callable[[object, Book], None]]

    def other(self, record: Any) -> None:
        """Take a record of a rarer kind."""
        ...

    def refused(self, connection: "Connection", refused: Refused) -> None:
        """Take note of something in a frame that was not readable."""
        ...

    def broke(self, connection: "Connection", gap: SequenceBreak) -> None:
        """Take note that messages of this connection were lost."""
        ...

    def opened(self, connection: "Connection", topics: Sequence[str]) -> None:
        """Take note that these topics of a connection have been asked for."""
        ...

    def lost(self, connection: "Connection", detail: str) -> None:
        """Take note that a connection is gone."""
        ...

    def rejected(self, connection: "Connection", topic: str, detail: str) -> None:
        """Take note that the exchange does not give a topic."""
        ...

    def retire(self, connection: "Connection", detail: str) -> None:
        """Replace a connection that will be closed soon."""
        ...


class FrameTap(Protocol):
    """Who keeps raw frames: the journal."""

    def append(self, connection: str, direction: str, ts_recv: int, frame: bytes) -> None:
        """Keep one frame."""
        ...


class ConnectionStats:
    """Counters of one connection."""

    __slots__ = ("bytes", "dials", "frames", "ignored", "malformed", "reconnects", "refused")

    def __init__(self) -> None:
        self.frames = self.bytes = self.malformed = self.refused = self.ignored = 0
        self.dials = self.reconnects = 0


class Connection:
    """A socket of one route and the topics on it; a `SocketListener`.

    `topics` is what should be subscribed; `active` what was asked for on the socket that is open.
    """

    def __init__(
        self,
        name: str,
        route: str,
        protocol: StreamProtocol,
        *,
        dialer: Dialer,
        resolve: Resolve,
        router: Router,
        config: StreamConfig,
        clock: Clock,
        rng: Random,
        admit: Callable[[], Any],
        tap: FrameTap | None = None,
    ) -> None:
        self.name = name
        self.route = route
        self.protocol = protocol
        self.limits = protocol.limits(route)
        self.topics: dict[str, None] = {}
        self.active: set[str] = set()
        self.stats = ConnectionStats()
        self.url = ""
        self.opened_us = 0
        self.detail = "not connected yet"
        self.ready = asyncio.Event()
        """Set while every topic has been asked for on the open socket."""
        self._dialer = dialer
        self._resolve = resolve
        self._router = router
        self._config = config
        self._clock = clock
        self._now_us = clock.now_us
        self._rng = rng
        self._admit = admit
        self._tap = tap
        self._socket: Socket | None = None
        self._parse: Callable[[bytes, int], Any] = _unread
        self._changed = asyncio.Event()
        self._is_gone = False
        self._asked: dict[str, tuple[str, ...]] = {}
        self._next_id = 1
        self._sent_at: deque[float] = deque(maxlen=100)
        self._requested_at: deque[float] = deque()
        self._single: set[str] = set()
        self._renewing: set[str] = set()
        # Topics that were refused: how long until they are asked for again, and when.
        self._wait_s: dict[str, float] = {}
        self._again_us: dict[str, int] = {}
        self._malformed_at: deque[int] = deque(maxlen=config.malformed_limit)
        self._heard_us = 0
        self._pinged_us = 0
        self._is_paused = False
        # Rotations of sockets opened together must not fall together.
        self._life_share = config.rotate_share * rng.uniform(0.9, 1.0)

    @property
    def is_open(self) -> bool:
        """Return whether there is a socket."""
        return self._socket is not None

    @property
    def room(self) -> int:
        """Return how many more topics fit."""
        return self.limits.topics_per_connection - len(self.topics)

    # -- what the pool calls --------------------------------------------------------------------

    def add(self, topics: Iterable[str]) -> None:
        """Carry these topics too."""
        self.topics.update(dict.fromkeys(topics))
        self._changed.set()

    def remove(self, topics: Iterable[str]) -> None:
        """Carry these topics no longer."""
        for topic in topics:
            self.topics.pop(topic, None)
        self._changed.set()

    def renew(self, topic: str) -> None:
        """Unsubscribe a topic and subscribe it again."""
        if topic in self.active and self._socket is not None:
            self._renewing.add(topic)
            self._changed.set()

    def pause(self, *, on: bool) -> None:
        """Stop reading, or read on: a handler's queue is full, or has room again."""
        self._is_paused = on
        if self._socket is not None:
            if on:
                self._socket.pause()
            else:
                self._heard_us = self._now_us()
                self._socket.resume()

    def drop(self, detail: str) -> None:
        """End the open socket; a new one is dialled."""
        self.detail = detail
        self._lost()

    def tick(self, now_us: int) -> None:
        """Send what keeps the socket alive; give it up when it is dead or near its end."""
        socket = self._socket
        if socket is None or self._is_paused:
            return
        limits = self.limits
        for topic in [one for one, at in self._again_us.items() if at <= now_us]:
            del self._again_us[topic]
            self.active.discard(topic)
            self._changed.set()
        silent_s = (now_us - self._heard_us) / US_PER_S
        if silent_s > min(limits.silence_s, 2 * _PING_IDLE_S):
            self.drop(f"nothing arrived for {silent_s:.0f} s, not even the answer to a ping")
            return
        since_ping_s = (now_us - self._pinged_us) / US_PER_S
        is_due = limits.ping_every_s is not None and since_ping_s > limits.ping_every_s
        if is_due or (silent_s > _PING_IDLE_S and since_ping_s > _PING_IDLE_S):
            self._pinged_us = now_us
            frame = self.protocol.ping(self.route)
            if frame is None:
                socket.ping()
            else:  # an exchange with a ping of its own need not answer the protocol's
                socket.send(frame)
        life = limits.lifetime_s
        if life is not None and now_us - self.opened_us > life * self._life_share * US_PER_S:
            self._router.retire(self, "near the end of its allowed life")

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a socket open until cancelled."""
        waits, failures = self._waits(), 0
        try:
            while True:
                try:
                    await self._connect(failures)
                except CryptoError as e:
                    failures += 1
                    self.detail = str(e)
                    if failures == 1:
                        log.warning("stream_dial_failed", extra=self._extra(code=e.code))
                    await asyncio.sleep(_wait(e, next(waits)))
                    continue
                await self._serve()
                self.stats.reconnects += 1
                log.info("stream_reconnecting", extra=self._extra())
                if self._now_us() - self.opened_us > _SHORT_LIFE_S * US_PER_S:
                    failures, waits = 0, self._waits()
                else:  # it lets us in and throws us out: do not knock all the time
                    failures += 1
                    await asyncio.sleep(next(waits))
        finally:
            await self._end()

    def _waits(self) -> Any:
        config = self._config
        return backoff(self._rng, first_s=config.reconnect_first_s, cap_s=config.reconnect_cap_s)

    async def _connect(self, failures: int) -> None:
        urls = self.protocol.urls(self.route)
        self.url = urls[failures // self._config.failover_after % len(urls)]
        await self._admit()
        self.stats.dials += 1
        self._is_gone = False
        self._parse = self.protocol.parser(self.route, self._resolve).parse
        self._socket = await self._dialer.dial(
            self.url, self, max_frame_bytes=self.limits.max_frame_bytes
        )
        now_us = self._now_us()
        self.opened_us = self._heard_us = self._pinged_us = now_us
        self.active.clear()
        self._renewing.clear()
        self._asked.clear()
        self._sent_at.clear()
        self._requested_at.clear()
        self.detail = ""
        for frame in self.protocol.opening(self.route):
            self._send(frame)
        if self._is_paused:
            self._socket.pause()

    async def _serve(self) -> None:
        """Keep the socket's subscriptions what they should be until it is gone."""
        try:
            while not self._is_gone:
                self._changed.clear()
                await self._adjust()
                await self._changed.wait()
        finally:
            await self._hang_up()

    async def _adjust(self) -> None:
        """Send the requests that make `active` equal to `topics`, at the exchange's pace."""
        if self._is_spent():
            return
        renewing, self._renewing = self._renewing, set()
        leaving = [one for one in self.active if one not in self.topics or one in renewing]
        self.active.difference_update(leaving)
        coming = [topic for topic in self.topics if topic not in self.active]
        if leaving:
            for request in self._requests(self.protocol.unsubscribe, leaving):
                await self._paced(request.frame)
        if coming:
            self.active.update(coming)
            together = [topic for topic in coming if topic not in self._single]
            for batch in (together, *([topic] for topic in coming if topic in self._single)):
                for request in self._requests(self.protocol.subscribe, batch):
                    if self._is_gone or self._is_spent():
                        return
                    self._asked[request.id] = request.topics
                    await self._paced(request.frame)
        self.ready.set()
        # One that was refused before is not there until the exchange says so.
        hopeful = [topic for topic in coming if topic not in self._wait_s]
        if hopeful:
            self._router.opened(self, hopeful)

    def _requests(self, build: Any, topics: list[str]) -> list[Any]:
        if not topics:
            return []
        requests = list(build(self.route, topics, self._next_id))
        self._next_id += len(requests)
        return requests

    async def _paced(self, frame: bytes) -> None:
        """Send one frame, not faster than the exchange allows."""
        sent, limits = self._sent_at, self.limits
        now_s = self._clock.monotonic_s()
        # One frame less than the limit: our pings and pongs count too.
        allowed = max(1, int(limits.messages_per_s) - 1)
        while sent and now_s - sent[0] > 1.0:
            sent.popleft()
        if len(sent) >= allowed:
            await asyncio.sleep(1.0 - (now_s - sent[0]) + 0.01)
        self._requested_at.append(self._clock.monotonic_s())
        self._send(frame)

    def _is_spent(self) -> bool:
        """Have the socket replaced if its requests of this hour are used up: a new one has more."""
        limit, requested = self.limits.requests_per_hour, self._requested_at
        now_s = self._clock.monotonic_s()
        while requested and now_s - requested[0] > _HOUR_S:
            requested.popleft()
        if limit is None or len(requested) < limit:
            return False
        self._router.retire(self, "its requests of this hour are used up")
        return True

    def _send(self, frame: bytes) -> None:
        if self._socket is None:
            return
        self._sent_at.append(self._clock.monotonic_s())
        if self._tap is not None:
            self._tap.append(self.url, "out", self._now_us(), frame)
        self._socket.send(frame)

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        self.ready.clear()
        self.active.clear()
        self._router.lost(self, self.detail or "closed")
        if socket is not None:
            await socket.close()

    async def _end(self) -> None:
        if self._socket is not None:
            socket, self._socket = self._socket, None
            await socket.close()

    # -- what the socket calls ------------------------------------------------------------------

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Read frames and give on what is in them."""
        now_us = self._heard_us = self._now_us()
        stats = self.stats
        stats.frames += len(frames)
        stats.bytes += sum(map(len, frames))
        if self._tap is not None:
            for frame in frames:
                self._tap.append(self.url, "in", now_us, frame)
        parse = self._parse
        messages: list[Any] = []
        for frame in frames:
            try:
                made = parse(frame, now_us)
            except MalformedPayload as e:
                self._malformed(str(e.message), frame)
            else:
                messages += made if len(made) == 1 else _in_order(made)
        self._give_on(messages)

    def _give_on(self, messages: list[Any]) -> None:
        router = self._router
        trades, quotes, books = router.trades, router.quotes, router.books
        for message in messages:
            kind = type(message)
            if kind is Trade:
                if (take := trades.get(message.symbol)) is not None:
                    take(message)
            elif kind is Quote:
                # Tickers repeat tops late, and number none.
                if message.sequence is not None and (
                    (take := quotes.get(message.symbol)) is not None
                ):
                    take(message)
            elif kind is Book:
                if (take_from := books.get(message.symbol)) is not None:
                    take_from(self, message)
            else:
                self._take_rare(message)

    def on_alive(self) -> None:
        """Take note of a ping or pong."""
        self._heard_us = self._now_us()

    def on_closed(self, detail: str) -> None:
        """Take note that the socket is gone."""
        self.detail = self.detail or detail
        self._lost()

    def _lost(self) -> None:
        self._is_gone = True
        self._changed.set()

    def _take_rare(self, message: Message) -> None:
        if isinstance(message, Ack):
            self._acked(message)
        elif isinstance(message, Pong):
            pass
        elif isinstance(message, Ignored):
            self.stats.ignored += 1
        elif isinstance(message, Refused):
            self.stats.refused += 1
            self._router.refused(self, message)
        elif isinstance(message, SequenceBreak):
            self._router.broke(self, message)
        elif isinstance(message, Notice):
            self._router.retire(self, message.detail)
        else:
            self._router.other(message)

    def _acked(self, ack: Ack) -> None:
        if ack.ok:
            asked = self._asked.pop(ack.request, ()) if ack.request else ()
            self._given([one for one in ack.topics or asked if one in self._wait_s])
            return
        topics = self._refused_topics(ack)
        if len(topics) > 1:
            # One bad topic fails the whole request on some exchanges: each by itself.
            self._single.update(topics)
            self.active.difference_update(topics)
            self._changed.set()
            return
        for topic in topics:
            wait_s = min(2 * self._wait_s.get(topic, 0.5), _LONGEST_REFUSAL_S)
            if topic not in self._wait_s:
                self._router.rejected(self, topic, f"{ack.code} {ack.detail}".strip())
            self._wait_s[topic] = wait_s
            self._again_us[topic] = self._now_us() + int(wait_s * US_PER_S)
        if not topics:
            log.warning("stream_request_refused", extra=self._extra(answer=ack.detail[:200]))

    def _given(self, topics: Sequence[str]) -> None:
        """Take note of topics that the exchange gives after all."""
        for topic in topics:
            del self._wait_s[topic]
        if topics:
            self._router.opened(self, topics)

    def _refused_topics(self, ack: Ack) -> tuple[str, ...]:
        """Return what a refusal is about: what it names, or all of the request it answers."""
        if ack.topics and not ack.is_whole:
            return ack.topics
        request = ack.request
        if not request:  # some refusals tell a topic instead of the request it was in
            named = set(ack.topics)
            request = next((id_ for id_, had in self._asked.items() if named & set(had)), "")
        return self._asked.pop(request, ack.topics)

    def _malformed(self, reason: str, frame: bytes) -> None:
        now_us = self._heard_us
        self.stats.malformed += 1
        self._router.refused(self, Refused(reason, frame[:500].decode("utf-8", "backslashreplace")))
        at = self._malformed_at
        at.append(now_us)
        window_us = self._config.malformed_window_s * US_PER_S
        if len(at) == at.maxlen and now_us - at[0] < window_us:
            at.clear()
            self.drop(f"{at.maxlen} unreadable frames in a row")

    def _extra(self, **more: object) -> dict[str, object]:
        return {"connection": self.name, "url": self.url, "detail": self.detail, **more}


def _in_order(messages: Sequence[Any]) -> Sequence[Any]:
    """Return trades of one frame by their ids, anything else as it came.

    Coinbase sends the newest first; in order none has to wait for late ones.
    """
    if not messages or type(messages[0]) is not Trade:
        return messages
    try:
        return sorted(messages, key=_BY_ID)
    except (AttributeError, TypeError):  # other records among them, or ids that are text
        return messages


def _wait(error: CryptoError, usual: float) -> float:
    if isinstance(error, FatalError):
        return _FATAL_WAIT_S
    return max(usual, getattr(error, "retry_after_s", None) or 0.0)


def _unread(frame: bytes, ts_recv: int) -> tuple[()]:
    del frame, ts_recv
    return ()


__all__ = ["Connection", "ConnectionStats", "FrameParser", "FrameTap", "Router"]
