"""One exchange of the stream service: its feeds, its pool of sockets, and who is told what."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.record import (
    Book,
    Candle,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
)
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.validation import Rejected
from zvt_crypto.ports.connector import Connector
from zvt_crypto.ports.stream import Refused, SequenceBreak, StreamProtocol, Target
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.candles import BarWorks
from zvt_crypto.services.stream.connection import Connection
from zvt_crypto.services.stream.feed import Feed, Place
from zvt_crypto.services.stream.pool import Pool
from zvt_crypto.services.stream.trades import UncountedTradeFeed

log = logging.getLogger(__name__)

_KIND_OF: Final = {
    MarkPrice: Kind.MARK_PRICE,
    Funding: Kind.FUNDING,
    OpenInterest: Kind.OPEN_INTEREST,
    Liquidation: Kind.LIQUIDATIONS,
    InstrumentStatus: Kind.STATUS,
}
_QUARANTINE_WINDOW_US: Final = 60_000_000


class Venue:
    """A `Router`: finds the feed of every record of one exchange."""

    def __init__(
        self,
        protocol: StreamProtocol,
        connector: Connector,
        now_us: Callable[[], int],
        quarantine_per_minute: int,
    ) -> None:
        self.protocol = protocol
        self.connector = connector
        self.exchange = protocol.exchange
        self.pool: Pool
        self.feeds: dict[Series, Feed] = {}
        self.by_place: dict[Place, list[Feed]] = {}
        self.trades: dict[str, Callable[[Trade], None]] = {}
        self.quotes: dict[str, Callable[[Quote], None]] = {}
        self.books: dict[str, Callable[[object, Book], None]] = {}
        self.works: dict[str, BarWorks] = {}
        """Bars built from trades, by symbol."""
        self.malformed = 0
        self.unknown = 0
        self._others: dict[tuple[str, Kind], Callable[[Any], None]] = {}
        self._candles: dict[tuple[str, str], Callable[[Candle], None]] = {}
        self._natives: dict[str, list[Instrument]] = {}
        self._now_us = now_us
        self._most_kept = quarantine_per_minute
        self._kept = 0
        self._kept_since = 0

    # -- feeds ----------------------------------------------------------------------------------

    def know(self, instruments: Iterable[Instrument]) -> None:
        """Learn which instruments native ids mean."""
        self._natives.clear()
        listed = list(instruments)
        for one in listed:
            self._natives.setdefault(one.native, []).append(one)
        for one in listed:
            for native in one.aliases:
                self._natives.setdefault(native, []).append(one)

    def resolve(self, route: str, native: str) -> Sequence[Target]:
        """Return the instruments a native id stands for on a route, its own first.

        All that share a book are told, subscribed or not: parsers ask once for each connection.
        """
        market = route.partition("_")[0]
        found = self._natives.get(native, ())
        exact = [one for one in found if one.market.value == market]
        return [
            Target(one.symbol, one.market, one.contract_size)
            for one in (exact or ([] if market in _MARKETS else found))
        ]

    def attach(self, feed: Feed) -> None:
        """Send the records of a feed's series to it."""
        series = feed.series
        self.feeds[series] = feed
        self.by_place.setdefault(feed.place, []).append(feed)
        match series.kind:
            case Kind.TRADES:
                self.trades[series.symbol] = feed.take
            case Kind.QUOTES:
                self.quotes[series.symbol] = feed.take
            case Kind.BOOK:
                assert isinstance(feed, BookFeed)  # noqa: S101 - made so for the kind
                self.books[series.symbol] = feed.take_from
            case Kind.CANDLES:
                self._candles[series.symbol, str(series.interval)] = feed.take
            case kind:
                self._others[series.symbol, kind] = feed.take

    def detach(self, feed: Feed) -> bool:
        """Send them there no more; return whether its topic has no other feed left."""
        series = feed.series
        del self.feeds[series]
        sharing = self.by_place[feed.place]
        sharing.remove(feed)
        match series.kind:
            case Kind.TRADES:
                del self.trades[series.symbol]
            case Kind.QUOTES:
                del self.quotes[series.symbol]
            case Kind.BOOK:
                del self.books[series.symbol]
            case Kind.CANDLES:
                del self._candles[series.symbol, str(series.interval)]
            case kind:
                del self._others[series.symbol, kind]
        if sharing:
            return False
        del self.by_place[feed.place]
        return True

    # -- what connections tell ------------------------------------------------------------------

    def other(self, record: Any) -> None:
        """Take a record of a rarer kind."""
        if type(record) is Candle:
            take = self._candles.get((record.symbol, str(record.interval)))
        else:
            take = self._others.get((record.symbol, _KIND_OF[type(record)]))
        if take is not None:
            take(record)
        else:
            self.unknown += 1

    def opened(self, connection: Connection, topics: Sequence[str]) -> None:
        """Tell the feeds of these topics that data may come."""
        now_us = self._now_us()
        for topic in topics:
            for feed in self.by_place.get(Place(connection.route, topic), ()):
                feed.connected(now_us)

    def lost(self, connection: Connection, detail: str) -> None:
        """Tell the feeds that no other connection carries, and the books that followed this one."""
        feeds = self.feeds_on(connection)
        for feed in feeds:
            if isinstance(feed, BookFeed):
                feed.left(connection)
        if connection not in self.pool.connections:
            return  # it was replaced, or is not wanted any more
        for feed in feeds:
            others = [one for one in self.pool.carriers(*feed.place) if one is not connection]
            if not others:
                feed.health.ended()
                feed.disconnected(detail)

    def rejected(self, connection: Connection, topic: str, detail: str) -> None:
        """Take note that the exchange does not give a topic: its feeds are dead."""
        log.error(
            "stream_topic_refused",
            extra={"connection": connection.name, "topic": topic, "detail": detail[:200]},
        )
        for feed in self.by_place.get(Place(connection.route, topic), ()):
            feed.health.ended()
            feed.disconnected(f"refused by the exchange: {detail[:200]}")

    def retire(self, connection: Connection, detail: str) -> None:
        """Replace a connection."""
        self.pool.retire(connection, detail)

    def broke(self, connection: Connection, gap: SequenceBreak) -> None:
        """Start the books of a connection anew: some of its messages were lost.

        Trades tell by their ids whether it was theirs.
        """
        log.info(
            "stream_sequence_broke",
            extra={
                "connection": connection.name,
                "expected": gap.expected,
                "received": gap.received,
            },
        )
        for feed in self.feeds_on(connection):
            if isinstance(feed, BookFeed):
                feed.void("sequence")

    def refused(self, connection: Connection, refused: Refused) -> None:
        """Keep a bounded copy of what was refused; doubt what cannot be counted."""
        self.malformed += 1
        feeds = [
            feed
            for feed in self.feeds_on(connection)
            if refused.symbol is None or feed.series.symbol == refused.symbol
        ]
        for feed in feeds:
            if isinstance(feed, UncountedTradeFeed):
                feed.disconnected("a frame was not readable")
            elif isinstance(feed, BookFeed) and refused.symbol is not None:
                feed.void("refused")
        if feeds and self._may_keep():
            feeds[0].refuse(Rejected(None, refused.reason, refused.raw))

    def _may_keep(self) -> bool:
        now_us = self._now_us()
        if now_us - self._kept_since > _QUARANTINE_WINDOW_US:
            self._kept_since, self._kept = now_us, 0
        self._kept += 1
        return self._kept <= self._most_kept

    def feeds_on(self, connection: Connection) -> list[Feed]:
        """Return the feeds of a connection's topics."""
        places = [Place(connection.route, topic) for topic in connection.topics]
        return [feed for place in places for feed in self.by_place.get(place, ())]


_MARKETS: Final = frozenset(("spot", "linear", "inverse"))
