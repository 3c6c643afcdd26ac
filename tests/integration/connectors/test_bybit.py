"""The Bybit connector against the simulated exchange, which shares the notes and no code."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from zvt_crypto.connectors.base import Tools
from zvt_crypto.connectors.bybit.rest import BybitConnector
from zvt_crypto.connectors.bybit.spec import BYBIT
from zvt_crypto.core.errors import ArchiveAbsent, Banned, MalformedPayload, UnknownSymbol
from zvt_crypto.core.instrument import Instrument, InstrumentTable
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_state import MemoryState
from zvt_crypto.net.http import HttpClient
from zvt_crypto.net.quota import Quota
from zvt_crypto.net.retry import RetryPolicy
from zvt_crypto.ports.connector import Fetched
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

DAY = to_us("2025-07-01")
SYMBOLS = ["BTC-USDT", "BTC-USDT-PERP", "BTC-USDC-PERP", "BTC-USD-PERP"]


class World:
    """A simulator, a connector to it, and its truth."""

    def __init__(
        self,
        sim: Simulator,
        connector: BybitConnector,
        governors: dict[str, Governor],
        client: ClientSession,
    ) -> None:
        self.sim = sim
        self.governors = governors
        self.connector = connector
        self._client = client
        self._table: InstrumentTable | None = None

    async def instrument(self, symbol: str) -> Instrument:
        if self._table is None:
            self._table = InstrumentTable("bybit", await self.connector.instruments())
        return self._table.resolve(symbol)

    async def truth(self, kind: str, symbol: str, part: Range, **more: Any) -> list[dict[str, Any]]:
        bounds = {"start": format_us(part.start), "end": format_us(part.end)}
        query = {"exchange": "bybit", "symbol": symbol} | bounds | more
        async with self._client.get(f"{self.sim.url}/_truth/{kind}", params=query) as reply:
            return await reply.json()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    config = SimulatorConfig(seed=7, trades_per_day=2_000, exchanges=("bybit",))
    async with Simulator(config) as sim, HttpClient("bybit") as http, ClientSession() as client:
        governors = {
            role: Governor(
                role,
                [Quota(f.name, f.amount, f.per_s, kind=f.style, share=f.share) for f in facts],
                MemoryState(),
            )
            for role, facts in BYBIT.quotas.items()
        }
        tools = Tools(
            http=http,
            governors=governors,
            clock=ServerClock(SystemClock()),
            hosts=dict.fromkeys(BYBIT.hosts, sim.venue_url("bybit")),
            scratch=tmp_path,
            retry=RetryPolicy(budget_s=5.0, first_s=0.01),
        )
        yield World(sim, BybitConnector(tools), governors, client)


def times(fetched: Fetched) -> list[int]:
    return fetched.table["timestamp"].cast("int64").to_pylist()


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_candles_are_those_of_the_market(world: World, symbol: str) -> None:
    # given what happened in two days
    asked = Range(DAY, DAY + 2 * US_PER_DAY)
    truth = await world.truth("candles", symbol, asked, interval="1m", empty=1)
    instrument = await world.instrument(symbol)

    # when all windows are asked for
    windows = world.connector.windows(instrument, Kind.CANDLES, Interval.M1, asked)
    pages = [await world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows]

    # then every candle is there once, with base and quote volume where they belong
    assert [t for page in pages for t in times(page)] == [row["open_time_us"] for row in truth]
    for name in ("open", "high", "low", "close", "volume", "quote_volume"):
        got = [value for page in pages for value in page.table[name].to_pylist()]
        assert got == [float(Decimal(row[name])) for row in truth], name
    assert all(not page.rejected for page in pages)


@pytest.mark.parametrize("interval", list(Interval))
async def test_no_running_candle_leaves_the_connector(world: World, interval: Interval) -> None:
    instrument = await world.instrument("BTC-USDT-PERP")
    now = world.connector.clock.now_us()
    asked = Range(interval.shift(interval.floor(now), -3), now + US_PER_DAY)
    window = world.connector.windows(instrument, Kind.CANDLES, interval, asked)[0]
    fetched = await world.connector.fetch_candles(instrument, interval, window)
    assert len(times(fetched)) == 3
    assert interval.shift(times(fetched)[-1], 1) <= world.connector.clock.now_us()
    assert fetched.asked.end == interval.shift(times(fetched)[-1], 1)


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_the_first_candle_is_the_first(world: World, symbol: str) -> None:
    instrument = await world.instrument(symbol)
    first = await world.connector.first_candle(instrument, Interval.M1)
    assert first is not None
    if instrument.listed_us is not None:
        assert first == Interval.M1.floor(instrument.listed_us)
    before = await world.connector.fetch_candles(
        instrument, Interval.M1, Range(first - 100 * US_PER_MINUTE, first)
    )
    assert before.table.num_rows == 0


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_recent_trades_are_complete_in_what_they_claim(world: World, symbol: str) -> None:
    # given the last hours as far as the page of recent trades reaches
    instrument = await world.instrument(symbol)
    now = world.connector.clock.now_us()
    window = Range(now - 6 * US_PER_HOUR, now)

    # when they are asked for
    (part,) = [p async for p in world.connector.fetch_trades(instrument, window)]

    # then the claimed stretch holds exactly the trades of the market, in milliseconds
    truth = await world.truth("trades", symbol, part.asked)
    assert part.asked.end > now - 10_000_000
    assert len(truth) > 20
    assert times(part) == [row["time_us"] // 1_000 * 1_000 for row in truth]
    rows = part.table.to_pylist()
    key = sorted((r["timestamp"], r["price"], r["side"]) for r in rows)
    assert sorted(side for *_, side in key) == sorted(row["side"] for row in truth)
    assert sum(r["size"] for r in rows) == pytest.approx(
        float(sum(Decimal(row["size"]) for row in truth)), rel=1e-6
    )


@pytest.mark.parametrize("day", [to_us("2021-10-20"), DAY, to_us("2022-10-05")])
@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_archives_hold_the_trades_of_the_market(world: World, symbol: str, day: int) -> None:
    # given a day of old files (newest first, monthly on spot) or of new ones
    instrument = await world.instrument(symbol)
    asked = Range(day, day + US_PER_DAY)
    first = await world.connector.first_candle(instrument, Interval.M1)
    if first is None or first >= day:
        pytest.skip("not listed yet")
    (file,) = await world.connector.archives(instrument, Kind.TRADES, None, asked)
    truth = await world.truth("trades", symbol, asked)

    # when its file is read
    parts = [part async for part in world.connector.fetch_archive(instrument, None, file)]

    # then it holds every trade once
    assert parts[0].asked.start == file.covers.start
    assert parts[-1].asked.end == file.covers.end
    rows = [
        r for part in parts for r in part.table.to_pylist() if asked.holds(to_us(r["timestamp"]))
    ]
    assert len(rows) == len(truth)
    assert len({r["trade_id"] for r in rows}) == len(truth)
    unit = 1_000 if symbol == "BTC-USDT" else 100
    stamps = sorted(to_us(r["timestamp"]) for r in rows)
    assert all(abs(got - row["time_us"]) < unit for got, row in zip(stamps, truth, strict=True))
    assert sum(r["size"] for r in rows) == pytest.approx(
        float(sum(Decimal(row["size"]) for row in truth)), rel=1e-6
    )
    assert not any(part.rejected for part in parts)


@pytest.mark.parametrize("kind", ["archive_bad_checksum", "archive_corrupt_zip"])
async def test_a_broken_archive_is_fetched_again(world: World, kind: str) -> None:
    instrument = await world.instrument("BTC-USDT-PERP")
    (file,) = await world.connector.archives(instrument, Kind.TRADES, None, Range(DAY, DAY + 1))
    world.sim.world.add_fault({"kind": kind, "first": 1, "endpoint": ".csv.gz"})
    parts = [part async for part in world.connector.fetch_archive(instrument, None, file)]
    assert sum(part.table.num_rows for part in parts) == 2_000


@pytest.mark.parametrize("kind", ["archive_header", "archive_unsorted"])
async def test_archives_without_header_or_order_are_read(world: World, kind: str) -> None:
    world.sim.world.add_fault({"kind": kind, "endpoint": ".csv.gz"})
    for symbol in ("BTC-USDT", "BTC-USD-PERP"):
        instrument = await world.instrument(symbol)
        (file,) = await world.connector.archives(instrument, Kind.TRADES, None, Range(DAY, DAY + 1))
        parts = [part async for part in world.connector.fetch_archive(instrument, None, file)]
        assert sum(part.table.num_rows for part in parts) == 2_000


async def test_an_archive_that_stays_broken_is_malformed(world: World) -> None:
    instrument = await world.instrument("BTC-USDT-PERP")
    (file,) = await world.connector.archives(instrument, Kind.TRADES, None, Range(DAY, DAY + 1))
    world.sim.world.add_fault({"kind": "archive_corrupt_zip", "endpoint": ".csv.gz"})
    with pytest.raises(MalformedPayload):
        [part async for part in world.connector.fetch_archive(instrument, None, file)]


async def test_today_has_no_archive_yet(world: World) -> None:
    instrument = await world.instrument("BTC-USDT-PERP")
    now = world.connector.clock.now_us()
    (file,) = await world.connector.archives(instrument, Kind.TRADES, None, Range(now - 1, now))
    with pytest.raises(ArchiveAbsent):
        [part async for part in world.connector.fetch_archive(instrument, None, file)]


@pytest.mark.parametrize("symbol", ["BTC-USDT-PERP", "BTC-USD-PERP", "SOL-USDT-PERP"])
async def test_funding_is_that_of_the_market(world: World, symbol: str) -> None:
    asked = Range(DAY, DAY + 60 * US_PER_DAY)
    instrument = await world.instrument(symbol)
    truth = await world.truth("funding", symbol, asked)
    windows = world.connector.windows(instrument, Kind.FUNDING, None, asked)
    pages = [await world.connector.fetch_funding(instrument, w) for w in windows]
    assert [t for page in pages for t in times(page)] == [row["funding_time_us"] for row in truth]
    rates = [rate for page in pages for rate in page.table["funding_rate"].to_pylist()]
    assert rates == [float(row["funding_rate"]) for row in truth]


async def test_five_hundred_requests_earn_no_refusal(world: World) -> None:
    # given more requests than five seconds allow without a brake
    instrument = await world.instrument("BTC-USDT-PERP")
    window = Range(DAY, DAY + US_PER_MINUTE)
    for _ in range(500):
        await world.connector.fetch_candles(instrument, Interval.M1, window)
    stats = world.sim.world.venues["bybit"].stats.describe()
    assert stats["refused"] == {}
    assert max(stats["peak_share"].values()) <= 0.70


async def test_a_refusal_stops_everything_at_once(world: World) -> None:
    instrument = await world.instrument("BTC-USDT-PERP")
    before = world.connector.stats.requests
    world.sim.world.add_fault({"kind": "http_403", "first": 1})
    with pytest.raises(Banned):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))
    assert world.connector.stats.requests == before + 1
    assert world.governors["rest"].frozen_s > 590


async def test_a_delisted_symbol_is_unknown(world: World) -> None:
    instrument = await world.instrument("BTC-USDT-PERP")
    world.sim.world.add_fault({"kind": "delisting", "symbol": "BTC-USDT-PERP"})
    with pytest.raises(UnknownSymbol):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))
