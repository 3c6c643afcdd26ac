"""Asking REST whether a silent feed is quiet or dead."""

import asyncio
import logging
from typing import Any, Final

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Quote, Stale
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.connector import Connector
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Feed
from zvt_crypto.services.stream.trades import TradeFeed, UncountedTradeFeed

log = logging.getLogger(__name__)

PROBED: Final = frozenset((Kind.TRADES, Kind.QUOTES, Kind.BOOK))
"""Kinds for which REST can tell silence from death."""

# The exchange's clock may be a little ahead of ours.
_AHEAD_US: Final = 2 * US_PER_S
# How long a socket has to bring what REST has, before it is called stale.
_CONFIRM_S: Final = 0.5


class Probe:
    """Questions about silent feeds of one exchange."""

    def __init__(self, connector: Connector, config: StreamConfig) -> None:
        self._connector = connector
        self._config = config
        self._doubts: dict[Feed, int] = {}
        self.asked = 0

    async def look(self, feed: Feed, now_us: int) -> bool:
        """Ask about one feed and enter the verdict; return whether it was found stale.

        An exchange that does not answer proves nothing: the feed is asked about again later.
        """
        self.asked += 1
        feed.health.asked(now_us)
        try:
            if isinstance(feed, TradeFeed):
                unseen = await self._unseen(feed, now_us)
                if unseen is not None:
                    # An exchange that was slow altogether answers and pushes at the same time.
                    await asyncio.sleep(_CONFIRM_S)
                return self._judge_trades(feed, unseen, feed.hub.now_us())
            return await self._look_at_top(feed, now_us)
        except CryptoError as e:
            log.info("stream_probe_failed", extra={"series": str(feed.series), "code": e.code})
            return False

    async def _unseen(self, feed: TradeFeed, now_us: int) -> tuple[int, int] | None:
        """Return when the first and the last trade were that the feed did not see, if any.

        Trades of the moment of the newest one seen are left to its ids.
        """
        last = feed.last
        start = feed.health.began_us if last is None else last.ts_event + 1
        asked = Range(start, max(start, now_us) + _AHEAD_US)
        first: int | None = None
        newest = 0
        async for part in self._connector.fetch_trades(feed.instrument, asked):
            if part.table.num_rows:
                moments = times(part.table)
                first = int(moments.min()) if first is None else min(first, int(moments.min()))
                newest = max(newest, int(moments.max()))
        return None if first is None else (first, newest)

    async def audit(self, feed: UncountedTradeFeed, now_us: int) -> None:
        """Compare the newest trades of REST with those that came."""
        start = feed.audited_us or feed.claimed_us
        last = feed.last
        if start is None or last is None:
            return
        end = min(last.ts_event, now_us - int(self._config.in_flight_s * US_PER_S))
        if end <= start:
            return
        self.asked += 1
        try:
            async for part in self._connector.fetch_trades(feed.instrument, Range(start, end)):
                feed.audited(part.asked, part.table)
        except CryptoError as e:
            log.info("stream_audit_failed", extra={"series": str(feed.series), "code": e.code})

    def _judge_trades(self, feed: TradeFeed, unseen: tuple[int, int] | None, now_us: int) -> bool:
        last = feed.last
        if unseen is None or (last is not None and last.ts_event >= unseen[0]):
            feed.health.found_quiet(now_us)  # there is nothing, or it came while we asked
            return False
        if feed.waiting or feed.gap is not None:
            return False  # it comes again, and what is missing shows in the ids
        late_us = 0 if last is None else max(0, last.ts_recv - last.ts_event)
        if now_us - unseen[0] < self._config.in_flight_s * US_PER_S + min(late_us, US_PER_S):
            feed.health.found_young(now_us)
            return False
        self._call_stale(feed, now_us)
        feed.missed(unseen[1], "stale")
        return True

    async def _look_at_top(self, feed: Feed, now_us: int) -> bool:
        found = (await self._connector.quotes([feed.instrument]))[0]
        if _same_top(feed, found):
            self._doubts.pop(feed, None)
            feed.health.found_quiet(now_us)
            return False
        # A cache may be behind us: only what differs twice, a moment apart, is believed.
        doubts = self._doubts[feed] = self._doubts.get(feed, 0) + 1
        if doubts < 2 or feed.health.last_us > now_us:  # noqa: PLR2004 - twice
            feed.health.found_young(now_us)
            return False
        self._doubts.pop(feed, None)
        self._call_stale(feed, now_us)
        return True

    @staticmethod
    def _call_stale(feed: Feed, now_us: int) -> None:
        health = feed.health
        silent_s = (now_us - health.last_us) / US_PER_S
        if not health.found_stale(now_us):
            return  # told already
        feed.counters.stale += 1
        log.warning("stream_stale", extra={"series": str(feed.series), "silent_s": silent_s})
        feed.announce(Stale(feed.series, now_us, silent_s))


def _same_top(feed: Feed, found: Quote) -> bool:
    bid: Any
    ask: Any
    if isinstance(feed, BookFeed):
        bid, ask = feed.sync.book.best_bid, feed.sync.book.best_ask
        return (bid and bid[0], ask and ask[0]) == (found.bid_price, found.ask_price)
    if feed.last is None:
        return False
    return (feed.last.bid_price, feed.last.ask_price) == (found.bid_price, found.ask_price)
