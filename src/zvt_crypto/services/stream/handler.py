"""Handlers: who is told of records, and what happens when they are slow."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from zvt_crypto.core.record import ControlRecord, DataRecord
from zvt_crypto.services.stream.config import QueuePolicy

log = logging.getLogger(__name__)

Record = DataRecord | ControlRecord
Handler = Callable[[Any], object] | Callable[[Any], Awaitable[object]]

# After so many records of one handler, others get their turn.
_AT_ONCE: Final = 200
# A handler that fails on every record is not logged on every record.
_LOG_FAILURES: Final = 10


class HandlerQueue:
    """The records on their way to one handler.

    Attributes:
        dropped: records that went unseen because the queue was full.
        failed: records the handler raised on; it is given the next all the same.
        handled: records it took.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        policy: QueuePolicy = "block",
        size: int = 10_000,
        on_full: Callable[[], None] | None = None,
    ) -> None:
        """Make the queue of `handler`; `on_full` is called when it fills and when it has room."""
        if size < 1:
            raise ValueError("a handler's queue holds at least one record")
        self.name = getattr(handler, "__qualname__", type(handler).__name__)
        self.policy: QueuePolicy = policy
        self.size = size
        self.dropped = self.failed = self.handled = 0
        self._handler = handler
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            type(handler).__call__
        )
        if policy == "inline" and self._is_async:
            raise ValueError("an inline handler is a plain function: it cannot wait")
        self._queue: deque[Record] = deque()
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while all that was put has been handled."""
        self.idle.set()
        self._on_full = on_full
        self._is_full = False
        self.put: Callable[[Record], None] = {
            "block": self._put_blocking,
            "drop_oldest": self._put_dropping,
            "inline": self._call_inline,
        }[policy]

    @property
    def is_full(self) -> bool:
        """Return whether it has asked for a pause that has not ended."""
        return self._is_full

    def __len__(self) -> int:
        return len(self._queue)

    def _put_blocking(self, record: Record) -> None:
        queue = self._queue
        queue.append(record)
        self._wake.set()
        self.idle.clear()
        if len(queue) >= self.size and not self._is_full:
            self._is_full = True
            if self._on_full is not None:
                self._on_full()

    def _put_dropping(self, record: Record) -> None:
        queue = self._queue
        if len(queue) >= self.size:
            queue.popleft()
            self.dropped += 1
        queue.append(record)
        self._wake.set()
        self.idle.clear()

    def _call_inline(self, record: Record) -> None:
        try:
            self._handler(record)
        except Exception as e:  # noqa: BLE001 - another's code must not stop the feed
            self._complain(e)
        self.handled += 1

    async def run(self) -> None:
        """Give records to the handler, in order, until cancelled."""
        queue = self._queue
        while True:
            if not queue:
                self.idle.set()
                self._wake.clear()
                await self._wake.wait()
            for _ in range(min(_AT_ONCE, len(queue))):
                record = queue.popleft()
                try:
                    made = self._handler(record)
                    if self._is_async:
                        await made  # type: ignore[misc] # it is awaitable, as its signature says
                except Exception as e:  # noqa: BLE001 - another's code must not stop the feed
                    self._complain(e)
                self.handled += 1
            if self._is_full and len(queue) <= self.size // 2:
                self._is_full = False
                if self._on_full is not None:
                    self._on_full()
            await asyncio.sleep(0)

    def _complain(self, error: Exception) -> None:
        self.failed += 1
        if self.failed <= _LOG_FAILURES:
            told = {"handler": self.name, "failed": self.failed}
            log.error("handler_failed", exc_info=error, extra=told)
