"""`LatestValues`: from the cache, and where it knows nothing from the store, asked once for all."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, TypeVar

import msgspec

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Candle
from zvt_crypto.core.series import Series
from zvt_crypto.ports.cache import ABSENT, Absent, Cache, Entry, Held
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.store import Store
from zvt_crypto.services.latest.config import LatestConfig
from zvt_crypto.services.latest.recall import is_stored, records_of

log = logging.getLogger(__name__)

T = TypeVar("T")

Origin = Literal["cache", "store", "nowhere"]

_FOREVER: Final = Range(0, 1 << 62)


class Latest(msgspec.Struct, frozen=True):
    """The newest record of a series, and where it was found; None if there is none."""

    series: Series
    record: Held | None
    origin: Origin


@dataclass(slots=True)
class LatestCounts:
    """What the service did.

    Attributes:
        store_reads: questions put to the store.
        joined: series asked for that somebody here was loading already.
        awaited: series that another process was loading, and that came from the cache then.
        failed: questions the store did not answer.
    """

    store_reads: int = 0
    joined: int = 0
    awaited: int = 0
    failed: int = 0


class LatestValues:
    """Reads the newest records, through the cache.

    What the cache does not know is asked of the store, by one caller in this process and, while the
    cache answers, by one process: the others take what it brings. What the store said is kept in
    the cache for a short time, absence too. With the cache away all answers come from the store.

    Args:
        cache: asked first; a failure of it is never one of ours.
        store: asked where the cache knows nothing.
        clock: ours.
        config: bounds and deadlines.
    """

    def __init__(
        self, cache: Cache, store: Store, clock: Clock, config: LatestConfig | None = None
    ) -> None:
        self._cache = cache
        self._store = store
        self._clock = clock
        self._config = config or LatestConfig()
        self._loading: dict[Series, asyncio.Future[Held | None]] = {}
        self._rings: dict[tuple[Series, int], asyncio.Future[list[Candle]]] = {}
        self._memo: dict[tuple[Series, int], tuple[float, list[Candle]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts = LatestCounts()

    async def latest(self, series: Sequence[Series]) -> list[Latest]:
        """Return the newest record of each series, in the order they are named.

        Raises:
            CryptoError: the cache knows nothing of a series, and the store does not answer.
        """
        found = await self._cache.latest(series)
        lacking = [s for s, one in zip(series, found, strict=True) if one is None]
        loaded = await self._load(lacking) if lacking else {}
        return [
            _answer(s, one) if one is not None else _loaded(s, loaded[s])
            for s, one in zip(series, found, strict=True)
        ]

    async def ring(self, series: Series, last: int) -> list[Candle]:
        """Return the `last` newest closed candles, oldest first; fewer if there are no more.

        The cache answers where its candles are without a hole and up to now; else the store is
        asked, and candles that are not stored yet are added.

        Raises:
            ValueError: `series` is not one of candles.
            CryptoError: the cache cannot answer and the store does not.
        """
        if series.interval is None:
            raise ValueError(f"{series} has no candles")
        if last < 1:
            return []
        held = await self._cache.ring(series, last)
        if len(held) == last and self._is_whole(held):
            return held
        stored = await self._stored_ring(series, last)
        by_open = {one.ts_event: one for one in stored}
        # Those of the cache bear the time they came: a correction is in both.
        newest = stored[-1].ts_event if stored else 0
        by_open |= {one.ts_event: one for one in held if one.ts_event > newest}
        return [by_open[at] for at in sorted(by_open)][-last:]

    async def close(self) -> None:
        """Wait for what is still being read; nothing is begun any more by it."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- one value -------------------------------------------------------------------------------

    async def _load(self, lacking: Sequence[Series]) -> dict[Series, Held | None]:
        """Return what the store has of each, asking for what nobody asks for already."""
        wanted = dict.fromkeys(lacking)
        mine = [one for one in wanted if one not in self._loading]
        self.counts.joined += len(wanted) - len(mine)
        if mine:
            loop = asyncio.get_running_loop()
            self._loading |= {one: loop.create_future() for one in mine}
            self._spawn(self._bring(mine, [self._loading[one] for one in mine]))
        waiting = {one: self._loading[one] for one in wanted}
        return {one: await asyncio.shield(coming) for one, coming in waiting.items()}

    async def _bring(
        self, series: Sequence[Series], coming: Sequence[asyncio.Future[Held | None]]
    ) -> None:
        """Fill the futures, from the cache if another process brings it there, else the store."""
        futures = dict(zip(series, coming, strict=True))
        try:
            rest = await self._awaited(series, futures)
            stored = [one for one in rest if is_stored(one.kind)]
            found: dict[Series, Held | None] = dict.fromkeys(rest)
            if stored:
                self.counts.store_reads += 1
                tables = await self._bounded(self._store.latest, stored)
                for one, table in zip(stored, tables, strict=True):
                    found[one] = next(iter(records_of(one, table)), None)
        except BaseException as e:  # noqa: BLE001 - those who wait get it
            self._release(futures, error=e)
            return
        self._release(futures, found)
        await self._cache.put([self._entry(one, record) for one, record in found.items()])

    async def _awaited(
        self, series: Sequence[Series], futures: dict[Series, "asyncio.Future[Held | None]"]
    ) -> list[Series]:
        """Return those that are ours to load; the rest came into the cache while we waited."""
        config, cache = self._config, self._cache
        if not cache.is_shared or len(series) > config.most_claims:
            return list(series)
        claimed = await asyncio.gather(*(cache.claim(one, config.claim_s) for one in series))
        ours = [one for one, is_ours in zip(series, claimed, strict=True) if is_ours]
        others = [one for one, is_ours in zip(series, claimed, strict=True) if not is_ours]
        end_s = self._clock.monotonic_s() + config.wait_s
        while others and not ours and self._clock.monotonic_s() < end_s:
            await self._clock.sleep(config.poll_s)
            found = await cache.latest(others)
            came = {s: one for s, one in zip(others, found, strict=True) if one is not None}
            self.counts.awaited += len(came)
            self._release(
                {one: futures.pop(one) for one in came},
                {s: None if one is ABSENT else one for s, one in came.items()},
            )
            others = [one for one in others if one not in came]
        return ours + others

    def _release(
        self,
        futures: dict[Series, "asyncio.Future[Held | None]"],
        found: dict[Series, Held | None] | None = None,
        *,
        error: BaseException | None = None,
    ) -> None:
        for one, future in futures.items():
            self._loading.pop(one, None)
            _settle(future, (found or {}).get(one), error)

    def _entry(self, series: Series, record: Held | None) -> Entry:
        config = self._config
        if record is None:
            return Entry(series, ABSENT, config.absent_ttl_s)
        return Entry(series, record, config.store_ttl_s)

    # -- rings -----------------------------------------------------------------------------------

    async def _stored_ring(self, series: Series, last: int) -> list[Candle]:
        key = (series, last)
        until_s, known = self._memo.get(key, (0.0, []))
        if until_s > self._clock.monotonic_s():
            return known
        if key in self._rings:
            self.counts.joined += 1
        else:
            self._rings[key] = asyncio.get_running_loop().create_future()
            self._spawn(self._bring_ring(key, self._rings[key]))
        return await asyncio.shield(self._rings[key])

    async def _bring_ring(
        self, key: tuple[Series, int], coming: "asyncio.Future[list[Candle]]"
    ) -> None:
        series, last = key
        try:
            self.counts.store_reads += 1

            async def read(of: Series) -> Any:
                return await self._store.read(of, _FOREVER, last=last)

            table = await self._bounded(read, series)
            candles = [one for one in records_of(series, table) if isinstance(one, Candle)]
        except BaseException as e:  # noqa: BLE001 - those who wait get it
            del self._rings[key]
            _settle(coming, [], e)
            return
        del self._rings[key]
        while len(self._memo) >= self._config.memo:
            del self._memo[next(iter(self._memo))]
        self._memo[key] = (self._clock.monotonic_s() + self._config.store_ttl_s, candles)
        _settle(coming, candles, None)
        # So that the next reader, of any process, finds a ring without a hole.
        await self._cache.put([Entry(series, one, self._config.store_ttl_s) for one in candles])

    def _is_whole(self, candles: Sequence[Candle]) -> bool:
        """Return whether no candle lacks between them, nor one that has closed since."""
        interval = candles[0].interval
        for before, after in pairwise(candles):
            if interval.shift(before.ts_event, 1) != after.ts_event:
                return False
        running = interval.floor(self._clock.now_us())
        # The newest to have closed may not have been sent yet.
        return interval.shift(candles[-1].ts_event, 2) >= running

    # -- asking ----------------------------------------------------------------------------------

    async def _bounded(self, ask: Callable[[Any], Any], what: Any) -> Any:
        timeout_s = self._config.store_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await ask(what)
        except TimeoutError:
            self.counts.failed += 1
            raise StoreBusy(self._store.url, timeout_s) from None
        except Exception:
            self.counts.failed += 1
            raise

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name="latest")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _settle(future: "asyncio.Future[T]", value: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)
        future.exception()  # a caller that was cancelled asks no more: that is no news


def _answer(series: Series, found: Held | Absent) -> Latest:
    if found is ABSENT:
        return Latest(series, None, "cache")
    return Latest(series, found, "cache")


def _loaded(series: Series, record: Held | None) -> Latest:
    return Latest(series, record, "nowhere" if record is None else "store")


__all__ = ["Latest", "LatestCounts", "LatestValues", "Origin"]
