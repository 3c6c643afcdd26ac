"""Our live half under test: the real service from socket to columns, or a part of it."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa

from zvt_crypto.bootstrap.engine import open_store
from zvt_crypto.cli.bench.target import Lap, ask, waited
from zvt_crypto.cli.bench.wire import FrameSet
from zvt_crypto.connectors.binance.ws import BinanceProtocol
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book
from zvt_crypto.core.schema import empty_table
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.net.ws import WsDialer
from zvt_crypto.ports.connector import Connector
from zvt_crypto.ports.filler import Answered
from zvt_crypto.ports.store import Batch, Committed, Store
from zvt_crypto.ports.stream import FrameParser, Target
from zvt_crypto.services.stream import CryptoStreamService, StreamConfig

EXCHANGE: Final = "binance"
# Nobody is to be asked why it is silent between two runs.
_CONFIG: Final = StreamConfig(silent_after_s=3600.0, quiet_probe_s=3600.0)
_MAX_FRAME: Final = 32 << 20


class Stage(StrEnum):
    """How far frames go."""

    SOCKET = "socket"
    PARSE = "parse"
    FEEDS = "feeds"
    COLUMNS = "columns"


class DiscardingStore:
    """Takes batches and forgets them: what is measured ends with the columns."""

    def __init__(self) -> None:
        self.rows = 0

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Count rows."""
        self.rows += sum(batch.table.num_rows for batch in batches)
        return []

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return nothing: a store without rows."""
        return [empty_table(one.kind) for one in series]

    async def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return nothing."""
        del series, asked
        return []


class RecordedRest:
    """The REST side of a recording: its snapshot of the book."""

    exchange = EXCHANGE
    settle_s = 3600.0

    def __init__(self, frames: FrameSet) -> None:
        self._frames = frames

    def counts_trade_ids(self, instrument: Instrument) -> bool:
        """Return True: Binance counts them."""
        del instrument
        return True

    async def book_snapshot(self, instrument: Instrument, depth: int) -> Book:
        """Return the recorded snapshot."""
        del depth
        snapshot = self._frames.snapshot
        return Book(
            exchange=EXCHANGE,
            symbol=instrument.symbol,
            ts_event=0,
            ts_recv=0,
            is_snapshot=True,
            bids=[(float(price), float(size)) for price, size, *_ in snapshot["bids"]],
            asks=[(float(price), float(size)) for price, size, *_ in snapshot["asks"]],
            sequence=snapshot["lastUpdateId"],
        )


class NoFiller:
    """Nothing is repaired here: nothing may be lost."""

    def settle_s(self, exchange: str) -> float:
        """Return nothing to wait for."""
        del exchange
        return 0.0

    async def fill(self, series: Series, asked: Range, *, again: bool = False) -> None:
        """Refuse."""
        raise RuntimeError(f"a gap in {series} at {asked} (again: {again})")

    async def fill_trades(
        self, series: Series, asked: Range, first_id: int, last_id: int | None
    ) -> Answered:
        """Refuse."""
        raise RuntimeError(f"a gap in {series} at {asked}: {first_id} to {last_id}")


def service_for(frames: FrameSet, url: str, store: Store) -> CryptoStreamService:
    """Return the service over the sender, on one recording."""
    instrument = frames.instrument
    place = "spot" if instrument.market is Market.SPOT else "linear"

    async def instruments(exchange: str) -> Iterable[Instrument]:
        del exchange
        return [instrument]

    return CryptoStreamService(
        store=store,
        protocols={EXCHANGE: BinanceProtocol({place: f"ws://{url}"})},
        dialers={EXCHANGE: WsDialer(EXCHANGE)},
        connectors={EXCHANGE: cast("Connector", RecordedRest(frames))},
        instruments=instruments,
        filler=NoFiller(),
        clock=SystemClock(),
        config=_CONFIG,
    )


def series_of(frames: FrameSet) -> list[Series]:
    """Return the series the frames are of."""
    return [Series(EXCHANGE, frames.instrument.symbol, Kind(kind)) for kind in frames.counts]


async def run(
    frames: FrameSet, url: str, stage: Stage, lake: Path | None = None
) -> dict[str, float]:
    """Take all frames of a set once, and return what it took.

    Raises:
        RuntimeError: not every message came out as it should.
    """
    if stage in (Stage.SOCKET, Stage.PARSE):
        return await _bare(frames, url, stage)
    store = DiscardingStore()
    real = None if lake is None else await open_store(str(lake), lake.parent)
    service = service_for(frames, url, real or cast("Store", store))
    try:
        async with service:
            await service.add(series_of(frames))
            await ready(service)
            if stage is Stage.FEEDS:
                for feed in service.feeds():
                    feed.is_stored = False
            taken = await _timed(service, frames, url)
            check(service, frames)
    finally:
        if real is not None:
            await real.close()
    if real is None and stage is Stage.COLUMNS:
        rows = sum(count for kind, count in frames.counts.items() if kind != Kind.BOOK)
        if store.rows != rows:
            raise RuntimeError(f"{store.rows} rows came out, {rows} went in")
    return taken.fields()


async def ready(service: CryptoStreamService) -> None:
    """Wait until every connection is subscribed and every book has its snapshot."""
    connections = service.venues[EXCHANGE].pool.connections
    books = [feed for feed in service.feeds() if feed.series.kind is Kind.BOOK]
    await waited(lambda: all(one.ready.is_set() for one in connections), "subscriptions")
    await waited(lambda: all(one.sync.is_synced for one in books), "a snapshot")  # type: ignore[attr-defined]
    # The answers to the subscriptions are frames too.
    await waited(lambda: all(one.stats.frames for one in connections), "answers")


async def _timed(service: CryptoStreamService, frames: FrameSet, url: str) -> Lap:
    connections = service.venues[EXCHANGE].pool.connections
    wanted = sum(one.stats.frames for one in connections) + len(frames.frames)
    taken = Lap()
    await ask(url, "/go")
    await waited(lambda: sum(one.stats.frames for one in connections) >= wanted, "all frames")
    await service.sink.commit()
    taken.end()
    return taken


def check(service: CryptoStreamService, frames: FrameSet, rounds: int = 1) -> None:
    """Check that every message of every kind came out, and nothing was lost on the way."""
    for feed in service.feeds():
        counters = feed.counters
        wanted = rounds * frames.counts[feed.series.kind]
        if counters.messages != wanted + (feed.series.kind is Kind.BOOK):
            raise RuntimeError(f"{feed.series}: {counters.messages} of {wanted}: {counters}")
        if counters.gaps or counters.resets or counters.dropped_rows:
            raise RuntimeError(f"{feed.series}: {counters}")


class _Reader:
    """A listener that goes no further than the parser, or not even there."""

    def __init__(self, parser: FrameParser | None) -> None:
        self.frames = 0
        self.messages = 0
        self._parse: Callable[[bytes, int], Any] | None = None if parser is None else parser.parse
        self._now_us = SystemClock().now_us

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Count them, and what is in them."""
        self.frames += len(frames)
        if self._parse is not None:
            now_us = self._now_us()
            for frame in frames:
                self.messages += len(self._parse(frame, now_us))

    def on_alive(self) -> None:
        """Nothing depends on it."""

    def on_closed(self, detail: str) -> None:
        """Nothing depends on it: what is lacking is waited for in vain."""


async def _bare(frames: FrameSet, url: str, stage: Stage) -> dict[str, float]:
    instrument = frames.instrument
    protocol = BinanceProtocol()
    target = Target(instrument.symbol, instrument.market)
    topics: dict[str, list[str]] = {}
    for series in series_of(frames):
        route = protocol.route(series, instrument)
        topics.setdefault(route, []).append(protocol.topic(series, instrument))
    readers: list[_Reader] = []
    sockets: list[Any] = []
    for route, mine in topics.items():
        is_parsed = stage is Stage.PARSE
        parser = protocol.parser(route, lambda _r, _n: (target,)) if is_parsed else None
        readers.append(_Reader(parser))
        dialer = WsDialer(EXCHANGE)
        path = protocol.urls(route)[0].partition("//")[2].partition("/")[2]
        sockets.append(
            await dialer.dial(f"ws://{url}/{path}", readers[-1], max_frame_bytes=_MAX_FRAME)
        )
        for request in protocol.subscribe(route, mine, 1):
            sockets[-1].send(request.frame)
    await waited(lambda: all(one.frames for one in readers), "answers")
    wanted = sum(one.frames for one in readers) + len(frames.frames)
    taken = Lap()
    await ask(url, "/go")
    await waited(lambda: sum(one.frames for one in readers) >= wanted, "all frames")
    taken.end()
    for one in sockets:
        await one.close()
    return taken.fields()


__all__ = ["DiscardingStore", "Stage", "check", "ready", "run", "series_of", "service_for"]
