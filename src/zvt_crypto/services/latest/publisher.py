"""`CachePublisher`: what a live stream brings, to the cache and to those who listen there."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from zvt_crypto.core.book import OrderBook
from zvt_crypto.core.record import Book, Candle, Quote
from zvt_crypto.core.series import Series
from zvt_crypto.ports.cache import Cache, Entry, Event, Held, Published, series_of
from zvt_crypto.services.latest.config import LatestConfig

log = logging.getLogger(__name__)

Books = Callable[[str, str], OrderBook | None]


class CachePublisher:
    """Takes live records in a moment and writes them to the cache in the background.

    Give `take` to a stream as an inline handler: it only notes the record. Every few milliseconds
    the newest of each series, closed candles and all events go to the cache in one go; while one
    such write runs the next gathers. When the cache is slow or away, the newest of each series
    stays known, events beyond the bound go unpublished, the oldest first, and are counted: the
    stream is never held up.

    Args:
        cache: where to.
        books: returns the book of an exchange's symbol as it stands, for its top.
        config: bounds.

    Attributes:
        taken: records taken.
        dropped: events that were not published, as too many waited.
    """

    def __init__(
        self, cache: Cache, *, books: Books | None = None, config: LatestConfig | None = None
    ) -> None:
        self._cache = cache
        self._books = books
        self._config = config or LatestConfig()
        self._latest: dict[Any, Any] = {}
        self._closed: deque[Candle] = deque(maxlen=self._config.events)
        self._events: deque[Any] = deque()
        self._series: dict[Any, Series] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_ending = False
        self.taken = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def take(self, record: Any) -> None:
        """Note a record; data and control records alike."""
        self.taken += 1
        events = self._events
        if len(events) >= self._config.events:
            events.popleft()
            self.dropped += 1
        events.append(record)
        if not self._wake.is_set():
            self._wake.set()
        kind = type(record)
        if kind is Candle:
            key = (record.symbol, record.exchange, record.interval)
            if record.is_closed:
                self._closed.append(record)
        else:
            symbol = getattr(record, "symbol", None)
            if symbol is None:
                return  # a control record has no latest value
            key = (symbol, record.exchange, kind)
        before = self._latest.get(key)
        if before is None or before.ts_event <= record.ts_event:
            self._latest[key] = record

    async def flush(self) -> None:
        """Write all that has been taken so far."""
        while self._events or self._latest or self._closed:
            await self._write()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="cache publisher")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._is_ending = True
        self._wake.set()
        if task is not None:
            await task  # each write has a deadline
        await self.flush()

    async def _run(self) -> None:
        while not self._is_ending:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Exception:
                log.exception("cache_publish_failed")
            await asyncio.sleep(self._config.flush_s)

    async def _write(self) -> None:
        """Write a part of what waits: others get their turn after so many records."""
        most = self._config.at_once
        entries: list[Entry] = []
        for _ in range(min(most, len(self._closed))):
            candle = self._closed.popleft()
            entries.append(Entry(self._series_of(candle), candle))
        for key in list(self._latest)[: most - len(entries)]:
            entry = self._entry(self._latest.pop(key))
            if entry is not None:
                entries.append(entry)
        events = self._events
        published = [
            Published(self._series_of(one), one)
            for one in (events.popleft() for _ in range(min(most, len(events))))
        ]
        await self._cache.put(entries, published)
        await asyncio.sleep(0)

    def _entry(self, record: Any) -> Entry | None:
        if type(record) is not Book:
            return Entry(self._series_of(record), cast("Held", record))
        book = None if self._books is None else self._books(record.exchange, record.symbol)
        if book is None:
            return None  # it is void: the next snapshot brings its top
        bid, ask = book.best_bid, book.best_ask
        top = Quote(
            record.exchange,
            record.symbol,
            record.ts_event,
            record.ts_recv,
            bid and bid[0],
            bid and bid[1],
            ask and ask[0],
            ask and ask[1],
            record.sequence,
        )
        return Entry(self._series_of(record), top)

    def _series_of(self, record: Event) -> Series:
        symbol = getattr(record, "symbol", None)
        if symbol is None:
            return series_of(record)
        width = getattr(record, "interval", None)
        key = (type(record), cast("Any", record).exchange, symbol, width)
        found = self._series.get(key)
        if found is None:
            # As many as there are subscriptions, of a process that streams.
            found = self._series[key] = series_of(record)
        return found
