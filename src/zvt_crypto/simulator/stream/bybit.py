"""Bybit's sockets: `/v5/public/spot`, `/linear` and `/inverse`.

A request is one list of topics and gets one answer: all of them or none. Ten topics a request on
spot, 21,000 characters of topics anywhere. On contracts the first snapshot comes before the
answer, on spot after it. A connection on which nothing moves for ten minutes is closed; 500 may be
opened in five minutes. Topics: `publicTrade`, `orderbook.1/50/200/1000`, `kline`, `tickers`,
`allLiquidation`; others are refused like unknown ones.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from zvt_crypto.simulator.bybit import INTERVALS, KINDS, BybitVenue
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.stream.bybit_topics import (
    PERIODS_US,
    AllLiquidationTopic,
    BestTopic,
    DepthTopic,
    KlineTopic,
    TickerTopic,
    TradesTopic,
)
from zvt_crypto.simulator.stream.protocol import Route, Rules, StreamVenue, Words
from zvt_crypto.simulator.stream.topic import Topic

if TYPE_CHECKING:
    from zvt_crypto.simulator.stream.connection import Connection

_RULES: Final = Rules(idle_s=600.0, lifetime_s=0.0, handshakes=500, handshakes_s=300.0)
_SPOT_ARGUMENTS: Final = 10
_MOST_CHARACTERS: Final = 21_000


class BybitStream(StreamVenue):
    """Bybit's public sockets, one for each category."""

    name = "bybit"
    hosts = frozenset(("stream.bybit.com", "stream-testnet.bybit.com", "stream.bytick.com"))
    words = Words(
        id=frozenset(("i",)),
        time=frozenset(("T", "ts", "cts", "start", "end", "timestamp")),
        number=frozenset(
            (
                "p", "v", 0, 1, "open", "high", "low", "close", "volume", "turnover", "lastPrice",
                "markPrice", "indexPrice", "fundingRate", "openInterest", "bid1Price", "bid1Size",
                "ask1Price", "ask1Size",
            )
        ),
    )  # fmt: skip

    def route(self, host: str, path: str, query: Mapping[str, str], raw_query: str) -> Route | None:
        """Return the category of a path."""
        del host
        head, _, category = path.rpartition("/")
        if head != "/v5/public" or category not in KINDS:
            return None
        return Route(category, _RULES, path, query, raw_query)

    def received(self, connection: "Connection", text: str) -> None:
        """Answer a ping, or a request for topics."""
        try:
            request = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError):
            connection.send(_reply(connection, {}, "Invalid request: not a JSON object", ok=False))
            return
        operation = request.get("op")
        if operation == "ping":
            connection.answer(_reply(connection, request, "pong"), request)
            return
        arguments = request.get("args")
        if operation not in ("subscribe", "unsubscribe"):
            self._refuse(connection, request, f"Invalid op: {operation}")
        elif not isinstance(arguments, list) or not arguments:
            self._refuse(connection, request, "Invalid request: no args")
        elif not all(isinstance(one, str) for one in cast("list[object]", arguments)):
            self._refuse(connection, request, "Invalid request: args are strings")
        elif operation == "subscribe":
            self._subscribe(connection, request, cast("list[str]", arguments))
        else:
            self._unsubscribe(connection, request, cast("list[str]", arguments))

    def error_ack(self, connection: "Connection", request: Any) -> bytes:
        """Return a failure without a reason of the client's."""
        return _reply(connection, request, "Internal error", ok=False)

    def _subscribe(
        self, connection: "Connection", request: Mapping[str, Any], names: Sequence[str]
    ) -> None:
        category = connection.route.name
        topics: list[Topic] = []
        trouble = self._too_much(connection, category, names)
        for name in () if trouble else names:
            topic = self._topic(category, name)
            if topic is None:
                trouble = _unknown(category, name)
            elif topic.name in connection.topics or names.count(name) > 1:
                trouble = f"error:already subscribed,topic:{name}"
            else:
                topics.append(topic)
                continue
            break
        if trouble:
            self._refuse(connection, request, trouble)
            return

        def act() -> None:
            for topic in topics:
                connection.subscribe(topic)

        answer = _reply(connection, request, "subscribe" if category == "spot" else "")
        connection.answer(answer, request, act, acts_first=category != "spot")

    def _unsubscribe(
        self, connection: "Connection", request: Mapping[str, Any], names: Sequence[str]
    ) -> None:
        category = connection.route.name
        unknown = [n for n in names if _key(category, n) not in connection.topics]
        if unknown:
            self._refuse(connection, request, f"error:topic not subscribed,topic:{unknown[0]}")
            return

        def act() -> None:
            for name in names:
                connection.unsubscribe(_key(category, name))

        answer = _reply(connection, request, "unsubscribe" if category == "spot" else "")
        connection.answer(answer, request, act)

    def _too_much(self, connection: "Connection", category: str, names: Sequence[str]) -> str:
        held = sum(len(name) - len(category) - 1 for name in connection.topics)
        if category == "spot" and len(names) > _SPOT_ARGUMENTS:
            return f"args size >{_SPOT_ARGUMENTS}"
        if held + sum(map(len, names)) > _MOST_CHARACTERS:
            return f"args length exceeds {_MOST_CHARACTERS} characters"
        return ""

    @staticmethod
    def _refuse(connection: "Connection", request: Mapping[str, Any], message: str) -> None:
        connection.send(_reply(connection, request, message, ok=False))

    def _topic(self, category: str, text: str) -> Topic | None:
        """Return the topic of a name, or None if there is none of it."""
        what, _, rest = text.partition(".")
        detail, _, native = rest.rpartition(".")
        instrument = self.venue.lookup(native, (KINDS[category],))
        if instrument is None:
            return None
        make = _detailed if detail else _plain
        return make(cast("BybitVenue", self.venue), what, detail, _key(category, text), instrument)


def _plain(
    venue: BybitVenue, what: str, detail: str, name: str, instrument: Instrument
) -> Topic | None:
    del detail
    if what == "publicTrade":
        return TradesTopic(venue, name, instrument)
    if what == "tickers":
        return TickerTopic(venue, name, instrument)
    if what == "allLiquidation" and instrument.kind is not Kind.SPOT:
        return AllLiquidationTopic(venue, name, [instrument])
    return None


def _detailed(
    venue: BybitVenue, what: str, detail: str, name: str, instrument: Instrument
) -> Topic | None:
    if what == "orderbook" and detail == "1":
        return BestTopic(venue, name, instrument)
    if what == "orderbook" and detail in map(str, PERIODS_US):
        return DepthTopic(venue, name, instrument, int(detail))
    if what == "kline" and detail in INTERVALS:
        return KlineTopic(venue, name, instrument, detail, INTERVALS[detail])
    return None


def _key(category: str, topic: str) -> str:
    """Return what faults call a topic: the categories have the same names."""
    return f"{category} {topic}"


def _unknown(category: str, name: str) -> str:
    return f"Invalid symbol :[{name}]" if category == "spot" else f"Invalid topic: {name}"


def _reply(
    connection: "Connection", request: Mapping[str, Any], message: str, *, ok: bool = True
) -> bytes:
    number = {"req_id": request["req_id"]} if "req_id" in request else {}
    operation = request.get("op", "")
    reply = {"success": ok, "ret_msg": message, "conn_id": connection.id, **number}
    return msgspec.json.encode({**reply, "op": operation})
