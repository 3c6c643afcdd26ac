"""Binance in a box: spot `/api/v3`, USD-M perpetuals `/fapi`, and an empty coin-margined market.

What it reproduces: candles with both bounds inclusive on the open, oldest first from `startTime`,
newest without it, the running candle last, flat candles in quiet minutes; page limits 1000 and
1500; trades by id and by time, of perpetuals for 48 hours and windows under an hour only;
funding with a few milliseconds of jitter; spot and perpetual sharing one id; both dialects of
filters; weights, the used-weight header, 429 and 418; the error bodies of bad parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MS, US_PER_S
from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator import binance_info, binance_limits, binance_rows, noise
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.binance_archive import BinanceArchive
from zvt_crypto.simulator.binance_limits import Limits, one_or_all
from zvt_crypto.simulator.binance_params import needed, number, page_size, refuse, times
from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import Ints, decimal_text
from zvt_crypto.simulator.instrument import ASSETS, Instrument, Kind
from zvt_crypto.simulator.market import Funding, Trades
from zvt_crypto.simulator.rows import END_OF_TIME, Layout, Page
from zvt_crypto.simulator.serving import AGGREGATE
from zvt_crypto.simulator.venue import (
    Encoded,
    Endpoint,
    Reply,
    Request,
    Venue,
    json_reply,
    make_default,
)
from zvt_crypto.simulator.world import World

MS: Final = 1_000

INTERVALS: Final[dict[str, Bar]] = {
    "1m": bars.MINUTES[1], "3m": bars.MINUTES[3], "5m": bars.MINUTES[5], "15m": bars.MINUTES[15],
    "30m": bars.MINUTES[30], "1h": bars.MINUTES[60], "2h": bars.MINUTES[120],
    "4h": bars.MINUTES[240], "6h": bars.MINUTES[360], "8h": bars.MINUTES[480],
    "12h": bars.MINUTES[720], "1d": bars.DAY, "3d": Bar(3 * US_PER_DAY), "1w": bars.WEEK,
    "1M": bars.MONTH,
}  # fmt: skip
_SPOT_INTERVALS: Final = {"1s": bars.SECOND} | INTERVALS
_SPOT: Final = (Kind.SPOT,)
_PERP: Final = (Kind.LINEAR,)
_PERP_TRADES_REACH_US: Final = 48 * US_PER_HOUR
_PERP_HISTORY_REACH_US: Final = 30 * US_PER_DAY
_FUNDING_JITTER_MS: Final = 16
_USUAL_FUNDING_HOURS: Final = 8
_BOOK_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1000)


class BinanceVenue(Venue):
    """Binance spot and USD-M perpetuals."""

    name = "binance"
    hosts = frozenset(
        (
            "api.binance.com", "api1.binance.com", "api2.binance.com", "api3.binance.com",
            "api4.binance.com", "api-gcp.binance.com", "data-api.binance.vision",
            "fapi.binance.com", "dapi.binance.com", "data.binance.vision",
            "testnet.binance.vision", "demo-api.binance.com", "demo-fapi.binance.com",
        )
    )  # fmt: skip
    candle_layout: ClassVar[Layout] = Layout(times=(0, 6), prices=(1, 2, 3, 4), volume=5)
    trade_layout: ClassVar[Layout] = Layout(times=("time",), prices=("price",), volume="qty")
    funding_layout: ClassVar[Layout] = Layout(times=("fundingTime",), prices=("fundingRate",))
    aggregate_layout: ClassVar[Layout] = Layout(times=("T",), prices=("p",), volume="q")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.limits = Limits(world.scale)
        self._archive = BinanceArchive(self, _SPOT_INTERVALS)
        self._add_spot()
        self._add_perp()
        for path, body in binance_info.STATIC.items():
            self._add(path, _constant(body), 1, is_data=False)

    def make_instruments(self) -> Sequence[Instrument]:
        """Return spot pairs against USDT and the perpetuals of the large coins."""
        spot = [self.name_instrument(base, "USDT", Kind.SPOT) for base in ASSETS]
        crosses = [self.name_instrument("BTC", "USDC", Kind.SPOT)]
        perps = [self.name_instrument(base, "USDT", Kind.LINEAR) for base in ("BTC", "ETH", "SOL")]
        return [*spot, *crosses, *perps]

    def name_instrument(self, base: str, quote: str, kind: Kind) -> Instrument:
        """Return a spot pair or a linear perpetual; both have the same id."""
        if kind is Kind.INVERSE:
            raise ValueError(f"binance: no inverse perpetual {base}-{quote}-PERP here")
        earliest = "2017-08-17T04:00:00Z" if kind is Kind.SPOT else "2019-09-08T17:00:00Z"
        return make_default(self, base, quote, kind, base + quote, earliest)

    def encode_candles(
        self, instrument: Instrument, bar: Bar, candles: CandleColumns, *, closed: bool
    ) -> Encoded:
        """Write rows of twelve columns."""
        del bar, closed
        return binance_rows.encode_candles(instrument, candles)

    def encode_trades(self, instrument: Instrument, trades: Trades, style: str) -> Encoded:
        """Write single trades, or aggregate ones with the ids they cover."""
        if style == AGGREGATE:
            return binance_rows.encode_orders(instrument, trades)
        return binance_rows.encode_trades(instrument, trades)

    def funding_times(self, instrument: Instrument, funding: Funding) -> Ints:
        """Return the settlements a few milliseconds late, as Binance has them."""
        key = noise.make_key(self.world.config.seed, "jitter", instrument.symbol)
        late = (noise.uniform(key, funding.index) * _FUNDING_JITTER_MS).astype(np.int64)
        return funding.time_us + late * MS

    def written_funding_times(self, instrument: Instrument, funding: Funding) -> Ints:
        """Return the times of settlements; those of a file have their lateness already."""
        if (self.name, instrument.symbol) in self.world.files:
            return funding.time_us
        return self.funding_times(instrument, funding)

    def encode_funding(self, instrument: Instrument, funding: Funding) -> Encoded:
        """Write settled rates; old rows have an empty mark price."""
        times = self.written_funding_times(instrument, funding)
        return binance_rows.encode_funding(instrument, funding, times)

    def find_endpoint(self, request: Request) -> Endpoint | None:
        """Return the endpoint of a path; all of the archive is one per kind of file."""
        if not request.path.startswith("/data/"):
            return self.endpoints.get(request.path)
        name = "/".join(request.path.split("/")[:5]).removesuffix("/")
        return Endpoint(name, self._archive.handle, 0, "archive", scope="free")

    def instrument_of(self, request: Request) -> Instrument | None:
        """Return the instrument of the `symbol` parameter, or of an archive's folder."""
        if request.path.startswith("/data/"):
            return self._archive.instrument_of(request.path)
        native = request.query.get("symbol", "")
        kinds = _SPOT if request.path.startswith("/api") else _PERP
        return self.lookup(native, kinds) if native else None

    def admit(self, request: Request, endpoint: Endpoint | None) -> Reply | None:
        """Count weight, raw requests and the quotas of the funding endpoints."""
        scope = endpoint.scope if endpoint else "spot"
        if scope == "free":
            return None
        weight = endpoint.cost(request) if endpoint else 1
        self.stats.weight += weight
        perp = scope != "spot"
        governor = self.limits.governor(request.client, perp=perp)
        status, wait_s = governor.spend(weight, request.now_us)
        name = "fapi weight 1m" if perp else "spot weight 1m"
        self.stats.note_share(name, governor.weight.peak_share)
        if status != HTTPStatus.OK:
            return self._limited(status, wait_s, governor.banned_until_us, perp=perp)
        quota = self.limits.quota(request.client, scope)
        if quota is not None and not quota.spend(1, request.now_us):
            wait_s = -(-quota.resets_in_us(request.now_us) // US_PER_S)
            return self._limited(HTTPStatus.TOO_MANY_REQUESTS, wait_s, 0, perp=perp)
        return None

    def decorate(self, request: Request, reply: Reply) -> None:
        """Add the weight used in the running minute."""
        path = request.path
        if path.startswith("/data/"):
            return
        perp = path.startswith(("/fapi", "/futures"))
        used = self.limits.governor(request.client, perp=perp).weight.current(request.now_us)
        reply.headers["X-MBX-USED-WEIGHT-1M"] = str(used)
        if not perp:
            reply.headers["X-MBX-USED-WEIGHT"] = str(used)

    def not_found(self, request: Request) -> Reply:
        """Return Binance's page for an unknown path."""
        del request
        return Reply(b"<html><body><h2>404 Not found</h2></body></html>", status=404,
                     content_type="text/html")  # fmt: skip

    def status_reply(self, request: Request, status: int, params: Mapping[str, Any]) -> Reply:
        """Return Binance's own body for a status."""
        wait_s = int(params.get("retry_after", 1))
        if status in (HTTPStatus.IM_A_TEAPOT, HTTPStatus.TOO_MANY_REQUESTS):
            until_us = request.now_us + wait_s * US_PER_S
            perp = request.path.startswith("/fapi")
            reply = self._limited(status, wait_s, until_us, perp=perp)
            reply.refusal = False
            return reply
        if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
            return json_reply(binance_info.GEO_BODY, status)
        if status == HTTPStatus.FORBIDDEN or params.get("body") == "html":
            return Reply(binance_info.WAF_PAGE, status=status, content_type="text/html")
        return json_reply({"code": -1000, "msg": "Service Unavailable."}, status)

    def maintenance_reply(self, request: Request) -> Reply:
        """Return 503, except from the status page."""
        if request.path == "/sapi/v1/system/status":
            return json_reply({"status": 1, "msg": "system_maintenance"})
        return self.status_reply(request, 503, {})

    # Endpoints.

    def _add(self, path: str, handle: Callable[[Request], Reply],
             weight: int | Callable[[Request], int], kind: str = "", *, is_data: bool = True,
             scope: str = "") -> None:  # fmt: skip
        own = "fapi" if path.startswith(("/fapi", "/futures", "/dapi")) else "spot"
        self.endpoints[path] = Endpoint(path, handle, weight, kind, is_data, scope or own)

    def _add_spot(self) -> None:
        root = "/api/v3"
        self._add(f"{root}/ping", _constant({}), 1, is_data=False)
        self._add(f"{root}/time", _server_time, 1, is_data=False)
        self._add(f"{root}/exchangeInfo", self._spot_info, 20, is_data=False)
        self._add(f"{root}/klines", self._klines(_SPOT, 1_000), 2, "candles")
        self._add(f"{root}/uiKlines", self._klines(_SPOT, 1_000), 2, "candles")
        self._add(f"{root}/trades", self._recent_trades(_SPOT), 25, "trades")
        self._add(f"{root}/historicalTrades", self._old_trades(_SPOT), 25, "trades")
        self._add(f"{root}/aggTrades", self._orders(_SPOT), 4, "trades")
        self._add(f"{root}/depth", self._depth(_SPOT), binance_limits.SPOT_DEPTH)
        self._add(f"{root}/avgPrice", self._average, 2)
        self._add(f"{root}/ticker/24hr", self._ticker(_SPOT, "24hr"), binance_limits.day_ticker)
        for name in ("price", "bookTicker"):
            self._add(f"{root}/ticker/{name}", self._ticker(_SPOT, name), one_or_all(2, 4))

    def _add_perp(self) -> None:
        root = "/fapi/v1"
        self._add(f"{root}/ping", _constant({}), 1, is_data=False)
        self._add(f"{root}/time", _server_time, 1, is_data=False)
        self._add(f"{root}/exchangeInfo", self._perp_info, 1, is_data=False)
        self._add(
            f"{root}/klines", self._klines(_PERP, 1_500), binance_limits.PERP_KLINES, "candles"
        )
        self._add(f"{root}/trades", self._recent_trades(_PERP), 5, "trades")
        self._add(f"{root}/historicalTrades", self._old_trades(_PERP), 200, "trades")
        self._add(f"{root}/aggTrades", self._orders(_PERP), 20, "trades")
        self._add(f"{root}/depth", self._depth(_PERP), binance_limits.PERP_DEPTH)
        self._add(f"{root}/fundingRate", self._funding_rates, 0, "funding", scope="funding")
        self._add(f"{root}/fundingInfo", self._funding_info, 0, scope="funding")
        self._add(f"{root}/premiumIndex", self._premium, one_or_all(1, 10))
        self._add(f"{root}/openInterest", self._open_interest, 1)
        for name, one, many in (("24hr", 1, 40), ("price", 1, 2), ("bookTicker", 2, 5)):
            handle = self._ticker(_PERP, name)
            self._add(f"{root}/ticker/{name}", handle, one_or_all(one, many))
            self._add(f"/fapi/v2/ticker/{name}", handle, one_or_all(one, many))

    def _klines(self, kinds: tuple[Kind, ...], most: int) -> Callable[[Request], Reply]:
        intervals = _SPOT_INTERVALS if kinds == _SPOT else INTERVALS

        def handle(request: Request) -> Reply:
            instrument = self._symbol(request, kinds)
            bar = intervals.get(needed(request, "interval"))
            if bar is None:
                raise refuse(-1120, "Invalid interval.")
            limit = page_size(request, 500, most, cut=kinds == _SPOT)
            start, end = times(request)
            page = self.candle_page(
                request, instrument, bar, start or 0, end, limit=limit, newest=start is None
            )
            return _rows(page)

        return handle

    def _recent_trades(self, kinds: tuple[Kind, ...]) -> Callable[[Request], Reply]:
        def handle(request: Request) -> Reply:
            instrument = self._symbol(request, kinds)
            limit = page_size(request, 500, 1_000, cut=kinds == _SPOT)
            return _rows(self.trade_page(request, instrument, limit=limit, newest=True))

        return handle

    def _old_trades(self, kinds: tuple[Kind, ...]) -> Callable[[Request], Reply]:
        spot = kinds == _SPOT

        def handle(request: Request) -> Reply:
            if not spot and not request.headers.get("X-MBX-APIKEY"):
                raise refuse(-2014, "API-key format invalid.", 401)
            instrument = self._symbol(request, kinds)
            default, most = (500, 1_000) if spot else (100, 500)
            limit = page_size(request, default, most, cut=kinds == _SPOT)
            first = number(request, "fromId")
            if first is None:
                return _rows(self.trade_page(request, instrument, limit=limit, newest=True))
            page = self.trade_page_by_id(request, instrument, first, limit=limit, newest=False)
            if not spot:
                page = _within(page, request.now_us - _PERP_HISTORY_REACH_US)
            return _rows(page)

        return handle

    def _orders(self, kinds: tuple[Kind, ...]) -> Callable[[Request], Reply]:
        spot = kinds == _SPOT

        def handle(request: Request) -> Reply:
            instrument = self._symbol(request, kinds)
            limit = page_size(request, 500, 1_000, cut=kinds == _SPOT)
            first = number(request, "fromId")
            start, end = times(request)
            timed = start is not None or end < END_OF_TIME
            if first is not None and timed:
                raise refuse(-1128, "Combination of optional parameters invalid.")
            # `end` is excluded: an hour to the millisecond is still allowed, and ccxt asks for it.
            longest = US_PER_HOUR + US_PER_MS
            if not spot and start is not None and END_OF_TIME > end > start + longest:
                raise refuse(-1127, "More than 1 hours between startTime and endTime.")
            if first is not None:
                page = self.trade_page_by_id(
                    request, instrument, first, limit=limit, newest=False, style=AGGREGATE
                )
            else:
                page = self.trade_page(
                    request, instrument, start or 0, end, limit=limit, newest=start is None,
                    style=AGGREGATE,
                )  # fmt: skip
            page.layout = self.aggregate_layout
            return _rows(page if spot else _within(page, request.now_us - _PERP_TRADES_REACH_US))

        return handle

    def _depth(self, kinds: tuple[Kind, ...]) -> Callable[[Request], Reply]:
        spot = kinds == _SPOT

        def handle(request: Request) -> Reply:
            instrument = self._symbol(request, kinds)
            limit = page_size(
                request, 100 if spot else 500, 5_000 if spot else 1_000, cut=kinds == _SPOT
            )
            if not spot and limit not in _BOOK_DEPTHS:
                raise refuse(-4021, f"Depth limit {limit} is not valid.")
            now = request.now_us
            book = self.book_at(instrument, now)
            value: dict[str, Any] = {"lastUpdateId": book.sequence}
            if not spot:
                value |= {"E": now // MS, "T": now // MS - 3}
            for name, levels in zip(("bids", "asks"), book.top(limit), strict=True):
                value[name] = [
                    [binance_info.price(instrument, p), binance_info.size(instrument, s)]
                    for p, s in levels
                ]
            return json_reply(value)

        return handle

    def _ticker(self, kinds: tuple[Kind, ...], name: str) -> Callable[[Request], Reply]:
        def handle(request: Request) -> Reply:
            make = binance_info.TICKERS[name]
            if request.query.get("symbol"):
                return json_reply(make(self, self._symbol(request, kinds), request.now_us))
            wanted = binance_info.symbols_of(request.query.get("symbols", ""))
            listed = [i for i in self.listed_instruments() if i.kind in kinds]
            chosen = [i for i in listed if not wanted or i.native in wanted]
            return json_reply([make(self, i, request.now_us) for i in chosen])

        return handle

    def _average(self, request: Request) -> Reply:
        instrument = self._symbol(request, _SPOT)
        price = self.world.market.price_at(instrument, request.now_us)
        text = binance_info.price(instrument, price)
        return json_reply({"mins": 5, "price": text, "closeTime": request.now_us // MS})

    def _spot_info(self, request: Request) -> Reply:
        wanted = binance_info.symbols_of(request.query.get("symbols", ""))
        if request.query.get("symbol"):
            wanted = [request.query["symbol"]]
        listed = self.listed_instruments(Kind.SPOT)
        known = {i.native for i in listed}
        if any(name not in known for name in wanted):
            raise refuse(-1121, "Invalid symbol.")
        chosen = [i for i in listed if not wanted or i.native in wanted]
        limits = (self.limits.spot, self.limits.raw)
        return json_reply(binance_info.spot_info(chosen, request.server_us, *limits))

    def _perp_info(self, request: Request) -> Reply:
        listed = self.listed_instruments(Kind.LINEAR)
        return json_reply(binance_info.perp_info(listed, request.server_us, self.limits.perp))

    def _funding_rates(self, request: Request) -> Reply:
        start, end = times(request)
        limit = page_size(request, 100 if start is not None else 200, 1_000, cut=False)
        if "limit" in request.query:
            limit = page_size(request, 100, 1_000, cut=False)
        if not request.query.get("symbol"):
            return json_reply(self._newest_funding(request))
        instrument = self._symbol(request, _PERP)
        page = self.funding_page(
            request, instrument, start or 0, end, limit=limit, newest=start is None
        )
        return _rows(page)

    def _newest_funding(self, request: Request) -> list[Any]:
        pages = [
            self.funding_page(request, i, limit=1, newest=True)
            for i in self.listed_instruments(Kind.LINEAR)
        ]
        return [msgspec.json.decode(row) for page in pages for row in page.split()]

    def _funding_info(self, request: Request) -> Reply:
        del request
        changed = [
            i
            for i in self.listed_instruments(Kind.LINEAR)
            if i.funding_hours != _USUAL_FUNDING_HOURS
        ]
        return json_reply([binance_info.funding_info(i) for i in changed])

    def _premium(self, request: Request) -> Reply:
        if request.query.get("symbol"):
            instrument = self._symbol(request, _PERP)
            return json_reply(binance_info.premium(self, instrument, request.now_us))
        listed = self.listed_instruments(Kind.LINEAR)
        return json_reply([binance_info.premium(self, i, request.now_us) for i in listed])

    def _open_interest(self, request: Request) -> Reply:
        instrument = self._symbol(request, _PERP)
        interest = self.world.market.open_interest(instrument, request.now_us)
        return json_reply(
            {
                "symbol": instrument.native,
                "openInterest": decimal_text(interest, instrument.size_decimals),
                "time": request.now_us // MS,
            }
        )

    # Parameters.

    def _symbol(self, request: Request, kinds: tuple[Kind, ...]) -> Instrument:
        native = needed(request, "symbol")
        if kinds == _SPOT and native != native.upper():
            raise refuse(
                -1100,
                "Illegal characters found in parameter 'symbol'; "
                r"legal range is '^[\w\-._&&[^a-z]]{1,50}$'.",
            )
        instrument = self.lookup(native, kinds)
        if instrument is None:
            raise refuse(-1121, "Invalid symbol.")
        return instrument

    def _limited(self, status: int, wait_s: int, until_us: int, *, perp: bool) -> Reply:
        limit = self.limits.perp if perp else self.limits.spot
        if status == HTTPStatus.IM_A_TEAPOT:
            text = (
                f"Way too much request weight used; IP banned until {until_us // MS}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
        else:
            text = (
                f"Too much request weight used; current limit is {limit} request weight per "
                "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
            )
        reply = json_reply({"code": -1003, "msg": text}, status, {"Retry-After": str(wait_s)})
        reply.refusal = True
        return reply


def _rows(page: Page) -> Reply:
    return Reply(b"[", page, b"]")


def _within(page: Page, since_us: int) -> Page:
    """Return a page without rows older than the venue keeps."""
    kept = [
        (rows, max(first, int(np.searchsorted(rows.keys, since_us))), stop)
        for rows, first, stop in page.cuts
    ]
    page.cuts = [cut for cut in kept if cut[1] < cut[2]]
    return page


def _server_time(request: Request) -> Reply:
    return json_reply({"serverTime": request.server_us // MS})


def _constant(value: Any) -> Callable[[Request], Reply]:
    return lambda _request: json_reply(value)
