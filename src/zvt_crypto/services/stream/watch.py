"""What is looked into while data flows: silence, uncounted trades, and what stayed missing."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any, Final

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.series import Series
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.filler import Filler
from zvt_crypto.ports.store import Store
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Feed
from zvt_crypto.services.stream.probe import PROBED, Probe
from zvt_crypto.services.stream.revive import Reviver
from zvt_crypto.services.stream.trades import TradeFeed, UncountedTradeFeed
from zvt_crypto.services.stream.venue import Venue

log = logging.getLogger(__name__)

_AT_ONCE: Final = 4

Spawn = Callable[[Coroutine[Any, Any, None], str], object]
"""Runs a task of this name until the service closes."""


class Watch:
    """Asks REST what sockets do not tell, a little at a time.

    Args:
        venues: the exchanges that are streamed, as they come.
        clock, config: of the service.
        spawn: runs a task.
        rng: chance of waits.
    """

    def __init__(
        self,
        venues: Mapping[str, Venue],
        clock: Clock,
        config: StreamConfig,
        spawn: Spawn,
        rng: Random,
    ) -> None:
        self._venues = venues
        self._clock = clock
        self._config = config
        self._spawn = spawn
        self._reviver = Reviver(config, rng)
        self._probes: dict[str, Probe] = {}
        self._probed_s: dict[str, float] = {}
        self._audited_s: dict[Series, float] = {}
        self._probing = self._auditing = 0

    def tick(self, now_us: int) -> None:
        """Look into what is due; not while sockets are paused, for then all is silent."""
        self._reviver.tick()
        for venue in self._venues.values():
            self._look_into_silence(venue, now_us)
            self._audit_uncounted(venue)

    def _probe_of(self, venue: Venue) -> Probe:
        return self._probes.setdefault(venue.exchange, Probe(venue.connector, self._config))

    def _look_into_silence(self, venue: Venue, now_us: int) -> None:
        """Ask about the feed that has been silent for longest beyond its habit, if any."""
        now_s = self._clock.monotonic_s()
        pause_s = 1.0 / self._config.probes_per_s
        if now_s - self._probed_s.get(venue.exchange, 0.0) < pause_s or self._probing >= _AT_ONCE:
            return
        suspects = [
            feed
            for feed in venue.feeds.values()
            if feed.series.kind in PROBED and feed.gap is None and feed.health.is_suspect(now_us)
        ]
        if not suspects:
            return
        self._probed_s[venue.exchange] = now_s
        worst = max(suspects, key=lambda feed: feed.health.overdue_us(now_us))
        self._spawn(self._look(venue, worst), f"probe {worst.series}")

    async def _look(self, venue: Venue, feed: Feed) -> None:
        self._probing += 1
        try:
            is_stale = await self._probe_of(venue).look(feed, self._clock.now_us())
        finally:
            self._probing -= 1
        if not is_stale:
            return
        if isinstance(feed, BookFeed) and feed.sync.is_synced:
            feed.void("stale")
        self._reviver.revive(venue, feed, self._clock.now_us())

    def _audit_uncounted(self, venue: Venue) -> None:
        """Compare one uncounted feed whose turn it is with REST."""
        now_s = self._clock.monotonic_s()
        due = [
            feed
            for feed in venue.feeds.values()
            if isinstance(feed, UncountedTradeFeed)
            and feed.gap is None
            and now_s - self._audited_s.get(feed.series, 0.0) > self._config.audit_every_s
        ]
        if not due or self._auditing >= _AT_ONCE:
            return
        oldest = min(due, key=lambda feed: self._audited_s.get(feed.series, 0.0))
        self._audited_s[oldest.series] = now_s
        self._spawn(self._audit(venue, oldest), f"audit {oldest.series}")

    async def _audit(self, venue: Venue, feed: UncountedTradeFeed) -> None:
        self._auditing += 1
        try:
            await self._probe_of(venue).audit(feed, self._clock.now_us())
        finally:
            self._auditing -= 1

    async def retry_missing(self, store: Store, filler: Filler) -> None:
        """Ask again, every now and then, for trades that stayed missing; until cancelled."""
        while True:
            await asyncio.sleep(self._config.retry_missing_s)
            since = self._clock.now_us() - int(self._config.catch_up_s * US_PER_S)
            feeds = [feed for venue in self._venues.values() for feed in venue.feeds.values()]
            for feed in feeds:
                if isinstance(feed, TradeFeed) and feed.gap is None:
                    await self._retry(feed.series, since, store, filler)

    @staticmethod
    async def _retry(series: Series, since: int, store: Store, filler: Filler) -> None:
        try:
            for entry in await store.coverage(series):
                if entry.verdict is Verdict.MISSING and entry.end > since:
                    await filler.fill(series, entry.range)
        except CryptoError as e:
            log.info("stream_retry_failed", extra={"series": str(series), "code": e.code})
