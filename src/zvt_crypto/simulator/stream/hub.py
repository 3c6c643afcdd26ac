"""The pump of one venue: what happened is written once and sent to all who subscribed to it."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.simulator.faults import DELIVERY_KINDS, LIFE_KINDS, OPENING_KINDS, Fault
from zvt_crypto.simulator.stats import StreamStats
from zvt_crypto.simulator.stream.connection import Connection
from zvt_crypto.simulator.stream.frame import text_frame
from zvt_crypto.simulator.stream.protocol import Route, StreamVenue
from zvt_crypto.simulator.stream.tamper import Tamper
from zvt_crypto.simulator.stream.topic import Push, Topic

if TYPE_CHECKING:
    from zvt_crypto.simulator.world import World

_log = logging.getLogger(__name__)
_PUMP_S: Final = 0.01
_CHECK_S: Final = 0.1
_LATENCY_US: Final = 2_000  # from an event to its push, in simulated time
_US_PER_S: Final = 1_000_000
_PREPARE_S: Final = 60.0  # real seconds before midnight


class _Feed:
    """A topic with subscribers, and how far it was sent."""

    def __init__(self, topic: Topic, sent_us: int) -> None:
        self.topic = topic
        self.sent_us = sent_us
        self.connections: dict[Connection, None] = {}


class Hub:
    """All connections of one venue.

    Attributes:
        stream: the venue's protocol.
        buffer_bytes: what may wait for a client that does not read.
    """

    def __init__(self, world: "World", stream: StreamVenue) -> None:
        self.stream = stream
        self.venue = stream.venue
        self.connections: dict[str, Connection] = {}
        self.buffer_bytes = world.config.stream_buffer_bytes
        self.loop = asyncio.get_running_loop()
        self._world = world
        self._speed = world.config.rules_speed
        self._started_s = time.monotonic()
        self._number = 0
        self._feeds: dict[str, _Feed] = {}
        self._tamper = Tamper(world, stream)
        self._task: asyncio.Task[None] | None = None
        self._checked_s = 0.0
        self._prepared_day = 0
        self._preparing: asyncio.Task[None] | None = None

    @property
    def stats(self) -> StreamStats:
        """Return the counters."""
        return self.venue.stats.stream

    def now_us(self) -> int:
        """Return the simulated time."""
        return self._world.clock.now_us()

    def time_s(self) -> float:
        """Return the time the venue's rules go by: real, or sped up by `rules_speed`."""
        return (time.monotonic() - self._started_s) * self._speed

    def real_s(self) -> float:
        """Return the real time the delays of faults go by."""
        return time.monotonic()

    def scaled(self, limit: int) -> int:
        """Return a published limit as it is in force; 0 stays no limit."""
        return self._world.scale.apply(limit) if limit else 0

    # Connections.

    def open(self, client: str, route: Route, transport: asyncio.Transport) -> Connection:
        """Take in a new connection."""
        self._number += 1
        connection = Connection(self, self._number, client, route, transport)
        self.connections[connection.id] = connection
        self.stats.open += 1
        self.stats.opened += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return connection

    def ended(self, connection: Connection, why: str) -> None:
        """Forget a connection."""
        if self.connections.pop(connection.id, None) is None:
            return
        self.stats.open -= 1
        self.stats.closed[why] += 1
        for name in list(connection.topics):
            self.unsubscribe(connection, name)
        self._world.faults.forget(connection.mark)

    async def close(self) -> None:
        """Stop the pump and cut all connections."""
        tasks = [task for task in (self._task, self._preparing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.connections.values()):
            connection.abort("shutdown")

    # Subscriptions.

    def subscribe(self, connection: Connection, topic: Topic) -> None:
        """Feed a connection with a topic from now on; twice is once."""
        if topic.name in connection.topics or connection.closing:
            return
        feed = self._feeds.get(topic.name)
        if feed is None:
            feed = self._feeds[topic.name] = _Feed(topic, self.now_us() - _LATENCY_US)
        connection.topics[topic.name] = feed.topic
        self._send_opening(connection, feed)
        feed.connections[connection] = None

    def unsubscribe(self, connection: Connection, name: str) -> bool:
        """Stop feeding a connection with a topic; return whether it was fed."""
        if connection.topics.pop(name, None) is None:
            return False
        feed = self._feeds.get(name)
        if feed is not None:
            feed.connections.pop(connection, None)
            if not feed.connections:
                del self._feeds[name]
                self._tamper.forget(name)
        return True

    def _send_opening(self, connection: Connection, feed: _Feed) -> None:
        topic = feed.topic
        pushes = topic.opening(feed.sent_us)
        if not pushes or connection.is_silent():
            return
        pushes = self._tamper.enlarge(topic, pushes, connection.id)
        for fault in self._fire_on(OPENING_KINDS, topic):
            self.note(fault, topic.where, pushes[-1], topic, connection.id)
            if fault.kind == "ws_late_snapshot":
                delay_s = fault.number("delay_s", 2.0)
                self.loop.call_later(delay_s, self._send_all, connection, topic, pushes)
            return
        self._send_all(connection, topic, pushes)

    def _send_all(self, connection: Connection, topic: Topic, pushes: Sequence[Push]) -> None:
        if topic.name in connection.topics:
            self.stats.frames += len(pushes)
            connection.write(b"".join(self._write(connection, topic, pushes)))
            connection.flush()

    def _write(self, connection: Connection, topic: Topic, pushes: Sequence[Push]) -> list[bytes]:
        """Return a frame for each push; an empty one where a fault lost it."""
        frames: list[bytes] = []
        for push in pushes:
            payload = topic.wrap(push.payload, connection.style) if push.payload else b""
            if self.stream.seals:
                payload = self.stream.seal(connection, payload, push)
            frames.append(text_frame(payload) if push.payload else b"")
        return frames

    # The pump.

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PUMP_S)
            try:
                self.pump()
            except Exception:  # noqa: BLE001 - a venue that stops sending looks like a fault of it
                _log.exception("stream_pump_failed", extra={"exchange": self.venue.name})

    def pump(self) -> None:
        """Send all that happened since the last time, and see that clients keep the rules."""
        until_us = self.now_us() - _LATENCY_US
        faulty = bool(len(self._world.faults))
        gone = self.venue.renames() if faulty else {}
        if faulty:
            self._reset_books(until_us)
        for feed in list(self._feeds.values()):
            try:
                self._send(feed, until_us, gone, faulty=faulty)
            except Exception:  # noqa: BLE001 - the other topics and connections go on
                extra = {"exchange": self.venue.name, "topic": feed.topic.where}
                _log.exception("stream_topic_failed", extra=extra)
        for connection in list(self.connections.values()):
            try:
                connection.flush()
            except (OSError, RuntimeError):  # the client was killed; uvloop's transport says so
                connection.lost()
        if self.real_s() - self._checked_s >= _CHECK_S / self._speed:
            self._checked_s = self.real_s()
            self._check(faulty=faulty)
            self._prepare_tomorrow()

    def _send(self, feed: _Feed, until_us: int, gone: Mapping[str, str], *, faulty: bool) -> None:
        """Send what happened to one topic."""
        if until_us <= feed.sent_us:
            return
        since_us, feed.sent_us = feed.sent_us, until_us
        instrument = feed.topic.instrument
        if instrument and gone.get(instrument.symbol, instrument.native) != instrument.native:
            return  # it has another name now, or none
        pushes: Sequence[Push] = feed.topic.pushes(since_us, until_us)
        if faulty or self._tamper.holds:
            pushes = self._tamper.apply(feed.topic, pushes)
        if pushes:
            self._deliver(feed, pushes, faulty=faulty)

    def _deliver(self, feed: _Feed, pushes: Sequence[Push], *, faulty: bool) -> None:
        topic = feed.topic
        written: dict[str, list[bytes]] = {}
        for connection in list(feed.connections):
            frames = None if self.stream.seals else written.get(connection.style)
            if frames is None:
                frames = written[connection.style] = self._write(connection, topic, pushes)
            if faulty:
                self._deliver_faulty(connection, topic, pushes, frames)
            elif connection.is_silent():
                self._remember_silence(connection, topic, pushes)
            else:
                self.stats.frames += len(frames) - frames.count(b"")
                connection.write(b"".join(frames))

    def _remember_silence(
        self, connection: Connection, topic: Topic, pushes: Sequence[Push]
    ) -> None:
        if (fault := connection.muted_by) is None:
            return
        for push in (one for one in pushes if one.payload):
            self._tamper.remember(fault, topic.where, push, topic, connection.id)

    def _deliver_faulty(
        self, connection: Connection, topic: Topic, pushes: Sequence[Push], frames: list[bytes]
    ) -> None:
        """Deliver message by message, each a chance for faults of connections."""
        where = f"{topic.where} {connection.route.path}"
        faults = self._world.faults
        concerned = faults.concerning(DELIVERY_KINDS, self.venue.name, where, topic.instrument)
        for push, frame in zip(pushes, frames, strict=True):
            if not frame:
                continue
            for fault in () if connection.is_silent() else concerned:
                if not faults.strikes(fault):
                    continue
                self.note(fault, topic.where, push, topic, connection.id)
                if fault.kind == "ws_slow":
                    connection.delay(frame, fault.number("delay_s", 1.0))
                    break
                self._strike(connection, fault)
                if connection.closing:
                    return
            else:
                if connection.is_silent():
                    self._remember_silence(connection, topic, [push])
                else:
                    self.stats.frames += 1
                    connection.write(frame)

    def _strike(self, connection: Connection, fault: Fault) -> None:
        if fault.kind == "ws_disconnect":
            connection.flush()
            connection.abort("ws_disconnect")
        elif fault.kind == "ws_close":
            reason = str(fault.params.get("reason", ""))
            connection.close(int(fault.number("code", 1001)), reason, why="ws_close")
        elif fault.kind == "ws_silent":
            connection.mute(fault)
        else:
            connection.flush()
            connection.freeze(fault)

    # Rules, and faults that come once in a life.

    def _check(self, *, faulty: bool) -> None:
        for connection in list(self.connections.values()):
            connection.check()
            if faulty and not connection.closing:
                self._age(connection)

    def _age(self, connection: Connection) -> None:
        faults = self._world.faults
        path = connection.route.path
        for fault in faults.concerning(LIFE_KINDS, self.venue.name, path, None):
            due_s = fault.number("s", 60.0) if fault.kind == "ws_lifetime" else 0.0
            age_s = self.real_s() - connection.opened_real_s
            if connection.mark in fault.marks or age_s < due_s:
                continue
            fault.marks[connection.mark] = 1.0
            if not faults.strikes(fault):
                continue
            self.note(fault, path, connection=connection.id)
            if fault.kind == "ws_lifetime":
                connection.close(1000, "", why="ws_lifetime")
                return
            within_s = fault.number("s", 10.0)
            self.stream.notify(connection, within_s)
            self.loop.call_later(within_s, _close_shut, connection)

    def _prepare_tomorrow(self) -> None:
        """Have the trades of the next day made in a thread shortly before it begins.

        A day of millions of trades takes half a second, in which nothing would be sent.
        """
        soon_us = self.now_us() + round(_PREPARE_S * self._world.config.clock_speed * _US_PER_S)
        day = soon_us // US_PER_DAY
        if day == self._prepared_day:
            return
        first, self._prepared_day = self._prepared_day == 0, day
        if not first and (self._preparing is None or self._preparing.done()):
            self._preparing = asyncio.create_task(self._prepare(day))

    async def _prepare(self, day: int) -> None:
        market = self._world.market
        wanted = {f.topic.instrument for f in self._feeds.values()} - {None}
        for instrument in wanted:
            if instrument is not None:
                trades = await self.loop.run_in_executor(None, market.make_trades, instrument, day)
                market.keep_trades(instrument, day, trades)

    def _reset_books(self, now_us: int) -> None:
        for feed in self._feeds.values():
            topic, instrument = feed.topic, feed.topic.instrument
            if instrument is None or topic.kind != "book":
                continue
            for fault in self._world.faults.concerning(
                ("ws_book_reset",), self.venue.name, topic.where, instrument
            ):
                mark = f"{self.venue.name} {instrument.symbol}"
                if mark in fault.marks or not self._world.faults.strikes(fault):
                    continue
                fault.marks[mark] = 1.0
                step = now_us // self.venue.book_step_us(instrument) + 1
                self.venue.books.reset(instrument, step, int(fault.number("by", 1_000_000)))
                self.note(fault, topic.where, topic=topic)

    # Faults.

    def fire(self, kinds: frozenset[str], where: str) -> list[Fault]:
        """Return the faults that hit something that is about no instrument."""
        return self._world.faults.fire(kinds, self.venue.name, where, None)

    def note(
        self,
        fault: Fault,
        channel: str,
        push: Push | None = None,
        topic: Topic | None = None,
        connection: str = "",
    ) -> None:
        """Remember what a fault did."""
        self._tamper.note(fault, channel, push, topic, connection)

    def _fire_on(self, kinds: frozenset[str], topic: Topic) -> list[Fault]:
        return self._world.faults.fire(kinds, self.venue.name, topic.where, topic.instrument)


def _close_shut(connection: Connection) -> None:
    connection.close(1001, "", why="ws_shutdown_notice")
