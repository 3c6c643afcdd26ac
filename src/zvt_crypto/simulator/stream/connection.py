"""One client's connection: what it subscribed to, what waits to be sent, what it broke."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from zvt_crypto.simulator.faults import REQUEST_KINDS, Fault
from zvt_crypto.simulator.stream.frame import CLOSE, PING, PONG, close_frame, control_frame
from zvt_crypto.simulator.stream.frame import text_frame as frame_of
from zvt_crypto.simulator.stream.protocol import Route
from zvt_crypto.simulator.stream.topic import Topic

if TYPE_CHECKING:
    from zvt_crypto.simulator.stream.hub import Hub

_LINGER_S: Final = 0.5  # how long a close frame may take to get out before the connection is cut
_MOST_COUNTED: Final = 10_000
_FOREVER: Final = float("inf")


class Connection:
    """One open socket; a protocol talks to it, the hub feeds it.

    Attributes:
        id: unique in the venue, hexadecimal; `mark` is so in the simulator.
        route: what its URL meant.
        style: how topics wrap messages for it; the protocol's own word.
        state: for the protocol to keep what it likes.
        topics: what it is subscribed to, by name.
    """

    def __init__(
        self, hub: "Hub", number: int, client: str, route: Route, transport: asyncio.Transport
    ) -> None:
        self.id = f"{number:08x}"
        self.mark = f"{hub.venue.name} {self.id}"
        self.client = client
        self.route = route
        self.style = ""
        self.state: dict[str, Any] = {}
        self.topics: dict[str, Topic] = {}
        self.hub = hub
        self.opened_s = hub.time_s()
        self.opened_real_s = hub.real_s()
        self.closing = False
        self.half_open = False
        self.silent_until_s = 0.0
        self.muted_by: Fault | None = None
        self.heard_s = self.opened_s
        self.spoke_s = self.opened_s
        self.fed_s = self.opened_s
        self._transport = transport
        self._outbox: list[bytes] = []
        self._delayed: deque[tuple[float, bytes]] = deque()
        self._ping: bytes | None = None
        self._pinged_s = self.opened_s
        self._recent: deque[float] = deque(maxlen=_MOST_COUNTED)
        self._requests: deque[float] = deque(maxlen=_MOST_COUNTED)

    # What a protocol calls.

    def send(self, payload: bytes) -> None:
        """Send a text at once: an answer or a notice. It goes out even when a fault mutes data."""
        self.write(frame_of(self.hub.stream.seal(self, payload)))
        self.flush()

    def answer(
        self,
        payload: bytes | Callable[[], bytes],
        request: Any,
        act: Callable[[], object] | None = None,
        *,
        acts_first: bool = False,
    ) -> bool:
        """Answer a request and then carry it out, unless a fault says otherwise.

        Args:
            payload: the venue's answer, or what makes it when it is sent.
            request: what the client asked, for `StreamVenue.error_ack`.
            act: carries it out; what it sends follows the answer.
            acts_first: whether it is carried out before the answer, as some venues do.

        Returns:
            Whether the request was carried out.
        """
        answered = True
        for fault in self.hub.fire(REQUEST_KINDS, self.route.path):
            self.hub.note(fault, self.route.path, connection=self.id)
            if fault.kind == "ws_error_ack":
                self.send(self.hub.stream.error_ack(self, request))
                return False
            answered = False
        if act is not None and acts_first:
            act()
        if answered:
            self.send(payload if isinstance(payload, bytes) else payload())
        if act is not None and not acts_first:
            act()
        return True

    def subscribe(self, topic: Topic) -> None:
        """Feed the connection with a topic; its snapshot goes out now, the rest as it happens."""
        self.hub.subscribe(self, topic)

    def unsubscribe(self, name: str) -> bool:
        """Stop feeding a topic; return whether it was fed."""
        return self.hub.unsubscribe(self, name)

    def close(self, code: int, reason: str = "", *, why: str = "venue") -> None:
        """Say goodbye and end the connection."""
        if self.closing:
            return
        if not self.half_open:
            self._transport.write(b"".join([*self._outbox, close_frame(code, reason)]))
        self._end(f"{why} {code}")
        self.hub.loop.call_later(_LINGER_S, self._transport.abort)

    def abort(self, why: str) -> None:
        """End the connection without a word."""
        if not self.closing:
            self._end(why)
        self._transport.abort()

    def request_allowed(self) -> bool:
        """Count a request against the venue's hourly limit; return whether it is within it."""
        limit = self.hub.scaled(self.route.rules.requests_per_hour)
        return not limit or _count(self._requests, self.hub.time_s(), 3_600.0) <= limit

    # What the hub and the gate call.

    def write(self, frames: bytes, *, is_control: bool = False) -> None:
        """Put frames behind what waits to be sent."""
        if self.closing or self.half_open:
            return
        if not is_control:
            self.fed_s = self.hub.time_s()
        if self._delayed:
            self._delayed.append((0.0, frames))
        else:
            self._outbox.append(frames)

    def delay(self, frames: bytes, delay_s: float) -> None:
        """Put frames behind what waits, and hold them and all that follows for `delay_s`."""
        if not self.closing and not self.half_open:
            self._delayed.append((self.hub.real_s() + delay_s, frames))

    def flush(self) -> None:
        """Send what waits; close a client that has not read for too long."""
        if self._delayed:
            self._release()
        if not self._outbox or self.closing:
            return
        data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
        self._outbox.clear()
        waiting = self._transport.get_write_buffer_size() + sum(len(b) for _, b in self._delayed)
        if waiting > self.hub.buffer_bytes:
            self.hub.stats.overflows += 1
            self.close(self.route.rules.overflow_code, "slow consumer", why="overflow")
            return
        self._transport.write(data)
        self.hub.stats.bytes += len(data)
        self.heard_s = self.hub.time_s()

    def is_silent(self) -> bool:
        """Return whether a fault mutes data now."""
        return self.half_open or (
            bool(self.silent_until_s) and self.hub.real_s() < self.silent_until_s
        )

    def mute(self, fault: Fault) -> None:
        """Send no data for the time a fault says, or ever after."""
        self.muted_by = fault
        self.silent_until_s = self.hub.real_s() + fault.number("for_s", _FOREVER)

    def freeze(self, fault: Fault) -> None:
        """Send nothing and read nothing ever after."""
        self.muted_by = fault
        self.half_open = True
        self._outbox.clear()
        self._delayed.clear()
        self._transport.pause_reading()

    def spoke(self) -> bool:
        """Count a message of the client; return False when that broke the rate limit."""
        self.hub.stats.received += 1
        now_s = self.spoke_s = self.hub.time_s()
        limit = self.hub.scaled(self.route.rules.messages_per_s)
        return not limit or _count(self._recent, now_s, 1.0) <= limit

    def ponged(self, payload: bytes) -> None:
        """Take a pong; only one that repeats the ping's payload counts."""
        if payload == self._ping:
            self._ping = None

    def pinged(self, payload: bytes) -> None:
        """Answer a client's ping."""
        self.write(control_frame(PONG, payload), is_control=True)
        self.flush()

    def check(self) -> None:
        """Ping when it is time, and close when a rule is broken or time is up."""
        rules, now_s = self.route.rules, self.hub.time_s()
        if self.closing or self.half_open:
            return
        if self._ping is not None and now_s - self._pinged_s > rules.pong_within_s:
            self.hub.stats.violations["pong"] += 1
            self.close(1008, "Pong timeout", why="pong")
        elif rules.idle_s and now_s - max(self.heard_s, self.spoke_s) > rules.idle_s:
            self.hub.stats.violations["idle"] += 1
            self.close(rules.idle_code, "No data received in 30s.", why="idle")
        elif (rules.silent_s and now_s - self.spoke_s > rules.silent_s) or (
            rules.starved_s and now_s - self.fed_s > rules.starved_s
        ):
            self.hub.stats.violations["idle"] += 1
            self.close(rules.idle_code, "", why="idle")
        elif rules.lifetime_s and now_s - self.opened_s > rules.lifetime_s:
            self.close(1000, "", why="lifetime")
        elif self._ping is None and 0 < rules.ping_every_s <= now_s - self._pinged_s:
            self._pinged_s = now_s
            self._ping = b"%d" % (self.hub.now_us() // 1_000)
            self.write(control_frame(PING, self._ping), is_control=True)
            self.flush()

    def echo_close(self, code: int | None) -> None:
        """Answer a client's close frame, and end."""
        if not self.closing:
            payload = b"" if code is None else code.to_bytes(2, "big")
            self.write(control_frame(CLOSE, payload), is_control=True)
            self.flush()
            self._end("client")

    def lost(self) -> None:
        """Note that the client is gone."""
        if not self.closing:
            self._end("client")

    def _end(self, why: str) -> None:
        self.closing = True
        self._outbox.clear()
        self._delayed.clear()
        self.hub.ended(self, why)

    def _release(self) -> None:
        now_s = self.hub.real_s()
        while self._delayed and self._delayed[0][0] <= now_s:
            self._outbox.append(self._delayed.popleft()[1])


def _count(times: deque[float], now_s: float, window_s: float) -> int:
    """Count something that happens now; return how often it did in the window."""
    times.append(now_s)
    while times[0] <= now_s - window_s:
        times.popleft()
    return len(times)
