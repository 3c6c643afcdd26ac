"""OKX over REST and its bulk files.

Source: https://www.okx.com/docs-v5/en/
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import ClassVar, Final, TypeVar

import msgspec

from zvt_crypto.connectors.base import Tools
from zvt_crypto.connectors.okx import parse, reading
from zvt_crypto.connectors.okx.bulk import OkxArchives
from zvt_crypto.connectors.okx.listing import parse_instruments
from zvt_crypto.connectors.okx.refusal import check_reply
from zvt_crypto.connectors.okx.spec import (
    BOOK_DEPTH_MAX,
    BOOK_FULL_DEPTH_MAX,
    FIRST_CANDLE_US,
    INST_TYPES,
    NAME,
    OKX,
    RECENT_BARS,
)
from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec
from zvt_crypto.connectors.wire import Page
from zvt_crypto.core.errors import (
    CryptoError,
    MalformedPayload,
    NotSupported,
    UnknownSymbol,
)
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MS, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, ExchangeStatus, OpenInterest, Quote
from zvt_crypto.core.series import Kind
from zvt_crypto.net.http import HttpReply
from zvt_crypto.ports.connector import Fetched

T = TypeVar("T")

_ENDPOINTS: Final = OKX.endpoints

# `market/candles` forgets bars while we ask: not quite all it holds is asked of it.
_RECENT_MARGIN: Final = 40
# Trades are paged backwards and handed over forwards, so a window is held in memory whole: an
# hour of the busiest swap is some 50,000.
_TRADES_WINDOW_US: Final = US_PER_HOUR
# Funding of a contract that pays every hour fits a page with room to spare.
_FUNDING_WINDOW_US: Final = 7 * US_PER_DAY
# The lowest number any source gives for the rows of a full page.
_SHORTEST_CAP: Final = 100
_HISTORY: Final = (Kind.CANDLES, Kind.TRADES, Kind.FUNDING)


class OkxConnector(OkxArchives):
    """Spot pairs and perpetual swaps of OKX."""

    SPEC: ClassVar[ExchangeSpec] = OKX

    def __init__(self, tools: Tools) -> None:
        super().__init__(OKX, tools)

    def check(self, endpoint: Endpoint, reply: HttpReply) -> None:
        """Raise what the reply's code, status or page means."""
        check_reply(
            reply.status,
            reply.headers,
            reply.body,
            quota=endpoint.name,
            blocked=lambda: self.geo_blocked(endpoint),
        )

    # -- the exchange ---------------------------------------------------------------------------

    async def instruments(self) -> list[Instrument]:
        """Return all spot pairs and perpetuals on coins, tradable or not."""
        lists = await asyncio.gather(
            *(
                self.request(
                    _ENDPOINTS["instruments"],
                    lambda reply: parse_instruments(reply.body),
                    {"instType": inst_type},
                )
                for inst_type in INST_TYPES
            )
        )
        return [one for listed in lists for one in listed]

    async def server_time(self) -> int:
        """Return the exchange's clock in microseconds."""
        return await self.request(_ENDPOINTS["time"], lambda reply: reading.parse_time(reply.body))

    async def status(self) -> ExchangeStatus:
        """Return whether the exchange answers and announces no maintenance under way."""
        answer = await super().status()
        if not answer.is_up:
            return answer
        try:
            title = await self.request(
                _ENDPOINTS["status"], lambda reply: reading.parse_maintenance(reply.body)
            )
        except CryptoError:
            return answer  # it answers; what it says about itself can wait
        return msgspec.structs.replace(answer, is_up=not title, detail=title)

    # -- candles --------------------------------------------------------------------------------

    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        """Return a lower bound of the first open ever, None if no month tells.

        There is no paging forwards: the oldest month is found, then its first day, then that
        day's first hour. `listTime` is no bound: history is older than it for some pairs.
        """
        ever = Range(FIRST_CANDLE_US, self.clock.now_us() + US_PER_DAY)
        # The newest 1,440 months are all there are, the running one included.
        opened = await self._oldest("candles_recent", instrument, Interval.MON1, ever)
        if opened is None:
            return None
        for finer, coarser in ((Interval.D1, Interval.MON1), (Interval.H1, Interval.D1)):
            if interval.nominal_us >= coarser.nominal_us:
                break
            inside = Range(opened, coarser.shift(opened, 1))
            found = await self._oldest("candles", instrument, finer, inside)
            if found is None:
                break
            opened = found
        return interval.floor(opened)

    async def _oldest(
        self, name: str, instrument: Instrument, interval: Interval, inside: Range
    ) -> int | None:
        """Return the oldest open inside a range, the running one included; None if none."""
        endpoint = _ENDPOINTS[name]
        bar = self.spec.intervals[interval]
        params = _back_params(instrument, inside, endpoint.page_rows, bar=bar)
        oldest: int | None = None
        while True:
            opens = await self._ask(
                endpoint, instrument, lambda reply: parse.parse_opens(reply.body), params
            )
            opens = [one for one in opens if inside.holds(one)]
            if not opens or (oldest is not None and min(opens) >= oldest):
                return oldest
            oldest = min(opens)
            params = {**params, "after": oldest // US_PER_MS}

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        """Return the closed candles that open in `window`.

        `history-candles` runs a minute late, so the newest bars come from `candles`; that one
        answers nothing for bars it has let go of, and then history is asked after all.
        """
        now_us = self.clock.now_us()
        opens = Range(interval.ceil(window.start), window.end)
        held = interval.shift(interval.floor(now_us), _RECENT_MARGIN - RECENT_BARS)
        names = ("candles_recent", "candles") if opens.start >= held else ("candles",)
        pages: list[Page] = []
        body_bytes = 0
        for name in names:
            more, size = await self._page_back(
                _ENDPOINTS[name],
                instrument,
                lambda body: parse.parse_candles(body, instrument.market),
                opens,
                bar=self.spec.intervals[interval],
            )
            pages, body_bytes = [*pages, *more], body_bytes + size
            if any(len(page.columns["timestamp"]) for page in more):
                break
        return self._counted(
            parse.finish_candles(
                pages,
                interval,
                window,
                now_us=now_us,
                requests=len(pages),
                body_bytes=body_bytes,
            )
        )

    async def _page_back(
        self,
        endpoint: Endpoint,
        instrument: Instrument,
        read: Callable[[bytes], Page],
        window: Range,
        *,
        shortest: int = 0,
        **extra: str,
    ) -> tuple[list[Page], int]:
        """Return the pages of `window`, newest first, and what they weighed.

        Fewer rows than asked for are no end: some servers give 100 at most. The end is a row at
        the start of the window, a page that leads no further, or one under `shortest` rows.
        """
        params = _back_params(instrument, window, endpoint.page_rows, **extra)
        pages: list[Page] = []
        body_bytes, oldest = 0, window.end
        while oldest > window.start or not pages:
            page, size = await self._ask(
                endpoint, instrument, lambda reply: (read(reply.body), len(reply.body)), params
            )
            pages.append(page)
            body_bytes += size
            reached = parse.oldest_time(page)
            if reached is None or reached >= oldest or len(page.columns["timestamp"]) < shortest:
                break
            oldest = reached
            params = {**params, "after": oldest // US_PER_MS}
        return pages, body_bytes

    # -- trades and funding ---------------------------------------------------------------------

    async def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        """Yield the trades of `window` in one part.

        The first page is found by time (`type=2`, where only `after` works), the others by id,
        because several trades share a millisecond.
        """
        endpoint = _ENDPOINTS["trades"]
        limit = endpoint.page_rows
        params: dict[str, str | int] = {
            "instId": instrument.native,
            "type": 2,
            "after": -(-window.end // US_PER_MS),
            "limit": limit,
        }
        pages: list[Page] = []
        requests, body_bytes, oldest_id = 0, 0, None
        while True:
            got, size = await self._ask(
                endpoint,
                instrument,
                lambda reply: (parse.parse_trades(reply.body, instrument), len(reply.body)),
                params,
            )
            requests, body_bytes = requests + 1, body_bytes + size
            pages.append(got.page)
            if got.oldest_id is None or got.oldest_us is None or got.oldest_us < window.start:
                break
            if oldest_id is not None and got.oldest_id >= oldest_id:
                raise MalformedPayload(NAME, "trades", f"the page after {oldest_id} goes back")
            oldest_id = got.oldest_id
            params = {
                "instId": instrument.native,
                "type": 1,
                "after": oldest_id,
                "limit": limit,
            }
        yield self._counted(
            parse.finish_trades(pages, window, requests=requests, body_bytes=body_bytes)
        )

    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        """Return the settled funding of `window`: what was charged, not the forecast."""
        endpoint = self.plan_endpoint(instrument, Kind.FUNDING)
        pages, body_bytes = await self._page_back(endpoint, instrument, parse.parse_funding, window)
        return self._counted(
            parse.finish_funding(pages, window, requests=len(pages), body_bytes=body_bytes)
        )

    # -- single readings ------------------------------------------------------------------------

    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        """Return the book, sizes in base units; up to 5,000 levels a side."""
        is_deep = depth > BOOK_DEPTH_MAX
        return await self._ask(
            _ENDPOINTS["book_full" if is_deep else "book"],
            instrument,
            lambda reply: reading.parse_book(reply.body, instrument, ts_recv=self._now_us()),
            {"instId": instrument.native, "sz": max(1, min(depth, BOOK_FULL_DEPTH_MAX))},
        )

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Return the tops of the books, in one call per market."""
        if len(instruments) == 1:
            one = instruments[0]
            return await self._ask(
                _ENDPOINTS["ticker"],
                one,
                lambda reply: reading.parse_quotes(
                    reply.body, {one.native: one}, ts_recv=self._now_us()
                ),
                {"instId": one.native},
            )
        wanted = {one.native: one for one in instruments}
        types = {"SWAP" if one.is_perpetual else "SPOT" for one in instruments}
        lists = await asyncio.gather(
            *(
                self.request(
                    _ENDPOINTS["tickers"],
                    lambda reply: reading.parse_quotes(reply.body, wanted, ts_recv=self._now_us()),
                    {"instType": inst_type},
                )
                for inst_type in sorted(types)
            )
        )
        return [one for listed in lists for one in listed]

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest of a perpetual in base units."""
        if not instrument.is_perpetual:
            raise NotSupported(NAME, "open interest", "spot pairs have none")
        return await self._ask(
            _ENDPOINTS["open_interest"],
            instrument,
            lambda reply: reading.parse_open_interest(
                reply.body, instrument, ts_recv=self._now_us()
            ),
            {"instType": "SWAP", "instId": instrument.native},
        )

    # -- plans ----------------------------------------------------------------------------------

    def candle_endpoint(self, instrument: Instrument) -> Endpoint:
        """Return the endpoint of candle history."""
        del instrument
        return _ENDPOINTS["candles"]

    def window_us(self, instrument: Instrument, kind: Kind) -> int:
        """Return the width of trade and funding windows."""
        del instrument
        return _TRADES_WINDOW_US if kind is Kind.TRADES else _FUNDING_WINDOW_US

    def plan_endpoint(self, instrument: Instrument, kind: Kind) -> Endpoint:
        """Return the endpoint that history of `kind` is fetched from."""
        if kind is Kind.FUNDING and not instrument.is_perpetual:
            raise NotSupported(NAME, str(kind), "spot pairs pay none")
        if kind not in _HISTORY:
            raise NotSupported(NAME, str(kind), "no history of it is read")
        return _ENDPOINTS[str(kind)]

    # -- helpers --------------------------------------------------------------------------------

    async def _ask(
        self,
        endpoint: Endpoint,
        instrument: Instrument,
        decode: Callable[[HttpReply], T],
        params: Mapping[str, str | int],
    ) -> T:
        try:
            return await self.request(endpoint, decode, params)
        except UnknownSymbol:
            raise UnknownSymbol(NAME, instrument.symbol) from None

    def _counted(self, fetched: Fetched) -> Fetched:
        self.stats.precision_loss += fetched.precision_loss
        return fetched

    def _now_us(self) -> int:
        return self._tools.system.now_us()


def _back_params(
    instrument: Instrument, window: Range, limit: int, **extra: str
) -> dict[str, str | int]:
    """Return the question for a window: newest rows first, both bounds excluded.

    `after` is "older than" and `before` "newer than", so the first moment of the window takes a
    `before` one millisecond ahead of it.
    """
    return {
        "instId": instrument.native,
        **extra,
        "before": -(-window.start // US_PER_MS) - 1,
        "after": -(-window.end // US_PER_MS),
        "limit": limit,
    }
