"""Fetching the bulk files of OKX; reading them is in `archive.py`."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from zvt_crypto.connectors.base import BaseCryptoConnector
from zvt_crypto.connectors.okx import archive
from zvt_crypto.connectors.okx.spec import ARCHIVE, NAME, OKX
from zvt_crypto.core.errors import ArchiveAbsent, Banned, RateLimited
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.net.retry import retrying
from zvt_crypto.ports.connector import ArchiveFile, Fetched

_MAX_FILE_BYTES: Final = 2 << 30
_OK: Final = 200
# A file server of this kind may answer 403 for a file it does not have.
_NOT_PUBLISHED: Final = (403, 404)

_ENDPOINTS: Final = {
    Kind.TRADES: OKX.endpoints["archive_trades"],
    Kind.CANDLES: OKX.endpoints["archive_candles"],
    Kind.FUNDING: OKX.endpoints["archive_funding"],
}


class _Opened(NamedTuple):
    requests: int
    body_bytes: int
    part: archive.Part | None
    parts: Iterator[archive.Part]


class OkxArchives(BaseCryptoConnector):
    """The part of the connector that fetches bulk files."""

    async def archives(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[ArchiveFile]:
        """Return the bulk files for parts of `asked`.

        Trades and candles of a minute by day: a file replaces hundreds of pages, or five.
        Funding by month, and only where REST has forgotten it: there one page holds months.
        """
        now_us = self.clock.now_us()
        if kind is Kind.FUNDING and instrument.is_perpetual:
            forgotten = Range(asked.start, min(asked.end, self.reach(instrument, kind, now_us)))
            files = archive.monthly_files(forgotten, now_us)
        elif kind is Kind.TRADES or (kind is Kind.CANDLES and interval is Interval.M1):
            files = archive.daily_files(asked, now_us)
        else:
            return []
        return [self._file(instrument, kind, file) for file in files]

    async def fetch_archive(
        self, instrument: Instrument, interval: Interval | None, file: ArchiveFile
    ) -> AsyncIterator[Fetched]:
        """Download and parse one file; yield parts of at most about 500,000 rows, ascending.

        Nothing is yielded before the checksum inside the zip is proven. A month of funding takes
        the last hours from the file after it, and what drifted over its start from the one before.

        Raises:
            ArchiveAbsent: not published, now or ever.
            MalformedPayload: it cannot be read, after several downloads.
        """
        del interval
        urls = [file.url]
        if file.kind is Kind.FUNDING:
            months = archive.neighbours(file.covers)
            urls += [self._file(instrument, file.kind, month).url for month in months]
        with tempfile.TemporaryDirectory(
            prefix=f"{NAME}-", dir=self._tools.scratch, ignore_cleanup_errors=True
        ) as folder:
            opened = await retrying(
                lambda: self._open(urls, instrument, file, Path(folder)),
                policy=self._tools.retry,
                clock=self._tools.system,
                rng=self._tools.rng,
                on_retry=self._note_retry,
            )
            if opened is None:
                raise ArchiveAbsent(NAME, file.name)
            requests, size, part, parts = opened
            while part is not None:
                yield Fetched(part.asked, part.table, part.rejected, requests, size)
                requests = size = 0
                part = await asyncio.to_thread(next, parts, None)

    async def _open(
        self, urls: Sequence[str], instrument: Instrument, file: ArchiveFile, folder: Path
    ) -> _Opened | None:
        """Download files and read them to their end; None if the first is not published."""
        paths: list[Path] = []
        for at, url in enumerate(urls):
            path = folder / f"{at}.zip"
            if await self._download(file.kind, url, path):
                paths.append(path)
            elif at == 0:
                return None
        parts = archive.read_parts(paths, file.kind, instrument, file.covers)
        size = await asyncio.to_thread(lambda: sum(path.stat().st_size for path in paths))
        self.stats.body_bytes += size
        return _Opened(len(urls), size, await asyncio.to_thread(next, parts, None), parts)

    async def _download(self, kind: Kind, url: str, path: Path) -> bool:
        """Return whether the file is there, and now in `path`."""
        endpoint = _ENDPOINTS[kind]
        governor = self._tools.governors[ARCHIVE]
        await governor.acquire(endpoint.costs)
        self.stats.requests += 1
        self.stats.by_endpoint[endpoint.name] = self.stats.by_endpoint.get(endpoint.name, 0) + 1
        reply = await self._tools.http.download(url, path, max_bytes=_MAX_FILE_BYTES)
        if reply.status in _NOT_PUBLISHED:
            return False
        if reply.status != _OK:
            try:
                self.check(endpoint, reply)
            except (RateLimited, Banned) as e:
                self.stats.rate_limited += 1
                governor.freeze(e.retry_after_s or self.spec.freeze_s, e.code)
                raise
            return False
        return True

    def _file(self, instrument: Instrument, kind: Kind, file: archive.NamedFile) -> ArchiveFile:
        url = self.url(_ENDPOINTS[kind], native=instrument.native, day=file.day, date=file.date)
        return ArchiveFile(url=url, name=url.rpartition("/")[2], kind=kind, covers=file.covers)
