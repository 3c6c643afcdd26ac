"""Records: what a snapshot call returns and what travels in a live stream.

Data records come from an exchange; control records are ours and travel in the same stream, in order
with the data they speak of. All times are UTC microseconds: `ts_event` is the exchange's, `ts_recv`
ours. Sizes are base units, sides are the taker's. Records that hold no containers are not tracked
by the garbage collector (`gc=False`): hundreds of thousands of them are made a second.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from zvt_crypto.core.instrument import Status
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Series

Level = tuple[float, float]
"""Price and size; a size of zero removes the price."""


class Side(StrEnum):
    """Side of the taker, always."""

    BUY = "buy"
    SELL = "sell"
    UNKNOWN = "unknown"


# -- data -----------------------------------------------------------------------------------------


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, as history has it too.

    `trade_id` is a number where the exchange counts its trades, else its text. A row may fold
    several fills together: `fills` says how many, and `trade_id` is then the last of them where
    the exchange counts fills (OKX), or counts the rows themselves (Binance aggregate trades).
    `is_recap` marks one of the recent trades an exchange repeats on subscribing (Coinbase): it may
    be older than the subscription and already known.
    """

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    trade_id: int | str
    price: float
    size: float
    side: Side
    fills: int | None = None
    is_recap: bool = False


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Top of the book; a side that is empty is None.

    Where the exchange gives no time (Binance spot), `ts_event` is our receive time. `sequence` is
    the exchange's update number, if it says one.
    """

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    bid_price: float | None = None
    bid_size: float | None = None
    ask_price: float | None = None
    ask_size: float | None = None
    sequence: int | None = None


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a book, or changes to one, as (price, size) in base units.

    A snapshot has bids descending and asks ascending. Changes carry absolute sizes, zero removes.
    `sequence` is the exchange's number after this message; `prev_sequence` the number the book must
    have before it; `first_sequence` the first number this message covers, where one message covers
    several. None where the exchange has no such number.
    """

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    is_snapshot: bool
    bids: Sequence[Level]
    asks: Sequence[Level]
    sequence: int | None = None
    prev_sequence: int | None = None
    first_sequence: int | None = None


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One bar as the exchange streams it; `ts_event` is its OPEN. None: the exchange does not say.

    `is_closed` is the exchange's own word; one that gives none (Coinbase) says False always.
    """

    exchange: str
    symbol: str
    interval: Interval
    ts_event: int
    ts_recv: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trade_count: int | None = None
    taker_buy_volume: float | None = None
    is_closed: bool = False


class MarkPrice(msgspec.Struct, frozen=True, gc=False):
    """Mark and index price of a perpetual, with the rate foreseen for the running interval."""

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    mark_price: float
    index_price: float | None = None
    predicted_rate: float | None = None
    next_funding_time: int | None = None


class Funding(msgspec.Struct, frozen=True, gc=False):
    """What the exchange says about funding now.

    `predicted_rate` is for the interval that ends at `next_funding_time`. `funding_rate` and
    `funding_time` are of the interval settled last, where the exchange says them.
    """

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    predicted_rate: float | None = None
    next_funding_time: int | None = None
    funding_rate: float | None = None
    funding_time: int | None = None
    interval_hours: float | None = None


class OpenInterest(msgspec.Struct, frozen=True, gc=False):
    """Open contracts of a perpetual, in base units."""

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    open_interest: float


class Liquidation(msgspec.Struct, frozen=True, gc=False):
    """A position closed by force.

    `side` is that of the order that closed it: sell when a long was liquidated. `price` is the
    price the exchange gives, on Bybit and OKX the bankruptcy price.
    """

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    price: float
    size: float
    side: Side


class InstrumentStatus(msgspec.Struct, frozen=True, gc=False):
    """An instrument's state as the exchange announces it; `detail` is its own word."""

    exchange: str
    symbol: str
    ts_event: int
    ts_recv: int
    status: Status
    detail: str = ""


class ExchangeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an exchange says it is up; `detail` is its own word."""

    exchange: str
    is_up: bool
    server_time_us: int
    skew_us: int
    detail: str = ""


DataRecord = (
    Trade
    | Quote
    | Book
    | Candle
    | MarkPrice
    | Funding
    | OpenInterest
    | Liquidation
    | InstrumentStatus
)


# -- control --------------------------------------------------------------------------------------


class Gap(msgspec.Struct, frozen=True):
    """Rows of `[start, end)` did not come; the ledger says `missing`, repair begins.

    `reason` is one word: `disconnect`, `ids` (trade ids jumped), `sequence`, `refused` (a frame was
    not readable), `candles` (bars do not agree with the trades), `overflow`, `restart`.
    """

    series: Series
    start: int
    end: int
    ts_recv: int
    reason: str


class GapRepaired(msgspec.Struct, frozen=True):
    """All rows of `[start, end)` have been given, `rows` of them after the gap was announced."""

    series: Series
    start: int
    end: int
    ts_recv: int
    rows: int


class GapUnrecoverable(msgspec.Struct, frozen=True):
    """The exchange does not have the rows of `[start, end)` any more, or not yet: see `detail`."""

    series: Series
    start: int
    end: int
    ts_recv: int
    detail: str


class Stale(msgspec.Struct, frozen=True):
    """The feed has been silent too long while its market trades; it is being started anew."""

    series: Series
    ts_recv: int
    silent_s: float


class Disconnected(msgspec.Struct, frozen=True):
    """The connection that carried the series is gone; a new one is being made."""

    series: Series
    ts_recv: int
    detail: str


class BookReset(msgspec.Struct, frozen=True):
    """The book of the series is void until the next snapshot."""

    series: Series
    ts_recv: int
    reason: str


ControlRecord = Gap | GapRepaired | GapUnrecoverable | Stale | Disconnected | BookReset
