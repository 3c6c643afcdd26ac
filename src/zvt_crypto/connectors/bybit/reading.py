"""Single readings of Bybit: books, tops of books, open interest; pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from zvt_crypto.connectors.bybit.envelope import Digits, Reply, base_size, decode, positive
from zvt_crypto.connectors.bybit.spec import NAME
from zvt_crypto.core.errors import MalformedPayload, UnknownSymbol
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_MS
from zvt_crypto.core.record import Book, OpenInterest, Quote


class _Book(msgspec.Struct):
    s: str
    b: Sequence[tuple[str, str]]
    a: Sequence[tuple[str, str]]
    ts: Digits
    u: int | None = None
    cts: Digits | None = None


_book_decoder: Final = msgspec.json.Decoder(Reply[_Book])


def parse_book(body: bytes, instrument: Instrument, *, ts_recv: int) -> Book:
    """Translate `orderbook`; both sides are sorted here, sizes of inverse become base coin.

    `ts_event` is the matching engine's time where the reply has it; `sequence` is comparable
    with the 1000-level stream only.

    Raises:
        MalformedPayload: not of the documented shape, or of another symbol.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/orderbook
    """
    book = decode(_book_decoder, body, "a book").result
    if book.s != instrument.native:
        raise MalformedPayload(NAME, "a book", f"of {book.s!r}, asked for {instrument.native!r}")
    return Book(
        exchange=NAME,
        symbol=instrument.symbol,
        ts_event=int(book.cts or book.ts) * US_PER_MS,
        ts_recv=ts_recv,
        is_snapshot=True,
        bids=tuple(sorted(_levels(book.b, instrument), reverse=True)),
        asks=tuple(sorted(_levels(book.a, instrument))),
        sequence=book.u,
    )


def _levels(side: Sequence[tuple[str, str]], instrument: Instrument) -> list[tuple[float, float]]:
    levels: list[tuple[float, float]] = []
    for price_text, size_text in side:
        price, size = positive(price_text), base_size(size_text, price_text, instrument)
        if price is None or size is None:
            raise MalformedPayload(NAME, "a book", f"level {price_text!r}, {size_text!r}")
        levels.append((price, size))
    return levels


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    bid1_price: str = ""
    bid1_size: str = ""
    ask1_price: str = ""
    ask1_size: str = ""
    mark_price: str = ""
    open_interest: str = ""
    single_open_interest: str = ""


class _TickerPage(msgspec.Struct):
    list: Sequence[_Ticker]


_ticker_decoder: Final = msgspec.json.Decoder(Reply[_TickerPage])


def parse_quotes(
    body: bytes, instruments: Sequence[Instrument], market: Market, *, ts_recv: int
) -> list[Quote]:
    """Translate `tickers` of one category: the tops of the books of `instruments`.

    Rows of other symbols are left out, and so are instruments without a row. The rows have no
    time of their own: `ts_event` is the reply's.

    Raises:
        MalformedPayload: not of the documented shape.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/tickers
    """
    reply = decode(_ticker_decoder, body, "tickers")
    wanted = {one.native: one for one in instruments if one.market is market}
    moment = reply.time_us or ts_recv
    return [
        Quote(
            exchange=NAME,
            symbol=instrument.symbol,
            ts_event=moment,
            ts_recv=ts_recv,
            bid_price=positive(row.bid1_price),
            bid_size=base_size(row.bid1_size, row.bid1_price, instrument),
            ask_price=positive(row.ask1_price),
            ask_size=base_size(row.ask1_size, row.ask1_price, instrument),
        )
        for row in reply.result.list
        if (instrument := wanted.get(row.symbol)) is not None
    ]


def parse_open_interest(body: bytes, instrument: Instrument, *, ts_recv: int) -> OpenInterest:
    """Translate `tickers` of one perpetual to its open interest in base coin.

    `openInterest` counts both sides of every contract, `singleOpenInterest` (since 2026-06-11)
    one: ours is one side, as on other exchanges. Inverse counts dollars, taken at the mark price
    of the same row; `openInterestValue` of inverse is left alone, its unit is not documented.

    Raises:
        MalformedPayload: not of the documented shape, or without the number.
        UnknownSymbol: no row of the instrument.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/tickers
    """
    reply = decode(_ticker_decoder, body, "tickers")
    row = next((r for r in reply.result.list if r.symbol == instrument.native), None)
    if row is None:
        raise UnknownSymbol(NAME, instrument.native)
    both = base_size(row.open_interest, row.mark_price, instrument)
    one = base_size(row.single_open_interest, row.mark_price, instrument)
    if one is None and both is None:
        raise MalformedPayload(NAME, "open interest", f"{row.open_interest!r}")
    return OpenInterest(
        exchange=NAME,
        symbol=instrument.symbol,
        ts_event=reply.time_us or ts_recv,
        ts_recv=ts_recv,
        open_interest=one if one is not None else (both or 0.0) / 2,
    )
