"""The Coinbase connector against the simulated exchange, which shares the notes and no code."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from exchange_world import SimWorld, rows_of, sim_world

from zvt_crypto.connectors.coinbase.rest import CoinbaseConnector
from zvt_crypto.core.errors import GeoBlocked, MalformedPayload, NotSupported, UnknownSymbol
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.connector import Fetched

World = SimWorld[CoinbaseConnector]

DAY = to_us("2025-07-01")
SYMBOLS = ["BTC-USD", "BTC-USDC", "BTC-USD-PERP"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with sim_world(CoinbaseConnector, tmp_path) as running:
        yield running


def times(fetched: Fetched) -> list[int]:
    return [row["timestamp"] for row in rows_of(fetched.table)]


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_candles_are_those_of_the_market(world: World, symbol: str):
    # given what happened in a day long past; minutes without trades have no candle
    asked = Range(DAY, DAY + US_PER_DAY)
    truth = await world.truth("candles", symbol, asked, interval="1m")
    instrument = await world.instrument(symbol)

    windows = world.connector.windows(instrument, Kind.CANDLES, Interval.M1, asked)
    pages = [await world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows]

    assert [t for page in pages for t in times(page)] == [row["open_time_us"] for row in truth]
    for name in ("open", "high", "low", "close", "volume"):
        got = [value for page in pages for value in page.table[name].to_pylist()]
        assert got == [float(Decimal(row[name])) for row in truth], name
    assert [page.asked for page in pages] == windows
    assert [page.requests for page in pages] == [1] * len(windows)
    assert len(truth) < 1_440


@pytest.mark.parametrize("interval", [i for i in Interval if i.nominal_us <= US_PER_DAY])
async def test_the_newest_candles_are_there_and_the_running_one_is_not(
    world: World, interval: Interval
):
    instrument = await world.instrument("BTC-USD")
    await world.connector.sync_clock()
    now = world.connector.clock.now_us()
    asked = Range(interval.shift(interval.floor(now), -40), now + US_PER_DAY)
    window = world.connector.windows(instrument, Kind.CANDLES, interval, asked)[0]

    fetched = await world.connector.fetch_candles(instrument, interval, window)

    assert fetched.asked.end <= world.connector.clock.now_us()
    assert interval.shift(times(fetched)[-1], 1) <= fetched.asked.end
    assert len(times(fetched)) > 10


@pytest.mark.parametrize("symbol", ["BTC-USD", "SOL-USD-PERP"])
async def test_nothing_is_before_the_first_candle(world: World, symbol: str):
    instrument = await world.instrument(symbol)
    first = await world.connector.first_candle(instrument, Interval.M1)
    assert first is not None
    before = Range(first - 5 * US_PER_HOUR, first)

    empty = await world.connector.fetch_candles(instrument, Interval.M1, before)
    inside = await world.connector.fetch_candles(
        instrument, Interval.M1, Range(first, first + US_PER_HOUR)
    )

    assert (empty.table.num_rows, inside.table.num_rows > 0) == (0, True)


async def test_four_hours_are_the_same_from_hours(world: World):
    # given what the exchange itself says, as long as it does
    asked = Range(DAY, DAY + 10 * US_PER_DAY)
    instrument = await world.instrument("ETH-USD")
    native = (await world.connector.fetch_candles(instrument, Interval.H4, asked)).table
    world.fault("no_four_hour")
    world.connector._has_four_hours = None  # pyright: ignore[reportPrivateUsage] - asked anew

    # when it is asked for all but the first, which is another question to its cache
    rest = Range(asked.start + 4 * US_PER_HOUR, asked.end)
    made = (await world.connector.fetch_candles(instrument, Interval.H4, rest)).table

    assert (native.num_rows, made.num_rows) == (60, 59)
    for name in ("timestamp", "open", "high", "low", "close"):
        assert made[name].equals(native[name].slice(1)), name
    assert made["volume"].to_pylist() == pytest.approx(native["volume"].to_pylist()[1:])
    assert world.connector.source_interval(instrument, Interval.H4) is Interval.H1


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_trades_are_those_of_the_market_with_the_takers_side(world: World, symbol: str):
    instrument = await world.instrument(symbol)
    asked = Range(DAY + 7, DAY + 5 * US_PER_HOUR + 11)
    truth = await world.truth("trades", symbol, asked)

    parts = [
        part
        for window in world.connector.windows(instrument, Kind.TRADES, None, asked)
        async for part in world.connector.fetch_trades(instrument, window)
    ]

    assert (parts[0].asked.start, parts[-1].asked.end) == asked
    rows = [row for part in parts for row in rows_of(part.table)]
    assert [(row["timestamp"], row["side"]) for row in rows] == [
        (row["time_us"], row["side"]) for row in truth
    ]
    assert [row["size"] for row in rows] == [float(Decimal(row["size"])) for row in truth]
    ids = [int(row["trade_id"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_busy_hours_are_cut_until_no_reply_is_full(tmp_path: Path):
    async with sim_world(CoinbaseConnector, tmp_path, trades_per_day=400_000) as world:
        instrument = await world.instrument("BTC-USD")
        asked = Range(DAY, DAY + US_PER_HOUR // 2)
        truth = await world.truth("trades", "BTC-USD", asked)

        parts = [part async for part in world.connector.fetch_trades(instrument, asked)]

        rows = [row for part in parts for row in rows_of(part.table)]
        assert len(truth) > 5_000
        assert [row["timestamp"] for row in rows] == [row["time_us"] for row in truth]
        assert not any(part.rejected for part in parts)


async def test_a_moment_ago_is_fresh_and_not_from_the_cache(world: World):
    instrument = await world.instrument("BTC-USD")
    await world.connector.sync_clock()
    first = (await world.connector.quotes([instrument]))[0]
    await asyncio.sleep(0.1)

    second = (await world.connector.quotes([instrument]))[0]

    assert second.ts_event > first.ts_event


async def test_futures_have_open_interest_and_no_history_of_funding(world: World):
    perp = await world.instrument("BTC-USD-PERP")

    assert (await world.connector.open_interest(perp)).open_interest > 0
    with pytest.raises(NotSupported):
        await world.connector.fetch_funding(perp, Range(DAY, DAY + US_PER_DAY))


async def test_an_alias_pair_shows_one_book_under_two_names(world: World):
    dollars, coins = [await world.instrument(s) for s in ("BTC-USD", "BTC-USDC")]
    asked = Range(DAY, DAY + US_PER_HOUR)

    one = await world.connector.fetch_candles(dollars, Interval.M1, asked)
    other = await world.connector.fetch_candles(coins, Interval.M1, asked)

    assert one.table.equals(other.table)


# -- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["http_429", "http_5xx", "wrong_content", "corrupt_body", "disconnect"]
)
async def test_what_passes_is_tried_again(world: World, kind: str):
    instrument = await world.instrument("BTC-USD")
    asked = Range(DAY, DAY + 300 * US_PER_MINUTE)
    clean = await world.connector.fetch_candles(instrument, Interval.M1, asked)
    world.fault(kind, first=1)

    fetched = await world.connector.fetch_candles(
        instrument, Interval.M1, Range(asked.start, asked.end - 1)
    )

    assert fetched.table.equals(clean.table)
    assert world.connector.stats.retries == 1


@pytest.mark.parametrize("kind", ["overlapping_page", "shuffled_page", "duplicate_rows"])
async def test_a_page_out_of_shape_gives_the_same_candles(world: World, kind: str):
    instrument = await world.instrument("BTC-USD-PERP")
    asked = Range(DAY, DAY + 300 * US_PER_MINUTE)
    clean = await world.connector.fetch_candles(instrument, Interval.M1, asked)
    world.fault(kind)

    fetched = await world.connector.fetch_candles(instrument, Interval.M1, asked)

    assert clean.table.num_rows > 100
    assert fetched.table.equals(clean.table)


async def test_a_reply_that_is_never_coinbase_is_malformed(world: World):
    instrument = await world.instrument("BTC-USD")
    world.fault("wrong_content")

    with pytest.raises(MalformedPayload):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))


async def test_a_refused_region_is_told(world: World):
    instrument = await world.instrument("BTC-USD")
    world.fault("http_451")

    with pytest.raises(GeoBlocked):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))


async def test_a_delisted_product_is_unknown(world: World):
    instrument = await world.instrument("LSK-USD")
    world.fault("delisting", symbol="LSK-USD")

    with pytest.raises(UnknownSymbol, match="LSK-USD"):
        await world.connector.fetch_candles(instrument, Interval.M1, Range(DAY, DAY + US_PER_HOUR))


async def test_forty_pages_at_once_earn_no_refusal_and_use_the_budget(world: World):
    # given a market that is made and connections that are open, so that answers come at once
    instrument = await world.instrument("BTC-USD")
    asked = Range(DAY, DAY + 40 * 300 * US_PER_MINUTE)
    await world.truth("candles", "BTC-USD", asked, interval="1m")
    windows = world.connector.windows(instrument, Kind.CANDLES, Interval.M1, asked)
    await asyncio.gather(
        *(world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows[:8])
    )
    await asyncio.sleep(2.5)

    await asyncio.gather(
        *(world.connector.fetch_candles(instrument, Interval.M1, w) for w in windows)
    )

    assert world.stats["refused"] == {}
    assert 0.8 <= world.stats["peak_share"]["public"] <= 1.0
