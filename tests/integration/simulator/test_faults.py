"""Every kind of fault does to an answer what its documentation says."""

import asyncio
import hashlib
import io
import zipfile
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession

from zvt_crypto.simulator.server import Simulator

MINUTE_MS = 60_000
NEW_YEAR = 1_704_067_200_000
KLINES = "/binance/api/v3/klines"
PAGE: dict[str, str] = {
    "symbol": "BTCUSDT", "interval": "1m", "startTime": str(NEW_YEAR), "limit": "100",
}  # fmt: skip
ARCHIVE = "/binance/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-01.zip"


async def add(client: ClientSession, sim: Simulator, **fault: object) -> int:
    async with client.post(f"{sim.url}/_faults", json=fault) as reply:
        assert reply.status == 201, await reply.text()
        return (await reply.json())[0]["id"]


async def answer(
    client: ClientSession, sim: Simulator, path: str = KLINES, **params: str
) -> tuple[int, bytes, Any]:
    query = params or (PAGE if path == KLINES else {})
    async with client.get(f"{sim.url}{path}", params=query) as reply:
        return reply.status, await reply.read(), reply.headers


async def page(client: ClientSession, sim: Simulator, **params: str) -> list[Any]:
    async with client.get(f"{sim.url}{KLINES}", params=PAGE | params) as reply:
        assert reply.status == 200
        return await reply.json()


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ({"kind": "http_429", "retry_after": 7}, 429, b"-1003"),
        ({"kind": "http_418"}, 418, b"banned until"),
        ({"kind": "http_451"}, 451, b'"code":0'),
        ({"kind": "http_403"}, 403, b"Forbidden"),
        ({"kind": "http_5xx", "status": 502}, 502, b""),
        ({"kind": "wrong_content"}, 200, b"<!DOCTYPE html>"),
        ({"kind": "giant_body", "bytes": 3_000_000}, 200, b"000"),
        ({"kind": "maintenance"}, 503, b"Unavailable"),
    ],
)
async def test_answers_instead_of_the_venues(
    sim: Simulator, client: ClientSession, fault: dict[str, object], status: int, text: bytes
):
    await add(client, sim, exchange="binance", **fault)

    got, body, headers = await answer(client, sim)

    assert got == status
    assert text in body
    if fault["kind"] == "http_429":
        assert headers["Retry-After"] == "7"
    if fault["kind"] == "giant_body":
        assert len(body) == 3_000_000
    async with client.get(f"{sim.url}/_stats") as reply:
        stats = (await reply.json())["binance"]
    assert stats["429"] == stats["418"] == 0  # an injected refusal is not the client's doing


async def test_maintenance_is_told_by_the_status_page(sim: Simulator, client: ClientSession):
    await add(client, sim, kind="maintenance")

    _, binance, _ = await answer(client, sim, "/binance/sapi/v1/system/status")
    _, okx, _ = await answer(client, sim, "/okx/api/v5/system/status")

    assert b'"status":1' in binance
    assert b"ongoing" in okx


@pytest.mark.parametrize("kind", ["disconnect", "refuse"])
async def test_broken_connections(sim: Simulator, client: ClientSession, kind: str):
    number = await add(client, sim, kind=kind)

    with pytest.raises(aiohttp.ClientError):
        await answer(client, sim)
    await client.delete(f"{sim.url}/_faults/{number}")

    assert len(await page(client, sim)) == 100


async def test_slow_and_endless_answers(sim: Simulator, client: ClientSession):
    await add(client, sim, kind="slow", delay_s=0.3, count=1)
    started = asyncio.get_running_loop().time()
    await answer(client, sim)
    assert asyncio.get_running_loop().time() - started >= 0.3

    await add(client, sim, kind="timeout", delay_s=30)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await answer(client, sim)


async def test_a_corrupt_body_is_no_json(sim: Simulator, client: ClientSession):
    await add(client, sim, kind="corrupt_body")

    _, body, _ = await answer(client, sim)

    assert body.startswith(b"[[")
    assert not body.endswith(b"]]")


async def test_pages_are_truncated_overlapping_repeated_shuffled_or_doubled(
    sim: Simulator, client: ClientSession
):
    whole = await page(client, sim)
    await add(client, sim, kind="truncated_page", share=0.25, count=1)
    assert await page(client, sim) == whole[:25]
    await add(client, sim, kind="shuffled_page", count=1)
    shuffled = await page(client, sim)
    assert shuffled != whole
    assert sorted(shuffled) == whole
    await add(client, sim, kind="duplicate_rows", share=0.5, count=1)
    doubled = await page(client, sim)
    assert len(doubled) > 120
    assert sorted({row[0] for row in doubled}) == [row[0] for row in whole]
    await add(client, sim, kind="overlapping_page", rows=2, count=1)
    wide = await page(client, sim)
    assert [row[0] for row in wide] == [NEW_YEAR + n * MINUTE_MS for n in range(-2, len(whole) + 2)]
    await add(client, sim, kind="repeated_page", every=2)
    first = await page(client, sim)
    again = await page(client, sim, startTime=str(NEW_YEAR + 100 * MINUTE_MS))
    assert again == first == whole


async def test_rows_go_bad_off_grid_or_into_another_unit(sim: Simulator, client: ClientSession):
    whole = await page(client, sim)
    await add(client, sim, kind="unit_switch", count=1)
    micros = await page(client, sim)
    assert [row[0] for row in micros] == [row[0] * 1_000 for row in whole]
    await add(client, sim, kind="off_grid_rows", share=0.3, count=1)
    late = [row[0] % MINUTE_MS for row in await page(client, sim)]
    assert 10 < sum(map(bool, late)) < 60
    for what, place, broken in (
        ("nan", 4, lambda text: text == "NaN"),
        ("negative", 1, lambda text: text.startswith("-")),
        ("empty", 5, lambda text: text == ""),
    ):
        await add(client, sim, kind="bad_rows", what=what, share=0.2, count=1)
        bad = [row for row in await page(client, sim) if broken(row[place])]
        assert 5 < len(bad) < 50
    await add(client, sim, kind="bad_rows", what="high_low", share=0.2, count=1)
    assert any(float(row[2]) < float(row[3]) for row in await page(client, sim))
    assert await page(client, sim) == whole


async def test_missing_candles_leave_a_full_page_and_come_back(
    sim: Simulator, client: ClientSession
):
    start, end = NEW_YEAR + 10 * MINUTE_MS, NEW_YEAR + 40 * MINUTE_MS
    await add(
        client, sim, kind="missing_candles", symbol="BTC-USDT", start=start, end=end,
        appear_after_requests=2,
    )  # fmt: skip

    pages = [await page(client, sim) for _ in range(3)]

    assert [len(rows) for rows in pages] == [100, 100, 100]
    opens = [(row[0] - NEW_YEAR) // MINUTE_MS for row in pages[0]]
    assert opens == [*range(10), *range(40, 130)]
    assert pages[1] == pages[0]
    assert [(row[0] - NEW_YEAR) // MINUTE_MS for row in pages[2]] == list(range(100))


async def test_a_share_of_candles_is_missing_for_good(sim: Simulator, client: ClientSession):
    await add(client, sim, kind="missing_candles", share=0.2)

    rows = await page(client, sim)

    assert await page(client, sim) == rows
    assert len(rows) == 100
    assert 110 < (rows[-1][0] - NEW_YEAR) // MINUTE_MS < 150


async def test_first_answers_differ_from_later_ones(sim: Simulator, client: ClientSession):
    whole = await page(client, sim)
    await add(client, sim, kind="revised_candles", first=2)

    first, second, third = [await page(client, sim) for _ in range(3)]

    assert first == second != third == whole
    assert all(a[4] != b[4] and a[0] == b[0] for a, b in zip(first, whole, strict=True))


async def test_the_clock_is_wrong(sim: Simulator, client: ClientSession):
    async with client.get(f"{sim.url}/binance/api/v3/time") as reply:
        right = (await reply.json())["serverTime"]
    await add(client, sim, kind="clock_skew", exchange="binance", offset_s=-90)
    async with client.get(f"{sim.url}/binance/api/v3/time") as reply:
        wrong = (await reply.json())["serverTime"]

    assert -91_000 < wrong - right < -85_000


async def test_a_symbol_is_delisted_and_another_renamed(sim: Simulator, client: ClientSession):
    await add(client, sim, kind="delisting", exchange="binance", symbol="SOL-USDT")
    await add(client, sim, kind="rename", exchange="binance", symbol="XRP-USDT", to="XRPXUSDT")

    async with client.get(f"{sim.url}/binance/api/v3/exchangeInfo") as reply:
        listed = {own["symbol"] for own in (await reply.json())["symbols"]}
    codes = {}
    for symbol in ("SOLUSDT", "XRPUSDT", "XRPXUSDT", "BTCUSDT"):
        codes[symbol] = (await answer(client, sim, KLINES, symbol=symbol, interval="1m"))[0]

    assert {"SOLUSDT", "XRPUSDT"} & listed == set()
    assert "XRPXUSDT" in listed
    assert codes == {"SOLUSDT": 400, "XRPUSDT": 400, "XRPXUSDT": 200, "BTCUSDT": 200}


async def test_an_outage_is_part_of_the_truth(sim: Simulator, client: ClientSession):
    start, end = NEW_YEAR + 20 * MINUTE_MS, NEW_YEAR + 50 * MINUTE_MS
    await add(client, sim, kind="outage", exchange="binance", start=start, end=end)

    opens = [(row[0] - NEW_YEAR) // MINUTE_MS for row in await page(client, sim)]
    query = {"exchange": "binance", "symbol": "BTC-USDT", "start": str(start), "end": str(end)}
    async with client.get(f"{sim.url}/_truth/trades", params=query) as reply:
        trades = await reply.json()
    async with client.get(
        f"{sim.url}/okx/api/v5/market/history-candles?instId=BTC-USDT&after={end}&limit=1"
    ) as reply:
        other = (await reply.json())["data"]

    assert opens == [*range(20), *range(50, 130)]
    assert trades == []
    assert int(other[0][0]) == end - MINUTE_MS


async def test_archives_break_in_their_ways(sim: Simulator, client: ClientSession):
    async def digest() -> str:
        return (await answer(client, sim, f"{ARCHIVE}.CHECKSUM"))[1].split()[0].decode()

    async def lines() -> list[bytes]:
        member = zipfile.ZipFile(io.BytesIO((await answer(client, sim, ARCHIVE))[1]))
        return member.read(member.namelist()[0]).splitlines()

    _, good, _ = await answer(client, sim, ARCHIVE)
    whole, right = await lines(), await digest()
    assert right == hashlib.sha256(good).hexdigest()

    await add(client, sim, kind="archive_404", count=1)
    assert (await answer(client, sim, ARCHIVE))[0] == 404
    await add(client, sim, kind="archive_bad_checksum", count=1)
    assert await digest() != right
    await add(client, sim, kind="archive_corrupt_zip", count=1)
    _, corrupt, _ = await answer(client, sim, ARCHIVE)
    assert corrupt != good
    await add(client, sim, kind="archive_missing_rows", share=0.2, count=1)
    fewer = await lines()
    assert 1_000 < len(fewer) < 1_300
    assert set(fewer) < set(whole)
    await add(client, sim, kind="archive_unsorted", count=1)
    mixed = await lines()
    assert mixed != whole
    assert sorted(mixed) == sorted(whole)
    await add(client, sim, kind="archive_header", count=1)
    assert not (await lines())[0][:1].isdigit()
    assert await lines() == whole


async def test_faults_are_listed_removed_and_refused(sim: Simulator, client: ClientSession):
    number = await add(client, sim, kind="slow", delay_s=0)
    await add(client, sim, kind="refuse", endpoint="nowhere")
    await answer(client, sim)

    async with client.get(f"{sim.url}/_faults") as reply:
        listed = await reply.json()
    assert [(own["kind"], own["fired"]) for own in listed] == [("slow", 1), ("refuse", 0)]
    async with client.delete(f"{sim.url}/_faults/{number}") as reply:
        assert (await reply.json())["removed"] == 1
    async with client.delete(f"{sim.url}/_faults") as reply:
        assert (await reply.json())["removed"] == 1
    async with client.post(f"{sim.url}/_faults", json={"kind": "nonsense"}) as reply:
        assert reply.status == 400
        assert "known:" in (await reply.json())["error"]
