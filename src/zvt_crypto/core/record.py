"""Records of single readings: what a snapshot call returns, and what will travel in a stream."""

from enum import StrEnum

import msgspec


class Side(StrEnum):
    """Side of the taker, always."""

    BUY = "buy"
    SELL = "sell"
    UNKNOWN = "unknown"


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """Top of the book; a side that is empty is None."""

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    bid_price: float | None = None
    bid_size: float | None = None
    ask_price: float | None = None
    ask_size: float | None = None


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of a book as (price, size) in base units; bids descending, asks ascending."""

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    is_snapshot: bool
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    sequence: int | None = None
    prev_sequence: int | None = None


class OpenInterest(msgspec.Struct, frozen=True, kw_only=True):
    """Open contracts of a perpetual, in base units."""

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    open_interest: float


class ExchangeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an exchange says it is up; `detail` is its own word."""

    exchange: str
    is_up: bool
    server_time_us: int
    skew_us: int
    detail: str = ""
