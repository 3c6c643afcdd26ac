"""Bybit v5 in a box: spot, linear and inverse perpetuals under one `category`, and the archive.

What it reproduces: envelopes whose `retCode` tells failure under HTTP 200; candles newest first
with both bounds inclusive, the one that contains `start` first of all, the running one among them,
walking forward only from a lone `start`; inverse volume in dollars; 60 recent trades on spot and
1000 elsewhere without paging; funding that refuses a lone start; instruments in pages with a
cursor that arrives percent-encoded; one rolling quota per address that ends in ten minutes of 403.

Of a range with more candles than `limit` the newest ones before `end` are served. Limits over the
maximum are cut to it, as are those of books.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import msgspec

from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator import bybit_info, bybit_pages, bybit_replies, bybit_rows
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.book import STEP_US
from zvt_crypto.simulator.bybit_archive import ROOTS, Archive
from zvt_crypto.simulator.bybit_limits import IpGovernor
from zvt_crypto.simulator.bybit_replies import ok, refuse, rows
from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import decimal_text, encode_values
from zvt_crypto.simulator.instrument import ASSETS, Instrument, Kind
from zvt_crypto.simulator.market import Funding, Trades
from zvt_crypto.simulator.rows import END_OF_TIME, Layout, Page
from zvt_crypto.simulator.venue import (
    Encoded,
    Endpoint,
    Reply,
    Request,
    Venue,
    make_default,
)
from zvt_crypto.simulator.world import World

MS: Final = 1_000
INTERVALS: Final[dict[str, Bar]] = {
    str(count): bars.MINUTES[count] for count in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)
} | {"D": bars.DAY, "W": bars.WEEK, "M": bars.MONTH}
KINDS: Final = {"spot": Kind.SPOT, "linear": Kind.LINEAR, "inverse": Kind.INVERSE}
_CONTRACTS: Final = ("linear", "inverse")
_EARLIEST: Final = {
    Kind.SPOT: "2021-07-05T00:00:00Z",
    Kind.LINEAR: "2020-03-25T00:00:00Z",
    Kind.INVERSE: "2019-10-01T00:00:00Z",
}
_SMALL_CONTRACTS: Final = 520  # more than one page of 500, as on the real venue
_SMALL_TRADES: Final = 100
_MOST_LEVELS: Final = 1_000
_LATEST_MS: Final = 2**52
_QUIET_US: Final = 10_000_000
DEEPEST_US: Final = 200_000
"""How often a book of 1000 levels is sent; over REST it is as old."""


class BybitVenue(Venue):
    """Bybit spot, linear and inverse perpetuals."""

    name = "bybit"
    book_levels = 1_000
    hosts = frozenset(
        (
            "api.bybit.com", "api.bytick.com", "api-testnet.bybit.com", "api-demo.bybit.com",
            "api.bybit.nl", "api.bybit.eu", "public.bybit.com",
        )
    )  # fmt: skip
    newest_first = True
    candle_layout: ClassVar[Layout] = Layout(times=(0,), prices=(1, 2, 3, 4), volume=5)
    trade_layout: ClassVar[Layout] = Layout(times=("time",), prices=("price",), volume="size")
    funding_layout: ClassVar[Layout] = Layout(
        times=("fundingRateTimestamp",), prices=("fundingRate",)
    )

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._governors: dict[str, IpGovernor] = {}
        self._small_tickers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.archive = Archive(self)
        files = Endpoint("archive", self.archive.handle, 0, "archive", scope="free")
        self._files = files
        market = "/v5/market"
        self._add("/v5/market/time", self._time, is_data=False)
        self._add("/v5/system/status", self._status, is_data=False)
        self._add(f"{market}/instruments-info", self._instruments, is_data=False)
        self._add(f"{market}/kline", self._kline, "candles")
        for name in ("mark-price-kline", "index-price-kline"):
            self._add(f"{market}/{name}", self._price_kline, "candles")
        self._add(f"{market}/recent-trade", self._recent_trades, "trades")
        self._add(f"{market}/funding/history", self._funding_history, "funding")
        self._add(f"{market}/orderbook", self._orderbook)
        self._add(f"{market}/tickers", self._tickers)
        self._add(f"{market}/open-interest", self._open_interest)

    def make_instruments(self) -> Sequence[Instrument]:
        """Return spot pairs, perpetuals of three kinds of margin, and many small contracts."""
        spot = [self.name_instrument(base, "USDT", Kind.SPOT) for base in ASSETS]
        spot.append(self.name_instrument("BTC", "USDC", Kind.SPOT))
        linear = [self.name_instrument(base, "USDT", Kind.LINEAR) for base in ASSETS]
        linear += [self.name_instrument(base, "USDC", Kind.LINEAR) for base in ("BTC", "ETH")]
        linear.append(self.name_instrument("1000PEPE", "USDT", Kind.LINEAR))
        stock = self.name_instrument("TSLA", "USDT", Kind.LINEAR)
        linear.append(replace(stock, extra={"symbolType": "stock"}))
        inverse = [self.name_instrument(base, "USD", Kind.INVERSE) for base in ("BTC", "ETH")]
        small = [
            replace(
                self.name_instrument(f"SIM{number:03d}", "USDT", Kind.LINEAR),
                trades_per_day=_SMALL_TRADES,
                extra={bybit_info.SMALL: "1"},
            )
            for number in range(_SMALL_CONTRACTS)
        ]
        return [*spot, *linear, *inverse, *small]

    def name_instrument(self, base: str, quote: str, kind: Kind) -> Instrument:
        """Return an instrument; contracts that settle in USDC are called `BTCPERP`."""
        native = f"{base}PERP" if kind is Kind.LINEAR and quote == "USDC" else base + quote
        steps: dict[str, str] = {}
        if kind is Kind.INVERSE:
            steps = {"price_step": "0.5", "size_step": "1", "settle": base}
            if base != "BTC":
                steps["price_step"] = "0.05"
        return make_default(self, base, quote, kind, native, _EARLIEST[kind], **steps)

    def encode_candles(
        self, instrument: Instrument, bar: Bar, candles: CandleColumns, *, closed: bool
    ) -> Encoded:
        """Write rows of seven strings, newest first."""
        del bar, closed
        return bybit_rows.encode_candles(instrument, candles)

    def encode_trades(self, instrument: Instrument, trades: Trades, style: str) -> Encoded:
        """Write rows of `recent-trade`, newest first."""
        del style
        return bybit_rows.encode_trades(
            instrument, trades, self.world.config.seed, self.book_step_us(instrument)
        )

    def encode_funding(self, instrument: Instrument, funding: Funding) -> Encoded:
        """Write settled rates, newest first."""
        settled = zip(funding.time_us.tolist(), funding.rate.tolist(), strict=True)
        return encode_values(
            [
                {
                    "symbol": instrument.native,
                    "fundingRate": decimal_text(rate, 8),
                    "fundingRateTimestamp": str(time_us // MS),
                }
                for time_us, rate in reversed(list(settled))
            ]
        )

    def book_step_us(self, instrument: Instrument) -> int:
        """Return how often a book changes: those of the small contracts rest for ten seconds."""
        return _QUIET_US if instrument.extra.get(bybit_info.SMALL) else STEP_US

    def update_id(self, instrument: Instrument, step: int, period_us: int) -> int:
        """Return the `u` of a book, which counts the messages of a topic; 1 after a restart.

        Args:
            instrument: whose book.
            step: of the book.
            period_us: how often the topic is sent; 0 for every change. REST has the `u` of the
                deepest topic.
        """
        width = max(1, period_us // self.book_step_us(instrument))
        restarted = self.books.reset_step(instrument, step)
        return step // width - (-(-restarted // width) - 1 if restarted else 0)

    # Limits and what is not an answer.

    def find_endpoint(self, request: Request) -> Endpoint | None:
        """Return the endpoint of a path; everything under the archive's folders is one."""
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path[1:].partition("/")[0] in ROOTS:
            return self._files
        return self.endpoints.get(request.path)

    def instrument_of(self, request: Request) -> Instrument | None:
        """Return the instrument of category and symbol, or of an archive's folder."""
        if request.path[1:].partition("/")[0] in ROOTS:
            return self.archive.instrument_at(request.path)
        kind = KINDS.get(request.query.get("category", "linear"))
        native = request.query.get("symbol", "")
        return self.lookup(native, (kind,)) if kind and native else None

    def admit(self, request: Request, endpoint: Endpoint | None) -> Reply | None:
        """Count the request against the quota of its address; the archive has none."""
        if endpoint is not None and endpoint.scope == "free":
            return None
        self.stats.weight += 1
        governor = self._governors.get(request.client)
        if governor is None:
            governor = self._governors[request.client] = IpGovernor(self.world.scale)
        admitted = governor.admit(request.now_us)
        self.stats.note_share("ip 5s", governor.window.peak_share)
        if not admitted:
            reply = bybit_replies.banned(request)
            reply.refusal = True
            return reply
        if request.method == "GET" and request.headers.get("Content-Length", "0") != "0":
            return bybit_replies.bad_body()
        return None

    def not_found(self, request: Request) -> Reply:
        """Return Bybit's answer to an unknown path or method."""
        text = "request path not found or request method is invalid"
        return bybit_replies.failure(request, bybit_replies.NO_SUCH_PATH, text, 404)

    def status_reply(self, request: Request, status: int, params: Mapping[str, Any]) -> Reply:
        """Return Bybit's own body for a status."""
        own = bybit_replies.of_status(request, status, params)
        return own or super().status_reply(request, status, params)

    def maintenance_reply(self, request: Request) -> Reply:
        """Return 503, except from the status page and the clock."""
        if request.path == "/v5/system/status":
            return self._status(request, ongoing=True)
        return self.status_reply(request, 503, {})

    # Endpoints.

    def _add(
        self, path: str, handle: Callable[[Request], Reply], kind: str = "", *, is_data: bool = True
    ) -> None:
        self.endpoints[path] = Endpoint(path, handle, 1, kind, is_data)

    def _time(self, request: Request) -> Reply:
        us = request.server_us
        value = {"timeSecond": str(us // 1_000_000), "timeNano": str(us * 1_000)}
        return ok(request, value)

    def _status(self, request: Request, *, ongoing: bool = False) -> Reply:
        event = bybit_info.maintenance(request.now_us)
        return ok(request, {"list": [event] if ongoing else []})

    def _instruments(self, request: Request) -> Reply:
        category = self._category(request, (*KINDS, "option"), default="")
        entries = self._entries(category)
        query = request.query
        if query.get("symbol"):
            entries = [e for e in entries if e["symbol"] == query["symbol"]]
            if not entries:
                raise refuse(request, f"symbol invalid {query['symbol']}")
        else:
            status = query.get("status") or bybit_info.TRADING
            entries = [e for e in entries if e["status"] == status]
        if query.get("baseCoin"):
            entries = [e for e in entries if e["baseCoin"] == query["baseCoin"].upper()]
        cursor = ""
        if category != "spot":  # spot knows no pages
            limit = self._limit(request, 500, 1_000)
            entries, cursor = self._cut(request, entries, limit)
        value = {"category": category, "list": entries, "nextPageCursor": cursor}
        return ok(request, value)

    def _entries(self, category: str) -> list[dict[str, Any]]:
        if category == "option":
            return []
        listed = self.listed_instruments(KINDS[category])
        entries = [bybit_info.describe(i, n) for n, i in enumerate(listed, start=1)]
        if category != "spot":
            entries += bybit_info.other_contracts(category)
        return sorted(entries, key=lambda entry: entry["symbol"])

    def _cut(
        self, request: Request, entries: list[dict[str, Any]], limit: int
    ) -> tuple[list[dict[str, Any]], str]:
        after = ""
        if request.query.get("cursor"):
            after = bybit_pages.read_cursor(request.query["cursor"])
            if not after:
                raise refuse(request, "Illegal cursor")
        rest = [entry for entry in entries if entry["symbol"] > after]
        page = rest[:limit]
        more = len(rest) > limit
        return page, bybit_pages.write_cursor(page) if more else ""

    def _kline(self, request: Request) -> Reply:
        category, page = self._candles(request)
        return rows(request, category, page, symbol=request.query["symbol"])

    def _price_kline(self, request: Request) -> Reply:
        if request.query.get("category") == "spot":
            raise refuse(request, "Category Invalid")
        category, page = self._candles(request)
        prices = [msgspec.json.decode(row, type=list[str])[:5] for row in page.split()]
        value = {"category": category, "symbol": request.query["symbol"], "list": prices}
        return ok(request, value)

    def _candles(self, request: Request) -> tuple[str, Page]:
        category = self._category(request, tuple(KINDS))
        instrument = self._symbol(request, category)
        bar = INTERVALS.get(request.query.get("interval", ""))
        if bar is None:
            raise refuse(request, "Interval Is Invalid")
        limit = self._limit(request, 200, 1_000)
        start, end = self._number(request, "start"), self._number(request, "end")
        if start is not None and end is not None and start > end:
            raise refuse(request, "start time is larger than end time")
        first = 0 if start is None else bar.floor(start * MS)
        stop = END_OF_TIME if end is None else end * MS + 1
        forward = start is not None and end is None
        page = self.candle_page(
            request, instrument, bar, first, stop, limit=limit, newest=not forward
        )
        return category, page

    def _recent_trades(self, request: Request) -> Reply:
        category = self._category(request, tuple(KINDS), default="")
        instrument = self._symbol(request, category)
        default, most = (60, 60) if category == "spot" else (500, 1_000)
        limit = self._limit(request, default, most)
        page = self.trade_page(request, instrument, limit=limit, newest=True)
        return rows(request, category, page)

    def _funding_history(self, request: Request) -> Reply:
        category = self._category(request, _CONTRACTS, default="")
        instrument = self._symbol(request, category)
        limit = self._limit(request, 200, 200)
        start, end = self._number(request, "startTime"), self._number(request, "endTime")
        if start is not None and end is None:
            raise refuse(request, "endTime is required with startTime")
        first = 0 if start is None else start * MS
        stop = END_OF_TIME if end is None else end * MS + 1
        page = self.funding_page(request, instrument, first, stop, limit=limit, newest=True)
        return rows(request, category, page)

    def _orderbook(self, request: Request) -> Reply:
        category = self._category(request, tuple(KINDS), default="")
        instrument = self._symbol(request, category)
        limit = self._limit(request, 1 if category == "spot" else 25, _MOST_LEVELS)
        deepest_us = request.now_us // DEEPEST_US * DEEPEST_US
        book = self.book_at(instrument, deepest_us)
        bids, asks = book.top(limit)
        value = {
            "s": instrument.native,
            "b": bybit_info.levels(instrument, bids),
            "a": bybit_info.levels(instrument, asks),
            "ts": request.server_us // MS,
            "u": self.update_id(instrument, book.step, DEEPEST_US),
            "seq": book.sequence,
            "cts": book.time_us // MS,
        }
        return ok(request, value)

    def _tickers(self, request: Request) -> Reply:
        category = self._category(request, (*KINDS, "option"), default="")
        if category == "option":
            return ok(request, {"category": category, "list": []})
        if request.query.get("symbol"):
            chosen = [self._symbol(request, category)]
        else:
            chosen = self.listed_instruments(KINDS[category])
        tickers = [self._ticker(i, request.now_us) for i in chosen]
        return ok(request, {"category": category, "list": tickers})

    def _ticker(self, instrument: Instrument, now_us: int) -> dict[str, Any]:
        """Return a ticker; those of the small contracts are made once a day, there are many."""
        if not instrument.extra.get(bybit_info.SMALL):
            return bybit_info.ticker(self, instrument, now_us)
        day = now_us // US_PER_DAY
        made, value = self._small_tickers.get(instrument.native, (-1, {}))
        if made != day:
            value = bybit_info.ticker(self, instrument, now_us)
            self._small_tickers[instrument.native] = (day, value)
        return value

    def _open_interest(self, request: Request) -> Reply:
        category = self._category(request, _CONTRACTS, default="")
        instrument = self._symbol(request, category)
        width = bybit_info.INTEREST_WIDTHS_US.get(request.query.get("intervalTime", ""))
        if width is None:
            raise refuse(request, "intervalTime Invalid")
        limit = self._limit(request, 50, 200)
        start, end = self._number(request, "startTime"), self._number(request, "endTime")
        times, cursor = bybit_pages.interest_times(
            width,
            first_us=max(instrument.listed_us, 0 if start is None else start * MS),
            last_us=request.now_us if end is None else min(request.now_us, end * MS),
            cursor=request.query.get("cursor", ""),
            limit=limit,
        )
        readings = [
            bybit_info.interest(self, instrument, time) | {"timestamp": str(time // MS)}
            for time in times
        ]
        value = {
            "symbol": instrument.native,
            "category": category,
            "list": readings,
            "nextPageCursor": cursor,
        }
        return ok(request, value)

    # Parameters.

    def _category(
        self, request: Request, known: tuple[str, ...], *, default: str = "linear"
    ) -> str:
        category = request.query.get("category") or default
        if category not in known:
            raise refuse(request, "Category Invalid")
        return category

    def _symbol(self, request: Request, category: str) -> Instrument:
        instrument = self.lookup(request.query.get("symbol", ""), (KINDS[category],))
        if instrument is None:
            raise refuse(request, "symbol invalid")
        return instrument

    def _number(self, request: Request, name: str) -> int | None:
        text = request.query.get(name)
        if not text:
            return None
        if not (text.isascii() and text.isdecimal()):
            raise refuse(request, f"{name} Is Invalid")
        return min(int(text), _LATEST_MS)

    def _limit(self, request: Request, default: int, most: int) -> int:
        limit = self._number(request, "limit")
        if limit == 0:
            raise refuse(request, "Limit Is Invalid")
        return default if limit is None else min(limit, most)
