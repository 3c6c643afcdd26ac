"""Single readings of Coinbase: books, tops of books, the clock. Pure.

Sizes of futures count contracts on the wire and are base units here.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from zvt_crypto.connectors.coinbase.spec import NAME
from zvt_crypto.connectors.wire.number import number
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_MS
from zvt_crypto.core.record import Book, Quote
from zvt_crypto.core.timestamp import to_us


class _Time(msgspec.Struct, rename="camel"):
    # Strings in every reply seen; numbers in the reference of older revisions.
    epoch_millis: str | int


class _Level(msgspec.Struct):
    price: str
    size: str


class _PriceBook(msgspec.Struct):
    product_id: str
    bids: list[_Level]
    asks: list[_Level]
    time: str = ""


class _BookReply(msgspec.Struct):
    pricebook: _PriceBook


_decode_time = msgspec.json.Decoder(_Time).decode
_decode_book = msgspec.json.Decoder(_BookReply).decode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError)


def parse_time(body: bytes) -> int:
    """Return the exchange's clock in microseconds.

    Raises:
        MalformedPayload: not JSON of that shape.

    Source:
        https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-server-time
    """
    try:
        return int(_decode_time(body).epoch_millis) * US_PER_MS
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "its time", str(e)) from e


def parse_book(body: bytes, instrument: Instrument, *, ts_recv: int) -> Book:
    """Translate a snapshot of the order book.

    Args:
        body: the reply.
        instrument: whose book it is.
        ts_recv: our clock when it arrived, UTC microseconds.

    Returns:
        `ts_event` is the exchange's time of the snapshot. There is no sequence: the book cannot
        be joined to the stream.

    Raises:
        MalformedPayload: not JSON of that shape, or a number that is none.

    Source:
        https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-book
    """
    try:
        wire = _decode_book(body).pricebook
        return Book(
            exchange=NAME,
            symbol=instrument.symbol,
            ts_event=to_us(wire.time) if wire.time else ts_recv,
            ts_recv=ts_recv,
            is_snapshot=True,
            bids=_levels(wire.bids, instrument),
            asks=_levels(wire.asks, instrument),
        )
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "a book", str(e)) from e


def parse_quote(body: bytes, instrument: Instrument, *, ts_recv: int) -> Quote:
    """Return the top of a book reply; a side that is empty is None.

    Raises:
        MalformedPayload: as `parse_book`.
    """
    book = parse_book(body, instrument, ts_recv=ts_recv)
    bid_price, bid_size = book.bids[0] if book.bids else (None, None)
    ask_price, ask_size = book.asks[0] if book.asks else (None, None)
    return Quote(
        exchange=NAME,
        symbol=instrument.symbol,
        ts_event=book.ts_event,
        ts_recv=ts_recv,
        bid_price=bid_price,
        bid_size=bid_size,
        ask_price=ask_price,
        ask_size=ask_size,
    )


def _levels(side: Sequence[_Level], instrument: Instrument) -> tuple[tuple[float, float], ...]:
    worth = instrument.contract_size
    levels = ((number(one.price, "price"), number(one.size, "size")) for one in side)
    if worth == 1:
        return tuple(levels)
    return tuple((price, float(f"{size * worth:.15g}")) for price, size in levels)
