"""Recorded REST replies are served for the requests they answered, all else by the market."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

SPOT = "binance/rest/spot_interleaved_cryptofeed_20210405.jsonl.gz"


def bodies(path: Path) -> dict[str, str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {line["url"]: line["body"] for line in map(json.loads, file)}


@pytest.fixture
async def recorded(shared_data: Path) -> AsyncIterator[Simulator]:
    config = SimulatorConfig(session_replies=(f"{shared_data / SPOT}=binance",))
    async with Simulator(config) as sim:
        yield sim


async def get(client: ClientSession, sim: Simulator, path: str) -> str:
    async with client.get(f"{sim.url}{path}") as reply:
        assert reply.status == 200
        return await reply.text()


@pytest.mark.parametrize(
    "path", ["api/v1/depth?symbol=ZILUSDT&limit=1000", "api/v1/depth?limit=1000&symbol=ZILUSDT",
             "api/v1/depth?symbol=ZILUSDT&limit=5000", "api/v3/depth?symbol=ZILUSDT"],
)  # fmt: skip
async def test_a_recorded_book_is_served_byte_for_byte(
    recorded: Simulator, client: ClientSession, shared_data: Path, path: str
) -> None:
    # whatever the order of the parameters, the depth asked for and the version of the path
    expected = bodies(shared_data / SPOT)
    body = await get(client, recorded, f"/binance/{path}")
    assert body == expected["https://www.binance.com/api/v1/depth?symbol=ZILUSDT&limit=1000"]


async def test_what_is_not_recorded_comes_from_the_market(
    recorded: Simulator, client: ClientSession
) -> None:
    body = json.loads(await get(client, recorded, "/binance/api/v3/depth?symbol=BTCUSDT&limit=5"))
    assert len(body["bids"]) == 5
    told = json.loads(await get(client, recorded, "/_truth/session?exchange=binance"))
    assert told == {"exchange": "binance", "rest": {"replies": 10, "served": 0}}


async def test_replies_to_one_request_come_in_their_order(
    client: ClientSession, tmp_path: Path
) -> None:
    # given three replies to one request, of which one is a refusal
    file = tmp_path / "rest.jsonl"
    url = "https://www.okx.com/api/v5/market/books?instId=BTC-USDT&sz=400"
    rows: list[Any] = [
        {"url": url, "status": status, "body": f'{{"n":{n}}}', "method": "GET", "t": None}
        for n, status in enumerate((200, 503, 200))
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    got: list[tuple[int, str]] = []
    async with Simulator(SimulatorConfig(session_replies=(f"{file}=okx",))) as sim:
        for _ in range(4):
            address = f"{sim.url}/okx/api/v5/market/books?instId=BTC-USDT&sz=400"
            async with client.get(address) as reply:
                got.append((reply.status, await reply.text()))
    assert got == [(200, '{"n":0}'), (503, '{"n":1}'), (200, '{"n":2}'), (200, '{"n":2}')]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rest.jsonl"
    file.write_text('{"t":1}\n')
    with pytest.raises(ValueError, match="not recorded REST replies"):
        Simulator(SimulatorConfig(session_replies=(f"{file}=okx",)))


@pytest.mark.parametrize(
    ("file", "path", "natives"),
    [
        ("binance/ws/spot_cryptofeed_20211012",
         "binance/api/v3/exchangeInfo",
         {"NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"}),
        ("binance/ws/usdm_cryptofeed_20210722",
         "binance/fapi/v1/exchangeInfo",
         {"SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"}),
        ("okx/ws/public_cryptofeed_20210722_conn1",
         "okx/api/v5/public/instruments?instType=SPOT", {"FUN-BTC", "OKT-BTC", "DHT-USDT"}),
        ("okx/ws/public_cryptofeed_20210722_conn1",
         "okx/api/v5/public/instruments?instType=SWAP", {"XMR-USDT-SWAP"}),
    ],
)  # fmt: skip
async def test_instruments_of_a_recording_are_listed(
    client: ClientSession, shared_data: Path, file: str, path: str, natives: set[str]
) -> None:
    exchange = path.partition("/")[0]
    sessions = (f"{shared_data / file}.jsonl.gz={exchange}",)
    async with Simulator(SimulatorConfig(sessions=sessions)) as sim:
        body = await get(client, sim, f"/{path}")
    assert all(f'"{native}"' in body for native in natives)
    assert '"BTC-USD-210924-42000-P"' not in body


async def test_an_exchange_without_a_session_says_so(sim: Simulator, client: ClientSession) -> None:
    async with client.get(f"{sim.url}/_truth/session?exchange=okx") as reply:
        assert (reply.status, "no recorded session" in await reply.text()) == (400, True)
