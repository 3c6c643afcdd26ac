"""BinanceConnector: spot and USDⓈ-M perpetuals over REST and bulk files."""

import logging
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar, Final
from urllib.parse import urlsplit

import msgspec
import numpy as np
import numpy.typing as npt

from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.binance.archive import ArchiveReader
from zvt_crypto.connectors.binance.catalogue import list_files
from zvt_crypto.connectors.binance.listing import (
    ExchangeInfo,
    instruments_of,
    parse_exchange_info,
    weight_limits,
)
from zvt_crypto.connectors.binance.parse import (
    finish_funding,
    parse_agg_trades,
    parse_candles,
    parse_first_open,
    parse_funding,
)
from zvt_crypto.connectors.binance.part import Disorder, PartCutter
from zvt_crypto.connectors.binance.reading import (
    parse_book_tickers,
    parse_depth,
    parse_open_interest,
    parse_time,
)
from zvt_crypto.connectors.binance.refusal import Refused, header, refusal
from zvt_crypto.connectors.binance.spec import (
    ARCHIVE,
    BINANCE,
    FUNDING_HOURS,
    LINEAR,
    SPOT,
    TRADES_REACH_S,
    TRADES_WINDOW_S,
    USED_WEIGHT_HEADER,
    WEIGHT,
    book_endpoint,
    endpoint,
)
from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec
from zvt_crypto.connectors.wire import Page, trade_page
from zvt_crypto.core.errors import GeoBlocked, MalformedPayload, NotSupported, UnknownSymbol
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_HOUR, US_PER_MS, US_PER_S, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, OpenInterest, Quote
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us, ints_to_us
from zvt_crypto.net.http import HttpReply
from zvt_crypto.ports.connector import ArchiveFile, Fetched

log = logging.getLogger(__name__)

# The longest list of symbols bookTicker takes for the price of few.
_FEW_SYMBOLS: Final = 100
_FUNDING_WINDOW_US: Final = 8_000 * US_PER_HOUR
_FUNDING_SLACK_US: Final = US_PER_S
# Below this many candles of a perpetual a page costs half.
_CHEAP_ROWS: Final = 99
_PART_ROWS: Final = 50_000
_TRADES_HELD_BACK: Final = 2_000
# Enough to see what follows, even if this page is cut short too.
_PROBE_ROWS: Final = 10


class BinanceConnector(BaseCryptoConnector):
    """Binance: history, snapshots and bulk files of spot pairs and USDⓈ-M perpetuals."""

    SPEC: ClassVar[ExchangeSpec] = BINANCE

    def __init__(self, tools: Tools) -> None:
        super().__init__(self.SPEC, tools)
        self._archive = ArchiveReader(tools, self.stats)

    # -- replies ---------------------------------------------------------------------------------

    def check(self, endpoint: Endpoint, reply: HttpReply) -> None:
        """Raise what the reply's status, headers and error body mean; return if it is good."""
        error = refusal(
            Refused(
                status=reply.status,
                headers=reply.headers,
                body=reply.body,
                host=urlsplit(self._hosts[endpoint.host]).netloc,
                now_us=self.clock.now_us(),
                quota=next(iter(endpoint.costs), WEIGHT),
            )
        )
        if error is not None:
            raise error

    def used(self, endpoint: Endpoint, reply: HttpReply) -> Mapping[str, float]:
        """Return the weight used in the running minute, as the header says.

        The header of the futures' bookTicker is wrong (derivatives documentation, bookTicker).
        """
        if endpoint.name in ("linear_quote", "linear_quotes"):
            return {}
        text = header(reply.headers, USED_WEIGHT_HEADER) or ""
        return {WEIGHT: float(text)} if text.isascii() and text.isdigit() else {}

    # -- the exchange ----------------------------------------------------------------------------

    async def instruments(self) -> list[Instrument]:
        """Return all spot pairs and perpetuals, and take over the limits in force.

        The mirror has no futures, and some regions refuse them: then spot alone is returned.
        """
        spot = await self._info(SPOT)
        found = instruments_of(spot, Market.SPOT)
        try:
            linear = await self._info(LINEAR)
        except GeoBlocked as e:
            log.warning("market_refused", extra={"exchange": self.exchange, "reason": str(e)})
            return found
        return found + instruments_of(linear, Market.LINEAR)

    async def _info(self, host: str) -> ExchangeInfo:
        info = await self.request(
            self.spec.endpoints[f"{host}_instruments"], lambda r: parse_exchange_info(r.body)
        )
        if limits := weight_limits(info):
            self._tools.governors[host].set_limits(limits)
        return info

    async def server_time(self) -> int:
        """Return the exchange's clock in microseconds."""
        return await self.request(self.spec.endpoints["spot_time"], lambda r: parse_time(r.body))

    # -- candles ---------------------------------------------------------------------------------

    def candle_endpoint(self, instrument: Instrument) -> Endpoint:
        """Return the endpoint whose page size sets the width of candle windows."""
        return endpoint(instrument.market, "candles")

    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        """Return the first open ever, None if the exchange has none.

        Asked of the candles themselves: `onboardDate` of a perpetual may be weeks later.
        """
        params = {
            "symbol": instrument.native,
            "interval": self.spec.intervals[interval],
            "startTime": 0,
            "limit": 1,
        }
        call = endpoint(instrument.market, "candle")
        with _naming(instrument):
            return await self.request(call, lambda r: parse_first_open(r.body), params)

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        """Return the closed candles that open in `window`.

        Raises:
            ValueError: the window holds more candles than a page.
        """
        call = self.candle_endpoint(instrument)
        rows, limit = interval.count_opens(*window), call.page_rows
        if rows > limit:
            raise ValueError(f"{rows} candles asked of a page that holds {limit}")
        if instrument.market is not Market.SPOT and rows < _CHEAP_ROWS:
            limit, call = _CHEAP_ROWS, replace(call, costs={WEIGHT: 1})
        params = {
            "symbol": instrument.native,
            "interval": self.spec.intervals[interval],
            **_bounds_ms(window),
            "limit": limit,
        }

        def decode(reply: HttpReply) -> Fetched:
            now_us = self.clock.now_us()
            return parse_candles(reply.body, interval, window, now_us=now_us)

        with _naming(instrument):
            return await self.request(call, decode, params)

    # -- trades ----------------------------------------------------------------------------------

    def window_us(self, instrument: Instrument, kind: Kind) -> int:
        """Return the width of trade and funding windows."""
        del instrument
        return _FUNDING_WINDOW_US if kind is Kind.FUNDING else TRADES_WINDOW_S * US_PER_S

    def plan_endpoint(self, instrument: Instrument, kind: Kind) -> Endpoint:
        """Return the endpoint that history of `kind` is fetched from.

        Raises:
            NotSupported: there is no history of it.
        """
        name = {Kind.CANDLES: "candles", Kind.TRADES: "trades", Kind.FUNDING: "funding"}.get(kind)
        if name is None or (kind is Kind.FUNDING and not instrument.is_perpetual):
            raise NotSupported(self.exchange, f"history of {kind}", f"for {instrument.symbol}")
        return endpoint(instrument.market, name)

    async def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        """Yield aggregate trades: the first page by time, the others by id.

        Raises:
            NotSupported: a perpetual's window begins more than 48 hours ago, where the exchange
                answers with nothing, as if there had been no trade.
        """
        self._refuse_old_trades(instrument, window)
        cutter = PartCutter(
            Kind.TRADES,
            window,
            lambda page: trade_page(page, window),
            part_rows=_PART_ROWS,
            held_back=_TRADES_HELD_BACK,
        )
        requests, size = 0, 0
        async for page, page_bytes in self._trade_pages(instrument, window):
            requests, size = requests + 1, size + page_bytes
            for part in _cut(cutter, page):
                yield _charged(part, requests, size)
                requests = size = 0
        for part in cutter.end():
            yield _charged(part, requests, size)
            requests = size = 0

    async def _trade_pages(
        self, instrument: Instrument, window: Range
    ) -> AsyncIterator[tuple[Page, int]]:
        """Yield pages, with their sizes, until one goes beyond the window.

        A page by time that is not full should be the last. It may as well have been cut short, so
        the next trade is looked at: if it is in the window, there is more.
        """
        call = endpoint(instrument.market, "trades")
        symbol = {"symbol": instrument.native}
        page, size = await self._trades(
            instrument, call, {**symbol, **_bounds_ms(window), "limit": call.page_rows}, window, -1
        )
        yield page, size
        limit = call.page_rows
        last_id = _last_id(page, window)
        if last_id is not None and len(page.columns["trade_id"]) < limit:
            limit = _PROBE_ROWS
        while last_id is not None:
            query = {**symbol, "fromId": last_id + 1, "limit": limit}
            page, size = await self._trades(instrument, call, query, window, last_id)
            yield page, size
            limit = call.page_rows
            times = _times(page)
            if len(times) == 0 or int(times.max()) >= window.end:
                return
            last_id = max(page.columns["trade_id"])

    async def _trades(
        self,
        instrument: Instrument,
        call: Endpoint,
        query: Mapping[str, str | int],
        window: Range,
        last_id: int,
    ) -> tuple[Page, int]:
        """Return a page that answers the question, and its size.

        Raises:
            MalformedPayload: it repeats what came before, or belongs to another window.
        """

        def decode(reply: HttpReply) -> tuple[Page, int]:
            page = parse_agg_trades(reply.body)
            ids = page.columns["trade_id"]
            is_old = last_id >= 0 and ids and max(ids) <= last_id
            if is_old or (ids and last_id < 0 and _last_id(page, window) is None):
                raise MalformedPayload(self.exchange, "aggTrades", "a page asked for before")
            return page, len(reply.body)

        with _naming(instrument):
            return await self.request(call, decode, query)

    def _refuse_old_trades(self, instrument: Instrument, window: Range) -> None:
        oldest = self.clock.now_us() - TRADES_REACH_S * US_PER_S
        if instrument.market is not Market.SPOT and window.start < oldest:
            raise NotSupported(
                self.exchange,
                f"trades of {instrument.symbol} from {format_us(window.start)} over REST",
                "it keeps them for 48 hours",
                remedy="Load them from the archive, which has every past day",
            )

    # -- funding ---------------------------------------------------------------------------------

    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        """Return the settled funding of `window`.

        The settlement before the window is asked for too: the time since then is the interval,
        which is said nowhere for the past.
        """
        call = self.plan_endpoint(instrument, Kind.FUNDING)
        start = max(0, window.start - max(FUNDING_HOURS) * US_PER_HOUR - _FUNDING_SLACK_US)
        end = window.end + _FUNDING_SLACK_US
        pages: list[Page] = []
        size = 0
        with _naming(instrument):
            while True:
                params = {
                    "symbol": instrument.native,
                    **_bounds_ms(Range(start, end)),
                    "limit": call.page_rows,
                }
                page, page_bytes = await self.request(
                    call, lambda r: (parse_funding(r.body), len(r.body)), params
                )
                pages.append(page)
                size += page_bytes
                times: list[int] = page.columns["timestamp"]
                if len(times) + len(page.rejected) < call.page_rows or not times:
                    break
                # Times are rounded to the second, and the next one is an hour away at least.
                following = max(times) + US_PER_S
                if following <= start:
                    raise MalformedPayload(self.exchange, "fundingRate", "the same page again")
                start = following
        return finish_funding(pages, window, requests=len(pages), body_bytes=size)

    # -- bulk files ------------------------------------------------------------------------------

    async def archives(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[ArchiveFile]:
        """Return the bulk files that should be published for parts of `asked`."""
        now_us = self.clock.now_us()
        base_url = self._hosts[ARCHIVE]
        return list_files(base_url, instrument, kind, interval, asked, now_us=now_us)

    def fetch_archive(
        self, instrument: Instrument, interval: Interval | None, file: ArchiveFile
    ) -> AsyncIterator[Fetched]:
        """Yield one bulk file in parts; see `ArchiveReader.fetch`."""
        del instrument
        return self._archive.fetch(file, interval)

    # -- readings --------------------------------------------------------------------------------

    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        """Return the book, at least `depth` levels a side up to 5000 on spot, 1000 on futures."""
        call, limit = book_endpoint(instrument.market, depth)

        def decode(reply: HttpReply) -> Book:
            return parse_depth(reply.body, instrument, ts_recv=self._tools.system.now_us())

        params: dict[str, str | int] = {"symbol": instrument.native, "limit": limit}
        with _naming(instrument):
            return await self.request(call, decode, params)

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Return the tops of the books; one request per market."""
        found: list[Quote] = []
        for is_spot in (True, False):
            wanted = [one for one in instruments if (one.market is Market.SPOT) is is_spot]
            if wanted:
                found += await self._quotes(wanted)
        return found

    async def _quotes(self, wanted: Sequence[Instrument]) -> list[Quote]:
        market = wanted[0].market
        params: Mapping[str, str] = {}
        call = endpoint(market, "quotes")
        if len(wanted) == 1:
            call, params = endpoint(market, "quote"), {"symbol": wanted[0].native}
        elif market is Market.SPOT and len(wanted) <= _FEW_SYMBOLS:
            names = [one.native for one in wanted]
            params = {"symbols": msgspec.json.encode(names).decode()}

        def decode(reply: HttpReply) -> list[Quote]:
            now_us = self._tools.system.now_us()
            return parse_book_tickers(reply.body, wanted, ts_recv=now_us)

        with _naming(wanted[0]):
            return await self.request(call, decode, params)

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest of a perpetual.

        Raises:
            NotSupported: a spot pair has none.
        """
        if not instrument.is_perpetual:
            raise NotSupported(self.exchange, "open interest", f"{instrument.symbol} is spot")

        def decode(reply: HttpReply) -> OpenInterest:
            return parse_open_interest(reply.body, instrument, ts_recv=self._tools.system.now_us())

        params = {"symbol": instrument.native}
        with _naming(instrument):
            return await self.request(endpoint(instrument.market, "open_interest"), decode, params)


def _bounds_ms(window: Range) -> dict[str, int]:
    """Return `startTime` and `endTime`, which Binance both includes."""
    return {"startTime": window.start // US_PER_MS, "endTime": (window.end - 1) // US_PER_MS}


def _times(page: Page) -> npt.NDArray[np.int64]:
    return ints_to_us(np.array(page.columns["timestamp"], np.int64))


def _last_id(page: Page, window: Range) -> int | None:
    """Return the highest id among the trades of `window`; None if there are none."""
    times = _times(page)
    inside = (times >= window.start) & (times < window.end)
    return int(np.array(page.columns["trade_id"], np.int64)[inside].max()) if inside.any() else None


def _charged(part: Fetched, requests: int, size: int) -> Fetched:
    return msgspec.structs.replace(part, requests=requests, body_bytes=size)


def _cut(cutter: PartCutter, page: Page) -> list[Fetched]:
    try:
        return list(cutter.add(page))
    except Disorder:
        raise MalformedPayload(BINANCE.name, "aggTrades", "ids and times disagree") from None


@contextmanager
def _naming(instrument: Instrument) -> Generator[None, None, None]:
    """Put the symbol into a refusal of it: replies do not name it."""
    try:
        yield
    except UnknownSymbol as e:
        raise UnknownSymbol(e.exchange, instrument.native) from e
