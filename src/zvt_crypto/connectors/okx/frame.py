"""Frames of OKX's public and business sockets to records. Pure.

A push is told by its channel and decoded once, straight into the rows it should hold. Whatever
does not fit is read again row by row, which tells a row to refuse from a frame nobody can read.

Source: https://www.okx.com/docs-v5/en/#overview-websocket
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from zvt_crypto.connectors.okx.push import CHANNELS, Arg, Frame, Make
from zvt_crypto.connectors.okx.spec import NAME
from zvt_crypto.connectors.wire.amount import decoder
from zvt_crypto.connectors.wire.refusal import UNREADABLE, clipped, malformed, refused
from zvt_crypto.connectors.wire.target import Known
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.ports.stream import Ack, Ignored, Message, Notice, Pong, Resolve

_CHANNEL_STARTS: Final = len(b'{"arg":{"channel":"')
_CHANNEL_ENDS: Final = _CHANNEL_STARTS + 40
"""Where the channel's name stands in a push as OKX writes it."""

_PONG: Final = b"pong"
_UPGRADE: Final = "64008"

# Of messages like "Wrong URL or channel:trades,instId:NO-NE doesn't exist."
_NAMED: Final = re.compile(r"channel[:=]([\w-]{1,40}),\s*(?:instId|instType)[:=]([\w$-]{1,40})")

_UNUSED: Final = frozenset(
    {
        "adl-warning",
        "block-tickers",
        "call-auction-details",
        "economic-calendar",
        "estimated-price",
        "index-tickers",
        "opt-summary",
        "option-trades",
        "price-limit",
        "public-block-trades",
        "public-struc-block-trades",
        "sprd-bbo-tbt",
        "sprd-books-l2-tbt",
        "sprd-books5",
        "sprd-public-trades",
        "sprd-tickers",
        "status",
    }
)
_CANDLES: Final = ("candle", "index-candle", "mark-price-candle", "sprd-candle")
_PRIVATE: Final = frozenset(
    {
        "account",
        "account-greeks",
        "algo-advance",
        "algo-recurring-buy",
        "balance_and_position",
        "copytrading-notification",
        "deposit-info",
        "fills",
        "grid-orders-contract",
        "grid-orders-spot",
        "grid-positions",
        "grid-sub-orders",
        "liquidation-warning",
        "orders",
        "orders-algo",
        "positions",
        "quotes",
        "rfqs",
        "sprd-orders",
        "sprd-trades",
        "struc-block-trades",
        "withdrawal-info",
    }
)

_Fields = dict[str, msgspec.Raw]

_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_arg: Final = msgspec.json.Decoder(Arg).decode


class _Event(msgspec.Struct):
    event: str
    id: str | None = None
    code: str = ""
    msg: str = ""
    arg: Arg | None = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode


class _Head(msgspec.Struct):
    arg: Arg
    data: list[msgspec.Raw]
    action: str | None = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


class OkxParser:
    """Reads the frames of one OKX connection, public or business."""

    def __init__(self, route: str, resolve: Resolve, *, exact: bool = False) -> None:
        """Build the decoders.

        Args:
            route: name of the connection's route, handed to `resolve`.
            resolve: native ids to instruments.
            exact: numbers become `Decimal` of the wire's text.
        """
        self._known = Known(route, resolve, exact=exact)
        kinds = {row for row, _ in CHANNELS.values()}
        frames = {row: _frame_decoder(row, exact=exact) for row in kinds}
        rows = {row: _row_decoder(row, exact=exact) for row in kinds}
        self._live = {name.encode(): (frames[row], make) for name, (row, make) in CHANNELS.items()}
        self._rows = {name: (rows[row], make) for name, (row, make) in CHANNELS.items()}

    def parse(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Translate one frame; see `FrameParser.parse`.

        A trade of `trades-all` has no `fills`, one of `trades` has. A quote of `bbo-tbt` has a
        `sequence`, one of `tickers` none. A checksum is not looked at: OKX sends zero since 2026.

        Raises:
            MalformedPayload: not JSON, not UTF-8, or of no type OKX documents.
        """
        try:
            name = frame[_CHANNEL_STARTS : frame.find(b'"', _CHANNEL_STARTS, _CHANNEL_ENDS)]
            decode, make = self._live[name]
            push = decode(frame)
            rows = push.data
            if len(rows) == 1:
                return make(push, rows[0], ts_recv, self._known)
            return [m for row in rows for m in make(push, row, ts_recv, self._known)]
        except UNREADABLE:
            return self._read_slowly(frame, ts_recv)

    def _read_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        if frame == _PONG:
            return (Pong(),)
        try:
            frame.decode()
            top = _decode_fields(frame)
            if "event" in top:
                return _read_event(frame)
            if "arg" in top and "data" in top:
                return self._read_push(_decode_head(frame), ts_recv)
            if "op" in top:
                return (Ignored("private operation"),)
        except UNREADABLE as error:
            raise malformed(NAME, error) from None
        raise MalformedPayload(NAME, "frame", f"none of the documented keys: {clipped(frame)}")

    def _read_push(self, head: _Head, ts_recv: int) -> Sequence[Message]:
        channel = head.arg.channel
        if channel not in self._rows:
            return _without_record(channel)
        decode, make = self._rows[channel]
        push = Frame[Any](head.arg, [], head.action)
        messages: list[Message] = []
        for data in head.data:
            try:
                messages += make(push, decode(data), ts_recv, self._known)
            except UNREADABLE as error:
                messages += self._without_detail(push, data, ts_recv, make, error)
        return messages

    def _without_detail(
        self, push: Frame[Any], data: msgspec.Raw, ts_recv: int, make: Make, error: Exception
    ) -> Sequence[Message]:
        """Refuse a row; of liquidations only the orders that cannot be read."""
        raw = bytes(data)
        native = push.arg.instId
        if not raw.startswith(b"{"):
            return (refused(raw, error, self._symbol(native)),)
        fields = _decode_fields(raw)
        if "instId" in fields:
            native = msgspec.json.decode(fields["instId"], type=str)
        refusal = refused(raw, error, self._symbol(native))
        if "details" not in fields:
            return (refusal,)
        details = _decode_items(fields["details"])
        if len(details) < 2:  # noqa: PLR2004 - one alone is what was refused
            return (refusal,)
        messages: list[Message] = []
        decode = self._rows["liquidation-orders"][0]
        for detail in details:
            one = msgspec.json.encode({"instId": native, "details": [msgspec.Raw(bytes(detail))]})
            try:
                messages += make(push, decode(one), ts_recv, self._known)
            except UNREADABLE as trouble:
                messages.append(refused(one, trouble, self._symbol(native)))
        return messages

    def _symbol(self, native: str) -> str | None:
        found = self._known[native]
        return found.symbol if found else None


def topic_of(arg: Arg) -> str:
    """Return the topic a subscription's `arg` stands for: `channel:instId`, or by type."""
    about = arg.instId or arg.instType
    return f"{arg.channel}:{about}" if about else arg.channel


def _row_decoder(row: Any, *, exact: bool) -> Callable[..., Any]:
    return decoder(lambda p, z: row[p, z], exact=exact)


def _frame_decoder(row: Any, *, exact: bool) -> Callable[[bytes], Any]:
    return decoder(lambda p, z: Frame[row[p, z]], exact=exact)


def _read_event(frame: bytes) -> Sequence[Message]:
    event = _decode_event(frame)
    if event.event in ("subscribe", "unsubscribe"):
        topics = (topic_of(event.arg),) if event.arg else ()
        return (Ack(ok=True, request=event.id, topics=topics, detail=event.event),)
    if event.event == "error":
        named = _NAMED.search(event.msg)
        topics = (f"{named[1]}:{named[2]}",) if named else ()
        topics = (topic_of(event.arg),) if event.arg else topics
        return (
            Ack(
                ok=False,
                request=event.id,
                topics=topics,
                code=event.code[:20],
                detail=event.msg[:300],
            ),
        )
    if event.event == "notice" and event.code == _UPGRADE:
        return (Notice(event.msg[:300]),)
    return (Ignored("event without a use"),)


def _without_record(channel: str) -> Sequence[Message]:
    if channel in _UNUSED:
        return (Ignored(channel),)
    if channel in _PRIVATE:
        return (Ignored(f"private {channel}"),)
    if channel.startswith(_CANDLES):
        return (Ignored("candle of another width or price"),)
    raise ValueError(f"a channel {channel[:40]!r} that is not documented")
