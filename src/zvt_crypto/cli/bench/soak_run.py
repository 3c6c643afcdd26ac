"""Hours in minutes: the real service at a steady rate, and how much memory it holds over time."""

import asyncio
import gc
import resource
import sys
import time
from pathlib import Path
from typing import Any, cast

from zvt_crypto.bootstrap.engine import open_store
from zvt_crypto.cli.bench import ours
from zvt_crypto.cli.bench.target import ask
from zvt_crypto.cli.bench.wire import FrameSet
from zvt_crypto.ports.store import Store
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.connection import Connection

_STILL_S = 0.5
_PAGE_MB = resource.getpagesize() / 1e6


def resident_mb() -> float:
    """Return how much memory this process holds now; where the system does not say, at most."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


async def run(
    frames: FrameSet, url: str, rate: float, seconds: float, *, every_s: float, lake: str | None
) -> dict[str, Any]:
    """Stream at a rate for a time; return the memory every so often, and what was dropped."""
    real = None if lake is None else await open_store(lake, Path(lake).parent)
    store = real or cast("Store", ours.DiscardingStore())
    service = ours.service_for(frames, url, store)
    handled = [0]

    def handle(record: Any) -> None:
        del record
        handled[0] += 1

    queue = service.on(handle)
    samples: list[list[float]] = []
    async with service:
        await service.add(ours.series_of(frames))
        await ours.ready(service)
        connections = list(service.venues[ours.EXCHANGE].pool.connections)
        before = _frames(connections)
        began_s = time.monotonic()
        # Each connection is sent its own frames; the rate is that of all together.
        await ask(url, "/go", rate=rate / len(connections), seconds=seconds)
        while (passed := time.monotonic() - began_s) < seconds:
            waiting = len(queue) + sum(feed.pending_rows for feed in service.feeds())
            samples.append([passed, resident_mb(), _frames(connections) - before, waiting])
            await asyncio.sleep(min(every_s, max(0.01, seconds - passed)))
        last = -1
        while (count := _frames(connections)) != last:
            last = count
            await asyncio.sleep(_STILL_S)
        counters = [feed.counters for feed in service.feeds()]
        snapshots = sum(isinstance(feed, BookFeed) for feed in service.feeds())
    received = _frames(connections) - before
    samples.append([time.monotonic() - began_s, resident_mb(), received, 0])
    if real is not None:
        await real.close()
    return {
        "samples": samples,
        "received": received,
        "handled": queue.handled - snapshots,
        "released": sum(one.messages for one in counters),
        "repeated": sum(one.repeated for one in counters),
        "queue_dropped": queue.dropped,
        "rows_dropped": sum(one.dropped_rows for one in counters),
        "gaps": sum(one.gaps for one in counters),
        "resets": sum(one.resets for one in counters),
        "objects": len(gc.get_objects()),
    }


def _frames(connections: list[Connection]) -> int:
    return sum(one.stats.frames for one in connections)
