"""HTTP to one exchange: bounded in size and time, and silent about aiohttp.

What goes wrong on the way becomes one of our errors; what the exchange says, status and all, is
handed back as it is, because every exchange means something else by it.
"""

import asyncio
import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from zvt_crypto.core.errors import BodyTooLarge, NetworkFault, RequestRejected
from zvt_crypto.net.body import ACCEPT_ENCODING, decode_body

# Decoding this much takes about a millisecond: more would be felt by live streams on the loop.
_DECODE_INLINE_BYTES: Final = 256 * 1024
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
# Some of aiohttp's errors name the whole URL, and a query may carry a signature.
_QUERY: Final = re.compile(r"\?[^\s'\"]*")
# Not OSError: a full disk under `download` is no fault of the network.
_NETWORK: Final = (aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """How to reach an exchange.

    Attributes:
        proxy: `http://[user:password@]host:port`; kept out of the repr.
        connect_timeout_s: for TCP and TLS together.
        read_timeout_s: longest silence while a reply arrives.
        total_timeout_s: bound on one `get`, waiting for a free connection included.
        max_body_bytes: bound on a body, on the wire and decompressed.
        connections_per_host: further requests wait for a free one.
        keepalive_s: how long an unused connection is kept.
        read_buffer_bytes: aiohttp stops reading from the socket at twice this.
    """

    proxy: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    total_timeout_s: float = 90.0
    max_body_bytes: int = 64 << 20
    connections_per_host: int = 32
    keepalive_s: float = 45.0
    read_buffer_bytes: int = 1 << 18

    def __post_init__(self) -> None:
        if self.proxy is not None and not self.proxy.startswith(("http://", "https://")):
            raise ValueError("a proxy is http://host:port or https://host:port")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What an exchange answered; `body` is decompressed, `headers` ignore case.

    `elapsed_s` runs from the call to the last byte, so it includes the wait for a connection.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float


class HttpClient:
    """Keep-alive connections to the hosts of one exchange; an `async with`, or closed by hand.

    The first call opens it.

    Redirects are not followed by `get`: no documented endpoint answers with one, and a signed
    request must not wander.
    """

    def __init__(self, exchange: str, config: HttpConfig | None = None) -> None:
        self._exchange = exchange
        self._config = config or HttpConfig()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; further calls are refused, so that none is left open."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        max_body_bytes: int | None = None,
    ) -> HttpReply:
        """Return the reply to a GET, whatever its status.

        Args:
            url: sent byte for byte, query included; only what is not ASCII is encoded.
            params: appended in the order given, percent-encoded once.
            headers: added to the client's own.
            max_body_bytes: overrides the configured bound.

        Raises:
            NetworkFault: no whole reply came: refused, reset, timed out, name not found.
            BodyTooLarge: the body exceeds the bound, on the wire or decompressed.
            MalformedPayload: the body is not what `Content-Encoding` says.
            RequestRejected: `url` is none.
        """
        return await self.request(
            "GET", url, params=params, headers=headers, max_body_bytes=max_body_bytes
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_body_bytes: int | None = None,
    ) -> HttpReply:
        """Return the reply to any method; as `get` otherwise."""
        limit = self._config.max_body_bytes if max_body_bytes is None else max_body_bytes
        session = self._opened()
        started = time.perf_counter()
        try:
            async with session.request(
                method,
                self._target(url, params),
                headers=headers,
                data=body,
                proxy=self._config.proxy,
                allow_redirects=False,
            ) as reply:
                content = await self._read(reply, limit)
        except _NETWORK as e:
            raise self._fault(e) from e
        encoding = reply.headers.get("Content-Encoding", "")
        if content and encoding:
            content = await self._decode(encoding, content, limit)
        return HttpReply(reply.status, reply.headers, content, time.perf_counter() - started)

    async def size(self, url: str) -> int | None:
        """Return how many bytes a file has; None if the server does not say.

        Raises:
            NetworkFault: no reply came.
            RequestRejected: `url` is none.
        """
        try:
            async with self._opened().head(
                self._target(url, None),
                headers={"Accept-Encoding": "identity"},
                proxy=self._config.proxy,
                allow_redirects=True,
            ) as reply:
                return reply.content_length if reply.status == HTTPStatus.OK else None
        except _NETWORK as e:
            raise self._fault(e) from e

    async def download(
        self,
        url: str,
        target: Path,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> HttpReply:
        """Stream a file to `target`, which appears only when it is whole.

        The bytes are kept as sent: an archive's checksum is over these. Any status but 200 leaves
        `target` alone and returns the (short) body instead. There is no bound on the total time,
        only on silence. The file is not fsynced: it can be fetched again.

        Args:
            url: as in `get`; redirects are followed.
            target: file to create or replace; its folder must exist.
            max_bytes: bound on the file.
            headers: added to the client's own.
            on_bytes: called with the size of each chunk written.

        Raises:
            NetworkFault: the file did not come whole.
            BodyTooLarge: it exceeds `max_bytes`.
            RequestRejected: `url` is none.
        """
        session = self._opened()
        started = time.perf_counter()
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        content = b""
        try:
            async with session.get(
                self._target(url, None),
                headers={"Accept-Encoding": "identity", **(headers or {})},
                proxy=self._config.proxy,
                timeout=self._timeout(total_s=None),
            ) as reply:
                if reply.status == HTTPStatus.OK:
                    await self._write(reply, part, max_bytes, on_bytes)
                    part.replace(target)
                else:
                    content = await self._read(reply, self._config.max_body_bytes)
        except _NETWORK as e:
            raise self._fault(e) from e
        finally:
            part.unlink(missing_ok=True)
        return HttpReply(reply.status, reply.headers, content, time.perf_counter() - started)

    def _timeout(self, *, total_s: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=total_s,
            sock_connect=self._config.connect_timeout_s,
            sock_read=self._config.read_timeout_s,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError(f"the connections to {self._exchange} are closed")
        if self._session is None:
            self._session = self._new_session()
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        config = self._config
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=config.connections_per_host,
                keepalive_timeout=config.keepalive_s,
                ttl_dns_cache=300,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"zvt-crypto/{version('zvt-crypto')}",
                "Accept-Encoding": ACCEPT_ENCODING,
            },
            auto_decompress=False,
            read_bufsize=config.read_buffer_bytes,
            timeout=self._timeout(total_s=config.total_timeout_s),
        )

    async def _chunks(self, reply: aiohttp.ClientResponse, limit: int) -> AsyncIterator[bytes]:
        """Yield what has arrived, as aiohttp holds it; refuse before reading where possible."""
        if (reply.content_length or 0) > limit:
            reply.close()
            raise BodyTooLarge(self._exchange, limit)
        received = 0
        while chunk := await reply.content.readany():
            received += len(chunk)
            if received > limit:
                reply.close()  # the rest would arrive for nothing; the connection goes with it
                raise BodyTooLarge(self._exchange, limit)
            yield chunk

    async def _read(self, reply: aiohttp.ClientResponse, limit: int) -> bytes:
        return b"".join([chunk async for chunk in self._chunks(reply, limit)])

    async def _write(
        self,
        reply: aiohttp.ClientResponse,
        part: Path,
        limit: int,
        on_bytes: Callable[[int], None] | None,
    ) -> None:
        # Buffered writes of at most a few hundred kB go to the page cache in tens of
        # microseconds: cheaper than a trip to a thread.
        with part.open("xb") as file:
            async for chunk in self._chunks(reply, limit):
                file.write(chunk)
                if on_bytes is not None:
                    on_bytes(len(chunk))

    async def _decode(self, encoding: str, content: bytes, limit: int) -> bytes:
        decode = partial(decode_body, self._exchange, encoding, content, max_bytes=limit)
        if len(content) <= _DECODE_INLINE_BYTES:
            return decode()
        return await asyncio.to_thread(decode)

    def _target(self, url: str, params: Mapping[str, str | int] | None) -> URL:
        """Return what goes on the wire; `encoded`, as signatures are over exactly these bytes."""
        if not url.isascii():
            url = quote(url, safe=_PRINTABLE)
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params, quote_via=quote)}"
        try:
            target = URL(url, encoded=True)
            if target.scheme in {"http", "https"} and target.raw_host and target.port:
                return target
        except ValueError:
            pass
        # Without the text: a query may carry a signature.
        raise RequestRejected(self._exchange, "the address is not an absolute http(s) URL")

    def _fault(self, error: Exception) -> NetworkFault:
        text = _QUERY.sub("?...", f"{type(error).__name__}: {error}".rstrip(": "))
        return NetworkFault(self._exchange, text)
