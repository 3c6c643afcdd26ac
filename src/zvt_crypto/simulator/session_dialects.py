"""The four exchanges as the replay of a recording knows them; see `session_dialect.py`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import msgspec

from zvt_crypto.simulator.instrument import Kind
from zvt_crypto.simulator.session_dialect import (
    CONNECTION_ID,
    Ask,
    Dialect,
    Heard,
    Part,
    Replies,
    read_request,
    texts,
    with_id,
    write,
)

# -- Binance --------------------------------------------------------------------------------------


class _BinanceCandle(msgspec.Struct):
    i: str = ""


class _BinanceEvent(msgspec.Struct):
    stream: str = ""
    e: str = ""
    s: str = ""
    k: _BinanceCandle | None = None
    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    code: int | None = None
    b: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _BinanceCombined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_BINANCE_KINDS: Final = {
    "depthUpdate": "depth", "markPriceUpdate": "markPrice", "24hrTicker": "ticker",
    "24hrMiniTicker": "miniTicker",
}  # fmt: skip
_read_binance: Final = msgspec.json.Decoder(_BinanceEvent).decode
_read_combined: Final = msgspec.json.Decoder(_BinanceCombined).decode


class BinanceDialect(Dialect):
    """Streams by name; `/stream` wraps them, `/ws` does not."""

    name = "binance"

    kinds: ClassVar[Mapping[str, Kind]] = {"spot": Kind.SPOT, "usdm": Kind.LINEAR}

    def hear(self, text: str) -> Heard:
        """Return the stream's name, or the event's kind where the frame is not wrapped."""
        try:
            event = _read_binance(text)
        except msgspec.DecodeError:
            return Heard(Part.DATA)
        if event.stream:
            return Heard(Part.DATA, (event.stream,))
        if event.error is not msgspec.UNSET or event.code is not None:
            return Heard(Part.REPLY, ok=False)
        if event.result is not msgspec.UNSET:
            return Heard(Part.REPLY)
        kind = _BINANCE_KINDS.get(event.e, event.e)
        if not kind and event.b is not msgspec.UNSET:
            kind = "bookTicker"  # spot's says neither what it is nor when it was
        if not (kind and event.s):
            return Heard(Part.DATA)
        detail = f"_{event.k.i}" if event.k is not None else ""
        return Heard(Part.DATA, (f"{event.s.lower()}@{kind}{detail}",))

    def instrument(self, topic: str) -> str:
        """Return the symbol, which names of streams write small."""
        return topic.partition("@")[0].upper()

    def ask(self, text: str) -> Ask:
        """Return a request; `params` are names of streams."""
        value = read_request(text)
        verbs = {"SUBSCRIBE": "subscribe", "UNSUBSCRIBE": "unsubscribe",
                 "LIST_SUBSCRIPTIONS": "list"}  # fmt: skip
        verb = verbs.get(str(value.get("method")), "other")
        return Ask(verb, texts(value.get("params")), value, text)

    def answer(self, ask: Ask, replies: Replies, subscribed: Sequence[str]) -> list[str]:
        """Return `{"result":null,"id":1}`; Binance accepts any stream, known or not."""
        if not isinstance(ask.value, dict) or "method" not in ask.value:
            return [write({"code": 2, "msg": "Invalid request: request must be an object"})]
        number = ask.value.get("id")
        if ask.verb == "list":
            return [write({"result": list(subscribed), "id": number})]
        if replies.success and ask.verb != "other":
            return [with_id(replies.success, "id", {"id": number})]
        return [write({"result": None, "id": number})]

    def family(self, host: str, path: Sequence[str]) -> str:
        """Return spot, USD-M or COIN-M; a path without a market's word may be any of them."""
        word = host.partition(".")[0].removeprefix("demo-")
        words = {word, *path[:1]}
        if words & {"fstream", "public", "market", "private"}:
            return "usdm"
        if "dstream" in words:
            return "coinm"
        return "spot" if word in {"stream", "data-stream"} else ""

    def url_topics(self, path: str, query: Mapping[str, str]) -> tuple[str, ...]:
        """Return the streams of `/ws/a` or `/stream?streams=a/b`."""
        if streams := query.get("streams"):
            return tuple(name for name in streams.split("/") if name)
        _, found, names = path.rpartition("/ws/")
        return tuple(name for name in names.split("/") if name) if found else ()

    def loose(self, topic: str) -> str:
        """Return symbol and kind: the speed in a stream's name is no other stream."""
        symbol, _, kind = topic.partition("@")
        return f"{symbol}@{kind.partition('@')[0]}"

    def fit(self, text: str, path: str) -> str:
        """Return what `/ws` shows of a frame recorded on `/stream`."""
        if "/ws" not in path:
            return text
        try:
            return bytes(_read_combined(text).data).decode()
        except msgspec.DecodeError:
            return text


# -- OKX ------------------------------------------------------------------------------------------


class _OkxArgument(msgspec.Struct, rename="camel"):
    channel: str = ""
    inst_id: str = ""
    inst_family: str = ""
    uly: str = ""
    inst_type: str = ""

    def topic(self) -> str:
        what = self.inst_id or self.inst_family or self.uly or self.inst_type
        return f"{self.channel}:{what}"


class _OkxFrame(msgspec.Struct):
    event: str = ""
    arg: _OkxArgument | None = None


_read_okx: Final = msgspec.json.Decoder(_OkxFrame).decode


class OkxDialect(Dialect):
    """Channels with an argument each, one reply for each of them."""

    name = "okx"

    def hear(self, text: str) -> Heard:
        """Return channel and instrument."""
        if text == "pong":
            return Heard(Part.PONG)
        try:
            frame = _read_okx(text)
        except msgspec.DecodeError:
            return Heard(Part.DATA)
        topics = (frame.arg.topic(),) if frame.arg is not None else ()
        if frame.event:
            return Heard(Part.REPLY, topics, ok=frame.event == "subscribe" and bool(topics))
        return Heard(Part.DATA, topics)

    def instrument(self, topic: str) -> str:
        """Return the instrument of the argument."""
        return topic.partition(":")[2]

    def ask(self, text: str) -> Ask:
        """Return a request; each argument is an object."""
        if text == "ping":
            return Ask("ping", text=text)
        value = read_request(text)
        verb = str(value.get("op"))
        known = verb if verb in ("subscribe", "unsubscribe") else "other"
        return Ask(known, tuple(topic for topic, _ in _okx_arguments(value)), value, text)

    def answer(self, ask: Ask, replies: Replies, subscribed: Sequence[str]) -> list[str]:
        """Return one reply for every argument."""
        del subscribed
        if ask.verb == "ping":
            return ["pong"]
        number = {"id": ask.value["id"]} if ask.value.get("id") is not None else {}
        if ask.verb == "other":
            message = f"Invalid request: {ask.text[:200]}"
            error = {"event": "error", "code": "60012", "msg": message, "connId": CONNECTION_ID}
            return [write({**number, **error})]
        sent: list[str] = []
        for topic, argument in _okx_arguments(ask.value):
            recorded = replies.failure((topic,))
            if ask.verb == "subscribe":
                recorded = recorded or replies.by_topic.get(topic, "")
            if recorded:
                sent.append(with_id(recorded, "id", number))
                continue
            reply = {"event": ask.verb, "arg": argument, "connId": CONNECTION_ID}
            sent.append(write({**number, **reply}))
        return sent

    def family(self, host: str, path: Sequence[str]) -> str:
        """Return public, business or private."""
        del host
        return path[-1] if path and path[-1] in ("public", "business", "private") else ""


def _okx_arguments(value: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    arguments = value.get("args")
    if not isinstance(arguments, list):
        return []
    found: list[tuple[str, dict[str, Any]]] = []
    for argument in arguments:
        try:
            found.append((msgspec.convert(argument, _OkxArgument).topic(), argument))
        except msgspec.ValidationError:
            continue
    return found


# -- Bybit ----------------------------------------------------------------------------------------


class _BybitFrame(msgspec.Struct):
    topic: str = ""
    op: str = ""
    ret_msg: str = ""
    success: bool = True


_read_bybit: Final = msgspec.json.Decoder(_BybitFrame).decode


class BybitDialect(Dialect):
    """Topics by name, one reply for a whole request."""

    name = "bybit"

    kinds: ClassVar[Mapping[str, Kind]] = {
        "spot": Kind.SPOT, "linear": Kind.LINEAR, "inverse": Kind.INVERSE,
    }  # fmt: skip

    def hear(self, text: str) -> Heard:
        """Return the topic; a pong may call itself a ping."""
        try:
            frame = _read_bybit(text)
        except msgspec.DecodeError:
            return Heard(Part.DATA)
        if frame.topic:
            return Heard(Part.DATA, (frame.topic,))
        if frame.op in ("ping", "pong") or frame.ret_msg == "pong":
            return Heard(Part.PONG)
        return Heard(Part.REPLY, ok=frame.success) if frame.op else Heard(Part.DATA)

    def instrument(self, topic: str) -> str:
        """Return the last part of the topic."""
        return topic.rpartition(".")[2]

    def ask(self, text: str) -> Ask:
        """Return a request; `args` are topics."""
        value = read_request(text)
        verb = str(value.get("op"))
        known = verb if verb in ("subscribe", "unsubscribe", "ping") else "other"
        topics = texts(value.get("args")) if known != "ping" else ()
        return Ask(known, topics, value, text)

    def answer(self, ask: Ask, replies: Replies, subscribed: Sequence[str]) -> list[str]:
        """Return the one reply, with the request's `req_id`."""
        del subscribed
        number = {"req_id": ask.value["req_id"]} if "req_id" in ask.value else {}
        recorded = ""
        if ask.verb == "ping":
            recorded = replies.pong
        elif ask.verb == "subscribe":
            recorded = replies.failure(ask.topics) or replies.success
        if recorded:
            return [with_id(recorded, "req_id", number)]
        message = {"ping": "pong", "other": "Invalid op"}.get(ask.verb, ask.verb)
        reply = {"success": ask.verb != "other", "ret_msg": message, "conn_id": CONNECTION_ID}
        return [write({**reply, **number, "op": str(ask.value.get("op", ""))})]

    def family(self, host: str, path: Sequence[str]) -> str:
        """Return the category, which the path ends with."""
        del host
        return path[-1] if path and path[-1] in ("spot", "linear", "inverse", "option") else ""


# -- Coinbase -------------------------------------------------------------------------------------


class _CoinbaseProduct(msgspec.Struct):
    product_id: str = ""
    id: str = ""


class _CoinbaseEvent(msgspec.Struct):
    product_id: str = ""
    trades: list[_CoinbaseProduct] = []
    tickers: list[_CoinbaseProduct] = []
    candles: list[_CoinbaseProduct] = []
    products: list[_CoinbaseProduct] = []
    subscriptions: dict[str, list[str]] = {}

    def names(self) -> set[str]:
        rows = (*self.trades, *self.tickers, *self.candles, *self.products)
        return {self.product_id, *(row.product_id or row.id for row in rows)} - {""}


class _CoinbaseFrame(msgspec.Struct):
    channel: str = ""
    type: str = ""
    events: list[_CoinbaseEvent] = []


_read_coinbase: Final = msgspec.json.Decoder(_CoinbaseFrame).decode


class CoinbaseDialect(Dialect):
    """Channels with products; every message, replies too, counts in the connection's sequence."""

    name = "coinbase"
    replies_in_place = True

    def hear(self, text: str) -> Heard:
        """Return the channel as one subscribes to it, with each product."""
        try:
            frame = _read_coinbase(text)
        except msgspec.DecodeError:
            return Heard(Part.DATA)
        if frame.channel == "subscriptions" or frame.type == "error":
            return Heard(Part.REPLY, ok=frame.type != "error")
        channel = "level2" if frame.channel == "l2_data" else frame.channel
        if channel == "heartbeats":
            return Heard(Part.DATA, (channel,))
        names = sorted({name for event in frame.events for name in event.names()})
        return Heard(Part.DATA, tuple(f"{channel}:{name}" for name in names))

    def instrument(self, topic: str) -> str:
        """Return the product."""
        return topic.partition(":")[2]

    def ask(self, text: str) -> Ask:
        """Return a request; without products it means all of a channel."""
        value = read_request(text)
        verb = str(value.get("type"))
        known = verb if verb in ("subscribe", "unsubscribe") else "other"
        channel = str(value.get("channel", ""))
        if channel == "heartbeats":
            return Ask(known, (channel,), value, text)
        products = texts(value.get("product_ids")) or ("*",)
        return Ask(known, tuple(f"{channel}:{name}" for name in products), value, text)

    def answer(self, ask: Ask, replies: Replies, subscribed: Sequence[str]) -> list[str]:
        """Return the whole set of subscriptions."""
        del replies
        if ask.verb == "other":
            return [write({"type": "error", "message": "invalid message type"})]
        channels: dict[str, list[str]] = {}
        for topic in subscribed:
            channel, _, product = topic.partition(":")
            channels.setdefault(channel, []).append(product or channel)
        reply = {
            "channel": "subscriptions", "client_id": "", "timestamp": _now(),
            "sequence_num": 0, "events": [{"subscriptions": channels}],
        }  # fmt: skip
        return [write(reply)]

    def loose(self, topic: str) -> str:
        """Return the product whose data an alias shows."""
        return topic.removesuffix("-USDC") + "-USD" if topic.endswith("-USDC") else topic


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


DIALECTS: Final[dict[str, Dialect]] = {
    one.name: one for one in (BinanceDialect(), BybitDialect(), CoinbaseDialect(), OkxDialect())
}
