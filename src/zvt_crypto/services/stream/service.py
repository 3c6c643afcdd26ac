"""CryptoStreamService: one live feed from many exchanges; it notices what it loses, and repairs.

    service = CryptoStreamService(...)          # `bootstrap` builds it
    service.on(handler, kinds=[Kind.TRADES])    # before or while it runs
    async with service:
        await service.add([Series("binance", "BTC-USDT", Kind.TRADES)])
        ...

Everything runs on one event loop. A frame is read, its records go through their feeds to the
handlers' queues and to the rows that wait for the next commit, all in one go; nothing in between
waits. Commits, repairs and questions about silent feeds are tasks of their own.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from zvt_crypto.core.book import OrderBook, Step
from zvt_crypto.core.errors import CryptoError, NotSupported, UnknownExchange, UsageError
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import SETTLED
from zvt_crypto.core.ledger import Verdict as Held
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side, Trade
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.connector import Connector
from zvt_crypto.ports.filler import Filler
from zvt_crypto.ports.store import Store
from zvt_crypto.ports.stream import Dialer, StreamProtocol
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.candles import BarWorks, CandleFeed
from zvt_crypto.services.stream.config import QueuePolicy, StreamConfig
from zvt_crypto.services.stream.connection import FrameTap
from zvt_crypto.services.stream.feed import (
    POLLED,
    STORED_READINGS,
    Feed,
    FundingFeed,
    OpenGap,
    PassingFeed,
    Place,
    ReadingFeed,
)
from zvt_crypto.services.stream.handler import Handler, HandlerQueue
from zvt_crypto.services.stream.listeners import Listener, Listeners
from zvt_crypto.services.stream.pool import Pool
from zvt_crypto.services.stream.repair import Mender
from zvt_crypto.services.stream.sink import Sink
from zvt_crypto.services.stream.trades import CountedTradeFeed, TradeFeed, UncountedTradeFeed
from zvt_crypto.services.stream.venue import Venue
from zvt_crypto.services.stream.watch import Watch

log = logging.getLogger(__name__)

_TICK_S: Final = 0.1
_SNAPSHOT_TRIES: Final = 8

Instruments = Callable[[str], Coroutine[Any, Any, Iterable[Instrument]]]
"""Gives all instruments of an exchange."""


@dataclass(slots=True)
class CryptoStreamService:
    """Streams series from exchanges to handlers and to the store; an async context manager.

    Args:
        store: where rows and ledger go.
        protocols, dialers, connectors: by exchange.
        instruments: gives an exchange's instruments.
        filler: loads history, to repair.
        clock: time.
        config: every bound and deadline.
        rng: chance of waits.
        tap: the journal, if raw frames are kept.
    """

    store: Store
    protocols: Mapping[str, StreamProtocol]
    dialers: Mapping[str, Dialer]
    connectors: Mapping[str, Connector]
    instruments: Instruments
    filler: Filler
    clock: Clock
    config: StreamConfig = field(default_factory=StreamConfig)
    rng: Random = field(default_factory=Random)
    tap: FrameTap | None = None
    venues: dict[str, Venue] = field(default_factory=dict[str, Venue])
    sink: Sink = field(init=False)
    mender: Mender = field(init=False)
    watch: Watch = field(init=False)
    _listeners: Listeners = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_running: bool = False

    def __post_init__(self) -> None:
        self._listeners = Listeners(
            self.feeds, self._pause, lambda work, name: self.spawn(work, name=name)
        )
        self.sink = Sink(self.store, self.clock, self.config, self._stored)
        self.mender = Mender(self.store, self.filler, self.sink, self.config, self.rng)
        self.watch = Watch(
            self.venues,
            self.clock,
            self.config,
            lambda work, name: self.spawn(work, name=name),
            self.rng,
        )

    # -- life -----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._is_running = True
        self._listeners.start()
        self.spawn(self.sink.run(), name="sink")
        self.spawn(self._tick(), name="tick")
        self.spawn(self.watch.retry_missing(self.store, self.filler), name="retry")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sockets, let handlers finish, make durable what came; then stop."""
        if not self._is_running:
            return
        self._is_running = False
        for venue in self.venues.values():
            await venue.pool.close()
        await self._listeners.drain()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not await self.sink.commit():
            log.error("stream_rows_lost", extra={"detail": self.sink.failing})

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run a task until the service closes; one that fails is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("stream_task_failed", exc_info=error, extra={"task": task.get_name()})

    # -- handlers -------------------------------------------------------------------------------

    def on(
        self,
        handler: Handler,
        *,
        kinds: Iterable[Kind] | None = None,
        symbols: Iterable[str] | None = None,
        exchanges: Iterable[str] | None = None,
        policy: QueuePolicy = "block",
        size: int = 10_000,
    ) -> HandlerQueue:
        """Give a handler the records of some series, and the control records about them, in order.

        Args:
            handler: a function or coroutine function of one record; what it raises is counted and
                logged, and changes nothing else.
            kinds: which kinds it wants; None is all.
            symbols: which canonical symbols.
            exchanges: which exchanges.
            policy: what happens when it is slow; see `QueuePolicy`.
            size: records that may wait for it.

        Returns:
            Its queue, with the counts of what it handled, dropped and failed on.
        """
        queue = HandlerQueue(handler, policy=policy, size=size, on_full=self._listeners.check_full)
        self._listeners.add(
            Listener(
                queue,
                None if kinds is None else frozenset(kinds),
                None if symbols is None else frozenset(symbols),
                None if exchanges is None else frozenset(exchanges),
            )
        )
        return queue

    def off(self, queue: HandlerQueue) -> None:
        """Tell a handler nothing any more; what waits in its queue is dropped."""
        self._listeners.remove(queue)

    @property
    def is_paused(self) -> bool:
        """Return whether sockets wait for a handler whose queue is full."""
        return self._listeners.is_full

    def _pause(self, on: bool) -> None:  # noqa: FBT001
        for venue in self.venues.values():
            venue.pool.pause(on=on)

    # -- subscriptions --------------------------------------------------------------------------

    @property
    def handlers(self) -> list[HandlerQueue]:
        """Return the queues of all handlers."""
        return self._listeners.queues

    def feeds(self) -> list[Feed]:
        """Return all feeds."""
        return [feed for venue in self.venues.values() for feed in venue.feeds.values()]

    def _stored(self) -> list[Feed]:
        """Return what is drained into the store: all feeds, and the rows of books that are kept."""
        feeds = self.feeds()
        keepers = [one.keeper for one in feeds if isinstance(one, BookFeed)]
        return [*feeds, *(rows for one in keepers if one is not None for rows in one.feeds)]

    @property
    def subscriptions(self) -> set[Series]:
        """Return the series that are streamed."""
        return {feed.series for feed in self.feeds()}

    async def set(self, wanted: Iterable[Series]) -> None:
        """Stream exactly these series; ones that are streamed already go on undisturbed.

        Raises:
            UsageError: an exchange, symbol or kind is wrong; nothing was changed.
        """
        asked = set(wanted)
        now = self.subscriptions
        await self.add(asked - now)
        await self.remove(now - asked)

    async def check(self, wanted: Iterable[Series]) -> None:
        """Refuse what `add` would refuse.

        Raises:
            UsageError: an exchange, symbol or kind is wrong.
        """
        for series in wanted:
            await self._instrument(series)

    async def add(self, wanted: Iterable[Series]) -> None:
        """Stream these series too.

        Raises:
            UsageError: an exchange, symbol or kind is wrong; nothing was changed.
        """
        async with self._changing:
            fresh = [series for series in dict.fromkeys(wanted) if series not in self.subscriptions]
            found = [(series, await self._instrument(series)) for series in fresh]
            made = [self._feed(series, instrument) for series, instrument in found]
            for feed in made:
                await self._resume(feed)
            by_route: dict[tuple[str, str], list[str]] = {}
            for feed in made:
                venue = self.venues[feed.series.exchange]
                venue.attach(feed)
                self._listeners.join(feed)
                self._wire(venue, feed)
                if feed.place == POLLED:
                    feed.connected(self.now_us())
                    continue
                if venue.pool.is_asked(*feed.place):  # for another series of the same topic
                    feed.connected(self.now_us())
                key = (feed.series.exchange, feed.place.route)
                by_route.setdefault(key, []).append(feed.place.topic)
            for (exchange, route), topics in by_route.items():
                self.venues[exchange].pool.add(route, topics)

    def _wire(self, venue: Venue, feed: Feed) -> None:
        """Lead trades to the bars built from them, and tops of books to quotes."""
        symbol = feed.series.symbol
        works = venue.works.get(symbol)
        trades = venue.feeds.get(Series(venue.exchange, symbol, Kind.TRADES))
        if works is not None and isinstance(trades, TradeFeed):
            works.trades = trades
            if works.on_record not in trades.outlets:
                trades.outlets.insert(0, works.on_record)
        if venue.protocol.quotes_from_book:
            book = venue.feeds.get(Series(venue.exchange, symbol, Kind.BOOK))
            quotes = venue.feeds.get(Series(venue.exchange, symbol, Kind.QUOTES))
            if isinstance(book, BookFeed):
                book.quotes = None if quotes is None else quotes.take

    async def remove(self, unwanted: Iterable[Series]) -> None:
        """Stream these series no longer; what came of them is made durable first."""
        async with self._changing:
            gone = set(unwanted)
            leaving = [feed for feed in self.feeds() if feed.series in gone]
            if leaving:
                await self.sink.commit()
            for feed in leaving:
                venue = self.venues[feed.series.exchange]
                self._unwire(venue, feed)
                if venue.detach(feed) and feed.place != POLLED:
                    venue.pool.remove(feed.place.route, [feed.place.topic])

    @staticmethod
    def _unwire(venue: Venue, feed: Feed) -> None:
        works = venue.works.get(feed.series.symbol)
        if works is None:
            return
        if isinstance(feed, CandleFeed):
            works.feeds.pop(feed.interval, None)
        if feed is works.trades or not works.feeds:
            if works.trades is not None and works.on_record in works.trades.outlets:
                works.trades.outlets.remove(works.on_record)
            works.trades = None
        if not works.feeds:
            del venue.works[feed.series.symbol]

    def book(self, exchange: str, symbol: str) -> OrderBook | None:
        """Return the book as it stands now, None while it is not whole."""
        venue = self.venues.get(exchange)
        feed = venue and venue.feeds.get(Series(exchange, symbol, Kind.BOOK))
        if isinstance(feed, BookFeed) and feed.sync.is_synced:
            return feed.sync.book
        return None

    async def _instrument(self, series: Series) -> Instrument:
        venue = await self._venue(series.exchange)
        listed = await self.instruments(series.exchange)
        found = next((one for one in listed if one.symbol == series.symbol), None)
        if found is None:
            raise UsageError(
                f"{series.exchange} has no instrument {series.symbol!r}",
                remedy=f"`zvtc instruments {series.exchange}` lists all",
            )
        venue.know(listed)
        self._place(venue.protocol, series, found)  # refuses what the exchange does not have
        return found

    @staticmethod
    def _place(protocol: StreamProtocol, series: Series, instrument: Instrument) -> Place:
        """Return where a series comes from; candles no socket has are loaded as they close."""
        try:
            route = protocol.route(series, instrument)
        except NotSupported:
            if series.kind is Kind.CANDLES:
                return POLLED
            raise
        return Place(route, protocol.topic(series, instrument))

    async def _venue(self, exchange: str) -> Venue:
        found = self.venues.get(exchange)
        if found is not None:
            return found
        protocol = self.protocols.get(exchange)
        if protocol is None:
            raise UnknownExchange(exchange, sorted(self.protocols))
        venue = Venue(
            protocol,
            self.connectors[exchange],
            self.clock.now_us,
            self.config.quarantine_per_minute,
        )
        venue.pool = Pool(
            protocol,
            self.dialers[exchange],
            venue.resolve,
            venue,
            self.config,
            clock=self.clock,
            rng=self.rng,
            spawn=self.spawn,
            tap=self.tap,
        )
        venue.pool.pause(on=self.is_paused)
        self.venues[exchange] = venue
        return venue

    def _feed(self, series: Series, instrument: Instrument) -> Feed:
        venue = self.venues[series.exchange]
        protocol = venue.protocol
        place = self._place(protocol, series, instrument)
        if series.kind is Kind.TRADES:
            counted = venue.connector.counts_trade_ids(instrument)
            made = CountedTradeFeed if counted else UncountedTradeFeed
            return made(series, instrument, place, self)
        if series.kind is Kind.BOOK:
            return BookFeed(
                series,
                instrument,
                place,
                self,
                rule=protocol.book_rule(place.route),
                from_rest=protocol.books_from_rest,
                renew=self._renew_book,
                is_kept=self.config.keep_books,
            )
        if series.kind is Kind.CANDLES:
            return self._candle_feed(venue, series, instrument, place)
        if series.kind is Kind.FUNDING:
            return FundingFeed(series, instrument, place, self)
        if series.kind in STORED_READINGS:
            return ReadingFeed(series, instrument, place, self)
        return PassingFeed(series, instrument, place, self)

    def _candle_feed(
        self, venue: Venue, series: Series, instrument: Instrument, place: Place
    ) -> CandleFeed:
        works = venue.works.setdefault(series.symbol, BarWorks(instrument))
        return CandleFeed(
            series,
            instrument,
            place,
            self,
            works=works,
            grace_s=max(self.config.candle_grace_s, venue.connector.settle_s + 1.0),
            recheck=lambda feed, opened: self.spawn(
                self._recheck(feed, opened), name=f"recheck {feed.series}"
            ),
            is_pushed=place != POLLED and venue.protocol.closes_candles,
        )

    async def _recheck(self, feed: CandleFeed, opened: int) -> None:
        """Ask REST about a bar that does not agree with its trades; then doubt the trades."""
        bar = Range(opened, feed.interval.shift(opened, 1))
        await asyncio.sleep(self.connectors[feed.series.exchange].settle_s + 1.0)
        if not await self.sink.commit():
            return
        try:
            await self.filler.fill(feed.series, bar, again=True)
        except CryptoError as e:
            log.info("stream_recheck_failed", extra={"series": str(feed.series), "code": e.code})
            return
        feed.recheck_trades(opened)
        trades = feed.works.trades
        if trades is not None:
            await trades.whole.wait()
            await self.sink.commit()
            rows = await self.store.read(trades.series, bar)
            feed.works.rebuild(opened, feed.interval, rows)
        feed.rechecked(opened, await self.store.read(feed.series, bar))

    async def _resume(self, feed: Feed) -> None:
        """Take up a series where the store ends, if that is not too long ago."""
        if isinstance(feed, CandleFeed | FundingFeed):
            settled = [e for e in await self.store.coverage(feed.series) if e.verdict in SETTLED]
            since = self.now_us() - self.config.catch_up_s * US_PER_S
            if settled and settled[-1].end > since:
                feed.resume_at(settled[-1].end)
            return
        if not isinstance(feed, TradeFeed):
            return
        newest = (await self.store.latest([feed.series]))[0]
        if not newest.num_rows:
            return
        at = int(times(newest)[-1])
        if self.now_us() - at > self.config.catch_up_s * US_PER_S:
            return
        ledger = await self.store.coverage(feed.series)
        held = next((e for e in reversed(ledger) if e.verdict is Held.OBSERVED), None)
        row = newest.slice(newest.num_rows - 1).to_pylist()[0]
        last = Trade(
            feed.series.exchange,
            feed.series.symbol,
            at,
            at,
            feed.reads_id(row["trade_id"]),
            row["price"],
            row["size"],
            Side(row["side"]),
            row["fills"],
        )
        feed.resume_at(last, held.end if held is not None else at)

    # -- what feeds ask for ---------------------------------------------------------------------

    def now_us(self) -> int:
        """Return our clock."""
        return self.clock.now_us()

    def mend(self, feed: Feed, gap: OpenGap) -> None:
        """Begin to repair a gap."""
        self.spawn(self.mender.mend(feed, gap), name=f"mend {feed.series}")

    def _renew_book(self, feed: BookFeed) -> None:
        if feed.wants_rest:
            self.spawn(self._fetch_book(feed), name=f"book {feed.series}")
        else:
            self.venues[feed.series.exchange].pool.renew(*feed.place)

    async def _fetch_book(self, feed: BookFeed) -> None:
        """Fetch a snapshot until one fits what is being received."""
        connector = self.connectors[feed.series.exchange]
        for attempt in range(_SNAPSHOT_TRIES):
            if feed.sync.is_synced:
                return
            try:
                snapshot = await connector.book_snapshot(feed.instrument, 1_000)
            except CryptoError as e:
                log.info("stream_book_failed", extra={"series": str(feed.series), "code": e.code})
            else:
                if not feed.sync.is_synced and feed.joined(snapshot) is Step.REPLACED:
                    return
            await asyncio.sleep(0.2 * 2**attempt * self.rng.uniform(0.5, 1.0))

    # -- what is due ----------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now_us = self.now_us()
            for venue in self.venues.values():
                venue.pool.tick(now_us)
                for feed in venue.feeds.values():
                    feed.tick(now_us)
                for works in venue.works.values():
                    works.advance(now_us)
            if not self.is_paused:
                self.watch.tick(now_us)


def streamable(
    protocol: StreamProtocol, instrument: Instrument, wanted: Sequence[Series]
) -> list[Series]:
    """Return those of `wanted` that the exchange streams for this instrument."""
    kept: list[Series] = []
    for series in wanted:
        try:
            protocol.route(series, instrument)
        except NotSupported:
            continue
        kept.append(series)
    return kept
