"""Single readings of OKX: books, tops of books, open interest, the clock, maintenance. Pure.

Sizes of swaps count contracts on the wire and are base units here.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from zvt_crypto.connectors.okx.spec import NAME
from zvt_crypto.connectors.okx.unit import base_size
from zvt_crypto.connectors.wire.number import number
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_MS
from zvt_crypto.core.record import Book, OpenInterest, Quote

T = TypeVar("T")


class _Reply(msgspec.Struct, Generic[T]):
    data: list[T]


class _Book(msgspec.Struct, rename="camel"):
    # Level: price, size, a deprecated "0", number of orders; `books-full` leaves out the third.
    asks: list[list[str]]
    bids: list[list[str]]
    ts: str
    seq_id: int | None = None


class _Ticker(msgspec.Struct, rename="camel"):
    inst_id: str
    ts: str
    ask_px: str | None = ""
    ask_sz: str | None = ""
    bid_px: str | None = ""
    bid_sz: str | None = ""


class _OpenInterest(msgspec.Struct, rename="camel"):
    inst_id: str
    oi_ccy: str
    ts: str


class _Time(msgspec.Struct):
    ts: str


class _Status(msgspec.Struct):
    state: str = ""
    title: str = ""
    env: str = "1"


_PRODUCTION: Final = "1"
_ONGOING: Final = "ongoing"

_decode_book = msgspec.json.Decoder(_Reply[_Book]).decode
_decode_tickers = msgspec.json.Decoder(_Reply[_Ticker]).decode
_decode_open_interest = msgspec.json.Decoder(_Reply[_OpenInterest]).decode
_decode_time = msgspec.json.Decoder(_Reply[_Time]).decode
_decode_status = msgspec.json.Decoder(_Reply[_Status]).decode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, ValueError, IndexError)


def parse_time(body: bytes) -> int:
    """Return the exchange's clock in microseconds.

    Raises:
        MalformedPayload: not JSON of that shape.

    Source:
        https://www.okx.com/docs-v5/en/#public-data-rest-api-get-system-time
    """
    try:
        return int(_decode_time(body).data[0].ts) * US_PER_MS
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "its time", str(e)) from e


def parse_maintenance(body: bytes) -> str:
    """Return the title of the maintenance under way, empty if there is none.

    Raises:
        MalformedPayload: not JSON of that shape.

    Source:
        https://www.okx.com/docs-v5/en/#status-get-status
    """
    try:
        rows = _decode_status(body).data
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "its status", str(e)) from e
    under_way = [r for r in rows if r.state == _ONGOING and r.env == _PRODUCTION]
    return "; ".join(row.title or "maintenance" for row in under_way)


def parse_book(body: bytes, instrument: Instrument, *, ts_recv: int) -> Book:
    """Translate a snapshot of the order book.

    Args:
        body: the reply.
        instrument: whose book it is.
        ts_recv: our clock when it arrived, UTC microseconds.

    Returns:
        `ts_event` is the exchange's time of the snapshot; `sequence` continues in the stream,
        None in replies from before 2026.

    Raises:
        MalformedPayload: not JSON of that shape, or a number that is none.

    Source:
        https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-order-book
    """
    try:
        wire = _decode_book(body).data[0]
        return Book(
            exchange=NAME,
            symbol=instrument.symbol,
            ts_event=int(wire.ts) * US_PER_MS,
            ts_recv=ts_recv,
            is_snapshot=True,
            bids=_levels(wire.bids, instrument),
            asks=_levels(wire.asks, instrument),
            sequence=wire.seq_id,
        )
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "a book", str(e)) from e


def parse_quotes(
    body: bytes, instruments: Mapping[str, Instrument], *, ts_recv: int
) -> list[Quote]:
    """Translate tickers to tops of books.

    Args:
        body: the reply of `ticker` or `tickers`.
        instruments: the ones wanted, by `instId`; rows of others are left out.
        ts_recv: our clock when it arrived, UTC microseconds.

    Returns:
        One record per wanted row, in the exchange's order. A side that is empty is None.

    Raises:
        MalformedPayload: not JSON of that shape, or a number that is none.

    Source:
        https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-tickers
    """
    try:
        rows = _decode_tickers(body).data
        return [
            _quote(row, instruments[row.inst_id], ts_recv)
            for row in rows
            if row.inst_id in instruments
        ]
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "tickers", str(e)) from e


def parse_open_interest(body: bytes, instrument: Instrument, *, ts_recv: int) -> OpenInterest:
    """Translate open interest: `oiCcy`, which is in base units, not `oi`, which counts contracts.

    Raises:
        MalformedPayload: not JSON of that shape, or not about `instrument`.

    Source:
        https://www.okx.com/docs-v5/en/#public-data-rest-api-get-open-interest
    """
    try:
        rows = _decode_open_interest(body).data
        row = next((r for r in rows if r.inst_id == instrument.native), None)
        if row is None:
            raise MalformedPayload(NAME, "open interest", f"no row of {instrument.native}")
        return OpenInterest(
            exchange=NAME,
            symbol=instrument.symbol,
            ts_event=int(row.ts) * US_PER_MS,
            ts_recv=ts_recv,
            open_interest=number(row.oi_ccy, "oiCcy"),
        )
    except _UNREADABLE as e:
        raise MalformedPayload(NAME, "open interest", str(e)) from e


def _levels(
    side: Sequence[Sequence[str]], instrument: Instrument
) -> tuple[tuple[float, float], ...]:
    levels: list[tuple[float, float]] = []
    for level in side:
        price = number(level[0], "price")
        levels.append((price, base_size(instrument, number(level[1], "size"), price)))
    return tuple(levels)


def _quote(row: _Ticker, instrument: Instrument, ts_recv: int) -> Quote:
    bid, ask = _number(row.bid_px), _number(row.ask_px)
    return Quote(
        exchange=NAME,
        symbol=instrument.symbol,
        ts_event=int(row.ts) * US_PER_MS,
        ts_recv=ts_recv,
        bid_price=bid,
        bid_size=_size(row.bid_sz, bid, instrument),
        ask_price=ask,
        ask_size=_size(row.ask_sz, ask, instrument),
    )


def _size(text: str | None, price: float | None, instrument: Instrument) -> float | None:
    size = _number(text)
    return None if size is None or price is None else base_size(instrument, size, price)


def _number(text: str | None) -> float | None:
    return number(text, "a ticker") if text else None
