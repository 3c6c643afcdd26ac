"""Frames of one Bybit connection to records. Pure.

A frame is data of a topic, or an answer to a request. The topic is looked for where the exchange
writes it first; where it does not (the order of keys differs between products), the frame is
decoded to find it. A topic met for the first time gets a feed (see `feed`), which reads all its
later frames.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from zvt_crypto.connectors.bybit.feed import (
    BookFeed,
    CandleFeed,
    Decoders,
    Feed,
    LiquidationFeed,
    QuoteFeed,
    TradeFeed,
)
from zvt_crypto.connectors.bybit.spec import (
    BYBIT,
    DEPTHS,
    NAME,
    OLD_DEPTHS,
    OTHER_INTERVALS,
    OTHER_TOPICS,
)
from zvt_crypto.connectors.bybit.ticker import TickerFeed
from zvt_crypto.connectors.wire.refusal import MOST_RAW_CHARS, UNREADABLE, malformed
from zvt_crypto.connectors.wire.target import UNLISTED, Contract, Known
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.stream import Ack, Ignored, Message, Pong, Resolve

_TOPIC: Final = b'{"topic":"'
_TOPIC_AT: Final = len(_TOPIC)
# In `Invalid symbol :[orderbook.50.NOSUCHSYM]`, for one.
_TOPIC_IN_TEXT: Final = re.compile(r"\b[A-Za-z]+(?:\.[A-Za-z0-9_-]+)+")

_INTERVALS: Final = {native: interval for interval, native in BYBIT.intervals.items()}
_DEPTHS: Final = frozenset(str(depth) for depth in (*DEPTHS, *OLD_DEPTHS))

# Documented, and of no use: books with hidden orders, of all levels; widths that are none of ours.
_OTHER_SHAPES: Final = frozenset(
    {"orderbook.rpi", "orderbook.full", *(f"kline.{interval}" for interval in OTHER_INTERVALS)}
)

_DECODERS: Final = {number: Decoders(number) for number in (float, Decimal)}


class _Head(msgspec.Struct, gc=False):
    """What tells frames apart, of data and of answers alike."""

    topic: str | None = None
    op: str | None = None
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | None = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


class BybitParser:
    """Reads the frames of one public connection; see `ports.stream.FrameParser`.

    Data may come before the answer to its subscription. Ids `resolve` does not know are ignored,
    and asked for again with the next frame.
    """

    def __init__(self, route: str, resolve: Resolve, *, exact: bool = False) -> None:
        self._route = route
        self._known = Known(route, resolve, exact=exact)
        self._decoders = _DECODERS[Decimal if exact else float]
        # As many as known instruments have topics: those of others are not kept.
        self._feeds: dict[bytes, Feed] = {}

    def parse(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Translate one frame; see `FrameParser.parse`.

        Raises:
            MalformedPayload: not JSON, not UTF-8, or of no type the exchange documents.

        Source:
            https://bybit-exchange.github.io/docs/v5/ws/connect
        """
        try:
            if not frame.isascii():
                frame.decode()  # decoders do not look at text they skip
            if frame.startswith(_TOPIC):
                feed = self._feeds.get(frame[_TOPIC_AT : frame.find(b'"', _TOPIC_AT)])
                if feed is not None:
                    return feed.read(frame, ts_recv)
        except UNREADABLE:
            pass
        return self._parse_slowly(frame, ts_recv)

    def _parse_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        try:
            frame.decode()
            head = _decode_head(frame)
            if head.topic is None:
                return (_answer(head),)
            found = self._feed(head.topic)
            return found if isinstance(found, Sequence) else found.read_slowly(frame, ts_recv)
        except UNREADABLE as e:
            raise malformed(NAME, e) from e

    def _feed(self, topic: str) -> Feed | Sequence[Message]:
        """Return what reads a topic, or what is said of a frame that nothing reads."""
        feed = self._feeds.get(topic.encode())
        if feed is not None:
            return feed
        word, _, rest = topic.partition(".")
        middle, _, native = rest.rpartition(".")
        if not self._reads(word, middle):
            if word in OTHER_TOPICS or f"{word}.{middle}" in _OTHER_SHAPES:
                return (Ignored(word),)
            raise MalformedPayload(NAME, "frame", f"topic {topic[:80]!r}")
        contract = self._known[native]
        if contract is None:
            return UNLISTED
        feed = self._feeds[topic.encode()] = self._new_feed(word, middle, native, contract)
        return feed

    def _reads(self, word: str, middle: str) -> bool:
        """Return whether topics of this shape become records."""
        match word:
            case "publicTrade" | "allLiquidation":
                return not middle
            case "trade":  # a spelling of old recordings that names the category
                return middle == self._route
            case "orderbook":
                return middle == "1" or middle in _DEPTHS
            case "kline":
                return middle in _INTERVALS
            case "tickers":  # spot has neither quotes nor anything of a perpetual in it
                return not middle and self._route != Market.SPOT
            case _:
                return False

    def _new_feed(self, word: str, middle: str, native: str, contract: Contract) -> Feed:
        decoders = self._decoders
        match word:
            case "orderbook":
                kind = QuoteFeed if middle == "1" else BookFeed
                return kind(native, contract, decoders)
            case "kline":
                return CandleFeed(native, contract, decoders, _INTERVALS[middle], middle)
            case "tickers":
                return TickerFeed(native, contract, decoders.number)
            case "allLiquidation":
                return LiquidationFeed(native, contract, decoders)
            case _:
                return TradeFeed(native, contract, decoders)


def _answer(head: _Head) -> Message:
    """Translate an answer to a request.

    A refusal may lack the id of its request (spot, recorded) and then names the topic that is
    wrong in its text; the other topics of the request were refused with it.
    The answer to `ping` says `pong` in `ret_msg` and keeps the `op` on spot, linear and inverse,
    while others answer with the `op` `pong`.
    """
    if head.op == "pong" or (head.op == "ping" and head.success is not False):
        return Pong()
    if head.op == "auth" or (head.op or "").startswith("order."):
        return Ignored("private")
    if head.success is None:
        raise MalformedPayload(NAME, "frame", f"no topic, and op {(head.op or '')[:80]!r}")
    detail = (head.ret_msg or "")[:MOST_RAW_CHARS]
    topics = () if head.success else tuple(_TOPIC_IN_TEXT.findall(detail))
    return Ack(
        ok=head.success,
        request=head.req_id or None,
        topics=topics,
        detail=detail,
        is_whole=not head.success,
    )
