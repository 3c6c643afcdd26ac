"""The Python door, in its async face; `plain` has the one without `await`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self, TypeVar, overload

import pyarrow as pa

from zvt_crypto.bootstrap.books import book_at
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.result import Result
from zvt_crypto.bootstrap.streaming import LiveStream, Wanted
from zvt_crypto.core.candle import aggregate
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import (
    BadRange,
    CryptoError,
    UnknownInterval,
    UnknownSymbol,
    UsageError,
)
from zvt_crypto.core.instrument import Instrument, InstrumentTable
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import SETTLED, Coverage, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import Moment, to_us
from zvt_crypto.ports.store import SeriesInfo, Verified
from zvt_crypto.services.latest import Latest
from zvt_crypto.services.loader import LoadReport, LoadRequest, SeriesPlan
from zvt_crypto.settings import load_settings

T = TypeVar("T")

_FOREVER = Range(0, 1 << 62)


class Door:
    """Questions to a platform that somebody else opened and will close.

    All ranges are half-open; times are datetimes, dates, ISO strings or epoch numbers, and naive
    ones mean UTC. Symbols are accepted as `BTC-USDT`, `BTC/USDT:USDT` or the exchange's own.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._streams: list[LiveStream] = []

    @property
    def platform(self) -> Platform:
        """Return store, connectors and loader themselves."""
        return self._platform

    async def candles(
        self,
        exchange: str,
        symbol: str,
        interval: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
        load: bool = False,
        verdicts: bool = False,
    ) -> Result:
        """Return stored candles; `load=True` fetches what is owed first.

        If the store holds a finer interval but not this one, the candles are aggregated while
        reading, never across a hole: `Result.made_from` says so. `verdicts=True` adds a column
        `verdict`: what comparing the candle with its trades came to, null where that never
        happened.
        """
        width = parse_interval(interval)
        result = await self._read(
            exchange,
            symbol,
            Kind.CANDLES,
            width,
            start=start,
            end=end,
            as_of=as_of,
            last=last,
            load=load,
        )
        if not verdicts:
            return result
        # Only as far as there are rows: `last` may have left most of the range out.
        opens = times_of(result.table)
        shown = Range(int(opens[0]), int(opens[-1]) + 1) if len(opens) else Range(0, 0)
        told = await self._platform.store.reconciliations(result.series, shown)
        return result.with_verdicts(told)

    async def trades(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
        load: bool = False,
    ) -> Result:
        """Return stored trades; `side` is the taker's, `size` in base units."""
        return await self._read(
            exchange,
            symbol,
            Kind.TRADES,
            None,
            start=start,
            end=end,
            as_of=as_of,
            last=last,
            load=load,
        )

    async def funding(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
        load: bool = False,
    ) -> Result:
        """Return stored settled funding rates of a perpetual."""
        return await self._read(
            exchange,
            symbol,
            Kind.FUNDING,
            None,
            start=start,
            end=end,
            as_of=as_of,
            last=last,
            load=load,
        )

    async def book_snapshots(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
    ) -> Result:
        """Return stored whole books, one a row: lists of prices and sizes, best first."""
        return await self._read(
            exchange,
            symbol,
            Kind.BOOK_SNAPSHOTS,
            None,
            start=start,
            end=end,
            as_of=as_of,
            last=last,
            load=False,
        )

    async def book_deltas(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
    ) -> Result:
        """Return stored changes of a book, one message a row; a size of zero removes its price."""
        return await self._read(
            exchange,
            symbol,
            Kind.BOOK_DELTAS,
            None,
            start=start,
            end=end,
            as_of=as_of,
            last=last,
            load=False,
        )

    async def book_at(
        self, exchange: str, symbol: str, moment: Moment, *, depth: int | None = None
    ) -> Book:
        """Return the book as it stood after the last change up to a moment, best levels first.

        Made of the last whole book stored before and the changes since, which are checked to follow
        one another. `ts_event` of the book is the time of its last change.

        Args:
            exchange: where.
            symbol: in any spelling.
            moment: when; the exchange's clock.
            depth: so many levels a side; None is all that were kept.

        Raises:
            BookUnknown: the store does not prove how it stood: there is a hole, or nothing.
        """
        try:
            at = to_us(moment)
        except ValueError as e:
            raise BadRange(
                str(e), remedy="Give the moment as 2024-01-31T12:00:00Z, in UTC"
            ) from None
        if depth is not None and depth < 1:
            raise UsageError(f"a depth of {depth} is no book", remedy="Ask for 1 level or more")
        name = await self.resolve(exchange, symbol)
        return await book_at(self._platform.store, exchange.lower(), name, at, depth)

    async def instruments(self, exchange: str, *, refresh: bool = False) -> list[Instrument]:
        """Return the exchange's instruments, from the store unless it has none."""
        return list(await self._platform.loader.instruments(exchange, refresh=refresh))

    async def load(
        self,
        exchange: str,
        symbols: str | Iterable[str],
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        kind: str = "candles",
    ) -> LoadReport:
        """Load history into the store; what the ledger holds already is not fetched again."""
        return await self._platform.loader.load(
            requests(exchange, symbols, interval, start, end, kind=kind)
        )

    async def plan(
        self,
        exchange: str,
        symbols: str | Iterable[str],
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        kind: str = "candles",
    ) -> list[SeriesPlan]:
        """Return what `load` would take: requests, weight, seconds, bytes."""
        return await self._platform.loader.plan(
            requests(exchange, symbols, interval, start, end, kind=kind)
        )

    def stream(self, wanted: Wanted) -> LiveStream:
        """Return live records of these series as they come; what comes is stored too.

        Args:
            wanted: `binance:BTC-USDT:trades`, `okx:BTC-USDT:candles:1m`, a `Series`, or several.
                Without a kind it is trades and candles of a minute.

        Raises:
            UsageError: a word cannot be read. A wrong symbol shows when the stream starts.
        """
        made = LiveStream(self._platform, wanted)
        self._streams = [*(one for one in self._streams if not one.is_closed), made]
        return made

    async def series(self) -> list[SeriesInfo]:
        """Return every series the store holds."""
        return await self._platform.store.series()

    async def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return the ledger of a series."""
        return await self._platform.store.coverage(series, asked)

    @overload
    async def latest(self, series: Sequence[Series]) -> list[pa.Table]: ...

    @overload
    async def latest(
        self, series: str, symbol: str, *, kind: str = "trades", interval: str | None = None
    ) -> Latest: ...

    async def latest(
        self,
        series: str | Sequence[Series],
        symbol: str | None = None,
        *,
        kind: str = "trades",
        interval: str | None = None,
    ) -> list[pa.Table] | Latest:
        """Return the newest record of one series, or the newest stored row of each of many.

        `latest("binance", "BTC-USDT", kind="quotes")` is a `Latest`: the record as a stream gives
        it, from the cache where that knows it, else from the store. `kind="book"` is the top of the
        book. A sequence of series is answered by the store, one table each; see `Store.latest`.

        Raises:
            UsageError: there is no such exchange, symbol, kind or interval.
        """
        if not isinstance(series, str):
            return await self._platform.store.latest(series)
        if not symbol:
            raise UsageError("a symbol is missing", remedy='Write: latest("binance", "BTC-USDT")')
        name = await self.resolve(series, symbol)
        what = _kind(kind)
        width = parse_interval(interval or "1m") if what is Kind.CANDLES else None
        (found,) = await self._platform.latest.latest([Series(series.lower(), name, what, width)])
        return found

    async def verify(self) -> Verified:
        """Recompute rows and digests and compare them with the ledger."""
        return await self._platform.store.verify()

    async def repair(self) -> tuple[Verified, LoadReport]:
        """Throw away what `verify` refutes and load everything missing."""
        return await self._platform.loader.repair()

    async def resolve(self, exchange: str, symbol: str) -> str:
        """Return the canonical symbol, without asking the exchange if the store knows it."""
        connector = self._platform.loader.connector(exchange)
        known = await self._platform.store.instruments(connector.exchange)
        try:
            return InstrumentTable(connector.exchange, known).resolve(symbol).symbol
        except UnknownSymbol:
            held = {i.series.symbol for i in await self.series()}
            if symbol.upper() in held:
                return symbol.upper()
            raise

    async def _read(
        self,
        exchange: str,
        symbol: str,
        kind: Kind,
        interval: Interval | None,
        *,
        start: Moment | None,
        end: Moment | None,
        as_of: Moment | None,
        last: int | None,
        load: bool,
    ) -> Result:
        since, until = bounds(start, end)
        if load:
            request = LoadRequest(exchange, symbol, kind, interval, since, until)
            # Who reads waits for nobody: what a worker is at is then asked by both.
            report = await self._platform.loader.load([request], share=False)
            if (error := report.series[0].error) is not None:
                raise error
        name = await self.resolve(exchange, symbol)
        series = Series(exchange.lower(), name, kind, interval)
        store = self._platform.store
        ledger = await store.coverage(series)
        source = None if ledger else await self._finer(series)
        held = ledger if source is None else await store.coverage(source)
        asked = _clip(since, until, held)
        moment = None if as_of is None else to_us(as_of)
        if source is None or source.interval is None or interval is None:
            table = await store.read(series, asked, as_of=moment, last=last)
            return Result(series, asked, table, await store.coverage(series, asked))
        return await self._aggregate(series, source, asked, moment, last)

    async def _finer(self, series: Series) -> Series | None:
        """Return the coarsest stored series that candles of `series` can be made from."""
        if series.interval is None:
            return None
        finer = [
            info.series
            for info in await self._platform.store.series()
            if (info.series.exchange, info.series.symbol, info.series.kind)
            == (series.exchange, series.symbol, Kind.CANDLES)
            and info.series.interval is not None
            and info.series.interval is not series.interval
            and info.series.interval.divides(series.interval)
        ]
        return max(finer, key=lambda s: s.interval.nominal_us if s.interval else 0, default=None)

    async def _aggregate(
        self, series: Series, source: Series, asked: Range, as_of: int | None, last: int | None
    ) -> Result:
        store = self._platform.store
        finer, interval = source.interval, series.interval
        if finer is None or interval is None:
            raise ValueError(f"only candles can be aggregated, not {series}")
        whole = Range(interval.ceil(asked.start), interval.floor(asked.end))
        rows = await store.read(source, whole, as_of=as_of)
        ledger = await store.coverage(source, whole)
        known = [e.range for e in ledger if e.verdict in SETTLED - {Verdict.UNRECOVERABLE}]
        table = aggregate(rows, finer, interval, known).table
        if last is not None:
            table = table.slice(max(0, table.num_rows - last))
        return Result(series, whole, table, ledger, made_from=finer)


class AsyncCrypto(Door):
    """The platform for asyncio programs: `async with zc.AsyncCrypto("./data") as db`."""

    def __init__(self, store: str | Path | None = None, **settings: object) -> None:
        overrides = {"store": None if store is None else str(store), **_dotted(settings)}
        super().__init__(Platform(load_settings(overrides).settings))

    async def __aenter__(self) -> Self:
        await self._platform.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for stream in self._streams:
            await stream.aclose()
        await self._platform.__aexit__(*exc)


def requests(
    exchange: str,
    symbols: str | Iterable[str],
    interval: str | None,
    start: Moment | None,
    end: Moment | None,
    *,
    kind: str,
) -> list[LoadRequest]:
    """Return one load request per symbol."""
    since, until = bounds(start, end)
    names: Sequence[str] = [symbols] if isinstance(symbols, str) else list(symbols)
    what = Kind(kind)
    width = parse_interval(interval or "1m") if what is Kind.CANDLES else None
    return [LoadRequest(exchange, name, what, width, since, until) for name in names]


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise UsageError(f"unknown kind {text!r}", remedy=f"Known: {' '.join(Kind)}") from None


def parse_interval(text: str) -> Interval:
    """Return the interval.

    Raises:
        UnknownInterval: `text` is none of the nine.
    """
    try:
        return Interval.parse(text)
    except ValueError:
        raise UnknownInterval(text, list(Interval)) from None


def bounds(start: Moment | None, end: Moment | None) -> tuple[int | None, int | None]:
    """Return both bounds in microseconds.

    Raises:
        BadRange: one cannot be read, or they are reversed.
    """
    try:
        since = None if start is None else to_us(start)
        until = None if end is None else to_us(end)
    except ValueError as e:
        raise BadRange(str(e)) from None
    if since is not None and until is not None and until <= since:
        raise BadRange(
            "the range is reversed or empty", remedy="Give a start before the end; it is excluded"
        )
    return since, until


def _clip(since: int | None, until: int | None, held: Sequence[Coverage]) -> Range:
    """Return the asked range; an open end means as far as the ledger reaches."""
    first = held[0].start if held else _FOREVER.start
    last = held[-1].end if held else first
    start = first if since is None else since
    return Range(start, max(start, last if until is None else until))


def _dotted(settings: dict[str, object]) -> dict[str, object]:
    return {name.replace("__", "."): value for name, value in settings.items()}


__all__ = ["AsyncCrypto", "CryptoError", "Door"]
