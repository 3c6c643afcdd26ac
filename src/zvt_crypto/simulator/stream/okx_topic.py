"""OKX's messages: one class for each channel, and which topic an argument means."""

from collections.abc import Callable, Sequence
from typing import Final, cast

import msgspec

from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator import okx_info
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.book import Book, Changes, Level
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.okx import BARS, OkxVenue
from zvt_crypto.simulator.stream.feed import Candle, Orders
from zvt_crypto.simulator.stream.topic import (
    BookTopic,
    BookViewTopic,
    CandleTopic,
    LiquidationTopic,
    OrderTopic,
    Push,
    TickTopic,
    Topic,
    TradeTopic,
)
from zvt_crypto.simulator.venue import Venue

MS: Final = 1_000
_S: Final = 1_000_000
_KINDS: Final = {
    "SPOT": (Kind.SPOT,), "SWAP": (Kind.LINEAR, Kind.INVERSE), "MARGIN": (), "FUTURES": (),
    "OPTION": (),
}  # fmt: skip
_MOST_ORDERS: Final = 9

PUBLIC: Final = frozenset(
    (
        "tickers", "trades", "books", "books5", "bbo-tbt", "instruments", "funding-rate",
        "mark-price", "open-interest", "liquidation-orders", "status",
    )
)  # fmt: skip
SILENT: Final = frozenset(
    ("books-rpi", "books-elp", "index-tickers", "price-limit", "adl-warning", "estimated-price",
     "opt-summary")
)  # fmt: skip
"""Channels of `/public` that exist, are acknowledged, and have nothing to say here."""
LOGIN: Final = frozenset(("books-l2-tbt", "books50-l2-tbt"))
CANDLES: Final = {f"candle{name}": bar for name, bar in BARS.items()} | {"candle1s": bars.SECOND}


class Writer:
    """How one instrument's numbers are written."""

    def __init__(self, instrument: Instrument) -> None:
        self._price, self._size = instrument.price_decimals, instrument.size_decimals

    def price(self, value: int) -> str:
        """Return a price."""
        return decimal_text(value, self._price)

    def size(self, value: int) -> str:
        """Return a size, in contracts on swaps."""
        return decimal_text(value, self._size)

    def levels(self, levels: Sequence[Level]) -> str:
        """Return levels: price, size, a dead zero and the number of orders."""
        return ",".join(
            [
                f'["{self.price(price)}","{self.size(size)}","0",'
                f'"{1 + size % _MOST_ORDERS if size else 0}"]'
                for price, size in levels
            ]
        )

    def book(self, bids: Sequence[Level], asks: Sequence[Level]) -> str:
        """Return both sides as fields."""
        return f'"asks":[{self.levels(asks)}],"bids":[{self.levels(bids)}]'


class _Channel:
    """The head of an instrument's messages: channel and id."""

    def __init__(self, channel: str, instrument: Instrument) -> None:
        self.name = f"{channel}:{instrument.native}"
        argument = f'{{"channel":"{channel}","instId":"{instrument.native}"}}'
        self.arg = f'{{"arg":{argument},'
        self.head = f'{self.arg}"data":['


class AggregatedTrades(OrderTopic):
    """`trades`: one message a taker order, with the number of trades and the id of the last."""

    def __init__(self, venue: Venue, instrument: Instrument) -> None:
        self._head = _Channel("trades", instrument)
        super().__init__(venue, self._head.name, instrument)
        self._write = Writer(instrument)

    def encode(self, orders: Orders) -> list[bytes]:
        """Write each order."""
        write, head, native = self._write, self._head.head, self.instrument.native
        columns = (
            orders.first.tolist(), orders.last.tolist(), orders.time_us.tolist(),
            orders.price.tolist(), orders.size.tolist(), orders.buy.tolist(),
        )  # fmt: skip
        sequence, instrument = self.venue.books.sequence, self.instrument
        step_us = self.venue.book_step_us(instrument)
        return [
            f'{head}{{"instId":"{native}","tradeId":"{last}","px":"{write.price(price)}",'
            f'"sz":"{write.size(size)}","side":"{"buy" if buy else "sell"}",'
            f'"ts":"{time_us // MS}","count":"{last - first + 1}","source":"0",'
            f'"seqId":{sequence(instrument, time_us // step_us)}}}]}}'.encode()
            for first, last, time_us, price, size, buy in zip(*columns, strict=True)
        ]


class AllTrades(TradeTopic):
    """`trades-all`: every trade by itself."""

    def __init__(self, venue: Venue, instrument: Instrument) -> None:
        self._head = _Channel("trades-all", instrument)
        super().__init__(venue, self._head.name, instrument)
        self._write = Writer(instrument)

    def encode(self, trades: Trades) -> list[bytes]:
        """Write each trade."""
        write, head, native = self._write, self._head.head, self.instrument.native
        columns = (
            range(trades.first_id, trades.first_id + len(trades)), trades.time_us.tolist(),
            trades.price.tolist(), trades.size.tolist(), trades.buy.tolist(),
        )  # fmt: skip
        return [
            f'{head}{{"instId":"{native}","tradeId":"{own}","px":"{write.price(price)}",'
            f'"sz":"{write.size(size)}","side":"{"buy" if buy else "sell"}","source":"0",'
            f'"ts":"{time_us // MS}"}}]}}'.encode()
            for own, time_us, price, size, buy in zip(*columns, strict=True)
        ]


class FullBook(BookTopic):
    """`books`: a snapshot of 400 levels, then changes chained by `prevSeqId`."""

    keeps_alive = True

    def __init__(self, venue: Venue, instrument: Instrument) -> None:
        self._head = _Channel("books", instrument)
        super().__init__(venue, self._head.name, instrument)
        self._write = Writer(instrument)

    def snapshot(self, book: Book) -> bytes:
        """Write the whole book; it has no book before it."""
        return self._text("snapshot", *book.top(len(book.bids)), book, -1)

    def encode(self, before: Book, after: Book, changes: Changes, *, reset: bool) -> bytes:
        """Write the changes; after a reset `seqId` is below `prevSeqId`."""
        del reset
        return self._text("update", changes.bids, changes.asks, after, before.sequence)

    def rest(self, book: Book) -> bytes:
        """Write an update without a change, whose ids are the same."""
        return self._text("update", (), (), book, book.sequence)

    def _text(
        self, action: str, bids: Sequence[Level], asks: Sequence[Level], book: Book, before: int
    ) -> bytes:
        return (
            f'{self._head.arg}"action":"{action}","data":[{{{self._write.book(bids, asks)},'
            f'"ts":"{book.time_us // MS}","checksum":0,"prevSeqId":{before},'
            f'"seqId":{book.sequence}}}]}}'
        ).encode()


class BookView(BookViewTopic):
    """`books5` and `bbo-tbt`: the best levels, whole."""

    def __init__(self, venue: Venue, instrument: Instrument, channel: str, depth: int) -> None:
        self._head = _Channel(channel, instrument)
        self.kind = "top" if depth == 1 else "book"
        super().__init__(venue, self._head.name, instrument, depth)
        self._write = Writer(instrument)

    def encode(self, book: Book, now_us: int) -> bytes:
        """Write the best levels; there is no id before."""
        del now_us
        native = f'"instId":"{self.instrument.native}",' if self.depth > 1 else ""
        return (
            f"{self._head.head}{{{self._write.book(*book.top(self.depth))},{native}"
            f'"ts":"{book.time_us // MS}","seqId":{book.sequence}}}]}}'
        ).encode()

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the levels as they are."""
        book = self._book(now_us)
        return [Push(self.encode(book, now_us), book.time_us, book.sequence, book.sequence)]


class Candles(CandleTopic):
    """`candle<bar>`: rows as REST writes them, the last one of a bar confirmed."""

    def __init__(self, venue: Venue, instrument: Instrument, channel: str, bar: Bar) -> None:
        self._head = _Channel(channel, instrument)
        super().__init__(venue, self._head.name, instrument, bar, _S)

    def encode(self, candle: Candle) -> bytes:
        """Write the row."""
        row, _ = self.venue.encode_candles(
            self.instrument, self.bar, candle.columns, closed=candle.closed
        )
        return self._head.head.encode() + row.removesuffix(b",") + b"]}"


class Liquidations(LiquidationTopic):
    """`liquidation-orders` of all swaps; the side is that of the order that closed a position."""

    def __init__(self, venue: Venue, instruments: Sequence[Instrument]) -> None:
        super().__init__(venue, "liquidation-orders:SWAP", instruments)

    def encode(self, instrument: Instrument, trade: Trades) -> bytes:
        """Write one liquidation."""
        write = Writer(instrument)
        side, position = ("buy", "short") if trade.buy[0] else ("sell", "long")
        family = f"{instrument.base}-{instrument.quote}"
        return (
            '{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instType":"SWAP",'
            f'"instFamily":"{family}","uly":"{family}","instId":"{instrument.native}","details":[{{'
            f'"side":"{side}","posSide":"{position}","bkPx":"{write.price(int(trade.price[0]))}",'
            f'"sz":"{write.size(int(trade.size[0]))}","bkLoss":"0","ccy":"",'
            f'"ts":"{int(trade.time_us[0]) // MS}"}}]}}]}}'
        ).encode()


class Instruments(Topic):
    """`instruments`: what changes its state after the subscription, and nothing before."""

    kind = "status"

    def __init__(self, venue: Venue, instrument_type: str, listed: Sequence[Instrument]) -> None:
        super().__init__(venue, f"instruments:{instrument_type}")
        self._type = instrument_type
        self._listed = listed
        self._told = set(venue.renames())

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message with all that is gone since."""
        del since_us
        gone = set(self.venue.renames()) - self._told
        self._told |= gone
        rows = [
            okx_info.describe(one) | {"state": "suspend"} for one in self._listed
            if one.symbol in gone
        ]  # fmt: skip
        if not rows:
            return ()
        arg = {"channel": "instruments", "instType": self._type}
        return [Push(msgspec.json.encode({"arg": arg, "data": rows}), until_us)]


def of_type(venue: Venue, argument: dict[str, str]) -> Topic | None:
    """Return the topic of a channel that asks for a type of instruments, or for nothing."""
    channel, wanted = argument["channel"], argument.get("instType", "")
    if channel == "status":
        return TickTopic(venue, "status", "status", _S, _status(venue))
    if wanted not in _KINDS:
        return None
    listed = [i for i in venue.listed_instruments() if i.kind in _KINDS[wanted]]
    if channel == "instruments":
        return Instruments(venue, wanted, listed)
    return Liquidations(venue, listed) if wanted == "SWAP" else None


def of_instrument(venue: Venue, channel: str, instrument: Instrument) -> Topic | None:
    """Return the topic of a channel about one instrument, or None when it has no such channel."""
    match channel:
        case "trades":
            return AggregatedTrades(venue, instrument)
        case "trades-all":
            return AllTrades(venue, instrument)
        case "books":
            return FullBook(venue, instrument)
        case "books5" | "bbo-tbt":
            return BookView(venue, instrument, channel, 5 if channel == "books5" else 1)
        case _ if channel in CANDLES:
            return Candles(venue, instrument, channel, CANDLES[channel])
        case _:
            return _tick(cast("OkxVenue", venue), channel, instrument)


def _tick(venue: OkxVenue, channel: str, instrument: Instrument) -> Topic | None:
    makers: dict[str, tuple[str, int, Callable[[int], dict[str, object]]]] = {
        "tickers": ("ticker", 100 * MS, lambda t: okx_info.ticker(venue, instrument, t)),
    }
    if instrument.is_perpetual:
        makers |= {
            "mark-price": ("mark", 200 * MS, lambda t: okx_info.mark(venue, instrument, t)),
            "funding-rate": ("funding", 60 * _S, lambda t: okx_info.funding(venue, instrument, t)),
            "open-interest": (
                "interest", 3 * _S, lambda t: okx_info.interest(venue, instrument, t)
            ),
        }  # fmt: skip
    if channel not in makers:
        return None
    kind, period_us, make = makers[channel]
    head = _Channel(channel, instrument)
    text = _changed(make) if channel in {"tickers", "mark-price"} else _always(make)
    return TickTopic(
        venue, kind, head.name, period_us, lambda t: _rows(head, text(t)), instrument, opens=True
    )


def _rows(head: _Channel, row: dict[str, object] | None) -> bytes | None:
    return None if row is None else head.head.encode() + msgspec.json.encode(row) + b"]}"


def _always(
    make: Callable[[int], dict[str, object]],
) -> Callable[[int], dict[str, object] | None]:
    return make


def _changed(
    make: Callable[[int], dict[str, object]],
) -> Callable[[int], dict[str, object] | None]:
    """Return a maker that has nothing to say where only the time is another."""
    last: dict[str, object] = {}

    def text(now_us: int) -> dict[str, object] | None:
        row = make(now_us)
        same = last.keys() == row.keys() and all(last[k] == row[k] for k in row if k != "ts")
        last.update(row)
        return None if same else row

    return text


def _status(venue: Venue) -> Callable[[int], bytes | None]:
    told = [False]

    def make(now_us: int) -> bytes | None:
        ongoing = venue.world.faults.state("maintenance", venue.name) is not None
        if ongoing == told[0]:
            return None
        told[0] = ongoing
        row = okx_info.maintenance(now_us) | {"state": "ongoing" if ongoing else "completed"}
        return msgspec.json.encode({"arg": {"channel": "status"}, "data": [row]})

    return make
