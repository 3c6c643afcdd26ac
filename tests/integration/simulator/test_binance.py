"""Binance as its documentation says, over HTTP, against the truth."""

import hashlib
import io
import zipfile
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

DAY_MS = 86_400_000
MINUTE_MS = 60_000
NEW_YEAR = 1_704_067_200_000  # 2024-01-01T00:00:00Z


async def get(client: ClientSession, sim: Simulator, path: str, **params: object) -> Any:
    query = {name: str(value) for name, value in params.items()}
    async with client.get(f"{sim.url}{path}", params=query) as reply:
        return await reply.json(content_type=None)


async def status(client: ClientSession, sim: Simulator, path: str, **params: object) -> Any:
    query = {name: str(value) for name, value in params.items()}
    async with client.get(f"{sim.url}{path}", params=query) as reply:
        return reply.status, await reply.json(content_type=None), reply.headers


async def test_pages_of_candles_walked_forward_are_the_truth(sim: Simulator, client: ClientSession):
    # given three days of minutes, one of them the last of a year
    start, end = NEW_YEAR - DAY_MS, NEW_YEAR + 2 * DAY_MS
    truth = await get(
        client, sim, "/_truth/candles", exchange="binance", symbol="BTC-USDT", interval="1m",
        start=start, end=end, empty=1,
    )  # fmt: skip

    # when they are read in pages of 1,000 from the start
    rows: list[Any] = []
    at = start
    while at < end:
        page = await get(
            client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval="1m",
            startTime=at, endTime=end - 1, limit=1_000,
        )  # fmt: skip
        rows += page
        at = page[-1][0] + MINUTE_MS

    # then every row is there once and says what happened
    assert len(rows) == 3 * 1_440
    names = ("open", "high", "low", "close", "volume")
    for row, true in zip(rows, truth, strict=True):
        assert row[0] * 1_000 == true["open_time_us"]
        assert [Decimal(text) for text in row[1:6]] == [Decimal(true[name]) for name in names]
        assert row[6] == row[0] + MINUTE_MS - 1
        assert Decimal(row[7]) == Decimal(true["quote_volume"])
        assert row[8] == int(true["trade_count"])
        assert Decimal(row[9]) == Decimal(true["taker_buy_volume"])
        assert len(row[1].partition(".")[2]) == 8


@pytest.mark.parametrize("market", ["api/v3", "fapi/v1"])
async def test_bounds_are_inclusive_on_the_open(sim: Simulator, client: ClientSession, market: str):
    async def opens(**params: object) -> list[int]:
        rows = await get(
            client, sim, f"/binance/{market}/klines", symbol="BTCUSDT", interval="1h", **params
        )
        return [(row[0] - NEW_YEAR) // 3_600_000 for row in rows]

    hour = 3_600_000
    assert await opens(startTime=NEW_YEAR, endTime=NEW_YEAR + 2 * hour) == [0, 1, 2]
    assert await opens(startTime=NEW_YEAR + 1, endTime=NEW_YEAR + 2 * hour - 1) == [1]
    assert await opens(startTime=NEW_YEAR, limit=2) == [0, 1]
    assert await opens(endTime=NEW_YEAR + 5 * hour, limit=2) == [4, 5]
    assert await opens(startTime=NEW_YEAR, endTime=NEW_YEAR + 9 * hour, limit=3) == [0, 1, 2]
    assert await opens(startTime=NEW_YEAR + hour, endTime=NEW_YEAR) == []


async def test_the_running_candle_is_the_last_row(sim: Simulator, client: ClientSession):
    clock = await get(client, sim, "/_clock")
    for interval, width in (("1m", MINUTE_MS), ("1h", 60 * MINUTE_MS), ("1d", DAY_MS)):
        rows = await get(
            client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval=interval, limit=2
        )
        assert rows[-1][6] >= clock["now_us"] // 1_000
        assert rows[-1][0] - rows[0][0] == width


async def test_page_limits_and_first_candles(sim: Simulator, client: ClientSession):
    spot = await get(
        client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval="1m",
        startTime=0, limit=5_000,
    )  # fmt: skip
    perp = await get(
        client, sim, "/binance/fapi/v1/klines", symbol="BTCUSDT", interval="1m",
        startTime=0, limit=1_500,
    )  # fmt: skip
    default = await get(client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval="1m")
    info = await get(client, sim, "/binance/fapi/v1/exchangeInfo")

    assert (len(spot), len(perp), len(default)) == (1_000, 1_500, 500)
    assert spot[0][0] == 1_502_942_400_000
    onboard = next(s["onboardDate"] for s in info["symbols"] if s["symbol"] == "BTCUSDT")
    assert perp[0][0] < onboard  # the date a perpetual claims is later than its first candle


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("api/v3/klines", {"symbol": "NOPE", "interval": "1m"}, -1121),
        ("api/v3/klines", {"symbol": "BTCUSDT", "interval": "1wk"}, -1120),
        ("api/v3/klines", {"symbol": "BTCUSDT"}, -1102),
        ("api/v3/klines", {"symbol": "btcusdt", "interval": "1m"}, -1100),
        ("api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "x"}, -1100),
        ("api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": "-1"}, -1100),
        ("api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 1501}, -1130),
        ("fapi/v1/klines", {"symbol": "LSKUSDT", "interval": "1m"}, -1121),
        ("fapi/v1/aggTrades", {"symbol": "BTCUSDT", "startTime": 0, "endTime": 3_600_001}, -1127),
        ("fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 7}, -4021),
    ],
)
async def test_bad_parameters_are_refused_in_the_venues_words(
    sim: Simulator, client: ClientSession, path: str, params: dict[str, object], code: int
):
    answer, body, _ = await status(client, sim, f"/binance/{path}", **params)

    assert (answer, body["code"]) == (400, code)
    assert body["msg"]


async def test_trades_page_by_id_and_aggregates_cover_them(sim: Simulator, client: ClientSession):
    first = 5_000
    trades = await get(
        client, sim, "/binance/api/v3/historicalTrades", symbol="BTCUSDT", fromId=first, limit=1_000
    )
    start, end = trades[0]["time"], trades[-1]["time"]
    orders: list[Any] = await get(
        client, sim, "/binance/api/v3/aggTrades", symbol="BTCUSDT", startTime=start, endTime=end,
        limit=1_000,
    )  # fmt: skip
    again = await get(
        client, sim, "/binance/api/v3/aggTrades", symbol="BTCUSDT", fromId=orders[0]["a"],
        limit=len(orders),
    )  # fmt: skip

    assert [trade["id"] for trade in trades] == list(range(first, first + 1_000))
    assert again == orders
    assert [b["f"] - a["l"] for a, b in pairwise(orders)] == [1] * (len(orders) - 1)
    by_id = {trade["id"]: trade for trade in trades}
    for order in orders[1:-1]:
        parts = [by_id[n] for n in range(order["f"], order["l"] + 1)]
        assert {part["price"] for part in parts} == {order["p"]}
        assert {part["isBuyerMaker"] for part in parts} == {order["m"]}
        assert sum(Decimal(part["qty"]) for part in parts) == Decimal(order["q"])


async def test_old_trades_of_perpetuals_are_not_there(sim: Simulator, client: ClientSession):
    now = (await get(client, sim, "/binance/fapi/v1/time"))["serverTime"]

    old = await get(
        client, sim, "/binance/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=now - 3 * DAY_MS,
        limit=5,
    )  # fmt: skip
    recent = await get(
        client, sim, "/binance/fapi/v1/aggTrades", symbol="BTCUSDT",
        startTime=now - DAY_MS, endTime=now - DAY_MS + 3_500_000,
    )  # fmt: skip
    answer, body, _ = await status(
        client, sim, "/binance/fapi/v1/historicalTrades", symbol="BTCUSDT"
    )

    assert old == []
    assert recent
    assert "M" not in recent[0]
    assert (answer, body["code"]) == (401, -2014)


async def test_funding_is_late_by_milliseconds_and_has_its_interval(
    sim: Simulator, client: ClientSession
):
    rows = await get(
        client, sim, "/binance/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=NEW_YEAR,
        endTime=NEW_YEAR + 10 * DAY_MS, limit=1_000,
    )  # fmt: skip
    truth = await get(
        client, sim, "/_truth/funding", exchange="binance", symbol="BTC-USDT-PERP",
        start=NEW_YEAR, end=NEW_YEAR + 10 * DAY_MS,
    )  # fmt: skip
    info = await get(client, sim, "/binance/fapi/v1/fundingInfo")
    old = await get(
        client, sim, "/binance/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=0, limit=1
    )

    late = [row["fundingTime"] - true["funding_time_us"] // 1_000
            for row, true in zip(rows, truth, strict=True)]  # fmt: skip
    assert len(rows) == 30
    assert all(0 <= ms < 50 for ms in late)
    assert any(late)
    assert [Decimal(row["fundingRate"]) for row in rows] == [
        Decimal(true["funding_rate"]) for true in truth
    ]
    assert [(row["symbol"], row["fundingIntervalHours"]) for row in info] == [("SOLUSDT", 4)]
    assert old[0]["markPrice"] == ""


async def test_spot_and_perpetual_share_an_id_and_differ(sim: Simulator, client: ClientSession):
    spot = await get(client, sim, "/binance/api/v3/exchangeInfo", symbol="BTCUSDT")
    perp = await get(client, sim, "/binance/fapi/v1/exchangeInfo")
    own = next(s for s in perp["symbols"] if s["symbol"] == "BTCUSDT")
    spot_filters = {f["filterType"]: f for f in spot["symbols"][0]["filters"]}
    perp_filters = {f["filterType"]: f for f in own["filters"]}

    assert spot_filters["NOTIONAL"]["minNotional"]
    assert perp_filters["MIN_NOTIONAL"]["notional"]
    assert "minNotional" not in perp_filters["MIN_NOTIONAL"]
    assert spot_filters["PRICE_FILTER"]["tickSize"] != perp_filters["PRICE_FILTER"]["tickSize"]


async def test_real_hosts_reach_their_venue(sim: Simulator, client: ClientSession):
    async with client.get(f"{sim.url}/api/v3/time", headers={"Host": "api.binance.com"}) as reply:
        assert (await reply.json())["serverTime"] > NEW_YEAR
    async with client.get(f"{sim.url}/api/v3/time") as reply:
        assert reply.status == 404


async def test_weight_runs_out_then_429_then_418(client: ClientSession):
    # given a hundredth of the real weight: 60 a minute, three exchangeInfo
    async with Simulator(SimulatorConfig(limits=0.01, trades_per_day=100)) as sim:
        answers = [await status(client, sim, "/binance/api/v3/exchangeInfo") for _ in range(15)]
        stats = await get(client, sim, "/_stats")

    # then the limits it tells are those it keeps, and who goes on is banned
    told = {limit["rateLimitType"]: limit["limit"] for limit in answers[0][1]["rateLimits"]}
    codes = [answer[0] for answer in answers]
    assert told["REQUEST_WEIGHT"] == 60
    assert codes[0] == 200
    assert answers[0][2]["X-MBX-USED-WEIGHT-1M"] == "20"
    assert sorted(set(codes)) == [200, 418, 429]
    assert codes == sorted(codes, key=(200, 429, 418).index)
    first = answers[codes.index(429)]
    assert first[1]["code"] == -1003
    assert 0 < int(first[2]["Retry-After"]) <= 60
    assert int(answers[-1][2]["Retry-After"]) > 100
    assert "banned until" in answers[-1][1]["msg"]
    assert stats["binance"]["429"] == codes.count(429)
    assert stats["binance"]["418"] == codes.count(418)


@pytest.mark.parametrize(
    ("path", "unit", "header"),
    [
        ("spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12-31", 10**12, False),
        ("spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01", 10**15, False),
        ("spot/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2025-01", 10**15, False),
        ("futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2022-01-01", 10**12, False),
        ("futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01", 10**12, True),
    ],
)
async def test_the_archive_holds_the_same_candles(
    sim: Simulator, client: ClientSession, path: str, unit: int, header: bool
):
    async with client.get(f"{sim.url}/binance/data/{path}.zip") as reply:
        body = await reply.read()
    async with client.get(f"{sim.url}/binance/data/{path}.zip.CHECKSUM") as reply:
        digest, name = (await reply.text()).split()
    member = zipfile.ZipFile(io.BytesIO(body))
    rows = [line.split(",") for line in member.read(member.namelist()[0]).decode().splitlines()]

    assert digest == hashlib.sha256(body).hexdigest()
    assert name == f"{path.rpartition('/')[2]}.zip"
    assert rows[0][0].isdecimal() is not header
    rows = rows[header:]
    scale = unit // 10**12
    assert unit < int(rows[0][0]) < unit * 10
    market = "fapi/v1" if path.startswith("futures") else "api/v3"
    interval = path.split("/")[-2].replace("1mo", "1M")
    rest = await get(
        client, sim, f"/binance/{market}/klines", symbol="BTCUSDT", interval=interval,
        startTime=int(rows[0][0]) // scale, endTime=int(rows[-1][0]) // scale,
    )  # fmt: skip
    assert [[*map(Decimal, row[1:6]), int(row[8])] for row in rows] == [
        [*map(Decimal, row[1:6]), row[8]] for row in rest
    ]
    assert [int(row[6]) // scale for row in rows] == [row[6] for row in rest]


async def test_the_archive_has_no_file_before_its_time(sim: Simulator, client: ClientSession):
    for path in (
        "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2017-08-01.zip",
        "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2099-01-01.zip",
        "spot/monthly/klines/BTCUSDT/1M/BTCUSDT-1M-2024-01.zip",
        "spot/daily/klines/NOPE/1m/NOPE-1m-2024-01-01.zip",
        "futures/um/daily/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-01-01.zip",
    ):
        async with client.get(f"{sim.url}/binance/data/{path}") as reply:
            assert reply.status == 404, path


async def test_a_recorded_series_is_served_as_recorded(shared_data: Path, client: ClientSession):
    # given a recording with all of Binance's columns
    import gzip

    name = shared_data / "ohlcv" / "binance_BTCUSDT_1h_20200430_full_p1.csv.gz"
    recorded = [line.split(",") for line in gzip.decompress(name.read_bytes()).decode().split()][1:]
    config = SimulatorConfig(candles=(f"{name}=binance:BTC-USDT:1h",), limits="off")
    async with Simulator(config) as sim:
        # when it is read as a client would
        rows = await get(
            client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval="1h", startTime=0,
            limit=1_000,
        )  # fmt: skip
        newest = await get(
            client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1
        )
        minutes = await get(client, sim, "/binance/api/v3/klines", symbol="BTCUSDT", interval="1m")
        trades = await get(client, sim, "/binance/api/v3/trades", symbol="BTCUSDT")

    # then each string is the recorded one, and nothing is added
    assert [[str(value) for value in row[:11]] for row in rows] == recorded[:1_000]
    assert [str(value) for value in newest[0][:11]] == recorded[-1]
    assert minutes == []
    assert trades == []


async def test_a_recorded_funding_series_is_served(shared_data: Path, client: ClientSession):
    name = shared_data / "ohlcv" / "funding_XRPUSDT_8h_2021.csv.gz"
    config = SimulatorConfig(candles=(f"{name}=binance:XRP-USDT-PERP:funding",), limits="off")
    async with Simulator(config) as sim:
        rows = await get(
            client, sim, "/binance/fapi/v1/fundingRate", symbol="XRPUSDT", startTime=0, limit=1_000
        )

    assert len(rows) == 91
    assert rows[0]["fundingTime"] == 1_637_193_600_017
    assert Decimal(rows[0]["fundingRate"]) == Decimal("0.0001")
