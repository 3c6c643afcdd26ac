"""From feeds to the store: small commits, and what happens when the store does not take them."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from zvt_crypto.core.errors import CryptoError, StoreFull
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.store import Batch, Store
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Feed

log = logging.getLogger(__name__)

# After making columns of so many rows, a good part of a millisecond, others get their turn.
_AT_ONCE = 1_000
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 15.0


class Sink:
    """Commits what feeds hold, every so often, in one transaction.

    While the store fails, feeds keep their rows up to `pending_rows`; beyond, a feed drops them and
    its ledger will owe their time. Handlers are given their records all the while.

    Attributes:
        commits: transactions made; `rows` in them; `seconds` they took.
        failures: commits that failed; `failing` says why the store does not take rows now.
    """

    def __init__(
        self, store: Store, clock: Clock, config: StreamConfig, feeds: Callable[[], Iterable[Feed]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._feeds = feeds
        self._lock = asyncio.Lock()
        self._wait_s = _FIRST_WAIT_S
        self._retry_at_s = 0.0
        self.commits = self.rows = self.failures = 0
        self.seconds = 0.0
        self.failing = ""

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await asyncio.sleep(self._config.commit_every_s)
            if self._clock.monotonic_s() >= self._retry_at_s:
                await self.commit()
            self._bound()

    async def commit(self) -> bool:
        """Make durable all that came so far; return whether the store took it."""
        async with self._lock:
            drained = await self._drain()
            if not drained:
                return True
            return await self._write(drained)

    async def _drain(self) -> list[tuple[Feed, Batch]]:
        """Take what feeds hold; sockets get their turn in between, or many feeds would be a stall.

        A feed is drained in one go, so its rows and what is claimed of them stay together.
        """
        drained: list[tuple[Feed, Batch]] = []
        rows = 0
        try:
            for feed in self._feeds():
                pending = feed.pending_rows
                if (batch := feed.drain()) is not None:
                    drained.append((feed, batch))
                rows += pending
                if rows >= _AT_ONCE:
                    rows = 0
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._put_back(drained)
            raise
        return drained

    async def _write(self, drained: list[tuple[Feed, Batch]]) -> bool:
        began_s = self._clock.monotonic_s()
        try:
            await self._store.commit([batch for _, batch in drained])
        except asyncio.CancelledError:
            # Nobody knows whether it was written; rows written again change nothing.
            self._put_back(drained)
            raise
        except (CryptoError, OSError) as e:
            self._put_back(drained)
            self._failed(e)
            return False
        self.commits += 1
        self.rows += sum(batch.table.num_rows for _, batch in drained)
        self.seconds += self._clock.monotonic_s() - began_s
        if self.failing:
            log.warning("stream_store_back", extra={"failures": self.failures})
        self.failing, self._wait_s, self._retry_at_s = "", _FIRST_WAIT_S, 0.0
        return True

    @staticmethod
    def _put_back(drained: list[tuple[Feed, Batch]]) -> None:
        for feed, batch in drained:
            feed.put_back(batch)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not self.failing:
            level = logging.ERROR if isinstance(error, StoreFull) else logging.WARNING
            log.log(level, "stream_store_failed", extra={"detail": str(error)})
        self.failing = str(error)
        self._retry_at_s = self._clock.monotonic_s() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _bound(self) -> None:
        for feed in self._feeds():
            if feed.pending_rows > self._config.pending_rows:
                feed.drop_pending()
