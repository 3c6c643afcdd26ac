"""Channels of Advanced Trade: what one event of each says. Pure.

A channel translates an event that decoded; it raises on a row that cannot be true. The parser
then has the event read again row by row (`read_rows`), where a bad row is refused and the others
count. Data of `BTC-USDC` comes under the id of `BTC-USD`, with which it shares one book: rows are
given for every instrument an id stands for.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec

from zvt_crypto.connectors.coinbase.moment import Moments
from zvt_crypto.connectors.coinbase.spec import CANDLE_INTERVAL, NAME
from zvt_crypto.connectors.wire.amount import MOST
from zvt_crypto.connectors.wire.level import base_levels, is_bar
from zvt_crypto.connectors.wire.moment import EARLIEST_US, latest_us
from zvt_crypto.connectors.wire.refusal import UNREADABLE, read_rows, refused
from zvt_crypto.connectors.wire.target import UNLISTED, Known, Number, fan_out
from zvt_crypto.core.instrument import Status
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.record import Book, Candle, InstrumentStatus, Side, Trade
from zvt_crypto.ports.stream import Ack, Message, Pong

N = TypeVar("N")
E = TypeVar("E")
R = TypeVar("R")

Counter = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
TradeId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]

# The side of a trade is the MAKER's (official text); ours is the taker's.
TAKER: Final = {"BUY": Side.SELL, "SELL": Side.BUY}

_STATUS: Final = {
    "online": Status.ACTIVE,
    "offline": Status.HALTED,
    "delisted": Status.DELISTED,
}


class Envelope(msgspec.Struct, Generic[E], gc=False):
    """Around the events of every message; the number counts messages of the whole connection."""

    events: tuple[E, ...]
    timestamp: str = ""
    sequence_num: Counter | None = None


class TradeRow(msgspec.Struct, Generic[N], gc=False):
    """One trade; ids count up by one within a product."""

    trade_id: TradeId
    product_id: str
    price: N
    size: N
    time: str
    side: str = ""


class LevelRow(msgspec.Struct, Generic[N], gc=False):
    """One level; the quantity is absolute."""

    side: Literal["bid", "offer"]
    price_level: N
    new_quantity: N
    event_time: str = ""


class CandleRow(msgspec.Struct, Generic[N], gc=False):
    """One bucket as it stands; the start is in seconds."""

    start: Counter
    open: N
    high: N
    low: N
    close: N
    volume: N
    product_id: str


class StatusRow(msgspec.Struct, gc=False):
    """One product's state."""

    id: str
    status: str = ""
    status_message: str | None = None


class TradeEvent(msgspec.Struct, Generic[R], gc=False):
    """Trades; a snapshot repeats recent ones."""

    type: Literal["snapshot", "update"]
    rows: tuple[R, ...] = msgspec.field(name="trades")


class BookEvent(msgspec.Struct, Generic[N], gc=False):
    """Levels of one product."""

    type: Literal["snapshot", "update"]
    product_id: str
    updates: tuple[LevelRow[N], ...]


class CandleEvent(msgspec.Struct, Generic[R], gc=False):
    """Candles."""

    rows: tuple[R, ...] = msgspec.field(name="candles")


class StatusEvent(msgspec.Struct, Generic[R], gc=False):
    """States of products."""

    rows: tuple[R, ...] = msgspec.field(name="products")


class HeartbeatEvent(msgspec.Struct, gc=False):
    """A sign of life; the counter is a string in the documents and a number in practice."""

    heartbeat_counter: Counter


class SubscriptionEvent(msgspec.Struct, gc=False):
    """All that is subscribed now, by channel."""

    subscriptions: dict[str, list[str] | None]


class Arrival(msgspec.Struct, gc=False):
    """What an event's message says about when it came."""

    ts_recv: int
    timestamp: str
    sequence: int | None


def _decode(of: Any) -> Any:
    return msgspec.json.Decoder(of, strict=False).decode


class Decoders:
    """All decoders of a number type, built once: of whole messages, events and rows."""

    def __init__(self, number: type) -> None:
        raw = msgspec.Raw
        self.trades = _decode(Envelope[TradeEvent[TradeRow[number]]])
        self.trade_rows = _decode(TradeEvent[raw])
        self.trade_row = _decode(TradeRow[number])
        self.books = _decode(Envelope[BookEvent[number]])
        self.book = _decode(BookEvent[number])
        self.candles = _decode(Envelope[CandleEvent[CandleRow[number]]])
        self.candle_rows = _decode(CandleEvent[raw])
        self.candle_row = _decode(CandleRow[number])
        self.statuses = _decode(Envelope[StatusEvent[StatusRow]])
        self.status_rows = _decode(StatusEvent[raw])
        self.status_row = _decode(StatusRow)
        self.heartbeats = _decode(Envelope[HeartbeatEvent])
        self.heartbeat = _decode(HeartbeatEvent)
        self.subscriptions = _decode(Envelope[SubscriptionEvent])
        self.subscription = _decode(SubscriptionEvent)


DECODERS: Final = {number: Decoders(number) for number in (float, Decimal)}


class Channel:
    """Translates the events of one channel.

    `decode` reads a whole message, `decode_event` one event of it.
    """

    def __init__(self, known: Known, moments: Moments, decode: Any, decode_event: Any) -> None:
        self._known = known
        self._moments = moments
        self.decode = decode
        self._decode_event = decode_event

    def build(self, event: Any, arrival: Arrival) -> Sequence[Message]:
        """Translate an event; raise one of `UNREADABLE` on a row that cannot be true."""
        raise NotImplementedError

    def build_slowly(self, raw: bytes, arrival: Arrival) -> Sequence[Message]:
        """Translate what can be read of an event; raise one of `UNREADABLE` if nothing can."""
        return self.build(self._decode_event(raw), arrival)

    def _message_time(self, arrival: Arrival) -> int:
        """Return the time of the message, which is our own clock where the message has none."""
        if not arrival.timestamp:
            return arrival.ts_recv
        time = self._moments.read(arrival.timestamp)
        if not EARLIEST_US <= time <= latest_us(arrival.ts_recv):
            raise ValueError(f"timestamp {arrival.timestamp!r}")
        return time


class TradeChannel(Channel):
    """`market_trades`: batches of 250 ms, newest first within one."""

    def __init__(self, known: Known, moments: Moments, decoders: Decoders) -> None:
        super().__init__(known, moments, decoders.trades, decoders.trade_rows)
        self._decode_row = decoders.trade_row

    def build(self, event: TradeEvent[TradeRow[Number]], arrival: Arrival) -> Sequence[Message]:
        """Translate trades in the order of the wire."""
        ts_recv, latest = arrival.ts_recv, latest_us(arrival.ts_recv)
        read, is_recap = self._moments.read, event.type == "snapshot"
        native, contract = None, None
        trades: list[Message] = []
        for row in event.rows:
            price, size, time = row.price, row.size, read(row.time)
            if not (0 < price <= MOST and 0 < size <= MOST and EARLIEST_US <= time <= latest):
                raise ValueError(f"not a trade: {row}")
            if row.product_id != native:
                native = row.product_id
                contract = self._known[native]
            if contract is None:
                continue
            symbol, convert, _, others = contract
            base = size if convert is None else convert(size, price)
            side = TAKER.get(row.side, Side.UNKNOWN)
            trade = Trade(
                NAME, symbol, time, ts_recv, row.trade_id, price, base, side, None, is_recap
            )
            if others:
                trades += fan_out((trade,), others)
            else:
                trades.append(trade)
        return trades or (UNLISTED if event.rows else ())

    def build_slowly(self, raw: bytes, arrival: Arrival) -> Sequence[Message]:
        """Translate trades one by one."""
        event: TradeEvent[msgspec.Raw] = self._decode_event(raw)

        def read(row: bytes) -> Sequence[Message]:
            return self.build(TradeEvent(event.type, (self._decode_row(row),)), arrival)

        return read_rows(event.rows, read, None)


class BookChannel(Channel):
    """`level2`, whose messages say `l2_data`: a snapshot, then changes. Asks are `offer`."""

    def __init__(self, known: Known, moments: Moments, decoders: Decoders) -> None:
        super().__init__(known, moments, decoders.books, decoders.book)

    def build(self, event: BookEvent[Number], arrival: Arrival) -> Sequence[Message]:
        """Translate the levels of a product."""
        contract = self._known[event.product_id]
        if contract is None:
            return UNLISTED
        symbol, convert, _, others = contract
        bids: list[tuple[Number, Number]] = []
        asks: list[tuple[Number, Number]] = []
        add_bid, add_ask = bids.append, asks.append
        for row in event.updates:
            price, size = row.price_level, row.new_quantity
            if not (0 < price <= MOST and 0 <= size <= MOST):
                raise ValueError(f"not a level: {row}")
            if row.side == "bid":
                add_bid((price, size))
            else:
                add_ask((price, size))
        is_snapshot = event.type == "snapshot"
        if is_snapshot:
            bids.sort(reverse=True)
            asks.sort()
        book = Book(
            exchange=NAME,
            symbol=symbol,
            ts_event=self._time(event, arrival),
            ts_recv=arrival.ts_recv,
            is_snapshot=is_snapshot,
            bids=base_levels(bids, convert),
            asks=base_levels(asks, convert),
            sequence=arrival.sequence,
        )
        return fan_out((book,), others)

    def build_slowly(self, raw: bytes, arrival: Arrival) -> Sequence[Message]:
        """Refuse an event: a book with a level missing would be wrong without a sign of it."""
        try:
            return super().build_slowly(raw, arrival)
        except UNREADABLE as e:
            native = msgspec.json.decode(raw, type=_BookName).product_id
            contract = self._known[native]
            return (refused(raw, e, contract.symbol if contract else None),)

    def _time(self, event: BookEvent[Number], arrival: Arrival) -> int:
        """Return the time of the last level; snapshots may say 1970, which is no time."""
        text = event.updates[-1].event_time if event.updates else ""
        time = self._moments.read(text) if text else 0
        if time > latest_us(arrival.ts_recv):
            raise ValueError(f"event_time {text!r}")
        return time if time >= EARLIEST_US else self._message_time(arrival)


class _BookName(msgspec.Struct):
    product_id: str


class CandleChannel(Channel):
    """`candles`: buckets of five minutes, with no sign of being closed."""

    def __init__(self, known: Known, moments: Moments, decoders: Decoders) -> None:
        super().__init__(known, moments, decoders.candles, decoders.candle_rows)
        self._decode_row = decoders.candle_row

    def build(self, event: CandleEvent[CandleRow[Number]], arrival: Arrival) -> Sequence[Message]:
        """Translate candles."""
        candles: list[Message] = []
        for row in event.rows:
            start = row.start * US_PER_S
            if (
                not is_bar(row.open, row.high, row.low, row.close, row.volume)
                or not EARLIEST_US <= start <= latest_us(arrival.ts_recv)
                or CANDLE_INTERVAL.floor(start) != start
            ):
                raise ValueError(f"not a candle: {row}")
            contract = self._known[row.product_id]
            if contract is None:
                continue
            symbol, convert, _, others = contract
            candle = Candle(
                exchange=NAME,
                symbol=symbol,
                interval=CANDLE_INTERVAL,
                ts_event=start,
                ts_recv=arrival.ts_recv,
                open=row.open,
                high=row.high,
                low=row.low,
                close=row.close,
                volume=row.volume if convert is None else convert(row.volume, row.close),
            )
            candles += fan_out((candle,), others)
        return candles or (UNLISTED if event.rows else ())

    def build_slowly(self, raw: bytes, arrival: Arrival) -> Sequence[Message]:
        """Translate candles one by one."""

        def read(row: bytes) -> Sequence[Message]:
            return self.build(CandleEvent((self._decode_row(row),)), arrival)

        return read_rows(self._decode_event(raw).rows, read, None)


class StatusChannel(Channel):
    """`status`: the state of all products first, then of those that changed."""

    def __init__(self, known: Known, moments: Moments, decoders: Decoders) -> None:
        super().__init__(known, moments, decoders.statuses, decoders.status_rows)
        self._decode_row = decoders.status_row

    def build(self, event: StatusEvent[StatusRow], arrival: Arrival) -> Sequence[Message]:
        """Translate the states of the products we know."""
        time = self._message_time(arrival)
        found: list[Message] = []
        for row in event.rows:
            contract = self._known[row.id]
            if contract is None:
                continue
            detail = f"{row.status}: {row.status_message}" if row.status_message else row.status
            status = InstrumentStatus(
                exchange=NAME,
                symbol=contract.symbol,
                ts_event=time,
                ts_recv=arrival.ts_recv,
                status=_STATUS.get(row.status, Status.UNKNOWN),
                detail=detail[:500],
            )
            found += fan_out((status,), contract.others)
        return found or (UNLISTED if event.rows else ())

    def build_slowly(self, raw: bytes, arrival: Arrival) -> Sequence[Message]:
        """Translate states one by one."""

        def read(row: bytes) -> Sequence[Message]:
            return self.build(StatusEvent((self._decode_row(row),)), arrival)

        return read_rows(self._decode_event(raw).rows, read, None)


class HeartbeatChannel(Channel):
    """`heartbeats`: one a second, counted by the connection."""

    def __init__(self, known: Known, moments: Moments, decoders: Decoders) -> None:
        super().__init__(known, moments, decoders.heartbeats, decoders.heartbeat)

    def build(self, event: HeartbeatEvent, arrival: Arrival) -> Sequence[Message]:  # noqa: ARG002
        """Translate a heartbeat; its time is of a form of its own and not read."""
        return (Pong(event.heartbeat_counter),)


class SubscriptionChannel(Channel):
    """`subscriptions`: the answer to every request, with all that is subscribed now."""

    def __init__(self, known: Known, moments: Moments, decoders: Decoders) -> None:
        super().__init__(known, moments, decoders.subscriptions, decoders.subscription)

    def build(self, event: SubscriptionEvent, arrival: Arrival) -> Sequence[Message]:  # noqa: ARG002
        """Translate an answer."""
        topics = tuple(
            topic_name(channel, product)
            for channel, products in event.subscriptions.items()
            for product in products or ()
        )
        return (Ack(ok=True, topics=topics),)


def topic_name(channel: str, product: str) -> str:
    """Return how a channel of a product is called in `Request` and `Ack`."""
    return f"{channel}:{product}"
