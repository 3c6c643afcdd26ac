"""OKX in a box: `/api/v5` market and public data, spot, linear and inverse swaps.

What it reproduces: `after` older than and `before` newer than, both exclusive, newest first;
`before` alone answers the latest page; `before` at or above `after` is ignored; 1,440 bars on
`/candles`, and about a minute's lag on `/history-candles`; days that open at 16:00 UTC unless
`utc` is written; the confirm flag; volumes in contracts; trades by id or by time and error 50039;
funding and trades of three months only; HTTP 200 with an error code inside; a limit per endpoint
and two seconds, refused with 50011. Archives are in `okx_archive.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final

import numpy as np

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, US_PER_S
from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator import okx_archive, okx_info
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import (
    Field,
    Number,
    Text,
    decimal_text,
    encode_rows,
    encode_values,
)
from zvt_crypto.simulator.instrument import ASSETS, Instrument, Kind
from zvt_crypto.simulator.limits import SlidingWindow
from zvt_crypto.simulator.market import Funding, Trades
from zvt_crypto.simulator.okx_archive import OkxArchive
from zvt_crypto.simulator.rows import END_OF_TIME, Layout, Page
from zvt_crypto.simulator.venue import (
    Encoded,
    Endpoint,
    Refusal,
    Reply,
    Request,
    Venue,
    json_reply,
    make_default,
    reverse_trades,
)
from zvt_crypto.simulator.world import World

MS: Final = 1_000

_UTC8: Final = bars.DAY_UTC8.origin_us
BARS: Final[dict[str, Bar]] = {
    "1m": bars.MINUTES[1], "3m": bars.MINUTES[3], "5m": bars.MINUTES[5], "15m": bars.MINUTES[15],
    "30m": bars.MINUTES[30], "1H": bars.MINUTES[60], "2H": bars.MINUTES[120],
    "4H": bars.MINUTES[240],
    "6H": Bar(6 * US_PER_HOUR, origin_us=_UTC8), "12H": Bar(12 * US_PER_HOUR, origin_us=_UTC8),
    "1D": bars.DAY_UTC8, "2D": Bar(2 * US_PER_DAY, origin_us=_UTC8),
    "3D": Bar(3 * US_PER_DAY, origin_us=_UTC8), "1W": bars.WEEK_UTC8, "1M": bars.MONTH_UTC8,
    "3M": Bar(0, months=3, origin_us=_UTC8),
    "6Hutc": bars.MINUTES[360], "12Hutc": bars.MINUTES[720], "1Dutc": bars.DAY,
    "2Dutc": Bar(2 * US_PER_DAY), "3Dutc": Bar(3 * US_PER_DAY), "1Wutc": bars.WEEK,
    "1Mutc": bars.MONTH, "3Mutc": Bar(0, months=3),
}  # fmt: skip
_WINDOW_US: Final = 2 * US_PER_S
_NEWEST_BARS: Final = 1_440
_QUIET_TRADES: Final = 300  # a day
_QUIET_STEP_US: Final = 90 * US_PER_S
_LAG_US: Final = US_PER_MINUTE
_REACH_US: Final = 91 * US_PER_DAY
_SECONDS_REACH_US: Final = 91 * US_PER_DAY
_EARLIEST: Final = "2018-01-11T00:00:00Z"
_KINDS_OF_TYPE: Final = {"SPOT": (Kind.SPOT,), "SWAP": (Kind.LINEAR, Kind.INVERSE)}
_TYPES: Final = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")


class OkxVenue(Venue):
    """OKX spot and perpetual swaps."""

    name = "okx"
    hosts = frozenset(
        (
            "www.okx.com", "openapi.okx.com", "okx.com", "aws.okx.com", "eea.okx.com",
            "us.okx.com", "my.okx.com", "static.okx.com",
        )
    )  # fmt: skip
    newest_first = True
    candle_layout: ClassVar[Layout] = Layout(times=(0,), prices=(1, 2, 3, 4), volume=5)
    trade_layout: ClassVar[Layout] = Layout(times=("ts",), prices=("px",), volume="sz")
    funding_layout: ClassVar[Layout] = Layout(times=("fundingTime",), prices=("realizedRate",))

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._windows: dict[tuple[str, ...], SlidingWindow] = {}
        self._quotas: dict[str, int] = {}
        self._archive = OkxArchive(self)
        self._add_market()
        self._add_public()

    def make_instruments(self) -> Sequence[Instrument]:
        """Return spot pairs against USDT, linear swaps, and the inverse BTC and ETH swaps."""
        spot = [self.name_instrument(base, "USDT", Kind.SPOT) for base in ASSETS]
        linear = [self.name_instrument(b, "USDT", Kind.LINEAR) for b in ("BTC", "ETH", "SOL")]
        inverse = [self.name_instrument(b, "USD", Kind.INVERSE) for b in ("BTC", "ETH")]
        return [*spot, *linear, *inverse]

    def name_instrument(self, base: str, quote: str, kind: Kind) -> Instrument:
        """Return an instrument in OKX's spelling, contracts as OKX sizes them."""
        if kind is Kind.SPOT:
            return make_default(self, base, quote, kind, f"{base}-{quote}", _EARLIEST)
        native = f"{base}-{quote}-SWAP"
        if kind is Kind.INVERSE:
            value = "100" if base == "BTC" else "10"
            return make_default(
                self, base, quote, kind, native, _EARLIEST, price_step="0.1" if base == "BTC"
                else "0.01", size_step="0.1", contract=value, settle=base,
            )  # fmt: skip
        value = {"BTC": "0.01", "ETH": "0.1"}.get(base, "1")
        return make_default(
            self, base, quote, kind, native, _EARLIEST, size_step="0.01", contract=value
        )

    def split_native(self, text: str) -> tuple[str, str, Kind] | None:
        """Read `BASE-QUOTE-SWAP`; spot ids are canonical symbols already."""
        parts = text.split("-")
        if len(parts) != 3 or parts[2] != "SWAP":  # noqa: PLR2004 - base, quote, word
            return None
        return parts[0], parts[1], Kind.INVERSE if parts[1] == "USD" else Kind.LINEAR

    def book_step_us(self, instrument: Instrument) -> int:
        """Return a slow step where little is traded: such a book rests, and is kept alive."""
        quiet = instrument.trades_per_day <= _QUIET_TRADES
        return _QUIET_STEP_US if quiet else super().book_step_us(instrument)

    def encode_candles(
        self, instrument: Instrument, bar: Bar, candles: CandleColumns, *, closed: bool
    ) -> Encoded:
        """Write nine strings a row, newest first; volumes by the venue's three columns."""
        del bar
        rows = candles.reversed()
        spot = instrument.kind is Kind.SPOT
        first, second = (rows.base, rows.quote) if spot else (rows.native, rows.base)
        fields: list[Field] = [b'["', Number(rows.open_us // MS)]
        columns = (rows.open, rows.high, rows.low, rows.close, first, second, rows.quote)
        for column in columns:
            fields += [b'","', column.trimmed()]
        fields.append(b'","1"],' if closed else b'","0"],')
        return encode_rows(fields, len(rows))

    def encode_trades(self, instrument: Instrument, trades: Trades, style: str) -> Encoded:
        """Write trades newest first; sizes in contracts on swaps."""
        del style
        ids, rows = reverse_trades(trades)
        fields: list[Field] = [
            f'{{"instId":"{instrument.native}","tradeId":"'.encode(), Number(ids),
            b'","px":"', Number(rows.price, instrument.price_decimals).trimmed(),
            b'","sz":"', Number(rows.size, instrument.size_decimals).trimmed(),
            b'","side":"', Text(np.where(rows.buy, b"buy", b"sell")),
            b'","source":"0","ts":"', Number(rows.time_us // MS), b'"},',
        ]  # fmt: skip
        return encode_rows(fields, len(rows))

    def encode_funding(self, instrument: Instrument, funding: Funding) -> Encoded:
        """Write settled rates newest first, with what was predicted."""
        columns = (funding.time_us, funding.rate, funding.predicted)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        values = [
            {
                "instType": "SWAP",
                "instId": instrument.native,
                "formulaType": "withRate",
                "fundingRate": decimal_text(predicted, 8),
                "realizedRate": decimal_text(rate, 8),
                "fundingTime": str(time_us // MS),
                "method": "current_period",
            }
            for time_us, rate, predicted in rows
        ]
        return encode_values(values[::-1])

    def find_endpoint(self, request: Request) -> Endpoint | None:
        """Return the endpoint of a path; all download files of a kind are one."""
        if not request.path.startswith(okx_archive.ROOT):
            return self.endpoints.get(request.path)
        name = "/".join(request.path.split("/")[:6])
        return Endpoint(name, self._archive.handle, 0, "archive", scope="free")

    def instrument_of(self, request: Request) -> Instrument | None:
        """Return the instrument of the `instId` parameter, or of a file's name."""
        if request.path.startswith(okx_archive.ROOT):
            return self._archive.instrument_of(request.path)
        native = request.query.get("instId", "")
        return self.lookup(native) if native else None

    def admit(self, request: Request, endpoint: Endpoint | None) -> Reply | None:
        """Count a request in its endpoint's own two seconds."""
        if endpoint is None or endpoint.scope == "free":
            return None
        parameter = {"instType": "instType", "instId": "instId"}.get(endpoint.scope)
        key = (request.client, endpoint.name, request.query.get(parameter or "", ""))
        window = self._windows.get(key)
        if window is None:
            limit = self._quotas[endpoint.name]
            window = self._windows[key] = SlidingWindow(limit, _WINDOW_US)
        self.stats.weight += 1
        allowed = window.spend(request.now_us)
        self.stats.note_share(endpoint.name, window.peak_share)
        if allowed:
            return None
        reply = okx_info.error("50011", "Too Many Requests", status=429)
        reply.refusal = True
        return reply

    def not_found(self, request: Request) -> Reply:
        """Return OKX's answer to an unknown path."""
        del request
        return json_reply({"msg": "Not Found", "code": "404", "data": []}, 404)

    def status_reply(self, request: Request, status: int, params: Mapping[str, Any]) -> Reply:
        """Return OKX's own body for a status."""
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return okx_info.error("50011", "Too Many Requests", status=429)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and params.get("body") != "html":
            return okx_info.error("50001", "Service temporarily unavailable.", status=status)
        return super().status_reply(request, status, {**params, "body": "html"})

    def maintenance_reply(self, request: Request) -> Reply:
        """Return 50001, except from the status page."""
        if request.path == "/api/v5/system/status":
            return okx_info.data([okx_info.maintenance(request.now_us)])
        return self.status_reply(request, 503, {})

    def refuse(self, code: str, message: str) -> Refusal:
        """Return an error in OKX's form, HTTP 200 or 400, to be raised."""
        return Refusal(okx_info.error(code, message, status=okx_info.STATUS_OF.get(code, 200)))

    # Endpoints.

    def _add(self, path: str, handle: Callable[[Request], Reply], limit: int, kind: str = "",
             *, scope: str = "", is_data: bool = True) -> None:  # fmt: skip
        full = f"/api/v5/{path}"
        self._quotas[full] = self.world.scale.apply(limit)
        self.endpoints[full] = Endpoint(full, handle, 1, kind, is_data, scope)

    def _add_market(self) -> None:
        self._add("market/candles", self._candles, 40, "candles")
        self._add("market/history-candles", self._history_candles, 20, "candles")
        self._add("market/trades", self._trades, 100, "trades")
        self._add("market/history-trades", self._history_trades, 20, "trades")
        self._add("market/books", self._books(400, 1, 4), 40)
        self._add("market/books-full", self._books(5_000, 1, 3), 10)
        self._add("market/ticker", self._ticker, 20)
        self._add("market/tickers", self._tickers, 20)

    def _add_public(self) -> None:
        self._add("public/time", self._time, 10, is_data=False)
        self._add("public/instruments", self._instruments, 20, scope="instType", is_data=False)
        self._add("public/funding-rate", self._funding, 10, scope="instId")
        self._add("public/funding-rate-history", self._funding_history, 10, "funding",
                  scope="instId")  # fmt: skip
        self._add("public/open-interest", self._open_interest, 20, scope="instId")
        self._add("public/mark-price", self._mark_price, 10, scope="instId")
        self._add("public/market-data-history", self._archive.list_files, 5, is_data=False)
        self._add("system/status", lambda _request: okx_info.data([]), 1, is_data=False)

    def _candles(self, request: Request) -> Reply:
        instrument, bar = self._instrument(request), self._bar(request)
        oldest = bar.opening(bar.index(request.now_us) - _NEWEST_BARS + 1)
        return self._candle_reply(request, instrument, bar, oldest, END_OF_TIME)

    def _history_candles(self, request: Request) -> Reply:
        instrument = self._instrument(request)
        if request.query.get("bar") == "1s":
            oldest = request.now_us - _SECONDS_REACH_US
            return self._candle_reply(request, instrument, bars.SECOND, oldest, END_OF_TIME)
        bar = self._bar(request)
        newest = request.now_us - _LAG_US
        return self._candle_reply(request, instrument, bar, 0, bar.floor(newest))

    def _candle_reply(
        self, request: Request, instrument: Instrument, bar: Bar, oldest: int, newest: int
    ) -> Reply:
        start, end = self._bounds(request)
        page = self.candle_page(
            request, instrument, bar, max(start, oldest), min(end, newest),
            limit=self._limit(request, 100, 300), newest=True,
        )  # fmt: skip
        return _rows(page)

    def _trades(self, request: Request) -> Reply:
        instrument, limit = self._instrument(request), self._limit(request, 100, 500)
        return _rows(self.trade_page(request, instrument, limit=limit, newest=True))

    def _history_trades(self, request: Request) -> Reply:
        instrument, limit = self._instrument(request), self._limit(request, 100, 100)
        oldest = request.now_us - _REACH_US
        by = request.query.get("type", "1")
        if by not in ("1", "2"):
            raise self.refuse("51000", "Parameter type error")
        if by == "2":
            if "before" in request.query:
                raise self.refuse("50039", "Before parameter is not available for type 2")
            _, end = self._bounds(request)
            return _rows(
                self.trade_page(request, instrument, oldest, end, limit=limit, newest=True)
            )
        start, end = self._range(request)
        page = self.trade_page_by_id(request, instrument, start, end, limit=limit, newest=True)
        kept = [
            (rows, max(first, int(np.searchsorted(rows.keys, oldest))), stop)
            for rows, first, stop in page.cuts
        ]
        page.cuts = [cut for cut in kept if cut[1] < cut[2]]
        return _rows(page)

    def _books(self, most: int, default: int, width: int) -> Callable[[Request], Reply]:
        def handle(request: Request) -> Reply:
            instrument = self._instrument(request)
            depth = min(self._number(request, "sz") or default, most)
            return okx_info.data([okx_info.book(self, instrument, request.now_us, depth, width)])

        return handle

    def _ticker(self, request: Request) -> Reply:
        instrument = self._instrument(request)
        return okx_info.data([okx_info.ticker(self, instrument, request.now_us)])

    def _tickers(self, request: Request) -> Reply:
        listed = self._of_type(request)
        return okx_info.data([okx_info.ticker(self, i, request.now_us) for i in listed])

    def _time(self, request: Request) -> Reply:
        return okx_info.data([{"ts": str(request.server_us // MS)}])

    def _instruments(self, request: Request) -> Reply:
        listed = self._of_type(request)
        if wanted := request.query.get("instId"):
            listed = [i for i in listed if i.native == wanted]
            if not listed:
                raise self.refuse("51001", okx_info.unknown(wanted))
        if family := request.query.get("instFamily") or request.query.get("uly"):
            listed = [i for i in listed if f"{i.base}-{i.quote}" == family]
        return okx_info.data([okx_info.describe(i) for i in listed])

    def _funding(self, request: Request) -> Reply:
        if request.query.get("instId") == "ANY":
            listed = [i for i in self.listed_instruments() if i.funding_hours]
        else:
            listed = [self._perpetual(request)]
        return okx_info.data([okx_info.funding(self, i, request.now_us) for i in listed])

    def _funding_history(self, request: Request) -> Reply:
        instrument, limit = self._perpetual(request), self._limit(request, 400, 400)
        start, end = self._bounds(request)
        oldest = request.now_us - _REACH_US
        page = self.funding_page(
            request, instrument, max(start, oldest), end, limit=limit, newest=True
        )
        return _rows(page)

    def _open_interest(self, request: Request) -> Reply:
        listed = [i for i in self._of_type(request) if i.funding_hours]
        if "instId" in request.query:
            listed = [self._perpetual(request)]
        return okx_info.data([okx_info.interest(self, i, request.now_us) for i in listed])

    def _mark_price(self, request: Request) -> Reply:
        listed = [i for i in self._of_type(request) if i.funding_hours]
        if "instId" in request.query:
            listed = [self._perpetual(request)]
        return okx_info.data([okx_info.mark(self, i, request.now_us) for i in listed])

    # Parameters.

    def _instrument(self, request: Request) -> Instrument:
        native = request.query.get("instId")
        if not native:
            raise self.refuse("50014", "Parameter instId can not be empty")
        instrument = self.lookup(native)
        if instrument is None:
            raise self.refuse("51001", okx_info.unknown(native))
        return instrument

    def _perpetual(self, request: Request) -> Instrument:
        instrument = self._instrument(request)
        if instrument.kind is Kind.SPOT:
            raise self.refuse("51000", "Parameter instId error")
        return instrument

    def _of_type(self, request: Request) -> list[Instrument]:
        wanted = request.query.get("instType", "")
        if wanted not in _TYPES:
            raise self.refuse("51000", "Parameter instType error")
        if wanted == "OPTION" and not ({"instFamily", "uly"} & set(request.query)):
            raise self.refuse("50014", "Parameter instFamily can not be empty")
        kinds = _KINDS_OF_TYPE.get(wanted, ())
        return [i for i in self.listed_instruments() if i.kind in kinds]

    def _bar(self, request: Request) -> Bar:
        bar = BARS.get(request.query.get("bar") or "1m")
        if bar is None:
            raise self.refuse("51000", "Parameter bar error")
        return bar

    def _number(self, request: Request, name: str) -> int | None:
        value = request.query.get(name)
        if not value:
            return None
        if not (value.isascii() and value.isdecimal()):
            raise self.refuse("51000", f"Parameter {name} error")
        return min(int(value), 2**52)

    def _limit(self, request: Request, default: int, most: int) -> int:
        """Return the page size; what is above the maximum is cut, as the venue does it."""
        limit = self._number(request, "limit")
        return default if limit is None else max(1, min(limit, most))

    def _range(self, request: Request) -> tuple[int, int]:
        """Return the bounds as numbers, start included and end excluded.

        `after` is older than, `before` newer than, both exclusive; together they are ignored
        when they contradict each other.
        """
        after, before = self._number(request, "after"), self._number(request, "before")
        if after is not None and before is not None and before >= after:
            return 0, END_OF_TIME
        start = 0 if before is None else before + 1
        return start, END_OF_TIME if after is None else after

    def _bounds(self, request: Request) -> tuple[int, int]:
        """Return the bounds as times in microseconds."""
        start, end = self._range(request)
        return start * MS, end if end == END_OF_TIME else end * MS


def _rows(page: Page) -> Reply:
    return Reply(b'{"code":"0","msg":"","data":[', page, b"]}")
