"""Feeds of books: each kept equal to the exchange's, and started anew alone when it is not."""

from collections.abc import Callable
from typing import Any

from zvt_crypto.core.book import BookRule, BookSync, Step
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.record import Book, BookReset, Quote
from zvt_crypto.core.series import Series
from zvt_crypto.services.stream.feed import Feed, Hub, Place
from zvt_crypto.services.stream.keeping import BookKeeper

# Old messages alone for so long: both sockets of a rotation do not differ by that much.
_STALE_US = 3 * US_PER_S
# A book that stays without a snapshot for so long is asked for again, then after twice that.
_SNAPSHOT_US = 5 * US_PER_S
_MOST_SNAPSHOT_US = 60 * US_PER_S
_MOST_DOUBLINGS = 8


class BookFeed(Feed):
    """One book. Data records are passed on as they are applied; a snapshot comes first.

    Args:
        renew: asks for a new snapshot: over REST, or by subscribing again.
        from_rest: whether snapshots come over REST always.
        is_kept: whether the book goes to the store, too.
    """

    def __init__(
        self,
        series: Series,
        instrument: Instrument,
        place: Place,
        hub: Hub,
        *,
        rule: BookRule,
        from_rest: bool,
        renew: Callable[["BookFeed"], None],
        is_kept: bool = False,
    ) -> None:
        super().__init__(series, instrument, place, hub)
        self.sync = BookSync(rule)
        self.keeper = BookKeeper(self, self.sync) if is_kept else None
        self.from_rest = from_rest
        self.quotes: Callable[[Quote], None] | None = None
        """Who is given the tops of this book as quotes, on an exchange that sends none."""
        self._renew = renew
        self._owner: object = None
        self._asked_us = 0
        self._asks = 0
        self._stale_since: int | None = None
        self._top: tuple[Any, Any] | None = None

    def take_from(self, owner: object, message: Book) -> None:
        """Take a message of the connection `owner`.

        Where snapshots come on the socket, the book belongs to the connection its last one came
        from: during a rotation the old and the new one are not at the same place.
        """
        if message.ts_recv >= self.health.next_us:
            self.health.saw(message.ts_recv)
        if not self.from_rest:
            if message.is_snapshot:
                self._owner = owner
            elif self._owner is not owner and self._owner is not None:
                self.counters.repeated += 1
                return
        step = self.sync.take(message)
        if self.keeper is not None:
            if step is Step.APPLIED:
                self.keeper.applied(message)
            elif step is Step.REPLACED:
                self.keeper.replaced(message)
        self._took(step, message)

    def left(self, owner: object) -> None:
        """Take note that a connection is gone: its book goes on with what another one brings.

        Its numbers tell whether that follows.
        """
        if self._owner is owner:
            self._owner = None

    def joined(self, snapshot: Book) -> Step:
        """Take a snapshot from REST, and tell whether it is good."""
        step = self.sync.join(snapshot)
        if step is Step.REPLACED:
            if self.keeper is not None:
                self.keeper.joined()
            book = self.sync.book
            self._took(
                step,
                Book(
                    exchange=self.series.exchange,
                    symbol=self.series.symbol,
                    ts_event=snapshot.ts_event,
                    ts_recv=snapshot.ts_recv,
                    is_snapshot=True,
                    bids=book.bids(),
                    asks=book.asks(),
                    sequence=self.sync.sequence,
                ),
            )
        return step

    def void(self, reason: str) -> None:
        """Start the book anew: it cannot be trusted."""
        if self.sync.is_synced:
            self.sync.reset()
            self._told_reset(reason)
        self._owner = None
        self._ask()

    def connected(self, now_us: int) -> None:
        """Wait for a snapshot, or fetch one."""
        super().connected(now_us)
        self._asked_us = now_us
        if self.from_rest and not self.sync.is_synced:
            self._ask()

    def disconnected(self, detail: str) -> None:
        """The book stands still from here, so it is void."""
        super().disconnected(detail)
        self._owner = None
        if self.sync.is_synced:
            self.sync.reset()
            self._told_reset("disconnect")

    def tick(self, now_us: int) -> None:
        """Ask again for a snapshot that does not come."""
        if not self.sync.is_synced and not self.health.is_cut and self._is_due(now_us):
            self._ask()

    def _is_due(self, now_us: int) -> bool:
        doublings = min(max(0, self._asks - 1), _MOST_DOUBLINGS)
        wait_us = min(_SNAPSHOT_US << doublings, _MOST_SNAPSHOT_US)
        return now_us - self._asked_us > wait_us

    @property
    def pending_rows(self) -> int:
        """Rows of a kept book that are not in the store yet."""
        return 0 if self.keeper is None else sum(rows.waiting for rows in self.keeper.feeds)

    def drop_pending(self) -> None:
        """Give up rows of a kept book."""
        for rows in () if self.keeper is None else self.keeper.feeds:
            rows.drop_pending()

    def settle(self) -> None:
        """Claim nothing: the journal keeps books, or their keeper does."""

    def _took(self, step: Step, message: Book) -> None:
        if step is Step.APPLIED or step is Step.REPLACED:
            self._stale_since = None
            self._asks = 0
            self._release(message)
            self.health.is_repairing = False
            if self.quotes is not None:
                self._quote(message)
        elif step is Step.GAP or step is Step.CROSSED:
            self._told_reset("sequence" if step is Step.GAP else "crossed")
            self._ask()
        elif step is Step.STALE:
            self._passed_over(message)
        elif not self.from_rest and self.sync.kept == 1:
            # The first message after the request is no snapshot: OKX may stop sending them.
            self._asked_us = min(self._asked_us, message.ts_recv - _SNAPSHOT_US + US_PER_S)

    def _passed_over(self, message: Book) -> None:
        """Count a message from before the book; if nothing else comes the numbers began anew."""
        self.counters.repeated += 1
        if self._stale_since is None:
            self._stale_since = message.ts_recv
        elif message.ts_recv - self._stale_since > _STALE_US:
            self.void("sequence")

    def _ask(self) -> None:
        self._asked_us = self.hub.now_us()
        self._asks += 1
        self._renew(self)

    @property
    def wants_rest(self) -> bool:
        """Return whether the next snapshot is to come over REST.

        Always where they come so; else when the socket has been asked for one in vain, and the
        numbers of REST are those of the socket (OKX, which may stop sending snapshots).
        """
        return self.from_rest or (self.sync.rule.joins_rest and self._asks > 1)

    def _told_reset(self, reason: str) -> None:
        self.counters.resets += 1
        self.health.is_repairing = True
        self._top = None
        if self.keeper is not None:
            self.keeper.broke()
        self.announce(BookReset(self.series, self.hub.now_us(), reason))

    def _quote(self, message: Book) -> None:
        book = self.sync.book
        top = (book.best_bid, book.best_ask)
        if top == self._top or self.quotes is None:
            return
        self._top = top
        bid, ask = top
        self.quotes(
            Quote(
                self.series.exchange,
                self.series.symbol,
                message.ts_event,
                message.ts_recv,
                bid and bid[0],
                bid and bid[1],
                ask and ask[0],
                ask and ask[1],
                message.sequence,
            )
        )
