"""OKX's rules on sockets: which channel is where, what is refused, who is closed."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import ClientSession
from sim_socket import Ask, dial, subscribe_okx
from websockets.exceptions import InvalidStatus

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


def is_event(message: Any) -> bool:
    return "event" in message


async def test_each_argument_is_answered_by_itself(busy: Simulator) -> None:
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        # given good and bad arguments in one request
        args = [
            {"channel": "trades", "instId": "BTC-USDT"},
            {"channel": "trades", "instId": "NO-SUCH"},
            {"channel": "nonsense", "instId": "BTC-USDT"},
            {"channel": "candle1m", "instId": "BTC-USDT"},
            {"channel": "books-l2-tbt", "instId": "BTC-USDT"},
            {"channel": "funding-rate", "instId": "BTC-USDT"},
            {"channel": "tickers", "instId": "BTC-USDT"},
        ]
        await socket.send({"id": "a1", "op": "subscribe", "args": args})
        answers = [await socket.until(is_event) for _ in args]
        # then the good ones are taken, the bad ones refused, each with the request's id
        assert {answer["id"] for answer in answers} == {"a1"}
        assert len({answer["connId"] for answer in answers}) == 1
        taken = [a["arg"] for a in answers if a["event"] == "subscribe"]
        assert taken == [args[0], args[6]]
        codes = [a["code"] for a in answers if a["event"] == "error"]
        assert codes == ["60018", "60018", "64001", "60011", "60018"]

        # and an unsubscribed channel is silent
        await socket.send({"op": "unsubscribe", "args": [args[0], args[6]]})
        answers = [await socket.until(is_event) for _ in range(2)]
        assert [answer["event"] for answer in answers] == ["unsubscribe"] * 2
        assert not await socket.collect(0.4)


@pytest.mark.parametrize(
    "request_",
    [
        "{not json",
        [1],
        {"op": "nonsense", "args": []},
        {"op": "subscribe", "args": {"channel": "trades"}},
        {"op": "subscribe", "args": [{"instId": "BTC-USDT"}]},
        {"op": "subscribe", "args": [{"channel": "trades", "instId": 5}]},
        {"op": "subscribe", "id": "a-b", "args": [{"channel": "trades", "instId": "BTC-USDT"}]},
        {"op": "subscribe", "id": "x" * 33, "args": [{"channel": "trades"}]},
    ],
)
async def test_bad_requests_are_refused(sim: Simulator, request_: Any) -> None:
    async with dial(sim, "okx", "/ws/v5/public") as socket:
        await socket.send(request_)
        answer = await socket.next()
        assert (answer["event"], answer["code"]) == ("error", "60012")


async def test_business_serves_candles_and_single_trades_only(busy: Simulator) -> None:
    async with dial(busy, "okx", "/ws/v5/business") as socket:
        await subscribe_okx(socket, "candle1Dutc", "trades-all")
        args = [{"channel": "trades", "instId": "BTC-USDT"}]
        answer = await socket.ask({"op": "subscribe", "args": args}, is_answer=is_event)
        assert (answer["event"], answer["code"]) == ("error", "60018")
        seen = {(await socket.next())["arg"]["channel"] for _ in range(40)}
        assert seen == {"candle1Dutc", "trades-all"}


async def test_states_are_told_at_once_and_agree_with_rest(busy: Simulator, ask: Ask) -> None:
    native = "BTC-USDT-SWAP"
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        channels = ("mark-price", "funding-rate", "open-interest", "tickers", "books5", "bbo-tbt")
        await socket.send(
            {"op": "subscribe", "args": [{"channel": c, "instId": native} for c in channels]}
        )
        rows: dict[str, Any] = {}
        while len(rows) < len(channels):
            message = await socket.next()
            if "data" in message:
                (rows[message["arg"]["channel"]],) = message["data"]
    (rate,) = (await ask.get("/okx/api/v5/public/funding-rate", instId=native))["data"]
    assert {**rows["funding-rate"], "ts": rate["ts"]} == rate
    assert rows["mark-price"].keys() == {"instType", "instId", "markPx", "ts"}
    assert float(rows["open-interest"]["oi"]) > 0
    assert float(rows["tickers"]["askPx"]) > float(rows["tickers"]["bidPx"])
    assert len(rows["books5"]["bids"]) == 5
    assert len(rows["bbo-tbt"]["asks"]) == 1


async def test_liquidations_of_all_swaps() -> None:
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=200_000, clock_speed=600)
    async with Simulator(config) as sim, dial(sim, "okx", "/ws/v5/public") as socket:
        args = [{"channel": "liquidation-orders", "instType": "SWAP"}]
        await socket.ask({"op": "subscribe", "args": args}, is_answer=is_event)
        for message in await socket.take(5):
            (row,) = message["data"]
            (detail,) = row["details"]
            assert (detail["side"], detail["posSide"]) in {("buy", "short"), ("sell", "long")}
            assert row["instId"].endswith("-SWAP")


async def test_a_resting_book_is_kept_alive() -> None:
    # given an illiquid book, two hundred times as fast
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=2_000, clock_speed=200)
    async with Simulator(config) as sim, dial(sim, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "books", instrument="LSK-USDT")
        last = (await socket.next())["data"][0]["seqId"]
        # then updates chain, and those without a change repeat the id
        rests = changes = 0
        while not (rests and changes):
            (row,) = (await socket.next())["data"]
            assert row["prevSeqId"] == last
            empty = not row["bids"] and not row["asks"]
            assert empty == (row["seqId"] == last)
            rests, changes, last = rests + empty, changes + (not empty), row["seqId"]


async def test_delisting_and_maintenance_are_told(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        args = [{"channel": "instruments", "instType": "SPOT"}, {"channel": "status"}]
        await socket.send({"op": "subscribe", "args": args})
        await socket.take(2)
        await ask.fault("delisting", exchange="okx", symbol="ETH-USDT")
        (row,) = (await socket.next())["data"]
        assert (row["instId"], row["state"]) == ("ETH-USDT", "suspend")
        await ask.fault("maintenance", exchange="okx")
        (row,) = (await socket.next())["data"]
        assert row["state"] == "ongoing"


async def test_only_a_text_ping_keeps_an_idle_connection(client: ClientSession) -> None:
    # given a simulator whose thirty seconds take a third of one
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=2_000, rules_speed=90)
    async with Simulator(config) as sim, dial(sim, "okx", "/ws/v5/public") as socket:
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            await socket.send("ping")
            assert await socket.raw() == "pong"
            await asyncio.sleep(0.05)
        code, reason = await socket.closed()
        assert (code, bool(reason)) == (4004, True)
        assert (await Ask(client, sim).stream_stats("okx"))["violations"] == {"idle": 1}


async def test_limits_of_handshakes_requests_and_sizes(client: ClientSession) -> None:
    async with Simulator(SimulatorConfig(seed=7, trades_per_day=2_000)) as sim:
        # 480 requests an hour
        async with dial(sim, "okx", "/ws/v5/public") as socket:
            request = {"op": "unsubscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]}
            for _ in range(480):
                assert (await socket.ask(request))["event"] == "unsubscribe"
            assert (await socket.ask(request))["code"] == "60014"
            # 64 KB a message
            await socket.send("x" * 70_000)
            assert (await socket.closed())[0] == 1009
        # three connections a second
        statuses: list[int] = []
        for _ in range(12):
            try:
                async with dial(sim, "okx", "/ws/v5/public"):
                    pass
            except InvalidStatus as error:
                statuses.append(error.response.status_code)
        assert set(statuses) == {429}
        violations = (await Ask(client, sim).stream_stats("okx"))["violations"]
        assert violations == {"requests": 1, "size": 1, "handshakes": len(statuses)}
