"""Feeds that say how something stands: candles, marks, funding, open interest, liquidations."""

from collections import OrderedDict
from decimal import Decimal
from typing import Any, Final

from zvt_crypto.core.record import Candle, Funding, Liquidation, MarkPrice, OpenInterest, Side
from zvt_crypto.services.journal.tally.number import EXACT, exact, plain

_MOST_CANDLES: Final = 1_000
"""Of how many bars, the latest, the last state is shown."""

_MOST_VALUES: Final = 1_000
_US_PER_MS: Final = 1_000


class CandleTally:
    """Candles of one symbol and interval."""

    def __init__(self) -> None:
        self._messages = 0
        self._closed = 0
        self._opens: set[int] = set()
        self._last: OrderedDict[int, list[Any]] = OrderedDict()

    def add(self, candle: Candle) -> None:
        """Count one message; sizes are in the exchange's own unit."""
        self._messages += 1
        self._closed += candle.is_closed
        opened = candle.ts_event // _US_PER_MS
        self._opens.add(opened)
        self._last[opened] = [
            *(plain(v) for v in (candle.open, candle.high, candle.low, candle.close)),
            plain(candle.volume),
            candle.trade_count,
            candle.is_closed,
        ]
        if len(self._last) > _MOST_CANDLES:
            self._last.popitem(last=False)

    def result(self) -> dict[str, Any]:
        """Return the counts, and each bar's last state by its open in milliseconds."""
        return {
            "messages": self._messages,
            "closed": self._closed,
            "distinct_open_times": len(self._opens),
            "last_state": {str(opened): state for opened, state in self._last.items()},
        }


class Distinct:
    """Different values in the order they came, the first thousand."""

    def __init__(self) -> None:
        self._seen: dict[Any, None] = {}

    def add(self, value: Any) -> None:
        """Take note of a value; None is none."""
        if value is not None and len(self._seen) < _MOST_VALUES:
            self._seen[value] = None

    def result(self) -> list[Any]:
        """Return them."""
        return list(self._seen)


class MarkTally:
    """Mark prices of one symbol."""

    def __init__(self) -> None:
        self._count = 0
        self._first: MarkPrice | None = None
        self._last: MarkPrice | None = None
        self._rates = Distinct()
        self._times = Distinct()

    def add(self, mark: MarkPrice) -> None:
        """Count one."""
        self._count += 1
        self._first = self._first or mark
        self._last = mark
        self._rates.add(plain(mark.predicted_rate))
        self._times.add(_ms(mark.next_funding_time))

    def result(self) -> dict[str, Any]:
        """Return the count, first and last, and all rates and times it named."""
        return {
            "count": self._count,
            "first": _mark(self._first),
            "last": _mark(self._last),
            "next_funding_times": self._times.result(),
            "rates": self._rates.result(),
        }


def _mark(mark: MarkPrice | None) -> dict[str, Any] | None:
    if mark is None:
        return None
    return {
        "mark": plain(mark.mark_price),
        "index": plain(mark.index_price),
        "rate": plain(mark.predicted_rate),
        "next_funding_time": _ms(mark.next_funding_time),
        "event_time": _ms(mark.ts_event),
    }


class FundingTally:
    """Funding of one symbol."""

    def __init__(self) -> None:
        self._count = 0
        self._first: Funding | None = None
        self._last: Funding | None = None
        self._rates = Distinct()
        self._times = Distinct()

    def add(self, funding: Funding) -> None:
        """Count one."""
        self._count += 1
        self._first = self._first or funding
        self._last = funding
        self._rates.add(plain(funding.predicted_rate))
        self._times.add(_ms(funding.next_funding_time))

    def result(self) -> dict[str, Any]:
        """Return the count, first and last, and all rates and times it named."""
        return {
            "count": self._count,
            "first": _funding(self._first),
            "last": _funding(self._last),
            "funding_rates": self._rates.result(),
            "next_funding_times": self._times.result(),
        }


def _funding(funding: Funding | None) -> dict[str, Any] | None:
    if funding is None:
        return None
    return {
        "predicted_rate": plain(funding.predicted_rate),
        "next_funding_time": _ms(funding.next_funding_time),
        "funding_rate": plain(funding.funding_rate),
        "funding_time": _ms(funding.funding_time),
        "interval_hours": plain(funding.interval_hours),
        "event_time": _ms(funding.ts_event),
    }


class InterestTally:
    """Open interest of one symbol, in base units where the exchange gives them."""

    def __init__(self) -> None:
        self._count = 0
        self._first: OpenInterest | None = None
        self._last: OpenInterest | None = None

    def add(self, interest: OpenInterest) -> None:
        """Count one."""
        self._count += 1
        self._first = self._first or interest
        self._last = interest

    def result(self) -> dict[str, Any]:
        """Return the count, the first and the last."""
        return {
            "count": self._count,
            "first": _interest(self._first),
            "last": _interest(self._last),
        }


def _interest(interest: OpenInterest | None) -> dict[str, Any] | None:
    if interest is None:
        return None
    return {
        "open_interest": plain(interest.open_interest),
        "event_time": _ms(interest.ts_event),
    }


class LiquidationTally:
    """Liquidations of one symbol, in the exchange's own unit."""

    def __init__(self) -> None:
        self._count = 0
        self._size = Decimal(0)
        self._sides = dict.fromkeys(Side, 0)

    def add(self, liquidation: Liquidation) -> None:
        """Count one."""
        self._count += 1
        self._size = EXACT.add(self._size, exact(liquidation.size))
        self._sides[liquidation.side] += 1

    def result(self) -> dict[str, Any]:
        """Return the counts and the sum."""
        return {
            "count": self._count,
            "sum_size_native": plain(self._size),
            "buy": self._sides[Side.BUY],
            "sell": self._sides[Side.SELL],
        }


def _ms(time_us: int | None) -> int | None:
    return None if time_us is None else time_us // _US_PER_MS
