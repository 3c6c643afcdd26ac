"""Trades of one symbol, counted."""

from decimal import Decimal
from typing import Any

from zvt_crypto.core.record import Side, Trade
from zvt_crypto.ports.recording import Contract
from zvt_crypto.services.journal.tally.ident import Ids
from zvt_crypto.services.journal.tally.number import EXACT, exact, plain, quotient, shown_quotient


class TradeTally:
    """Counts trades whose sizes are in the exchange's own unit."""

    def __init__(self) -> None:
        self._ids = Ids()
        self._size = Decimal(0)
        self._value = Decimal(0)
        self._quotients = Decimal(0)
        self._sides = dict.fromkeys(Side, 0)
        self._prices: tuple[Decimal, Decimal] | None = None
        self._times: tuple[int, int] | None = None
        self._fills = 0
        self._with_fills = 0

    def add(self, trade: Trade) -> None:
        """Count one trade."""
        price, size = exact(trade.price), exact(trade.size)
        self._ids.add(trade.trade_id)
        self._size = EXACT.add(self._size, size)
        self._value = EXACT.fma(price, size, self._value)
        if price:
            self._quotients = EXACT.add(self._quotients, quotient(size, price))
        self._sides[trade.side] += 1
        low, high = self._prices or (price, price)
        low = min(low, price)
        high = max(high, price)
        self._prices = low, high
        first, last = self._times or (trade.ts_event, trade.ts_event)
        self._times = min(first, trade.ts_event), max(last, trade.ts_event)
        if trade.fills is not None:
            self._fills += trade.fills
            self._with_fills += 1

    def result(self, contract: Contract | None) -> dict[str, Any]:
        """Return what was counted; `contract` tells what a unit of size is worth."""
        ids, prices, times = self._ids, self._prices, self._times
        found: dict[str, Any] = {
            "count": ids.count,
            "first_id": _text(ids.first),
            "last_id": _text(ids.last),
            "sum_size": None,
            "sum_size_native": plain(self._size),
            "sum_quantity": plain(self._size),
            "sum_price_times_quantity": plain(self._value),
            "min_price": plain(prices[0]) if prices else None,
            "max_price": plain(prices[1]) if prices else None,
            "taker_buy": self._sides[Side.BUY],
            "taker_sell": self._sides[Side.SELL],
            "taker_unknown": self._sides[Side.UNKNOWN],
            "duplicate_ids": ids.duplicates,
            "first_event_us": times[0] if times else None,
            "last_event_us": times[1] if times else None,
            "min_id": _text(ids.low),
            "max_id": _text(ids.high),
            "ids_absent_between_min_and_max": ids.absent,
            "out_of_order_ids": ids.out_of_order,
            "id_gaps": ids.gaps,
            "ids_missing": ids.missing,
        }
        if self._with_fills:
            found["underlying_trades"] = self._fills
        if contract is None:
            found["sum_size_reason"] = (
                "the exchange counts contracts, and no instrument reply tells their worth"
            )
        elif contract.is_inverse:
            found["sum_size"] = shown_quotient(EXACT.multiply(self._quotients, contract.worth))
        else:
            found["sum_size"] = plain(EXACT.multiply(self._size, contract.worth))
        return found


def _text(one: int | str | None) -> str | None:
    return None if one is None else str(one)
