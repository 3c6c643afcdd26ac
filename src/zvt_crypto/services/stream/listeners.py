"""All handlers of a service: who hears of which series, and whether any holds up the sockets."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream.feed import Feed
from zvt_crypto.services.stream.handler import HandlerQueue

log = logging.getLogger(__name__)

_DRAIN_S: Final = 10.0

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


@dataclass(slots=True)
class Listener:
    """A handler's queue and what it wants to hear; None is everything."""

    queue: HandlerQueue
    kinds: frozenset[Kind] | None = None
    symbols: frozenset[str] | None = None
    exchanges: frozenset[str] | None = None
    task: asyncio.Task[None] | None = None

    def wants(self, series: Series) -> bool:
        """Return whether it is told of a series."""
        return (
            (self.kinds is None or series.kind in self.kinds)
            and (self.symbols is None or series.symbol in self.symbols)
            and (self.exchanges is None or series.exchange in self.exchanges)
        )


class Listeners:
    """The handlers of one service.

    Args:
        feeds: gives all feeds.
        pause: stops or resumes reading on all sockets.
        spawn: runs a task of this name.
    """

    def __init__(
        self,
        feeds: Callable[[], Iterable[Feed]],
        pause: Callable[[bool], None],
        spawn: Spawn,
    ) -> None:
        self._feeds = feeds
        self._pause = pause
        self._spawn = spawn
        self._all: list[Listener] = []
        self._is_started = False
        self.is_full = False
        """Whether sockets are paused because a queue that must not lose is full."""

    @property
    def queues(self) -> list[HandlerQueue]:
        """Return the queues of all handlers."""
        return [one.queue for one in self._all]

    def add(self, listener: Listener) -> None:
        """Tell it of what it wants from now on."""
        self._all.append(listener)
        for feed in self._feeds():
            self._join(listener, feed)
        if self._is_started:
            self._run(listener)

    def remove(self, queue: HandlerQueue) -> None:
        """Tell a handler nothing any more; what waits in its queue is dropped."""
        for listener in [one for one in self._all if one.queue is queue]:
            self._all.remove(listener)
            if listener.task is not None:
                listener.task.cancel()
        for feed in self._feeds():
            if queue.put in feed.outlets:
                feed.outlets.remove(queue.put)
        self.check_full()

    def join(self, feed: Feed) -> None:
        """Let those hear of a new feed who want to."""
        for listener in self._all:
            self._join(listener, feed)

    def start(self) -> None:
        """Begin to empty the queues."""
        self._is_started = True
        for listener in self._all:
            self._run(listener)

    async def drain(self) -> None:
        """Wait until all queues are empty, for each some seconds at most."""
        self._is_started = False
        for listener in self._all:
            if listener.task is not None:
                try:
                    async with asyncio.timeout(_DRAIN_S):
                        await listener.queue.idle.wait()
                except TimeoutError:
                    log.warning("stream_handler_left_behind", extra={"queue": len(listener.queue)})

    def check_full(self) -> None:
        """Pause all sockets while any queue that must not lose is full."""
        before = self.is_full
        self.is_full = any(one.queue.is_full for one in self._all)
        if self.is_full != before:
            self._pause(self.is_full)

    @staticmethod
    def _join(listener: Listener, feed: Feed) -> None:
        if listener.wants(feed.series):
            feed.outlets.append(listener.queue.put)

    def _run(self, listener: Listener) -> None:
        queue = listener.queue
        if queue.policy != "inline" and listener.task is None:
            listener.task = self._spawn(queue.run(), f"handler {queue.name}")
