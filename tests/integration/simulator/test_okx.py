"""OKX as its documentation says, over HTTP, against the truth."""

import csv
import gzip
import io
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

MINUTE_MS = 60_000
DAY_MS = 86_400_000
NEW_YEAR = 1_704_067_200_000  # 2024-01-01T00:00:00Z
HISTORY = "market/history-candles"


async def ask(client: ClientSession, sim: Simulator, path: str, **params: object) -> Any:
    query = {name: str(value) for name, value in params.items()}
    async with client.get(f"{sim.url}/okx/api/v5/{path}", params=query) as reply:
        return await reply.json()


async def rows_of(client: ClientSession, sim: Simulator, path: str, **params: object) -> list[Any]:
    answer = await ask(client, sim, path, **params)
    assert answer["code"] == "0", answer
    return answer["data"]


async def truth(client: ClientSession, sim: Simulator, kind: str, **params: object) -> list[Any]:
    query = {name: str(value) for name, value in params.items()} | {"exchange": "okx"}
    async with client.get(f"{sim.url}/_truth/{kind}", params=query) as reply:
        return await reply.json()


async def test_after_is_older_before_is_newer_and_both_exclude(
    sim: Simulator, client: ClientSession
):
    async def minutes(**params: object) -> list[int]:
        rows = await rows_of(client, sim, HISTORY, instId="BTC-USDT", **params)
        return [(int(row[0]) - NEW_YEAR) // MINUTE_MS for row in rows]

    at = NEW_YEAR + 10 * MINUTE_MS
    assert await minutes(after=at, limit=3) == [9, 8, 7]
    assert await minutes(after=at, before=NEW_YEAR + 6 * MINUTE_MS) == [9, 8, 7]
    assert await minutes(after=at, before=NEW_YEAR + 6 * MINUTE_MS - 1) == [9, 8, 7, 6]
    newest = await minutes(limit=1)
    assert await minutes(before=at, limit=1) == newest  # the latest page, not the one after `at`
    assert await minutes(after=at, before=at, limit=1) == newest  # contradicting bounds: ignored
    assert len(await minutes(limit=1_000)) == 300
    assert len(await minutes()) == 100


@pytest.mark.parametrize(
    ("symbol", "native", "base_column"),
    [("BTC-USDT", "BTC-USDT", 5), ("BTC-USDT-PERP", "BTC-USDT-SWAP", 6),
     ("BTC-USD-PERP", "BTC-USD-SWAP", 6)],
)  # fmt: skip
async def test_volumes_are_in_the_column_the_kind_puts_them(
    sim: Simulator, client: ClientSession, symbol: str, native: str, base_column: int
):
    end = NEW_YEAR + 120 * MINUTE_MS
    rows = await rows_of(
        client, sim, HISTORY, instId=native, before=NEW_YEAR - 1, after=end, limit=300
    )
    true = await truth(
        client, sim, "candles", symbol=symbol, interval="1m", start=NEW_YEAR, end=end, empty=1
    )

    assert len(rows) == 120
    for row, own in zip(reversed(rows), true, strict=True):
        assert int(row[0]) * 1_000 == own["open_time_us"]
        assert Decimal(row[base_column]) == Decimal(own["volume"])
        assert Decimal(row[7]) == Decimal(own["quote_volume"])
        assert Decimal(row[2]) == Decimal(own["high"])
        assert row[8] == "1"
    if symbol != "BTC-USDT":
        assert [Decimal(r[5]) for r in reversed(rows)] == [
            Decimal(t["native_volume"]) for t in true
        ]


async def test_candles_reach_1440_bars_and_history_lags(sim: Simulator, client: ClientSession):
    now = int((await rows_of(client, sim, "public/time"))[0]["ts"])
    newest = await rows_of(client, sim, "market/candles", instId="BTC-USDT", limit=2)
    beyond = await rows_of(
        client, sim, "market/candles", instId="BTC-USDT", after=now - 1_441 * MINUTE_MS
    )
    lagging = await rows_of(client, sim, HISTORY, instId="BTC-USDT", limit=1)

    assert [row[8] for row in newest] == ["0", "1"]
    assert beyond == []
    assert MINUTE_MS < now - int(lagging[0][0]) < 4 * MINUTE_MS
    assert lagging[0][8] == "1"


async def test_days_open_at_sixteen_unless_utc_is_written(sim: Simulator, client: ClientSession):
    for bar, offset in (("1D", 16 * 60), ("1Dutc", 0), ("12H", 16 * 60 % 720), ("12Hutc", 0)):
        row = (await rows_of(client, sim, HISTORY, instId="BTC-USDT", bar=bar, limit=1))[0]
        width = 1_440 if "D" in bar else 720
        assert int(row[0]) // MINUTE_MS % width == offset % width


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        (HISTORY, {"instId": "NOPE-USDT"}, "51001"),
        (HISTORY, {"instId": "BTC-USDT", "bar": "1h"}, "51000"),
        (HISTORY, {}, "50014"),
        ("market/history-trades", {"instId": "BTC-USDT", "type": 2, "before": 1}, "50039"),
        ("public/instruments", {"instType": "spot"}, "51000"),
        ("public/instruments", {"instType": "OPTION"}, "50014"),
        ("public/funding-rate-history", {"instId": "BTC-USDT"}, "51000"),
    ],
)
async def test_errors_come_inside_the_envelope(
    sim: Simulator, client: ClientSession, path: str, params: dict[str, object], code: str
):
    answer = await ask(client, sim, path, **params)

    assert answer["code"] == code
    assert answer["data"] == []
    assert answer["msg"]


async def test_trades_are_walked_back_by_time_then_by_id(sim: Simulator, client: ClientSession):
    now = int((await rows_of(client, sim, "public/time"))[0]["ts"])
    end = now - 3_600_000

    page = await rows_of(
        client, sim, "market/history-trades", instId="BTC-USDT-SWAP", type=2, after=end
    )
    older = await rows_of(
        client, sim, "market/history-trades", instId="BTC-USDT-SWAP", after=page[-1]["tradeId"]
    )
    between = await rows_of(
        client, sim, "market/history-trades", instId="BTC-USDT-SWAP",
        before=older[5]["tradeId"], after=older[0]["tradeId"],
    )  # fmt: skip

    ids = [int(row["tradeId"]) for row in [*page, *older]]
    assert ids == list(range(ids[0], ids[0] - len(ids), -1))
    assert len(page) == len(older) == 100
    assert all(int(row["ts"]) < end for row in page)
    assert [row["tradeId"] for row in between] == [row["tradeId"] for row in older[1:5]]


async def test_funding_goes_back_three_months(sim: Simulator, client: ClientSession):
    now = int((await rows_of(client, sim, "public/time"))[0]["ts"])
    rows = await rows_of(client, sim, "public/funding-rate-history", instId="BTC-USDT-SWAP")
    current = (await rows_of(client, sim, "public/funding-rate", instId="BTC-USDT-SWAP"))[0]

    times = [int(row["fundingTime"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert 260 < len(rows) < 280
    assert now - times[-1] <= 92 * DAY_MS
    assert any(row["fundingRate"] != row["realizedRate"] for row in rows)
    assert int(current["fundingTime"]) > now
    assert current["settFundingRate"] == rows[0]["realizedRate"]
    assert current["nextFundingRate"] == ""


async def test_contracts_leave_coins_empty_and_spot_leaves_contracts_empty(
    sim: Simulator, client: ClientSession
):
    spot = {row["instId"]: row for row in await rows_of(
        client, sim, "public/instruments", instType="SPOT")}  # fmt: skip
    swaps = {row["instId"]: row for row in await rows_of(
        client, sim, "public/instruments", instType="SWAP")}  # fmt: skip

    assert spot["BTC-USDT"]["ctVal"] == ""
    assert spot["BTC-USDT"]["baseCcy"] == "BTC"
    linear, inverse = swaps["BTC-USDT-SWAP"], swaps["BTC-USD-SWAP"]
    assert (linear["baseCcy"], linear["quoteCcy"]) == ("", "")
    assert (linear["ctVal"], linear["ctValCcy"], linear["settleCcy"]) == ("0.01", "BTC", "USDT")
    assert (inverse["ctVal"], inverse["ctValCcy"], inverse["settleCcy"]) == ("100", "USD", "BTC")


async def test_too_many_requests_in_two_seconds_answer_50011(client: ClientSession):
    async with Simulator(SimulatorConfig(limits=0.25, trades_per_day=100)) as sim:
        answers = []
        for _ in range(8):
            url = f"{sim.url}/okx/api/v5/{HISTORY}?instId=BTC-USDT"
            async with client.get(url) as reply:
                answers.append((reply.status, (await reply.json())["code"]))
        other = await ask(client, sim, "market/candles", instId="BTC-USDT")

    assert answers[:5] == [(200, "0")] * 5
    assert answers[5:] == [(429, "50011")] * 3
    assert other["code"] == "0"  # every endpoint has its own two seconds


async def test_files_are_listed_newest_first_and_cut_at_utc_plus_eight(
    sim: Simulator, client: ClientSession
):
    first = 1_756_656_000_000  # 2025-08-31T16:00Z: 2025-09-01 in UTC+8
    answer = await rows_of(
        client, sim, "public/market-data-history", module=1, instType="SPOT",
        dateAggrType="daily", begin=first, end=first + 2 * DAY_MS, instIdList="BTC-USDT",
    )  # fmt: skip
    files = answer[0]["details"][0]["groupDetails"]

    assert [file["filename"][-14:-4] for file in files] == [
        "2025-09-03", "2025-09-02", "2025-09-01",
    ]  # fmt: skip
    assert files[-1]["dateTs"] == str(first)
    async with client.get(files[-1]["url"]) as reply:
        member = zipfile.ZipFile(io.BytesIO(await reply.read()))
    rows = list(csv.DictReader(io.StringIO(member.read(member.namelist()[0]).decode())))
    true = await truth(client, sim, "trades", symbol="BTC-USDT", start=first, end=first + DAY_MS)
    assert [int(row["trade_id"]) for row in rows] == [own["trade_id"] for own in true]
    assert [Decimal(row["size"]) for row in rows] == [Decimal(own["size"]) for own in true]
    assert any("e-" in row["size"] for row in rows)
    assert {row["side"] for row in rows} == {"buy", "sell"}


async def test_the_volume_of_a_file_is_the_base_volume_of_a_swap(
    shared_data: Path, client: ClientSession
):
    name = shared_data / "ohlcv" / "perp_XRPUSDT_5m_2021.csv.gz"
    recorded = [line.split(",") for line in gzip.decompress(name.read_bytes()).decode().split()][1:]
    config = SimulatorConfig(candles=(f"{name}=okx:XRP/USDT:USDT:5m",), limits="off")
    async with Simulator(config) as sim:
        rows = await rows_of(
            client, sim, HISTORY, instId="XRP-USDT-SWAP", bar="5m", limit=300,
            after=int(recorded[300][0]),
        )  # fmt: skip

    assert [row[0] for row in reversed(rows)] == [own[0] for own in recorded[:300]]
    assert [row[6] for row in reversed(rows)] == [own[5] for own in recorded[:300]]
    assert [row[4] for row in reversed(rows)] == [own[4] for own in recorded[:300]]
