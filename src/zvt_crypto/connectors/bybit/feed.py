"""Feeds of Bybit: each reads the frames of one topic on one connection. Pure.

A feed reads a frame in one typed decode. What does not decode, or holds a row that cannot be
true, is read again row by row (`read_slowly`), where a bad row is refused and the others count.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from zvt_crypto.connectors.bybit.spec import NAME
from zvt_crypto.connectors.wire.amount import MOST
from zvt_crypto.connectors.wire.level import base_levels, check_levels, is_bar, is_sane
from zvt_crypto.connectors.wire.moment import EARLIEST_US, FUTURE_US, LATEST_US, latest_us
from zvt_crypto.connectors.wire.refusal import UNREADABLE, read_rows, refused
from zvt_crypto.connectors.wire.target import Contract, Number, ToBase, fan_out
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import US_PER_MS, Interval
from zvt_crypto.core.record import Book, Candle, Liquidation, Quote, Side, Trade
from zvt_crypto.ports.stream import Message

N = TypeVar("N")
D = TypeVar("D")

Millis: TypeAlias = int
Counter: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Levels: TypeAlias = tuple[tuple[N, N], ...]

# `S` of a trade is the taker's side, that of a liquidation the side of the closed POSITION.
_TAKER: Final = {"Buy": Side.BUY, "Sell": Side.SELL}
_CLOSING: Final = {"Buy": Side.SELL, "Sell": Side.BUY}


class Frame(msgspec.Struct, Generic[D], gc=False):
    """A frame of rows."""

    data: D


class BookFrame(msgspec.Struct, Generic[D], gc=False):
    """A frame of a book; `cts` is the matching engine's time, absent in old recordings."""

    type: Literal["snapshot", "delta"]
    ts: Millis
    data: D
    cts: Millis | None = None


class TradeRow(msgspec.Struct, Generic[N], gc=False):
    """One trade; ids are digits on spot and UUIDs elsewhere."""

    time: Millis = msgspec.field(name="T")
    native: str = msgspec.field(name="s")
    side: str = msgspec.field(name="S")
    size: N = msgspec.field(name="v")
    price: N = msgspec.field(name="p")
    trade_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = msgspec.field(name="i")


class LiquidationRow(msgspec.Struct, Generic[N], gc=False):
    """One liquidation; `price` is that of bankruptcy."""

    time: Millis = msgspec.field(name="T")
    native: str = msgspec.field(name="s")
    side: str = msgspec.field(name="S")
    size: N = msgspec.field(name="v")
    price: N = msgspec.field(name="p")


class CandleRow(msgspec.Struct, Generic[N], gc=False):
    """One bar as it stands."""

    start: Millis
    interval: str
    open: N
    high: N
    low: N
    close: N
    volume: N
    turnover: N
    confirm: bool


class BookData(msgspec.Struct, Generic[N], gc=False):
    """Levels of a book."""

    native: str = msgspec.field(name="s")
    bids: Levels[N] = msgspec.field(name="b")
    asks: Levels[N] = msgspec.field(name="a")
    update: Counter = msgspec.field(name="u")


def decoder(of: Any) -> Any:
    """Return a decoder that reads numbers from strings as well."""
    return msgspec.json.Decoder(of, strict=False)


class Decoders:
    """All decoders of a number type, built once."""

    def __init__(self, number: type) -> None:
        self.number = number
        self.trades = decoder(Frame[tuple[TradeRow[number], ...]])
        self.trade = decoder(TradeRow[number])
        self.liquidations = decoder(Frame[tuple[LiquidationRow[number], ...]])
        self.liquidation = decoder(LiquidationRow[number])
        self.candles = decoder(Frame[tuple[CandleRow[number], ...]])
        self.candle = decoder(CandleRow[number])
        self.book = decoder(BookFrame[BookData[number]])


_decode_raw_rows: Final = msgspec.json.Decoder(Frame[list[msgspec.Raw]]).decode


class Feed(Protocol):
    """What reads the frames of one topic; `read` raises one of `UNREADABLE` on any doubt."""

    def read(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Read a frame in one go."""
        ...

    def read_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Read what can be read of a frame; raise only if it is no frame."""
        ...


class RowFeed:
    """A feed whose frames are lists of rows."""

    def __init__(self, native: str, contract: Contract, decode_frame: Any, decode_row: Any) -> None:
        self._native = native
        self._contract = contract
        self._decode_frame = decode_frame
        self._decode_row = decode_row

    def read(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Read a frame in one go."""
        return self._build(self._decode_frame(frame).data, ts_recv)

    def read_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Read a frame row by row; bad ones are refused."""
        return read_rows(
            _decode_raw_rows(frame).data,
            lambda row: self._build((self._decode_row(row),), ts_recv),
            self._contract.symbol,
        )

    def _build(self, rows: Sequence[Any], ts_recv: int) -> Sequence[Message]:
        raise NotImplementedError


class TradeFeed(RowFeed):
    """Reads `publicTrade`: up to 1,024 trades in the order they happened."""

    def __init__(self, native: str, contract: Contract, decoders: Decoders) -> None:
        super().__init__(native, contract, decoders.trades.decode, decoders.trade.decode)
        # The usual case, which needs neither a loop nor a conversion: base units of one instrument.
        is_plain = contract.convert is None and not contract.others
        self._plain = contract.symbol if is_plain else None

    def read(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Read a frame in one go; most hold one trade, whose size is in base units."""
        rows = self._decode_frame(frame).data
        if len(rows) != 1 or self._plain is None:
            return self._build(rows, ts_recv)
        row = rows[0]
        price, size, time = row.price, row.size, row.time * US_PER_MS
        if (
            0 < price <= MOST
            and 0 < size <= MOST
            and EARLIEST_US <= time <= (ts_recv + FUTURE_US if ts_recv > 0 else LATEST_US)
            and row.native == self._native
            and "\0" not in row.trade_id
            and (side := _TAKER.get(row.side)) is not None
        ):
            return (Trade(NAME, self._plain, time, ts_recv, row.trade_id, price, size, side),)
        raise ValueError(f"not a trade of {self._native}: {row}")

    def _build(self, rows: Sequence[TradeRow[Number]], ts_recv: int) -> Sequence[Message]:
        native, latest = self._native, latest_us(ts_recv)
        symbol, convert, _, others = self._contract
        trades: list[Trade] = []
        for row in rows:
            price, size, time = row.price, row.size, row.time * US_PER_MS
            side = _TAKER.get(row.side)
            # The test of `is_sane`, without the call.
            if (
                not (0 < price <= MOST and 0 < size <= MOST)
                or not EARLIEST_US <= time <= latest
                or row.native != native
                or "\0" in row.trade_id
                or side is None
            ):
                raise ValueError(f"not a trade of {native}: {row}")
            base = size if convert is None else convert(size, price)
            trades.append(Trade(NAME, symbol, time, ts_recv, row.trade_id, price, base, side))
        return fan_out(trades, others)


class LiquidationFeed(RowFeed):
    """Reads `allLiquidation`."""

    def __init__(self, native: str, contract: Contract, decoders: Decoders) -> None:
        super().__init__(
            native, contract, decoders.liquidations.decode, decoders.liquidation.decode
        )

    def _build(self, rows: Sequence[LiquidationRow[Number]], ts_recv: int) -> Sequence[Message]:
        symbol, convert, _, others = self._contract
        found: list[Liquidation] = []
        for row in rows:
            time, side = row.time * US_PER_MS, _CLOSING.get(row.side)
            if (
                not is_sane(row.price, row.size)
                or not EARLIEST_US <= time <= latest_us(ts_recv)
                or row.native != self._native
                or side is None
            ):
                raise ValueError(f"not a liquidation of {self._native}: {row}")
            base = row.size if convert is None else convert(row.size, row.price)
            found.append(Liquidation(NAME, symbol, time, ts_recv, row.price, base, side))
        return fan_out(found, others)


class CandleFeed(RowFeed):
    """Reads `kline` of one interval."""

    def __init__(
        self,
        native: str,
        contract: Contract,
        decoders: Decoders,
        interval: Interval,
        native_interval: str,
    ) -> None:
        super().__init__(native, contract, decoders.candles.decode, decoders.candle.decode)
        self._interval = interval
        self._native_interval = native_interval

    def _build(self, rows: Sequence[CandleRow[Number]], ts_recv: int) -> Sequence[Message]:
        candles: list[Candle] = []
        for row in rows:
            start = row.start * US_PER_MS
            if (
                not EARLIEST_US <= start <= latest_us(ts_recv)
                or self._interval.floor(start) != start
                or row.interval != self._native_interval
                or not is_bar(row.open, row.high, row.low, row.close, row.volume)
                or not 0 <= row.turnover <= MOST
            ):
                raise ValueError(f"not a {self._interval} candle of {self._native}: {row}")
            volume, turnover = row.volume, row.turnover
            if (
                self._contract.market is Market.INVERSE
            ):  # volume counts dollars there, turnover coins
                volume, turnover = turnover, volume
            candles.append(
                Candle(
                    exchange=NAME,
                    symbol=self._contract.symbol,
                    interval=self._interval,
                    ts_event=start,
                    ts_recv=ts_recv,
                    open=row.open,
                    high=row.high,
                    low=row.low,
                    close=row.close,
                    volume=volume,
                    quote_volume=turnover,
                    is_closed=row.confirm,
                )
            )
        return fan_out(candles, self._contract.others)


class _LevelFeed:
    """A feed of `orderbook`, whose frames are one message: a bad level makes all of it useless."""

    def __init__(self, native: str, contract: Contract, decoders: Decoders) -> None:
        self._native = native
        self._contract = contract
        self._decode = decoders.book.decode

    def read_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Refuse a frame: a book with a level missing would be wrong without a sign of it."""
        try:
            return self.read(frame, ts_recv)
        except UNREADABLE as e:
            return (refused(frame, e, self._contract.symbol),)

    def read(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Read a frame in one go."""
        wire = self._decode(frame)
        time = (wire.cts or wire.ts) * US_PER_MS
        if not EARLIEST_US <= time <= latest_us(ts_recv) or wire.data.native != self._native:
            raise ValueError(f"not a book of {self._native} at {time}")
        return self._build(wire, time, ts_recv)

    def _build(
        self, wire: BookFrame[BookData[Number]], time: int, ts_recv: int
    ) -> Sequence[Message]:
        raise NotImplementedError


class BookFeed(_LevelFeed):
    """Reads `orderbook.{depth}`.

    Update ids of one topic go up by one. Id 1 is a new book, even where it is called a delta.
    """

    def _build(
        self, wire: BookFrame[BookData[Number]], time: int, ts_recv: int
    ) -> Sequence[Message]:
        update = wire.data.update
        is_snapshot = wire.type == "snapshot" or update == 1
        bids, asks = wire.data.bids, wire.data.asks
        check_levels(bids)
        check_levels(asks)
        if is_snapshot:
            bids, asks = tuple(sorted(bids, reverse=True)), tuple(sorted(asks))
        symbol, convert, _, others = self._contract
        book = Book(
            exchange=NAME,
            symbol=symbol,
            ts_event=time,
            ts_recv=ts_recv,
            is_snapshot=is_snapshot,
            bids=base_levels(bids, convert),
            asks=base_levels(asks, convert),
            sequence=update,
            prev_sequence=None if is_snapshot else update - 1,
        )
        return fan_out((book,), others)


class QuoteFeed(_LevelFeed):
    """Reads `orderbook.1`: every message is the top of the book.

    Before March 2025 there were deltas too; recordings of that time are read by applying them to
    the few levels seen. The exchange repeats itself after three idle seconds: same `sequence`.
    """

    def __init__(self, native: str, contract: Contract, decoders: Decoders) -> None:
        super().__init__(native, contract, decoders)
        self._last: BookData[Number] | None = None

    def _build(
        self, wire: BookFrame[BookData[Number]], time: int, ts_recv: int
    ) -> Sequence[Message]:
        data = wire.data
        check_levels(data.bids)
        check_levels(data.asks)
        if wire.type == "delta" and data.update != 1:
            data = self._merged(data)
        self._last = data
        symbol, convert, _, others = self._contract
        bid, bid_size = _price_and_size(_top(data.bids, max), convert)
        ask, ask_size = _price_and_size(_top(data.asks, min), convert)
        quote = Quote(
            NAME, symbol, time, ts_recv, bid, bid_size, ask, ask_size, sequence=data.update
        )
        return fan_out((quote,), others)

    def _merged(self, delta: BookData[Number]) -> BookData[Number]:
        held = self._last
        if held is None or delta.update != held.update + 1:
            self._last = None
            raise ValueError(f"a delta to {delta.update} without what it changes")
        bids = {**dict(held.bids), **dict(delta.bids)}
        asks = {**dict(held.asks), **dict(delta.asks)}
        if len(bids) + len(asks) > _MOST_TOP_LEVELS:
            self._last = None
            raise ValueError("deltas of level 1 grew into a book")
        return BookData(
            delta.native,
            tuple((price, size) for price, size in bids.items() if size > 0),
            tuple((price, size) for price, size in asks.items() if size > 0),
            delta.update,
        )


# Deltas of level 1 replace one price by another; a handful is all there can be.
_MOST_TOP_LEVELS: Final = 64


def _top(levels: Levels[Number], best: Any) -> tuple[Number, Number] | None:
    if len(levels) == 1:
        return levels[0] if levels[0][1] > 0 else None
    return best((level for level in levels if level[1] > 0), default=None)


def _price_and_size(level: tuple[Number, Number] | None, convert: ToBase | None) -> Any:
    if level is None:
        return None, None
    price, size = level
    return price, size if convert is None else convert(size, price)
