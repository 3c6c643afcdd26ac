"""Copying series from one store to another.

A stretch of which both hold the same is left alone; two short answers tell. Where they differ, it
is cut by the calendar, down to what one parcel may hold, and sent. So a second run moves nothing,
and a run that was killed goes on where it was: parcels are entered whole or not at all.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from zvt_crypto.core.errors import CopyRefused, DataError, StoreCorrupt
from zvt_crypto.core.parcel import Parcel, Seal, Unpacked, seal_of
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.schema import weight
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import SeriesInfo, Verified
from zvt_crypto.ports.transfer import PARCEL_ROWS, TransferStore
from zvt_crypto.services.copy.report import CopyReport, Disagreement, SeriesCopy, SeriesProgress
from zvt_crypto.services.copy.stretch import LEVELS, lacks, parts

# Heavy rows of a parcel, as stored: in memory they are several times that.
_PARCEL_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class CopyConfig:
    """How a copy runs.

    Attributes:
        parcel_rows: the most light rows on their way at once, for each series; twice that is held.
        parallel_series: series worked on at once.
        replace: whether the source wins where the target holds other data.
        verify: whether the target recomputes everything from its rows at the end.
    """

    parcel_rows: int = PARCEL_ROWS
    parallel_series: int = 2
    replace: bool = False
    verify: bool = True


class StoreCopier:
    """Copies series of `source` to `target`; others may write to both meanwhile."""

    def __init__(
        self,
        source: TransferStore,
        target: TransferStore,
        config: CopyConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Copy between two open stores, which stay open."""
        self._source = source
        self._target = target
        self._config = config or CopyConfig()
        self._clock = clock
        self.progress: list[SeriesProgress] = []
        self._limits: dict[Series, int] = {}

    async def copy(self, series: Sequence[Series], asked: Range = ALWAYS) -> CopyReport:
        """Copy what the source holds of these series in `asked`; compare in the end.

        A second look takes along what the source has learned during the first. What it learns
        after that is for the next copy.

        Raises:
            StoreBusy: another process held the target too long; run it again.
            StoreFull: no space at the target; what was entered before stays.
        """
        began = self._clock()
        names = sorted({one.exchange for one in series})
        instruments = await self._target.unpack_instruments(
            await self._source.pack_instruments(names)
        )
        hulls = {info.series: info for info in await self._source.series()}
        self._limits = {one: self._limit(one, hulls.get(one)) for one in series}
        done = [SeriesCopy(one) for one in series]
        self.progress = [SeriesProgress(one) for one in series]
        room = asyncio.Semaphore(self._config.parallel_series)

        async def one_of(at: int) -> None:
            async with room:
                info = hulls.get(series[at])
                rows = None if info is None else (info.first_us, info.last_us)
                await self._copy_series(done[at], self.progress[at], asked, rows)

        async with asyncio.TaskGroup() as group:
            for at in range(len(series)):
                group.create_task(one_of(at))
        verified = await self._verified([one.series for one in done if one.error is None])
        return CopyReport(
            series=done,
            instruments=instruments,
            seconds=self._clock() - began,
            verified=verified,
        )

    async def _copy_series(
        self,
        copy: SeriesCopy,
        progress: SeriesProgress,
        asked: Range,
        rows: tuple[int | None, int | None] | None,
    ) -> None:
        progress.started_s = self._clock()
        try:
            before = await self._source.seal(copy.series, asked)
            hull = _hull(before, rows)
            progress.total, progress.state = before.rows, "copying"
            await self._walk(copy, progress, asked, hull, LEVELS, is_last=False)
            progress.state = "comparing"
            after = await self._source.seal(copy.series, asked)
            copy.rows, copy.digest, copy.ranges = after.rows, after.digest, len(after.ledger)
            await self._walk(copy, progress, asked, _hull(after, rows), LEVELS, is_last=True)
            progress.state = "done"
        except (CopyRefused, DataError, StoreCorrupt) as e:
            # It is about this series: the others are copied all the same.
            copy.error, progress.state = e, "stopped"

    async def _walk(
        self,
        copy: SeriesCopy,
        progress: SeriesProgress,
        stretch: Range,
        hull: Range,
        levels: Sequence[str],
        *,
        is_last: bool,
    ) -> None:
        """Send what the target lacks of a stretch; the last time, note what it lacks still."""
        sent = await self._source.seal(copy.series, stretch)
        if sent.is_blank:
            return
        there = await self._target.seal(copy.series, stretch)
        if sent == there:
            progress.held += 0 if is_last else sent.rows
            return
        if sent.says_as(there) and await self._target.restate(copy.series, stretch, sent.ledger):
            progress.held += 0 if is_last else sent.rows
            copy.changed += Unpacked(ledger=len(sent.ledger))
            return
        fits = max(sent.rows, there.rows) <= self._limits[copy.series]
        if fits or there.is_blank or not levels:
            await self._send(copy, progress, stretch, is_last=is_last)
            return
        for part in parts(stretch, hull, levels[0]):
            await self._walk(copy, progress, part, hull, levels[1:], is_last=is_last)

    async def _send(
        self, copy: SeriesCopy, progress: SeriesProgress, stretch: Range, *, is_last: bool
    ) -> None:
        async with aclosing(self._parcels(copy.series, stretch)) as parcels:
            async for parcel in parcels:
                done = await self._target.unpack(parcel, replace=self._config.replace)
                copy.parcels += 1
                copy.moved += parcel.rows
                copy.changed += done
                progress.rows += 0 if is_last else parcel.rows
                if is_last:
                    await self._compare(copy, parcel)

    async def _parcels(self, series: Series, stretch: Range) -> AsyncGenerator[Parcel]:
        """Yield a stretch in parcels; the next is packed while one is taken in."""
        limit = self._limits[series]
        ahead = asyncio.ensure_future(self._source.pack(series, stretch, limit_rows=limit))
        try:
            while True:
                parcel = await ahead
                rest = Range(parcel.range.end, stretch.end)
                if rest.is_empty:
                    yield parcel
                    return
                ahead = asyncio.ensure_future(self._source.pack(series, rest, limit_rows=limit))
                yield parcel
        finally:
            ahead.cancel()

    def _limit(self, series: Series, info: SeriesInfo | None) -> int:
        """Return how many rows of a series are a parcel; heavy ones also by what they take."""
        heavy = weight(series.kind)
        limit = self._config.parcel_rows // heavy
        if heavy > 1 and info is not None and info.stored_bytes:
            limit = min(limit, _PARCEL_BYTES * info.rows // info.stored_bytes)
        return max(1, limit)

    async def _compare(self, copy: SeriesCopy, parcel: Parcel) -> None:
        there = await self._target.seal(copy.series, parcel.range)
        detail = lacks(seal_of(parcel), there)
        if detail is not None:
            copy.disagreements.append(Disagreement(parcel.range, detail))

    async def _verified(self, series: Sequence[Series]) -> Verified | None:
        if not self._config.verify:
            return None
        if not series:
            return Verified(0, 0, [])
        return await self._target.verify(series)


def _hull(seal: Seal, rows: tuple[int | None, int | None] | None) -> Range:
    """Return from when to when there is something."""
    bounds = [moment for entry in seal.ledger for moment in entry.range]
    first, last = rows or (None, None)
    if first is not None and last is not None:
        bounds += [first, last + 1]
    return Range(min(bounds), max(bounds)) if bounds else Range(0, 0)
