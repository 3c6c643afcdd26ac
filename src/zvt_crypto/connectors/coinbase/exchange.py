"""Frames of the Coinbase Exchange feed to records, for recordings of it. Pure.

The institutional feed is another product on the same matching engine: one object per message,
no number of the connection (`sequence` counts the orders of a product, most of which are not
seen), and books of changes. Its `side` of a match is the maker's as well.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from zvt_crypto.connectors.coinbase.channel import TradeId, topic_name
from zvt_crypto.connectors.coinbase.moment import Moments
from zvt_crypto.connectors.coinbase.spec import NAME
from zvt_crypto.connectors.wire.level import base_levels, check_levels, is_sane
from zvt_crypto.connectors.wire.moment import EARLIEST_US, latest_us
from zvt_crypto.connectors.wire.refusal import MOST_RAW_CHARS, UNREADABLE, malformed, refused
from zvt_crypto.connectors.wire.target import UNLISTED, Known, Number, ToBase, fan_out
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.record import Book, Side, Trade
from zvt_crypto.ports.stream import Ack, Ignored, Message, Pong, Resolve

N = TypeVar("N")

# The maker's side on the wire.
_TAKER: Final = {"buy": Side.SELL, "sell": Side.BUY}

_IGNORED: Final = frozenset(
    {"activate", "auction", "change", "done", "open", "received", "status", "ticker"}
)


class _Subscribed(msgspec.Struct):
    name: str
    product_ids: list[str] | None = None


class _Head(msgspec.Struct, gc=False):
    type: str
    product_id: str = ""
    time: str = ""
    channels: list[_Subscribed] = []
    message: str | None = None
    reason: str | None = None


class _Match(msgspec.Struct, Generic[N], gc=False):
    type: str
    trade_id: TradeId
    side: Literal["buy", "sell"]
    price: N
    size: N


class _Snapshot(msgspec.Struct, Generic[N], gc=False):
    bids: tuple[tuple[N, N], ...]
    asks: tuple[tuple[N, N], ...]


class _Update(msgspec.Struct, Generic[N], gc=False):
    changes: tuple[tuple[Literal["buy", "sell"], N, N], ...]


_decode_head: Final = msgspec.json.Decoder(_Head).decode


def _decoders(number: type) -> dict[str, Any]:
    match = msgspec.json.Decoder(_Match[number], strict=False).decode
    return {
        "match": match,
        "last_match": match,
        "snapshot": msgspec.json.Decoder(_Snapshot[number], strict=False).decode,
        "l2update": msgspec.json.Decoder(_Update[number], strict=False).decode,
    }


_DECODERS: Final = {number: _decoders(number) for number in (float, Decimal)}


class ExchangeParser:
    """Reads the frames of one Exchange connection; see `ports.stream.FrameParser`."""

    def __init__(self, route: str, resolve: Resolve, *, exact: bool = False) -> None:
        self._known = Known(route, resolve, exact=exact)
        self._moments = Moments()
        self._decoders = _DECODERS[Decimal if exact else float]

    def parse(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Translate one frame; see `FrameParser.parse`.

        Raises:
            MalformedPayload: not JSON, not UTF-8, or of no type the exchange documents.

        Source:
            https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
        """
        try:
            frame.decode()
            head = _decode_head(frame)
        except UNREADABLE as e:
            raise malformed(NAME, e) from e
        if head.type in self._decoders:
            return self._data(head, frame, ts_recv)
        return (_session(head),)

    def _data(self, head: _Head, frame: bytes, ts_recv: int) -> Sequence[Message]:
        contract = self._known[head.product_id]
        if contract is None:
            return UNLISTED
        try:
            wire = self._decoders[head.type](frame)
            # Snapshots of older recordings have no time.
            time = self._moments.read(head.time) if head.time else ts_recv
            if head.time and not EARLIEST_US <= time <= latest_us(ts_recv):
                raise ValueError(f"time {head.time!r}")
            build: Any = _trade if isinstance(wire, _Match) else _book
            record = build(wire, contract.symbol, time, ts_recv, contract.convert)
        except UNREADABLE as e:
            return (refused(frame, e, contract.symbol),)
        return fan_out((record,), contract.others)


def _trade(
    wire: _Match[Number], symbol: str, time: int, ts_recv: int, convert: ToBase | None
) -> Trade:
    price, size = wire.price, wire.size
    if not is_sane(price, size) or time < EARLIEST_US:
        raise ValueError(f"not a trade: {wire}")
    base = size if convert is None else convert(size, price)
    return Trade(
        exchange=NAME,
        symbol=symbol,
        ts_event=time,
        ts_recv=ts_recv,
        trade_id=wire.trade_id,
        price=price,
        size=base,
        side=_TAKER[wire.side],
        is_recap=wire.type == "last_match",
    )


def _book(
    wire: _Snapshot[Number] | _Update[Number],
    symbol: str,
    time: int,
    ts_recv: int,
    convert: ToBase | None,
) -> Book:
    if isinstance(wire, _Snapshot):
        bids, asks = tuple(sorted(wire.bids, reverse=True)), tuple(sorted(wire.asks))
    else:
        bids = tuple((price, size) for side, price, size in wire.changes if side == "buy")
        asks = tuple((price, size) for side, price, size in wire.changes if side == "sell")
    check_levels(bids)
    check_levels(asks)
    return Book(
        exchange=NAME,
        symbol=symbol,
        ts_event=time,
        ts_recv=ts_recv,
        is_snapshot=isinstance(wire, _Snapshot),
        bids=base_levels(bids, convert),
        asks=base_levels(asks, convert),
    )


def _session(head: _Head) -> Message:
    match head.type:
        case "heartbeat":  # of a product; its sequence counts orders
            return Pong()
        case "subscriptions":
            topics = tuple(
                topic_name(one.name, product)
                for one in head.channels
                for product in one.product_ids or ()
            )
            return Ack(ok=True, topics=topics)
        case "error":
            detail = ": ".join(text for text in (head.message, head.reason) if text)
            return Ack(ok=False, detail=detail[:MOST_RAW_CHARS])
        case _ if head.type in _IGNORED:
            return Ignored(head.type)
        case _:
            raise MalformedPayload(NAME, "frame", f"type {head.type[:80]!r}")
