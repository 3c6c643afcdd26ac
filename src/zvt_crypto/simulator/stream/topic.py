"""Topics: what one subscription brings, as a function of time.

A topic answers one question: what is to be sent of what happened after one moment, up to another?
The hub asks it every few milliseconds, once for all subscribers. The classes below know the
market; a venue's subclass only writes text.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.book import Book, Changes, changes_over
from zvt_crypto.simulator.faults import Fault
from zvt_crypto.simulator.instrument import Instrument, unit_of
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.stream import feed
from zvt_crypto.simulator.stream.feed import Candle, Orders
from zvt_crypto.simulator.venue import Venue

_CROSSED_STEPS: Final = 10
_KEEP_ALIVE_US: Final = 60_000_000
UNCROSS: Final = Fault(0, "", 0)
"""What the message after a crossed one is remade for: it takes the wrong bid back."""


@dataclass(slots=True)
class Push:
    """One message of a topic.

    Attributes:
        payload: what is sent, before `Topic.wrap`.
        time_us: of the newest event in it.
        first_id, last_id: ids in it, 0 without.
        closing: whether it is the last push of a candle.
        remake: writes it differently for faults that know its meaning; None if it cannot.
        place: names its place in a connection's count, where it is sent later than it was made.
    """

    payload: bytes
    time_us: int
    first_id: int = 0
    last_id: int = 0
    closing: bool = False
    remake: Callable[[Fault], bytes | None] | None = None
    place: int = 0


class Topic(ABC):
    """One thing to subscribe to.

    Attributes:
        kind: trades, book, top, ticker, candles, mark, funding, interest, liquidations or status.
        name: unique in the venue; what faults and `/_truth/injected` call it.
        instrument: what it is about; None for all-market topics.
    """

    kind: str

    def __init__(self, venue: Venue, name: str, instrument: Instrument | None = None) -> None:
        self.venue = venue
        self.name = name
        self.instrument = instrument
        self.where = f"{self.kind} {name}"

    @abstractmethod
    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return what is sent of what happened after `since_us`, up to `until_us` included."""

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return what a new subscriber gets first; `pushes` after `now_us` continue it."""
        del now_us
        return ()

    def wrap(self, payload: bytes, style: str) -> bytes:
        """Return the message for connections of a style; a venue may have several."""
        del style
        return payload


class InstrumentTopic(Topic):
    """A topic about one instrument."""

    instrument: Instrument

    def __init__(self, venue: Venue, name: str, instrument: Instrument) -> None:
        super().__init__(venue, name, instrument)


class TradeTopic(InstrumentTopic):
    """Every trade by itself."""

    kind = "trades"

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a trade."""
        trades = feed.trades_between(self.venue, self.instrument, since_us, until_us)
        if not len(trades):
            return ()
        ids, times = range(trades.first_id, trades.first_id + len(trades)), trades.time_us.tolist()
        texts = self.encode(trades)
        return [Push(text, t, i, i) for text, t, i in zip(texts, times, ids, strict=True)]

    @abstractmethod
    def encode(self, trades: Trades) -> list[bytes]:
        """Write each trade."""


class OrderTopic(InstrumentTopic):
    """Trades merged by taker order. The ids of a push are those of the trades in it."""

    kind = "trades"

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message an order."""
        orders = feed.orders_between(self.venue, self.instrument, since_us, until_us)
        if not len(orders):
            return ()
        rows = zip(
            self.encode(orders), orders.time_us.tolist(), orders.first.tolist(),
            orders.last.tolist(), strict=True,
        )  # fmt: skip
        return [Push(text, time_us, first, last) for text, time_us, first, last in rows]

    @abstractmethod
    def encode(self, orders: Orders) -> list[bytes]:
        """Write each order."""


class BookTopic(InstrumentTopic):
    """The changes of a book, gathered for a period; with a snapshot first, where there is one.

    Args:
        period_us: how often changes are sent; a multiple of the book's step, or nearly.
    """

    kind = "book"
    keeps_alive: ClassVar[bool] = False  # whether a book that rests is sent every minute

    def __init__(
        self, venue: Venue, name: str, instrument: Instrument, period_us: int = 100_000
    ) -> None:
        super().__init__(venue, name, instrument)
        self.period_us = period_us
        self._step_us = venue.book_step_us(instrument)
        self._crossed = 0

    @abstractmethod
    def encode(self, before: Book, after: Book, changes: Changes, *, reset: bool) -> bytes | None:
        """Write what changed; `reset` says that the sequence numbers fell back with it."""

    def snapshot(self, book: Book) -> bytes | None:
        """Write a whole book for a new subscriber, or None where the venue sends none."""
        del book
        return None

    def rest(self, book: Book) -> bytes | None:
        """Write that nothing changed for a minute, where `keeps_alive`."""
        del book
        return None

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a period in which the book changed."""
        pushes: list[Push] = []
        for time_us in _ticks(since_us, until_us, self.period_us):
            before = self._step(time_us - self.period_us)
            after = self._step(time_us)
            if after > before:
                pushes += self._push(before, after, time_us)
        if self.keeps_alive:
            pushes += self._rests(since_us, until_us)
        return pushes

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the book of the last period, whole."""
        book = self._book(self._step(now_us // self.period_us * self.period_us))
        text = self.snapshot(book)
        return [] if text is None else [Push(text, book.time_us, book.sequence, book.sequence)]

    def _push(self, before: int, after: int, time_us: int) -> list[Push]:
        books = [self._book(step) for step in range(before, after + 1)]
        old, new, changes = books[0], books[-1], changes_over(books)
        reset = self.venue.books.is_reset(self.instrument, before, after)
        text = self.encode(old, new, changes, reset=reset)
        if text is None:
            return []

        def remake(fault: Fault) -> bytes | None:
            before_it, bids = old, list(changes.bids)
            if fault.kind == "ws_crossed_book":
                step = unit_of(self.instrument.price_step)
                self._crossed = next(iter(new.asks)) + _CROSSED_STEPS * step
                bids.insert(0, (self._crossed, max(new.bids.values())))
            elif fault is UNCROSS:
                bids.append((self._crossed, new.bids.get(self._crossed, 0)))
            else:
                sequence = old.sequence + int(fault.number("shift", 0))
                before_it = Book(old.step, sequence, old.time_us, old.bids, old.asks)
            return self.encode(before_it, new, Changes(bids, changes.asks), reset=reset)

        first = old.sequence + 1 if new.sequence > old.sequence else new.sequence
        return [Push(text, time_us, first, new.sequence, remake=remake)]

    def _rests(self, since_us: int, until_us: int) -> Iterator[Push]:
        for time_us in _ticks(since_us, until_us, _KEEP_ALIVE_US):
            book = self._book(self._step(time_us))
            text = self.rest(book) if time_us - book.time_us >= _KEEP_ALIVE_US else None
            if text is not None:
                yield Push(text, time_us, book.sequence, book.sequence)

    def _step(self, time_us: int) -> int:
        return time_us // self._step_us

    def _book(self, step: int) -> Book:
        return self.venue.books.of_step(self.instrument, step, self._step_us)


class BookViewTopic(InstrumentTopic):
    """The best levels of a book, whole, each period; the best bid and ask for kind `top`.

    Args:
        depth: levels a side.
        changes_only: whether a period in which they did not change sends nothing.
    """

    kind = "book"

    def __init__(
        self,
        venue: Venue,
        name: str,
        instrument: Instrument,
        depth: int,
        *,
        period_us: int = 100_000,
        changes_only: bool = True,
    ) -> None:
        super().__init__(venue, name, instrument)
        self.depth = depth
        self.period_us = period_us
        self._step_us = venue.book_step_us(instrument)
        self._changes_only = changes_only

    @abstractmethod
    def encode(self, book: Book, now_us: int) -> bytes | None:
        """Write the best levels, from `book.top(self.depth)`."""

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a period."""
        pushes: list[Push] = []
        for time_us in _ticks(since_us, until_us, self.period_us):
            book = self._book(time_us)
            if self._changes_only:
                before = self._book(time_us - self.period_us)
                if before.step == book.step or before.top(self.depth) == book.top(self.depth):
                    continue
            pushes += self._push(book, time_us)
        return pushes

    def _push(self, book: Book, time_us: int) -> list[Push]:
        text = self.encode(book, time_us)
        if text is None:
            return []

        def remake(fault: Fault) -> bytes | None:
            if fault.kind != "ws_crossed_book":
                return None
            step = unit_of(self.instrument.price_step)
            bid = next(iter(book.asks)) + _CROSSED_STEPS * step
            bids = {bid: max(book.bids.values()), **book.bids}
            crossed = Book(book.step, book.sequence, book.time_us, bids, book.asks)
            return self.encode(crossed, time_us)

        return [Push(text, time_us, book.sequence, book.sequence, remake=remake)]

    def _book(self, time_us: int) -> Book:
        return self.venue.books.at(self.instrument, time_us, self._step_us)


class TopTopic(BookViewTopic):
    """The best bid and ask, whenever they change."""

    kind = "top"

    def __init__(
        self, venue: Venue, name: str, instrument: Instrument, *, period_us: int = 100_000
    ) -> None:
        super().__init__(venue, name, instrument, 1, period_us=period_us)


class CandleTopic(InstrumentTopic):
    """The running candle each period, if it changed, and every candle once more when it closed."""

    kind = "candles"

    def __init__(
        self, venue: Venue, name: str, instrument: Instrument, bar: Bar, period_us: int
    ) -> None:
        super().__init__(venue, name, instrument)
        self.bar = bar
        self.period_us = period_us
        self._sent = (0, 0)

    @abstractmethod
    def encode(self, candle: Candle) -> bytes:
        """Write a candle."""

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return the candles that closed, and the running one if its time has come."""
        pushes: list[Push] = []
        close_us = self.bar.next(self.bar.floor(since_us))
        while close_us <= until_us:
            candle = feed.candle_closed(self.venue, self.instrument, self.bar, close_us)
            if candle is not None:
                pushes.append(self._push(candle))
            close_us = self.bar.next(close_us)
        tick = until_us // self.period_us * self.period_us
        if tick > since_us:
            candle = feed.candle_at(self.venue, self.instrument, self.bar, tick)
            if candle is not None and (candle.open_us, candle.last_id) != self._sent:
                self._sent = (candle.open_us, candle.last_id)
                pushes.append(self._push(candle))
        return pushes

    def _push(self, candle: Candle) -> Push:
        return Push(
            self.encode(candle), candle.now_us, candle.open_us, candle.open_us, candle.closed,
            lambda fault: self.encode(feed.revised(candle)) if fault.kind == "ws_revised_candle"
            else None,
        )  # fmt: skip


class TickTopic(Topic):
    """What is sent once a period as it is then: tickers, mark prices, funding, open interest.

    Args:
        period_us: of a window that holds several moments, only the last is sent.
        make: writes what is at a moment, or returns None to send nothing.
        opens: whether a new subscriber gets what is now, at once.
    """

    def __init__(  # noqa: PLR0917 - what a topic is, in the order one says it
        self,
        venue: Venue,
        kind: str,
        name: str,
        period_us: int,
        make: Callable[[int], bytes | None],
        instrument: Instrument | None = None,
        *,
        opens: bool = False,
    ) -> None:
        self.kind = kind
        super().__init__(venue, name, instrument)
        self.period_us = period_us
        self._make = make
        self._opens = opens

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return the message of the last moment, or none."""
        tick = until_us // self.period_us * self.period_us
        text = self._make(tick) if tick > since_us else None
        return () if text is None else [Push(text, tick)]

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return what is now, where the venue says it at once."""
        text = self._make(now_us) if self._opens else None
        return () if text is None else [Push(text, now_us)]


class LiquidationTopic(Topic):
    """The trades of perpetuals that were liquidations, of one instrument or of several."""

    kind = "liquidations"

    def __init__(self, venue: Venue, name: str, instruments: Sequence[Instrument]) -> None:
        super().__init__(venue, name, instruments[0] if len(instruments) == 1 else None)
        self._instruments = instruments

    @abstractmethod
    def encode(self, instrument: Instrument, trade: Trades) -> bytes | None:
        """Write one liquidation, a single trade whose taker it was; None sends nothing."""

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a liquidation, in order of time."""
        pushes: list[Push] = []
        for instrument in self._instruments:
            for trade in feed.liquidations_between(self.venue, instrument, since_us, until_us):
                text, time_us = self.encode(instrument, trade), int(trade.time_us[0])
                if text is not None:
                    pushes.append(Push(text, time_us, trade.first_id, trade.first_id))
        return sorted(pushes, key=lambda push: push.time_us)


def _ticks(since_us: int, until_us: int, period_us: int) -> range:
    """Return the multiples of a period after one moment, up to another."""
    return range((since_us // period_us + 1) * period_us, until_us + 1, period_us)
