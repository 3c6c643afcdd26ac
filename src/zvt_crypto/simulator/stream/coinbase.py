"""Coinbase's socket for market data: at the prefix `/coinbase`, `/coinbase/` or `/coinbase/ws`.

A message subscribes one channel. The first must come within five seconds; eight messages a second
and eight new connections a second are allowed; a connection nothing was sent on for 75 s is closed,
which a subscription to `heartbeats` prevents. The answer to a request is the whole set of
subscriptions, after the snapshots; one counter per connection runs over everything but errors.
Products that are aliases (`BTC-USDC`) are answered under the product they show (`BTC-USD`).

Sequences under faults: a message that `ws_drop` or `ws_sequence_jump` loses leaves a hole, one that
`ws_reorder` sends late comes with its number, a duplicate repeats it. `ws_sequence_jump` with
`shift` leaves numbers out without losing a message.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from zvt_crypto.simulator import coinbase_info as info
from zvt_crypto.simulator.instrument import Instrument
from zvt_crypto.simulator.stream import coinbase_topics as topics
from zvt_crypto.simulator.stream.protocol import Route, Rules, StreamVenue, Words
from zvt_crypto.simulator.stream.topic import Push, Topic

if TYPE_CHECKING:
    from zvt_crypto.simulator.stream.connection import Connection
    from zvt_crypto.simulator.venue import Venue

_RULES: Final = Rules(
    starved_s=75.0, messages_per_s=8, handshakes=8, handshakes_s=1.0, lifetime_s=0.0
)
_FIRST_REQUEST_S: Final = 5.0
_MARK: Final = b'"sequence_num":'
_PATHS: Final = frozenset(("/", "/ws", "/ws/"))
_PRIVATE: Final = frozenset(("user", "futures_balance_summary"))
_MOST_PLACES: Final = 1_000
_HEARTBEATS: Final = "heartbeats"

_CHANNELS: Final[dict[str, Callable[["Venue", str, Instrument], Topic]]] = {
    "market_trades": topics.MarketTradesTopic,
    "level2": topics.Level2Topic,
    "ticker": topics.TickerTopic,
    "ticker_batch": topics.slow_ticker,
    "candles": topics.CandlesTopic,
    "status": topics.StatusTopic,
}


class _Numbers:
    """The count of one connection."""

    def __init__(self) -> None:
        self._next = 0
        self._last: tuple[Push | None, int] = (None, -1)
        self._places: dict[int, int] = {}

    def take(self, push: Push | None, ahead: int) -> int:
        """Return the number of a message; one sent again, or late, has the number it had."""
        if push is not None and push is self._last[0]:
            return self._last[1]
        if push is not None and push.place in self._places:
            return self._places.pop(push.place)
        number = self._next + ahead
        self._next = number + 1
        self._last = (push, number)
        if push is not None and push.place:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[push.place] = number
        return number


class CoinbaseStream(StreamVenue):
    """Coinbase's market data."""

    name = "coinbase"
    hosts = frozenset(("advanced-trade-ws.coinbase.com",))
    seals = True
    words = Words(
        id=frozenset(("trade_id",)),
        time=frozenset(("time", "event_time", "timestamp", "start", "current_time")),
        number=frozenset(
            (
                "price", "size", "price_level", "new_quantity", "open", "high", "low", "close",
                "volume", "best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity",
                "volume_24_h",
            )
        ),
        units_per_s=1,
    )  # fmt: skip

    def route(self, host: str, path: str, query: Mapping[str, str], raw_query: str) -> Route | None:
        """Return the one socket there is."""
        del host
        return Route("market", _RULES, path, query, raw_query) if path in _PATHS else None

    def opened(self, connection: "Connection") -> None:
        """Begin to count, and to wait for the first subscription."""
        connection.state["numbers"] = _Numbers()
        connection.state["asked"] = dict[str, dict[str, None]]()
        _await_first(connection)

    def seal(self, connection: "Connection", payload: bytes, push: Push | None = None) -> bytes:
        """Number a message; errors have no number."""
        at = payload.find(_MARK)
        if push is None and at < 0:
            return payload
        first = at + len(_MARK)
        stop = payload.find(b",", first) if at >= 0 else -1
        digits = payload[first:stop] if stop >= 0 else b""
        ahead = int(digits) if digits.isdigit() else 0
        number = cast("_Numbers", connection.state["numbers"]).take(push, ahead)
        return payload[:first] + b"%d" % number + payload[stop:] if digits else payload

    def received(self, connection: "Connection", text: str) -> None:
        """Answer a request."""
        try:
            request = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError):
            connection.send(_error("malformed message: not a JSON object"))
            return
        kind, channel = request.get("type"), str(request.get("channel"))
        products = request.get("product_ids", [])
        if kind not in ("subscribe", "unsubscribe"):
            connection.send(_error(f"unknown message type: {kind}"))
        elif channel in _PRIVATE:
            connection.send(_error("authentication failure"))
        elif channel not in _CHANNELS and channel != _HEARTBEATS:
            connection.send(_error(f"channel {channel} is not supported"))
        elif not _are_texts(products):
            connection.send(_error("product_ids is a list of texts"))
        elif kind == "subscribe":
            self._subscribe(connection, request, channel, cast("list[str]", products))
        else:
            self._unsubscribe(connection, request, channel, cast("list[str]", products))

    def error_ack(self, connection: "Connection", request: Any) -> bytes:
        """Return an error that is no fault of the client's."""
        del connection, request
        return _error("internal error")

    def _subscribe(
        self, connection: "Connection", request: Any, channel: str, products: Sequence[str]
    ) -> None:
        if channel == _HEARTBEATS:
            beat = topics.HeartbeatTopic(self.venue, _HEARTBEATS)
            self._carry_out(connection, request, channel, [_HEARTBEATS], [beat])
            return
        if not products and channel != "status":
            connection.send(_error(f"channel {channel} needs product_ids"))
            return
        names = list(dict.fromkeys(products)) or [i.native for i in self.venue.listed_instruments()]
        wanted: list[Topic] = []
        for name in names:
            instrument = self.venue.lookup(name)
            if instrument is None:
                connection.send(_error(f"{name} is not a valid product"))
                return
            wanted.append(self._topic(channel, instrument))
        self._carry_out(connection, request, channel, names, wanted)

    def _carry_out(
        self,
        connection: "Connection",
        request: Any,
        channel: str,
        names: Sequence[str],
        wanted: Sequence[Topic],
    ) -> None:
        asked = _asked(connection).setdefault(channel, {})
        connection.state["began"] = True

        def act() -> None:
            asked.update(dict.fromkeys(names))
            for topic in wanted:
                connection.subscribe(topic)

        self._answer(connection, request, act)

    def _unsubscribe(
        self, connection: "Connection", request: Any, channel: str, products: Sequence[str]
    ) -> None:
        asked = _asked(connection).setdefault(channel, {})

        def act() -> None:
            for name in list(products) or list(asked):
                asked.pop(name, None)
            kept = {self._topic_name(channel, name) for name in asked}
            for name in [n for n in connection.topics if n.partition(" ")[0] == channel]:
                if name not in kept:
                    connection.unsubscribe(name)

        self._answer(connection, request, act)

    def _answer(self, connection: "Connection", request: Any, act: Callable[[], None]) -> None:
        connection.answer(lambda: self._set(connection), request, act, acts_first=True)

    def _set(self, connection: "Connection") -> bytes:
        held = {name: list(own) for name, own in sorted(_asked(connection).items()) if own}
        now_us = connection.hub.now_us()
        return topics.write("subscriptions", now_us, {"subscriptions": held})

    def _topic(self, channel: str, instrument: Instrument) -> Topic:
        shown = info.source(self.venue, instrument)
        return _CHANNELS[channel](self.venue, f"{channel} {shown.native}", shown)

    def _topic_name(self, channel: str, product: str) -> str:
        if channel == _HEARTBEATS:
            return channel
        instrument = self.venue.lookup(product)
        shown = product if instrument is None else info.source(self.venue, instrument).native
        return f"{channel} {shown}"


def _asked(connection: "Connection") -> dict[str, dict[str, None]]:
    """Return the products a client asked for, under its names, by channel."""
    return connection.state["asked"]


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, str) for one in cast("list[object]", value)
    )


def _await_first(connection: "Connection") -> None:
    """Close a connection that does not subscribe in time."""

    def look() -> None:
        if "began" not in connection.state and not connection.closing:
            connection.hub.stats.violations["first"] += 1
            connection.close(1008, "no subscription in 5 s", why="first")

    speed = connection.hub.venue.world.config.rules_speed
    connection.hub.loop.call_later(_FIRST_REQUEST_S / speed, look)


def _error(message: str) -> bytes:
    return msgspec.json.encode({"type": "error", "message": message})
