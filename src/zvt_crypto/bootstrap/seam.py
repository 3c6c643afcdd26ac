"""The seam between history and live: proven by the ledger, told with the rows on both sides."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from zvt_crypto.bootstrap.live import Live
from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import Source, Verdict, is_complete
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.loader import LoadRequest, SeriesReport
from zvt_crypto.services.stream.feed import Feed
from zvt_crypto.services.stream.health import Verdict as Health

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.5
_LOAD_EVERY_US: Final = 5 * US_PER_S


class Seam(msgspec.Struct, frozen=True):
    """A seam that holds: the ledger owes nothing between the end of history and live.

    What it owes before, the load has told. `archive_rows` and `rest_rows` are history by where it
    came from; `proof` names both sides.
    """

    series: Series
    start_us: int
    live_us: int
    archive_rows: int
    rest_rows: int
    proof: str


class _Joint(msgspec.Struct):
    """A seam that is still to be proven."""

    feed: Feed
    asked: Range
    newest_us: int | None
    newest_id: str | None
    loaded_us: int = 0


class Seams:
    """Watches the seams of a live run over the history that was just loaded.

    Args:
        live: running, its series added.
        reports: what the load of each series came to.
    """

    def __init__(self, live: Live, reports: Sequence[SeriesReport]) -> None:
        self._live = live
        self._reports = reports
        self._began_us = live.platform.clock.now_us()
        self._joints: list[_Joint] = []

    async def prepare(self) -> None:
        """Remember where history ends; called before the series are added to the service."""
        store = self._live.platform.store
        self._ends = await store.latest([one.series for one in self._reports])

    async def proven(self) -> AsyncIterator[Seam]:
        """Yield each seam once it is proven; end when all are."""
        feeds = {feed.series: feed for feed in self._live.service.feeds()}
        for report, end in zip(self._reports, self._ends, strict=True):
            feed = feeds.get(report.series)
            if feed is None:
                continue
            at = int(times(end)[-1]) if end.num_rows else None
            is_trade = report.series.kind is Kind.TRADES and end.num_rows
            newest = end.column("trade_id")[-1].as_py() if is_trade else None
            self._joints.append(_Joint(feed, report.asked, at, newest))
        while self._joints:
            for joint in list(self._joints):
                seam = await self._look(joint)
                if seam is not None:
                    self._joints.remove(joint)
                    yield seam
            await asyncio.sleep(_LOOK_EVERY_S)

    @property
    def open(self) -> list[Series]:
        """Return the series whose seam is not proven yet."""
        return [joint.feed.series for joint in self._joints]

    async def _look(self, joint: _Joint) -> Seam | None:
        if joint.feed.open_gaps or joint.feed.health.verdict is Health.DEAD:
            return None
        if joint.feed.series.kind is Kind.TRADES:
            return await self._look_at_trades(joint)
        return await self._look_at_grid(joint)

    async def _look_at_trades(self, joint: _Joint) -> Seam | None:
        """The feed goes on at the newest stored trade; its first claim shows what it saw."""
        series, store = joint.feed.series, self._live.platform.store
        ledger = await store.coverage(series)
        live = [
            e
            for e in ledger
            if e.source is Source.LIVE and e.verdict is Verdict.OBSERVED and e.end > self._began_us
        ]
        since = joint.asked.start if joint.newest_us is None else joint.newest_us
        if not live or not is_complete(Range(since, live[-1].end), ledger):
            return None
        rows = await store.read(series, Range(since, live[-1].end))
        ids = [str(one) for one in rows.column("trade_id").to_pylist()]
        place = ids.index(joint.newest_id) if joint.newest_id in ids else -1
        if place + 1 >= len(ids):
            return None  # nothing was traded since: there is no second side yet
        connector = self._live.platform.connectors[series.exchange]
        before, after = joint.newest_id, ids[place + 1]
        at = int(times(rows)[place + 1])
        if before is None:
            proof = "nothing was traded before"
        elif connector.counts_trade_ids(joint.feed.instrument):
            step = int(after) - int(before)
            if step == 1:
                proof = f"ids {before}->{after}"
            else:
                proof = f"ids {before}->{after}, asked for and not given: {step - 1} between"
        else:
            proof = f"all trades since {before} loaded again over the joint"
        return await self._seam(joint, at, proof)

    async def _look_at_grid(self, joint: _Joint) -> Seam | None:
        """Live begins with the bar that runs now; history must reach to its open."""
        series, platform = joint.feed.series, self._live.platform
        interval = series.interval
        live_us = self._began_us if interval is None else interval.floor(self._began_us)
        ledger = await platform.store.coverage(series)
        if is_complete(Range(min(joint.asked.end, live_us), live_us), ledger):
            if interval is None:
                return await self._seam(joint, live_us, "settled values are loaded as they come")
            shown = f"bar {_minute(interval.shift(live_us, -1))} stored, {_minute(live_us)} runs"
            return await self._seam(joint, live_us, shown)
        now_us = platform.clock.now_us()
        if now_us - joint.loaded_us > _LOAD_EVERY_US:
            # What closed between the load and now is owed by neither.
            joint.loaded_us = now_us
            request = LoadRequest(
                series.exchange, series.symbol, series.kind, interval, joint.asked.end, live_us
            )
            try:
                if joint.asked.end < live_us:
                    await platform.loader.load([request])
            except CryptoError as e:
                log.info("seam_load_failed", extra={"series": str(series), "code": e.code})
        return None

    async def _seam(self, joint: _Joint, live_us: int, proof: str) -> Seam:
        start = joint.asked.start
        ledger = await self._live.platform.store.coverage(
            joint.feed.series, Range(start, max(live_us, start))
        )
        archive = sum(e.rows for e in ledger if e.source is Source.ARCHIVE)
        rest = sum(e.rows for e in ledger if e.source in (Source.REST, Source.REPAIR))
        return Seam(joint.feed.series, start, live_us, archive, rest, proof)


def _minute(moment: int) -> str:
    seconds = moment // US_PER_S % 86_400
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}"


__all__ = ["Seam", "Seams"]
