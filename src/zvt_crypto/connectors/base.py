"""BaseCryptoConnector: everything about talking to an exchange that is not about one exchange.

A request waits for the governor, goes out, feeds the reply's headers back, is judged by the
exchange's own `check`, is decoded, and is tried again where that can help. Decoding happens
inside the retried call, so that a garbled reply is asked again too.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec
from zvt_crypto.core.errors import (
    Banned,
    CryptoError,
    GeoBlocked,
    NotSupported,
    RateLimited,
)
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_S, Interval
from zvt_crypto.core.ranges import Range, split
from zvt_crypto.core.record import Book, ExchangeStatus, OpenInterest, Quote
from zvt_crypto.core.series import Kind
from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor import Frozen, Governor
from zvt_crypto.net.http import HttpClient, HttpReply
from zvt_crypto.net.retry import RetryPolicy, retrying
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.connector import ArchiveFile, Cost, Fetched

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class ConnectorStats:
    """Counters of one connector; plain numbers, read at any time."""

    requests: int = 0
    retries: int = 0
    body_bytes: int = 0
    rate_limited: int = 0
    precision_loss: int = 0
    by_endpoint: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Tools:
    """What a connector works with; built by `bootstrap`.

    `hosts` overrides base URLs of the spec by role; `governors` has one entry per host role;
    `scratch` is a folder for downloads in flight; `system` is the machine's own clock.
    """

    http: HttpClient
    governors: Mapping[str, Governor]
    clock: ServerClock
    hosts: Mapping[str, str]
    scratch: Path
    system: Clock = field(default_factory=SystemClock)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    rng: Random = field(default_factory=Random)


class BaseCryptoConnector(ABC):
    """Drives one `ExchangeSpec`; a subclass adds the calls of its exchange."""

    def __init__(self, spec: ExchangeSpec, tools: Tools) -> None:
        self.spec = spec
        self.stats = ConnectorStats()
        self._tools = tools
        self._hosts = {**spec.hosts, **tools.hosts}

    @property
    def exchange(self) -> str:
        """Name of the exchange."""
        return self.spec.name

    @property
    def settle_s(self) -> float:
        """How long after its close a candle may still change or be absent."""
        return self.spec.settle_s

    @property
    def clock(self) -> ServerClock:
        """The exchange's clock as we know it."""
        return self._tools.clock

    # -- what a subclass provides ---------------------------------------------------------------

    @abstractmethod
    def check(self, endpoint: Endpoint, reply: HttpReply) -> None:
        """Raise what the reply's status, headers and error body mean; return if it is good."""

    def used(self, endpoint: Endpoint, reply: HttpReply) -> Mapping[str, float]:
        """Return the quota use the reply's headers report, by quota name."""
        del endpoint, reply
        return {}

    @abstractmethod
    async def instruments(self) -> list[Instrument]:
        """Return all instruments of all pages, tradable or not."""

    @abstractmethod
    async def server_time(self) -> int:
        """Return the exchange's clock in microseconds."""

    @abstractmethod
    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        """Return a lower bound of the first open ever, None if the exchange has none."""

    @abstractmethod
    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        """Return the candles that open in `window`."""

    @abstractmethod
    def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        """Yield the trades of `window` in parts whose `asked` ranges tile it, ascending."""

    @abstractmethod
    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        """Return the settled funding of `window`."""

    @abstractmethod
    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        """Return the book, at least `depth` levels a side where the exchange has them."""

    @abstractmethod
    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Return the tops of the books."""

    @abstractmethod
    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest of a perpetual."""

    # -- what all share -------------------------------------------------------------------------

    async def archives(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[ArchiveFile]:
        """Return the bulk files for parts of `asked`; an exchange without any returns none."""
        del instrument, kind, interval, asked
        return []

    def fetch_archive(
        self, instrument: Instrument, interval: Interval | None, file: ArchiveFile
    ) -> AsyncIterator[Fetched]:
        """Yield one file in parts; see the port."""
        del instrument, interval
        raise NotSupported(self.exchange, "archives", f"cannot fetch {file.name}")

    async def status(self) -> ExchangeStatus:
        """Return whether the exchange answers, and how far our clock is off."""
        try:
            moment = await self.sync_clock()
        except CryptoError as e:
            return ExchangeStatus(
                exchange=self.exchange,
                is_up=False,
                server_time_us=0,
                skew_us=0,
                detail=str(e),
            )
        return ExchangeStatus(
            exchange=self.exchange,
            is_up=True,
            server_time_us=moment,
            skew_us=self.clock.skew_us,
        )

    async def sync_clock(self) -> int:
        """Measure the distance to the exchange's clock and return its time now."""
        await self.clock.sync(self.server_time, samples=3)
        return self.clock.now_us()

    def source_interval(self, instrument: Instrument, interval: Interval) -> Interval:
        """Return the interval to fetch: `interval` itself or the coarsest native divisor."""
        del instrument
        return self.spec.native_interval(interval)

    def counts_trade_ids(self, instrument: Instrument) -> bool:
        """Return whether a jump of trade ids is a loss."""
        return instrument.market in self.spec.counted_trade_ids

    def reach(self, instrument: Instrument, kind: Kind, now_us: int) -> int:
        """Return the earliest moment REST can still answer for; 0 if there is no limit."""
        seconds = self.spec.reach(kind, instrument.market)
        return 0 if seconds is None else now_us - seconds * US_PER_S

    def windows(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[Range]:
        """Return `asked` cut into ranges that one `fetch_` answers each, ascending."""
        if kind is Kind.CANDLES:
            if interval is None:
                raise ValueError("candles need an interval")
            rows = self.candle_endpoint(instrument).page_rows
            return list(_candle_windows(interval, asked, rows))
        return list(split(asked, self.window_us(instrument, kind)))

    @abstractmethod
    def candle_endpoint(self, instrument: Instrument) -> Endpoint:
        """Return the endpoint whose page size sets the width of candle windows."""

    @abstractmethod
    def window_us(self, instrument: Instrument, kind: Kind) -> int:
        """Return the width of trade and funding windows."""

    def cost(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, windows: int
    ) -> Cost:
        """Return what that many windows take, one page each, at the published limits."""
        del interval
        endpoint = self.plan_endpoint(instrument, kind)
        seconds, weight = 0.0, 0.0
        for fact in self.spec.quotas.get(endpoint.host, ()):
            booked = endpoint.costs.get(fact.name, 0.0) * windows
            weight = max(weight, booked)
            seconds = max(seconds, booked * fact.per_s / (fact.amount * fact.share))
        size = endpoint.page_rows * endpoint.row_bytes * windows
        return Cost(requests=windows, weight=round(weight), seconds=seconds, body_bytes=size)

    @abstractmethod
    def plan_endpoint(self, instrument: Instrument, kind: Kind) -> Endpoint:
        """Return the endpoint that history of `kind` is fetched from."""

    async def archive_size(self, file: ArchiveFile) -> int | None:
        """Return the bytes of a file as it would be downloaded; None if nobody says."""
        return await self._tools.http.size(file.url)

    # -- requests -------------------------------------------------------------------------------

    def url(self, endpoint: Endpoint, **path: str) -> str:
        """Return the address of a call, with `{name}` parts of its path filled in, quoted."""
        filled = endpoint.path.format(**{k: quote(v, safe="") for k, v in path.items()})
        return f"{self._hosts[endpoint.host].rstrip('/')}{filled}"

    async def request(
        self,
        endpoint: Endpoint,
        decode: Callable[[HttpReply], T],
        params: Mapping[str, str | int] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **path: str,
    ) -> T:
        """Ask one question until it is answered and decoded.

        Raises:
            CryptoError: the last refusal, once retrying cannot help or its time is up.
        """
        address = self.url(endpoint, **path)
        if params:
            address = f"{address}?{_query(params)}"
        governor = self._tools.governors[endpoint.host]

        async def once() -> T:
            try:
                await governor.acquire(endpoint.costs)
            except Frozen as e:
                raise Banned(self.exchange, round(e.seconds)) from e
            self.stats.requests += 1
            self.stats.by_endpoint[endpoint.name] = self.stats.by_endpoint.get(endpoint.name, 0) + 1
            reply = await self._tools.http.get(address, headers=headers)
            self.stats.body_bytes += len(reply.body)
            governor.observe(self.used(endpoint, reply), elapsed_s=reply.elapsed_s)
            try:
                self.check(endpoint, reply)
            except (RateLimited, Banned) as e:
                self.stats.rate_limited += 1
                governor.freeze(e.retry_after_s or self.spec.freeze_s, e.code)
                raise
            return decode(reply)

        return await retrying(
            once,
            policy=self._tools.retry,
            clock=self._tools.system,
            rng=self._tools.rng,
            on_retry=self._note_retry,
        )

    def _note_retry(self, error: CryptoError, wait_s: float) -> None:
        self.stats.retries += 1
        log.info(
            "request_retried",
            extra={"exchange": self.exchange, "code": error.code, "wait_s": round(wait_s, 3)},
        )

    def geo_blocked(self, endpoint: Endpoint) -> GeoBlocked:
        """Return the error for a refused region, naming what else can be tried."""
        host = urlsplit(self._hosts[endpoint.host]).netloc
        return GeoBlocked(self.exchange, host, self.spec.geo_remedy)


def _query(params: Mapping[str, str | int]) -> str:
    """Return the query; most values need no quoting, which is seen in a fifth of the time."""
    if all(isinstance(v, int) or (v.isascii() and v.isalnum()) for v in params.values()):
        return "&".join([f"{name}={value}" for name, value in params.items()])
    return urlencode(params)


def _candle_windows(interval: Interval, asked: Range, rows: int) -> list[Range]:
    windows: list[Range] = []
    start = interval.ceil(asked.start)
    while start < asked.end:
        end = min(interval.shift(start, rows), asked.end)
        windows.append(Range(start, end))
        start = end
    return windows
