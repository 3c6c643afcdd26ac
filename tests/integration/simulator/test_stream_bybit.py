"""The simulated Bybit's sockets speak as the real ones are documented to."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType
from bybit_client import Bybit
from session_client import Socket, open_socket
from websockets.exceptions import ConnectionClosed

from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

Open = Callable[[str], AbstractAsyncContextManager[Socket]]
BUSY = 400_000  # trades a day: five a second of the market's time
SPEED = 4.0  # of the market's time
# For tests that count frames after a fault: at more, too many are on their way before it.
REAL_PACE = pytest.mark.parametrize("busy", [1.0], indirect=True)
QUIET = "SIM001USDT"


@pytest.fixture
async def busy(request: pytest.FixtureRequest) -> Any:
    config = SimulatorConfig(
        seed=7, limits="off", trades_per_day=BUSY, rules_speed=1.0, exchanges=("bybit",),
        clock_speed=getattr(request, "param", SPEED),
    )  # fmt: skip
    async with Simulator(config) as running:
        yield running


@pytest.fixture
def bybit(busy: Simulator, client: ClientSession) -> Bybit:
    return Bybit(busy, client)


@pytest.fixture
def opened(busy: Simulator) -> Open:
    return lambda category: open_socket(f"{busy.url}/bybit/v5/public/{category}")


async def subscribe(socket: Socket, *topics: str, number: str = "s1") -> Any:
    """Subscribe, and return the answer; what came before it is kept in `received`."""
    await socket.send({"req_id": number, "op": "subscribe", "args": list(topics)})
    return (await socket.until(lambda one: one.get("req_id") == number))[-1]


async def frames(socket: Socket, topic: str, count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            frame = await socket.next_json()
            if frame.get("topic") == topic:
                found.append(frame)
    return found


class Book:
    """A book kept by the published rules, written here anew."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"b": {}, "a": {}}
        self.update = 0

    def apply(self, frame: Any) -> None:
        data = frame["data"]
        if frame["type"] == "snapshot":
            self.sides = {"b": {}, "a": {}}
        else:
            assert data["u"] == self.update + 1
        self.update = data["u"]
        for name, levels in self.sides.items():
            for price, size in data[name]:
                if Decimal(size):
                    levels[Decimal(price)] = Decimal(size)
                else:
                    levels.pop(Decimal(price), None)

    def top(self, depth: int) -> tuple[list[Any], list[Any]]:
        bids = sorted(self.sides["b"].items(), reverse=True)
        return bids[:depth], sorted(self.sides["a"].items())[:depth]


def levels(rows: list[list[str]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in rows]


def crossed(text: str) -> bool:
    frame = json.loads(text)
    if "orderbook" not in frame.get("topic", "") or not (frame["data"]["b"] and frame["data"]["a"]):
        return False
    bids = [Decimal(p) for p, s in frame["data"]["b"] if Decimal(s)]
    asks = [Decimal(p) for p, s in frame["data"]["a"] if Decimal(s)]
    return bool(bids and asks) and max(bids) > min(asks)


def late(text: str) -> bool:

    return json.loads(text).get("ts", 0) > (time.time() + 900_000) * 1_000


# Requests.


async def test_each_category_words_its_answers(opened: Open) -> None:
    for category, word in (("spot", "subscribe"), ("linear", ""), ("inverse", "")):
        native = "BTCUSD" if category == "inverse" else "BTCUSDT"
        async with opened(category) as socket:
            answer = await subscribe(socket, f"kline.1.{native}", number="a7")
            assert set(answer) == {"success", "ret_msg", "conn_id", "req_id", "op"}
            assert (answer["success"], answer["ret_msg"], answer["op"]) == (True, word, "subscribe")
            await socket.send({"op": "ping"})
            pong = (await socket.until(lambda one: one.get("op") == "ping"))[-1]
            assert pong == {"success": True, "ret_msg": "pong", "conn_id": answer["conn_id"],
                            "op": "ping"}  # fmt: skip
            await socket.send({"op": "ping", "req_id": "p"})
            assert (await socket.until(lambda one: one.get("op") == "ping"))[-1]["req_id"] == "p"


@pytest.mark.parametrize(
    ("category", "topics", "message"),
    [
        ("spot", ["publicTrade.BTCUSDT", "publicTrade.NOPE"], "Invalid symbol :[publicTrade.NOPE]"),
        ("linear", ["orderbook.500.BTCUSDT"], "Invalid topic: orderbook.500.BTCUSDT"),
        ("linear", ["publicTrade.BTCUSD"], "Invalid topic: publicTrade.BTCUSD"),
        ("spot", ["allLiquidation.BTCUSDT"], "Invalid symbol :[allLiquidation.BTCUSDT]"),
        ("linear", ["kline.2.BTCUSDT"], "Invalid topic: kline.2.BTCUSDT"),
        ("spot", [f"orderbook.50.{n}" for n in range(11)], "args size >10"),
        ("linear", ["publicTrade." + "X" * 21_000], "args length exceeds 21000 characters"),
    ],
)
async def test_one_bad_topic_fails_a_request(
    opened: Open, category: str, topics: list[str], message: str
) -> None:
    async with opened(category) as socket:
        answer = await subscribe(socket, *topics)
        assert (answer["success"], answer["ret_msg"]) == (False, message)
        assert not await socket.silence(0.2)


async def test_a_subscription_twice_is_refused_and_can_be_taken_back(opened: Open) -> None:
    async with opened("linear") as socket:
        assert (await subscribe(socket, "orderbook.1.BTCUSDT"))["success"]
        again = await subscribe(socket, "tickers.BTCUSDT", "orderbook.1.BTCUSDT", number="s2")
        assert again["success"] is False
        assert "already subscribed" in again["ret_msg"]

        # when it is taken back, it is silent, and the refused one never began
        await socket.send({"op": "unsubscribe", "args": ["orderbook.1.BTCUSDT"], "req_id": "u"})
        await socket.until(lambda one: one.get("req_id") == "u")
        assert not await socket.silence(0.4)
        assert (await subscribe(socket, "orderbook.1.BTCUSDT", number="s3"))["success"]


@pytest.mark.parametrize("text", ["hello", "[1]", '{"op":"dance"}', '{"op":"subscribe"}',
                                  '{"op":"subscribe","args":[1]}'])  # fmt: skip
async def test_nonsense_is_answered_and_the_connection_lives(opened: Open, text: str) -> None:
    async with opened("spot") as socket:
        await socket.send(text)
        assert (await socket.next_json())["success"] is False
        assert (await subscribe(socket, "tickers.BTCUSDT"))["success"]


# Trades.


@pytest.mark.parametrize(
    ("category", "native"), [("spot", "BTCUSDT"), ("linear", "BTCUSDT"), ("inverse", "BTCUSD")]
)
async def test_trades_are_those_of_rest_with_the_same_ids(
    opened: Open, bybit: Bybit, category: str, native: str
) -> None:
    # given some seconds of trades
    async with opened(category) as socket:
        await subscribe(socket, f"publicTrade.{native}")
        got = await frames(socket, f"publicTrade.{native}", 12)
    rows = [row for frame in got for row in frame["data"]]

    # then REST has had them since, all of them and none between
    recent = await bybit.rows("recent-trade", category=category, symbol=native, limit=1_000)
    places = {row["execId"]: place for place, row in enumerate(recent)}
    first, last = places[rows[0]["i"]], places[rows[-1]["i"]]
    same = [
        {"i": row["execId"], "p": row["price"], "v": row["size"], "S": row["side"],
         "T": int(row["time"]), "s": row["symbol"], "BT": row["isBlockTrade"],
         "RPI": row["isRPITrade"], "seq": int(row["seq"])}
        for row in reversed(recent[last : first + 1])
    ]  # fmt: skip
    assert [{name: row[name] for name in same[0]} for row in rows] == same
    assert all(("L" in row) is (category != "spot") for row in rows)
    assert all(len({row["seq"] for row in frame["data"]}) == 1 for frame in got)


async def test_a_trade_is_in_rest_the_moment_it_was_pushed(opened: Open, bybit: Bybit) -> None:
    async with opened("spot") as socket:
        await subscribe(socket, "publicTrade.ETHUSDT")
        for _ in range(5):
            [frame] = await frames(socket, "publicTrade.ETHUSDT", 1)
            recent = await bybit.rows("recent-trade", category="spot", symbol="ETHUSDT")
            assert frame["data"][-1]["i"] in {row["execId"] for row in recent}


# Books.


@pytest.mark.parametrize(
    ("category", "native", "depth"),
    [("spot", "BTCUSDT", 50), ("inverse", "BTCUSD", 200), ("linear", "ETHUSDT", 1_000)],
)
async def test_a_book_of_snapshot_and_deltas_is_the_true_one(
    opened: Open, bybit: Bybit, category: str, native: str, depth: int
) -> None:
    symbol = {"spot": "BTC-USDT", "inverse": "BTC-USD-PERP"}.get(category, "ETH-USDT-PERP")
    topic = f"orderbook.{depth}.{native}"
    async with opened(category) as socket:
        await subscribe(socket, topic)
        texts = [one for one in socket.received if topic in one]
        got = [*map(json.loads, texts)]
        got += await frames(socket, topic, 9 - len(got))
    assert [frame["type"] for frame in got] == ["snapshot"] + ["delta"] * (len(got) - 1)
    book = Book()
    for frame in got:
        book.apply(frame)
        assert frame["ts"] >= frame["cts"]

        # then after each message it is the book the simulator has under that number
        truth = await bybit.book(symbol, frame["data"]["seq"])
        expected = tuple(levels(truth[name])[:depth] for name in ("bids", "asks"))
        assert tuple(book.top(depth)) == expected


async def test_the_deepest_book_and_rest_agree_where_u_is_equal(opened: Open, bybit: Bybit) -> None:
    topic, book, seen = "orderbook.1000.BTCUSDT", Book(), dict[int, Any]()
    async with opened("linear") as socket:
        await subscribe(socket, topic)
        for text in [one for one in socket.received if topic in one]:
            book.apply(json.loads(text))
        asked = [await bybit.result("orderbook", category="linear", symbol="BTCUSDT", limit=1_000)]
        # It is read on after the last question, up to what that was answered with.
        for number in range(12):
            [frame] = await frames(socket, topic, 1)
            book.apply(frame)
            seen[book.update] = (book.top(1_000), frame["data"]["seq"], frame["cts"])
            if number < 4:
                asked.append(
                    await bybit.result(
                        "orderbook", category="linear", symbol="BTCUSDT", limit=1_000
                    )
                )
    compared = 0
    for rest in asked:
        if rest["u"] in seen:
            compared += 1
            same = (levels(rest["b"]), levels(rest["a"])), rest["seq"], rest["cts"]
            assert same == seen[rest["u"]]
    assert compared


@pytest.mark.parametrize("busy", [2.0], indirect=True)  # a late pump would skip one at more
async def test_best_quotes_are_snapshots_and_sent_again_after_three_seconds(opened: Open) -> None:
    # given a contract whose book rests for ten seconds
    async with opened("linear") as socket:
        await subscribe(socket, f"orderbook.1.{QUIET}", "orderbook.1.BTCUSDT")
        quiet = await frames(socket, f"orderbook.1.{QUIET}", 3)
        many = [one for one in socket.received if "orderbook.1.BTCUSDT" in one]
    assert {frame["type"] for frame in quiet} == {"snapshot"}
    again = [b for a, b in itertools.pairwise(quiet) if a["data"] == b["data"]]
    assert again
    assert all(b["ts"] - a["ts"] in (3_000, 4_000, 1_000) or a["data"] != b["data"]
               for a, b in itertools.pairwise(quiet))  # fmt: skip
    busy_numbers = [json.loads(one)["data"]["u"] for one in many]
    assert busy_numbers == list(range(busy_numbers[0], busy_numbers[0] + len(busy_numbers)))


async def test_a_restart_sends_a_snapshot_with_u_one(opened: Open, bybit: Bybit) -> None:
    async with opened("spot") as socket:
        await subscribe(socket, "orderbook.50.BTCUSDT")
        await bybit.fault(kind="ws_book_reset", exchange="bybit", count=1)
        found = await socket.until(
            lambda one: one.get("type") == "snapshot" and one["data"]["u"] == 1
        )
        after = await frames(socket, "orderbook.50.BTCUSDT", 3)
    assert len(found[-1]["data"]["b"]) == 50
    assert [frame["data"]["u"] for frame in after] == [2, 3, 4]


# Candles, tickers, liquidations.


async def test_a_candle_confirms_once_with_the_values_of_rest(client: ClientSession) -> None:
    # given a market just before a minute ends
    now_us = to_us("2025-07-01T00:00:00Z") + 56_500_000

    config = SimulatorConfig(
        seed=7, limits="off", trades_per_day=BUSY, exchanges=("bybit",),
        clock_offset_s=now_us / 1e6 - time.time(),
    )  # fmt: skip
    async with Simulator(config) as sim, open_socket(f"{sim.url}/bybit/v5/public/linear") as socket:
        await subscribe(socket, "kline.1.BTCUSDT")
        got = await socket.until(lambda one: one["data"][0]["confirm"])
        after = await socket.next_json()
        [row] = await Bybit(sim, client).rows(
            "kline", category="linear", symbol="BTCUSDT", interval="1", limit=1,
            start=got[-1]["data"][0]["start"], end=got[-1]["data"][0]["start"],
        )  # fmt: skip
    closed = got[-1]["data"][0]
    names = ("open", "high", "low", "close", "volume", "turnover")
    assert [closed[name] for name in names] == row[1:]
    assert closed["start"] == int(row[0]) == closed["end"] - 59_999
    assert closed["start"] <= closed["timestamp"] <= closed["end"]
    assert [frame["data"][0]["confirm"] for frame in got] == [False] * (len(got) - 1) + [True]
    assert after["data"][0]["start"] == closed["end"] + 1


async def test_a_ticker_of_a_contract_is_whole_once_and_then_what_changed(
    opened: Open, bybit: Bybit
) -> None:
    async with opened("linear") as socket:
        await subscribe(socket, "tickers.BTCUSDT")
        first = json.loads(socket.received[0])
        deltas = await frames(socket, "tickers.BTCUSDT", 15)
        merged = dict(first["data"])
        for delta in deltas:
            assert delta["type"] == "delta"
            assert delta["data"]["symbol"] == "BTCUSDT"
            changed = {name for name, text in delta["data"].items() if merged[name] != text}
            assert changed
            merged |= delta["data"]
        rest = (await bybit.rows("tickers", category="linear", symbol="BTCUSDT"))[0]
    assert first["type"] == "snapshot"
    whole = {"fundingRate", "markPrice", "indexPrice", "openInterest", "nextFundingTime",
             "bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice", "tickDirection",
             "fundingIntervalHour", "turnover24h", "volume24h"}  # fmt: skip
    assert whole <= set(first["data"])
    assert any("fundingRate" not in delta["data"] for delta in deltas)
    for name in ("fundingRate", "nextFundingTime", "fundingIntervalHour"):
        assert merged[name] == rest[name]
    assert all(one["cs"] < two["cs"] for one, two in itertools.pairwise(deltas))


async def test_a_ticker_of_spot_is_whole_and_has_no_quotes(opened: Open) -> None:
    async with opened("spot") as socket:
        await subscribe(socket, "tickers.BTCUSDT")
        for frame in await frames(socket, "tickers.BTCUSDT", 4):
            assert frame["type"] == "snapshot"
            assert set(frame["data"]) == {
                "symbol", "lastPrice", "highPrice24h", "lowPrice24h", "prevPrice24h", "volume24h",
                "turnover24h", "price24hPcnt", "usdIndexPrice",
            }  # fmt: skip


async def test_a_liquidation_names_the_side_of_the_position() -> None:
    # given a market busy enough for some of its trades to be liquidations
    config = SimulatorConfig(
        seed=7, limits="off", trades_per_day=400_000, clock_speed=100.0, exchanges=("bybit",)
    )
    topic = "allLiquidation.BTCUSDT"
    async with Simulator(config) as sim, open_socket(f"{sim.url}/bybit/v5/public/linear") as socket:
        await subscribe(socket, "publicTrade.BTCUSDT", topic)
        frame = (await socket.until(lambda one: one.get("topic") == topic))[-1]
        await frames(socket, "publicTrade.BTCUSDT", 20)
    [row] = frame["data"]
    trades = [
        trade
        for text in socket.received
        if '"publicTrade' in text[:40]
        for trade in json.loads(text)["data"]
    ]
    sides = {
        trade["S"] for trade in trades
        if trade["T"] == row["T"] and trade["v"] == row["v"]
        and Decimal(trade["p"]) == Decimal(row["p"])
    }  # fmt: skip
    assert sides == {"Sell" if row["S"] == "Buy" else "Buy"}


# Rules, faults, other clients.


async def test_a_connection_on_which_nothing_moves_is_closed() -> None:
    config = SimulatorConfig(seed=7, rules_speed=600.0, exchanges=("bybit",))
    async with Simulator(config) as sim, open_socket(f"{sim.url}/bybit/v5/public/spot") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.next(5)


async def test_too_many_connections_are_refused(client: ClientSession) -> None:
    config = SimulatorConfig(seed=7, limits=0.01, exchanges=("bybit",))
    async with Simulator(config) as sim:
        url = f"{sim.url}/bybit/v5/public/linear"
        sockets = [await client.ws_connect(url) for _ in range(5)]
        async with client.get(url, headers={"Upgrade": "websocket"}) as reply:
            assert reply.status == 429
        async with client.get(f"{sim.url}/bybit/v5/public/option",
                              headers={"Upgrade": "websocket"}) as reply:  # fmt: skip
            assert reply.status == 404
        for socket in sockets:
            await socket.close()


@REAL_PACE
@pytest.mark.parametrize("kind", ["ws_drop", "ws_sequence_jump"])
async def test_a_lost_delta_leaves_a_hole_in_u(opened: Open, bybit: Bybit, kind: str) -> None:
    async with opened("linear") as socket:
        await subscribe(socket, "orderbook.50.BTCUSDT")
        await bybit.fault(kind=kind, exchange="bybit", channel="orderbook.50", every=4)
        numbers = [f["data"]["u"] for f in await frames(socket, "orderbook.50.BTCUSDT", 8)]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert set(steps) == {1, 2}


@REAL_PACE
async def test_a_jump_claims_numbers_that_were_never_sent(opened: Open, bybit: Bybit) -> None:
    async with opened("linear") as socket:
        await subscribe(socket, "orderbook.50.BTCUSDT")
        await bybit.fault(kind="ws_sequence_jump", exchange="bybit", shift=7, count=1)
        numbers = [f["data"]["u"] for f in await frames(socket, "orderbook.50.BTCUSDT", 8)]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    # It jumps by seven and comes back; one of both may lie before the first message that is read.
    assert {8, -6} & set(steps)


@pytest.mark.parametrize(
    ("fault", "is_seen"),
    [
        ({"kind": "ws_corrupt"}, lambda text: not text.endswith("}")),
        ({"kind": "ws_giant", "bytes": 50_000}, lambda text: len(text) >= 50_000),
        ({"kind": "ws_deep", "depth": 500}, lambda text: text.startswith("[[[")),
        ({"kind": "ws_crossed_book", "channel": "book"}, crossed),
        ({"kind": "ws_future_time", "offset_s": 1e6}, late),
        ({"kind": "ws_wrong_types", "what": "text"}, lambda text: '"abc"' in text),
    ],
)
async def test_every_fault_of_messages_shows(
    opened: Open, bybit: Bybit, fault: dict[str, Any], is_seen: Callable[[str], bool]
) -> None:
    async with opened("spot") as socket:
        await subscribe(socket, "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT")
        await bybit.fault(exchange="bybit", **fault)
        async with asyncio.timeout(10):
            while not is_seen(await socket.next()):
                pass


@pytest.mark.parametrize("category", ["spot", "linear"])
async def test_ids_can_be_wrong(opened: Open, bybit: Bybit, category: str) -> None:
    await bybit.fault(kind="ws_wrong_id", exchange="bybit", channel="trades", shift=3)
    async with opened(category) as socket:
        await subscribe(socket, "publicTrade.BTCUSDT")
        [frame] = await frames(socket, "publicTrade.BTCUSDT", 1)
    row = frame["data"][0]
    recent = await bybit.rows("recent-trade", category=category, symbol="BTCUSDT", limit=1_000)
    same = [r for r in recent if (int(r["time"]), r["price"]) == (row["T"], row["p"])]
    assert same
    assert row["i"] not in {one["execId"] for one in same}
    assert len(row["i"]) == len(same[0]["execId"])


@pytest.mark.parametrize(("kind", "success"), [("ws_no_ack", None), ("ws_error_ack", False)])
async def test_answers_can_fail(
    opened: Open, bybit: Bybit, kind: str, success: bool | None
) -> None:
    await bybit.fault(kind=kind, exchange="bybit", count=1)
    async with opened("spot") as socket:
        await socket.send({"op": "subscribe", "args": ["tickers.BTCUSDT"], "req_id": "x"})
        frame = await socket.next_json()
    assert frame.get("success") is success
    assert ("topic" in frame) is (success is None)


async def test_aiohttp_understands_it_as_well(busy: Simulator, client: ClientSession) -> None:
    async with client.ws_connect(
        f"{busy.url}/v5/public/linear", headers={"Host": "stream.bybit.com"}
    ) as socket:
        await socket.send_json({"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})
        async with asyncio.timeout(10):
            message = await socket.receive()
            assert (message.type, message.json()["success"]) == (WSMsgType.TEXT, True)
            assert (await socket.receive()).json()["topic"] == "publicTrade.BTCUSDT"
