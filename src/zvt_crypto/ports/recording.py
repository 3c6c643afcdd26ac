"""What playing back a recording needs to know of an exchange beyond its parsers. No I/O.

Records say what happened; a comparison with the wire also wants to know which of an exchange's
messages said it, and what its REST replies of that time hold.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from zvt_crypto.core.instrument import Market


class Section(StrEnum):
    """How the rows of a message are counted; several may tell of one symbol."""

    TRADES = "trades"
    AGG_TRADES = "agg_trades"
    TRADES_ALL = "trades_all"
    TRADES_SNAPSHOT = "trades_snapshot"
    LAST_MATCH = "last_match"
    QUOTES = "quotes"
    TICKERS = "tickers"


class Label(msgspec.Struct, frozen=True):
    """Which message a frame is.

    `message` is the exchange's word for it (`depthUpdate`, `books:update`); `channel` the book it
    changes, if it does. `native` is the id of a ticker, which may hold nothing that becomes a
    record. `checksum` is what the exchange says of the book after this message, None if nothing.
    `sequence` is the connection's own count.
    """

    message: str
    section: Section | None = None
    channel: str = ""
    native: str = ""
    checksum: int | None = None
    sequence: int | None = None


class Contract(msgspec.Struct, frozen=True):
    """What one unit of an exchange's size is worth, in base units, or quote units if inverse."""

    worth: Decimal
    is_inverse: bool = False


BASE_UNITS = Contract(Decimal(1))


class RestBook(msgspec.Struct, frozen=True):
    """A book a REST reply gave; levels as on the wire."""

    market: Market
    native: str
    update_id: int
    bids: Sequence[tuple[Decimal, Decimal]]
    asks: Sequence[tuple[Decimal, Decimal]]


class RestFacts(msgspec.Struct):
    """What REST replies said, by market and native id."""

    contracts: dict[tuple[Market, str], Contract] = msgspec.field(
        default_factory=dict[tuple[Market, str], Contract]
    )
    books: list[RestBook] = msgspec.field(default_factory=list[RestBook])


class RecordedExchange(Protocol):
    """One exchange's recordings."""

    @property
    def hosts(self) -> Sequence[str]:
        """Return words that only the addresses of this exchange contain."""
        ...

    @property
    def tally(self) -> str:
        """Return under which name messages are counted, `messages_by_event` say."""
        ...

    def label(self, frame: bytes) -> Label | None:
        """Return which message a frame is; None if that cannot be told."""
        ...

    def market(self, route: str, native: str) -> Market:
        """Return the market of an id on a route."""
        ...

    def contract(self, market: Market, native: str) -> Contract | None:
        """Return what a unit is worth where that is known without asking."""
        ...

    def book_key(self, channel: str, native: str) -> str:
        """Return the name of one book among those of a symbol."""
        ...

    def named(self, channel: str, book: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a book's summary says under the exchange's own names."""
        ...

    def read_reply(self, url: str, body: bytes, facts: RestFacts) -> None:
        """Add what a recorded REST reply says; a reply of no use adds nothing.

        Raises:
            MalformedPayload: the reply is of a kind we use, and not of its shape.
        """
        ...
