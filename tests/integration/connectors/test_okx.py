"""The OKX connector against the simulated exchange, which shares the notes and no code."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from exchange_world import SimWorld, rows_of, sim_world

from zvt_crypto.connectors.okx.rest import OkxConnector
from zvt_crypto.core.errors import (
    ArchiveAbsent,
    GeoBlocked,
    MalformedPayload,
    UnknownSymbol,
)
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.connector import ArchiveFile, Fetched

World = SimWorld[OkxConnector]

DAY = to_us("2025-07-01")
SYMBOLS = ["BTC-USDT", "BTC-USDT-PERP", "BTC-USD-PERP"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with sim_world(OkxConnector, tmp_path) as running:
        yield running


def times(fetched: Fetched) -> list[int]:
    return [row["timestamp"] for row in rows_of(fetched.table)]


async def read(world: World, instrument: Instrument, file: ArchiveFile) -> list[Fetched]:
    return [part async for part in world.connector.fetch_archive(instrument, None, file)]


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_candles_are_those_of_the_market(world: World, symbol: str):
    # given what happened in two days long past
    asked = Range(DAY, DAY + 2 * US_PER_DAY)
    truth = await world.truth("candles", symbol, asked, interval="1m", empty=1)
    instrument = await world.instrument(symbol)

    # when all windows are asked for
    windows = world.connector.windows(instrument, Kind.CANDLES, Interval.M1, asked)
    pages = [await world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows]

    # then every candle is there once, in one request a page, base and quote where they belong
    assert [t for page in pages for t in times(page)] == [row["open_time_us"] for row in truth]
    for name in ("open", "high", "low", "close", "volume", "quote_volume"):
        got = [value for page in pages for value in page.table[name].to_pylist()]
        assert got == [float(Decimal(row[name])) for row in truth], name
    assert [page.requests for page in pages] == [1] * len(windows)
    assert all(not page.rejected for page in pages)


@pytest.mark.parametrize("interval", list(Interval))
async def test_the_newest_candles_are_there_and_the_running_one_is_not(
    world: World, interval: Interval
):
    instrument = await world.instrument("BTC-USDT-PERP")
    await world.connector.sync_clock()
    now = world.connector.clock.now_us()
    asked = Range(interval.shift(interval.floor(now), -3), now + US_PER_DAY)
    window = world.connector.windows(instrument, Kind.CANDLES, interval, asked)[0]

    fetched = await world.connector.fetch_candles(instrument, interval, window)

    assert len(times(fetched)) == 3
    assert all(interval.is_open(time) for time in times(fetched))
    assert fetched.asked.end == interval.shift(times(fetched)[-1], 1)


async def test_days_open_at_midnight_of_utc(world: World):
    asked = Range(DAY, DAY + 30 * US_PER_DAY)
    truth = await world.truth("candles", "BTC-USDT", asked, interval="1d")
    instrument = await world.instrument("BTC-USDT")

    fetched = await world.connector.fetch_candles(instrument, Interval.D1, asked)

    assert fetched.table["close"].to_pylist() == [float(row["close"]) for row in truth]


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_nothing_is_before_the_first_candle(world: World, symbol: str):
    instrument = await world.instrument(symbol)
    first = await world.connector.first_candle(instrument, Interval.M1)
    assert first is not None
    inside = Range(first, first + US_PER_HOUR)
    before = Range(first - 5 * US_PER_HOUR, first)

    fetched = await world.connector.fetch_candles(instrument, Interval.M1, inside)
    empty = await world.connector.fetch_candles(instrument, Interval.M1, before)

    assert fetched.table.num_rows > 0
    assert empty.table.num_rows == 0


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_trades_of_rest_are_those_of_the_market(world: World, symbol: str):
    # given a day some weeks ago
    instrument = await world.instrument(symbol)
    start = Interval.D1.floor(world.connector.clock.now_us()) - 20 * US_PER_DAY
    asked = Range(start, start + 6 * US_PER_HOUR)
    truth = await world.truth("trades", symbol, asked)

    # when its hours are asked for
    parts = [
        part
        for window in world.connector.windows(instrument, Kind.TRADES, None, asked)
        async for part in world.connector.fetch_trades(instrument, window)
    ]

    # then every trade is there once, its size in base units
    rows = [row for part in parts for row in rows_of(part.table)]
    assert [(row["timestamp"] // 1_000, row["side"]) for row in rows] == [
        (row["time_us"] // 1_000, row["side"]) for row in truth
    ]
    assert len({row["trade_id"] for row in rows}) == len(truth) > 200
    assert sum(row["size"] for row in rows) == pytest.approx(
        float(sum(Decimal(row["size"]) for row in truth)),
        rel=1e-6,  # of inverse contracts the truth is told to eight decimals
    )


@pytest.mark.parametrize("symbol", ["BTC-USDT-PERP", "BTC-USD-PERP"])
async def test_funding_is_that_of_the_market(world: World, symbol: str):
    instrument = await world.instrument(symbol)
    now = world.connector.clock.now_us()
    asked = Range(Interval.D1.floor(now) - 60 * US_PER_DAY, Interval.D1.floor(now))
    truth = await world.truth("funding", symbol, asked)

    windows = world.connector.windows(instrument, Kind.FUNDING, None, asked)
    pages = [await world.connector.fetch_funding(instrument, w) for w in windows]

    assert [t for page in pages for t in times(page)] == [row["funding_time_us"] for row in truth]
    rates = [rate for page in pages for rate in page.table["funding_rate"].to_pylist()]
    assert rates == [float(row["funding_rate"]) for row in truth]
    assert sum(page.requests for page in pages) == len(windows)


# -- archives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_archives_hold_the_trades_of_the_market(world: World, symbol: str):
    # given a day of UTC, which lies in two files of UTC+8
    instrument = await world.instrument(symbol)
    asked = Range(DAY, DAY + US_PER_DAY)
    files = await world.connector.archives(instrument, Kind.TRADES, None, asked)
    truth = await world.truth("trades", symbol, asked)

    parts = [part for file in files for part in await read(world, instrument, file)]

    assert len(files) == 2
    assert parts[0].asked.start == files[0].covers.start
    assert parts[-1].asked.end == files[-1].covers.end
    rows = [row for part in parts for row in rows_of(part.table) if asked.holds(row["timestamp"])]
    assert [(row["timestamp"] // 1_000, row["side"]) for row in rows] == [
        (row["time_us"] // 1_000, row["side"]) for row in truth
    ]
    assert sum(row["size"] for row in rows) == pytest.approx(
        float(sum(Decimal(row["size"]) for row in truth)),
        rel=1e-6,  # of inverse contracts the truth is told to eight decimals
    )
    assert not any(part.rejected for part in parts)


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_archives_and_rest_tell_the_same_candles(world: World, symbol: str):
    instrument = await world.instrument(symbol)
    asked = Range(DAY, DAY + US_PER_HOUR)
    (file,) = await world.connector.archives(instrument, Kind.CANDLES, Interval.M1, asked)

    (part,) = await read(world, instrument, file)
    fetched = await world.connector.fetch_candles(instrument, Interval.M1, asked)

    rows = [row for row in rows_of(part.table) if asked.holds(row["timestamp"])]
    assert rows == rows_of(fetched.table)
    assert part.table.num_rows == 1_440


async def test_archives_hold_a_whole_month_of_funding(world: World):
    month = Range(DAY, to_us("2025-08-01"))
    instrument = await world.instrument("BTC-USDT-PERP")
    truth = await world.truth("funding", "BTC-USDT-PERP", month)
    (file,) = await world.connector.archives(instrument, Kind.FUNDING, None, month)

    (part,) = await read(world, instrument, file)

    assert part.asked == month
    assert times(part) == [row["funding_time_us"] for row in truth]
    assert part.table["funding_rate"].to_pylist() == [float(r["funding_rate"]) for r in truth]


@pytest.mark.parametrize("kind", ["archive_bad_checksum", "archive_corrupt_zip"])
async def test_a_broken_archive_is_fetched_again(world: World, kind: str):
    instrument = await world.instrument("BTC-USDT-PERP")
    (file, *_) = await world.connector.archives(instrument, Kind.TRADES, None, Range(DAY, DAY + 1))
    (whole,) = await read(world, instrument, file)
    world.fault(kind, first=1, endpoint=".zip")

    (again,) = await read(world, instrument, file)

    assert again.table.equals(whole.table)


@pytest.mark.parametrize("kind", ["archive_header", "archive_unsorted"])
async def test_archives_without_header_or_order_are_read(world: World, kind: str):
    instrument = await world.instrument("BTC-USDT-PERP")
    (file, *_) = await world.connector.archives(instrument, Kind.TRADES, None, Range(DAY, DAY + 1))
    (whole,) = await read(world, instrument, file)
    world.fault(kind, endpoint=".zip")

    (odd,) = await read(world, instrument, file)

    assert odd.table.equals(whole.table)


async def test_an_archive_that_is_not_there_is_absent(world: World):
    instrument = await world.instrument("BTC-USDT-PERP")
    (file, *_) = await world.connector.archives(instrument, Kind.TRADES, None, Range(DAY, DAY + 1))
    world.fault("archive_404", endpoint=".zip")

    with pytest.raises(ArchiveAbsent):
        await read(world, instrument, file)


# -- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["http_429", "http_5xx", "wrong_content", "corrupt_body", "disconnect"]
)
async def test_what_passes_is_tried_again(world: World, kind: str):
    instrument = await world.instrument("BTC-USDT")
    asked = Range(DAY, DAY + US_PER_HOUR)
    world.fault(kind, first=1)

    fetched = await world.connector.fetch_candles(instrument, Interval.M1, asked)

    assert fetched.table.num_rows == 60
    assert world.connector.stats.retries == 1


@pytest.mark.parametrize(
    "kind", ["overlapping_page", "shuffled_page", "duplicate_rows", "truncated_page"]
)
async def test_a_page_out_of_shape_gives_the_same_candles(world: World, kind: str):
    instrument = await world.instrument("BTC-USDT-PERP")
    asked = Range(DAY, DAY + 300 * US_PER_MINUTE)
    clean = await world.connector.fetch_candles(instrument, Interval.M1, asked)
    world.fault(kind, count=3)

    fetched = await world.connector.fetch_candles(instrument, Interval.M1, asked)

    assert clean.table.num_rows == 300
    assert fetched.table.equals(clean.table)


@pytest.mark.parametrize("kind", ["http_403", "http_451"])
async def test_a_refused_region_is_told(world: World, kind: str):
    instrument = await world.instrument("BTC-USDT")
    world.fault(kind)

    with pytest.raises(GeoBlocked):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + 1))


async def test_a_reply_that_is_never_okx_is_malformed(world: World):
    instrument = await world.instrument("BTC-USDT")
    world.fault("wrong_content")

    with pytest.raises(MalformedPayload):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))


async def test_a_delisted_symbol_is_unknown(world: World):
    instrument = await world.instrument("BTC-USDT")
    world.fault("delisting", symbol="BTC-USDT")

    with pytest.raises(UnknownSymbol, match="BTC-USDT"):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))


async def test_maintenance_is_told_with_its_name(world: World):
    assert (await world.connector.status()).is_up
    world.fault("maintenance")

    assert not (await world.connector.status()).is_up


async def test_sixty_pages_at_once_earn_no_refusal_and_use_the_budget(world: World):
    # given a market that is made and connections that are open, so that answers come at once
    instrument = await world.instrument("BTC-USDT")
    asked = Range(DAY, DAY + 60 * 300 * US_PER_MINUTE)
    await world.truth("candles", "BTC-USDT", asked, interval="1m")
    windows = world.connector.windows(instrument, Kind.CANDLES, Interval.M1, asked)
    await asyncio.gather(
        *(world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows[:8])
    )
    await asyncio.sleep(2.5)

    await asyncio.gather(
        *(world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows)
    )

    assert len(windows) == 60
    assert world.stats["refused"] == {}
    share = world.stats["peak_share"]["/api/v5/market/history-candles"]
    assert 0.8 <= share <= 1.0
