"""Books of the past: a stored whole book, and the stored changes that follow it. Pure.

Rows of both kinds share one order, that of their keys: a change with a greater key than the whole
book came after it. Each change names the number the book stood at before, where the exchange counts
at all, so that a chain with a link missing is seen whatever the ledger says.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from zvt_crypto.core.book import OrderBook
from zvt_crypto.core.column import times_of
from zvt_crypto.core.record import Book
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.core.validation import validate_books


class BrokenChain(ValueError):
    """A change does not follow what is known, or a row is no book at all."""


class BookReplay:
    """One book on its way through time, from a stored whole book on.

    Attributes:
        book: as it stands.
        time: of the newest change in it.
        sequence: the exchange's number after it; 0 where it has none.
    """

    def __init__(self, whole: pa.Table) -> None:
        """Begin with the one row of `whole`.

        Raises:
            BrokenChain: the row is not a sorted book.
        """
        _check(whole, Kind.BOOK_SNAPSHOTS)
        (row,) = whole.to_pylist()
        self.book = OrderBook()
        self.book.replace(*_sides(row))
        self.time = int(times_of(whole)[0])
        self.sequence: int = row["sequence"]
        self._key = (self.time, self.sequence)

    def apply(self, changes: pa.Table) -> None:
        """Take stored changes in the order of their keys; those before the whole book are left out.

        Raises:
            BrokenChain: one does not follow the one before.
        """
        _check(changes, Kind.BOOK_DELTAS)
        first = int(np.searchsorted(times_of(changes), self._key[0]))
        later = changes.slice(first)
        for time, row in zip(times_of(later).tolist(), later.to_pylist(), strict=True):
            key = (time, row["sequence"])
            if key > self._key:
                self._step(key, row)

    def record(self, series: Series, depth: int | None = None) -> Book:
        """Return the book as a record; the store does not keep when it was received."""
        return Book(
            exchange=series.exchange,
            symbol=series.symbol,
            ts_event=self.time,
            ts_recv=0,
            is_snapshot=True,
            bids=self.book.bids(depth),
            asks=self.book.asks(depth),
            sequence=self.sequence or None,
        )

    def _step(self, key: tuple[int, int], row: dict[str, Any]) -> None:
        before, after = row["prev_sequence"], row["sequence"]
        # A message may begin before the place it is applied at, if it ends behind it (Binance).
        follows = before is None or before == self.sequence or before < self.sequence < after
        if not follows:
            raise BrokenChain(
                f"the change at {format_us(key[0])} follows number {before}, "
                f"the book stands at {self.sequence}"
            )
        self.book.apply(*_sides(row))
        self._key, (self.time, self.sequence) = key, key


def _check(rows: pa.Table, kind: Kind) -> None:
    checked = validate_books(rows, kind, None)
    if checked.rejected:
        one = checked.rejected[0]
        where = "" if one.timestamp_us is None else f" at {format_us(one.timestamp_us)}"
        raise BrokenChain(f"a row{where} is no book: {one.reason}")


def _sides(row: dict[str, Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    bids, asks = (
        list(zip(row[f"{side}_prices"], row[f"{side}_sizes"], strict=True))
        for side in ("bid", "ask")
    )
    return bids, asks
