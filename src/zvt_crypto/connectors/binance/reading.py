"""Single readings: book, top of the book, open interest, the exchange's clock. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from zvt_crypto.connectors.binance.spec import NAME
from zvt_crypto.connectors.wire import UNDECODABLE
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_MS
from zvt_crypto.core.record import Book, OpenInterest, Quote
from zvt_crypto.core.timestamp import int_to_us

_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Finite = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
_Level = tuple[_Finite, _Finite]


class _Depth(msgspec.Struct, rename={"last_update_id": "lastUpdateId", "time": "T"}):
    last_update_id: _Whole
    bids: list[_Level]
    asks: list[_Level]
    time: _Whole | None = None


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    bid_price: _Finite
    bid_qty: _Finite
    ask_price: _Finite
    ask_qty: _Finite
    time: _Whole | None = None


class _OpenInterest(msgspec.Struct, rename="camel"):
    open_interest: _Finite
    time: _Whole


class _Time(msgspec.Struct, rename="camel"):
    server_time: _Whole


# Numbers stand in quotes here, so not strict; times never do.
_decode_depth: Final = msgspec.json.Decoder(_Depth, strict=False).decode
_decode_ticker: Final = msgspec.json.Decoder(_Ticker | list[_Ticker], strict=False).decode
_decode_interest: Final = msgspec.json.Decoder(_OpenInterest, strict=False).decode
_decode_time: Final = msgspec.json.Decoder(_Time).decode


def parse_depth(body: bytes, instrument: Instrument, *, ts_recv: int) -> Book:
    """Read a book of any market; `sequence` is lastUpdateId, sizes are as the exchange counts.

    Spot says no time: it is stamped with `ts_recv`. Futures give that of the last transaction.

    Raises:
        MalformedPayload: not a book.
    """
    row: _Depth = _decoded(_decode_depth, body, "depth")
    return Book(
        exchange=NAME,
        symbol=instrument.symbol,
        ts_event=ts_recv if row.time is None else int_to_us(row.time),
        ts_recv=ts_recv,
        is_snapshot=True,
        bids=tuple(row.bids),
        asks=tuple(row.asks),
        sequence=row.last_update_id,
    )


def parse_book_tickers(
    body: bytes, instruments: Sequence[Instrument], *, ts_recv: int
) -> list[Quote]:
    """Read bookTicker, one object or an array, for those of `instruments` that it holds.

    Spot says no time: it is stamped with `ts_recv`. A price of zero is an empty side.

    Raises:
        MalformedPayload: not tickers.
    """
    decoded: _Ticker | list[_Ticker] = _decoded(_decode_ticker, body, "bookTicker")
    rows = decoded if isinstance(decoded, list) else [decoded]
    symbols: Mapping[str, str] = {one.native: one.symbol for one in instruments}
    return [
        Quote(
            exchange=NAME,
            symbol=symbols[row.symbol],
            ts_event=ts_recv if row.time is None else int_to_us(row.time),
            ts_recv=ts_recv,
            bid_price=row.bid_price or None,
            bid_size=row.bid_qty if row.bid_price else None,
            ask_price=row.ask_price or None,
            ask_size=row.ask_qty if row.ask_price else None,
        )
        for row in rows
        if row.symbol in symbols
    ]


def parse_open_interest(body: bytes, instrument: Instrument, *, ts_recv: int) -> OpenInterest:
    """Read openInterest, in base units.

    Raises:
        MalformedPayload: not open interest.
    """
    row: _OpenInterest = _decoded(_decode_interest, body, "openInterest")
    return OpenInterest(
        exchange=NAME,
        symbol=instrument.symbol,
        ts_event=int_to_us(row.time),
        ts_recv=ts_recv,
        open_interest=row.open_interest,
    )


def parse_time(body: bytes) -> int:
    """Return the exchange's clock in microseconds.

    Raises:
        MalformedPayload: not the time.
    """
    row: _Time = _decoded(_decode_time, body, "time")
    return row.server_time * US_PER_MS


def _decoded(decode: Any, body: bytes, what: str) -> Any:
    try:
        return decode(body)
    except UNDECODABLE as e:
        raise MalformedPayload(NAME, what, str(e)) from e
