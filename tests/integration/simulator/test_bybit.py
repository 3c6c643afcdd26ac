"""The simulated Bybit answers as the real one is documented to."""

import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import ClientSession
from bybit_client import DAY_MS, HOUR_MS, MARKET, MINUTE_MS, START_MS, Bybit
from yarl import URL

from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


@pytest.fixture
def bybit(sim: Simulator, client: ClientSession) -> Bybit:
    return Bybit(sim, client)


def opens(rows: Sequence[Sequence[str]]) -> list[int]:
    return [int(row[0]) for row in rows]


# Candles.


async def test_candles_are_newest_first_and_both_bounds_are_inclusive(bybit: Bybit) -> None:
    # when three hours are asked for by the opens of the first and the last
    result = await bybit.result(
        "kline", category="linear", symbol="BTCUSDT", interval="60",
        start=START_MS, end=START_MS + 2 * HOUR_MS,
    )  # fmt: skip

    # then they are there, newest first, as rows of seven strings
    assert (result["category"], result["symbol"]) == ("linear", "BTCUSDT")
    assert opens(result["list"]) == [START_MS + n * HOUR_MS for n in (2, 1, 0)]
    assert all(len(row) == 7 and all(isinstance(v, str) for v in row) for row in result["list"])


@pytest.mark.parametrize(
    ("category", "native", "symbol"),
    [("spot", "BTCUSDT", "BTC-USDT"), ("linear", "BTCUSDT", "BTC-USDT-PERP"),
     ("linear", "BTCPERP", "BTC-USDC-PERP"), ("inverse", "BTCUSD", "BTC-USD-PERP")],
)  # fmt: skip
async def test_candles_are_those_of_the_market(
    bybit: Bybit, category: str, native: str, symbol: str
) -> None:
    # given what happened in 100 minutes
    end = format_us((START_MS + 100 * MINUTE_MS) * 1_000)
    truth = await bybit.truth(
        "candles", symbol, interval="1m", start=format_us(START_MS * 1_000), end=end, empty=1
    )

    # when they are read from the venue
    rows = await bybit.rows(
        "kline", category=category, symbol=native, interval="1",
        start=START_MS, end=START_MS + 100 * MINUTE_MS - 1,
    )  # fmt: skip

    # then the numbers are the same; an inverse contract counts dollars, and coins as turnover
    assert [int(row[0]) * 1_000 for row in reversed(rows)] == list(truth["open_time_us"])
    volume, turnover = ("quote_volume", "volume") if category == "inverse" else (
        "volume", "quote_volume"
    )  # fmt: skip
    for place, name in enumerate(("open", "high", "low", "close", volume, turnover), start=1):
        got = [Decimal(row[place]) for row in reversed(rows)]
        assert got == [Decimal(value) for value in truth[name]], name


async def test_a_start_inside_a_candle_returns_the_one_that_contains_it(bybit: Bybit) -> None:
    rows = await bybit.rows(
        "kline", category="spot", symbol="BTCUSDT", interval="60", start=START_MS + 1, limit=1
    )
    assert opens(rows) == [START_MS]


async def test_a_lone_start_walks_forward_and_finds_the_first_candle(bybit: Bybit) -> None:
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": "1"}
    first = await bybit.rows("kline", **query, start=1, limit=1)
    entry = (await bybit.rows("instruments-info", category="linear", symbol="BTCUSDT"))[0]
    assert opens(first) == [int(entry["launchTime"])]
    rows = await bybit.rows("kline", **query, start=START_MS, limit=3)
    assert opens(rows) == [START_MS + n * MINUTE_MS for n in (2, 1, 0)]
    assert await bybit.rows("kline", **query, start=1, end=2) == []


async def test_of_a_range_over_the_limit_the_newest_are_served(bybit: Bybit) -> None:
    query = {"category": "linear", "symbol": "BTCUSDT", "interval": "1", "start": START_MS}
    end = START_MS + 5_000 * MINUTE_MS
    assert len(await bybit.rows("kline", **query, end=end)) == 200
    rows = await bybit.rows("kline", **query, end=end, limit=5_000)
    assert len(rows) == 1_000
    assert opens(rows)[0] == end


async def test_the_running_candle_is_first_without_a_word_about_it(bybit: Bybit) -> None:
    envelope = await bybit.envelope("kline", symbol="BTCUSDT", interval="D", limit=2)
    newest, before = opens(envelope["result"]["list"])
    assert newest <= envelope["time"] < newest + DAY_MS
    assert newest - before == DAY_MS
    assert envelope["result"]["category"] == "linear"  # the default


async def test_weeks_open_on_monday_and_months_on_the_first(bybit: Bybit) -> None:
    query = {"category": "spot", "symbol": "BTCUSDT", "start": START_MS, "limit": 2}
    week = await bybit.rows("kline", **query, interval="W")
    month = await bybit.rows("kline", **query, interval="M")
    assert opens(week) == [to_us(day) // 1_000 for day in ("2025-07-07", "2025-06-30")]
    assert opens(month) == [to_us(day) // 1_000 for day in ("2025-08-01", "2025-07-01")]


async def test_quiet_minutes_are_flat(bybit: Bybit) -> None:
    rows = await bybit.rows(
        "kline", category="spot", symbol="LSKUSDT", interval="1",
        start=START_MS, end=START_MS + 999 * MINUTE_MS, limit=1_000,
    )  # fmt: skip
    quiet = [(row, before) for row, before in itertools.pairwise(rows) if row[5] == "0"]
    assert len(rows) == 1_000
    assert len(quiet) > 500
    assert all(len({*row[1:5], before[4]}) == 1 for row, before in quiet)


async def test_mark_price_candles_have_five_columns(bybit: Bybit) -> None:
    query = {"symbol": "BTCUSDT", "interval": "60", "start": START_MS, "limit": 2}
    for name in ("mark-price-kline", "index-price-kline"):
        rows = await bybit.rows(name, category="linear", **query)
        assert [len(row) for row in rows] == [5, 5]
    assert (await bybit.refusal("mark-price-kline", category="spot", **query))[0] == 10_001


# Trades, funding, book, tickers, open interest.


async def test_recent_trades_are_few_on_spot_and_cannot_be_paged(bybit: Bybit) -> None:
    spot = await bybit.rows("recent-trade", category="spot", symbol="BTCUSDT", limit=1_000)
    linear = await bybit.rows("recent-trade", category="linear", symbol="BTCUSDT", limit=5_000)
    default = await bybit.rows("recent-trade", category="inverse", symbol="BTCUSD")
    assert (len(spot), len(linear), len(default)) == (60, 1_000, 500)
    assert all(row["execId"].isdecimal() for row in spot)
    assert all(
        re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r["execId"]) for r in linear
    )
    assert len({row["execId"] for row in linear}) == 1_000
    times = [int(row["time"]) for row in linear]
    assert times == sorted(times, reverse=True)
    assert set(linear[0]) == {
        "execId", "symbol", "price", "size", "side", "time", "isBlockTrade", "isRPITrade", "seq"
    }  # fmt: skip
    assert {row["side"] for row in linear} == {"Buy", "Sell"}
    later = await bybit.rows("recent-trade", category="linear", symbol="BTCUSDT", startTime=1)
    assert int(later[0]["time"]) >= times[0]


async def test_trades_are_those_of_the_market(bybit: Bybit) -> None:
    rows = await bybit.rows("recent-trade", category="inverse", symbol="BTCUSD", limit=100)
    first = int(rows[-1]["time"])
    truth = await bybit.truth("trades", "BTC-USD-PERP", start=format_us(first * 1_000))
    own = [
        (time // 1_000, Decimal(price), Decimal(size), side)
        for time, price, size, side in zip(
            truth["time_us"], truth["price"], truth["native_size"], truth["side"], strict=True
        )
    ]
    got = [
        (int(row["time"]), Decimal(row["price"]), Decimal(row["size"]), row["side"].lower())
        for row in reversed(rows)
    ]
    at = own.index(got[0])
    assert own[at : at + 100] == got


async def test_funding_refuses_a_lone_start(bybit: Bybit) -> None:
    query = {"category": "linear", "symbol": "BTCUSDT"}
    code, message = await bybit.refusal("funding/history", **query, startTime=START_MS)
    assert (code, "endTime" in message) == (10_001, True)
    assert (await bybit.refusal("funding/history", category="spot", symbol="BTCUSDT"))[0] == 10_001


async def test_funding_is_newest_first_and_inclusive(bybit: Bybit) -> None:
    # given 300 settlements of what happened
    end = START_MS + 299 * 8 * HOUR_MS
    truth = await bybit.truth(
        "funding", "BTC-USDT-PERP", start=format_us(START_MS * 1_000),
        end=format_us(end * 1_000 + 1),
    )  # fmt: skip
    query = {"category": "linear", "symbol": "BTCUSDT"}

    # when they are read in two pages, backwards
    newest = await bybit.rows("funding/history", **query, startTime=START_MS, endTime=end)
    oldest = int(newest[-1]["fundingRateTimestamp"])
    rest = await bybit.rows("funding/history", **query, startTime=START_MS, endTime=oldest - 1)

    # then they are all there
    rows = [*newest, *rest]
    assert (len(newest), len(rest)) == (200, 100)
    assert [int(r["fundingRateTimestamp"]) * 1_000 for r in reversed(rows)] == list(
        truth["funding_time_us"]
    )
    assert [Decimal(row["fundingRate"]) for row in reversed(rows)] == [
        Decimal(rate) for rate in truth["funding_rate"]
    ]
    latest = await bybit.rows("funding/history", **query)
    assert len(latest) == 200


async def test_the_book_is_as_deep_as_asked(bybit: Bybit) -> None:
    for category, symbol, default in (("spot", "BTCUSDT", 1), ("inverse", "BTCUSD", 25)):
        book = await bybit.result("orderbook", category=category, symbol=symbol)
        assert (book["s"], len(book["b"]), len(book["a"])) == (symbol, default, default)
        deep = await bybit.result("orderbook", category=category, symbol=symbol, limit=1_000)
        bids = [Decimal(price) for price, _ in deep["b"]]
        asks = [Decimal(price) for price, _ in deep["a"]]
        assert len(bids) == len(asks) == 1_000
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]
        assert deep["cts"] <= deep["ts"]


async def test_tickers_of_one_or_all(bybit: Bybit) -> None:
    spot = await bybit.rows("tickers", category="spot")
    linear = await bybit.rows("tickers", category="linear")
    (one,) = await bybit.rows("tickers", category="linear", symbol="BTCUSDT")
    assert {row["symbol"] for row in spot} >= {"BTCUSDT", "ETHUSDT"}
    assert len(linear) > 500
    assert "fundingRate" not in spot[0]
    assert Decimal(one["openInterest"]) == 2 * Decimal(one["singleOpenInterest"])
    assert -1 < float(one["price24hPcnt"]) < 1
    assert Decimal(one["bid1Price"]) < Decimal(one["ask1Price"])
    assert Decimal(one["lowPrice24h"]) <= Decimal(one["lastPrice"]) <= Decimal(one["highPrice24h"])
    assert await bybit.rows("tickers", category="option", baseCoin="BTC") == []


async def test_open_interest_is_paged_by_a_cursor(bybit: Bybit) -> None:
    query = {"category": "inverse", "symbol": "BTCUSD", "intervalTime": "1h"}
    bounds = {"startTime": START_MS, "endTime": START_MS + 249 * HOUR_MS}
    first = await bybit.result("open-interest", **query, **bounds, limit=200)
    url_ready = first["nextPageCursor"].replace("%3D", "=")
    second = await bybit.result("open-interest", **query, **bounds, limit=200, cursor=url_ready)
    times = [int(row["timestamp"]) for row in (*first["list"], *second["list"])]
    assert times == [START_MS + n * HOUR_MS for n in range(249, -1, -1)]
    assert second["nextPageCursor"] == ""
    assert len(await bybit.rows("open-interest", **query)) == 50
    assert (await bybit.refusal("open-interest", **query | {"intervalTime": "7m"}))[0] == 10_001


# Instruments.


async def test_linear_instruments_need_more_than_one_page(
    bybit: Bybit, sim: Simulator, client: ClientSession
) -> None:
    # when pages of the default size are read, the cursor sent back as it came
    symbols: list[str] = []
    cursor, pages = "", 0
    while True:
        url = f"{sim.venue_url('bybit')}{MARKET}/instruments-info?category=linear"
        url += f"&cursor={cursor}" if cursor else ""
        async with client.get(URL(url, encoded=True)) as reply:
            result = (await reply.json())["result"]
        symbols += [entry["symbol"] for entry in result["list"]]
        pages += 1
        cursor = result["nextPageCursor"]
        if not cursor:
            break
        assert cursor.startswith("first%3D")

    # then all are there once, and the same in one page of a thousand
    assert pages == 2
    assert len(symbols) == len(set(symbols)) > 520
    whole = await bybit.result("instruments-info", category="linear", limit=1_000)
    assert [entry["symbol"] for entry in whole["list"]] == symbols
    assert whole["nextPageCursor"] == ""


async def test_a_cursor_encoded_twice_is_refused(bybit: Bybit) -> None:
    first = await bybit.result("instruments-info", category="linear", limit=10)
    # aiohttp encodes the percent signs of a parameter once more
    code, _ = await bybit.refusal(
        "instruments-info", category="linear", limit=10, cursor=first["nextPageCursor"]
    )
    assert code == 10_001


async def test_only_what_trades_is_listed_unless_asked_otherwise(bybit: Bybit) -> None:
    def words(rows: list[Any], name: str) -> set[str]:
        return {row[name] for row in rows}

    query = {"category": "linear", "limit": 1_000}
    trading = await bybit.rows("instruments-info", **query)
    coming = await bybit.rows("instruments-info", **query, status="PreLaunch")
    closed = await bybit.rows("instruments-info", **query, status="Closed")
    assert words(trading, "status") == {"Trading"}
    assert words(trading, "contractType") == {"LinearPerpetual", "LinearFutures"}
    assert words(trading, "settleCoin") == {"USDT", "USDC"}
    assert [row["isPreListing"] for row in coming] == [True]
    assert words(closed, "status") == {"Closed"}
    assert words(await bybit.rows("instruments-info", **query, baseCoin="eth"), "symbol") == {
        "ETHUSDT", "ETHPERP"
    }  # fmt: skip


async def test_spot_returns_everything_and_options_nothing(bybit: Bybit) -> None:
    spot = await bybit.result("instruments-info", category="spot", limit=1)
    assert len(spot["list"]) > 1
    assert "settleCoin" not in spot["list"][0]
    assert set(spot["list"][0]["lotSizeFilter"]) >= {"basePrecision", "quotePrecision"}
    (inverse,) = await bybit.rows("instruments-info", category="inverse", symbol="BTCUSD")
    assert inverse["contractType"] == "InversePerpetual"
    assert inverse["lotSizeFilter"]["qtyStep"] == "1"
    assert inverse["fundingInterval"] == 480
    assert await bybit.rows("instruments-info", category="option", baseCoin="BTC") == []


# Errors and limits.


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("kline", {"symbol": "NOPEUSDT", "interval": "1"}),
        ("kline", {"category": "inverse", "symbol": "BTCUSDT", "interval": "1"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1h"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "limit": "0"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "start": "soon"}),
        ("kline", {"symbol": "BTCUSDT", "interval": "1", "start": "9", "end": "8"}),
        ("kline", {"category": "stocks", "symbol": "BTCUSDT", "interval": "1"}),
        ("recent-trade", {"symbol": "BTCUSDT"}),
        ("orderbook", {"category": "spot"}),
        ("tickers", {"category": "spot", "symbol": "btcusdt"}),
        ("instruments-info", {"category": "linear", "symbol": "NOPE"}),
    ],
)
async def test_wrong_parameters_fail_under_status_200(
    bybit: Bybit, name: str, query: dict[str, str]
) -> None:
    code, message = await bybit.refusal(name, **query)
    assert code == 10_001
    assert message.startswith("params error: ")
    if "NOPE" in query.get("symbol", ""):
        assert "symbol invalid" in message


async def test_an_unknown_path_or_method_is_404(
    bybit: Bybit, sim: Simulator, client: ClientSession
) -> None:
    status, body = await bybit.get("/v5/market/nothing")
    assert (status, b'"retCode":10017' in body) == (404, True)
    async with client.post(f"{sim.venue_url('bybit')}{MARKET}/time") as reply:
        assert reply.status == HTTPStatus.NOT_FOUND


async def test_the_clock_and_the_status_page(bybit: Bybit) -> None:
    clock = await bybit.result("time")
    assert clock["timeNano"].startswith(clock["timeSecond"])
    status, body = await bybit.get("/v5/system/status")
    assert (status, b'"list":[]' in body) == (200, True)
    await bybit.fault(kind="maintenance", exchange="bybit")
    status, body = await bybit.get("/v5/system/status")
    assert (status, b'"state":"ongoing"' in body) == (200, True)
    status, body = await bybit.get("/v5/market/time")
    assert (status, b'"retCode":10016' in body) == (503, True)


async def test_a_get_with_a_body_is_forbidden(sim: Simulator, client: ClientSession) -> None:
    url = f"{sim.venue_url('bybit')}{MARKET}/time"
    async with client.get(url, json={}) as reply:
        assert reply.status == HTTPStatus.FORBIDDEN
        assert "CloudFront" not in await reply.text()
        assert reply.content_type == "text/html"


async def test_a_refused_country_gets_a_page_not_json(bybit: Bybit) -> None:
    await bybit.fault(kind="http_403", exchange="bybit", body="html", count=1)
    status, body = await bybit.get("/v5/market/time")
    assert (status, b"block access from your country" in body) == (403, True)
    await bybit.fault(kind="http_403", exchange="bybit", count=1)
    status, body = await bybit.get("/v5/market/time")
    assert (status, b"access too frequent" in body) == (403, True)
    assert (await bybit.get("/v5/market/time"))[0] == 200


async def test_over_the_quota_an_address_is_locked_out(client: ClientSession) -> None:
    # given a hundredth of the quota and of the ban: 6 requests in 5 s, then 6 s
    async with Simulator(SimulatorConfig(limits=0.01, exchanges=("bybit",))) as sim:
        bybit = Bybit(sim, client)

        # when seven requests of any category come at once
        paths = [f"{MARKET}/time", "/v5/system/status"] * 3 + [f"{MARKET}/time"]
        answers = [await bybit.get(path) for path in paths]

        # then the seventh and all after it are forbidden, but for the archive
        assert [status for status, _ in answers] == [200] * 6 + [403]
        assert b"access too frequent" in answers[-1][1]
        assert (await bybit.get(f"{MARKET}/time"))[0] == 403
        assert (await bybit.get("/trading/BTCUSDT/"))[0] == 200
        stats = sim.world.venues["bybit"].stats.describe()
        assert (stats["403"], stats["peak_share"]) == (2, {"ip 5s": 1.0})
