"""What a simulated venue is, and how to add one.

To add a venue, write one module with one subclass of `Venue` and add one line to `registry.py`:

1. Set `name`, `hosts` (the real host names it answers for), `newest_first`,
   `serves_empty_candles`, `candle_layout`, `trade_layout`.
2. `make_instruments` returns the default market (use `instrument.make_instrument` with this
   venue's native ids, steps and contract sizes); `name_instrument` invents the native id of a pair
   that is not in it, so that a file of any symbol can be served.
3. `encode_candles`, `encode_trades`, `encode_funding` write rows with `encode.encode_rows`, every
   row followed by a comma, in the order the venue serves (reverse the columns when
   `newest_first`). They are called once per block; pages are slices of the result.
4. Fill `self.endpoints` in the constructor: path relative to the venue's prefix -> `Endpoint`.
   For paths with parameters override `find_endpoint`. A handler takes a `Request` and returns a
   `Reply`; it raises `Refusal(reply)` to answer with an error from any depth.
5. `admit` counts the request against the venue's limits and returns the refusal, or None;
   `decorate` adds headers to every reply.
6. `instrument_of` tells which instrument a request is about, so that faults can name symbols.

Handlers get their data from `candle_page`, `trade_page`, `funding_page`, `book` and
`last_price`; these apply `missing_candles` faults, serve files where configured, cut at the clock's
now and add the running candle. Handlers must never read the market otherwise, or files and faults
would be bypassed. Look instruments up with `lookup` (by native id) and list them with
`listed_instruments`, which honour delisting and renaming.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from zvt_crypto.simulator import serving
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.book import LEVELS, STEP_US, Book, Books
from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import Ints, decimal_text
from zvt_crypto.simulator.faults import Fault
from zvt_crypto.simulator.instrument import Instrument, Kind, make_instrument, parse_symbol
from zvt_crypto.simulator.market import Funding, Trades
from zvt_crypto.simulator.rows import END_OF_TIME, Layout, Page, select, select_ids
from zvt_crypto.simulator.serving import DaySummary
from zvt_crypto.simulator.stats import Stats

if TYPE_CHECKING:
    from zvt_crypto.simulator.world import World

_EXTRA_SHARE = 50  # a major symbol trades so many times as often as an extra coin

Encoded = tuple[bytes, Ints]
"""Rows as one text, and the offsets of the rows in it; what `encode_rows` returns."""


@dataclass(slots=True)
class Request:
    """One request to a venue.

    Attributes:
        path: without the venue's prefix, as the venue's documentation writes it.
        query: decoded parameters; of a repeated one, the last.
        client: the address the limits count by.
        base_url: scheme, host and prefix the client used, for answers that contain links.
        server_us: the time the venue says it is; off `now_us` under a `clock_skew` fault.
        hidden: tells which candles (by open, microseconds) a fault hides from this request.
        faults: archive faults that hit this request.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: str
    base_url: str
    now_us: int
    server_us: int
    repeated: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    hidden: Callable[[Ints], Any] | None = None
    faults: Sequence[Fault] = ()


@dataclass(slots=True)
class Reply:
    """One answer: `head` + rows of `page` + `tail`, or just `head`.

    Attributes:
        refusal: the client earned this by breaking a limit; counted in `/_stats`.
    """

    head: bytes
    page: Page | None = None
    tail: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content_type: str = "application/json"
    refusal: bool = False

    def body(self) -> bytes:
        """Return the bytes to send."""
        if self.page is None:
            return self.head
        return b"".join((self.head, self.page.body(), self.tail))


class Refusal(Exception):
    """Ends a handler with a reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.status)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of a venue.

    Attributes:
        name: what `/_stats` and faults call it, usually the path.
        weight: cost in the venue's own unit, or a function of the request.
        kind: `candles`, `trades`, `funding`, `archive`, or nothing of these.
        is_data: whether it serves market data, for `/_stats`.
        scope: which of the venue's limits it counts against; the venue's own words.
    """

    name: str
    handle: Callable[[Request], Reply]
    weight: int | Callable[[Request], int] = 1
    kind: str = ""
    is_data: bool = True
    scope: str = ""

    def cost(self, request: Request) -> int:
        """Return the weight of one request."""
        return self.weight if isinstance(self.weight, int) else self.weight(request)


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return a reply with `value` as JSON."""
    return Reply(msgspec.json.encode(value), status=status, headers=headers or {})


class Venue(ABC):
    """One simulated venue; see the module's docstring for what a subclass provides."""

    name: ClassVar[str]
    hosts: ClassVar[frozenset[str]]
    newest_first: ClassVar[bool] = False
    serves_empty_candles: ClassVar[bool] = True
    candle_layout: ClassVar[Layout]
    trade_layout: ClassVar[Layout]
    funding_layout: ClassVar[Layout] = Layout(times=())
    book_levels: ClassVar[int] = LEVELS
    native_quotes: ClassVar[tuple[str, ...]] = ("USDT", "USDC", "BTC", "ETH", "USD", "EUR")

    def __init__(self, world: "World") -> None:
        self.world = world
        self.stats = Stats()
        self.books = Books(self.name, world.config.seed, world.market, levels=self.book_levels)
        self.endpoints: dict[str, Endpoint] = {}
        self.instruments: list[Instrument] = list(self.make_instruments())
        self.instruments += self._make_extra_coins(self.instruments[0].quote)
        self._index()

    def _make_extra_coins(self, quote: str) -> list[Instrument]:
        """Return the small spot pairs a crowded market is made of."""
        config = self.world.config
        trades = max(10, config.trades_per_day // _EXTRA_SHARE // 10 * 10)
        pairs = (
            self.name_instrument(f"X{number:04}", quote, Kind.SPOT)
            for number in range(1, config.extra_coins + 1)
        )
        return [replace_fields(pair, trades_per_day=trades) for pair in pairs]

    # What a subclass provides.

    @abstractmethod
    def make_instruments(self) -> Sequence[Instrument]:
        """Return the default market of this venue."""

    @abstractmethod
    def name_instrument(self, base: str, quote: str, kind: Kind) -> Instrument:
        """Return an instrument for a pair that is not in the default market."""

    @abstractmethod
    def encode_candles(
        self, instrument: Instrument, bar: Bar, candles: CandleColumns, *, closed: bool
    ) -> Encoded:
        """Write candles; `candles` are ascending, rows are in the order of service."""

    @abstractmethod
    def encode_trades(self, instrument: Instrument, trades: Trades, style: str) -> Encoded:
        """Write trades; `style` distinguishes row formats, `aggregate` asks for one per order."""

    def encode_funding(self, instrument: Instrument, funding: Funding) -> Encoded:
        """Write settled funding rates."""
        raise NotImplementedError(instrument.symbol, len(funding.index))

    def funding_times(self, instrument: Instrument, funding: Funding) -> Ints:
        """Return the times this venue writes for settlements; exact unless overridden."""
        del instrument
        return funding.time_us

    @abstractmethod
    def admit(self, request: Request, endpoint: Endpoint | None) -> Reply | None:
        """Count a request against the limits; return the refusal when it is over them."""

    @abstractmethod
    def not_found(self, request: Request) -> Reply:
        """Return the answer to an unknown path."""

    def decorate(self, request: Request, reply: Reply) -> None:  # noqa: B027 - many have none
        """Add the venue's headers to a reply."""

    def instrument_of(self, request: Request) -> Instrument | None:
        """Return the instrument a request is about, if it is about one."""
        native = request.query.get("symbol") or request.query.get("instId")
        return self.lookup(native) if native else None

    def maintenance_reply(self, request: Request) -> Reply:
        """Return the answer to anything while the venue is down for maintenance."""
        return self.status_reply(request, 503, {})

    def status_reply(self, request: Request, status: int, params: Mapping[str, Any]) -> Reply:
        """Return the venue's own body for an HTTP status a fault asks for.

        `params` are the fault's fields: `retry_after`, `body`. Override to speak like the venue.
        """
        del request
        headers = {"Retry-After": str(params["retry_after"])} if "retry_after" in params else {}
        if params.get("body") == "html" or status in (502, 504):
            text = f"<html><head><title>{status}</title></head><body>{status}</body></html>"
            return Reply(text.encode(), status=status, headers=headers, content_type="text/html")
        return json_reply({"code": 0, "msg": str(status)}, status, headers)

    # What the engine calls.

    def find_endpoint(self, request: Request) -> Endpoint | None:
        """Return the endpoint of a request's path."""
        return self.endpoints.get(request.path)

    def respond(self, request: Request, endpoint: Endpoint | None) -> Reply:
        """Return the answer to an admitted request."""
        try:
            reply = endpoint.handle(request) if endpoint else self.not_found(request)
        except Refusal as refusal:
            reply = refusal.reply
        return reply

    def resolve(self, text: str) -> Instrument:
        """Return the instrument named by a canonical, ccxt or native symbol; make it if new.

        Raises:
            ValueError: `text` names no pair.
        """
        return self.find_symbol(text) or self._adopt(text)

    def find_symbol(self, text: str) -> Instrument | None:
        """Return the instrument named by a canonical, ccxt or native symbol, if it exists."""
        upper = text.upper()
        for instrument in self.instruments:
            if upper == instrument.symbol:
                return instrument
        if pair := parse_symbol(text):
            base, quote, kind = pair
            for instrument in self.instruments:
                if (instrument.base, instrument.quote, instrument.kind) == (base, quote, kind):
                    return instrument
        return next((i for i in self.instruments if i.native == text), None)

    def replace_instrument(self, old: Instrument, new: Instrument) -> None:
        """Put `new` in the place of `old`."""
        self.instruments[self.instruments.index(old)] = new
        self._index()

    def listed_instruments(self, kind: Kind | None = None) -> list[Instrument]:
        """Return what is listed now, after delistings and renamings."""
        names = self.renames()
        listed = [i for i in self.instruments if kind is None or i.kind is kind]
        listed = [i for i in listed if i.listed_us <= self.world.clock.now_us()]
        if not names:
            return listed
        renamed = ((i, names.get(i.symbol, i.native)) for i in listed)
        return [replace_fields(i, native=native) for i, native in renamed if native]

    def lookup(self, native: str, kinds: tuple[Kind, ...] = tuple(Kind)) -> Instrument | None:
        """Return the listed instrument with a native id; ids may repeat between kinds."""
        names = self.renames()
        if names:
            return next(
                (i for i in self.listed_instruments() if i.native == native and i.kind in kinds),
                None,
            )
        found = next(
            (
                self._by_native.get((native, kind))
                for kind in kinds
                if (native, kind) in self._by_native
            ),
            None,
        )
        if found is not None and found.listed_us > self.world.clock.now_us():
            return None
        return found

    # What handlers use.

    def candle_page(
        self,
        request: Request,
        instrument: Instrument,
        bar: Bar,
        start_us: int = 0,
        end_us: int = END_OF_TIME,
        *,
        limit: int,
        newest: bool,
        running: bool = True,
    ) -> Page:
        """Return up to `limit` candles that open in `[start_us, end_us)`, oldest or newest.

        The running candle is the last row when it opens in the range, unless `running` is off.
        """
        series = serving.candle_series(self, instrument, bar)
        cuts = serving.select_candles(
            series, request, start_us, end_us, limit, newest=newest, running=running
        )
        until_us = bar.floor(request.now_us)
        return Page("candles", cuts, self.candle_layout, self.newest_first, series, until_us)

    def trade_page(
        self,
        request: Request,
        instrument: Instrument,
        start_us: int = 0,
        end_us: int = END_OF_TIME,
        *,
        limit: int,
        newest: bool,
        style: str = "trades",
    ) -> Page:
        """Return up to `limit` trades made in `[start_us, end_us)`, oldest or newest."""
        series = serving.trade_series(self, instrument, style)
        end_us = min(end_us, request.now_us + 1)
        cuts = select(series, start_us, end_us, limit, newest=newest)
        return Page(
            "trades", cuts, self.trade_layout, self.newest_first, series, request.now_us + 1
        )

    def trade_page_by_id(
        self,
        request: Request,
        instrument: Instrument,
        start_id: int,
        end_id: int = END_OF_TIME,
        *,
        limit: int,
        newest: bool,
        style: str = "trades",
    ) -> Page:
        """Return up to `limit` trades with ids in `[start_id, end_id)`, oldest or newest."""
        series = serving.trade_series(self, instrument, style)
        end_id = min(end_id, serving.next_id(series, request.now_us))
        cuts = select_ids(series, start_id, end_id, limit, newest=newest)
        return Page(
            "trades", cuts, self.trade_layout, self.newest_first, series, request.now_us + 1
        )

    def funding_page(
        self,
        request: Request,
        instrument: Instrument,
        start_us: int = 0,
        end_us: int = END_OF_TIME,
        *,
        limit: int,
        newest: bool,
    ) -> Page:
        """Return up to `limit` settlements in `[start_us, end_us)`, oldest or newest."""
        series = serving.funding_series(self, instrument)
        end_us = min(end_us, request.now_us + 1)
        cuts = select(series, start_us, end_us, limit, newest=newest)
        return Page(
            "funding", cuts, self.funding_layout, self.newest_first, series, request.now_us + 1
        )

    def last_price(self, instrument: Instrument, now_us: int) -> str:
        """Return the last price as text."""
        return decimal_text(
            self.world.market.price_at(instrument, now_us), instrument.price_decimals
        )

    def day_summary(self, instrument: Instrument, now_us: int) -> DaySummary:
        """Return the last 24 hours, to the minute."""
        return serving.summarise_day(self.world.market, instrument, now_us)

    def book(
        self, instrument: Instrument, now_us: int, depth: int
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return bids and asks, best first, as (price, size) in the instrument's units."""
        return self.book_at(instrument, now_us).top(depth)

    def book_at(self, instrument: Instrument, now_us: int) -> Book:
        """Return the whole book of a moment, with its sequence number.

        It is the book the socket's snapshots and changes are made of. Under a `ws_stale_snapshot`
        fault it is an older one.
        """
        if len(self.world.faults):
            now_us -= self.world.faults.staleness_us(self.name, instrument)
        return self.books.at(instrument, now_us, self.book_step_us(instrument))

    def book_step_us(self, instrument: Instrument) -> int:
        """Return how often the book of an instrument changes; a venue may have slow ones."""
        del instrument
        return STEP_US

    def renames(self) -> dict[str, str]:
        """Return new native ids by canonical symbol, as faults say; empty for the delisted."""
        faults = self.world.faults
        return faults.renames(self.name, self.instruments) if len(faults) else {}

    def _index(self) -> None:
        self._by_native = {(i.native, i.kind): i for i in self.instruments}

    def adopt(self, native: str, kind: Kind | None = None) -> Instrument | None:
        """Return the instrument with a native id, listed from now on if it was not.

        `kind` decides where ids repeat between kinds. None is returned for an id that cannot be
        read as a pair: of a dated contract, an index, an option.
        """
        found = self.lookup(native, tuple(Kind) if kind is None else (kind,))
        pair = self.split_native(native) or parse_symbol(native)
        if found is not None or pair is None:
            return found
        try:
            made = self.name_instrument(pair[0], pair[1], kind or pair[2])
        except ValueError:
            return None
        if made.native != native:
            return None
        self.instruments.append(made)
        self._index()
        return made

    def _adopt(self, text: str) -> Instrument:
        pair = parse_symbol(text) or self.split_native(text)
        if pair is None:
            raise ValueError(f"{self.name}: {text!r} names no instrument")
        instrument = self.name_instrument(*pair)
        self.instruments.append(instrument)
        self._index()
        return instrument

    def split_native(self, text: str) -> tuple[str, str, Kind] | None:
        """Read a native id that is not in the default market; by known quote coins here."""
        for quote in self.native_quotes:
            if text.endswith(quote) and len(text) > len(quote):
                return text.removesuffix(quote), quote, Kind.SPOT
        return None


def make_default(  # noqa: PLR0917 - the facts of a listing, in the order one says them
    venue: Venue, base: str, quote: str, kind: Kind, native: str, earliest: str, **steps: Any
) -> Instrument:
    """Return a default instrument of `venue`; `steps` as in `make_instrument`."""
    trades_per_day = venue.world.config.trades_per_day
    return make_instrument(
        venue.name, base, quote, kind, native, trades_per_day=trades_per_day, earliest=earliest,
        **steps,
    )  # fmt: skip


def reverse_trades(trades: Trades) -> tuple[Ints, Trades]:
    """Return ids and trades newest first; `first_id` of the result means nothing."""
    ids = trades.id[::-1]
    return ids, Trades(
        trades.first_id,
        trades.time_us[::-1],
        trades.price[::-1],
        trades.size[::-1],
        trades.base[::-1],
        trades.quote[::-1],
        trades.buy[::-1],
    )
