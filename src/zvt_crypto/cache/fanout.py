"""Who hears of which series in this process; queues are bounded and drop the oldest."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from zvt_crypto.core.series import Series
from zvt_crypto.ports.cache import CacheCounts, Event, Published


class Listener:
    """A `Subscription` over a `Fanout`."""

    def __init__(self, fanout: "Fanout", series: Iterable[Series], size: int) -> None:
        if size < 1:
            raise ValueError("a subscription's queue holds at least one record")
        self.series = frozenset(series)
        self.dropped = 0
        self._fanout = fanout
        self._size = size
        self._queue: deque[Published] = deque()
        self._wake = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._queue)

    async def __aenter__(self) -> Self:
        await self._fanout.join(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Published:
        while not self._queue:
            if self._is_closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def put(self, one: Published) -> bool:
        """Queue a record; return whether an older one had to go for it."""
        is_full = len(self._queue) >= self._size
        if is_full:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(one)
        self._wake.set()
        return is_full

    async def aclose(self) -> None:
        """End it; a consumer that waits is told. What is queued is dropped."""
        self._is_closed = True
        self._queue.clear()
        self._wake.set()
        await self._fanout.leave(self)


Change = Callable[[Sequence[Series]], Awaitable[None]]


class Fanout:
    """The subscriptions of one cache.

    Args:
        counts: where records received and dropped are counted.
        added: is told of series that had no listener before, and returns when they are heard of.
        removed: is told of series that have none any more.
    """

    def __init__(
        self, counts: CacheCounts, added: Change | None = None, removed: Change | None = None
    ) -> None:
        self._counts = counts
        self._added = added
        self._removed = removed
        self._by_series: dict[Series, set[Listener]] = {}

    @property
    def series(self) -> list[Series]:
        """Return the series somebody listens to."""
        return list(self._by_series)

    async def join(self, listener: Listener) -> None:
        """Tell it of its series from now on."""
        new = [one for one in listener.series if one not in self._by_series]
        for one in listener.series:
            self._by_series.setdefault(one, set()).add(listener)
        if new and self._added is not None:
            await self._added(new)

    async def leave(self, listener: Listener) -> None:
        """Tell it nothing any more."""
        gone: list[Series] = []
        for one in listener.series:
            held = self._by_series.get(one, set())
            held.discard(listener)
            if not held and self._by_series.pop(one, None) is not None:
                gone.append(one)
        if gone and self._removed is not None:
            await self._removed(gone)

    def give(self, series: Series, records: Iterable[Event]) -> None:
        """Give records to those who listen to their series."""
        listeners = self._by_series.get(series)
        if not listeners:
            return
        counts = self._counts
        for record in records:
            one = Published(series, record)
            for listener in listeners:
                counts.received += 1
                counts.dropped += listener.put(one)

    async def close(self) -> None:
        """End all subscriptions."""
        for listener in {one for held in self._by_series.values() for one in held}:
            await listener.aclose()
