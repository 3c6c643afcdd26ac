"""Gaps are closed by the loader: what was lost is loaded into the store, and read back."""

import asyncio
import logging
from random import Random

import pyarrow as pa

from zvt_crypto.core.errors import DataError, FatalError, RetryableError, StoreFull
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import SETTLED, Coverage, Verdict
from zvt_crypto.core.ranges import Range, subtract
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.net.backoff import backoff
from zvt_crypto.ports.filler import Answered, Filler
from zvt_crypto.ports.store import Store
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Feed, OpenGap
from zvt_crypto.services.stream.sink import Sink
from zvt_crypto.services.stream.trades import CountedTradeFeed, ids_are_whole

log = logging.getLogger(__name__)

# Tries by ids alone; then the loader proves, in questions of its own, what there is and is not.
_BY_IDS = 2
_MARGIN_S = 0.3
# A store that does not take rows is asked again after this; it does not count as a try.
_STORE_WAIT_S = 0.5
# The answer to one question is held in memory.
_SHORT_US = 600 * US_PER_S


class Mender:
    """Repairs gaps, a few of each exchange at once."""

    def __init__(
        self, store: Store, filler: Filler, sink: Sink, config: StreamConfig, rng: Random
    ) -> None:
        self._store = store
        self._filler = filler
        self._sink = sink
        self._config = config
        self._rng = rng
        self._slots: dict[str, asyncio.Semaphore] = {}
        self.under_way = 0

    async def mend(self, feed: Feed, gap: OpenGap) -> None:
        """Repair a gap and tell its feed; the ledger is the judge of what was repaired."""
        slots = self._slots.setdefault(
            feed.series.exchange, asyncio.Semaphore(self._config.repairs_at_once)
        )
        self.under_way += 1
        try:
            async with slots:
                rows, is_whole, detail = await self._try(feed, gap)
            if gap.reason == "overflow":
                feed.refilled(gap, rows.num_rows, is_whole=is_whole, detail=detail)
            else:
                feed.mended(gap, rows, is_whole=is_whole, detail=detail)
            log.log(
                logging.INFO if is_whole else logging.WARNING,
                "stream_gap_repaired" if is_whole else "stream_gap_open",
                extra={"series": str(feed.series), "rows": rows.num_rows, "detail": detail},
            )
        finally:
            self.under_way -= 1

    async def _try(self, feed: Feed, gap: OpenGap) -> tuple[pa.Table, bool, str]:
        """Return the rows of the gap's time, whether they are all, and if not, why."""
        waits = backoff(self._rng, first_s=0.5, cap_s=10.0)
        detail = ""
        again = gap.reason == "candles"
        series, asked = feed.series, gap.range
        for _ in range(self._config.repair_tries):
            gap.tries += 1
            # The loader looks at what lies beside the gap, so that has to be in the store.
            while not await self._sink.commit():  # noqa: ASYNC110 - it asks the store each time
                await asyncio.sleep(_STORE_WAIT_S)
            try:
                if gap.is_refuted:
                    await self._store.discard(series, asked)
                    gap.is_refuted = False
                await self._fill(feed, gap, again=again)
            except (StoreFull, RetryableError, DataError) as e:
                detail = str(e)
            except FatalError as e:
                return await self._read(series, asked), False, str(e)
            else:
                ledger = await self._store.coverage(series, asked)
                rows = await self._read(series, asked)
                if _is_lost(ledger):
                    return rows, False, "the exchange does not have it any more"
                if _is_settled(asked, ledger) and _ids_agree(series, gap, rows):
                    return rows, True, ""
                # An answer from a cache may be older than the gap: the same question again.
                again = _is_settled(asked, ledger)
                detail = "the exchange has not given all of it yet"
            await asyncio.sleep(0.2 + next(waits))
        ledger = await self._store.coverage(series, asked)
        # Asked so often, an exchange that leaves ids out has left them out: not every hole in ids
        # is a loss.
        is_whole = _is_settled(asked, ledger) and not _is_lost(ledger)
        return await self._read(series, asked), is_whole, detail

    async def _fill(self, feed: Feed, gap: OpenGap, *, again: bool) -> None:
        """Load the gap: by its ids where they are known, which one question answers, at first."""
        first = gap.first_id
        is_short = gap.end - gap.start < _SHORT_US
        if first is None or not is_short or gap.tries > _BY_IDS:
            await self._until_settled(feed, gap)
            await self._filler.fill(feed.series, gap.range, again=again)
            return
        found = await self._filler.fill_trades(feed.series, gap.range, first, gap.last_id)
        if found is Answered.STRANGER and gap.tries > 1 and isinstance(feed, CountedTradeFeed):
            # One wrong id far ahead must not make all trades that follow look old.
            feed.disown(gap)
            found = await self._filler.fill_trades(feed.series, gap.range, first, gap.last_id)
        if found is not Answered.ALL and gap.tries == _BY_IDS:
            await self._filler.fill(feed.series, gap.range, again=again)

    async def _until_settled(self, feed: Feed, gap: OpenGap) -> None:
        """Wait until REST can have all of the gap: before, the loader leaves its end alone."""
        settle_s = self._filler.settle_s(feed.series.exchange) + _MARGIN_S
        wait_s = (gap.end - feed.hub.now_us()) / US_PER_S + settle_s
        await asyncio.sleep(max(0.0, min(wait_s, 2 * settle_s)))

    async def _read(self, series: Series, asked: Range) -> pa.Table:
        return await self._store.read(series, asked)


def _is_settled(asked: Range, ledger: list[Coverage]) -> bool:
    return not subtract([asked], [entry.range for entry in ledger if entry.verdict in SETTLED])


def _is_lost(ledger: list[Coverage]) -> bool:
    return any(entry.verdict is Verdict.UNRECOVERABLE for entry in ledger)


def _ids_agree(series: Series, gap: OpenGap, rows: pa.Table) -> bool:
    if series.kind is not Kind.TRADES or gap.first_id is None:
        return True
    last = gap.last_id
    if last is None:
        last = max((int(one) for one in rows.column("trade_id").to_pylist()), default=0)
    return ids_are_whole(rows, gap.first_id, last)
