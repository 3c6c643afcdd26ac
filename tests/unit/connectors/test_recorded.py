"""Whatever a recording holds, replaying it counts; nothing in a file can stop a summary."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.registry import RECORDED, protocol, recorded
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.ports.recording import RestFacts
from zvt_crypto.services.journal import Direction, RawFrame
from zvt_crypto.services.journal.summary import Summary

WORDS = st.sampled_from(
    [
        "e",
        "s",
        "stream",
        "data",
        "arg",
        "channel",
        "events",
        "type",
        "topic",
        "trade",
        "depthUpdate",
        "aggTrade",
        "BTCUSDT",
        "btcusdt@trade",
        "books",
        "snapshot",
        "update",
        "orderbook.50.BTCUSDT",
        "l2_data",
        "market_trades",
        "trades",
        "instId",
        "checksum",
        "U",
        "u",
        "b",
        "a",
        "1e999999",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
)
FRAMES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
DEEP = b'{"data":' * 5_000 + b"1" + b"}" * 5_000


@pytest.mark.parametrize("exchange", RECORDED)
@given(st.lists(FRAMES, max_size=5))
def test_no_frame_stops_a_summary(exchange: str, frames: list[bytes]):
    summary = Summary(protocol(exchange), recorded(exchange))
    for frame in (*frames, DEEP):
        summary.add(RawFrame(None, "fixture:x", Direction.IN, frame))
    found = summary.result("x")
    assert found["frames"] == len(frames) + 1
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("exchange", RECORDED)
@given(FRAMES)
def test_a_reply_of_another_shape_is_refused_or_of_no_use(exchange: str, body: bytes):
    facts = RestFacts()
    for path in ("api/v3/depth?symbol=A", "api/v5/public/instruments", "market/products/A"):
        try:
            recorded(exchange).read_reply(f"https://x/{path}", body, facts)
        except MalformedPayload:
            continue


def reply(exchange: str, url: str, body: Any) -> RestFacts:
    facts = RestFacts()
    recorded(exchange).read_reply(url, json.dumps(body).encode(), facts)
    return facts


def test_replies_tell_what_contracts_are_worth():
    okx = reply(
        "okx",
        "https://www.okx.com/api/v5/public/instruments?instType=SWAP",
        {
            "data": [
                {"instId": "BTC-USDT-SWAP", "ctVal": "0.01", "ctMult": "1", "ctType": "linear"},
                {"instId": "BTC-USD-SWAP", "ctVal": "100", "ctMult": "1", "ctType": "inverse"},
                {"instId": "BTC-USDT", "ctVal": ""},
            ]
        },
    )
    told = {native: (c.worth, c.is_inverse) for (_, native), c in okx.contracts.items()}
    assert {name: (str(worth), inverse) for name, (worth, inverse) in told.items()} == {
        "BTC-USDT-SWAP": ("0.01", False),
        "BTC-USD-SWAP": ("100", True),
    }
    coinbase = reply(
        "coinbase",
        "https://api.coinbase.com/api/v3/brokerage/market/products/BIT-28NOV25-CDE",
        {"product_id": "BIT-28NOV25-CDE", "future_product_details": {"contract_size": "0.01"}},
    )
    assert [str(one.worth) for one in coinbase.contracts.values()] == ["0.01"]
