"""What every venue's sockets share: the market they push is the market REST serves."""

import asyncio
import socket as sockets
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession
from sim_socket import Ask, BookCopy, dial, subscribe_okx

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

_EVENTS = 30


async def agree_with_truth(
    ask: Ask, exchange: str, symbol: str, rows: list[dict[str, Any]]
) -> None:
    """Check trades, each with the ids it covers, against the simulator's own."""
    first, last, start = rows[0]["first"], rows[-1]["last"], rows[0]["time_ms"]
    found = await ask.truth("trades", exchange=exchange, symbol=symbol, start=start)
    truth = {row["trade_id"]: row for row in found if first <= row["trade_id"] <= last}
    covered = [i for row in rows for i in range(row["first"], row["last"] + 1)]
    assert covered == sorted(truth) == list(range(first, last + 1))
    for row in rows:
        own = [truth[i] for i in range(row["first"], row["last"] + 1)]
        assert {float(one["price"]) for one in own} == {float(row["price"])}
        assert {one["side"] for one in own} == {row["side"]}
        assert {one["time_us"] // 1_000 for one in own} == {row["time_ms"]}
        assert sum(float(one["native_size"]) for one in own) == pytest.approx(float(row["size"]))


def binance_row(message: Any) -> dict[str, Any]:
    first, last = (message["t"],) * 2 if message["e"] == "trade" else (message["f"], message["l"])
    return {
        "first": first, "last": last, "price": message["p"], "size": message["q"],
        "side": "sell" if message["m"] else "buy", "time_ms": message["T"],
    }  # fmt: skip


def okx_row(message: Any) -> dict[str, Any]:
    (row,) = message["data"]
    last = int(row["tradeId"])
    return {
        "first": last - int(row.get("count", "1")) + 1, "last": last, "price": row["px"],
        "size": row["sz"], "side": row["side"], "time_ms": int(row["ts"]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "symbol"),
    [
        ("/ws/btcusdt@aggTrade", "BTC-USDT"),
        ("/ws/ethusdt@trade", "ETH-USDT"),
        ("/market/ws/btcusdt@aggTrade", "BTC-USDT-PERP"),
        ("/public/ws/btcusdt@trade", "BTC-USDT-PERP"),
    ],
)
async def test_binance_pushes_the_trades_of_the_truth(
    busy: Simulator, ask: Ask, path: str, symbol: str
) -> None:
    async with dial(busy, "binance", path) as socket:
        rows = [binance_row(message) for message in await socket.take(30)]
    await agree_with_truth(ask, "binance", symbol, rows)


@pytest.mark.parametrize(
    ("route", "channel", "native"),
    [
        ("public", "trades", "BTC-USDT"),
        ("public", "trades", "BTC-USD-SWAP"),
        ("business", "trades-all", "ETH-USDT-SWAP"),
    ],
)
async def test_okx_pushes_the_trades_of_the_truth(
    busy: Simulator, ask: Ask, route: str, channel: str, native: str
) -> None:
    async with dial(busy, "okx", f"/ws/v5/{route}") as socket:
        await subscribe_okx(socket, channel, instrument=native)
        rows = [okx_row(message) for message in await socket.take(30)]
    await agree_with_truth(ask, "okx", native.replace("SWAP", "PERP"), rows)


async def test_what_was_pushed_is_in_the_history_at_once(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "binance", "/ws/btcusdt@aggTrade") as socket:
        for _ in range(20):
            message = await socket.next()
            path = "/binance/api/v3/aggTrades"
            (row,) = await ask.get(path, symbol="BTCUSDT", fromId=message["a"], limit=1)
            assert (row["a"], row["p"], row["q"]) == (message["a"], message["p"], message["q"])


async def test_two_connections_get_the_same(busy: Simulator) -> None:
    async with (
        dial(busy, "binance", "/ws/btcusdt@aggTrade") as one,
        dial(busy, "binance", "/stream?streams=btcusdt@aggTrade") as two,
    ):
        first = {message["a"]: message for message in await one.take(30)}
        second = {m["data"]["a"]: m["data"] for m in await two.take(30)}
    shared = first.keys() & second.keys()
    assert len(shared) > 5
    assert all(first[i] == second[i] for i in shared)


async def truth_agrees(ask: Ask, exchange: str, symbol: str, book: BookCopy, sequence: int) -> bool:
    truth = await ask.truth("book", exchange=exchange, symbol=symbol, sequence=sequence)
    assert truth["sequence"] == sequence
    return book.same_as(truth)


def spot_follows(event: Any, last: int) -> bool:
    return event["U"] == last + 1


def futures_follows(event: Any, last: int) -> bool:
    return event["pu"] == last


@pytest.mark.parametrize(
    ("path", "follows"),
    [
        ("/ws/btcusdt@depth@100ms", spot_follows),
        ("/ws/btcusdt@depth", spot_follows),
        ("/public/ws/btcusdt@depth@100ms", futures_follows),
        ("/public/ws/btcusdt@depth@500ms", futures_follows),
    ],
)
async def test_binance_snapshot_and_changes_make_the_book(
    busy: Simulator, ask: Ask, path: str, follows: Callable[[Any, int], bool]
) -> None:
    spot = follows is spot_follows
    rest, symbol = ("/api/v3", "BTC-USDT") if spot else ("/fapi/v1", "BTC-USDT-PERP")
    async with dial(busy, "binance", path) as socket:
        # given a buffered event and a snapshot after it, as the documentation says
        buffered = await socket.take(2)
        snapshot = await ask.get(f"/binance{rest}/depth", symbol="BTCUSDT", limit=1000)
        last = snapshot["lastUpdateId"]
        book = BookCopy(snapshot["bids"], snapshot["asks"])
        assert last >= buffered[0]["U"]

        # when later events are applied
        applied = 0
        while applied < _EVENTS:
            event = buffered.pop(0) if buffered else await socket.next()
            if event["u"] <= last:
                continue
            if applied:
                assert follows(event, last)
            else:
                assert event["U"] <= last + 1 <= event["u"]
            applied, last = applied + 1, event["u"]
            book.apply(event["b"], event["a"])
            assert max(book.bids) < min(book.asks)

        # then the book is the simulator's
        assert await truth_agrees(ask, "binance", symbol, book, last)


@pytest.mark.parametrize("native", ["BTC-USDT", "BTC-USDT-SWAP"])
async def test_okx_snapshot_and_changes_make_the_book(
    busy: Simulator, ask: Ask, native: str
) -> None:
    symbol = native.replace("SWAP", "PERP")
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        # given the snapshot a subscriber gets first
        await subscribe_okx(socket, "books", instrument=native)
        message = await socket.next()
        (row,) = message["data"]
        assert (message["action"], row["prevSeqId"], row["checksum"]) == ("snapshot", -1, 0)
        assert len(row["bids"]) == len(row["asks"]) == 400
        book, last = BookCopy(row["bids"], row["asks"]), row["seqId"]
        assert await truth_agrees(ask, "okx", symbol, book, last)

        # when updates are applied
        for _ in range(60):
            message = await socket.next()
            (row,) = message["data"]
            assert (message["action"], row["prevSeqId"]) == ("update", last)
            book.apply(row["bids"], row["asks"])
            last = row["seqId"]
            assert len(book.bids) == len(book.asks) == 400

        # then the book is the simulator's, and REST's is on the same chain
        assert await truth_agrees(ask, "okx", symbol, book, last)
        (rest,) = (await ask.get("/okx/api/v5/market/books", instId=native, sz=400))["data"]
        assert rest["seqId"] >= last
        assert await truth_agrees(
            ask, "okx", symbol, BookCopy(rest["bids"], rest["asks"]), rest["seqId"]
        )


async def test_closing_candles_are_those_of_rest(client: ClientSession) -> None:
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=200_000, clock_speed=120)
    async with Simulator(config) as sim:
        ask = Ask(client, sim)
        async with dial(sim, "binance", "/ws/btcusdt@kline_1m") as socket:
            closed = [(await socket.until(lambda m: m["k"]["x"]))["k"] for _ in range(3)]
        for k in closed:
            (row, *_) = await ask.get(
                "/binance/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=k["t"], limit=1
            )
            names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
            assert row == [k[name] for name in names]
        assert [k["t"] - closed[0]["t"] for k in closed] == [0, 60_000, 120_000]

        async with dial(sim, "okx", "/ws/v5/business") as socket:
            await subscribe_okx(socket, "candle1m", instrument="BTC-USDT-SWAP")
            message = await socket.until(lambda m: m["data"][0][8] == "1")
        (row,) = message["data"]
        rest = await ask.get(
            "/okx/api/v5/market/candles", instId="BTC-USDT-SWAP", bar="1m",
            after=int(row[0]) + 1, limit=1,
        )  # fmt: skip
        assert rest["data"] == [row]


async def test_midnight_leaves_no_hole(client: ClientSession) -> None:
    # given a clock that stands twenty seconds before midnight, and goes twenty times as fast
    left_s = 86_400 - time.time() % 86_400
    config = SimulatorConfig(
        seed=7, limits="off", trades_per_day=200_000, clock_speed=20, clock_offset_s=left_s - 20
    )
    async with Simulator(config) as sim, dial(sim, "binance", "/ws/btcusdt@aggTrade") as socket:
        # when trades are read until a while after it
        rows: list[dict[str, Any]] = []
        after = 0
        while after < _EVENTS:
            rows.append(binance_row(await socket.next()))
            after += rows[-1]["time_ms"] // 86_400_000 > rows[0]["time_ms"] // 86_400_000
        # then none is missing
        await agree_with_truth(Ask(client, sim), "binance", "BTC-USDT", rows)


async def test_a_client_that_does_not_read_is_closed(client: ClientSession) -> None:
    # given a simulator that keeps little for slow clients
    config = SimulatorConfig(
        seed=7, limits="off", trades_per_day=200_000, clock_speed=2_000, stream_buffer_bytes=20_000
    )
    async with Simulator(config) as sim:
        loop = asyncio.get_running_loop()
        with sockets.socket() as raw:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
            raw.setblocking(False)
            await loop.sock_connect(raw, ("127.0.0.1", int(sim.url.rpartition(":")[2])))
            request = (
                "GET /binance/ws/btcusdt@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await loop.sock_sendall(raw, request.encode())
            # when it never reads
            stats = Ask(client, sim)
            told = await stats.stats_when("binance", lambda told: told["overflows"] > 0)
        # then it is gone, and nothing of it is kept
        assert told["overflows"] == 1
        assert told["open"] == 0


async def test_an_unknown_path_is_no_socket(sim: Simulator, client: ClientSession) -> None:
    for path in ("/nowhere/ws", "/binance/nowhere", "/okx/ws/v5/other"):
        async with client.get(sim.url + path, headers={"Upgrade": "websocket"}) as reply:
            assert reply.status == 404


async def test_hosts_of_sockets_choose_the_venue(sim: Simulator, client: ClientSession) -> None:
    url = sim.url.replace("http", "ws")
    for host, path in (
        ("fstream.binance.com", "/market/stream"),
        ("stream.binance.com:9443", "/ws"),
        ("ws.okx.com:8443", "/ws/v5/public"),
    ):
        async with client.ws_connect(url + path, headers={"Host": host}) as socket:
            assert not socket.closed
