"""Bybit v5 over REST, and its daily trade files."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.bybit import parse
from zvt_crypto.connectors.bybit.archive import (
    NamedFile,
    Part,
    choose_files,
    due_files,
    parse_listing,
    read_parts,
)
from zvt_crypto.connectors.bybit.refusal import GeoRefusal, check_file, check_reply
from zvt_crypto.connectors.bybit.spec import ARCHIVE, BYBIT, NAME
from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec
from zvt_crypto.core.errors import (
    ArchiveAbsent,
    Banned,
    MalformedPayload,
    NotSupported,
    RateLimited,
    UnknownSymbol,
)
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_HOUR, US_PER_MS, US_PER_S, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, OpenInterest, Quote
from zvt_crypto.core.schema import empty_table
from zvt_crypto.core.series import Kind
from zvt_crypto.net.http import HttpReply
from zvt_crypto.net.retry import retrying
from zvt_crypto.ports.connector import ArchiveFile, Fetched

T = TypeVar("T")

_ENDPOINTS: Final = BYBIT.endpoints

# Far beyond what is listed; a cursor that never ends is a fault, not a long list.
_MAX_PAGES: Final = 50
# The largest daily files are a few hundred megabytes.
_MAX_FILE_BYTES: Final = 4 << 30
# Files appear once a day: within a load a listing is asked for once.
_LISTING_US: Final = 600 * US_PER_S
_MAX_LISTINGS: Final = 64
# The interval of funding is one hour at the shortest; a page has to hold a window of them.
_FUNDING_US: Final = US_PER_HOUR


class BybitConnector(BaseCryptoConnector):
    """Spot, linear and inverse perpetuals of Bybit."""

    SPEC: ClassVar[ExchangeSpec] = BYBIT

    def __init__(self, tools: Tools) -> None:
        super().__init__(BYBIT, tools)
        self._listings: dict[str, tuple[int, list[NamedFile]]] = {}

    # -- what replies mean ----------------------------------------------------------------------

    def check(self, endpoint: Endpoint, reply: HttpReply) -> None:
        """Raise what the reply means, if it is no answer."""
        try:
            if endpoint.host == ARCHIVE:
                check_file(reply.status, reply.body, endpoint.name)
            else:
                now_ms = self.clock.now_us() // US_PER_MS
                check_reply(reply.status, reply.headers, reply.body, now_ms=now_ms)
        except GeoRefusal:
            raise self.geo_blocked(endpoint) from None

    # -- the market -----------------------------------------------------------------------------

    async def instruments(self) -> list[Instrument]:
        """Return all spot pairs and perpetuals, those before their launch included."""
        found: dict[tuple[Market, str], Instrument] = {}
        for market, status in (
            (Market.SPOT, ""),
            (Market.LINEAR, ""),
            (Market.LINEAR, "PreLaunch"),
            (Market.INVERSE, ""),
        ):
            for one in await self._instruments_of(market, status):
                found.setdefault((market, one.native), one)
        return list(found.values())

    async def _instruments_of(self, market: Market, status: str) -> list[Instrument]:
        endpoint = _ENDPOINTS["instruments"]
        params: dict[str, str | int] = {"category": str(market), "limit": endpoint.page_rows}
        if status:
            params["status"] = status
        found: list[Instrument] = []
        for _ in range(_MAX_PAGES):
            page = await self.request(
                endpoint, lambda reply: parse.parse_instruments(reply.body, market), params
            )
            found.extend(page.instruments)
            if page.cursor in ("", params.get("cursor")):
                return found
            params["cursor"] = page.cursor
        raise MalformedPayload(NAME, "instruments", f"over {_MAX_PAGES} pages of {market}")

    async def server_time(self) -> int:
        """Return the exchange's clock in microseconds."""
        return await self.request(_ENDPOINTS["time"], lambda reply: parse.parse_time(reply.body))

    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        """Return the book; up to 1000 levels a side are served."""
        endpoint = _ENDPOINTS["book"]
        return await self._ask(
            endpoint,
            instrument,
            lambda reply: parse.parse_book(reply.body, instrument, ts_recv=self._received_us()),
            {"limit": min(max(depth, 1), endpoint.max_rows)},
        )

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Return the tops of the books: one call for each product, however many instruments."""
        found: dict[str, Quote] = {}
        for market in Market:
            wanted = [one for one in instruments if one.market is market]
            if not wanted:
                continue
            params: dict[str, str | int] = {"category": str(market)}
            if len(wanted) == 1:
                params["symbol"] = wanted[0].native
            page = await self.request(
                _ENDPOINTS["tickers"],
                lambda reply, wanted=wanted, market=market: parse.parse_quotes(
                    reply.body, wanted, market, ts_recv=self._received_us()
                ),
                params,
            )
            found.update((quote.symbol, quote) for quote in page)
        return [found[one.symbol] for one in instruments if one.symbol in found]

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest in base coin, one side of every contract counted."""
        if not instrument.is_perpetual:
            raise NotSupported(NAME, str(Kind.OPEN_INTEREST), "spot has no contracts")
        return await self._ask(
            _ENDPOINTS["tickers"],
            instrument,
            lambda reply: parse.parse_open_interest(
                reply.body, instrument, ts_recv=self._received_us()
            ),
            {},
        )

    # -- history --------------------------------------------------------------------------------

    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        """Return a lower bound of the first open ever, None if there is none.

        A `start` alone walks forward from it: the first row from the epoch on is the first ever.
        That is reported, not documented. Were it not so, the row would be the latest; then months
        decide, of which one page holds more than the exchange's life.
        """
        opened = await self._first_open(instrument, interval, 1)
        if opened is None or interval.shift(opened, 2) <= self.clock.now_us():
            return opened
        month = await self._first_open(instrument, Interval.MON1, _ENDPOINTS["candles"].page_rows)
        return opened if month is None else min(opened, interval.ceil(month))

    async def _first_open(
        self, instrument: Instrument, interval: Interval, limit: int
    ) -> int | None:
        return await self._ask(
            _ENDPOINTS["candles"],
            instrument,
            lambda reply: parse.parse_first_open(reply.body, instrument),
            {"interval": BYBIT.intervals[interval], "start": 1, "limit": limit},
        )

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        """Return the candles that open in `window`, which one page must hold.

        Both bounds are opens and included. A start inside a candle would return the candle
        around it, so it is moved up; which end of a range wider than a page wins is unknown, so
        none is ever asked for.
        """
        endpoint = _ENDPOINTS["candles"]
        first, last = interval.ceil(window.start), interval.floor(window.end - 1)
        count = interval.count_opens(window.start, window.end)
        if count > endpoint.page_rows:
            raise ValueError(f"{count} candles do not fit one page")
        if count == 0:
            return Fetched(window, empty_table(Kind.CANDLES), requests=0)
        fetched = await self._ask(
            endpoint,
            instrument,
            lambda reply: parse.parse_candles(
                reply.body, instrument, interval, window, now_us=self.clock.now_us()
            ),
            {
                "interval": BYBIT.intervals[interval],
                "start": first // US_PER_MS,
                "end": last // US_PER_MS,
                "limit": endpoint.page_rows,
            },
        )
        return self._counted(fetched)

    async def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        """Yield what the last page of trades says about `window`: one part, or none.

        `asked` of the part may be shorter than `window` at both ends. There is no way to ask
        REST for more; the archive has the rest once its day is over.
        """
        endpoint = self.plan_endpoint(instrument, Kind.TRADES)
        fetched = await self._ask(
            endpoint,
            instrument,
            lambda reply: parse.parse_trades(
                reply.body,
                instrument,
                window,
                now_us=self.clock.now_us(),
                settle_us=round(BYBIT.settle_s * US_PER_S),
            ),
            {"limit": endpoint.page_rows},
        )
        if fetched is not None:
            yield self._counted(fetched)

    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        """Return the settled funding of `window`; a start without an end is an error there."""
        endpoint = self.plan_endpoint(instrument, Kind.FUNDING)
        first, last = -(-window.start // US_PER_MS), (window.end - 1) // US_PER_MS
        if first > last:
            return Fetched(window, empty_table(Kind.FUNDING), requests=0)
        fetched = await self._ask(
            endpoint,
            instrument,
            lambda reply: parse.parse_funding(reply.body, instrument, window),
            {"startTime": first, "endTime": last, "limit": endpoint.page_rows},
        )
        return self._counted(fetched)

    def candle_endpoint(self, instrument: Instrument) -> Endpoint:
        """Return the endpoint of candles, the same for all products."""
        del instrument
        return _ENDPOINTS["candles"]

    def window_us(self, instrument: Instrument, kind: Kind) -> int:
        """Return the width of trade and funding windows."""
        if kind is Kind.TRADES:
            # One page, which no parameter moves: wider windows cost no more.
            return (self.spec.reach(kind, instrument.market) or 1) * US_PER_S
        return self.plan_endpoint(instrument, kind).page_rows * _FUNDING_US

    def plan_endpoint(self, instrument: Instrument, kind: Kind) -> Endpoint:
        """Return the endpoint that history of `kind` is fetched from."""
        is_spot = instrument.market is Market.SPOT
        if kind is Kind.FUNDING and is_spot:
            raise NotSupported(NAME, str(kind), "spot pairs pay none")
        names = {
            Kind.CANDLES: "candles",
            Kind.TRADES: "trades_spot" if is_spot else "trades",
            Kind.FUNDING: "funding",
        }
        if kind not in names:
            raise NotSupported(NAME, str(kind), "no history of it is read")
        return _ENDPOINTS[names[kind]]

    # -- archives -------------------------------------------------------------------------------

    async def archives(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[ArchiveFile]:
        """Return the trade files for parts of `asked`, those of the last days even if not out.

        A day's file appears some hours after it; until it must have, it is named all the same,
        and fetching it says that it is absent.
        """
        del interval
        if kind is not Kind.TRADES or asked.is_empty:
            return []
        listed = await self._listing(instrument)
        if not listed:
            return []
        is_spot = instrument.market is Market.SPOT
        due = due_files(listed, instrument.native, self.clock.now_us(), is_spot=is_spot)
        folder = self.url(_archive_endpoint(instrument), symbol=instrument.native)
        return [
            ArchiveFile(url=f"{folder}{file.name}", name=file.name, kind=kind, covers=file.covers)
            for file in choose_files([*listed, *due], asked)
        ]

    async def fetch_archive(
        self, instrument: Instrument, interval: Interval | None, file: ArchiveFile
    ) -> AsyncIterator[Fetched]:
        """Download and parse one file; yield parts of about 100,000 rows, ascending.

        Nothing is yielded before the file's own checksum is proven; a broken one is fetched
        again.

        Raises:
            ArchiveAbsent: not published, now or ever.
            MalformedPayload: it cannot be read, after several downloads.
        """
        del interval
        if all(file.name != listed.name for listed in await self._listing(instrument)):
            raise ArchiveAbsent(NAME, file.name)
        with tempfile.TemporaryDirectory(
            prefix=f"{NAME}-", dir=self._tools.scratch, ignore_cleanup_errors=True
        ) as folder:
            opened = await retrying(
                lambda: self._open(instrument, file, Path(folder)),
                policy=self._tools.retry,
                clock=self._tools.system,
                rng=self._tools.rng,
                on_retry=self._note_retry,
            )
            if opened is None:
                raise ArchiveAbsent(NAME, file.name)
            size, part, parts = opened
            requests = 1
            while part is not None:
                yield Fetched(part.asked, part.table, part.rejected, requests, size)
                requests = size = 0
                part = await asyncio.to_thread(next, parts, None)

    async def _open(
        self, instrument: Instrument, file: ArchiveFile, folder: Path
    ) -> tuple[int, Part | None, Iterator[Part]] | None:
        """Download one file and read it to its end; return its first part, None if absent."""
        endpoint = _archive_endpoint(instrument)
        governor = self._tools.governors[ARCHIVE]
        await governor.acquire(endpoint.costs)
        path = folder / "file.csv.gz"
        self.stats.requests += 1
        self.stats.by_endpoint[endpoint.name] = self.stats.by_endpoint.get(endpoint.name, 0) + 1
        reply = await self._tools.http.download(file.url, path, max_bytes=_MAX_FILE_BYTES)
        try:
            self.check(endpoint, reply)
        except ArchiveAbsent:
            return None
        except (RateLimited, Banned) as e:
            self.stats.rate_limited += 1
            governor.freeze(e.retry_after_s or self.spec.freeze_s, e.code)
            raise
        size = path.stat().st_size
        self.stats.body_bytes += size
        spill = Path(tempfile.mkdtemp(dir=folder))
        parts = read_parts(path, spill, instrument, file.covers)
        return size, await asyncio.to_thread(next, parts, None), parts

    async def _listing(self, instrument: Instrument) -> list[NamedFile]:
        endpoint = _archive_endpoint(instrument)
        address = self.url(endpoint, symbol=instrument.native)
        now_us = self.clock.now_us()
        known = self._listings.get(address)
        if known is not None and 0 <= now_us - known[0] < _LISTING_US:
            return known[1]
        try:
            files = await self.request(
                endpoint,
                lambda reply: parse_listing(reply.body, instrument.native),
                symbol=instrument.native,
            )
        except ArchiveAbsent:
            files = []
        while len(self._listings) >= _MAX_LISTINGS:
            self._listings.pop(next(iter(self._listings)))
        self._listings[address] = (now_us, files)
        return files

    # -- helpers --------------------------------------------------------------------------------

    async def _ask(
        self,
        endpoint: Endpoint,
        instrument: Instrument,
        decode: Callable[[HttpReply], T],
        params: Mapping[str, str | int],
    ) -> T:
        """Ask about one instrument; its category is always sent, since it defaults to linear."""
        about = {"category": str(instrument.market), "symbol": instrument.native}
        try:
            return await self.request(endpoint, decode, {**about, **params})
        except UnknownSymbol:
            raise UnknownSymbol(NAME, instrument.symbol) from None

    def _counted(self, fetched: Fetched) -> Fetched:
        self.stats.precision_loss += fetched.precision_loss
        return fetched

    def _received_us(self) -> int:
        return self._tools.system.now_us()


def _archive_endpoint(instrument: Instrument) -> Endpoint:
    return _ENDPOINTS["archive_spot" if instrument.market is Market.SPOT else "archive_perp"]
