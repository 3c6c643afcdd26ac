"""The sockets of one exchange: topics shared out, connections paced, replaced and failed over."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.stream import Dialer, Resolve, StreamProtocol
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.connection import Connection, FrameTap, Router

log = logging.getLogger(__name__)

# How long a replacement may take to be subscribed before the old connection goes all the same.
_OVERLAP_S: Final = 15.0
# And how long both run side by side once it is.
_BOTH_S: Final = 1.0


class Pool:
    """Connections of one exchange and who carries which topic."""

    def __init__(
        self,
        protocol: StreamProtocol,
        dialer: Dialer,
        resolve: Resolve,
        router: Router,
        config: StreamConfig,
        *,
        clock: Clock,
        rng: Random,
        spawn: Callable[..., asyncio.Task[None]],
        tap: FrameTap | None = None,
    ) -> None:
        self.protocol = protocol
        self.connections: list[Connection] = []
        self._dialer = dialer
        self._resolve = resolve
        self._router = router
        self._config = config
        self._clock = clock
        self._rng = rng
        self._spawn = spawn
        self._tap = tap
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._carried: set[tuple[str, str]] = set()
        self._dialled: deque[float] = deque()
        self._gate = asyncio.Lock()
        self._retiring: set[Connection] = set()
        self._count = 0
        self._is_paused = False

    # -- topics ---------------------------------------------------------------------------------

    def add(self, route: str, topics: Iterable[str]) -> None:
        """Carry these topics, on connections with room or on new ones."""
        coming = [topic for topic in topics if (route, topic) not in self._carried]
        self._carried.update((route, topic) for topic in coming)
        for connection in self._of(route):
            part, coming = coming[: connection.room], coming[max(0, connection.room) :]
            if part:
                connection.add(part)
        while coming:
            connection = self._open(route)
            part, coming = coming[: connection.room], coming[connection.room :]
            connection.add(part)

    def remove(self, route: str, topics: Iterable[str]) -> None:
        """Carry these topics no longer; a connection without any is closed."""
        leaving = list(topics)
        self._carried.difference_update((route, topic) for topic in leaving)
        for connection in [one for one in self.connections if one.route == route]:
            mine = [topic for topic in leaving if topic in connection.topics]
            if mine:
                connection.remove(mine)
            if not connection.topics:
                self._close(connection)

    def carriers(self, route: str, topic: str) -> list[Connection]:
        """Return the open connections that carry a topic."""
        return [
            one
            for one in self.connections
            if one.route == route and one.is_open and topic in one.topics
        ]

    def renew(self, route: str, topic: str) -> None:
        """Unsubscribe a topic and subscribe it again, where it is."""
        for connection in self.carriers(route, topic):
            connection.renew(topic)

    def is_asked(self, route: str, topic: str) -> bool:
        """Return whether a topic has been asked for on an open connection."""
        return any(topic in one.active for one in self.carriers(route, topic))

    def is_retiring(self, connection: Connection) -> bool:
        """Return whether another connection is taking over from this one."""
        return connection in self._retiring

    def move(self, route: str, topic: str) -> None:
        """Carry a topic on another connection, away from where it went silent.

        One with room is taken, the fullest of those that are open, before a new one is dialled:
        exchanges count the connections of an address.
        """
        if (route, topic) not in self._carried:
            return
        old = [one for one in self.connections if one.route == route and topic in one.topics]
        others = [one for one in self._of(route) if one not in old and one.room > 0]
        fullest = max(others, key=lambda one: (one.is_open, len(one.topics)), default=None)
        (fullest or self._open(route)).add([topic])
        for connection in old:
            connection.remove([topic])
            if not connection.topics:
                self._close(connection)

    def pause(self, *, on: bool) -> None:
        """Stop or resume reading on every socket."""
        self._is_paused = on
        for connection in self.connections:
            connection.pause(on=on)

    def tick(self, now_us: int) -> None:
        """Let every connection look after itself."""
        for connection in list(self.connections):
            connection.tick(now_us)

    # -- rotation -------------------------------------------------------------------------------

    def retire(self, connection: Connection, detail: str) -> None:
        """Replace a connection by a new one with the same topics, both open for a while."""
        if connection in self._retiring or connection not in self._tasks:
            return
        self._retiring.add(connection)
        log.info("stream_rotating", extra={"connection": connection.name, "detail": detail})
        fresh = self._open(connection.route)
        fresh.add(connection.topics)
        self._spawn(self._hand_over(connection, fresh), name=f"rotate {connection.name}")

    async def _hand_over(self, old: Connection, fresh: Connection) -> None:
        try:
            async with asyncio.timeout(_OVERLAP_S):
                await fresh.ready.wait()
            await asyncio.sleep(_BOTH_S)
        except TimeoutError:
            log.warning("stream_rotation_slow", extra={"connection": fresh.name})
        self._retiring.discard(old)
        self._close(old)

    # -- connections ----------------------------------------------------------------------------

    async def close(self) -> None:
        """Close all sockets."""
        tasks = list(self._tasks.values())
        self.connections.clear()
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _of(self, route: str) -> list[Connection]:
        return [one for one in self.connections if one.route == route and one not in self._retiring]

    def _open(self, route: str) -> Connection:
        self._count += 1
        connection = Connection(
            f"{self.protocol.exchange}-{route}-{self._count}",
            route,
            self.protocol,
            dialer=self._dialer,
            resolve=self._resolve,
            router=self._router,
            config=self._config,
            clock=self._clock,
            rng=self._rng,
            admit=lambda: self._admit(route),
            tap=self._tap,
        )
        connection.pause(on=self._is_paused)
        self.connections.append(connection)
        self._tasks[connection] = self._spawn(connection.run(), name=connection.name)
        return connection

    def _close(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()

    async def _admit(self, route: str) -> None:
        """Wait until the exchange allows one more new connection."""
        limits = self.protocol.limits(route)
        window_s = limits.connections_window_s
        async with self._gate:
            while True:
                now_s = self._clock.monotonic_s()
                while self._dialled and now_s - self._dialled[0] > window_s:
                    self._dialled.popleft()
                if len(self._dialled) < limits.connections_per_window:
                    break
                await self._clock.sleep(window_s - (now_s - self._dialled[0]) + 0.01)
            self._dialled.append(self._clock.monotonic_s())


__all__ = ["Pool"]
