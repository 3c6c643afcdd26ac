"""The HTTP client against servers that behave, and servers that do not."""

import asyncio
import contextlib
import functools
import gzip
import socket
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from zvt_crypto import __version__
from zvt_crypto.core.errors import (
    BodyTooLarge,
    DataError,
    MalformedPayload,
    NetworkFault,
    RequestRejected,
)
from zvt_crypto.net.http import HttpClient, HttpConfig

TEXT = b'[["1767225600000","87650.10"]]' * 5_000
PATIENT = HttpConfig(connect_timeout_s=10, read_timeout_s=10, total_timeout_s=20)

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: Raw) -> AsyncGenerator[str]:
    """Serve bytes that no HTTP library would send."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def seen() -> list[web.Request]:
    """Return the requests that arrived."""
    return []


@functools.cache
def bomb() -> bytes:
    stream = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    return b"".join([stream.compress(zeros) for _ in range(64)]) + stream.flush()


NOISE = bytes(range(256)) * 40_000
PAGES: dict[str, Callable[[], web.StreamResponse]] = {
    "/plain": lambda: web.Response(body=TEXT),
    "/gzip": lambda: encoded("gzip", gzip.compress(TEXT)),
    "/zstd": lambda: encoded("zstd", zstandard.ZstdCompressor().compress(TEXT)),
    "/bomb": lambda: encoded("gzip", bomb()),
    "/not-gzip": lambda: encoded("gzip", b"<html>"),
    "/noise": lambda: encoded("gzip", gzip.compress(NOISE, compresslevel=0)),
    "/empty": lambda: web.Response(status=204, headers={"Content-Encoding": "gzip"}),
    "/moved": lambda: web.Response(status=302, headers={"Location": "/plain"}),
    "/limited": lambda: web.json_response(
        {"code": -1003}, status=429, headers={"Retry-After": "7"}
    ),
}


def encoded(encoding: str, body: bytes) -> web.Response:
    headers = {"Content-Encoding": encoding, "X-MBX-USED-WEIGHT-1M": "12"}
    return web.Response(body=body, headers=headers)


async def chunked(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for start in range(0, len(TEXT), 1_000):
        await response.write(TEXT[start : start + 1_000])
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client has heard enough
        while True:
            await response.write(bytes(1 << 16))
    return response


async def slow(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1)
    return web.Response(body=b"late")


async def echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read())


async def page(request: web.Request) -> web.StreamResponse:
    made = PAGES.get(request.path, lambda: web.Response(status=404, body=b"nothing here"))
    return made()


@pytest.fixture
async def url(seen: list[web.Request]) -> AsyncIterator[str]:
    handlers = {"/chunked": chunked, "/endless": endless, "/slow": slow, "/echo": echo}

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await handlers.get(request.path, page)(request)

    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient("okx", PATIENT) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/plain", "/gzip", "/zstd", "/chunked"])
async def test_bodies_arrive_as_meant(client: HttpClient, url: str, path: str):
    reply = await client.get(url + path)
    assert reply.status == 200
    assert reply.body == TEXT
    assert 0 < reply.elapsed_s < 5


async def test_large_bodies_are_decoded_beside_the_loop(client: HttpClient, url: str):
    reply = await client.get(f"{url}/noise")
    assert reply.body == NOISE


async def test_who_we_are_and_what_we_take_is_said(
    client: HttpClient, url: str, seen: list[web.Request]
):
    reply = await client.get(f"{url}/gzip", headers={"X-Key": "k"})
    assert seen[0].headers["User-Agent"] == f"zvt-crypto/{__version__}"
    assert seen[0].headers["Accept-Encoding"] == "gzip, zstd"
    assert seen[0].headers["X-Key"] == "k"
    assert reply.headers["x-mbx-used-weight-1m"] == "12"


@pytest.mark.parametrize(
    "case",
    [
        ("/plain?b=1&a=%2C%2c+x&c", None, "/plain?b=1&a=%2C%2c+x&c"),
        ("/plain?cursor=first%253D1", None, "/plain?cursor=first%253D1"),
        ("/plain", {"b": "x/y z", "a": 2}, "/plain?b=x%2Fy%20z&a=2"),
        ("/plain?a=1", {"b": "1,2"}, "/plain?a=1&b=1%2C2"),
        (
            "/plain?symbol=币安人生USDT",
            None,
            "/plain?symbol=" + "%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT",
        ),
        ("/%2Fplain//x", None, "/%2Fplain//x"),
    ],
)
async def test_queries_go_out_byte_for_byte(
    client: HttpClient,
    url: str,
    seen: list[web.Request],
    case: tuple[str, dict[str, str | int] | None, str],
):
    tail, params, arrives = case
    await client.get(url + tail, params=params)
    assert seen[0].raw_path == arrives


async def test_every_status_is_handed_back(client: HttpClient, url: str, seen: list[web.Request]):
    limited = await client.get(f"{url}/limited")
    assert (limited.status, limited.headers["retry-after"]) == (429, "7")
    assert limited.body == b'{"code": -1003}'
    assert (await client.get(f"{url}/absent")).status == 404
    assert (await client.get(f"{url}/empty")).body == b""
    moved = await client.get(f"{url}/moved")
    assert (moved.status, moved.headers["location"]) == (302, "/plain")
    assert len(seen) == 4


async def test_other_methods_carry_a_body(client: HttpClient, url: str, seen: list[web.Request]):
    reply = await client.request("POST", f"{url}/echo", body=b'{"a":1}')
    assert (seen[0].method, reply.body) == ("POST", b'{"a":1}')


async def test_connections_are_reused_and_limited(url: str, seen: list[web.Request]):
    config = HttpConfig(connections_per_host=3)
    async with HttpClient("okx", config) as client:
        for _ in range(5):
            await client.get(f"{url}/gzip")
        assert len({_port(request) for request in seen}) == 1
        await asyncio.gather(*[client.get(f"{url}/gzip") for _ in range(20)])
    assert len({_port(request) for request in seen}) == 3


def _port(request: web.Request) -> int:
    # Kept by the server's side of each connection; the transport itself may be gone by now.
    return id(request.protocol)


@pytest.mark.parametrize("path", ["/plain", "/chunked", "/gzip", "/zstd", "/bomb", "/endless"])
async def test_giant_bodies_are_refused_and_the_client_lives_on(
    client: HttpClient, url: str, path: str
):
    with pytest.raises(BodyTooLarge):
        await client.get(url + path, max_body_bytes=len(TEXT) - 1)
    assert (await client.get(f"{url}/plain")).status == 200


async def test_a_body_of_exactly_the_bound_is_taken(client: HttpClient, url: str):
    for path in ("/plain", "/chunked", "/gzip", "/zstd"):
        reply = await client.get(url + path, max_body_bytes=len(TEXT))
        assert reply.body == TEXT


async def test_corrupt_encodings_are_data_errors(client: HttpClient, url: str):
    with pytest.raises(MalformedPayload):
        await client.get(f"{url}/not-gzip")


async def test_silence_is_a_network_fault(url: str):
    async with HttpClient("okx", HttpConfig(read_timeout_s=0.1)) as client:
        with pytest.raises(NetworkFault, match="okx"):
            await client.get(f"{url}/slow")


async def test_the_total_time_is_bounded_though_bytes_trickle():
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    config = HttpConfig(read_timeout_s=0.3, total_timeout_s=0.4)
    async with raw_server(trickle) as url, HttpClient("okx", config) as client:
        with pytest.raises(NetworkFault):
            await client.get(url)


async def test_a_reset_in_the_middle_of_a_body_is_a_network_fault(client: HttpClient):
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(5_000))
        await writer.drain()
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with raw_server(reset) as url:
        with pytest.raises(NetworkFault):
            await client.get(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + bytes(20_000) + b"\r\n\r\n",
    ],
    ids=["short", "chunk cut", "bad chunk", "nothing", "other protocol", "huge header"],
)
async def test_broken_replies_are_network_faults(client: HttpClient, answer: bytes):
    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw_server(send) as url:
        with pytest.raises(NetworkFault) as caught:
            await client.get(f"{url}/path?signature=secret")
    assert "secret" not in str(caught.value)


async def test_refused_and_unknown_hosts_are_network_faults(client: HttpClient):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NetworkFault):
        await client.get(f"http://127.0.0.1:{port}/")
    with pytest.raises(NetworkFault):
        await client.get("http://no-such-host.invalid/")


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host/x", "http://", "http://h:port/"])
async def test_what_is_no_address_is_rejected(client: HttpClient, url: str):
    with pytest.raises(RequestRejected):
        await client.get(url)


async def test_requests_go_through_the_proxy_and_its_password_is_not_shown(
    url: str, seen: list[web.Request]
):
    config = HttpConfig(proxy=url.replace("http://", "http://user:hunter2@"))
    assert "hunter2" not in repr(config)
    async with HttpClient("okx", config) as client:
        await client.get("http://api.example.com/plain?a=1")
    assert seen[0].raw_path == "http://api.example.com/plain?a=1"
    assert seen[0].headers["Proxy-Authorization"].startswith("Basic ")
    with pytest.raises(ValueError, match="proxy"):
        HttpConfig(proxy="socks5://host:1")


async def test_a_client_opens_with_its_first_call_and_never_after_closing(url: str):
    client = HttpClient("okx")
    assert (await client.get(f"{url}/plain")).body == TEXT
    await client.close()
    with pytest.raises(RuntimeError, match="closed"):
        await client.get(f"{url}/plain")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class TestDownload:
    async def test_a_file_appears_whole(
        self, client: HttpClient, url: str, tmp_path: Path, seen: list[web.Request]
    ):
        sizes: list[int] = []
        target = tmp_path / "a.zip"
        target.write_bytes(b"older")

        reply = await client.download(
            f"{url}/plain", target, max_bytes=len(TEXT), on_bytes=sizes.append
        )

        assert (reply.status, reply.body) == (200, b"")
        assert target.read_bytes() == TEXT
        assert sum(sizes) == len(TEXT)
        assert names(tmp_path) == [target.name]
        assert seen[0].headers["Accept-Encoding"] == "identity"

    async def test_bytes_are_kept_as_sent(self, client: HttpClient, url: str, tmp_path: Path):
        await client.download(f"{url}/gzip", tmp_path / "a.csv.gz", max_bytes=1 << 20)
        assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == TEXT

    async def test_redirects_are_followed(self, client: HttpClient, url: str, tmp_path: Path):
        await client.download(f"{url}/moved", tmp_path / "a", max_bytes=1 << 20)
        assert (tmp_path / "a").read_bytes() == TEXT

    async def test_an_absent_file_leaves_nothing(
        self, client: HttpClient, url: str, tmp_path: Path
    ):
        reply = await client.download(f"{url}/absent", tmp_path / "a.zip", max_bytes=1 << 20)
        assert (reply.status, reply.body) == (404, b"nothing here")
        assert not names(tmp_path)

    @pytest.mark.parametrize("path", ["/plain", "/endless"])
    async def test_a_file_over_the_bound_leaves_nothing(
        self, client: HttpClient, url: str, tmp_path: Path, path: str
    ):
        with pytest.raises(BodyTooLarge) as caught:
            await client.download(url + path, tmp_path / "a.zip", max_bytes=100_000)
        assert isinstance(caught.value, DataError)
        assert not names(tmp_path)

    async def test_a_broken_transfer_leaves_what_was_there(
        self, client: HttpClient, tmp_path: Path
    ):
        target = tmp_path / "a.zip"
        target.write_bytes(b"older")

        async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
            await writer.drain()

        async with raw_server(cut) as url:
            with pytest.raises(NetworkFault):
                await client.download(url, target, max_bytes=1 << 20)
        assert target.read_bytes() == b"older"
        assert names(tmp_path) == [target.name]

    async def test_a_cancelled_download_leaves_nothing(
        self, client: HttpClient, url: str, tmp_path: Path
    ):
        begun = asyncio.Event()
        task = asyncio.create_task(
            client.download(
                f"{url}/endless",
                tmp_path / "a.zip",
                max_bytes=1 << 40,
                on_bytes=lambda _: begun.set(),
            )
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not names(tmp_path)

    async def test_a_folder_that_is_not_there_is_no_network_fault(
        self, client: HttpClient, url: str, tmp_path: Path
    ):
        with pytest.raises(FileNotFoundError):
            await client.download(f"{url}/plain", tmp_path / "no" / "a", max_bytes=1 << 20)
