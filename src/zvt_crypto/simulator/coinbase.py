"""Coinbase Advanced Trade in a box: public REST of spot and of perpetual-style futures.

What it reproduces: products with alias pairs (`BTC-USDC` shows the book of `BTC-USD`) and
perpetuals that call themselves expiring, without a base coin, counted in contracts; candles as
objects of strings, newest first, in seconds, both bounds inclusive, from the bucket that contains
the start, 350 at most or 400, none for buckets without trades, the running one unmarked; trades
with the MAKER's side; answers a second old unless `no-cache` is asked for; ten requests a second
with `x-ratelimit` headers; both dialects of errors. `FOUR_HOUR` works unless the fault
`no_four_hour` is in force, since sources disagree about it.

Of the older API there is what clients need to list markets. Private calls answer 401.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, ClassVar, Final

import numpy as np

from zvt_crypto.core.interval import US_PER_HOUR, US_PER_S
from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator import coinbase_info as info
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import Field, Number, Text, decimal_text, encode_rows
from zvt_crypto.simulator.instrument import ASSETS, Instrument, Kind
from zvt_crypto.simulator.limits import SlidingWindow
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.rows import END_OF_TIME, Layout
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

ROOT: Final = "/api/v3/brokerage"
GRANULARITIES: Final[dict[str, Bar]] = {
    "ONE_MINUTE": bars.MINUTES[1],
    "FIVE_MINUTE": bars.MINUTES[5],
    "FIFTEEN_MINUTE": bars.MINUTES[15],
    "THIRTY_MINUTE": bars.MINUTES[30],
    "ONE_HOUR": bars.MINUTES[60],
    "TWO_HOUR": bars.MINUTES[120],
    "FOUR_HOUR": bars.MINUTES[240],
    "SIX_HOUR": bars.MINUTES[360],
    "ONE_DAY": bars.DAY,
}
MOST_CANDLES: Final = 350
MOST_TRADES: Final = 1_000

_FEW_TRADES: Final = 100
_LEVELS: Final = 500
_PUBLIC: Final = "public"
_APP: Final = "app"
_CACHED_US: Final = US_PER_S
_MOST_CACHED: Final = 2_000
_EARLIEST: Final = "2015-07-20T21:00:00Z"
_PERP_EARLIEST: Final = "2023-10-01T00:00:00Z"
_EXPIRY: Final = "20DEC30-CDE"
# Code, worth in coins and step of price of a contract.
_CONTRACTS: Final = {
    "BTC": ("BIP", "0.01", "5"),
    "ETH": ("ETP", "0.1", "0.5"),
    "SOL": ("SLP", "5", "0.01"),
    "XRP": ("XPP", "500", "0.0001"),
}


class CoinbaseVenue(Venue):
    """Coinbase Advanced Trade: spot, and the futures of its FCM."""

    name = "coinbase"
    hosts = frozenset(("api.coinbase.com",))
    newest_first = True
    serves_empty_candles = False
    candle_layout: ClassVar[Layout] = Layout(
        times=("start",), prices=("open", "high", "low", "close"), volume="volume"
    )
    trade_layout: ClassVar[Layout] = Layout(times=("time",), prices=("price",), volume="size")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._windows: dict[tuple[str, str], SlidingWindow] = {}
        self._answers: dict[tuple[str, str], tuple[int, Reply]] = {}
        self._products: dict[str, Endpoint] = {}
        self._limits = {
            _PUBLIC: (world.scale.apply(10), US_PER_S),
            _APP: (world.scale.apply(10_000), US_PER_HOUR),
        }
        self._add_endpoints()

    def make_instruments(self) -> Sequence[Instrument]:
        """Return pairs against USD, their USDC aliases, a pair against USDT, and perpetuals."""
        spot = [self.name_instrument(base, "USD", Kind.SPOT) for base in ASSETS]
        aliases = [
            replace(
                self.name_instrument(one.base, "USDC", Kind.SPOT),
                price_step=one.price_step,
                extra={info.ALIAS: one.native},
            )
            for one in spot
        ]
        tether = self.name_instrument("BTC", "USDT", Kind.SPOT)
        perps = [self.name_instrument(base, "USD", Kind.LINEAR) for base in ("BTC", "ETH", "SOL")]
        return [*spot, *aliases, tether, *perps]

    def name_instrument(self, base: str, quote: str, kind: Kind) -> Instrument:
        """Return a pair, or a perpetual in Coinbase's spelling; all of these are linear.

        A canonical `BTC-USD-PERP` reads like an inverse contract, which Coinbase has none of.
        """
        if kind is Kind.SPOT:
            return make_default(self, base, quote, kind, f"{base}-{quote}", _EARLIEST)
        if quote != "USD":
            raise ValueError(f"coinbase: no perpetual {base}-{quote}-PERP here")
        code, worth, step = _CONTRACTS.get(base, (f"{base}P", "1", ""))
        return make_default(
            self, base, quote, Kind.LINEAR, f"{code}-{_EXPIRY}", _PERP_EARLIEST, price_step=step,
            size_step="1", contract=worth, settle="USD", funding_hours=1,
        )  # fmt: skip

    def split_native(self, text: str) -> tuple[str, str, Kind] | None:
        """Read the id of a perpetual; spot ids are canonical symbols already."""
        code, _, rest = text.partition("-")
        if rest != _EXPIRY:
            return None
        bases = {known: base for base, (known, _, _) in _CONTRACTS.items()}
        return bases.get(code, code.removesuffix("P")), "USD", Kind.LINEAR

    def find_symbol(self, text: str) -> Instrument | None:
        """Return the instrument of a name; of an alias the one whose market it shows."""
        found = super().find_symbol(text)
        return None if found is None else info.source(self, found)

    def encode_candles(
        self, instrument: Instrument, bar: Bar, candles: CandleColumns, *, closed: bool
    ) -> Encoded:
        """Write objects of strings, newest first; volumes in base coin or in contracts."""
        del instrument, bar, closed
        rows = candles.reversed()
        fields: list[Field] = [b'{"start":"', Number(rows.open_us // US_PER_S)]
        for name, column in (
            ("low", rows.low),
            ("high", rows.high),
            ("open", rows.open),
            ("close", rows.close),
            ("volume", rows.native),
        ):
            fields += [f'","{name}":"'.encode(), column.trimmed()]
        fields.append(b'"},')
        return encode_rows(fields, len(rows))

    def encode_trades(self, instrument: Instrument, trades: Trades, style: str) -> Encoded:
        """Write trades newest first under the product named by `style`, with the maker's side."""
        ids, rows = reverse_trades(trades)
        times = np.datetime_as_string(rows.time_us.astype("datetime64[us]")).astype("S26")
        fields: list[Field] = [
            b'{"trade_id":"', Number(ids), f'","product_id":"{style}","price":"'.encode(),
            Number(rows.price, instrument.price_decimals).trimmed(), b'","size":"',
            Number(rows.size, instrument.size_decimals).trimmed(), b'","time":"', Text(times),
            b'Z","side":"', Text(np.where(rows.buy, b"SELL", b"BUY")),
            b'","bid":"","ask":"","exchange":"coinbase"},',
        ]  # fmt: skip
        return encode_rows(fields, len(rows))

    # Limits and forms of refusal.

    def admit(self, request: Request, endpoint: Endpoint | None) -> Reply | None:
        """Count a request against what its address may ask."""
        scope = endpoint.scope if endpoint else _PUBLIC
        window = self._window(request, scope)
        self.stats.weight += 1
        allowed = window.spend(request.now_us)
        self.stats.note_share(scope, window.peak_share)
        if allowed:
            return None
        reply = info.too_many()
        reply.refusal = True
        return reply

    def _window(self, request: Request, scope: str) -> SlidingWindow:
        key = (request.client, scope)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = SlidingWindow(*self._limits[scope])
        return window

    def decorate(self, request: Request, reply: Reply) -> None:
        """Add what is left of the second."""
        if not request.path.startswith(ROOT):
            return
        window = self._window(request, _PUBLIC)
        left = window.remaining(request.now_us)
        reset_s = -(-window.resets_in_us(request.now_us) // US_PER_S)
        reply.headers["x-ratelimit-limit"] = str(window.limit)
        reply.headers["x-ratelimit-remaining"] = str(left)
        reply.headers["x-ratelimit-reset"] = str(reset_s)

    def not_found(self, request: Request) -> Reply:
        """Return 401 for what needs a key, which is all of the API that is not public."""
        if request.path.startswith(ROOT):
            return Reply(b"Unauthorized\n", status=401, content_type="text/plain")
        body = {"errors": [{"id": "not_found", "message": "Not found"}]}
        return json_reply(body, HTTPStatus.NOT_FOUND)

    def status_reply(self, request: Request, status: int, params: Mapping[str, Any]) -> Reply:
        """Return Coinbase's own body for a status."""
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return info.too_many()
        word = {403: "PERMISSION_DENIED", 500: "INTERNAL", 503: "UNAVAILABLE"}.get(status)
        if word is None or params.get("body") == "html":
            return super().status_reply(request, status, {**params, "body": "html"})
        return info.error(word, word.lower().replace("_", " "), status)

    def refuse(self, message: str) -> Refusal:
        """Return a refusal of a wrong parameter, to be raised."""
        return Refusal(info.error("INVALID_ARGUMENT", message, 400))

    # The second-long cache.

    def respond(self, request: Request, endpoint: Endpoint | None) -> Reply:
        """Return the answer, which may be a second old unless the client refuses that."""
        if "no-cache" in request.headers.get("Cache-Control", ""):
            return super().respond(request, endpoint)
        asked = {**request.query, **request.repeated}
        key = (request.path, repr(sorted(asked.items())))
        made_us, reply = self._answers.get(key, (0, None))
        if reply is None or not 0 <= request.now_us - made_us < _CACHED_US:
            reply = super().respond(request, endpoint)
            if reply.status == HTTPStatus.OK:
                self._remember(key, request.now_us, reply)
        # Faults and headers are put into the copy, not into what is remembered.
        return replace(reply, headers=dict(reply.headers))

    def _remember(self, key: tuple[str, str], now_us: int, reply: Reply) -> None:
        if len(self._answers) >= _MOST_CACHED:
            self._answers.clear()
        self._answers[key] = (now_us, replace(reply, headers=dict(reply.headers)))

    # Endpoints.

    def find_endpoint(self, request: Request) -> Endpoint | None:
        """Return the endpoint of a path; products stand in it."""
        found = self.endpoints.get(request.path)
        if found is None and (parts := _product_path(request.path)) is not None:
            found = self._products.get(parts[1])
        return found

    def instrument_of(self, request: Request) -> Instrument | None:
        """Return the product in the path or in the parameters."""
        parts = _product_path(request.path)
        native = parts[0] if parts else request.query.get("product_id", "")
        return self.lookup(native) if native else None

    def _add_endpoints(self) -> None:
        market = f"{ROOT}/market"
        fixed: tuple[tuple[str, Callable[[Request], Reply], str, bool], ...] = (
            (f"{ROOT}/time", lambda r: json_reply(info.clock(r.server_us)), _PUBLIC, False),
            (f"{market}/products", self._list_products, _PUBLIC, False),
            (f"{market}/product_book", self._book, _PUBLIC, True),
            ("/v2/time", lambda r: json_reply(info.old_clock(r.server_us)), _APP, False),
            ("/v2/currencies", lambda _: json_reply(info.currencies()), _APP, False),
            (
                "/v2/currencies/crypto",
                lambda _: json_reply(info.coins(self.listed_instruments())),
                _APP,
                False,
            ),
            (
                "/v2/exchange-rates",
                lambda r: json_reply(info.rates(self, r.now_us)),
                _APP,
                False,
            ),
        )
        for path, handle, scope, is_data in fixed:
            self.endpoints[path] = Endpoint(path, handle, is_data=is_data, scope=scope)
        for tail, handle, kind in (
            ("", self._product, ""),
            ("/candles", self._candles, "candles"),
            ("/ticker", self._trades, "trades"),
        ):
            path = f"{market}/products/{{product_id}}{tail}"
            self._products[tail] = Endpoint(path, handle, 1, kind, bool(kind), _PUBLIC)

    def _list_products(self, request: Request) -> Reply:
        wanted = request.query.get("product_type", "")
        if wanted not in ("", "SPOT", "FUTURE", "UNKNOWN_PRODUCT_TYPE"):
            raise self.refuse("product_type is invalid")
        kinds = {"SPOT": (Kind.SPOT,), "FUTURE": (Kind.LINEAR,)}.get(wanted, tuple(Kind))
        if request.query.get("contract_expiry_type") == "PERPETUAL":
            kinds = ()  # the perpetuals here call themselves expiring
        ids = request.repeated.get("product_ids") or request.query.get("product_ids", "").split()
        listed = [i for i in self.listed_instruments() if i.kind in kinds]
        shown = [i for i in listed if not ids or i.native in ids]
        products = [info.describe(self, one, request.now_us) for one in shown]
        perpetual = next((i for i in listed if i.kind is Kind.LINEAR and i.base == "BTC"), None)
        if perpetual is not None and not ids:
            products.append(info.dated_future(self, perpetual, request.now_us))
        return json_reply(self._paged(request, products))

    def _paged(self, request: Request, products: list[dict[str, Any]]) -> dict[str, Any]:
        limit = self._number(request, "limit") or len(products)
        cursor = request.query.get("cursor", "")
        at = int(cursor) if cursor.isdecimal() else self._number(request, "offset") or 0
        page = products[at : at + limit]
        after = at + len(page)
        has_next = after < len(products)
        pagination = {
            "prev_cursor": str(max(0, at - limit)) if at else "",
            "next_cursor": str(after) if has_next else "",
            "has_next": has_next,
            "has_prev": at > 0,
        }
        return {
            "products": page,
            "num_products": len(page),
            "pagination": pagination if "limit" in request.query else None,
        }

    def _product(self, request: Request) -> Reply:
        return json_reply(info.describe(self, self._needed(request), request.now_us))

    def _candles(self, request: Request) -> Reply:
        instrument = info.source(self, self._needed(request))
        bar = GRANULARITIES.get(request.query.get("granularity", ""))
        refused = self.world.faults.state("no_four_hour", self.name)
        if bar is None or (bar is GRANULARITIES["FOUR_HOUR"] and refused is not None):
            raise self.refuse("granularity is invalid")
        start, end = self._number(request, "start"), self._number(request, "end")
        if start is None or end is None or start > end:
            raise self.refuse("start and end argument is invalid")
        first, last = bar.index(start * US_PER_S), bar.index(end * US_PER_S)
        if last - first + 1 > MOST_CANDLES:
            raise self.refuse(
                "start and end argument is invalid - number of candles requested should be less "
                f"than {MOST_CANDLES} "
            )
        limit = min(self._number(request, "limit") or MOST_CANDLES, MOST_CANDLES)
        page = self.candle_page(
            request, instrument, bar, bar.opening(first), bar.opening(last + 1), limit=limit,
            newest=True,
        )  # fmt: skip
        return Reply(b'{"candles":[', page, b"]}")

    def _trades(self, request: Request) -> Reply:
        asked = self._needed(request)
        instrument = info.source(self, asked)
        start, end = self._number(request, "start"), self._number(request, "end")
        limit = min(self._number(request, "limit") or _FEW_TRADES, MOST_TRADES)
        page = self.trade_page(
            request, instrument, (start or 0) * US_PER_S,
            END_OF_TIME if end is None else end * US_PER_S + 1, limit=limit, newest=True,
            style=asked.native,
        )  # fmt: skip
        (bid, _), (ask, _) = (side[0] for side in self.book(instrument, request.now_us, 1))
        best = (decimal_text(price, instrument.price_decimals) for price in (bid, ask))
        tail = '],"best_bid":"{}","best_ask":"{}"}}'.format(*best)
        return Reply(b'{"trades":[', page, tail.encode())

    def _book(self, request: Request) -> Reply:
        if "product_id" not in request.query:
            raise self.refuse("product_id is required")
        depth = min(self._number(request, "limit") or _LEVELS, _LEVELS)
        return json_reply(info.book(self, self._needed(request), request.now_us, depth))

    # Parameters.

    def _needed(self, request: Request) -> Instrument:
        instrument = self.instrument_of(request)
        if instrument is None:
            raise Refusal(info.error("NOT_FOUND", "valid product_id is required", 404))
        return instrument

    def _number(self, request: Request, name: str) -> int | None:
        text = request.query.get(name)
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= len("1767225600000")):
            raise self.refuse(f"{name} is invalid")
        return int(text)


def _product_path(path: str) -> tuple[str, str] | None:
    """Return the product in a path and what follows it, or None where no product stands."""
    prefix = f"{ROOT}/market/products/"
    if not path.startswith(prefix):
        return None
    native, slash, tail = path[len(prefix) :].partition("/")
    return native, slash + tail
