# pyright: reportPrivateUsage=false
"""One connection over a scripted exchange: what is asked again when a request is refused."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec

from zvt_crypto.connectors.bybit.ws import BybitProtocol
from zvt_crypto.connectors.okx.ws import OkxProtocol
from zvt_crypto.core.record import Book, Quote, Trade
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.stream import (
    Refused,
    SequenceBreak,
    Socket,
    SocketListener,
    StreamProtocol,
    Target,
)
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.connection import Connection

Answer = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]


class ScriptedSocket:
    """A socket whose other side answers each request by a function."""

    def __init__(self, listener: SocketListener, answer: Answer) -> None:
        self._listener = listener
        self._answer = answer
        self.requests: list[dict[str, Any]] = []

    def send(self, frame: bytes) -> None:
        request = json.loads(frame)
        self.requests.append(request)
        for reply in self._answer(request):
            frame = json.dumps(reply).encode()
            asyncio.get_running_loop().call_soon(self._listener.on_frames, [frame])

    def ping(self) -> None:
        self._listener.on_alive()

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def close(self) -> None:
        self._listener.on_closed("closed by us")


class ScriptedDialer:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.sockets: list[ScriptedSocket] = []

    async def dial(self, url: str, listener: SocketListener, *, max_frame_bytes: int) -> Socket:
        del url, max_frame_bytes
        self.sockets.append(ScriptedSocket(listener, self._answer))
        return self.sockets[-1]


class NotingRouter:
    """Remembers which topics the exchange does not give."""

    def __init__(self) -> None:
        self.trades: dict[str, Callable[[Trade], None]] = {}
        self.quotes: dict[str, Callable[[Quote], None]] = {}
        self.books: dict[str, Callable[[object, Book], None]] = {}
        self.refusals: list[tuple[str, str]] = []
        self.asked: list[list[str]] = []
        self.retired: list[str] = []

    def other(self, record: Any) -> None: ...

    def refused(self, connection: Connection, refused: Refused) -> None: ...

    def broke(self, connection: Connection, gap: SequenceBreak) -> None: ...

    def opened(self, connection: Connection, topics: Sequence[str]) -> None:
        del connection
        self.asked.append(list(topics))

    def lost(self, connection: Connection, detail: str) -> None: ...

    def rejected(self, connection: Connection, topic: str, detail: str) -> None:
        del connection
        self.refusals.append((topic, detail))

    def retire(self, connection: Connection, detail: str) -> None:
        del connection
        self.retired.append(detail)


def anything(route: str, native: str) -> Sequence[Target]:
    del route, native
    return ()


async def at_once() -> None: ...


@asynccontextmanager
async def connected(
    protocol: StreamProtocol, route: str, topics: Sequence[str], answer: Answer
) -> AsyncGenerator[tuple[Connection, NotingRouter, list[dict[str, Any]]], None]:
    """Give a connection that carries topics, its router and what it sent."""
    dialer, router = ScriptedDialer(answer), NotingRouter()
    connection = Connection(
        "one", route, protocol, dialer=dialer, resolve=anything, router=router,
        config=StreamConfig(), clock=SystemClock(), rng=Random(1), admit=at_once,
    )  # fmt: skip
    connection.add(topics)
    running = asyncio.ensure_future(connection.run())
    try:
        async with asyncio.timeout(10):
            await connection.ready.wait()
            yield connection, router, dialer.sockets[0].requests
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Bybit:
    """Refuses a request with one wrong topic as a whole, and names the topic in its text only."""

    def __init__(self, *bad: str, echoes_id: bool) -> None:
        self.bad = set(bad)
        self.held: list[str] = []
        self._echoes_id = echoes_id

    def answer(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        wrong = [topic for topic in request["args"] if topic in self.bad]
        if wrong:
            refusal = {"success": False, "ret_msg": f"Invalid symbol :[{wrong[0]}]",
                       "conn_id": "x", "op": "subscribe"}  # fmt: skip
            yield {**refusal, "req_id": request["req_id"]} if self._echoes_id else refusal
            return
        self.held += request["args"]
        yield {"success": True, "ret_msg": "", "conn_id": "x", "op": "subscribe",
               "req_id": request["req_id"]}  # fmt: skip


async def settled(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.01)


async def _nine_of_ten(echoes_id: bool) -> None:
    topics = [f"publicTrade.COIN{n}USDT" for n in range(19)] + ["publicTrade.BADUSDT"]
    bybit = Bybit("publicTrade.BADUSDT", echoes_id=echoes_id)

    async with connected(BybitProtocol(), "spot", topics, bybit.answer) as (one, router, sent):
        await settled(lambda: len(bybit.held) == 19 and bool(router.refusals))

        # the good request was not repeated; of the bad one every topic was asked for by itself
        assert [len(request["args"]) for request in sent] == [10, 10, *[1] * 10]
        assert sorted(bybit.held) == sorted(topics[:19])
        ((topic, detail),) = router.refusals
        assert topic == "publicTrade.BADUSDT"
        assert "Invalid symbol" in detail
        assert one.is_open


async def test_of_a_request_refused_without_its_id_each_topic_is_asked_for_by_itself() -> None:
    await _nine_of_ten(echoes_id=False)


async def test_of_a_request_refused_by_its_id_each_topic_is_asked_for_by_itself() -> None:
    await _nine_of_ten(echoes_id=True)


async def test_a_refused_topic_is_told_once_and_asked_for_again_later() -> None:
    bybit = Bybit("publicTrade.BADUSDT", echoes_id=False)
    topics = ["publicTrade.BADUSDT"]

    async with connected(BybitProtocol(), "spot", topics, bybit.answer) as (one, router, sent):
        await settled(lambda: bool(router.refusals))
        one.tick(SystemClock().now_us() + 1_500_000)
        await settled(lambda: len(sent) == 2)
        assert len(router.refusals) == 1
        bybit.bad.clear()
        one.tick(SystemClock().now_us() + 4_000_000)
        await settled(lambda: bybit.held == topics)


async def test_a_refusal_of_one_topic_leaves_the_others_of_its_request_alone() -> None:
    # OKX acknowledges topic by topic, all under the id of their request.
    topics = ["trades:BAD-USDT", "trades:BTC-USDT", "trades:ETH-USDT"]

    def answer(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for arg in request["args"]:
            if arg["instId"] == "BAD-USDT":
                text = "Wrong URL or channel:trades,instId:BAD-USDT doesn't exist."
                yield {"id": request["id"], "event": "error", "code": "60018", "msg": text}
            else:
                yield {"id": request["id"], "event": "subscribe", "arg": arg}

    async with connected(OkxProtocol(), "public", topics, answer) as (one, router, sent):
        await settled(lambda: bool(router.refusals))
        await asyncio.sleep(0.05)

        assert [topic for topic, _ in router.refusals] == ["trades:BAD-USDT"]
        assert len(sent) == 1
        assert one.active == set(topics)


async def test_many_topics_are_renewed_in_as_few_requests_as_one() -> None:
    # given twenty topics of which fifteen are to be renewed in the same moment
    topics = [f"trades:COIN{n}-USDT" for n in range(20)]

    def answer(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        del request
        return iter(())

    async with connected(OkxProtocol(), "public", topics, answer) as (one, router, sent):
        for topic in topics[:15]:
            one.renew(topic)
        assert len(sent) == 1
        await settled(lambda: len(router.asked) == 2)

        # then the exchange gets two requests, not thirty, and only these feeds begin anew
        assert [(each["op"], len(each["args"])) for each in sent[1:]] == [
            ("unsubscribe", 15),
            ("subscribe", 15),
        ]
        assert router.asked == [topics, topics[:15]]
        assert one.active == set(topics)


async def test_a_refused_topic_is_not_there_until_the_exchange_gives_it() -> None:
    bybit = Bybit("publicTrade.BADUSDT", echoes_id=True)
    topics = ["publicTrade.BADUSDT"]

    async with connected(BybitProtocol(), "spot", topics, bybit.answer) as (one, router, sent):
        # given a topic that was asked for, and refused, twice
        await settled(lambda: bool(router.refusals))
        one.tick(SystemClock().now_us() + 1_500_000)
        await settled(lambda: len(sent) == 2 and topics[0] in one._again_us)
        assert router.asked == [topics]

        # when the exchange has it after all
        bybit.bad.clear()
        one.tick(SystemClock().now_us() + 4_000_000)
        await settled(lambda: len(router.asked) == 2)
        assert bybit.held == topics


async def test_a_socket_whose_requests_of_the_hour_are_used_up_is_replaced() -> None:
    # given a socket that may ask four times an hour, and has asked once
    topics = ["trades:BTC-USDT", "trades:ETH-USDT"]

    def answer(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        del request
        return iter(())

    async with connected(OkxProtocol(), "public", topics, answer) as (one, router, sent):
        one.limits = msgspec.structs.replace(
            one.limits, messages_per_s=1_000.0, requests_per_hour=4
        )
        # when topics are renewed twice, by two requests each
        one.renew(topics[0])
        await settled(lambda: len(router.asked) == 2)
        one.renew(topics[1])

        # then the one beyond is not sent, and a new socket is asked for
        await settled(lambda: bool(router.retired))
        assert router.retired == ["its requests of this hour are used up"]
        assert [each["op"] for each in sent] == [
            "subscribe", "unsubscribe", "subscribe", "unsubscribe",
        ]  # fmt: skip
