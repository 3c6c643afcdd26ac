# pyright: reportPrivateUsage=false
"""The stream service against the simulator: stream under a fault, then judge by the truth."""

import asyncio
import inspect
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from sim_process import Sim
from store_place import passing_store

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.stream import stream_service
from zvt_crypto.core.ledger import Coverage, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, Gap, GapRepaired, GapUnrecoverable, Trade
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.store import Store
from zvt_crypto.services.stream import CryptoStreamService, StreamConfig
from zvt_crypto.services.stream.trades import UncountedTradeFeed
from zvt_crypto.settings import load_settings

EXCHANGES: Final = ("binance", "okx", "bybit", "coinbase")
# Bybit's REST has the newest thousand trades of a perpetual, and sixty of a spot pair.
SYMBOL: Final = {
    "binance": "BTC-USDT", "okx": "BTC-USDT", "bybit": "BTC-USDT-PERP", "coinbase": "BTC-USD",
}  # fmt: skip
LEVELS: Final = 20
ALWAYS: Final = Range(0, 1 << 60)

# Deadlines of a test: what takes half a minute in use takes seconds here.
QUICK: Final = StreamConfig(
    reconnect_first_s=0.1,
    reconnect_cap_s=1.0,
    hold_s=20.0,
    retry_missing_s=2.0,
    probes_per_s=4.0,
    audit_every_s=2.0,
)


@dataclass
class Streamed:
    """A running service and what its handlers saw."""

    service: CryptoStreamService
    platform: Platform
    seen: dict[Series, list[Any]] = field(default_factory=dict[Series, list[Any]])
    books: dict[Series, deque[Any]] = field(default_factory=dict[Series, deque[Any]])

    def take_book(self, record: Any) -> None:
        """Remember how a book stood after each message."""
        if type(record) is not Book:
            return
        book = self.service.book(record.exchange, record.symbol)
        if book is not None:
            series = Series(record.exchange, record.symbol, Kind.BOOK)
            states = self.books.setdefault(series, deque(maxlen=200))
            states.append((tuple(book.bids(LEVELS)), tuple(book.asks(LEVELS))))

    def take(self, record: Any) -> None:
        series = getattr(record, "series", None)
        if series is None and type(record) is Trade:
            series = Series(record.exchange, record.symbol, Kind.TRADES)
        if series is not None:
            self.seen.setdefault(series, []).append(record)

    async def settled(self, within_s: float = 30.0) -> None:
        """Wait until no gap is open and all that came is stored."""
        await eventually(
            lambda: (
                not self.service.mender.under_way
                and not any(feed.gap or _waits(feed) for feed in self.service.feeds())
            ),
            within_s,
        )
        now_us = self.service.now_us()
        await eventually(
            lambda: all(
                feed.audited_us is not None and feed.audited_us > now_us and feed.gap is None
                for feed in self.service.feeds()
                if isinstance(feed, UncountedTradeFeed)
            ),
            within_s,
        )
        assert await self.service.sink.commit(), self.service.sink.failing


def _waits(feed: Any) -> int:
    return int(getattr(feed, "waiting", 0))


async def eventually(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until something holds; fail when it does not in time."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s} s: {inspect.getsource(condition)}"
        await asyncio.sleep(0.05)


async def eventually_async(
    condition: Callable[[], Awaitable[object]], within_s: float = 20.0
) -> None:
    """Wait until something that has to be asked holds; fail when it does not in time."""
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, f"not within {within_s} s: {condition}"
        await asyncio.sleep(0.1)


async def until_whole(store: Store, wanted: Sequence[Series], within_s: float = 30.0) -> None:
    """Wait until the ledger owes nothing any more."""
    end = time.monotonic() + within_s
    for series in wanted:
        while owed := [e for e in await store.coverage(series) if e.verdict is Verdict.MISSING]:
            assert time.monotonic() < end, f"{series} owes {owed} after {within_s} s"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def streaming(
    sim: Sim,
    wanted: Sequence[Series],
    *,
    store: str | None = None,
    config: StreamConfig = QUICK,
    over: Callable[[Store], Store] | None = None,
    clock: Clock | None = None,
    **settings: object,
) -> AsyncGenerator[Streamed]:
    """Stream `wanted` from the simulator until the block ends.

    `over` puts a store in between; `clock` is in place of the machine's.
    """
    chosen = load_settings(
        {"store": store or passing_store(), "sim": sim.url, **settings}, environ={}
    ).settings
    opened = Platform(chosen, create=True)
    if clock is not None:
        opened.clock = clock
    async with opened as platform:
        if over is not None:
            put_between(platform, over)
        streamed = Streamed(stream_service(platform, config=config), platform)
        streamed.service.on(streamed.take)
        streamed.service.on(streamed.take_book, kinds=[Kind.BOOK], policy="inline")
        async with streamed.service as service:
            await service.add(wanted)
            yield streamed


def put_between(platform: Platform, over: Callable[[Store], Store]) -> None:
    """Let loader and streams see the store through another."""
    platform.store = over(platform.store)
    platform.loader = platform._loader_over(platform.store)


def true_trades(sim: Sim, series: Series, asked: Range) -> list[dict[str, Any]]:
    """Return what the market did."""
    query = f"exchange={series.exchange}&symbol={series.symbol}"
    return sim.get(f"/_truth/trades?{query}&start={asked.start}&end={asked.end}")


async def check_trades(sim: Sim, streamed: Streamed, series: Series) -> int:
    """Check that store, ledger and consumer agree with the market; return how many trades."""
    count = await check_stored(sim, streamed.platform.store, series)
    ids = [r.trade_id for r in streamed.seen.get(series, ()) if type(r) is Trade]
    assert len(ids) == len(set(ids)), f"{series}: the consumer saw a trade twice"
    numbers = sorted(one for one in ids if isinstance(one, int))
    if numbers and series.exchange != "bybit":
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), (
            f"{series}: a trade was not seen"
        )
    return count


async def check_stored(sim: Sim, store: Store, series: Series) -> int:
    """Check that store and ledger agree with the market; return how many trades."""
    ledger = await store.coverage(series)
    held = [e for e in ledger if e.verdict in (Verdict.OBSERVED, Verdict.EMPTY)]
    assert held, f"nothing is held of {series}: {ledger}"
    span = Range(held[0].start, held[-1].end)
    assert_whole(ledger, span)
    rows = await store.read(series, span)
    told = [
        one
        for one in true_trades(sim, series, Range(span.start - 1_000, span.end + 1_000))
        if span.start <= _as_told(series.exchange, one["time_us"]) < span.end
    ]
    # Rows of Binance fold fills together; the truth knows each.
    fills = sum(one or 1 for one in rows.column("fills").to_pylist())
    assert fills == len(told), f"{series}: {fills} fills are stored, {len(told)} happened"
    sizes = sum((Decimal(str(one)) for one in rows.column("size").to_pylist()), Decimal(0))
    assert sizes == sum((Decimal(one["size"]) for one in told), Decimal(0)), series
    stored = rows.column("trade_id").to_pylist()
    assert len(stored) == len(set(stored)), f"{series}: a trade is stored twice"
    if series.exchange in ("okx", "coinbase"):
        truth = {str(one["trade_id"]) for one in told}
        assert set(stored) == truth, (
            f"{series}: lost {sorted(truth - set(stored))[:5]}, "
            f"invented {sorted(set(stored) - truth)[:5]}"
        )
    return len(told)


def _as_told(exchange: str, moment: int) -> int:
    """Return a time of the market as the exchange says it: all but one in milliseconds."""
    return moment if exchange == "coinbase" else moment // 1_000 * 1_000


def assert_whole(ledger: Sequence[Coverage], span: Range) -> None:
    """Check that the ledger explains all of `span`, with nothing owed."""
    at = span.start
    for entry in ledger:
        if entry.end <= span.start or entry.start >= span.end:
            continue
        assert entry.start == at, f"nothing is said of {at}..{entry.start}: {ledger}"
        assert entry.verdict in (Verdict.OBSERVED, Verdict.EMPTY), entry
        at = entry.end
    assert at == span.end


async def check_book(sim: Sim, streamed: Streamed, series: Series) -> None:
    """Check that a book is, a moment later, what the market's was: the top levels, exactly."""
    query = f"/_truth/book?exchange={series.exchange}&symbol={series.symbol}"
    end = time.monotonic() + 30.0
    while True:
        told = await asyncio.to_thread(sim.get, query)
        wanted = tuple(
            tuple((float(price), float(size)) for price, size in told[side][:LEVELS])
            for side in ("bids", "asks")
        )
        for _ in range(20):
            if wanted in streamed.books.get(series, ()):
                return
            await asyncio.sleep(0.05)
        assert time.monotonic() < end, f"{series} does not come to agree with the market"


def gaps_of(streamed: Streamed, series: Series) -> tuple[int, int, int]:
    """Return how many gaps the consumer was told of, repaired and not."""
    records = streamed.seen.get(series, ())
    kinds = (Gap, GapRepaired, GapUnrecoverable)
    told, repaired, lost = (sum(isinstance(r, kind) for r in records) for kind in kinds)
    return told, repaired, lost
