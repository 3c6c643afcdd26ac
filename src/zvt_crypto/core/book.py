"""Order books: levels, and the procedure that keeps them equal to the exchange's. Pure.

`OrderBook` is a dictionary of sizes by price beside a sorted list of the prices near the top, for
each side: of all layouts measured the fastest when the top is read after every message. `BookSync`
decides what a message does to it. The exchanges publish different procedures, which come down to
one rule: a message moves the book from `prev_sequence` to `sequence`, and may be applied to a book
that stands there. See the order-book sections of docs/exchanges.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from heapq import nlargest, nsmallest
from math import inf
from typing import Final

import msgspec

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.record import Book, Level

CROSSED_US = US_PER_S
"""A book crossed for so long is wrong; shorter it may be in the middle of an auction's match."""


_KEPT_NEAR: Final = 128
_FEWEST_NEAR: Final = 24
_MOST_NEAR: Final = 512


class _Side(ABC):
    """One side: sizes by price, and a sorted list of the prices near the top.

    `near` holds every price from the top to `edge`, ascending; prices beyond `edge` are in `sizes`
    alone. Most changes of a deep book are out there, and cost no search. When the near ones run
    out, or grow, they are chosen anew.
    """

    __slots__ = ("edge", "near", "sizes")

    def __init__(self) -> None:
        self.sizes: dict[float, float] = {}
        self.near: list[float] = []
        self.edge = 0.0
        self.renew()

    def replace(self, levels: Iterable[Level]) -> None:
        """Take all levels, in any order."""
        self.sizes = {price: size for price, size in levels if size}
        self.renew()

    @abstractmethod
    def apply(self, levels: Iterable[Level]) -> None:
        """Take changes."""

    @abstractmethod
    def renew(self) -> None:
        """Choose the near prices anew."""

    @abstractmethod
    def prices(self, depth: int | None) -> list[float]:
        """Return prices, best first."""

    def levels(self, depth: int | None) -> list[Level]:
        """Return levels, best first."""
        sizes = self.sizes
        return [(price, sizes[price]) for price in self.prices(depth)]

    def keep(self, most: int) -> None:
        """Forget the levels furthest from the top, so that `most` remain."""
        if len(self.sizes) > most:
            self.replace(self.levels(most))


class _Bids(_Side):
    __slots__ = ()

    def apply(self, levels: Iterable[Level]) -> None:
        sizes, near, edge = self.sizes, self.near, self.edge
        for price, size in levels:
            # Most levels that come are there already, so that is asked first.
            if price in sizes:
                if size:
                    sizes[price] = size
                else:
                    del sizes[price]
                    if price >= edge:
                        del near[bisect_left(near, price)]
            elif size:
                sizes[price] = size
                if price >= edge:
                    insort(near, price)
        if not _FEWEST_NEAR < len(near) < _MOST_NEAR:
            self.renew()

    def renew(self) -> None:
        if len(self.sizes) > _KEPT_NEAR:
            self.near = nlargest(_KEPT_NEAR, self.sizes)[::-1]
            self.edge = self.near[0]
        else:
            self.near = sorted(self.sizes)
            self.edge = -inf

    def prices(self, depth: int | None) -> list[float]:
        if depth is not None and depth <= len(self.near):
            return self.near[: -depth - 1 : -1]
        return sorted(self.sizes, reverse=True)[:depth]


class _Asks(_Side):
    __slots__ = ()

    def apply(self, levels: Iterable[Level]) -> None:
        sizes, near, edge = self.sizes, self.near, self.edge
        for price, size in levels:
            if price in sizes:
                if size:
                    sizes[price] = size
                else:
                    del sizes[price]
                    if price <= edge:
                        del near[bisect_left(near, price)]
            elif size:
                sizes[price] = size
                if price <= edge:
                    insort(near, price)
        if not _FEWEST_NEAR < len(near) < _MOST_NEAR:
            self.renew()

    def renew(self) -> None:
        if len(self.sizes) > _KEPT_NEAR:
            self.near = nsmallest(_KEPT_NEAR, self.sizes)
            self.edge = self.near[-1]
        else:
            self.near = sorted(self.sizes)
            self.edge = inf

    def prices(self, depth: int | None) -> list[float]:
        if depth is not None and depth <= len(self.near):
            return self.near[:depth]
        return sorted(self.sizes)[:depth]


class OrderBook:
    """Both sides of a book; sizes are absolute, a size of zero removes a price."""

    __slots__ = ("_asks", "_bids", "_most")

    def __init__(self, max_levels: int = 50_000) -> None:
        """Begin empty; of more than `max_levels` a side the ones furthest from the top go."""
        self._bids = _Bids()
        self._asks = _Asks()
        self._most = max_levels

    def clear(self) -> None:
        """Remove all levels."""
        self.replace((), ())

    def replace(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Take a whole book in any order."""
        self._bids.replace(bids)
        self._asks.replace(asks)
        self._trim()

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Take changes; removing a price that is not there is no error."""
        if bids:
            self._bids.apply(bids)
        if asks:
            self._asks.apply(asks)
        if len(self._bids.sizes) > self._most or len(self._asks.sizes) > self._most:
            self._trim()

    @property
    def best_bid(self) -> Level | None:
        """Highest bid."""
        side = self._bids
        if not side.near:
            return None
        price = side.near[-1]
        return price, side.sizes[price]

    @property
    def best_ask(self) -> Level | None:
        """Lowest ask."""
        side = self._asks
        if not side.near:
            return None
        price = side.near[0]
        return price, side.sizes[price]

    @property
    def is_crossed(self) -> bool:
        """Return whether somebody bids at least what another asks."""
        bids, asks = self._bids.near, self._asks.near
        return bool(bids) and bool(asks) and bids[-1] >= asks[0]

    def bids(self, depth: int | None = None) -> list[Level]:
        """Return bids, best first."""
        return self._bids.levels(depth)

    def asks(self, depth: int | None = None) -> list[Level]:
        """Return asks, best first."""
        return self._asks.levels(depth)

    def __len__(self) -> int:
        return len(self._bids.sizes) + len(self._asks.sizes)

    def _trim(self) -> None:
        self._bids.keep(self._most)
        self._asks.keep(self._most)


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
