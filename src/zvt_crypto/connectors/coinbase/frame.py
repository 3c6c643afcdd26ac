"""Frames of one Advanced Trade connection to records. Pure.

One number counts the messages of a connection over all channels and products, subscriptions and
heartbeats included (the documents say per product; the recordings and others' logs show that it
is not). The parser keeps it: a jump is told before the records of the frame, a number met before
means that the frame is a repetition.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from zvt_crypto.connectors.coinbase.channel import (
    DECODERS,
    Arrival,
    BookChannel,
    CandleChannel,
    Channel,
    Counter,
    Envelope,
    HeartbeatChannel,
    StatusChannel,
    SubscriptionChannel,
    TradeChannel,
)
from zvt_crypto.connectors.coinbase.moment import Moments
from zvt_crypto.connectors.coinbase.spec import NAME, OTHER_CHANNELS
from zvt_crypto.connectors.wire.refusal import MOST_RAW_CHARS, UNREADABLE, malformed, refused
from zvt_crypto.connectors.wire.target import Known
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.ports.stream import Ack, Ignored, Message, Resolve, SequenceBreak

_CHANNEL: Final = b'{"channel":"'
_CHANNEL_AT: Final = len(_CHANNEL)

_MOST_LOST: Final = 1_000_000
"""A jump by more is no loss but a broken number: believing it would deafen the parser."""

_REPEATED: Final = (Ignored("repeated"),)


class _Head(msgspec.Struct, gc=False):
    """What tells frames apart; errors have a type and no channel."""

    channel: str | None = None
    timestamp: str = ""
    sequence_num: Counter | None = None
    events: list[msgspec.Raw] = []
    type: str | None = None
    message: str | None = None
    reason: str | None = None


_decode_head: Final = msgspec.json.Decoder(_Head, strict=False).decode


class CoinbaseParser:
    """Reads the frames of one Advanced Trade connection; see `ports.stream.FrameParser`.

    Trades come in the order of the wire, newest first within one event; those that repeat the
    time before the subscription are marked `is_recap`.
    """

    def __init__(self, route: str, resolve: Resolve, *, exact: bool = False) -> None:
        known, moments = Known(route, resolve, exact=exact), Moments()
        decoders = DECODERS[Decimal if exact else float]
        self._expected: int | None = None
        self._channels: dict[bytes, Channel] = {
            b"l2_data": BookChannel(known, moments, decoders),
            b"market_trades": TradeChannel(known, moments, decoders),
            b"candles": CandleChannel(known, moments, decoders),
            b"status": StatusChannel(known, moments, decoders),
            b"heartbeats": HeartbeatChannel(known, moments, decoders),
            b"subscriptions": SubscriptionChannel(known, moments, decoders),
        }

    def parse(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Translate one frame; see `FrameParser.parse`.

        Raises:
            MalformedPayload: not JSON, not UTF-8, or of no type the exchange documents.

        Source:
            https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
        """
        try:
            if not frame.isascii():
                frame.decode()  # decoders do not look at text they skip
            if frame.startswith(_CHANNEL):
                end = frame.find(b'"', _CHANNEL_AT)
                channel = self._channels.get(frame[_CHANNEL_AT:end])
                if channel is not None:
                    wire = channel.decode(frame)
                    arrival = Arrival(ts_recv, wire.timestamp, wire.sequence_num)
                    return self._counted(wire.sequence_num, _build(channel, wire, arrival))
        except UNREADABLE:
            pass
        return self._parse_slowly(frame, ts_recv)

    def _parse_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        try:
            frame.decode()
            head = _decode_head(frame)
        except UNREADABLE as e:
            raise malformed(NAME, e) from e
        if head.channel is None:
            return (_answer(head),)
        arrival = Arrival(ts_recv, head.timestamp, head.sequence_num)
        return self._counted(head.sequence_num, self._read_events(head, arrival))

    def _read_events(self, head: _Head, arrival: Arrival) -> Sequence[Message]:
        name = head.channel or ""
        channel = self._channels.get(name.encode())
        if channel is None:
            return (Ignored(name if name in OTHER_CHANNELS else "unknown channel"),)
        messages: list[Message] = []
        for raw in head.events:
            event = bytes(raw)
            try:
                messages.extend(channel.build_slowly(event, arrival))
            except UNREADABLE as e:
                messages.append(refused(event, e))
        return messages

    def _counted(self, received: int | None, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages of a frame, with what its number says before them."""
        if received is None:
            return messages
        expected = self._expected
        if expected is not None and received != expected:
            if received < expected:
                return _REPEATED
            if received - expected > _MOST_LOST:
                raise MalformedPayload(NAME, "frame", f"number {received}, {expected} is next")
            messages = (SequenceBreak(expected, received), *messages)
        self._expected = received + 1
        return messages


def _build(channel: Channel, wire: Envelope[Any], arrival: Arrival) -> Sequence[Message]:
    if len(wire.events) == 1:
        return channel.build(wire.events[0], arrival)
    return [message for event in wire.events for message in channel.build(event, arrival)]


def _answer(head: _Head) -> Message:
    """Translate an error, the only message without a channel; it does not say what it is about."""
    if head.type != "error":
        raise MalformedPayload(NAME, "frame", f"no channel, and type {(head.type or '')[:80]!r}")
    detail = ": ".join(text for text in (head.message, head.reason) if text)
    return Ack(ok=False, detail=detail[:MOST_RAW_CHARS])
