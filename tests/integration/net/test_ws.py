"""`WsDialer` against real servers: frames, signs of life, ends, and handshakes that fail."""

import asyncio
import base64
import contextlib
import gc
import hashlib
import re
import socket
import ssl
import subprocess
import warnings
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import picows
import pytest

from zvt_crypto.core.errors import GeoBlocked, NetworkFault, RateLimited, ServerFault
from zvt_crypto.net.ws import WsDialer
from zvt_crypto.ports.stream import Socket

MOST = 4 << 20
TEXT, BINARY, CONTINUATION = (
    picows.WSMsgType.TEXT,
    picows.WSMsgType.BINARY,
    picows.WSMsgType.CONTINUATION,
)


class Listening:
    """Keeps what a socket tells."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.batches: list[int] = []
        self.alive = 0
        self.ends: list[str] = []

    def on_frames(self, frames: Sequence[bytes]) -> None:
        self.frames += frames
        self.batches.append(len(frames))

    def on_alive(self) -> None:
        self.alive += 1

    def on_closed(self, detail: str) -> None:
        self.ends.append(detail)


class Exchange(picows.WSListener):
    """The server's end of one socket: keeps what comes, answers close frames by closing."""

    def __init__(self) -> None:
        super().__init__()
        self.transport: picows.WSTransport
        self.received: list[tuple[picows.WSMsgType, bytes]] = []
        self.opened = asyncio.Event()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport
        self.opened.set()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self.received.append((frame.msg_type, frame.get_payload_as_bytes()))
        if frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def payloads(self, kind: picows.WSMsgType) -> list[bytes]:
        return [payload for one, payload in self.received if one == kind]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def exchange_at(
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[tuple[Exchange, str], None]:
    exchange = Exchange()
    server = await picows.ws_create_server(
        lambda _request: exchange, "127.0.0.1", 0, ssl=tls, enable_auto_pong=False
    )
    port = server.sockets[0].getsockname()[1]
    scheme = "ws" if tls is None else "wss"
    try:
        yield exchange, f"{scheme}://127.0.0.1:{port}/stream"
    finally:
        server.close()


@asynccontextmanager
async def connected(
    most: int = MOST,
) -> AsyncGenerator[tuple[Exchange, Listening, Socket], None]:
    async with exchange_at() as (exchange, url):
        listening = Listening()
        socket = await WsDialer("binance").dial(url, listening, max_frame_bytes=most)
        await asyncio.wait_for(exchange.opened.wait(), 5)
        try:
            yield exchange, listening, socket
        finally:
            await socket.close()


@asynccontextmanager
async def answering(answer: bytes, *, resets: bool = False) -> AsyncGenerator[str, None]:
    """Serve one answer to whatever is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if resets:
            writer.transport.abort()
        else:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


# -- frames ---------------------------------------------------------------------------------------


async def test_text_and_binary_frames_arrive_whole_and_in_order() -> None:
    async with connected() as (exchange, listening, _):
        for number in range(500):
            exchange.transport.send(TEXT, f'{{"n":{number}}}'.encode())
        exchange.transport.send(BINARY, b"\x00\xff")

        await until(lambda: len(listening.frames) == 501)
        assert listening.frames[:500] == [f'{{"n":{n}}}'.encode() for n in range(500)]
        assert listening.frames[500] == b"\x00\xff"


async def test_frames_of_one_read_are_handed_over_together_and_none_waits_for_the_next() -> None:
    # given a read of many small frames, then a ping, half a frame, and nothing more for now
    numbers = [f'{{"n":{number}}}'.encode() for number in range(200)]
    whole = b"".join(b"\x81" + bytes([len(one)]) + one for one in numbers)
    async with connected() as (exchange, listening, _):
        raw = exchange.transport.underlying_transport
        raw.write(whole + b"\x89\x00" + b"\x81\x08{")

        # then all whole ones have come, in few calls
        await until(lambda: listening.alive == 1 and len(listening.frames) == 200)
        assert listening.frames == numbers
        assert len(listening.batches) < 20

        # and the half one comes with its other half, also if the socket ends right behind it
        raw.write(b'"n":-1}' + b"\x88\x02\x03\xe8")
        await until(lambda: bool(listening.ends))
        assert listening.frames[200:] == [b'{"n":-1}']


async def test_a_fragmented_message_is_joined_though_a_ping_comes_between() -> None:
    async with connected() as (exchange, listening, _):
        exchange.transport.send(TEXT, b"one ", fin=False)
        exchange.transport.send(CONTINUATION, b"two ", fin=False)
        exchange.transport.send_ping(b"between")
        exchange.transport.send(CONTINUATION, b"three", fin=True)
        exchange.transport.send(TEXT, b"next")

        await until(lambda: len(listening.frames) == 2)
        assert listening.frames == [b"one two three", b"next"]


async def test_a_message_as_large_as_allowed_arrives() -> None:
    giant = bytes(range(32, 127)) * (3 << 14)
    async with connected(len(giant) + 64) as (exchange, listening, _):
        exchange.transport.send(TEXT, giant)

        await until(lambda: bool(listening.frames))
        assert zlib.crc32(listening.frames[0]) == zlib.crc32(giant)
        assert not listening.ends


async def test_a_message_beyond_the_allowed_size_ends_the_socket() -> None:
    async with connected(1 << 20) as (exchange, listening, _):
        exchange.transport.send(TEXT, b"x" * (2 << 20))

        await until(lambda: bool(listening.ends))
        assert listening.frames == []


async def test_fragments_beyond_the_allowed_size_end_the_socket() -> None:
    async with connected(10_000) as (exchange, listening, _):
        exchange.transport.send(TEXT, b"x" * 6_000, fin=False)
        exchange.transport.send(CONTINUATION, b"x" * 6_000, fin=False)

        await until(lambda: bool(listening.ends))
        assert listening.ends == ["a message of over 10000 bytes"]
        assert listening.frames == []


async def test_what_is_sent_is_a_text_frame() -> None:
    async with connected() as (exchange, _, socket):
        socket.send(b'{"op":"subscribe"}')

        await until(lambda: bool(exchange.received))
        assert exchange.received == [(TEXT, b'{"op":"subscribe"}')]


# -- signs of life --------------------------------------------------------------------------------


async def test_a_ping_is_answered_with_its_payload_and_counts_as_life() -> None:
    # Binance pings with a time, and cuts a socket that answers with another one. A socket on which
    # all topics are quiet lives by these alone.
    async with connected() as (exchange, listening, _):
        exchange.transport.send_ping(b"1790000000000")
        exchange.transport.send_ping(b"")

        await until(lambda: listening.alive == 2)
        await until(lambda: len(exchange.payloads(picows.WSMsgType.PONG)) == 2)
        assert exchange.payloads(picows.WSMsgType.PONG) == [b"1790000000000", b""]
        assert listening.frames == []


async def test_the_answer_to_our_ping_counts_as_life() -> None:
    async with connected() as (exchange, listening, socket):
        socket.ping()

        await until(lambda: listening.alive == 1)
        assert len(exchange.payloads(picows.WSMsgType.PING)) == 1


async def test_a_paused_socket_reads_nothing_until_it_is_resumed() -> None:
    async with connected() as (exchange, listening, socket):
        socket.pause()
        socket.pause()
        exchange.transport.send(TEXT, b"held back")
        await asyncio.sleep(0.1)
        assert listening.frames == []

        socket.resume()
        socket.resume()
        await until(lambda: listening.frames == [b"held back"])


# -- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (picows.WSCloseCode.OK, b"bye"),
        (picows.WSCloseCode.GOING_AWAY, b""),
        (picows.WSCloseCode.POLICY_VIOLATION, b"Pong timeout"),
        (4003, b"too many channels"),
    ],
)
async def test_the_code_and_reason_of_a_close_are_told_once(code: Any, reason: bytes) -> None:
    async with connected() as (exchange, listening, socket):
        exchange.transport.send_close(code, reason)

        await until(lambda: bool(listening.ends))
        await socket.close()
        socket.send(b"into the void")
        assert listening.ends == [f"closed by the exchange: {int(code)} {reason!r}"]


async def test_a_connection_that_is_reset_is_told_once() -> None:
    async with connected() as (exchange, listening, socket):
        exchange.transport.disconnect(graceful=False)

        await until(lambda: bool(listening.ends))
        await socket.close()
        assert listening.ends == ["the connection broke"]


async def test_a_close_of_ours_is_answered_and_told() -> None:
    async with connected() as (exchange, listening, socket):
        async with asyncio.timeout(1.5):
            await socket.close()

        assert listening.ends == ["closed by us"]
        assert len(exchange.payloads(picows.WSMsgType.CLOSE)) == 1


# -- handshakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("451 Unavailable For Legal Reasons", GeoBlocked),
        ("429 Too Many Requests", RateLimited),
        ("503 Service Unavailable", ServerFault),
        ("404 Not Found", ServerFault),
    ],
)
async def test_a_refused_handshake_is_told_by_its_status(
    status: str, error: type[Exception]
) -> None:
    async with answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as url:
        with pytest.raises(error) as caught:
            await WsDialer("bybit", geo_remedy="Use another exchange").dial(
                url, Listening(), max_frame_bytes=MOST
            )
    if error is ServerFault:
        assert status[:3] in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Swit", b"hello\r\n\r\n"])
@pytest.mark.parametrize("resets", [True, False])
async def test_a_handshake_that_breaks_off_is_a_fault_of_the_network(
    answer: bytes, resets: bool
) -> None:
    async with answering(answer, resets=resets) as url:
        with pytest.raises(NetworkFault, match="WebSocket"):
            await WsDialer("okx").dial(url, Listening(), max_frame_bytes=MOST)


async def test_nobody_there_is_a_fault_of_the_network() -> None:
    async with answering(b"") as url:
        pass
    with pytest.raises(NetworkFault, match="WebSocket"):
        await WsDialer("okx").dial(url, Listening(), max_frame_bytes=MOST)


# -- what is not wanted any more ------------------------------------------------------------------


class Silent:
    """A server that takes connections, answers as it is told, and sees when they end."""

    def __init__(self, *, shakes_hands: bool) -> None:
        self._shakes_hands = shakes_hands
        self.came = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if self._shakes_hands:
            key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
            assert key is not None
            guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key[1] + guid).digest())
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        self.came.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1_000):
                pass
        self.gone.set()
        writer.close()


@asynccontextmanager
async def silent(*, shakes_hands: bool) -> AsyncGenerator[tuple[Silent, str], None]:
    peer = Silent(shakes_hands=shakes_hands)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    try:
        yield peer, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@pytest.fixture
def unclosed() -> Generator[list[str]]:
    """Collect what is said of sockets that nobody closed; there must be none at the end."""
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ResourceWarning)
        warnings.showwarning = lambda message, *_args, **_more: told.append(str(message))
        yield told
        gc.collect()
    assert told == []


async def test_a_dial_cancelled_in_its_handshake_leaves_no_socket(unclosed: list[str]) -> None:
    async with silent(shakes_hands=False) as (peer, url):
        # given a dial that waits for the answer to its handshake
        dialling = asyncio.ensure_future(
            WsDialer("okx").dial(url, Listening(), max_frame_bytes=MOST)
        )
        async with asyncio.timeout(5):
            await peer.came.wait()

        # when it is cancelled, and cancelled again while it cleans up
        dialling.cancel()
        await asyncio.sleep(0)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling

        # then the server sees the end of it at once
        async with asyncio.timeout(1):
            await peer.gone.wait()
    assert unclosed == []


async def test_a_dial_cancelled_before_anybody_answers_leaves_no_socket(
    unclosed: list[str],
) -> None:
    # given a server whose backlog is full, so that a connection is neither taken nor refused
    with socket.socket() as listening, contextlib.ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        dialling = asyncio.ensure_future(
            WsDialer("okx").dial(url, Listening(), max_frame_bytes=MOST)
        )
        await asyncio.sleep(0.2)
        assert not dialling.done()

        # when it is cancelled, then it ends at once
        dialling.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await dialling
    assert unclosed == []


async def test_a_close_that_is_cancelled_leaves_no_socket(unclosed: list[str]) -> None:
    async with silent(shakes_hands=True) as (peer, url):
        # given a socket that says goodbye to somebody who does not answer
        listening = Listening()
        opened = await WsDialer("okx").dial(url, listening, max_frame_bytes=MOST)
        closing = asyncio.ensure_future(opened.close())
        await asyncio.sleep(0.05)
        assert not peer.gone.is_set()

        # when whoever waits for that is cancelled
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

        # then it is cut, and said to be, once
        async with asyncio.timeout(1):
            await peer.gone.wait()
        await until(lambda: bool(listening.ends))
        assert listening.ends == ["closed by us"]
    assert unclosed == []


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 that its own key signed, and the key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_a_certificate_is_trusted_only_if_the_settings_name_it(
    certificate: tuple[Path, Path],
) -> None:
    cert, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    async with exchange_at(tls) as (exchange, url):
        with pytest.raises(NetworkFault, match=r"(?i)certificate"):
            await WsDialer("okx").dial(url, Listening(), max_frame_bytes=MOST)

        listening = Listening()
        dialer = WsDialer("okx", trust=str(cert))
        socket = await dialer.dial(url, listening, max_frame_bytes=MOST)
        await asyncio.wait_for(exchange.opened.wait(), 5)
        exchange.transport.send(TEXT, b"in private")
        await until(lambda: listening.frames == [b"in private"])
        await socket.close()
