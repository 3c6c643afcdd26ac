"""Coinbase Advanced Trade over REST, public market data only.

Source: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/introduction
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import ClassVar, Final, TypeVar

import pyarrow as pa

from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.coinbase import listing, parse, reading
from zvt_crypto.connectors.coinbase.refusal import INVALID_ARGUMENT, check_reply
from zvt_crypto.connectors.coinbase.spec import (
    COINBASE,
    FIRST_CANDLE_US,
    FUNDING_REASON,
    MOVED_REASON,
    MOVED_SUFFIX,
    NAME,
    NO_CACHE,
)
from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec
from zvt_crypto.core.candle import aggregate
from zvt_crypto.core.errors import NotSupported, RequestRejected, UnknownSymbol
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, US_PER_S, Interval
from zvt_crypto.core.ranges import Range, split
from zvt_crypto.core.record import Book, OpenInterest, Quote
from zvt_crypto.core.series import Kind
from zvt_crypto.core.validation import Rejected
from zvt_crypto.net.http import HttpReply
from zvt_crypto.ports.connector import Fetched

log = logging.getLogger(__name__)

T = TypeVar("T")

_ENDPOINTS: Final = COINBASE.endpoints

# Trades are asked for by seconds; a window is what one `fetch_trades` pages through.
_TRADES_WINDOW_US: Final = US_PER_HOUR
_OVERLAP_S: Final = 1
# A page this full tells that the next one may overflow.
_COMFORT: Final = 0.5
_MAX_PRODUCT_PAGES: Final = 100
# What ends this close to now must not come from a cache.
_FRESH_US: Final = US_PER_MINUTE
# More than are asked in the second an answer is cached for.
_MAX_QUESTIONS: Final = 200
_WRONG_PARAMETER: Final = (INVALID_ARGUMENT, "400")


class CoinbaseConnector(BaseCryptoConnector):
    """Spot pairs and perpetual-style futures of Coinbase."""

    SPEC: ClassVar[ExchangeSpec] = COINBASE

    def __init__(self, tools: Tools) -> None:
        super().__init__(COINBASE, tools)
        # None until it is known whether FOUR_HOUR exists.
        self._has_four_hours: bool | None = None
        self._questions: dict[tuple[str | int, ...], None] = {}

    def check(self, endpoint: Endpoint, reply: HttpReply) -> None:
        """Raise what the reply's status and error body mean."""
        check_reply(
            reply.status,
            reply.headers,
            reply.body,
            blocked=lambda: self.geo_blocked(endpoint),
        )

    # -- the exchange ---------------------------------------------------------------------------

    async def instruments(self) -> list[Instrument]:
        """Return all spot pairs and perpetuals of all pages, tradable or not."""
        lists = await asyncio.gather(self._products("SPOT"), self._products("FUTURE"))
        found = {one.native: one for listed in lists for one in listed}
        return listing.unique_symbols(list(found.values()))

    async def _products(self, product_type: str) -> list[Instrument]:
        """Follow the pages by cursor, or by offset where there is none."""
        endpoint = _ENDPOINTS["products"]
        found: list[Instrument] = []
        turn: dict[str, str | int] = {}
        rows = 0
        for _ in range(_MAX_PRODUCT_PAGES):
            page = await self.request(
                endpoint,
                lambda reply: listing.parse_products(reply.body),
                {"product_type": product_type, "limit": endpoint.page_rows, **turn},
            )
            found += page.instruments
            rows += page.rows
            after: dict[str, str | int] = (
                {"cursor": page.next_cursor} if page.next_cursor else {"offset": rows}
            )
            if not page.has_next or not page.rows or after == turn:
                break
            turn = after
        return found

    async def server_time(self) -> int:
        """Return the exchange's clock in microseconds."""
        return await self.request(
            _ENDPOINTS["time"], lambda reply: reading.parse_time(reply.body), headers=NO_CACHE
        )

    # -- candles --------------------------------------------------------------------------------

    def source_interval(self, instrument: Instrument, interval: Interval) -> Interval:
        """Return the interval to fetch; an hour for four once FOUR_HOUR was refused."""
        if interval is Interval.H4 and self._has_four_hours is False:
            return Interval.H1
        return super().source_interval(instrument, interval)

    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        """Return a lower bound of the first open ever, None if there is no candle.

        Days are walked from 2010 on, 300 a page: what comes before a listing answers with
        nothing. Then the first day is looked at by the hour.
        """
        now_us = self.clock.now_us()
        days = Range(FIRST_CANDLE_US, Interval.D1.floor(now_us) + US_PER_DAY)
        width = _ENDPOINTS["candles"].page_rows * US_PER_DAY
        for part in split(days, width):
            first = await self._first_open(instrument, Interval.D1, part)
            if first is not None:
                break
        else:
            return None
        if interval.nominal_us < 2 * US_PER_HOUR:
            hour = await self._first_open(instrument, Interval.H1, Range(first, first + US_PER_DAY))
            first = first if hour is None else hour
        return interval.floor(first)

    async def _first_open(
        self, instrument: Instrument, interval: Interval, part: Range
    ) -> int | None:
        # With a clock past the end, the running candle counts: a product may be a minute old.
        fetched = await self._candles(instrument, interval, part, now_us=part.end + US_PER_DAY)
        if not fetched.table.num_rows:
            return None
        return fetched.table["timestamp"].cast(pa.int64())[0].as_py()

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        """Return the closed candles that open in `window`; buckets without trades are absent."""
        now_us = self.clock.now_us()
        if interval is not Interval.H4 or self._has_four_hours:
            return await self._candles(instrument, interval, window, now_us=now_us)
        if self._has_four_hours is None:
            try:
                fetched = await self._candles(instrument, interval, window, now_us=now_us)
            except RequestRejected as e:
                if e.exchange_code not in _WRONG_PARAMETER:
                    raise
                # In the reference, but in no library: where it is refused, hours must do.
                log.info("interval_refused", extra={"exchange": NAME, "detail": e.message})
                self._has_four_hours = False
            else:
                self._has_four_hours = True
                return fetched
        return await self._four_hours(instrument, window, now_us)

    async def _candles(
        self, instrument: Instrument, interval: Interval, window: Range, *, now_us: int
    ) -> Fetched:
        opens = interval.grid(window.start, window.end)
        if not len(opens):
            return parse.no_candles(window)
        fetched = await self._ask(
            _ENDPOINTS["candles"],
            instrument,
            lambda reply: parse.parse_candles(
                reply.body, instrument, interval, window, now_us=now_us
            ),
            {
                # Both ends are included: the last bucket's open, not the window's end.
                "start": int(opens[0]) // US_PER_S,
                "end": int(opens[-1]) // US_PER_S,
                "granularity": self.spec.intervals[interval],
            },
            fresh=self._is_fresh(window),
        )
        self.stats.precision_loss += fetched.precision_loss
        return fetched

    async def _four_hours(self, instrument: Instrument, window: Range, now_us: int) -> Fetched:
        """Return candles of four hours made of hours: absent hours had no trades."""
        closed = min(Interval.H4.ceil(window.end), Interval.H4.floor(now_us))
        asked = Range(window.start, max(window.start, min(window.end, closed)))
        span = Range(Interval.H4.ceil(window.start), closed)
        width = _ENDPOINTS["candles"].page_rows * US_PER_HOUR
        parts = [
            await self._candles(instrument, Interval.H1, part, now_us=now_us)
            for part in split(span, width)
        ]
        if not parts:
            return parse.no_candles(asked)
        hours = pa.concat_tables([part.table for part in parts])
        return Fetched(
            asked=asked,
            table=aggregate(hours, Interval.H1, Interval.H4, [span]).table,
            rejected=[bad for part in parts for bad in part.rejected],
            requests=sum(part.requests for part in parts),
            body_bytes=sum(part.body_bytes for part in parts),
            precision_loss=sum(part.precision_loss for part in parts),
        )

    # -- trades and funding ---------------------------------------------------------------------

    async def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        """Yield the trades of `window` in parts, ascending.

        There is no cursor: a stretch of time is asked for, and a shorter one if the reply is full.
        A second that holds more trades than a reply is handed over with what there is of it and a
        rejected row that says so; the ids show the hole.
        """
        start_us = window.start
        span_s = -(-window.end // US_PER_S) - start_us // US_PER_S
        while start_us < window.end:
            end_us = min(window.end, (start_us // US_PER_S + span_s) * US_PER_S)
            part = Range(start_us, end_us)
            is_shortest = span_s == 1
            got, size = await self._ask(
                _ENDPOINTS["trades"],
                instrument,
                lambda reply: (parse.parse_trades(reply.body, instrument), len(reply.body)),
                _trade_params(part, 0 if is_shortest else _OVERLAP_S),
                fresh=self._is_fresh(part),
            )
            is_full = got.rows >= _ENDPOINTS["trades"].page_rows
            if is_full and not is_shortest:
                span_s = max(1, span_s // 2)
                continue
            if is_full:
                got.page.rejected.append(_overflow(part, got.rows))
            fetched = parse.finish_trades(got.page, part, requests=1, body_bytes=size)
            self.stats.precision_loss += fetched.precision_loss
            yield fetched
            start_us = end_us
            if got.rows < _ENDPOINTS["trades"].page_rows * _COMFORT:
                span_s *= 2

    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        """Refuse: there is no history of funding.

        Raises:
            NotSupported: always.
        """
        del instrument, window
        raise NotSupported(NAME, "funding history", FUNDING_REASON)

    # -- single readings ------------------------------------------------------------------------

    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        """Return the book, sizes in base units; it cannot be joined to the stream."""
        return await self._ask(
            _ENDPOINTS["book"],
            instrument,
            lambda reply: reading.parse_book(reply.body, instrument, ts_recv=self._now_us()),
            {"product_id": _native(instrument), "limit": max(1, depth)},
            fresh=True,
        )

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Return the tops of the books, one call each.

        From the book and not from the ticker, which knows no sizes and no time.
        """
        return list(await asyncio.gather(*(self._quote(one) for one in instruments)))

    async def _quote(self, instrument: Instrument) -> Quote:
        return await self._ask(
            _ENDPOINTS["book"],
            instrument,
            lambda reply: reading.parse_quote(reply.body, instrument, ts_recv=self._now_us()),
            {"product_id": _native(instrument), "limit": 1},
            fresh=True,
        )

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest of a perpetual in base units; it has no time of its own."""
        amount = await self._ask(
            _ENDPOINTS["product"],
            instrument,
            lambda reply: listing.parse_open_interest(reply.body),
            {},
            fresh=True,
        )
        if amount is None:
            raise NotSupported(NAME, "open interest", f"{instrument.symbol} shows none")
        now_us = self._now_us()
        return OpenInterest(
            exchange=NAME,
            symbol=instrument.symbol,
            ts_event=self.clock.now_us(),
            ts_recv=now_us,
            open_interest=amount,
        )

    # -- plans ----------------------------------------------------------------------------------

    def candle_endpoint(self, instrument: Instrument) -> Endpoint:
        """Return the endpoint of candles."""
        del instrument
        return _ENDPOINTS["candles"]

    def window_us(self, instrument: Instrument, kind: Kind) -> int:
        """Return the width of trade windows."""
        self.plan_endpoint(instrument, kind)
        return _TRADES_WINDOW_US

    def plan_endpoint(self, instrument: Instrument, kind: Kind) -> Endpoint:
        """Return the endpoint that history of `kind` is fetched from."""
        del instrument
        if kind is Kind.FUNDING:
            raise NotSupported(NAME, "funding history", FUNDING_REASON)
        if kind not in (Kind.CANDLES, Kind.TRADES):
            raise NotSupported(NAME, str(kind), "no history of it is read")
        return _ENDPOINTS[str(kind)]

    # -- helpers --------------------------------------------------------------------------------

    async def _ask(
        self,
        endpoint: Endpoint,
        instrument: Instrument,
        decode: Callable[[HttpReply], T],
        params: Mapping[str, str | int],
        *,
        fresh: bool = False,
    ) -> T:
        native = _native(instrument)
        path = {"native": native} if "{native}" in endpoint.path else {}
        fresh = self._asks_again((endpoint.name, native, *params.values())) or fresh
        try:
            return await self.request(
                endpoint, decode, params, headers=NO_CACHE if fresh else None, **path
            )
        except UnknownSymbol:
            raise UnknownSymbol(NAME, instrument.symbol) from None

    def _asks_again(self, question: tuple[str | int, ...]) -> bool:
        """Remember a question; return whether it was asked lately: a cache is no second answer."""
        known = question in self._questions
        while len(self._questions) >= _MAX_QUESTIONS:
            self._questions.pop(next(iter(self._questions)))
        self._questions[question] = None
        return known

    def _is_fresh(self, asked: Range) -> bool:
        return asked.end > self.clock.now_us() - _FRESH_US

    def _now_us(self) -> int:
        return self._tools.system.now_us()


def _native(instrument: Instrument) -> str:
    """Return the product id.

    Raises:
        NotSupported: an international perpetual, which is not here any more.
    """
    if instrument.native.endswith(MOVED_SUFFIX):
        raise NotSupported(
            NAME,
            instrument.native,
            MOVED_REASON,
            remedy="Ask for the same contract on another exchange, or for BTC-USD-PERP, its "
            "counterpart for the United States",
        )
    return instrument.native


def _trade_params(part: Range, overlap_s: int) -> dict[str, str | int]:
    """Return the question: whole seconds around `part`, a second more on either side."""
    return {
        "limit": _ENDPOINTS["trades"].page_rows,
        "start": part.start // US_PER_S - overlap_s,
        "end": -(-part.end // US_PER_S) + overlap_s,
    }


def _overflow(part: Range, rows: int) -> Rejected:
    reason = f"one second holds more than the {rows} trades of a reply"
    return Rejected(part.start, reason, f"{part.start}..{part.end}")
