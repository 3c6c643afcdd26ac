"""A market and an exchange to load from, small enough to be obviously right."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range, split
from zvt_crypto.core.record import Book, ExchangeStatus, OpenInterest, Quote
from zvt_crypto.core.schema import CANDLES, FUNDING, TRADES, empty_table
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.connector import ArchiveFile, Cost, Fetched
from zvt_crypto.ports.store import Batch, Committed, Store
from zvt_crypto.services.loader import CryptoDataLoader, LoaderConfig
from zvt_crypto.store.memory.memory import MemoryStore

HOUR = 3_600_000_000
START = 472_224 * HOUR
"""2023-11-15."""
PAGE_ROWS = 10

Mangle = Callable[[int, Range, pa.Table], pa.Table]


class Unused:
    """Calls of the port that loading history does not make."""

    async def status(self) -> ExchangeStatus:
        raise NotImplementedError

    async def archive_size(self, file: ArchiveFile) -> int | None:
        raise NotImplementedError

    def fetch_archive(
        self, instrument: Instrument, interval: Interval | None, file: ArchiveFile
    ) -> AsyncIterator[Fetched]:
        raise NotImplementedError

    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        raise NotImplementedError

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        raise NotImplementedError

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        raise NotImplementedError


@dataclass
class FakeExchange(Unused):
    """Serves one candle table (and trades, funding) as pages; `mangle` spoils chosen answers."""

    exchange: str = "binance"
    settle_s: float = 0.0
    candles: pa.Table = field(default_factory=lambda: empty_table(Kind.CANDLES))
    trades: pa.Table = field(default_factory=lambda: empty_table(Kind.TRADES))
    funding: pa.Table = field(default_factory=lambda: empty_table(Kind.FUNDING))
    now_us: int = 0
    native: tuple[Interval, ...] = tuple(Interval)
    mangle: Mangle | None = None
    answers_from: int = 0
    error: Callable[[int], CryptoError | None] | None = None
    asked: list[Range] = field(default_factory=list[Range])

    async def instruments(self) -> list[Instrument]:
        return [
            Instrument(
                exchange=self.exchange,
                symbol=symbol,
                native=symbol.replace("-", ""),
                base="BTC",
                quote="USDT",
                settle="USDT" if symbol.endswith("PERP") else None,
                market=Market.LINEAR if symbol.endswith("PERP") else Market.SPOT,
            )
            for symbol in ("BTC-USDT", "BTC-USDT-PERP")
        ]

    async def sync_clock(self) -> int:
        return self.now_us

    async def server_time(self) -> int:
        return self.now_us

    def source_interval(self, instrument: Instrument, interval: Interval) -> Interval:
        del instrument
        if interval in self.native:
            return interval
        return max((i for i in self.native if i.divides(interval)), key=lambda i: i.nominal_us)

    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        del instrument
        times = self.candles["timestamp"].cast(pa.int64())
        return interval.floor(times[0].as_py()) if len(times) else None

    def counts_trade_ids(self, instrument: Instrument) -> bool:
        del instrument
        return True

    def reach(self, instrument: Instrument, kind: Kind, now_us: int) -> int:
        del instrument, kind, now_us
        return 0

    def windows(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[Range]:
        del instrument, kind
        return list(split(asked, PAGE_ROWS * (interval.nominal_us if interval else HOUR)))

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        del instrument, interval
        return await self._answer(self.candles, window)

    async def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        del instrument
        yield await self._answer(self.trades, window)

    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        del instrument
        return await self._answer(self.funding, window)

    async def archives(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[ArchiveFile]:
        del instrument, kind, interval, asked
        return []

    def cost(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, windows: int
    ) -> Cost:
        del instrument, kind, interval
        return Cost(requests=windows, weight=2 * windows, seconds=0.0, body_bytes=0)

    async def _answer(self, table: pa.Table, window: Range) -> Fetched:
        await asyncio.sleep(0)
        number = len(self.asked)
        self.asked.append(window)
        if self.error is not None and (error := self.error(number)) is not None:
            raise error
        times = np.asarray(table["timestamp"].cast(pa.int64()))
        inside = table.filter(
            pa.array((times >= self._answered(window).start) & (times < window.end))
        )
        if self.mangle is not None:
            inside = self.mangle(number, window, inside)
        return Fetched(asked=self._answered(window), table=inside)

    def _answered(self, window: Range) -> Range:
        start = min(max(window.start, self.answers_from), window.end)
        return Range(start, window.end)


class FakeClock:
    def __init__(self, now_us: int) -> None:
        self.at = now_us

    def now_us(self) -> int:
        return self.at

    def monotonic_s(self) -> float:
        return self.at / 1e6

    async def sleep(self, seconds: float) -> None:
        del seconds


def candle_table(times: Sequence[int]) -> pa.Table:
    at = np.asarray(times, dtype=np.int64)
    price = 100.0 + at // HOUR % 7
    return pa.table(
        [
            pa.array(at, pa.int64()).cast(CANDLES.field(0).type),
            price,
            price + 1,
            price - 1,
            price + 0.5,
            np.full(len(at), 2.0),
            np.full(len(at), 200.0),
            np.full(len(at), 3),
            np.full(len(at), 1.0),
        ],
        schema=CANDLES,
    )


def trade_table(times: Sequence[int], ids: Sequence[int]) -> pa.Table:
    rows = len(times)
    return pa.table(
        [
            pa.array(times, pa.int64()).cast(TRADES.field(0).type),
            [str(i) for i in ids],
            np.full(rows, 100.0),
            np.full(rows, 0.5),
            ["buy"] * rows,
            np.full(rows, 1),
        ],
        schema=TRADES,
    )


def funding_table(times: Sequence[int]) -> pa.Table:
    rows = len(times)
    return pa.table(
        [
            pa.array(times, pa.int64()).cast(FUNDING.field(0).type),
            np.full(rows, 1e-4),
            pa.nulls(rows, pa.float64()),
            pa.nulls(rows, pa.float64()),
        ],
        schema=FUNDING,
    )


class Killed(Exception):
    """The process has ended here."""


class MortalStore(MemoryStore):
    """A store whose process is killed before one of its commits."""

    def __init__(self, commits_left: int) -> None:
        super().__init__()
        self.commits_left: int | None = commits_left

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        if self.commits_left is not None:
            self.commits_left -= 1
            if self.commits_left < 0:
                raise Killed
        return await super().commit(batches)


@dataclass
class World:
    exchange: FakeExchange
    store: MemoryStore
    clock: FakeClock
    loader: CryptoDataLoader

    def loader_for(self, store: Store, config: LoaderConfig | None = None) -> CryptoDataLoader:
        return CryptoDataLoader(
            store, {"binance": self.exchange}, self.clock, config or self.loader.config
        )


def make_world(store: MemoryStore | None = None) -> World:
    """Return a hundred hours of candles on an exchange, an empty store and a loader between."""
    exchange = FakeExchange(
        candles=candle_table([START + i * HOUR for i in range(100)]), now_us=START + 200 * HOUR
    )
    store = store or MemoryStore()
    clock = FakeClock(START + 200 * HOUR)
    config = LoaderConfig(chunk_windows=3)
    return World(
        exchange, store, clock, CryptoDataLoader(store, {"binance": exchange}, clock, config)
    )
