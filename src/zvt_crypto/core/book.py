"""Order books: levels, and the procedure that keeps them equal to the exchange's. Pure.

`OrderBook` is a dictionary of sizes by price beside a sorted list of prices, for each side: of all
layouts measured the fastest when the top is read after every message. `BookSync` decides what a
message does to it. The exchanges publish different procedures, which come down to one rule: a
message moves the book from `prev_sequence` to `sequence`, and may be applied to a book that stands
there. See the order-book sections of docs/exchanges.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.record import Book, Level

CROSSED_US = US_PER_S
"""A book crossed for so long is wrong; shorter it may be in the middle of an auction's match."""


class OrderBook:
    """Both sides of a book; sizes are absolute, a size of zero removes a price."""

    __slots__ = ("_ask_prices", "_asks", "_bid_prices", "_bids", "_most")

    def __init__(self, max_levels: int = 50_000) -> None:
        """Begin empty; of more than `max_levels` a side the ones furthest from the top go."""
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        # Both ascending: the best bid is last, the best ask first.
        self._bid_prices: list[float] = []
        self._ask_prices: list[float] = []
        self._most = max_levels

    def clear(self) -> None:
        """Remove all levels."""
        self.replace((), ())

    def replace(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Take a whole book in any order."""
        self._bids = {price: size for price, size in bids if size}
        self._asks = {price: size for price, size in asks if size}
        self._bid_prices = sorted(self._bids)
        self._ask_prices = sorted(self._asks)
        self._trim()

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Take changes; removing a price that is not there is no error."""
        if bids:
            _change(bids, self._bids, self._bid_prices)
        if asks:
            _change(asks, self._asks, self._ask_prices)
        if len(self._bid_prices) > self._most or len(self._ask_prices) > self._most:
            self._trim()

    @property
    def best_bid(self) -> Level | None:
        """Highest bid."""
        if not self._bid_prices:
            return None
        price = self._bid_prices[-1]
        return price, self._bids[price]

    @property
    def best_ask(self) -> Level | None:
        """Lowest ask."""
        if not self._ask_prices:
            return None
        price = self._ask_prices[0]
        return price, self._asks[price]

    @property
    def is_crossed(self) -> bool:
        """Return whether somebody bids at least what another asks."""
        bids, asks = self._bid_prices, self._ask_prices
        return bool(bids) and bool(asks) and bids[-1] >= asks[0]

    def bids(self, depth: int | None = None) -> list[Level]:
        """Return bids, best first."""
        prices = self._bid_prices[::-1] if depth is None else self._bid_prices[: -depth - 1 : -1]
        return [(price, self._bids[price]) for price in prices]

    def asks(self, depth: int | None = None) -> list[Level]:
        """Return asks, best first."""
        return [(price, self._asks[price]) for price in self._ask_prices[:depth]]

    def __len__(self) -> int:
        return len(self._bids) + len(self._asks)

    def _trim(self) -> None:
        most = self._most
        if len(self._bid_prices) > most:
            for price in self._bid_prices[:-most]:
                del self._bids[price]
            del self._bid_prices[:-most]
        if len(self._ask_prices) > most:
            for price in self._ask_prices[most:]:
                del self._asks[price]
            del self._ask_prices[most:]


def _change(levels: Iterable[Level], sizes: dict[float, float], prices: list[float]) -> None:
    """Change one side. Most levels that come are there already, so that is asked first."""
    for price, size in levels:
        if price in sizes:
            if size:
                sizes[price] = size
            else:
                del sizes[price]
                del prices[bisect_left(prices, price)]
        elif size:
            sizes[price] = size
            insort(prices, price)


class Step(StrEnum):
    """What a message did to a book."""

    APPLIED = "applied"
    REPLACED = "replaced"
    """A snapshot: the book is whole again."""
    WAITING = "waiting"
    """Kept until a snapshot comes."""
    STALE = "stale"
    """Older than the book: ignored."""
    GAP = "gap"
    """Messages between the book and this one were lost: the book is void."""
    CROSSED = "crossed"
    """Crossed for too long: the book is void."""
    TOO_OLD = "too_old"
    """A snapshot from before the first message that was kept: ask for another."""


class BookRule(msgspec.Struct, frozen=True):
    """What differs between exchanges.

    Attributes:
        overlaps: a message may begin before the book's place, as long as it ends behind it (Binance
            spot); else `prev_sequence` must be the book's place.
        keeps: how many messages are kept while a snapshot is awaited; of more the oldest go, and
            the snapshot has to be newer.
        max_levels: see `OrderBook`.
        joins_rest: the numbers of a REST snapshot are those of the stream.
    """

    overlaps: bool = False
    keeps: int = 5_000
    max_levels: int = 50_000
    joins_rest: bool = False


class BookSync:
    """One book and its place in the exchange's sequence."""

    def __init__(self, rule: BookRule | None = None) -> None:
        self.rule = rule or BookRule()
        self.book = OrderBook(self.rule.max_levels)
        self.sequence: int | None = None
        self.is_synced = False
        self._just_joined = False
        self._kept: deque[Book] = deque(maxlen=self.rule.keeps)
        self._crossed_since: int | None = None

    def reset(self) -> None:
        """Void the book: what comes is kept until a snapshot."""
        self.is_synced = False
        self.sequence = None
        self._kept.clear()
        self._crossed_since = None
        self.book.clear()

    @property
    def kept(self) -> int:
        """Number of messages that wait for a snapshot."""
        return len(self._kept)

    def take(self, message: Book) -> Step:
        """Take one message of the stream, in the order of arrival.

        After `GAP` and `CROSSED` the book is void and this message is kept for the next snapshot.
        """
        if message.is_snapshot:
            self._replace(message)
            self._kept.clear()
            return Step.REPLACED
        if not self.is_synced:
            self._kept.append(message)
            return Step.WAITING
        step = self._step(message)
        if step is Step.GAP or step is Step.CROSSED:
            self.reset()
            self._kept.append(message)
        return step

    def join(self, snapshot: Book) -> Step:
        """Take a snapshot that came another way, and what was kept after it.

        Returns:
            `REPLACED` when the book is whole; `TOO_OLD` when messages between the snapshot and the
            first kept one are lacking, and another snapshot is needed; `GAP` when kept messages do
            not follow one another.
        """
        place = snapshot.sequence
        if place is not None:
            while self._kept and (self._kept[0].sequence or 0) <= place:
                self._kept.popleft()
            if self._kept:
                before = self._kept[0].prev_sequence
                if before is not None and before > place:
                    return Step.TOO_OLD
        self._replace(snapshot)
        self._just_joined = True
        kept = list(self._kept)
        self._kept.clear()
        for at, message in enumerate(kept):
            if self._step(message) in (Step.GAP, Step.CROSSED):
                self.reset()
                self._kept.extend(kept[at:])
                return Step.GAP
        return Step.REPLACED

    def _replace(self, snapshot: Book) -> None:
        self.book.replace(snapshot.bids, snapshot.asks)
        self.sequence = snapshot.sequence
        self.is_synced = True
        self._just_joined = False
        self._crossed_since = None

    def _step(self, message: Book) -> Step:
        place, before, after = self.sequence, message.prev_sequence, message.sequence
        if place is not None and before is not None and before != place:
            if after is None or after <= place:
                return Step.STALE
            # The first message after a snapshot from elsewhere may begin before it.
            if before > place or not (self.rule.overlaps or self._just_joined):
                return Step.GAP
        self._just_joined = False
        self.sequence = after
        book = self.book
        book.apply(message.bids, message.asks)
        if book.is_crossed:
            return self._crossed(message.ts_recv)
        self._crossed_since = None
        return Step.APPLIED

    def _crossed(self, now_us: int) -> Step:
        if self._crossed_since is None:
            self._crossed_since = now_us
        return Step.CROSSED if now_us - self._crossed_since >= CROSSED_US else Step.APPLIED
