"""Every kind of stream fault does what its documentation says, and is listed as injected."""

import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType
from sim_socket import Ask, BookCopy, dial, subscribe_okx
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.faults import STREAM_KINDS
from zvt_crypto.simulator.server import Simulator

TRADES = "/ws/btcusdt@trade"
BOTH = "/stream?streams=btcusdt@trade/ethusdt@trade"


def ids_of(messages: list[Any]) -> list[int]:
    return [message["t"] for message in messages]


async def injected(ask: Ask, kind: str, exchange: str = "binance") -> list[dict[str, Any]]:
    return await ask.truth("injected", exchange=exchange, kind=kind)


def lost_ids(injections: list[dict[str, Any]]) -> set[int]:
    return {i for one in injections for i in range(one["first_id"], one["last_id"] + 1)}


async def test_dropped_trades_are_listed_and_can_be_had_over_rest(
    busy: Simulator, ask: Ask
) -> None:
    await ask.fault("ws_drop", exchange="binance", channel="trades", symbol="BTC-USDT", every=4)
    async with dial(busy, "binance", BOTH) as socket:
        messages = [message["data"] for message in await socket.take(120)]
    bitcoin = ids_of([m for m in messages if m["s"] == "BTCUSDT"])
    ether = ids_of([m for m in messages if m["s"] == "ETHUSDT"])
    missing = set(range(bitcoin[0], bitcoin[-1] + 1)) - set(bitcoin)
    listed = await injected(ask, "ws_drop")

    # the holes are those listed, and of this symbol only
    assert missing
    assert missing == {i for i in lost_ids(listed) if bitcoin[0] <= i <= bitcoin[-1]}
    assert all(one["lost"] and one["symbol"] == "BTC-USDT" for one in listed)
    assert ether == list(range(ether[0], ether[-1] + 1))
    # and the history has them
    for wanted in list(missing)[:3]:
        path = "/binance/api/v3/historicalTrades"
        (row,) = await ask.get(path, symbol="BTCUSDT", fromId=wanted, limit=1)
        assert row["id"] == wanted
    assert (await ask.stream_stats("binance"))["injected"]["ws_drop"] >= len(missing)


async def drops(probability: float, count: int) -> list[bool]:
    """Return which of the first trades a simulator dropped."""
    config = SimulatorConfig(
        seed=11, limits="off", trades_per_day=200_000, clock_speed=20,
        faults=({"kind": "ws_drop", "probability": probability},),
    )  # fmt: skip
    async with Simulator(config) as sim, ClientSession() as client:
        async with dial(sim, "binance", TRADES) as socket:
            ids = ids_of(await socket.take(count))
        lost = lost_ids(await injected(Ask(client, sim), "ws_drop"))
        first = min(lost | set(ids))
        return [i in lost for i in range(first, first + count)]


async def test_chance_comes_from_the_seed() -> None:
    first, second = await drops(0.3, 40), await drops(0.3, 40)
    assert first == second
    assert 3 < sum(first) < 25


async def test_duplicates_and_disorder(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_duplicate", exchange="binance", channel="btcusdt", every=5, times=3)
    await ask.fault("ws_reorder", exchange="binance", channel="ethusdt", every=5)
    async with dial(busy, "binance", BOTH) as socket:
        messages = [message["data"] for message in await socket.take(150)]
    bitcoin = ids_of([m for m in messages if m["s"] == "BTCUSDT"])
    ether = ids_of([m for m in messages if m["s"] == "ETHUSDT"])
    assert sorted(set(bitcoin)) == list(range(bitcoin[0], bitcoin[-1] + 1))
    assert max(bitcoin.count(i) for i in set(bitcoin)) == 3
    assert bitcoin == sorted(bitcoin)
    assert ether != sorted(ether)
    assert sorted(ether)[:-2] == list(range(min(ether), max(ether) + 1))[: len(ether) - 2]


async def test_one_symbol_falls_silent(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "binance", BOTH) as socket:
        await socket.until(lambda m: m["data"]["s"] == "BTCUSDT")
        fault = await ask.fault("ws_silent_symbol", exchange="binance", symbol="BTC-USDT")
        await socket.collect(0.2)
        messages = [message["data"]["s"] for message in await socket.take(40)]
        assert set(messages) == {"ETHUSDT"}
        await ask.lift(fault)
        back = await socket.until(lambda m: m["data"]["s"] == "BTCUSDT")
    # one injection tells all that was not sent
    (one,) = await injected(ask, "ws_silent_symbol")
    assert one["messages"] > 1
    assert one["last_id"] - one["first_id"] + 1 == one["messages"]
    assert back["data"]["t"] == one["last_id"] + 1


async def test_a_jump_of_sequence_breaks_the_chain(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "books")
        last = (await socket.next())["data"][0]["seqId"]
        # two messages are left out
        await ask.fault("ws_sequence_jump", exchange="okx", symbol="BTC-USDT", skip=2, count=1)
        while (row := (await socket.next())["data"][0])["prevSeqId"] == last:
            last = row["seqId"]
        (one,) = await injected(ask, "ws_sequence_jump", "okx")
        assert (one["messages"], one["last_id"]) == (2, row["prevSeqId"])
        assert one["first_id"] == last + 1
        # one message claims to follow another book
        last = row["seqId"]
        await ask.fault("ws_sequence_jump", exchange="okx", shift=5, count=1)
        while (row := (await socket.next())["data"][0])["prevSeqId"] == last:
            last = row["seqId"]
        assert row["prevSeqId"] == last + 5


@pytest.mark.parametrize(
    ("fault", "shows"),
    [
        ({"kind": "ws_corrupt"}, lambda raw: raw.startswith(b"{") and not raw.endswith(b"}")),
        ({"kind": "ws_giant", "bytes": 70_000}, lambda raw: len(raw) == 70_000),
        ({"kind": "ws_deep", "depth": 5_000}, lambda raw: raw == b"[" * 5_000 + b"]" * 5_000),
        ({"kind": "ws_wrong_types"}, lambda raw: b'"p":"NaN"' in raw),
        ({"kind": "ws_wrong_types", "what": "null"}, lambda raw: b'"p":null' in raw),
        ({"kind": "ws_wrong_types", "what": "negative"}, lambda raw: b'"q":"-1"' in raw),
    ],
)
async def test_messages_no_client_should_believe(
    busy: Simulator, ask: Ask, fault: dict[str, Any], shows: Any
) -> None:
    await ask.fault(**fault, exchange="binance", every=3)
    async with dial(busy, "binance", TRADES) as socket:
        raws = [(await socket.raw()).encode() for _ in range(9)]
    assert sum(map(shows, raws)) == 3
    assert len(await injected(ask, fault["kind"])) >= 3


async def test_text_that_is_not_utf8(busy: Simulator, ask: Ask, client: ClientSession) -> None:
    await ask.fault("ws_invalid_utf8", exchange="binance")
    async with client.ws_connect(busy.stream_url("binance") + TRADES) as socket:
        message = await socket.receive(timeout=5)
        assert message.type is WSMsgType.ERROR or message.type is WSMsgType.CLOSE
        assert socket.close_code in (None, 1007)


async def test_times_ahead_and_wrong_ids(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_future_time", exchange="binance", every=3, offset_s=7_200)
    await ask.fault("ws_wrong_id", exchange="binance", every=2, shift=500)
    async with dial(busy, "binance", TRADES) as socket:
        messages = await socket.take(12)
    now_ms = busy.world.clock.now_us() // 1_000
    ahead = [m for m in messages if m["T"] > now_ms + 3_600_000]
    assert len(ahead) == 4
    plain, wrong = ids_of(messages[::2]), ids_of(messages[1::2])
    assert [b - a for a, b in zip(plain, wrong, strict=True)] == [501] * 6


async def test_a_crossed_book_is_taken_back(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "books")
        (row,) = (await socket.next())["data"]
        book = BookCopy(row["bids"], row["asks"])
        await ask.fault("ws_crossed_book", exchange="okx", count=1)
        crossed = 0
        for _ in range(30):
            (row,) = (await socket.next())["data"]
            book.apply(row["bids"], row["asks"])
            crossed += max(book.bids) >= min(book.asks)
        truth = await ask.truth("book", exchange="okx", symbol="BTC-USDT", sequence=row["seqId"])
    assert crossed == 1
    assert book.same_as(truth)


async def test_closing_candles_late_missing_and_revised() -> None:
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=200_000, clock_speed=120)
    async with Simulator(config) as sim, ClientSession() as client:
        ask = Ask(client, sim)
        await ask.fault("ws_late_close", exchange="binance", count=1)
        async with dial(sim, "binance", "/ws/btcusdt@kline_1m") as socket:
            # the first close is missing
            opens: list[int] = []
            while True:
                k = (await socket.next())["k"]
                opens.append(k["t"])
                if k["x"]:
                    break
            (one,) = await injected(ask, "ws_late_close")
            assert one["first_id"] == opens[0] * 1_000
            assert k["t"] == opens[0] + 60_000
            # the next comes when the following candle has begun
            await ask.fault("ws_late_close", exchange="binance", count=1, delay_s=20)
            opens = []
            while not (k := (await socket.next())["k"])["x"]:
                opens.append(k["t"])
            assert max(opens) == k["t"] + 60_000
            # the next says something else than the truth
            await ask.fault("ws_revised_candle", exchange="binance", count=1)
            k = (await socket.until(lambda m: m["k"]["x"]))["k"]
            (row, *_) = await ask.get(
                "/binance/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=k["t"], limit=1
            )
            assert (row[0], row[1]) == (k["t"], k["o"])
            assert float(row[4]) < float(k["c"])


async def test_connections_are_cut_and_closed(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_disconnect", exchange="binance", channel="btcusdt", every=5, count=1)
    await ask.fault("ws_close", exchange="binance", channel="ethusdt", count=1, code=1012,
                    reason="restart")  # fmt: skip
    async with dial(busy, "binance", TRADES) as socket:
        assert len(await socket.take(4)) == 4
        assert await socket.closed() == (1006, "")
    async with dial(busy, "binance", "/ws/ethusdt@trade") as socket:
        assert await socket.closed() == (1012, "restart")
    for kind in ("ws_disconnect", "ws_close"):
        (one,) = await injected(ask, kind)
        assert one["connection"]
        assert one["first_id"]
    closed = (await ask.stream_stats("binance"))["closed"]
    assert closed == {"ws_disconnect": 1, "ws_close 1012": 1}


async def test_a_silent_connection_still_answers(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_silent", exchange="okx", count=1, for_s=1.0)
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "trades", "bbo-tbt")
        await ask.get("/_clock")
        began = time.monotonic()
        while not await injected(ask, "ws_silent", "okx"):
            assert time.monotonic() < began + 10
        await socket.collect(0.1)
        await socket.send("ping")
        assert await socket.raw(0.6) == "pong"
        assert "data" in await socket.next()  # it speaks again


async def test_a_half_open_connection_answers_nothing(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_half_open", exchange="okx", count=1)
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "bbo-tbt")
        await socket.collect(0.3)
        await socket.send("ping")
        with pytest.raises(TimeoutError):
            await socket.raw(0.5)
        assert (await ask.stream_stats("okx"))["open"] == 1


async def test_slow_frames_keep_their_order(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_slow", exchange="binance", every=10, count=1, delay_s=0.5)
    async with dial(busy, "binance", TRADES) as socket:
        ids: list[int] = []
        waits: list[float] = []
        for _ in range(30):
            began = time.monotonic()
            ids.append((await socket.next())["t"])
            waits.append(time.monotonic() - began)
    assert ids == list(range(ids[0], ids[0] + 30))
    assert max(waits) == pytest.approx(waits[9], abs=0.01)
    assert waits[9] > 0.3


async def test_lifetimes_and_shutdowns(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_lifetime", exchange="binance", s=0.5)
    async with dial(busy, "binance", "/ws") as socket:
        assert (await socket.closed())[0] == 1000
    await ask.fault("ws_shutdown_notice", exchange="okx", s=0.3)
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        notice = await socket.next()
        assert (notice["event"], notice["code"]) == ("notice", "64008")
        assert (await socket.closed())[0] == 1001
    await ask.fault("ws_shutdown_notice", exchange="binance", endpoint="/stream", s=0.2)
    async with dial(busy, "binance", "/stream") as socket:
        notice = await socket.next()
        assert (notice["stream"], notice["data"]["e"]) == ("!serverShutdown", "serverShutdown")


async def test_handshakes_refused(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_status", exchange="binance", status=451, count=1)
    await ask.fault("ws_refuse", exchange="okx", count=1)
    with pytest.raises(InvalidStatus) as refused:
        async with dial(busy, "binance", "/ws"):
            pass
    assert refused.value.response.status_code == 451
    with pytest.raises((InvalidMessage, ConnectionClosed, ConnectionError, EOFError)):
        async with dial(busy, "okx", "/ws/v5/public"):
            pass
    async with dial(busy, "binance", "/ws"), dial(busy, "okx", "/ws/v5/public"):
        pass  # the next ones come in


async def test_requests_not_answered_or_refused(busy: Simulator, ask: Ask) -> None:
    request = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
    await ask.fault("ws_error_ack", exchange="binance", count=1)
    async with dial(busy, "binance", "/ws") as socket:
        assert (await socket.ask(request))["error"]["code"] == 1
        assert not await socket.collect(0.3)
        await ask.fault("ws_no_ack", exchange="binance", count=1)
        await socket.send(request)
        messages = await socket.take(5)  # it was carried out all the same
        assert all("t" in message for message in messages)


async def test_snapshots_missing_and_late(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_no_snapshot", exchange="okx", count=1)
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "books")
        assert {m["action"] for m in await socket.take(10)} == {"update"}
    await ask.fault("ws_late_snapshot", exchange="okx", count=1, delay_s=0.2)
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "books")
        assert (await socket.next())["action"] == "update"
        assert await socket.until(lambda m: m["action"] == "snapshot")


async def test_a_stale_snapshot_over_rest(ask: Ask) -> None:
    path, parameters = "/binance/api/v3/depth", {"symbol": "BTCUSDT", "limit": 5}
    await ask.fault("ws_stale_snapshot", exchange="binance", lag_s=600, count=1)
    stale = await ask.get(path, **parameters)
    fresh = await ask.get(path, **parameters)
    assert fresh["lastUpdateId"] - stale["lastUpdateId"] > 50_000  # sixteen each tenth of a second
    truth = await ask.truth(
        "book", exchange="binance", symbol="BTC-USDT", sequence=stale["lastUpdateId"]
    )
    assert BookCopy(truth["bids"][:5], truth["asks"][:5]).same_as(stale)


async def test_sequence_numbers_fall_back(busy: Simulator, ask: Ask) -> None:
    async with dial(busy, "okx", "/ws/v5/public") as socket:
        await subscribe_okx(socket, "books")
        (row,) = (await socket.next())["data"]
        book, last = BookCopy(row["bids"], row["asks"]), row["seqId"]
        await ask.fault("ws_book_reset", exchange="okx", symbol="BTC-USDT", by=5_000)
        fell = 0
        for _ in range(40):
            (row,) = (await socket.next())["data"]
            assert row["prevSeqId"] == last
            fell += row["seqId"] < last
            last = row["seqId"]
            book.apply(row["bids"], row["asks"])
        truth = await ask.truth("book", exchange="okx", symbol="BTC-USDT", sequence=last)
    assert fell == 1
    assert book.same_as(truth)


async def test_what_a_silent_connection_missed_is_listed(busy: Simulator, ask: Ask) -> None:
    await ask.fault("ws_silent", exchange="binance", every=5, count=1, for_s=0.4)
    async with dial(busy, "binance", TRADES) as socket:
        ids = ids_of(await socket.take(20))
    (one,) = await injected(ask, "ws_silent")
    missing = set(range(ids[0], ids[-1] + 1)) - set(ids)
    assert missing == set(range(one["first_id"], one["last_id"] + 1))
    assert (await ask.stream_stats("binance"))["injected"] == {"ws_silent": 1}


async def test_the_same_fault_again_after_all_were_removed(
    busy: Simulator, ask: Ask, client: ClientSession
) -> None:
    for _ in range(2):
        await ask.fault("ws_book_reset", exchange="okx", symbol="BTC-USDT", by=5_000)
        await ask.fault("ws_lifetime", exchange="okx", s=0.4)
        async with dial(busy, "okx", "/ws/v5/public") as socket:
            await subscribe_okx(socket, "books")
            await socket.until(lambda m: m["data"][0]["seqId"] < m["data"][0]["prevSeqId"])
            assert (await socket.closed())[0] == 1000
        async with client.delete(f"{busy.url}/_faults") as reply:
            assert (await reply.json()) == {"removed": 2}


@pytest.mark.parametrize(
    "wrong", [{"delay_s": "soon"}, {"bytes": -1}, {"depth": 10**12}, {"times": None}]
)
async def test_faults_with_numbers_that_are_none_are_refused(
    busy: Simulator, client: ClientSession, wrong: dict[str, Any]
) -> None:
    body = {"kind": "ws_giant", **wrong}
    async with client.post(f"{busy.url}/_faults", json=body) as reply:
        assert reply.status == 400
        assert next(iter(wrong)) in (await reply.json())["error"]


def test_every_stream_kind_is_tested_here() -> None:
    own = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in sorted(STREAM_KINDS) if f'"{kind}"' not in own] == []
