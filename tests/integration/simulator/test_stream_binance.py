"""Binance's rules on sockets: how to subscribe, what is silent, what is closed."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession
from sim_socket import Ask, Socket, dial
from websockets.exceptions import InvalidStatus

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


async def test_requests_are_answered(busy: Simulator) -> None:
    async with dial(busy, "binance", "/ws") as socket:
        names = ["btcusdt@aggTrade", "nothing@aggTrade", "btcusdt@nonsense"]
        # unknown names are taken like any other
        request = {"method": "SUBSCRIBE", "params": names, "id": 1}
        assert await socket.ask(request) == {"result": None, "id": 1}
        request = {"method": "LIST_SUBSCRIPTIONS", "id": "a"}
        assert await socket.ask(request) == {"result": names, "id": "a"}
        request = {"method": "UNSUBSCRIBE", "params": names[1:], "id": None}
        assert await socket.ask(request) == {"result": None, "id": None}
        assert (await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2}))["result"] == names[:1]

        # plain messages become wrapped ones
        assert (await socket.next())["e"] == "aggTrade"
        assert await socket.ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 3}) == {
            "result": False,
            "id": 3,
        }
        request = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 4}
        assert await socket.ask(request) == {"result": None, "id": 4}
        message = await socket.until(lambda m: "stream" in m)
        assert message["stream"] == "btcusdt@aggTrade"
        assert message["data"]["s"] == "BTCUSDT"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("{not json", 3),
        ([1], 2),
        ({"method": "NONSENSE", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": True}, 2),
        ({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": "x" * 40}, 2),
        ({"method": "SET_PROPERTY", "params": ["combined", 1.5], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [f"a{n}@trade" for n in range(1_025)], "id": 1}, 2),
    ],
)
async def test_bad_requests_are_refused(sim: Simulator, request_: Any, code: int) -> None:
    async with dial(sim, "binance", "/stream") as socket:
        assert (await socket.ask(request_))["error"]["code"] == code


async def test_url_names_streams_and_the_unit_of_time(busy: Simulator) -> None:
    path = "/stream?streams=btcusdt@trade/ethusdt@bookTicker/btcusdt@depth5@100ms"
    async with dial(busy, "binance", path) as socket:
        seen: dict[str, Any] = {}
        while len(seen) < 3:
            message = await socket.next()
            seen[message["stream"]] = message["data"]
    assert "e" not in seen["ethusdt@bookTicker"]
    assert set(seen["btcusdt@depth5@100ms"]) == {"lastUpdateId", "bids", "asks"}
    async with dial(busy, "binance", "/ws/btcusdt@trade?timeUnit=MICROSECOND") as socket:
        assert (await socket.next())["T"] > 10**15


async def silent(socket: Socket, for_s: float = 0.6) -> bool:
    return not await socket.collect(for_s)


@pytest.mark.parametrize(
    ("path", "stream", "flows"),
    [
        ("/market", "btcusdt@aggTrade", True),
        ("/public", "btcusdt@aggTrade", False),
        ("/fstream", "btcusdt@aggTrade", False),
        ("/fstream", "btcusdt@depth@100ms", True),
        ("/fstream/market", "btcusdt@markPrice@1s", True),
        ("/market", "btcusdt@depth@100ms", False),
        ("/public", "btcusdt@bookTicker", True),
        ("/public", "!bookTicker", True),
        ("/market", "!markPrice@arr@1s", True),
        ("/private", "btcusdt@aggTrade", False),
        ("", "btcusdt@markPrice", False),
        ("", "!ticker@arr", False),
        ("", "!miniTicker@arr", True),
        ("", "btcusdt@forceOrder", False),
    ],
)
async def test_streams_flow_on_their_own_route_only(
    busy: Simulator, path: str, stream: str, flows: bool
) -> None:
    async with dial(busy, "binance", f"{path}/ws") as socket:
        request = {"method": "SUBSCRIBE", "params": [stream], "id": 1}
        assert (await socket.ask(request)) == {"result": None, "id": 1}
        if flows:
            await socket.next()
        else:
            assert await silent(socket)


async def test_liquidations_come_once_a_second_and_symbol(client: ClientSession) -> None:
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=200_000, clock_speed=600)
    async with Simulator(config) as sim:
        async with dial(sim, "binance", "/market/ws/!forceOrder@arr") as socket:
            orders = [message["o"] for message in await socket.take(10)]
        seconds = {(order["s"], order["T"] // 1_000) for order in orders}
        assert len(seconds) == len(orders)
        first = orders[0]
        perp = f"{first['s'].removesuffix('USDT')}-USDT-PERP"
        rows = await Ask(client, sim).truth(
            "trades", exchange="binance", symbol=perp, start=first["T"], end=first["T"] + 1
        )
        assert any(
            float(row["price"]) == float(first["p"]) and row["side"].upper() == first["S"]
            for row in rows
        )


async def test_a_delisted_contract_is_announced_and_silent(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "binance", "/market/stream?streams=btcusdt@aggTrade/!contractInfo") as s:
        await s.until(lambda m: m["stream"] == "btcusdt@aggTrade")
        await ask.fault("delisting", exchange="binance", symbol="BTC-USDT-PERP")
        told = await s.until(lambda m: m["stream"] == "!contractInfo")
        assert told["data"]["s"] == "BTCUSDT"
        assert await silent(s)


def hasty(**settings: Any) -> Simulator:
    """Return a simulator whose rules are in force, and go a hundred times as fast."""
    return Simulator(SimulatorConfig(seed=7, trades_per_day=2_000, rules_speed=100, **settings))


async def test_pings_come_and_must_be_answered(client: ClientSession) -> None:
    async with hasty() as sim:
        # given one client that answers pings and one that sends an empty pong instead
        good = client.ws_connect(sim.stream_url("binance") + "/ws", autoping=True)
        bad = client.ws_connect(sim.stream_url("binance") + "/ws", autoping=False)
        async with good as kind, bad as rude:
            reading = asyncio.create_task(kind.receive())
            ping = await rude.receive(timeout=5)
            assert ping.data
            await rude.pong(b"")
            # then only the second is closed
            message = await rude.receive(timeout=5)
            assert (rude.close_code, message.type.name) == (1008, "CLOSE")
            assert not reading.done()
            assert (await Ask(client, sim).stream_stats("binance"))["violations"] == {"pong": 1}
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_too_many_messages_are_answered_with_a_close(client: ClientSession) -> None:
    async with Simulator(SimulatorConfig(seed=7, trades_per_day=2_000)) as sim:
        for path, limit in (("/ws", 5), ("/market/ws", 10)):
            async with dial(sim, "binance", path) as socket:
                for number in range(limit):
                    request = {"method": "LIST_SUBSCRIPTIONS", "id": number}
                    assert (await socket.ask(request))["id"] == number
                await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": -1})
                assert (await socket.closed())[0] == 1008
        assert (await Ask(client, sim).stream_stats("binance"))["violations"] == {"rate": 2}


async def test_connections_live_for_a_day(client: ClientSession) -> None:
    config = SimulatorConfig(seed=7, trades_per_day=2_000, rules_speed=86_400)
    async with Simulator(config) as sim, dial(sim, "binance", "/ws") as socket:
        # a day is a second here; pings go a day's worth of times, so that only age can end it
        assert (await socket.closed())[0] in (1000, 1008)
        closed = (await Ask(client, sim).stream_stats("binance"))["closed"]
        assert sum(closed.values()) == 1


async def test_handshakes_are_limited(client: ClientSession) -> None:
    async with Simulator(SimulatorConfig(seed=7, limits=0.01, trades_per_day=2_000)) as sim:
        for _ in range(3):  # a hundredth of 300
            async with dial(sim, "binance", "/ws"):
                pass
        with pytest.raises(InvalidStatus) as refused:
            async with dial(sim, "binance", "/ws"):
                pass
        assert refused.value.response.status_code == 429
        assert (await Ask(client, sim).stream_stats("binance"))["refused"] == {"429": 1}
