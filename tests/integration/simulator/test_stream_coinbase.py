"""The simulated Coinbase's socket speaks as the real one is documented to."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from session_client import Socket, open_socket
from websockets.exceptions import ConnectionClosed

from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

BUSY = 400_000  # trades a day: five a second of the market's time
SPEED = 4.0  # of the market's time
# For tests that count frames after a fault: at more, too many are on their way before it.
REAL_PACE = pytest.mark.parametrize("busy", [1.0], indirect=True)
REST = "coinbase/api/v3/brokerage/market"


@asynccontextmanager
async def simulate(**fields: Any) -> AsyncGenerator[Simulator]:
    settings: dict[str, Any] = {"seed": 7, "limits": "off", "trades_per_day": BUSY} | fields
    settings.setdefault("clock_speed", SPEED)
    async with Simulator(SimulatorConfig(exchanges=("coinbase",), **settings)) as sim:
        yield sim


@pytest.fixture
async def busy(request: pytest.FixtureRequest) -> AsyncGenerator[Simulator]:
    async with simulate(clock_speed=getattr(request, "param", SPEED)) as sim:
        yield sim


@pytest.fixture
async def socket(busy: Simulator) -> AsyncGenerator[Socket]:
    async with open_socket(f"{busy.url}/coinbase/ws") as socket:
        yield socket


async def ask(socket: Socket, kind: str, channel: str, *products: str) -> None:
    message: dict[str, Any] = {"type": kind, "channel": channel}
    await socket.send(message | ({"product_ids": list(products)} if products else {}))


async def subscribe(socket: Socket, channel: str, *products: str) -> list[Any]:
    """Subscribe, and return all that came up to the answer, which is the last."""
    await ask(socket, "subscribe", channel, *products)
    return await socket.until(
        lambda one: one.get("channel") == "subscriptions" or one.get("type") == "error"
    )


async def events(socket: Socket, channel: str, count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            frame = await socket.next_json()
            found += frame["events"] if frame["channel"] == channel else []
    return found


async def fault(sim: Simulator, **fields: Any) -> None:
    async with (
        ClientSession() as client,
        client.post(f"{sim.url}/_faults", json={"exchange": "coinbase", **fields}) as reply,
    ):
        assert reply.status == 201


async def get(sim: Simulator, path: str, **params: Any) -> Any:
    async with (
        ClientSession() as client,
        client.get(f"{sim.url}/{path}", params=params, headers={"Cache-Control": "no-cache"})
        as reply,
    ):  # fmt: skip
        assert reply.status == 200, await reply.text()
        return await reply.json()


def sequences(socket: Socket) -> list[int]:
    frames = [json.loads(text) for text in socket.received]
    return [frame["sequence_num"] for frame in frames if "sequence_num" in frame]


# Requests.


async def test_an_answer_is_the_whole_set_after_the_snapshots(socket: Socket) -> None:
    assert (await subscribe(socket, "heartbeats"))[-1]["events"] == [
        {"subscriptions": {"heartbeats": ["heartbeats"]}}
    ]
    first, *_ = got = await subscribe(socket, "level2", "BTC-USD", "ETH-USD")
    assert (first["channel"], first["events"][0]["type"]) == ("l2_data", "snapshot")
    assert set(first) == {"channel", "timestamp", "sequence_num", "events"}
    assert got[-1]["events"] == [
        {"subscriptions": {"heartbeats": ["heartbeats"], "level2": ["BTC-USD", "ETH-USD"]}}
    ]

    # when one product, and then a whole channel, is given up
    await ask(socket, "unsubscribe", "level2", "BTC-USD")
    [answer] = [one for one in await socket.until(is_set) if is_set(one)]
    assert answer["events"][0]["subscriptions"]["level2"] == ["ETH-USD"]
    await ask(socket, "unsubscribe", "level2")
    await socket.until(is_set)
    rest = [json.loads(text) for text in await socket.silence(0.5)]
    assert {one["channel"] for one in rest} <= {"heartbeats"}


def is_set(frame: Any) -> bool:
    return frame.get("channel") == "subscriptions"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"type": "subscribe", "channel": "level2", "product_ids": ["NO-USD"]}, "NO-USD is not"),
        ({"type": "subscribe", "channel": "level2", "product_ids": "BTC-USD"}, "is a list"),
        ({"type": "subscribe", "channel": "level2"}, "needs product_ids"),
        ({"type": "subscribe", "channel": "heartbeat"}, "not supported"),
        ({"type": "subscribe", "channel": "user", "product_ids": ["BTC-USD"]}, "authentication"),
        ({"type": "subscribe", "channel": "level2", "product_ids": [{}]}, "list of texts"),
        ({"type": "subscribe", "channel": ["level2"]}, "not supported"),
        ({"type": "dance"}, "unknown message type"),
        ("hello", "malformed message"),
    ],
)
async def test_an_error_has_no_channel_and_no_number(
    socket: Socket, request_: Any, message: str
) -> None:
    await socket.send(request_)
    error = await socket.next_json()
    assert set(error) == {"type", "message"}
    assert error["type"] == "error"
    assert message in error["message"]
    await subscribe(socket, "heartbeats")
    assert sequences(socket) == [0]


async def test_one_counter_runs_over_everything_of_a_connection(socket: Socket) -> None:
    await subscribe(socket, "heartbeats")
    for channel in ("market_trades", "level2", "ticker", "candles"):
        await subscribe(socket, channel, "BTC-USD", "ETH-USD")
    await socket.take(60)
    channels = {json.loads(text)["channel"] for text in socket.received}
    assert channels >= {"subscriptions", "market_trades", "l2_data", "ticker", "candles"}
    assert sequences(socket) == list(range(len(socket.received)))


async def test_each_connection_counts_for_itself(busy: Simulator) -> None:
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(open_socket(f"{busy.url}/coinbase/{path}"))
                   for path in ("", "ws")]  # fmt: skip
        for socket in sockets:
            await subscribe(socket, "level2", "BTC-USD")
            await socket.take(5)
        assert [sequences(socket)[:6] for socket in sockets] == [[0, 1, 2, 3, 4, 5]] * 2


async def test_heartbeats_count_seconds(socket: Socket) -> None:
    await subscribe(socket, "heartbeats")
    beats = await events(socket, "heartbeats", 3)
    counters = [beat["heartbeat_counter"] for beat in beats]
    assert counters == list(range(counters[0], counters[0] + 3))
    assert all(" +0000 UTC m=+" in beat["current_time"] for beat in beats)


# Trades.


async def test_trades_come_in_batches_newest_first_with_the_makers_side(
    busy: Simulator, socket: Socket
) -> None:
    await subscribe(socket, "market_trades", "BTC-USD")
    batches = [
        event
        for text in socket.received
        if '"channel":"market_trades"' in text
        for event in json.loads(text)["events"]
    ]
    batches += await events(socket, "market_trades", 6)
    assert [batch["type"] for batch in batches] == ["snapshot"] + ["update"] * (len(batches) - 1)
    assert len(batches[0]["trades"]) == 100
    ids = [[int(trade["trade_id"]) for trade in batch["trades"]] for batch in batches]
    assert all(one == sorted(one, reverse=True) for one in ids)
    joined = [number for one in ids for number in reversed(one)]

    # then none is missing, and REST and the truth have the same
    assert joined == list(range(joined[0], joined[0] + len(joined)))
    rows = {trade["trade_id"]: trade for batch in batches for trade in batch["trades"]}
    recent = (await get(busy, f"{REST}/products/BTC-USD/ticker", limit=1000))["trades"]
    assert {row["trade_id"] for row in recent} >= set(rows)
    names = ("price", "size", "time", "side", "product_id")
    for row in recent:
        if row["trade_id"] in rows:
            assert {n: row[n] for n in names} == {n: rows[row["trade_id"]][n] for n in names}
    start = min(trade["time"] for trade in rows.values())
    truth = await get(busy, "_truth/trades", exchange="coinbase", symbol="BTC-USD", start=start)
    takers = {str(trade["trade_id"]): trade["side"] for trade in truth}
    for number, trade in rows.items():
        assert {"BUY": "sell", "SELL": "buy"}[trade["side"]] == takers[number]


async def test_an_alias_is_answered_under_the_product_it_shows(socket: Socket) -> None:
    got = await subscribe(socket, "market_trades", "BTC-USDC")
    assert got[-1]["events"] == [{"subscriptions": {"market_trades": ["BTC-USDC"]}}]
    [event] = await events(socket, "market_trades", 1)
    assert {trade["product_id"] for trade in event["trades"]} == {"BTC-USD"}

    # when the product itself is asked for, too, and the alias given up, it goes on, once
    *still, _ = await subscribe(socket, "market_trades", "BTC-USD")
    assert all(event["type"] == "update" for frame in still for event in frame["events"])
    await ask(socket, "unsubscribe", "market_trades", "BTC-USDC")
    answer = (await socket.until(is_set))[-1]
    assert answer["events"] == [{"subscriptions": {"market_trades": ["BTC-USD"]}}]
    assert await events(socket, "market_trades", 1)


# Books.


class Book:
    """A book kept by the published rules, written here anew."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "offer": {}}

    def apply(self, event: Any) -> None:
        if event["type"] == "snapshot":
            self.sides = {"bid": {}, "offer": {}}
        for update in event["updates"]:
            side = self.sides[update["side"]]
            if Decimal(update["new_quantity"]):
                side[Decimal(update["price_level"])] = Decimal(update["new_quantity"])
            else:
                side.pop(Decimal(update["price_level"]), None)

    def top(self, depth: int) -> tuple[Any, Any]:
        bids = sorted(self.sides["bid"].items(), reverse=True)
        return bids[:depth], sorted(self.sides["offer"].items())[:depth]


def levels(rows: Sequence[Any]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(row["price"]), Decimal(row["size"])) for row in rows]


async def test_a_book_of_snapshot_and_updates_is_the_one_of_rest(
    busy: Simulator, socket: Socket
) -> None:
    got = await subscribe(socket, "level2", "ETH-USD")
    snapshot, *later = [f["events"][0] for f in got if f["channel"] == "l2_data"]
    assert snapshot["type"] == "snapshot"
    assert {update["event_time"] for update in snapshot["updates"]} == {"1970-01-01T00:00:00Z"}
    book, seen = Book(), list[Any]()
    for event in (snapshot, *later):
        book.apply(event)
    asked: list[Any] = []
    # It is read on after the last question, up to what that was answered with.
    for number in range(30):
        [event] = await events(socket, "l2_data", 1)
        assert (event["type"], event["product_id"]) == ("update", "ETH-USD")
        book.apply(event)
        seen.append(book.top(50))
        bids, asks = seen[-1]
        assert bids[0][0] < asks[0][0]
        if number % 3 == 0 and number < 12:
            asked.append(await get(busy, f"{REST}/product_book", product_id="ETH-USD", limit=50))
    matched = 0
    for reply in asked:
        shown = reply["pricebook"]
        matched += (levels(shown["bids"]), levels(shown["asks"])) in seen
    assert matched >= len(asked) - 1


# Candles and tickers.


async def test_candles_are_of_five_minutes_and_do_not_say_when_they_close() -> None:
    # given a market just before five minutes end
    now_us = to_us("2025-07-01T00:04:56.5Z")
    async with (
        simulate(clock_offset_s=now_us / 1e6 - time.time()) as sim,
        open_socket(f"{sim.url}/coinbase") as socket,
    ):
        got = await subscribe(socket, "candles", "BTC-USD")
        start = now_us // 10**6 - 296
        [snapshot] = [f["events"][0] for f in got if f["channel"] == "candles"]
        frames = await socket.until(
            lambda one: one["events"][0]["candles"][0]["start"] == str(start + 300)
        )
        [row] = (
            await get(sim, f"{REST}/products/BTC-USD/candles", granularity="FIVE_MINUTE",
                      start=start, end=start)
        )["candles"]  # fmt: skip
    assert snapshot["type"] == "snapshot"
    assert snapshot["candles"][0]["start"] == str(start)
    assert [int(a["start"]) - int(b["start"]) for a, b in pairwise(snapshot["candles"])] == (
        [300] * (len(snapshot["candles"]) - 1)
    )
    last = [f["events"][0]["candles"][0] for f in frames][-2]
    assert last == row | {"product_id": "BTC-USD"}
    assert set(last) == {"start", "high", "low", "open", "close", "volume", "product_id"}


async def test_a_ticker_comes_with_every_order(socket: Socket) -> None:
    await subscribe(socket, "market_trades", "BTC-USD")
    got = await subscribe(socket, "ticker", "BTC-USD")
    first = next(f for f in got if f["channel"] == "ticker")
    assert first["events"][0]["type"] == "snapshot"
    updates = await events(socket, "ticker", 5)
    await events(socket, "market_trades", 2)
    tickers = [ticker for update in updates for ticker in update["tickers"]]
    assert all(Decimal(t["best_bid"]) < Decimal(t["best_ask"]) for t in tickers)
    traded = {
        Decimal(trade["price"])
        for text in socket.received
        if '"channel":"market_trades"' in text
        for event in json.loads(text)["events"]
        for trade in event["trades"]
    }
    assert {Decimal(ticker["price"]) for ticker in tickers} <= traded


async def test_the_slow_ticker_has_no_quotes_and_status_tells_the_steps() -> None:
    async with simulate(clock_speed=5.0) as sim, open_socket(f"{sim.url}/coinbase") as socket:
        await subscribe(socket, "ticker_batch", "BTC-USD")
        [event] = await events(socket, "ticker_batch", 1)
        got = await subscribe(socket, "status", "BTC-USD", "BTC-USDC")
    assert not any("best_" in name for name in event["tickers"][0])
    shown = [f["events"][0]["products"][0] for f in got if f["channel"] == "status"]
    assert [one["id"] for one in shown] == ["BTC-USD"]
    assert (shown[0]["quote_increment"], shown[0]["status"]) == ("0.01", "online")


# Rules.


async def test_the_first_subscription_must_come_in_five_seconds() -> None:
    async with simulate(rules_speed=20.0) as sim:
        async with open_socket(f"{sim.url}/coinbase") as idle:
            started = time.monotonic()
            with pytest.raises(ConnectionClosed):
                await idle.next(5)
            assert time.monotonic() - started > 0.2
        async with open_socket(f"{sim.url}/coinbase") as busy:
            await subscribe(busy, "heartbeats")
            await busy.take(2)


async def test_a_silent_connection_is_closed_and_heartbeats_prevent_it() -> None:
    # given two connections to a product that does not trade; one has heartbeats
    async with simulate(rules_speed=50.0) as sim:
        async with open_socket(f"{sim.url}/coinbase") as silent:
            await subscribe(silent, "status", "BTC-USD")
            started = time.monotonic()
            with pytest.raises(ConnectionClosed):
                await silent.next(10)
            assert (time.monotonic() - started) * 50 > 60
        async with open_socket(f"{sim.url}/coinbase") as alive:
            await subscribe(alive, "heartbeats")
            await events(alive, "heartbeats", 3)


async def test_eight_connections_and_eight_messages_a_second(client: ClientSession) -> None:
    async with simulate(limits="real") as sim:
        url = f"{sim.url}/coinbase"
        sockets = [await client.ws_connect(url) for _ in range(8)]
        with pytest.raises(WSServerHandshakeError, match="429"):
            await client.ws_connect(url)
        for _ in range(9):
            await sockets[0].send_json({"type": "subscribe", "channel": "heartbeats"})
        async with asyncio.timeout(5):
            while not sockets[0].closed:
                await sockets[0].receive()
        assert sockets[0].close_code == 1008
        for socket in sockets[1:]:
            await socket.close()


# Faults.


@pytest.mark.parametrize(
    "fields",
    [{"kind": "ws_drop", "channel": "trades"}, {"kind": "ws_drop", "channel": "book"},
     {"kind": "ws_sequence_jump", "skip": 1}, {"kind": "ws_corrupt", "channel": "book"}],
)  # fmt: skip
async def test_a_lost_message_leaves_a_hole_in_the_sequence(
    busy: Simulator, socket: Socket, fields: Any
) -> None:
    await subscribe(socket, "market_trades", "BTC-USD")
    await subscribe(socket, "level2", "BTC-USD")
    await fault(busy, every=5, **fields)
    texts = await socket.take(40)
    # How many of them are trades is the market's pace: the fifth may be further on.
    while len(texts) < 400 and steps(texts) == {1}:
        texts += await socket.take(1)
    assert steps(texts) == {1, 2}


def steps(texts: Sequence[str]) -> set[int]:
    numbers = [frame["sequence_num"] for frame in map(whole, texts) if frame]
    return {b - a for a, b in pairwise(numbers)}


def whole(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


@REAL_PACE
async def test_a_jump_of_the_sequence_loses_nothing_else(busy: Simulator, socket: Socket) -> None:
    book = Book()
    for frame in await subscribe(socket, "level2", "BTC-USD"):
        for event in frame["events"] if frame["channel"] == "l2_data" else []:
            book.apply(event)
    await fault(busy, kind="ws_sequence_jump", shift=40, count=1)
    frames = [json.loads(text) for text in await socket.take(10)]
    numbers = [frame["sequence_num"] for frame in frames]
    assert sorted({b - a for a, b in pairwise(numbers)} | {1, 41}) == [1, 41]
    assert numbers[-1] >= 40 + 10
    for frame in frames:
        book.apply(frame["events"][0])
    bids, asks = book.top(1)
    assert bids[0][0] < asks[0][0]


@REAL_PACE
async def test_a_message_sent_late_or_twice_has_its_own_number(
    busy: Simulator, socket: Socket
) -> None:
    await subscribe(socket, "level2", "BTC-USD")
    await fault(busy, kind="ws_reorder", every=5, count=2)
    await fault(busy, kind="ws_duplicate", every=7, count=1)
    numbers = [json.loads(text)["sequence_num"] for text in await socket.take(25)]
    steps = [b - a for a, b in pairwise(numbers)]
    assert steps.count(-1) == 2
    assert steps.count(0) == 1
    assert set(numbers) == set(range(min(numbers), max(numbers) + 1))


@REAL_PACE
async def test_a_symbol_that_falls_silent_leaves_no_hole(busy: Simulator, socket: Socket) -> None:
    await subscribe(socket, "level2", "BTC-USD", "ETH-USD")
    await fault(busy, kind="ws_silent_symbol", symbol="BTC-USD")
    frames = [json.loads(text) for text in await socket.take(30)]
    numbers = [frame["sequence_num"] for frame in frames]
    assert {b - a for a, b in pairwise(numbers)} == {1}
    assert {frame["events"][0]["product_id"] for frame in frames[-10:]} == {"ETH-USD"}


async def test_a_reset_book_is_sent_whole_again(busy: Simulator, socket: Socket) -> None:
    await subscribe(socket, "level2", "BTC-USD")
    await fault(busy, kind="ws_book_reset", count=1)
    await socket.until(lambda one: one["events"][0]["type"] == "snapshot")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "ws_future_time", "channel": "trades", "offset_s": 1e9}, '"time":"205'),
        ({"kind": "ws_wrong_types", "channel": "trades", "what": "text"}, '"price":"abc"'),
        ({"kind": "ws_giant", "bytes": 11_000_000}, "}" + " " * 10_000_000),
    ],
)
async def test_faults_of_messages_show(
    busy: Simulator, socket: Socket, fields: Any, word: str
) -> None:
    await subscribe(socket, "market_trades", "BTC-USD")
    await fault(busy, **fields)
    async with asyncio.timeout(10):
        while word not in await socket.next():
            pass


async def test_a_late_snapshot_comes_with_the_number_of_its_time(
    busy: Simulator, socket: Socket
) -> None:
    await fault(busy, kind="ws_late_snapshot", delay_s=0.5, count=1)
    await subscribe(socket, "level2", "BTC-USD")
    got = await socket.until(lambda one: one["events"][0].get("type") == "snapshot")
    assert len(got) > 1
    assert sequences(socket) == list(range(len(socket.received)))


async def test_a_snapshot_can_be_larger_than_clients_allow(busy: Simulator, socket: Socket) -> None:
    await fault(busy, kind="ws_giant", snapshot=True, bytes=11_000_000)
    await subscribe(socket, "level2", "BTC-USD")
    sizes = [len(text) for text in [*socket.received, *await socket.take(5)]]
    assert sizes[0] >= 11_000_000
    assert max(sizes[1:]) < 100_000


@pytest.mark.parametrize("kind", ["ws_no_ack", "ws_error_ack"])
async def test_answers_can_fail(busy: Simulator, socket: Socket, kind: str) -> None:
    await fault(busy, kind=kind, count=1)
    await ask(socket, "subscribe", "level2", "BTC-USD")
    frame = await socket.next_json()
    assert (frame.get("type") == "error") is (kind == "ws_error_ack")
    if kind == "ws_no_ack":
        await socket.take(5)
        assert not any('"subscriptions"' in text for text in socket.received)
        assert sequences(socket) == list(range(6))


async def test_the_real_host_means_coinbase(busy: Simulator, client: ClientSession) -> None:
    headers = {"Host": "advanced-trade-ws.coinbase.com"}
    async with client.ws_connect(busy.url, headers=headers) as socket:
        await socket.send_json({"type": "subscribe", "channel": "heartbeats"})
        assert (await socket.receive_json(timeout=5))["channel"] == "subscriptions"
