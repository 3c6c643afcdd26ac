"""Recorded sessions come over the exchange's protocol as they were received."""

import gzip
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from session_client import Socket, open_socket

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

BYBIT = "bybit/ws/spot_testnet_fastmm_20260913.jsonl.gz"
COINBASE = "coinbase/ws/advanced_fastmm_20260930_head.jsonl.gz"
OKX = "okx/ws/public_cryptofeed_20220513.jsonl.gz"
BINANCE = "binance/ws/spot_cryptofeed_20211012.jsonl.gz"
LARGE = "binance/ws/usdm_btcusdt_hft_20230404.jsonl.gz"
PRODUCTS = ["BTC-USD", "ETH-USD"]


def lines(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line for line in map(json.loads, file) if line["dir"] == "in"]


def frames(path: Path) -> list[str]:
    return [line["raw"] for line in lines(path)]


def streams(path: Path) -> list[str]:
    return sorted({json.loads(text)["stream"] for text in frames(path)})


@asynccontextmanager
async def replay(*sessions: str, speed: float = 0.0, **fields: Any) -> AsyncGenerator[Simulator]:
    config = SimulatorConfig(sessions=sessions, session_speed=speed, **fields)
    async with Simulator(config) as sim:
        yield sim


async def truth(sim: Simulator, exchange: str) -> Any:
    async with (
        ClientSession() as client,
        client.get(f"{sim.url}/_truth/session", params={"exchange": exchange}) as reply,
    ):
        return await reply.json()


async def subscribe_binance(socket: Socket, names: Sequence[str], number: int = 1) -> None:
    await socket.send({"method": "SUBSCRIBE", "params": list(names), "id": number})
    assert await socket.next_json() == {"result": None, "id": number}


async def test_everything_subscribed_comes_byte_for_byte_and_in_order(shared_data: Path) -> None:
    # given a recording of a combined stream, and a client of all that is in it
    expected = frames(shared_data / BINANCE)
    names = streams(shared_data / BINANCE)
    async with (
        replay(f"{shared_data / BINANCE}=binance") as sim,
        open_socket(f"{sim.url}/binance/stream") as socket,
    ):
        await subscribe_binance(socket, names, 7)

        # then it gets every frame, and the simulator says how many that were
        assert await socket.take(len(expected)) == expected
        told = await truth(sim, "binance")
    assert (told["frames"], told["sent"]) == (len(expected), len(expected))
    assert told["clients"][0] == {
        "path": "/stream", "frames": len(expected), "sent": len(expected), "left_out": 0,
        "replies": 1, "done": True,
    }  # fmt: skip


async def test_only_what_is_subscribed_is_sent(shared_data: Path) -> None:
    wanted = "nknusdt@depth@100ms"
    expected = [t for t in frames(shared_data / BINANCE) if json.loads(t)["stream"] == wanted]
    async with (
        replay(f"{shared_data / BINANCE}=binance") as sim,
        open_socket(f"{sim.url}/binance/stream") as socket,
    ):
        await subscribe_binance(socket, [wanted])
        assert await socket.take(len(expected)) == expected
        assert not await socket.silence(0.2)
        client = (await truth(sim, "binance"))["clients"][0]
    assert (client["sent"], client["done"]) == (len(expected), True)
    assert client["sent"] + client["left_out"] == client["frames"]


async def test_streams_in_the_address_start_at_once_and_ws_is_not_wrapped(
    shared_data: Path,
) -> None:
    wanted = "nknusdt@bookTicker"
    expected = [
        json.loads(text)["data"]
        for text in frames(shared_data / BINANCE)
        if json.loads(text)["stream"] == wanted
    ]
    async with replay(f"{shared_data / BINANCE}=binance") as sim:
        for path, is_wrapped in ((f"stream?streams={wanted}", True), (f"ws/{wanted}", False)):
            async with open_socket(f"{sim.url}/binance/{path}") as socket:
                got = [json.loads(text) for text in await socket.take(len(expected))]
            assert [one["data"] if is_wrapped else one for one in got] == expected


async def test_another_speed_in_a_name_means_the_recorded_stream(shared_data: Path) -> None:
    # given a recording of `depth@0ms`, as the futures of 2023 had it
    expected = [t for t in frames(shared_data / LARGE) if "@depth@0ms" in t[:40]]
    async with (
        replay(f"{shared_data / LARGE}=binance") as sim,
        open_socket(f"{sim.url}/binance/stream") as socket,
    ):
        await subscribe_binance(socket, ["btcusdt@depth@100ms"])
        assert await socket.take(len(expected)) == expected


async def test_frames_keep_their_spacing_divided_by_the_speed(shared_data: Path) -> None:
    # given half a minute of frames, played sixty times as fast
    recorded = lines(shared_data / BINANCE)
    names = streams(shared_data / BINANCE)
    span_s = (recorded[-1]["t"] - recorded[0]["t"]) / 60
    at = min(range(len(recorded)), key=lambda i: abs(recorded[i]["t"] - recorded[0]["t"] - 15))
    async with (
        replay(f"{shared_data / BINANCE}=binance", speed=60) as sim,
        open_socket(f"{sim.url}/binance/stream") as socket,
    ):
        await subscribe_binance(socket, names)
        started = time.monotonic()
        await socket.take(at + 1)
        middle_s = time.monotonic() - started
        await socket.take(len(recorded) - at - 1)
        whole_s = time.monotonic() - started

    # then the middle and the end come when they should, and not sooner
    assert span_s - 0.02 <= whole_s < span_s + 0.4
    assert middle_s < whole_s - 0.15


async def test_a_bybit_session_answers_with_recorded_replies(shared_data: Path) -> None:
    # given a recording with a reply, a pong and a refusal in it
    expected = [text for text in frames(shared_data / BYBIT) if '"topic"' in text]
    topics = sorted({json.loads(text)["topic"] for text in expected})
    async with (
        replay(f"{shared_data / BYBIT}=bybit") as sim,
        open_socket(f"{sim.url}/bybit/v5/public/spot") as socket,
    ):
        await socket.send({"op": "ping", "req_id": "mine"})
        pong = await socket.next_json()
        await socket.send({"req_id": "a", "op": "subscribe", "args": topics})
        reply = await socket.next_json()
        assert await socket.take(len(expected)) == expected
        await socket.send({"op": "subscribe", "args": ["orderbook.50.NOSUCHSYM"]})
        refusal = await socket.next_json()

    # then they are what was recorded, but for the ids, which are the client's
    connection = "d967ikkn0ine3iqmjc30-koqj"
    assert pong == {"success": True, "ret_msg": "pong", "conn_id": connection, "req_id": "mine",
                    "op": "ping"}  # fmt: skip
    assert reply == {"success": True, "ret_msg": "subscribe", "conn_id": connection, "req_id": "a",
                     "op": "subscribe"}  # fmt: skip
    assert refusal == {
        "success": False, "ret_msg": "Invalid symbol :[orderbook.50.NOSUCHSYM]",
        "conn_id": connection, "op": "subscribe",
    }  # fmt: skip


async def test_another_category_of_bybit_gets_nothing_of_it(shared_data: Path) -> None:
    async with (
        replay(f"{shared_data / BYBIT}=bybit") as sim,
        open_socket(f"{sim.url}/bybit/v5/public/linear") as socket,
    ):
        await socket.send({"op": "subscribe", "args": ["publicTrade.BTCUSDT"]})
        assert (await socket.next_json())["success"] is True
        assert not await socket.silence(0.3)


async def test_okx_answers_every_argument_with_its_recorded_reply(shared_data: Path) -> None:
    recorded = frames(shared_data / OKX)
    data = [text for text in recorded if '"event"' not in text[:40]]
    topics = [json.loads(text)["arg"] for text in data]
    arguments = [json.loads(one) for one in sorted({json.dumps(topic) for topic in topics})]
    async with (
        replay(f"{shared_data / OKX}=okx") as sim,
        open_socket(f"{sim.url}/okx/ws/v5/public") as socket,
    ):
        await socket.send("ping")
        assert await socket.next() == "pong"
        await socket.send({"id": "x1", "op": "subscribe", "args": arguments})
        replies = [await socket.next_json() for _ in arguments]
        assert await socket.take(len(data)) == data
        await socket.send({"id": "x2", "op": "unsubscribe", "args": arguments[:1]})
        last = await socket.next_json()
    assert replies == [
        {"event": "subscribe", "arg": argument, "id": "x1"} for argument in arguments
    ]
    assert (last["event"], last["arg"], last["id"]) == ("unsubscribe", arguments[0], "x2")


async def test_a_whole_coinbase_session_is_the_recording_replies_included(
    shared_data: Path,
) -> None:
    expected = frames(shared_data / COINBASE)
    async with (
        replay(f"{shared_data / COINBASE}=coinbase") as sim,
        open_socket(f"{sim.url}/coinbase/ws") as socket,
    ):
        for channel in ("heartbeats", "level2", "market_trades"):
            asked = {} if channel == "heartbeats" else {"product_ids": PRODUCTS}
            await socket.send({"type": "subscribe", "channel": channel, **asked})
        assert await socket.take(len(expected)) == expected


async def test_part_of_a_coinbase_session_is_numbered_anew(shared_data: Path) -> None:
    # given a client of one product, under its other name, that waits for its replies
    expected = [
        json.loads(text)["events"]
        for text in frames(shared_data / COINBASE)
        if json.loads(text)["channel"] == "l2_data" and '"BTC-USD"' in text[:200]
    ]
    async with (
        replay(f"{shared_data / COINBASE}=coinbase") as sim,
        open_socket(f"{sim.url}/coinbase") as socket,
    ):
        await socket.send({"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USDC"]})
        reply = await socket.next_json()
        got = [await socket.next_json() for _ in expected]

    # then it sees no break of the sequence, and the frames are the recorded ones else
    assert reply["events"] == [{"subscriptions": {"level2": ["BTC-USDC"]}}]
    assert [one["sequence_num"] for one in (reply, *got)] == list(range(len(got) + 1))
    assert [one["events"] for one in got] == expected


async def test_files_of_one_exchange_are_merged_by_time(shared_data: Path) -> None:
    # given two recordings that were made at the same time
    files = [shared_data / f"okx/ws/public_cryptofeed_20210722_conn{n}.jsonl.gz" for n in (1, 2)]
    rows = sorted(
        (row for file in files for row in lines(file) if '"event"' not in row["raw"][:40]),
        key=lambda row: row["t"],
    )
    topics = sorted({json.dumps(json.loads(row["raw"])["arg"]) for row in rows})
    async with (
        replay(*(f"{file}=okx" for file in files)) as sim,
        open_socket(f"{sim.url}/okx/ws/v5/public") as socket,
    ):
        await socket.send({"op": "subscribe", "args": [json.loads(one) for one in topics]})
        await socket.take(len(topics))
        got = await socket.take(len(rows))
    assert got == [row["raw"] for row in rows]


async def test_connections_of_one_file_are_served_at_their_own_paths(tmp_path: Path) -> None:
    # given a file of two connections, without times
    rows = [
        {"t": None, "dir": "in", "conn": f"wss://ws.okx.com:8443/ws/v5/{name}",
         "raw": f'{{"arg":{{"channel":"c","instId":"{name}"}},"data":[{n}]}}'}
        for n, name in enumerate(("public", "business", "public"))
    ]  # fmt: skip
    file = tmp_path / "two.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    everything = [{"channel": "c", "instId": name} for name in ("public", "business")]
    got: dict[str, list[str]] = {}
    async with replay(f"{file}=okx", speed=1) as sim:
        for name in ("public", "business", "private"):
            async with open_socket(f"{sim.url}/okx/ws/v5/{name}") as socket:
                await socket.send({"op": "subscribe", "args": everything})
                await socket.take(2)
                got[name] = list(await socket.silence(1.15))
        about = await truth(sim, "okx")

    # then each gets its own, evenly spaced, and a third address nothing
    assert got == {
        "public": [rows[0]["raw"], rows[2]["raw"]], "business": [rows[1]["raw"]], "private": [],
    }  # fmt: skip
    assert about["files"][0]["spaced_by"] == "even"


@pytest.mark.parametrize(
    ("path", "is_served"),
    [("fstream.binance.com/stream", True), ("fstream/market/stream", True),
     ("stream.binance.com/stream", False), ("stream", True)],
)  # fmt: skip
async def test_a_session_of_futures_is_not_for_sockets_of_spot(
    shared_data: Path, path: str, is_served: bool
) -> None:
    # given a client at an address that says which market it is, or does not
    async with (
        replay(f"{shared_data / LARGE}=binance") as sim,
        open_socket(f"{sim.url}/binance/{path}?streams=btcusdt@markPrice@1s") as socket,
    ):
        got = await socket.silence(0.5)
    assert bool(got) is is_served


async def test_a_second_client_starts_from_the_first_frame(shared_data: Path) -> None:
    expected = frames(shared_data / BINANCE)
    names = streams(shared_data / BINANCE)
    async with replay(f"{shared_data / BINANCE}=binance") as sim:
        for _ in range(2):
            async with open_socket(f"{sim.url}/binance/stream") as socket:
                await subscribe_binance(socket, names)
                assert (await socket.take(3)) == expected[:3]
        assert (await truth(sim, "binance"))["clients_served"] == 2


async def test_a_large_session_is_streamed_as_fast_as_it_is_read(shared_data: Path) -> None:
    expected = frames(shared_data / LARGE)
    names = streams(shared_data / LARGE)
    async with (
        replay(f"{shared_data / LARGE}=binance") as sim,
        open_socket(f"{sim.url}/binance/stream") as socket,
    ):
        await subscribe_binance(socket, names)
        got = [await socket.connection.recv() for _ in expected]
    assert got == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"raw":"{}","dir":"in"}\n[1]\n{"raw":"{}"}\n', "line 2 is not a recorded frame"),
        ('{"t":1,"conn":"wss://a/b","dir":"out","raw":"{}"}\n', "no received frame in it"),
        ("", "no received frame in it"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        Simulator(SimulatorConfig(sessions=(f"{file}=okx",)))


@pytest.mark.parametrize(
    ("argument", "message"),
    [("a.jsonl", "FILE=EXCHANGE"), ("a.jsonl=kraken", "no exchange 'kraken'"),
     ("/nowhere/a.jsonl=okx", "No such file")],
)  # fmt: skip
def test_a_wrong_argument_is_refused(argument: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulator(SimulatorConfig(sessions=(argument,)))


async def test_what_is_whole_of_a_file_cut_off_is_served(shared_data: Path, tmp_path: Path) -> None:
    # given a recording whose recorder was killed: the end of its compression is missing
    file = tmp_path / "cut.jsonl.gz"
    whole = (shared_data / BINANCE).read_bytes()
    file.write_bytes(whole[: len(whole) * 3 // 4])
    expected = frames(shared_data / BINANCE)
    async with (
        replay(f"{file}=binance") as sim,
        open_socket(f"{sim.url}/binance/stream") as socket,
    ):
        told = await truth(sim, "binance")
        await subscribe_binance(socket, streams(shared_data / BINANCE))
        got = await socket.take(told["frames"])
    assert told["files"][0]["cut_off"] is True
    assert 10 < len(got) < len(expected)
    assert got == expected[: len(got)]
