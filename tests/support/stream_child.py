"""A process that streams trades into a lake and says what became durable.

Run by the tests as `python stream_child.py SIM STORE PENDING SERIES...`, with series as
EXCHANGE:SYMBOL, and PENDING rows that may wait while the store takes none. It writes JSON lines:
`committed`, the ids of the trades in each commit once it is durable; `state`, when asked; `ended`,
when SIGTERM ended it. It obeys lines on standard input: `limit BYTES` and `unlimit` set how large
its files may grow, `state` asks. When standard input ends, it ends: nobody is there any more.
"""

import asyncio
import logging
import resource
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from store_place import store_at
from stream_world import QUICK, put_between
from watched_store import watched

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.stream import stream_service
from zvt_crypto.core.record import Trade
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.stream import CryptoStreamService
from zvt_crypto.settings import load_settings


def say(**fields: Any) -> None:
    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")
    sys.stdout.flush()


def tell_committed(batches: Sequence[Batch]) -> None:
    """Say which trades are durable now."""
    for batch in batches:
        if batch.series.kind is Kind.TRADES and batch.table.num_rows:
            name = f"{batch.series.exchange}:{batch.series.symbol}"
            ids = batch.table.column("trade_id").to_pylist()
            say(event="committed", series=name, ids=ids, source=batch.source.value)


class Child:
    """The service, and what its handler saw."""

    def __init__(self, service: CryptoStreamService) -> None:
        self.service = service
        self.seen: dict[str, list[str]] = {}
        self.told: Counter[str] = Counter()
        self.stop = asyncio.Event()

    def take(self, record: Any) -> None:
        self.told[type(record).__name__] += 1
        if type(record) is Trade:
            name = f"{record.exchange}:{record.symbol}"
            self.seen.setdefault(name, []).append(str(record.trade_id))

    def state(self) -> dict[str, Any]:
        feeds = self.service.feeds()
        return {
            "failing": self.service.sink.failing,
            "failures": self.service.sink.failures,
            "pending": max((feed.pending_rows for feed in feeds), default=0),
            "dropped": sum(feed.counters.dropped_rows for feed in feeds),
            "open": sum(feed.gap is not None for feed in feeds),
            "told": dict(self.told),
        }

    async def obey(self) -> None:
        """Carry out what standard input says."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            word, *rest = line.decode().split()
            if word == "state":
                say(event="state", **self.state())
            else:
                most = int(rest[0]) if word == "limit" else resource.RLIM_INFINITY
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        self.stop.set()


async def main(sim: str, store: str, pending: int, names: Sequence[str]) -> None:
    folder = Path(store)
    given = {"store": store_at(folder), "sim": sim, "state_dir": str(folder.with_suffix(".state"))}
    settings = load_settings(given, environ={}).settings
    config = replace(QUICK, pending_rows=pending)
    async with Platform(settings, create=True) as platform:
        put_between(platform, lambda real: watched(real, after=tell_committed))
        child = Child(stream_service(platform, config=config))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, child.stop.set)
        child.service.on(child.take)
        obeying = asyncio.create_task(child.obey())
        async with child.service as service:
            pairs = [name.partition(":")[::2] for name in names]
            series = [Series(exchange, symbol, Kind.TRADES) for exchange, symbol in pairs]
            await service.add(series)
            say(event="started")
            await child.stop.wait()
        obeying.cancel()
        say(event="ended", seen=child.seen, **child.state())


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
