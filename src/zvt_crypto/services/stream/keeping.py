"""Books on their way to the store: every change as it is applied, the whole book now and then.

What may be claimed of the changes is the time in which each followed the one before, from a whole
book on: over a reset nothing is claimed, so the ledger tells the hole. No exchange has the changes
that were missed, so nothing is owed either.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from zvt_crypto.core.book import BookSync
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_MINUTE
from zvt_crypto.core.record import Book, ControlRecord
from zvt_crypto.core.schema import weight
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream.feed import POLLED, Counters, Feed, Hub

SNAPSHOT_EVERY_US: Final = 10 * US_PER_MINUTE
"""A whole book is stored at least so often, as soon as a message comes: a book of any moment is
made of that and of the changes of a few minutes, and older changes may go."""

# Light rows; a change or a whole book is worth many.
_PIECE: Final = 2_000


class KeptRows(Feed):
    """Rows of one kind a book is stored as, and what is claimed of them; nobody listens to it.

    Args:
        counters: of the book, where rows that are given up are counted.
        dropped: told when they were, as the store did not take them in time.
    """

    def __init__(
        self,
        series: Series,
        instrument: Instrument,
        hub: Hub,
        counters: Counters,
        dropped: Callable[[], None],
    ) -> None:
        super().__init__(series, instrument, POLLED, hub)
        self.counters = counters
        self._dropped = dropped
        self._weight = weight(series.kind)
        self._most = _PIECE // self._weight
        self._upto: int | None = None

    @property
    def pending_rows(self) -> int:
        """Light rows that what waits is worth: bounds are in these."""
        return super().pending_rows * self._weight

    @property
    def waiting(self) -> int:
        """Rows that are not in the store yet, as they are."""
        return super().pending_rows

    def put(self, record: Book) -> None:
        """Take a row; rows come in the order of their keys."""
        self._rows.append(record)
        if len(self._rows) >= self._most:
            self._seal()

    def reach(self, moment: int) -> None:
        """Take note that nothing is lacking up to `moment`; the first one begins the claim."""
        if self._upto is None:
            self.claimed_us = moment
        self._upto = moment

    def settle(self) -> None:
        """Claim up to the newest row: another of its moment may still come."""
        if self._upto is not None:
            self.claim_to(self._upto)

    def interrupt(self) -> None:
        """End the claim: what comes next does not follow."""
        self.settle()
        self._upto = self.claimed_us = None

    def drop_pending(self) -> None:
        """Give up rows the store did not take in time, and the claims on them."""
        self.counters.dropped_rows += self.waiting
        self._rows, self._pieces, self._piece_rows = [], [], 0
        self._findings = []
        self._upto = self.claimed_us = None
        self._dropped()

    def announce(self, record: ControlRecord) -> None:
        """Tell nobody: the book itself does."""


class BookKeeper:
    """Makes rows of a book as it is kept.

    Every row has a greater key than the one before, of either kind: see `core.schema`.
    """

    def __init__(self, book: Feed, sync: BookSync) -> None:
        self.sync = sync
        self.deltas, self.snapshots = (
            KeptRows(
                Series(book.series.exchange, book.series.symbol, kind),
                book.instrument,
                book.hub,
                book.counters,
                self.broke,
            )
            for kind in (Kind.BOOK_DELTAS, Kind.BOOK_SNAPSHOTS)
        )
        self._is_running = False
        self._snapshot_us = 0
        self._place: int | None = None
        self._key = (0, 0)

    @property
    def feeds(self) -> tuple[KeptRows, KeptRows]:
        """Return what is drained into the store."""
        return self.deltas, self.snapshots

    def replaced(self, snapshot: Book) -> None:
        """Take note that the socket brought a whole book.

        It may be there because changes were lost, so what is claimed of these ends. Whole books go
        on to be readings of which none was missed.
        """
        self._is_running = False
        self.deltas.interrupt()
        self._follow(snapshot)

    def joined(self) -> None:
        """Take note that REST brought a whole book.

        Its time may be of our clock, and messages that came before it are in it already, so it is
        stored with the next message, at that one's time.
        """
        self._interrupt()
        self._place = self.sync.sequence

    def applied(self, change: Book) -> None:
        """Take a change that the book has taken."""
        self._follow(change)

    def broke(self) -> None:
        """Take note that the book is void, or its rows have been given up."""
        self._interrupt()

    def _interrupt(self) -> None:
        self._is_running = False
        self._place = None
        for rows in (self.deltas, self.snapshots):
            rows.interrupt()

    def _follow(self, message: Book) -> None:
        before, self._place = self._place, message.sequence
        changes = bool(message.bids or message.asks) or before != message.sequence
        if self._is_running and not changes:
            # A sign of life (OKX): it proves the time up to it, and is no row.
            self._reach(max(message.ts_event, self._key[0]))
            return
        time, number = self._key = self._next_key(message)
        if self._is_running:
            self.deltas.put(
                msgspec.structs.replace(
                    message,
                    ts_event=time,
                    sequence=number,
                    # Where the exchange names no number before, what the book stood at is it.
                    prev_sequence=before
                    if message.prev_sequence is None
                    else message.prev_sequence,
                )
            )
        is_due = not self._is_running or time - self._snapshot_us >= SNAPSHOT_EVERY_US
        if is_due and not self.sync.book.is_crossed:
            self._put_whole(message, time, number)
        if self._is_running:
            self._reach(time)

    def _put_whole(self, message: Book, time: int, number: int) -> None:
        book = self.sync.book
        whole: dict[str, Any] = {"bids": book.bids(), "asks": book.asks()}
        self.snapshots.put(
            msgspec.structs.replace(
                message, ts_event=time, sequence=number, is_snapshot=True, **whole
            )
        )
        self._is_running = True
        self._snapshot_us = time

    def _reach(self, moment: int) -> None:
        self.deltas.reach(moment)
        self.snapshots.reach(moment)

    def _next_key(self, message: Book) -> tuple[int, int]:
        """Return the message's time and number; a later time if they are not after the last."""
        key = (message.ts_event, message.sequence or 0)
        if key > self._key:
            return key
        time, number = self._key
        return (time, key[1]) if key[1] > number else (time + 1, key[1])
