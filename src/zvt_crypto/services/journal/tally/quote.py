"""Quotes of one symbol from one feed, counted."""

from decimal import Decimal
from typing import Any

from zvt_crypto.core.record import Quote
from zvt_crypto.services.journal.tally.number import EXACT, Number, exact, plain


class QuoteTally:
    """Counts quotes whose sizes are in the exchange's own unit."""

    def __init__(self) -> None:
        self._count = 0
        self._bids: tuple[Decimal, Decimal] | None = None
        self._asks: tuple[Decimal, Decimal] | None = None
        self._bid_size = Decimal(0)
        self._ask_size = Decimal(0)
        self._crossed = 0
        self._last: Quote | None = None
        self._first_id: int | None = None
        self._last_id: int | None = None
        self._out_of_order = 0
        self._repeated = 0

    def add(self, quote: Quote) -> None:
        """Count one quote."""
        self._count += 1
        if quote.bid_price is not None:
            self._bids = _widened(self._bids, exact(quote.bid_price))
        if quote.ask_price is not None:
            self._asks = _widened(self._asks, exact(quote.ask_price))
        if quote.bid_size is not None:
            self._bid_size = EXACT.add(self._bid_size, exact(quote.bid_size))
        if quote.ask_size is not None:
            self._ask_size = EXACT.add(self._ask_size, exact(quote.ask_size))
        if quote.bid_price is not None and quote.ask_price is not None:
            self._crossed += quote.bid_price >= quote.ask_price
        self._last = quote
        self._note(quote.sequence)

    def _note(self, update: int | None) -> None:
        if update is None:
            return
        if self._first_id is None:
            self._first_id = update
        if self._last_id is not None:
            self._out_of_order += update < self._last_id
            self._repeated += update == self._last_id
        self._last_id = update

    def result(self) -> dict[str, Any]:
        """Return what was counted; a side that was empty is null."""
        last = self._last
        found: dict[str, Any] = {
            "count": self._count,
            "bid_min": _end(self._bids, 0),
            "bid_max": _end(self._bids, 1),
            "ask_min": _end(self._asks, 0),
            "ask_max": _end(self._asks, 1),
            "sum_bid_quantity": plain(self._bid_size),
            "sum_ask_quantity": plain(self._ask_size),
            "crossed": self._crossed,
            "last_quote": None
            if last is None
            else [plain(v) for v in (last.bid_price, last.bid_size, last.ask_price, last.ask_size)],
            "last_event_us": None if last is None else last.ts_event,
        }
        if self._first_id is not None:
            found |= {
                "first_update_id": self._first_id,
                "last_update_id": self._last_id,
                "out_of_order_ids": self._out_of_order,
                "repeated_ids": self._repeated,
            }
        return found


def _widened(bounds: tuple[Decimal, Decimal] | None, value: Decimal) -> tuple[Decimal, Decimal]:
    if bounds is None:
        return value, value
    low, high = bounds
    return (value, high) if value < low else (low, value) if value > high else bounds


def _end(bounds: tuple[Number, Number] | None, side: int) -> str | None:
    return None if bounds is None else plain(bounds[side])
