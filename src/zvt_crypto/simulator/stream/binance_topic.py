"""Binance's messages: one class for each format of stream, on spot and on futures."""

from collections.abc import Callable, Sequence
from typing import Final

from zvt_crypto.simulator import binance_info
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.book import Book, Changes, Level
from zvt_crypto.simulator.encode import Column, Number, decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Trades
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
    TopTopic,
    TradeTopic,
)
from zvt_crypto.simulator.venue import Venue

MS: Final = 1_000
_SPOT_DECIMALS: Final = 8
_LATE_US: Final = 1_000  # from an event to its event time
_US_PER_S: Final = 1_000_000


class Writer:
    """How one instrument's numbers are written on one market.

    Args:
        micro: times in microseconds.
    """

    def __init__(self, instrument: Instrument, *, micro: bool = False) -> None:
        self.symbol = instrument.native
        self.spot = instrument.kind is Kind.SPOT
        self.unit = 1 if micro else MS
        self._price, self._size = instrument.price_decimals, instrument.size_decimals

    def price(self, value: int) -> str:
        """Return a price: eight digits on spot, the tick's on futures."""
        return self._text(value, self._price)

    def size(self, value: int) -> str:
        """Return a size."""
        return self._text(value, self._size)

    def first(self, column: Column) -> str:
        """Return the only number of a column."""
        if isinstance(column, Number):
            return self._text(int(column.values[0]), column.decimals)
        return column.texts()[0]

    def levels(self, levels: Sequence[Level]) -> str:
        """Return levels of a book as a JSON array."""
        return ",".join([f'["{self.price(price)}","{self.size(size)}"]' for price, size in levels])

    def times(self, time_us: int) -> str:
        """Return `E`, and `T` where futures have it."""
        late = f'"E":{(time_us + _LATE_US) // self.unit}'
        return late if self.spot else f'{late},"T":{time_us // self.unit}'

    def _text(self, value: int, decimals: int) -> str:
        if self.spot:
            value, decimals = value * 10 ** (_SPOT_DECIMALS - decimals), _SPOT_DECIMALS
        return decimal_text(value, decimals, trim=False)


class Stream:
    """A stream's name, its market and the unit of its times.

    Attributes:
        name: as the client wrote it.
        topic: unique in the venue.
    """

    def __init__(self, name: str, market: str, *, micro: bool) -> None:
        self.name = name
        self.topic = f"{market}:{name}" + (":us" if micro else "")
        self.micro = micro
        self.head = f'{{"stream":"{name}","data":'.encode()


class Named:
    """What all streams have: a name they are wrapped with on combined connections."""

    stream: Stream

    def wrap(self, payload: bytes, style: str) -> bytes:
        """Return the message for `/stream`, or as it is for `/ws`."""
        return self.stream.head + payload + b"}" if style else payload


class AggregateTrades(Named, OrderTopic):
    """`aggTrade`."""

    def __init__(self, venue: Venue, stream: Stream, instrument: Instrument) -> None:
        super().__init__(venue, stream.topic, instrument)
        self.stream = stream
        self._write = Writer(instrument, micro=stream.micro)

    def encode(self, orders: Orders) -> list[bytes]:
        """Write each order."""
        write = self._write
        columns = (
            orders.id.tolist(), orders.first.tolist(), orders.last.tolist(),
            orders.time_us.tolist(), orders.price.tolist(), orders.size.tolist(),
            orders.buy.tolist(),
        )  # fmt: skip
        texts: list[bytes] = []
        for own, first, last, time_us, price, size, buy in zip(*columns, strict=True):
            quantity = write.size(size)
            tail = ',"M":true}' if write.spot else f',"nq":"{quantity}","st":1}}'
            texts.append(
                f'{{"e":"aggTrade","E":{(time_us + _LATE_US) // write.unit},"s":"{write.symbol}",'
                f'"a":{own},"p":"{write.price(price)}","q":"{quantity}","f":{first},"l":{last},'
                f'"T":{time_us // write.unit},"m":{"false" if buy else "true"}{tail}'.encode()
            )
        return texts


class SingleTrades(Named, TradeTopic):
    """`trade`; on futures undocumented, with the kind of trade in `X`."""

    def __init__(self, venue: Venue, stream: Stream, instrument: Instrument) -> None:
        super().__init__(venue, stream.topic, instrument)
        self.stream = stream
        self._write = Writer(instrument, micro=stream.micro)

    def encode(self, trades: Trades) -> list[bytes]:
        """Write each trade."""
        write = self._write
        columns = (
            range(trades.first_id, trades.first_id + len(trades)), trades.time_us.tolist(),
            trades.price.tolist(), trades.size.tolist(), trades.buy.tolist(),
        )  # fmt: skip
        tail = '"M":true' if write.spot else '"X":"MARKET","st":1'
        return [
            f'{{"e":"trade","E":{(time_us + _LATE_US) // write.unit},"s":"{write.symbol}",'
            f'"t":{own},"p":"{write.price(price)}","q":"{write.size(size)}",'
            f'"T":{time_us // write.unit},"m":{"false" if buy else "true"},{tail}}}'.encode()
            for own, time_us, price, size, buy in zip(*columns, strict=True)
        ]


class DepthChanges(Named, BookTopic):
    """`depth`, `depth@100ms`: changes only; who wants the book asks REST for it."""

    def __init__(
        self, venue: Venue, stream: Stream, instrument: Instrument, period_us: int
    ) -> None:
        super().__init__(venue, stream.topic, instrument, period_us)
        self.stream = stream
        self._write = Writer(instrument, micro=stream.micro)

    def encode(self, before: Book, after: Book, changes: Changes, *, reset: bool) -> bytes:
        """Write the changes and the range of ids they cover; futures name the id before, too."""
        first = after.sequence if reset else before.sequence + 1
        return depth_update(self._write, after.time_us, (before.sequence, first, after.sequence),
                            changes.bids, changes.asks)  # fmt: skip


class PartialDepth(Named, BookViewTopic):
    """`depth5`, `depth10`, `depth20`: without symbol and time on spot, like changes on futures."""

    def __init__(
        self, venue: Venue, stream: Stream, instrument: Instrument, depth: int, period_us: int
    ) -> None:
        super().__init__(venue, stream.topic, instrument, depth, period_us=period_us)
        self.stream = stream
        self._write = Writer(instrument, micro=stream.micro)

    def encode(self, book: Book, now_us: int) -> bytes:
        """Write the best levels."""
        write, (bids, asks) = self._write, book.top(self.depth)
        if write.spot:
            return (
                f'{{"lastUpdateId":{book.sequence},"bids":[{write.levels(bids)}],'
                f'"asks":[{write.levels(asks)}]}}'
            ).encode()
        before = self.venue.books.sequence(self.instrument, book.step - 1)
        return depth_update(write, now_us, (before, before + 1, book.sequence), bids, asks)


def depth_update(
    write: Writer, time_us: int, ids: tuple[int, int, int], bids: Sequence[Level],
    asks: Sequence[Level],
) -> bytes:  # fmt: skip
    """Return a `depthUpdate`; `ids` are the one before, the first and the last."""
    before, first, last = ids
    extra = "" if write.spot else f'"ps":"{write.symbol}","st":1,'
    previous = "" if write.spot else f'"pu":{before},'
    return (
        f'{{"e":"depthUpdate",{write.times(time_us)},"s":"{write.symbol}",{extra}"U":{first},'
        f'"u":{last},{previous}"b":[{write.levels(bids)}],"a":[{write.levels(asks)}]}}'
    ).encode()


class BookTicker(Named, TopTopic):
    """`bookTicker`: without event and time on spot."""

    def __init__(self, venue: Venue, stream: Stream, instrument: Instrument) -> None:
        super().__init__(venue, stream.topic, instrument)
        self.stream = stream
        self._write = Writer(instrument, micro=stream.micro)

    def encode(self, book: Book, now_us: int) -> bytes:
        """Write the best bid and ask."""
        write, ((bid, *_), (ask, *_)) = self._write, book.top(1)
        best = (
            f'"b":"{write.price(bid[0])}","B":"{write.size(bid[1])}",'
            f'"a":"{write.price(ask[0])}","A":"{write.size(ask[1])}"'
        )
        if write.spot:
            return f'{{"u":{book.sequence},"s":"{write.symbol}",{best}}}'.encode()
        return (
            f'{{"e":"bookTicker","u":{book.sequence},{write.times(now_us)},'
            f'"s":"{write.symbol}","ps":"{write.symbol}",{best},"st":1}}'
        ).encode()


class AllBookTickers(Named, Topic):
    """`!bookTicker`: those of all symbols of futures."""

    kind = "top"

    def __init__(self, venue: Venue, stream: Stream, instruments: Sequence[Instrument]) -> None:
        super().__init__(venue, stream.topic)
        self.stream = stream
        self._topics = [BookTicker(venue, stream, instrument) for instrument in instruments]

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a change."""
        pushes = [push for topic in self._topics for push in topic.pushes(since_us, until_us)]
        return sorted(pushes, key=lambda push: push.time_us)


class Klines(Named, CandleTopic):
    """`kline_<interval>`."""

    def __init__(
        self, venue: Venue, stream: Stream, instrument: Instrument, bar: Bar, period_us: int
    ) -> None:
        super().__init__(venue, stream.topic, instrument, bar, period_us)
        self.stream = stream
        self._interval = stream.name.rpartition("_")[2]
        self._write = Writer(instrument, micro=stream.micro)

    def encode(self, candle: Candle) -> bytes:
        """Write the candle; `x` says whether it closed, ids are -1 without trades."""
        write, columns = self._write, candle.columns
        first, last = (candle.first_id, candle.last_id) if candle.first_id else (-1, -1)
        symbol, unit = write.symbol, write.unit
        texts = {
            "o": columns.open, "c": columns.close, "h": columns.high, "l": columns.low,
            "v": columns.base, "q": columns.quote, "V": columns.buy_base, "Q": columns.buy_quote,
        }  # fmt: skip
        own = ",".join([f'"{name}":"{write.first(column)}"' for name, column in texts.items()])
        return (
            f'{{"e":"kline","E":{(candle.now_us + _LATE_US) // unit},"s":"{symbol}",'
            f'"k":{{"t":{candle.open_us // unit},"T":{candle.close_us // unit - 1},'
            f'"s":"{symbol}","i":"{self._interval}","f":{first},"L":{last},{own},'
            f'"n":{candle.count},"x":{"true" if candle.closed else "false"},"B":"0"}}}}'
        ).encode()


class ForceOrders(Named, LiquidationTopic):
    """`forceOrder` of one symbol or of all: one a second and symbol at most, so incomplete."""

    def __init__(self, venue: Venue, stream: Stream, instruments: Sequence[Instrument]) -> None:
        super().__init__(venue, stream.topic, instruments)
        self.stream = stream
        self._second: dict[str, int] = {}

    def encode(self, instrument: Instrument, trade: Trades) -> bytes | None:
        """Write the order that closed a position."""
        time_us = int(trade.time_us[0])
        second = time_us // _US_PER_S
        if self._second.get(instrument.symbol) == second:
            return None
        self._second[instrument.symbol] = second
        write = Writer(instrument, micro=self.stream.micro)
        price, size = write.price(int(trade.price[0])), write.size(int(trade.size[0]))
        side = "BUY" if trade.buy[0] else "SELL"
        return (
            f'{{"e":"forceOrder","E":{(time_us + _LATE_US) // write.unit},"o":{{'
            f'"s":"{write.symbol}","ps":"{write.symbol}","S":"{side}","o":"LIMIT","f":"IOC",'
            f'"q":"{size}","p":"{price}","ap":"{price}","X":"FILLED","l":"{size}","z":"{size}",'
            f'"T":{time_us // write.unit}}},"st":1}}'
        ).encode()


class Tick(Named, TickTopic):
    """Tickers, mark prices: what is sent once a period as it is then."""

    def __init__(  # noqa: PLR0917 - what a topic is, in the order one says it
        self,
        venue: Venue,
        kind: str,
        stream: Stream,
        period_us: int,
        make: Callable[[int], bytes | None],
        instrument: Instrument | None = None,
    ) -> None:
        super().__init__(venue, kind, stream.topic, period_us, make, instrument)
        self.stream = stream


class ContractInfo(Named, Topic):
    """`!contractInfo`: a contract that is delisted."""

    kind = "status"

    def __init__(self, venue: Venue, stream: Stream, instruments: Sequence[Instrument]) -> None:
        super().__init__(venue, stream.topic)
        self.stream = stream
        self._instruments = instruments
        self._told = set(venue.renames())

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a contract that is gone since."""
        del since_us
        gone = set(self.venue.renames()) - self._told
        self._told |= gone
        return [
            Push(
                f'{{"e":"contractInfo","E":{until_us // MS},"s":"{one.native}",'
                f'"ps":"{one.native}","ct":"PERPETUAL","dt":{until_us // MS},'
                f'"ot":{one.listed_us // MS},"cs":"SETTLING","bks":[],"st":1}}'.encode(),
                until_us,
            )
            for one in self._instruments
            if one.symbol in gone
        ]


def mark_price(venue: Venue, instrument: Instrument, now_us: int) -> str:
    """Return a `markPriceUpdate`, from what REST's `premiumIndex` says."""
    row = binance_info.premium(venue, instrument, now_us)  # pyright: ignore[reportArgumentType]
    return (
        f'{{"e":"markPriceUpdate","E":{now_us // MS},"s":"{instrument.native}",'
        f'"ps":"{instrument.native}","p":"{row["markPrice"]}","i":"{row["indexPrice"]}",'
        f'"P":"{row["estimatedSettlePrice"]}","r":"{row["lastFundingRate"]}",'
        f'"T":{row["nextFundingTime"]},"st":1}}'
    )
