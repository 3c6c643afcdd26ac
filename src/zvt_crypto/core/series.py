"""What a series is: one kind of data of one instrument of one exchange."""

import re
from enum import StrEnum
from typing import Final

import msgspec

from zvt_crypto.core.interval import Interval

# Symbols come from exchanges and end up in folder names: letters (any script, Binance lists
# non-ASCII ones), digits and a few signs, never a separator or a dot-dot.
_SAFE_SYMBOL: Final = re.compile(r"[^\W_][\w$()+.\-]{0,79}")


class Kind(StrEnum):
    """Kind of market data; also the name of the table that holds it."""

    CANDLES = "candles"
    TRADES = "trades"
    QUOTES = "quotes"
    # What is streamed: snapshots and changes as one feed; stored they are the two kinds below.
    BOOK = "book"
    BOOK_SNAPSHOTS = "book_snapshots"
    BOOK_DELTAS = "book_deltas"
    FUNDING = "funding"
    MARK_PRICE = "mark_price"
    OPEN_INTEREST = "open_interest"
    LIQUIDATIONS = "liquidations"
    # Announcements of an instrument's state; streamed, not stored.
    STATUS = "status"


class Series(msgspec.Struct, frozen=True, order=True):
    """Identity of a series; `interval` is set for candles and for nothing else."""

    exchange: str
    symbol: str
    kind: Kind
    interval: Interval | None = None

    def __post_init__(self) -> None:
        if (self.kind is Kind.CANDLES) != (self.interval is not None):
            raise ValueError(f"candles have an interval, {self.kind} have none: {self!r}")
        if not _SAFE_SYMBOL.fullmatch(self.symbol) or ".." in self.symbol:
            raise ValueError(f"unsafe symbol {self.symbol!r}")

    def cell_end(self, moment: int) -> int:
        """Return where the stretch of time that a row at `moment` speaks for ends."""
        if self.interval is None:
            return moment + 1
        return self.interval.shift(self.interval.floor(moment), 1)

    def __str__(self) -> str:
        tail = f" {self.interval}" if self.interval else ""
        return f"{self.exchange} {self.symbol} {self.kind}{tail}"


def candle_series(exchange: str, symbol: str, interval: Interval) -> Series:
    """Return the series of candles of one width."""
    return Series(exchange, symbol, Kind.CANDLES, interval)
