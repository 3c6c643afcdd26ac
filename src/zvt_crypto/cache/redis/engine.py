"""The `Cache` in Redis: which keys, which commands, and what an answer means."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Final

from redis.exceptions import ResponseError

from zvt_crypto.cache.codec import decode_value, encode_message, encode_value, key_of
from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.fanout import Listener
from zvt_crypto.cache.redis.channel import Channels
from zvt_crypto.cache.redis.fleet import AWAY, Fleet, Job
from zvt_crypto.cache.redis.script import KEEP, SWAP
from zvt_crypto.cache.redis.target import Target
from zvt_crypto.core.record import Candle
from zvt_crypto.core.series import Series
from zvt_crypto.ports.cache import (
    Absent,
    CacheCounts,
    CacheHealth,
    CellsAway,
    Entry,
    Event,
    Held,
    Published,
    Swapped,
)
from zvt_crypto.ports.clock import Clock

_AT_ONCE: Final = 250  # keys of one script, records of one message: a server does one at a time
_MOST_KEYS: Final = 100_000


class RedisCache:
    """A `Cache` and `SharedCells` that processes and machines share.

    Nothing is connected before the first call. A call never waits longer than its deadline; while a
    server's breaker is open, calls for its keys cost microseconds and the others go on.

    Args:
        target: where it is.
        clock: ours.
        config: deadlines, lifetimes and bounds.
        trust: file of certificates to trust, for TLS.
        rng: spreads what many processes would else do at one moment.
    """

    is_shared = True

    def __init__(
        self,
        target: Target,
        clock: Clock,
        config: CacheConfig | None = None,
        *,
        trust: str | None = None,
        rng: Random | None = None,
    ) -> None:
        self.url = target.url
        self.counts = CacheCounts()
        self._config = config or CacheConfig()
        self._clock = clock
        self._prefix = target.prefix
        draw = rng or Random()  # noqa: S311 - it spreads load
        self._fleet = Fleet(target, clock, self._config, self.counts, trust=trust, rng=draw)
        self._channels = Channels(
            self._fleet.pick,
            target.prefix,
            config=self._config,
            clock=clock,
            rng=draw,
            counts=self.counts,
        )
        self._keys: dict[Series, str] = {}

    async def put(self, entries: Sequence[Entry], published: Sequence[Published] = ()) -> int:
        """See `Cache`."""
        began_s = self._clock.monotonic_s()
        await self._fleet.ensure(self._config.write_timeout_s)
        jobs = [*self._keeping(entries), *self._publishing(published)]
        await self._fleet.run(jobs, self._config.write_timeout_s)
        counts, taken = self.counts, 0
        for job in jobs:
            is_done = not _is_trouble(job.answer)
            if job.is_message:
                counts.published += job.size if is_done else 0
                counts.unpublished += 0 if is_done else job.size
            elif is_done:
                taken += int(job.answer)
                counts.refused += job.size - int(job.answer)
            else:
                counts.lost += job.size
        counts.taken += taken
        counts.writes += 1
        counts.write_s += self._clock.monotonic_s() - began_s
        return taken

    async def latest(self, series: Sequence[Series]) -> list[Held | Absent | None]:
        """See `Cache`."""
        began_s = self._clock.monotonic_s()
        await self._fleet.ensure(self._config.read_timeout_s)
        keys = [self._key(one) for one in series]
        jobs, places = self._reading(keys)
        await self._fleet.run(jobs, self._config.read_timeout_s)
        found: list[Held | Absent | None] = [None] * len(keys)
        counts = self.counts
        for job, where in zip(jobs, places, strict=True):
            if _is_trouble(job.answer):
                counts.unreachable += len(where)
                continue
            for at, data in zip(where, job.answer, strict=True):
                found[at] = value = decode_value(series[at], data)
                counts.misses += value is None
                counts.hits += value is not None
        counts.reads += 1
        counts.read_s += self._clock.monotonic_s() - began_s
        return found

    async def ring(self, series: Series, last: int) -> list[Candle]:
        """See `Cache`."""
        if last < 1:
            return []
        began_s = self._clock.monotonic_s()
        answer = await self._one(
            self._ring_key(series), "ZRANGE", (-last, -1), self._config.read_timeout_s
        )
        self.counts.reads += 1
        self.counts.read_s += self._clock.monotonic_s() - began_s
        if _is_trouble(answer):
            self.counts.unreachable += 1
            return []
        read = [decode_value(series, data) for data in answer]
        return [one for one in read if isinstance(one, Candle)]

    async def claim(self, series: Series, for_s: float) -> bool:
        """See `Cache`."""
        key = f"{self._key(series)}:claim"
        tail = ("1", "NX", "PX", _ms(for_s))
        answer = await self._one(key, "SET", tail, self._config.read_timeout_s)
        return answer is not None

    def subscribe(self, series: Iterable[Series], *, size: int = 10_000) -> Listener:
        """See `Cache`."""
        return Listener(self._channels.fanout, series, size)

    def health(self) -> CacheHealth:
        """See `Cache`."""
        return self._fleet.health()

    async def close(self) -> None:
        """See `Cache`."""
        await self._channels.close()
        await self._fleet.close()

    async def swap(self, name: str, stamp: bytes, value: bytes, *, ttl_s: float) -> Swapped:
        """See `SharedCells`."""
        await self._fleet.ensure(self._config.write_timeout_s)
        key = f"{self._prefix}:{{budget:{name}}}"
        job = Job.script(self._fleet.slot_of(key), SWAP, [key], (stamp, value, _ms(ttl_s)))
        await self._fleet.run([job], self._config.write_timeout_s)
        if _is_trouble(job.answer):
            raise CellsAway(self._fleet.health().trouble or str(job.answer))
        is_done, held, seconds, micros = job.answer
        return Swapped(bool(is_done), held, int(seconds) * 1_000_000 + int(micros))

    # -- commands --------------------------------------------------------------------------------

    async def _one(self, key: str, verb: str, tail: tuple[Any, ...], deadline_s: float) -> Any:
        await self._fleet.ensure(deadline_s)
        job = Job(self._fleet.slot_of(key), (verb, key, *tail))
        await self._fleet.run([job], deadline_s)
        return job.answer

    def _reading(self, keys: Sequence[str]) -> tuple[list[Job], list[list[int]]]:
        """Return a job for the keys of each slot, and which of `keys` those are."""
        by_slot: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            by_slot.setdefault(self._fleet.slot_of(key), []).append(at)
        jobs: list[Job] = []
        places: list[list[int]] = []
        for slot, where in by_slot.items():
            for start in range(0, len(where), _AT_ONCE):
                part = where[start : start + _AT_ONCE]
                jobs.append(Job(slot, ("MGET", *(keys[at] for at in part))))
                places.append(part)
        return jobs, places

    def _keeping(self, entries: Sequence[Entry]) -> list[Job]:
        by_slot: dict[int, list[tuple[str, tuple[Any, ...]]]] = {}
        config = self._config
        for entry in entries:
            key, record = self._key(entry.series), entry.record
            value = encode_value(record)
            ttl_s = config.ttl_s if entry.ttl_s is None else entry.ttl_s
            into = by_slot.setdefault(self._fleet.slot_of(key), [])
            into.append((key, (value, _ms(ttl_s), 0, 0)))
            if isinstance(record, Candle) and record.is_closed:
                tail = (value, _ms(config.ring_ttl_s), config.ring, record.ts_event)
                into.append((self._ring_key(entry.series), tail))
        return [
            _keep_job(slot, parts[start : start + _AT_ONCE])
            for slot, parts in by_slot.items()
            for start in range(0, len(parts), _AT_ONCE)
        ]

    def _publishing(self, published: Sequence[Published]) -> list[Job]:
        by_series: dict[Series, list[Event]] = {}
        for one in published:
            by_series.setdefault(one.series, []).append(one.record)
        jobs: list[Job] = []
        for series, records in by_series.items():
            channel = self._key(series)
            for start in range(0, len(records), _AT_ONCE):
                part = records[start : start + _AT_ONCE]
                command = ("PUBLISH", channel, encode_message(part))
                slot = self._fleet.slot_of(channel)
                jobs.append(Job(slot, command, size=len(part), is_message=True))
        return jobs

    def _key(self, series: Series) -> str:
        key = self._keys.get(series)
        if key is None:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            key = self._keys[series] = key_of(self._prefix, series)
        return key

    def _ring_key(self, series: Series) -> str:
        return f"{self._key(series)}:ring"


def _keep_job(slot: int, parts: Sequence[tuple[str, tuple[Any, ...]]]) -> Job:
    arguments = [argument for _, tail in parts for argument in tail]
    job = Job.script(slot, KEEP, [key for key, _ in parts], arguments)
    job.size = sum(tail[2] == 0 for _, tail in parts)
    return job


def _is_trouble(answer: Any) -> bool:
    return answer is AWAY or isinstance(answer, ResponseError)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1e3))
