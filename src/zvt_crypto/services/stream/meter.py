"""What an operator wants to know of a running service: rates, latency, totals, verdicts.

Nothing here costs anything per message: counters of feeds and connections are read a few times a
second, and latency is sampled from the newest record of each feed.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.series import Kind
from zvt_crypto.services.stream.connection import Connection, ConnectionStats
from zvt_crypto.services.stream.feed import COUNTED, Counters, Feed
from zvt_crypto.services.stream.handler import HandlerQueue
from zvt_crypto.services.stream.service import CryptoStreamService

_LOOK_EVERY_S: Final = 0.25
_RATE_OVER_S: Final = 5.0
_SAMPLES: Final = 100
# Of more series than this not all are looked at each time.
_AT_ONCE: Final = 200

LATENCY_BOUNDS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the buckets latencies are counted in; beyond the last is one more."""

# Kinds whose `ts_event` says when it happened: a candle's says when it opened.
_TIMED: Final = frozenset(
    (Kind.TRADES, Kind.QUOTES, Kind.BOOK, Kind.MARK_PRICE, Kind.OPEN_INTEREST, Kind.LIQUIDATIONS)
)


class LatencyCounts(msgspec.Struct):
    """Sampled latencies of one exchange, counted in buckets."""

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    seconds: float = 0.0

    def add(self, latency_s: float) -> None:
        """Count one; a clock of ours that is behind makes it negative, which counts as none."""
        latency_s = max(latency_s, 0.0)
        self.buckets[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1
        self.seconds += latency_s


class FeedReading(msgspec.Struct):
    """What was seen of one feed lately."""

    counts: deque[tuple[float, int]] = msgspec.field(default_factory=deque[tuple[float, int]])
    latencies_us: deque[int] = msgspec.field(default_factory=lambda: deque[int](maxlen=_SAMPLES))
    seen: int = 0

    @property
    def per_s(self) -> float:
        """Return records a second over the last few seconds."""
        if len(self.counts) < 2:  # noqa: PLR2004 - a rate takes two readings
            return 0.0
        (began_s, first), (ended_s, last) = self.counts[0], self.counts[-1]
        return (last - first) / max(ended_s - began_s, 1e-3)

    def latencies(self, *shares: float) -> list[int | None]:
        """Return the latency that each share of the samples does not exceed; None without any."""
        ordered = sorted(self.latencies_us)
        most = len(ordered) - 1
        return [
            ordered[min(most, int(share * len(ordered)))] if ordered else None for share in shares
        ]


class Meter:
    """Reads the counters of a service; those of feeds and sockets that are gone stay in the sums.

    Args:
        service: whose counters it reads.
    """

    def __init__(self, service: CryptoStreamService) -> None:
        self.service = service
        self.readings: dict[Feed, FeedReading] = {}
        self.latencies: dict[str, LatencyCounts] = {}
        self._turn = 0
        self._feeds: dict[Feed, tuple[str, str]] = {}
        self._connections: dict[Connection, str] = {}
        self._handlers: dict[HandlerQueue, str] = {}
        self._gone_feeds: dict[tuple[str, str], Counters] = {}
        self._gone_connections: dict[str, ConnectionStats] = {}
        self._gone_handlers: dict[str, tuple[int, int, int]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            step = 1 + len(self._feeds) // _AT_ONCE
            self._turn = (self._turn + 1) % step
            if self._turn == 0:
                self._follow()
            self._read(list(self._feeds)[self._turn :: step])
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Read the counters of what was not looked at yet."""
        self._follow()
        self._read([feed for feed in self._feeds if feed not in self.readings])

    def _read(self, feeds: Iterable[Feed]) -> None:
        now_s = self.service.clock.monotonic_s()
        for feed in feeds:
            reading = self.readings.setdefault(feed, FeedReading())
            counts = reading.counts
            counts.append((now_s, feed.counters.messages))
            while now_s - counts[0][0] > _RATE_OVER_S:
                counts.popleft()
            if feed.counters.messages != reading.seen:
                reading.seen = feed.counters.messages
                self._sample(feed, reading)

    def _sample(self, feed: Feed, reading: FeedReading) -> None:
        last = feed.last
        if feed.series.kind not in _TIMED or last is None:
            return
        # Where the exchange gives no time both are ours; what a repair brought came long after.
        if last.ts_recv == last.ts_event or last.ts_recv != feed.health.last_us:
            return
        latency_us = last.ts_recv - last.ts_event
        reading.latencies_us.append(latency_us)
        counts = self.latencies.setdefault(feed.series.exchange, LatencyCounts())
        counts.add(latency_us / US_PER_S)

    # -- sums -----------------------------------------------------------------------------------

    def feed_totals(self) -> dict[tuple[str, str], Counters]:
        """Return the counters of all feeds there are and were, by exchange and kind."""
        self._follow()
        sums = {key: replace(one) for key, one in self._gone_feeds.items()}
        for feed, key in self._feeds.items():
            _add_counters(sums.setdefault(key, Counters()), feed.counters)
        return sums

    def connection_totals(self) -> dict[str, ConnectionStats]:
        """Return the counters of all sockets there are and were, by exchange."""
        self._follow()
        sums: dict[str, ConnectionStats] = {}
        for name, stats in self._gone_connections.items():
            _add_stats(sums.setdefault(name, ConnectionStats()), stats)
        for connection, name in self._connections.items():
            _add_stats(sums.setdefault(name, ConnectionStats()), connection.stats)
        return sums

    def handler_totals(self) -> dict[str, tuple[int, int, int]]:
        """Return what handlers handled, dropped and failed on, by the handler's name."""
        self._follow()
        sums = dict(self._gone_handlers)
        for queue in self._handlers:
            sums[queue.name] = _summed(sums.get(queue.name), queue)
        return sums

    def _follow(self) -> None:
        """Learn what is new, and keep the counts of what is gone."""
        feeds = {
            feed: (feed.series.exchange, str(feed.series.kind)) for feed in self.service.feeds()
        }
        for feed in _gone(self._feeds, feeds):
            key = self._feeds[feed]
            _add_counters(self._gone_feeds.setdefault(key, Counters()), feed.counters)
            self.readings.pop(feed, None)
        self._feeds = feeds
        connections = {
            one: venue.exchange
            for venue in self.service.venues.values()
            for one in venue.pool.connections
        }
        for connection in _gone(self._connections, connections):
            name = self._connections[connection]
            kept = self._gone_connections.setdefault(name, ConnectionStats())
            _add_stats(kept, connection.stats)
        self._connections = connections
        handlers = {queue: queue.name for queue in self.service.handlers}
        for queue in _gone(self._handlers, handlers):
            self._gone_handlers[queue.name] = _summed(self._gone_handlers.get(queue.name), queue)
        self._handlers = handlers


def _gone(before: Iterable[Any], now: Iterable[Any]) -> list[Any]:
    there = set(now)
    return [one for one in before if one not in there]


def _add_counters(total: Counters, more: Counters) -> None:
    for name in COUNTED:
        setattr(total, name, getattr(total, name) + getattr(more, name))


def _add_stats(total: ConnectionStats, more: ConnectionStats) -> None:
    for name in ConnectionStats.__slots__:
        setattr(total, name, getattr(total, name) + getattr(more, name))


def _summed(before: tuple[int, int, int] | None, queue: HandlerQueue) -> tuple[int, int, int]:
    handled, dropped, failed = before or (0, 0, 0)
    return handled + queue.handled, dropped + queue.dropped, failed + queue.failed
