"""What the simulated sockets send has the fields and types of what the real ones sent."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from session_client import open_socket

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

BYBIT = "bybit/ws/spot_testnet_fastmm_20260913.jsonl.gz"
TICKERS = "bybit/ws/linear_tickers_fastmm_20260930_head.jsonl.gz"
COINBASE = "coinbase/ws/advanced_fastmm_20260930_head.jsonl.gz"
PRODUCTS = ["BTC-USD", "ETH-USD"]

Shapes = dict[tuple[str, str], Any]


def shape(value: Any) -> Any:
    """Return names and types of a JSON value; of a list those of its first element."""
    if isinstance(value, dict):
        return {name: shape(own) for name, own in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def note(shapes: Shapes, text: str) -> None:
    """Keep the fullest shape of each sort of message."""
    frame = json.loads(text)
    name = frame.get("topic") or frame.get("channel") or frame.get("op", "")
    kind = frame.get("type") or frame.get("events", [{}])[0].get("type", "")
    key = (name.replace("ETH", "BTC"), f"{kind}{frame.get('success', '')}")
    if key not in shapes or len(str(shape(frame))) > len(str(shapes[key])):
        shapes[key] = shape(frame)


def recorded(path: Path) -> Shapes:
    shapes: Shapes = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            note(shapes, json.loads(line)["raw"])
    return shapes


@pytest.mark.parametrize(
    ("exchange", "path", "file", "requests"),
    [
        ("bybit", "v5/public/spot", BYBIT, [
            {"op": "subscribe", "req_id": "a",
             "args": ["orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT"]},
            {"op": "ping", "req_id": "b"},
        ]),
        ("bybit", "v5/public/linear", TICKERS, [
            {"op": "subscribe", "req_id": "a", "args": ["tickers.BTCUSDT"]},
        ]),
        ("coinbase", "ws", COINBASE, [
            {"type": "subscribe", "channel": "level2", "product_ids": PRODUCTS},
            {"type": "subscribe", "channel": "market_trades", "product_ids": PRODUCTS},
            {"type": "subscribe", "channel": "heartbeats"},
        ]),
    ],
)  # fmt: skip
async def test_messages_have_the_recorded_fields_and_types(
    shared_data: Path, exchange: str, path: str, file: str, requests: list[Any]
) -> None:
    # given every sort of message a recording has, but for the refusals
    expected = {
        key: own for key, own in recorded(shared_data / file).items() if "False" not in key[1]
    }
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=400_000)
    shapes: Shapes = {}
    async with Simulator(config) as sim, open_socket(f"{sim.url}/{exchange}/{path}") as socket:
        for request in requests:
            await socket.send(request)
        async with asyncio.timeout(20):
            while set(shapes) < set(expected):
                note(shapes, await socket.next())
        for text in await socket.silence(1.5):
            note(shapes, text)

    # then each comes, with the same names and types; of a delta any of the fields may have changed
    whole = set(expected.get(("tickers.BTCUSDT", "snapshot"), {}).get("data", ()))
    for key, own in expected.items():
        if key == ("tickers.BTCUSDT", "delta"):
            assert set(shapes[key]) == set(own)
            assert {"symbol"} < set(shapes[key]["data"]) <= whole
        else:
            assert shapes[key] == own
