"""One book of one symbol, followed exactly: prices and sizes as the wire spells them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from heapq import nlargest, nsmallest
from typing import Any, Final
from zlib import crc32

import msgspec

from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import Book
from zvt_crypto.ports.recording import RestBook
from zvt_crypto.services.journal.tally.number import exact, plain, total

Levels = Iterable[tuple[Any, Any]]

_CHECKSUM_LEVELS: Final = 25
_SIGNED: Final = 1 << 31


class ExactBook:
    """Price to size on either side; keys are decimals, so two spellings of a price are one."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, tuple[Decimal, Decimal]] = {}
        self.asks: dict[Decimal, tuple[Decimal, Decimal]] = {}

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Forget all and begin with these."""
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Set each price to its size; a size of zero removes it."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size in levels:
                if size:
                    side[price] = (price, size)
                else:
                    side.pop(price, None)

    def checksum(self) -> int:
        """Return OKX's checksum: CRC32, signed, of the 25 best levels interleaved.

        Source:
            https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel
        """
        bids = [self.bids[p] for p in nlargest(_CHECKSUM_LEVELS, self.bids)]
        asks = [self.asks[p] for p in nsmallest(_CHECKSUM_LEVELS, self.asks)]
        parts: list[str] = []
        for at in range(max(len(bids), len(asks))):
            for side in (bids, asks):
                if at < len(side):
                    price, size = side[at]
                    parts.append(f"{plain(price)}:{plain(size)}")
        found = crc32(":".join(parts).encode())
        return found - 2 * _SIGNED if found >= _SIGNED else found

    def result(self) -> dict[str, Any]:
        """Return how many levels it has, the best of each side and the sizes' sums."""
        best_bid = self.bids[max(self.bids)] if self.bids else None
        best_ask = self.asks[min(self.asks)] if self.asks else None
        crossed = best_bid is not None and best_ask is not None and best_bid[0] >= best_ask[0]
        return {
            "bid_levels": len(self.bids),
            "ask_levels": len(self.asks),
            "best_bid": _level(best_bid),
            "best_ask": _level(best_ask),
            "bid_quantity_total": plain(total(exact(s) for _, s in self.bids.values())),
            "ask_quantity_total": plain(total(exact(s) for _, s in self.asks.values())),
            "crossed": crossed,
        }


def _level(level: tuple[Decimal, Decimal] | None) -> list[str | None] | None:
    return None if level is None else [plain(level[0]), plain(level[1])]


class Joined(msgspec.Struct):
    """How a stream of changes met a REST snapshot."""

    snapshot_last_update_id: int
    dropped_before_snapshot: int = 0
    applied: int = 0
    first_event_bridges_snapshot: bool = False
    gaps_while_applying: int = 0


class BookTally:
    """Counts the messages of one book and keeps its state where that can be known.

    Args:
        snapshots: what REST gave of it while it was recorded; used by books whose stream has no
            snapshot of its own.
    """

    def __init__(self, snapshots: Sequence[RestBook] = ()) -> None:
        self._book = ExactBook()
        self._has_state = False
        self._rest = sorted(snapshots, key=lambda s: s.update_id)
        self._joined: Joined | None = None
        self._id = 0
        self._count = 0
        self._snapshots = 0
        self._levels = 0
        self._snapshot_levels = 0
        self._zeros = 0
        self._first: int | None = None
        self._last: int | None = None
        self._breaks = 0
        self._out_of_order = 0
        self._has_links = False
        self._checksums = {"verified": 0, "failed": 0, "zero": 0}
        self._has_checksums = False

    def add(self, book: Book, checksum: int | None = None) -> None:
        """Count one message and apply it."""
        self._count += 1
        for side in (book.bids, book.asks):
            self._levels += len(side)
            self._zeros += sum(1 for _, size in side if not size)
        if book.is_snapshot:
            self._snapshots += 1
            self._snapshot_levels += len(book.bids) + len(book.asks)
            self._joined = None
            self._has_state = True
            self._book.replace(book.bids, book.asks)
        else:
            self._link(book)
            self._apply(book)
        sequence = book.sequence
        if sequence is not None:
            if self._first is None:
                self._first = sequence if book.first_sequence is None else book.first_sequence
            self._last = sequence
        if checksum is not None:
            self._check(checksum)

    def _link(self, book: Book) -> None:
        """Count changes that do not follow the message before them."""
        last = self._last
        if book.prev_sequence is not None:
            self._has_links = True
        if last is None or book.sequence is None:
            return
        if book.prev_sequence is not None:
            self._breaks += book.prev_sequence != last
        # A maintenance resets the count: such a message follows the last one, yet has a lower id.
        self._out_of_order += book.sequence < last and book.prev_sequence != last

    def _apply(self, book: Book) -> None:
        if self._rest and not self._snapshots:
            if self._joined is None:
                self._join(book)
            self._apply_joined(book)
        elif self._has_state:
            self._book.apply(book.bids, book.asks)

    def _join(self, book: Book) -> None:
        """Begin with the first snapshot that is not older than the first change."""
        first = book.first_sequence if book.first_sequence is not None else book.sequence or 0
        fitting = [s for s in self._rest if s.update_id >= first - 1]
        chosen = fitting[0] if fitting else self._rest[-1]
        self._joined = Joined(chosen.update_id)
        self._is_spot = chosen.market is Market.SPOT
        self._book.replace(chosen.bids, chosen.asks)
        self._has_state = True
        self._id = chosen.update_id

    def _apply_joined(self, book: Book) -> None:
        """Follow the procedure Binance publishes for joining changes to a snapshot.

        Source:
            https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
            https://developers.binance.com/docs/derivatives/usds-margined-futures
        """
        joined, last = self._joined, book.sequence
        if joined is None or last is None:
            return
        first = book.first_sequence if book.first_sequence is not None else last
        held = joined.snapshot_last_update_id
        if not joined.applied:
            if last <= held if self._is_spot else last < held:
                joined.dropped_before_snapshot += 1
                return
            if self._is_spot:
                joined.first_event_bridges_snapshot = first <= held + 1 <= last
            else:
                bridges = first <= held <= last
                joined.first_event_bridges_snapshot = bridges or book.prev_sequence == held
        elif book.prev_sequence is not None and book.prev_sequence != self._id:
            if self._is_spot and last <= self._id:
                return  # an old message again
            joined.gaps_while_applying += 1
        joined.applied += 1
        self._id = last
        self._book.apply(book.bids, book.asks)

    def _check(self, checksum: int) -> None:
        self._has_checksums = True
        if checksum == 0:  # the exchange sends no checksums any more
            self._checksums["zero"] += 1
        elif not self._has_state:
            self._checksums["failed"] += 1
        else:
            right = self._book.checksum() == checksum
            self._checksums["verified" if right else "failed"] += 1

    def result(self) -> dict[str, Any]:
        """Return what was counted and the state at the end."""
        final = self._book.result() if self._has_state else None
        # Snapshots alone cannot break: each stands for itself.
        is_linked = self._has_links or self._snapshots == self._count
        found: dict[str, Any] = {
            "count": self._count,
            "snapshots": self._snapshots,
            "levels": self._levels,
            "levels_of_snapshots": self._snapshot_levels,
            "zero_quantity_levels": self._zeros,
            "continuity_breaks": self._breaks if is_linked else None,
            "final_book": final,
        }
        if self._last is not None:
            found |= {
                "first_sequence": self._first,
                "last_sequence": self._last,
                "out_of_order": self._out_of_order,
            }
        if self._joined is not None:
            found["rest_snapshots"] = len(self._rest)
            found["replay_on_rest_snapshot"] = {
                **msgspec.structs.asdict(self._joined),
                "final_book": final,
            }
        if final is None:
            found["final_book_reason"] = (
                "the stream holds changes only, and no REST reply has a snapshot"
            )
        if self._has_checksums:
            found |= {f"checksums_{name}": count for name, count in self._checksums.items()}
        return found
