"""Frames of Binance's market streams to records. Pure.

A frame of a live stream is told by one byte of its stream's name and decoded once, straight into
the row it should hold. Whatever does not fit is read again step by step, which tells a row to
refuse from a frame to ignore and from one that nobody can read.

Sources: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from zvt_crypto.connectors.binance.event import (
    EVENTS,
    OFF_MARKET,
    ON_MARKET,
    DepthUpdate,
    Make,
    PartialDepth,
    partial_records,
    top_records,
)
from zvt_crypto.connectors.binance.spec import NAME
from zvt_crypto.connectors.wire.amount import decoder
from zvt_crypto.connectors.wire.refusal import UNREADABLE, clipped, malformed, refused
from zvt_crypto.connectors.wire.target import Known
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.ports.stream import Ack, Ignored, Message, Notice, Resolve

R = TypeVar("R")

_STREAM_STARTS: Final = len(b'{"stream":"')
_LONGEST_NAME: Final = 80
"""Where the name of a stream begins in a combined frame, and how far its @ is looked for."""

_DEPTH: Final = b"@depth"
_DIGITS: Final = b"0123456789"
"""`@depth20` is the top of a book, `@depth` and `@depth@100ms` are changes to it."""

_LIVE: Final = {
    b"a"[0]: "aggTrade",
    b"t"[0]: "trade",
    b"b"[0]: "bookTicker",
    b"d"[0]: "depthUpdate",
    b"k"[0]: "kline",
    b"m"[0]: "markPriceUpdate",
    b"f"[0]: "forceOrder",
}
"""The event to expect, by the byte after the @; `@ticker` and `@miniTicker` take the slow way."""

_UNUSED: Final = frozenset(
    {
        "24hrTicker",
        "24hrMiniTicker",
        "1hTicker",
        "4hTicker",
        "1dTicker",
        "avgPrice",
        "referencePrice",
        "blockTrade",
        "continuous_kline",
        "indexPrice_kline",
        "markPrice_kline",
        "indexPriceUpdate",
        "compositeIndex",
        "assetIndexUpdate",
        "tradingSession",
        "EquityUpdate",
        "NoTradingUpdate",
    }
)
_PRIVATE: Final = frozenset(
    {
        "outboundAccountPosition",
        "balanceUpdate",
        "executionReport",
        "listStatus",
        "externalLockUpdate",
        "eventStreamTerminated",
        "listenKeyExpired",
        "ACCOUNT_UPDATE",
        "ACCOUNT_CONFIG_UPDATE",
        "ORDER_TRADE_UPDATE",
        "TRADE_LITE",
        "ALGO_UPDATE",
        "MARGIN_CALL",
        "STRATEGY_UPDATE",
        "GRID_UPDATE",
        "CONDITIONAL_ORDER_TRIGGER_REJECT",
    }
)
_SHUTDOWN: Final = "serverShutdown"
_TICKER_KEYS: Final = frozenset("usbBaA")
_TOP_KEYS: Final = frozenset({"lastUpdateId", "bids", "asks"})

_Fields = dict[str, msgspec.Raw]

_decode_top: Final = msgspec.json.Decoder(_Fields | list[msgspec.Raw]).decode
_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


class _Frame(msgspec.Struct, Generic[R], gc=False):
    data: R


class _Answer(msgspec.Struct):
    id: int | str | None = None
    code: int | None = None
    msg: str = ""


class BinanceParser:
    """Reads the frames of one Binance connection, combined or raw, of any route."""

    def __init__(self, route: str, resolve: Resolve, *, exact: bool = False) -> None:
        """Build the decoders.

        Args:
            route: name of the connection's route, handed to `resolve`.
            resolve: native ids to instruments.
            exact: numbers become `Decimal` of the wire's text.
        """
        self._known = Known(route, resolve, exact=exact)
        self._rows = {
            name: (_row_decoder(row, exact=exact), make) for name, (row, make) in EVENTS.items()
        }
        self._live = {
            letter: (_frame_decoder(EVENTS[name][0], exact=exact), EVENTS[name][1])
            for letter, name in _LIVE.items()
        }
        self._decode_partial = _row_decoder(PartialDepth, exact=exact)

    def parse(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Translate one frame; see `FrameParser.parse`.

        An `@aggTrade` becomes a `Trade` with `fills`, an `@trade` one without. On a raw socket the
        top of a futures book cannot be told from changes: it is read as changes.

        Raises:
            MalformedPayload: not JSON, not UTF-8, or of no type Binance documents.
        """
        try:
            at = frame.find(b"@", _STREAM_STARTS, _LONGEST_NAME)
            decode, make = self._live[frame[at + 1]]
            return make(decode(frame).data, ts_recv, self._known)
        except UNREADABLE:
            return self._read_slowly(frame, ts_recv)

    def _read_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        try:
            frame.decode()
            top = _decode_top(frame)
            if isinstance(top, list):
                return self._read_all(top, "", ts_recv)
            if "stream" in top and "data" in top:
                return self._read_combined(top, ts_recv)
            if "event" in top:
                return self._read_one(top["event"], "", ts_recv)
            if "e" in top or top.keys() >= _TICKER_KEYS or top.keys() >= _TOP_KEYS:
                return self._read_one(msgspec.Raw(frame), "", ts_recv)
            if "result" in top or "error" in top or "code" in top:
                return _answer(frame, top)
        except UNREADABLE as error:
            raise malformed(NAME, error) from None
        raise MalformedPayload(NAME, "frame", f"none of the documented keys: {clipped(frame)}")

    def _read_combined(self, top: _Fields, ts_recv: int) -> Sequence[Message]:
        stream = _decode_text(top["stream"])
        data = top["data"]
        if bytes(data).startswith(b"["):
            return self._read_all(_decode_items(data), stream, ts_recv)
        return self._read_one(data, stream, ts_recv)

    def _read_all(
        self, items: Sequence[msgspec.Raw], stream: str, ts_recv: int
    ) -> Sequence[Message]:
        """Read the events of an array; one that cannot be read does not take the others along."""
        messages: list[Message] = []
        for item in items:
            try:
                messages += self._read_one(item, stream, ts_recv)
            except (*UNREADABLE, MalformedPayload) as error:
                messages.append(refused(bytes(item), error))
        return messages

    def _read_one(self, data: msgspec.Raw, stream: str, ts_recv: int) -> Sequence[Message]:
        fields = _decode_fields(data)
        native, _, channel = stream.partition("@")
        if channel.startswith("rpiDepth"):
            return (Ignored("book with orders for retail only"),)
        if "e" in fields:
            name = _decode_text(fields["e"])
        elif fields.keys() >= _TICKER_KEYS:
            name = "bookTicker"
        elif fields.keys() >= _TOP_KEYS:
            return self._read_partial(native.upper(), data, ts_recv)
        else:
            raise ValueError("an event without its name")
        if name == "trade" and _decode_text(fields.get("X", b'"MARKET"')) != ON_MARKET:
            return OFF_MARKET
        if name == "depthUpdate" and _is_top(channel):
            return self._try(self._rows[name][0], top_records, data, fields, ts_recv)
        if name in self._rows:
            return self._try(*self._rows[name], data, fields, ts_recv)
        return _without_record(name)

    def _read_partial(self, native: str, data: msgspec.Raw, ts_recv: int) -> Sequence[Message]:
        if not native:
            return (refused(bytes(data), "the top of a book without its stream's name"),)
        try:
            return partial_records(native, self._decode_partial(data), ts_recv, self._known)
        except UNREADABLE as error:
            return (refused(bytes(data), error, self._symbol(native)),)

    def _try(
        self,
        decode: Callable[..., Any],
        make: Make,
        data: msgspec.Raw,
        fields: _Fields,
        ts_recv: int,
    ) -> Sequence[Message]:
        try:
            return make(decode(data), ts_recv, self._known)
        except UNREADABLE as error:
            inner = _decode_fields(fields["o"]) if "s" not in fields and "o" in fields else fields
            native = _decode_text(inner["s"]) if "s" in inner else ""
            return (refused(bytes(data), error, self._symbol(native)),)

    def _symbol(self, native: str) -> str | None:
        found = self._known[native]
        return found.symbol if found else None


def _row_decoder(row: Any, *, exact: bool) -> Callable[..., Any]:
    return decoder(lambda p, z: row[p, z], exact=exact)


def _frame_decoder(row: Any, *, exact: bool) -> Callable[[bytes], Any]:
    decode = decoder(lambda p, z: _Frame[row[p, z]], exact=exact)
    if row is not DepthUpdate:
        return decode

    def decode_changes(frame: bytes) -> Any:
        if frame[frame.find(_DEPTH, _STREAM_STARTS, _LONGEST_NAME) + len(_DEPTH)] in _DIGITS:
            raise ValueError("the top of a book, not changes to it")
        return decode(frame)

    return decode_changes


def _is_top(channel: str) -> bool:
    return channel.startswith("depth") and channel[5:6].isdecimal()


def _without_record(name: str) -> Sequence[Message]:
    if name == _SHUTDOWN:
        return (Notice(_SHUTDOWN),)
    if name in _UNUSED:
        return (Ignored(name),)
    if name in _PRIVATE:
        return (Ignored(f"private {name}"),)
    raise ValueError(f"an event {name[:40]!r} that is not documented")


def _answer(frame: bytes, top: _Fields) -> Sequence[Message]:
    answer = msgspec.json.decode(frame, type=_Answer)
    request = None if answer.id is None else str(answer.id)
    if "error" in top:
        inner = msgspec.json.decode(top["error"], type=_Answer)
        return (Ack(ok=False, request=request, code=str(inner.code or ""), detail=inner.msg[:200]),)
    if "result" not in top:
        code = "" if answer.code is None else str(answer.code)
        return (Ack(ok=False, request=request, code=code, detail=answer.msg[:200]),)
    topics = msgspec.json.decode(top["result"], type=list[str] | bool | None)
    named = tuple(topics) if isinstance(topics, list) else ()
    return (Ack(ok=True, request=request, topics=named),)
