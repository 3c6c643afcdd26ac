"""Latest values in dictionaries of this process."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from zvt_crypto.cache.codec import order_of
from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.fanout import Fanout, Listener
from zvt_crypto.core.record import Candle
from zvt_crypto.core.series import Series
from zvt_crypto.ports.cache import (
    ABSENT,
    Absent,
    CacheCounts,
    CacheHealth,
    Entry,
    Held,
    Published,
)
from zvt_crypto.ports.clock import Clock


class LocalCache:
    """A `Cache` that no other process sees.

    It holds `config.series` values at most; the one written longest ago goes first.
    """

    url = "memory://"
    is_shared = False

    def __init__(self, clock: Clock, config: CacheConfig | None = None) -> None:
        self._clock = clock
        self._config = config or CacheConfig()
        self._values: dict[Series, tuple[Held | Absent, float]] = {}
        self._rings: dict[Series, list[Candle]] = {}
        self._ring_ends: dict[Series, float] = {}
        self._claims: dict[Series, float] = {}
        self.counts = CacheCounts()
        self._fanout = Fanout(self.counts)

    async def put(self, entries: Sequence[Entry], published: Sequence[Published] = ()) -> int:
        """See `Cache`."""
        began = now = self._clock.monotonic_s()
        taken = 0
        for entry in entries:
            taken += self._keep(entry, now)
        for one in published:
            self._fanout.give(one.series, (one.record,))
        counts = self.counts
        counts.published += len(published)
        counts.taken += taken
        counts.refused += len(entries) - taken
        counts.writes += 1
        counts.write_s += self._clock.monotonic_s() - began
        return taken

    async def latest(self, series: Sequence[Series]) -> list[Held | Absent | None]:
        """See `Cache`."""
        now = self._clock.monotonic_s()
        values = self._values
        found: list[Held | Absent | None] = []
        hits = 0
        for one in series:
            held = values.get(one)
            if held is None or held[1] <= now:
                found.append(None)
            else:
                found.append(held[0])
                hits += 1
        counts = self.counts
        counts.hits += hits
        counts.misses += len(found) - hits
        counts.reads += 1
        counts.read_s += self._clock.monotonic_s() - now
        return found

    async def ring(self, series: Series, last: int) -> list[Candle]:
        """See `Cache`."""
        self.counts.reads += 1
        if last < 1 or self._ring_ends.get(series, 0.0) <= self._clock.monotonic_s():
            return []
        return self._rings[series][-last:]

    async def claim(self, series: Series, for_s: float) -> bool:
        """See `Cache`."""
        now = self._clock.monotonic_s()
        if self._claims.get(series, 0.0) > now:
            return False
        if len(self._claims) >= self._config.series:
            self._claims = {one: end for one, end in self._claims.items() if end > now}
        self._claims[series] = now + for_s
        return True

    def subscribe(self, series: Iterable[Series], *, size: int = 10_000) -> Listener:
        """See `Cache`."""
        return Listener(self._fanout, series, size)

    def health(self) -> CacheHealth:
        """See `Cache`."""
        return CacheHealth(is_reachable=True)

    async def close(self) -> None:
        """See `Cache`."""
        await self._fanout.close()
        self._values.clear()
        self._rings.clear()

    def _keep(self, entry: Entry, now: float) -> bool:
        series, record = entry.series, entry.record
        ttl_s = self._config.ttl_s if entry.ttl_s is None else entry.ttl_s
        if isinstance(record, Candle) and record.is_closed:
            self._join_ring(series, record, now)
        held, end = self._values.get(series, (None, 0.0))
        if held is not None and end > now and _is_older(record, held):
            return False
        self._values.pop(series, None)
        self._values[series] = (record, now + ttl_s)
        if len(self._values) > self._config.series:
            del self._values[next(iter(self._values))]
        return True

    def _join_ring(self, series: Series, candle: Candle, now: float) -> None:
        ring = self._rings.pop(series, [])
        if self._ring_ends.pop(series, 0.0) <= now:
            ring = []
        at = bisect_left(ring, candle.ts_event, key=lambda one: one.ts_event)
        if at < len(ring) and ring[at].ts_event == candle.ts_event:
            if not _is_older(candle, ring[at]):
                ring[at] = candle
        else:
            ring.insert(at, candle)
        del ring[: -self._config.ring]
        self._rings[series] = ring
        self._ring_ends[series] = now + self._config.ring_ttl_s
        if len(self._rings) > self._config.series // 10:
            oldest = next(iter(self._rings))
            del self._rings[oldest], self._ring_ends[oldest]


def _is_older(record: Held | Absent, held: Held | Absent) -> bool:
    if held is ABSENT:
        return False
    return record is ABSENT or order_of(record) < order_of(held)
