"""Whatever a client sends, the venue answers in its own words and goes on."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_socket import Socket, dial

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "SUBSCRIBE",
            "subscribe",
            "unsubscribe",
            "btcusdt@trade",
            "trades",
            "BTC-USDT",
            "combined",
            "ping",
            "publicTrade.BTCUSDT",
            "level2",
            "heartbeats",
            "BTC-USD",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "method",
                    "params",
                    "id",
                    "op",
                    "args",
                    "channel",
                    "instId",
                    "instType",
                    "req_id",
                    "type",
                    "product_ids",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
REQUESTS = st.one_of(VALUES.map(lambda v: msgspec.json.encode(v).decode()), st.text(max_size=40))


@pytest.mark.parametrize(
    ("exchange", "path", "probe"),
    [
        ("binance", "/stream", {"method": "LIST_SUBSCRIPTIONS", "id": "probe"}),
        (
            "okx",
            "/ws/v5/public",
            {"op": "subscribe", "id": "probe", "args": [{"channel": "status"}]},
        ),
        ("bybit", "/v5/public/spot", {"op": "ping", "req_id": "probe"}),
        ("coinbase", "/ws", {"type": "subscribe", "channel": "probe"}),
    ],
)
async def test_no_request_breaks_a_connection(
    exchange: str, path: str, probe: dict[str, object]
) -> None:
    async with Simulator(SimulatorConfig(seed=7, limits="off", trades_per_day=2_000)) as sim:
        texts: list[str] = []

        @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
        @given(REQUESTS)
        def gather(text: str) -> None:
            texts.append(text)

        gather()
        async with dial(sim, exchange, path) as socket:
            for text in texts:
                await socket.send(text)
            await socket.send(probe)
            assert await answered(socket)


async def answered(socket: Socket) -> bool:
    """Return whether the probe's answer comes, after those of all requests before it."""
    while True:
        text = await socket.raw()
        if '"id":"probe"' in text or '"req_id":"probe"' in text or "channel probe is" in text:
            return True
