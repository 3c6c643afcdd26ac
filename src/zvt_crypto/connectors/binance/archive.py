"""From the address of a bulk file to checked tables.

A file is downloaded to the scratch folder, compared with its `.CHECKSUM`, inflated and parsed in
a thread, and handed on in parts of some hundred thousand rows.
"""

import asyncio
import hashlib
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from zvt_crypto.connectors.base import ConnectorStats, Tools
from zvt_crypto.connectors.binance.bulk import (
    parse_agg_trade_block,
    parse_candle_block,
    parse_funding_block,
)
from zvt_crypto.connectors.binance.part import Disorder, PartCutter
from zvt_crypto.connectors.binance.refusal import retry_after_s
from zvt_crypto.connectors.binance.spec import ARCHIVE, NAME
from zvt_crypto.connectors.binance.zipped import BLOCK_BYTES, check_zip, read_blocks
from zvt_crypto.connectors.wire import Page, candle_page, funding_page, trade_page
from zvt_crypto.core.errors import (
    ArchiveAbsent,
    ChecksumMismatch,
    MalformedPayload,
    RateLimited,
    ServerFault,
)
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind
from zvt_crypto.net.http import HttpReply
from zvt_crypto.net.retry import retrying
from zvt_crypto.ports.connector import ArchiveFile, Fetched

log = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_BYTES: Final = 8 << 30
_TRIES: Final = 2
_SHA256: Final = re.compile(rb"\s*([0-9a-fA-F]{64})\b")
_PARSERS: Final[dict[Kind, Callable[[bytes], Page]]] = {
    Kind.CANDLES: parse_candle_block,
    Kind.TRADES: parse_agg_trade_block,
    Kind.FUNDING: parse_funding_block,
}
# A month of 1m candles is one block: each call of the parser costs 0.6 ms whatever its size, and
# in blocks of 2 MB such a month took 13 ms to read, in one piece 9. A day of trades is a hundred
# times as long; there such blocks take 90 MB more for nothing.
_BLOCK_BYTES: Final = {Kind.CANDLES: 8 << 20}


class ArchiveReader:
    """Fetches bulk files; one per connector."""

    def __init__(self, tools: Tools, stats: ConnectorStats) -> None:
        self._tools = tools
        self._stats = stats
        # Two files are read at once, however many are on their way: memory grows with threads, as
        # allocators keep a pool for each.
        self._threads = ThreadPoolExecutor(2, "binance-archive")

    async def fetch(self, file: ArchiveFile, interval: Interval | None) -> AsyncIterator[Fetched]:
        """Yield a file in parts whose `asked` ranges tile what it covers.

        A file whose rows are out of order by more than is held back is begun anew, sorted as a
        whole: parts that left before then come a second time, and are complete this time.

        Raises:
            ArchiveAbsent: not published, now or ever.
            ChecksumMismatch: not what its checksum says, twice.
            MalformedPayload: not a zip of one CSV, or corrupt.
        """
        path = self._tools.scratch / f"{uuid.uuid4().hex}-{file.name}"
        try:
            requests, is_checked = await self._download(file, path)
            if not is_checked:
                await self._aside(check_zip, path)
            size = (await asyncio.to_thread(path.stat)).st_size
            try:
                async for part in self._parts(file, interval, path):
                    yield _charged(part, requests, size)
                    requests = size = 0
            except Disorder:
                log.warning("archive_unsorted", extra={"exchange": NAME, "file": file.name})
                async for part in self._parts(file, interval, path, held_back=_MAX_BYTES):
                    yield _charged(part, requests, size)
                    requests = size = 0
        finally:
            path.unlink(missing_ok=True)

    # -- reading ---------------------------------------------------------------------------------

    async def _parts(
        self, file: ArchiveFile, interval: Interval | None, path: Path, **limits: int
    ) -> AsyncIterator[Fetched]:
        cutter = PartCutter(file.kind, file.covers, self._finish(file, interval), **limits)
        parts = _read_parts(path, file.kind, cutter)
        # The next part is made in a thread while this one is dealt with.
        ahead = asyncio.ensure_future(self._aside(_next_of, parts))
        try:
            while (part := await asyncio.shield(ahead)) is not None:
                ahead = asyncio.ensure_future(self._aside(_next_of, parts))
                yield part
        finally:
            # A thread cannot be interrupted: it ends its part before the file is closed.
            await asyncio.wait([ahead])
            ahead.exception()
            parts.close()

    def _finish(self, file: ArchiveFile, interval: Interval | None) -> Callable[[Page], Fetched]:
        now_us = self._tools.clock.now_us()
        match file.kind:
            case Kind.CANDLES if interval is not None:
                return lambda page: candle_page(page, interval, file.covers, now_us=now_us)
            case Kind.TRADES:
                return lambda page: trade_page(page, file.covers)
            case Kind.FUNDING:
                return lambda page: funding_page(page, file.covers)
            case _:
                raise ValueError(f"{file.name} holds {file.kind}, which we do not read")

    async def _aside(self, call: Callable[..., T], *args: Any) -> T:
        """Return what `call` returns in one of our threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, call, *args)

    # -- downloading -----------------------------------------------------------------------------

    async def _download(self, file: ArchiveFile, path: Path) -> tuple[int, bool]:
        """Bring the file to `path`; return the requests made and whether its sum was checked."""
        for tried in range(1, _TRIES + 1):
            await self._retrying(lambda: self._get_file(file, path))
            expected = await self._retrying(lambda: self._get_checksum(file))
            if expected is None:
                return 2 * tried, False
            if await self._aside(_sha256, path) == expected:
                return 2 * tried, True
            log.warning("archive_checksum_differs", extra={"exchange": NAME, "file": file.name})
        raise ChecksumMismatch(NAME, file.name)

    async def _get_file(self, file: ArchiveFile, path: Path) -> None:
        await self._count()
        reply = await self._tools.http.download(file.url, path, max_bytes=_MAX_BYTES)
        _check(reply, file.name)
        self._stats.body_bytes += (await asyncio.to_thread(path.stat)).st_size

    async def _get_checksum(self, file: ArchiveFile) -> bytes | None:
        """Return the published sum; None if there is none, which happens."""
        if file.checksum_url is None:
            return None
        await self._count()
        reply = await self._tools.http.get(file.checksum_url)
        try:
            _check(reply, file.name)
        except ArchiveAbsent:
            log.warning("archive_checksum_missing", extra={"exchange": NAME, "file": file.name})
            return None
        found = _SHA256.match(reply.body)
        if found is None:
            raise MalformedPayload(NAME, "a checksum", reply.body[:200].decode(errors="replace"))
        return found[1].lower()

    async def _count(self) -> None:
        await self._tools.governors[ARCHIVE].acquire({})
        self._stats.requests += 1
        self._stats.by_endpoint[ARCHIVE] = self._stats.by_endpoint.get(ARCHIVE, 0) + 1

    async def _retrying(self, call: Callable[[], Awaitable[T]]) -> T:
        tools = self._tools
        return await retrying(call, policy=tools.retry, clock=tools.system, rng=tools.rng)


def _check(reply: HttpReply, name: str) -> None:
    if reply.status == HTTPStatus.OK:
        return
    wait = retry_after_s(reply.headers)
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimited(NAME, ARCHIVE, wait)
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServerFault(NAME, reply.status, name, retry_after_s=wait)
    # The bucket answers 404 for what does not exist, 403 where it may not say so.
    raise ArchiveAbsent(NAME, name)


def _read_parts(path: Path, kind: Kind, cutter: PartCutter) -> Generator[Fetched, None, None]:
    for block in read_blocks(path, block_bytes=_BLOCK_BYTES.get(kind, BLOCK_BYTES)):
        yield from cutter.add(_PARSERS[kind](block))
    yield from cutter.end()


def _next_of(parts: Iterator[Fetched]) -> Fetched | None:
    return next(parts, None)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()


def _charged(part: Fetched, requests: int, size: int) -> Fetched:
    return msgspec.structs.replace(part, requests=requests, body_bytes=size)
