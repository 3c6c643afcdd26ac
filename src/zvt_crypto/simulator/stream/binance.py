"""Binance's sockets: spot and USD-M futures under one prefix.

Which socket a URL means, by path relative to the prefix or by host:

    /ws, /stream, /ws/<stream>                     spot: hosts stream.*, data-stream.*
    /public/..., /market/..., /private/...         futures by route: hosts fstream.*
    /fstream/ws, /fstream/stream, /fstream/market/...  the same at the prefix, when the host is not
                                                   one of futures; un-routed ones are legacy

On a futures host `/ws` and `/stream` are legacy without more. Legacy paths take every
subscription and deliver what `/public` delivers; a stream on a wrong route is acknowledged and
silent, and so is an unknown stream.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from zvt_crypto.simulator.stream.binance_ticker import futures_route, make
from zvt_crypto.simulator.stream.connection import Connection
from zvt_crypto.simulator.stream.protocol import Route, Rules, StreamVenue, Words
from zvt_crypto.simulator.stream.topic import Topic

_SPOT_RULES: Final = Rules(
    ping_every_s=20.0, pong_within_s=60.0, messages_per_s=5, handshakes=300, handshakes_s=300.0,
    most_topics=1_024,
)  # fmt: skip
_FUTURES_RULES: Final = Rules(
    ping_every_s=180.0, pong_within_s=600.0, messages_per_s=10, handshakes=300,
    handshakes_s=300.0, most_topics=1_024,
)  # fmt: skip
_PATH: Final = re.compile(
    r"(?P<fstream>/fstream)?(?:/(?P<route>public|market|private))?/(?P<form>ws|stream)(?:/(?P<names>.*))?"
)
_COMBINED: Final = "combined"
_MOST_ID: Final = 36


class BinanceStream(StreamVenue):
    """Binance's public streams."""

    name = "binance"
    hosts = frozenset(
        (
            "stream.binance.com", "data-stream.binance.vision", "fstream.binance.com",
            "demo-stream.binance.com", "stream.testnet.binance.vision",
            "demo-fstream.binance.com", "fstream.binancefuture.com",
        )
    )  # fmt: skip
    words: ClassVar[Words] = Words(
        id=frozenset(("t", "a", "f", "l", "u", "U", "pu")),
        time=frozenset(("E", "T")),
        number=frozenset(
            (0, 1, "p", "q", "o", "h", "l", "c", "v", "b", "B", "a", "A", "r", "i", "P", "V", "Q")
        ),
    )

    def route(self, host: str, path: str, query: Mapping[str, str], raw_query: str) -> Route | None:
        """Return the socket a URL means; see the module."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        futures = bool(found["route"] or found["fstream"] or "fstream" in host)
        name = (found["route"] or "legacy") if futures else "spot"
        rules = _FUTURES_RULES if futures else _SPOT_RULES
        return Route(name, rules, path, query, raw_query, found["form"])

    def opened(self, connection: Connection) -> None:
        """Subscribe the streams of the URL: `/ws/<stream>`, `/stream?streams=a/b`."""
        route = connection.route
        connection.state["streams"] = {}
        connection.state["micro"] = route.query.get("timeUnit", "").upper() == "MICROSECOND"
        names = route.query.get("streams", "")
        if route.text == "stream":
            connection.style = _COMBINED
        else:
            names = route.path.partition("/ws/")[2]
        streams = [name for name in names.split("/") if name]
        if len(streams) > route.rules.most_topics:
            connection.hub.stats.violations["topics"] += 1
            connection.close(1008, "Too many streams", why="topics")
            return
        self._subscribe(connection, streams)

    def received(self, connection: Connection, text: str) -> None:
        """Carry out SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_ and GET_PROPERTY."""
        try:
            request = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            connection.send(_refusal(None, 3, f"Invalid JSON: {error}"))
            return
        reason = _wrong(request)
        if reason:
            number = request.get("id") if isinstance(request, dict) else None
            connection.send(_refusal(number, 2, f"Invalid request: {reason}"))
            return
        number, parameters = request.get("id"), request.get("params", [])
        match request["method"]:
            case "SUBSCRIBE":
                self._take(connection, request, parameters)
            case "UNSUBSCRIBE":
                done = _answer(number, None)
                connection.answer(done, request, lambda: self._drop(connection, parameters))
            case "LIST_SUBSCRIPTIONS":
                connection.answer(_answer(number, list(connection.state["streams"])), request)
            case "SET_PROPERTY":
                style = _COMBINED if parameters[1] else ""
                done = _answer(number, None)
                connection.answer(done, request, lambda: setattr(connection, "style", style))
            case _:
                connection.answer(_answer(number, connection.style == _COMBINED), request)

    def notify(self, connection: Connection, within_s: float) -> None:
        """Send `serverShutdown`."""
        del within_s
        event = b'{"e":"serverShutdown","E":%d}' % (connection.hub.now_us() // 1_000)
        if connection.style == _COMBINED:
            event = b'{"stream":"!serverShutdown","data":' + event + b"}"
        connection.send(event)

    def error_ack(self, connection: Connection, request: Any) -> bytes:
        """Refuse a request for no reason of the client's."""
        del connection
        return _refusal(request.get("id"), 1, "Internal error")

    def _take(self, connection: Connection, request: Any, names: list[str]) -> None:
        held = connection.state["streams"]
        most = connection.route.rules.most_topics
        if len(held.keys() | set(names)) > most:
            connection.hub.stats.violations["topics"] += 1
            text = f"Invalid request: too many streams, at most {most} on a connection"
            connection.send(_refusal(request.get("id"), 2, text))
            return
        done = _answer(request.get("id"), None)
        connection.answer(done, request, lambda: self._subscribe(connection, names))

    def _subscribe(self, connection: Connection, names: list[str]) -> None:
        for name in names:
            if name in connection.state["streams"]:
                continue
            topic = self._topic(connection, name)
            connection.state["streams"][name] = topic.name if topic else None
            if topic is not None:
                connection.subscribe(topic)

    def _topic(self, connection: Connection, name: str) -> Topic | None:
        """Return what a stream delivers on this connection, or None: silence."""
        route = connection.route.name
        if route != "spot":
            own = futures_route(name)
            if own != ("public" if route == "legacy" else route):
                return None
        return make(self.venue, name, spot=route == "spot", micro=connection.state["micro"])

    @staticmethod
    def _drop(connection: Connection, names: list[str]) -> None:
        for name in names:
            topic = connection.state["streams"].pop(name, None)
            if topic is not None:
                connection.unsubscribe(topic)


def _wrong(request: Any) -> str:
    """Return what is wrong with a request, or nothing."""
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return "request must be an object with a method"
    number = request.get("id")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(number, bool) or not isinstance(number, int | str | None):
        return "property 'id' must be an integer, a string or null"
    if isinstance(number, str) and len(number) > _MOST_ID:
        return "property 'id' is too long"
    return _wrong_parameters(request["method"], request.get("params", []))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def _wrong_parameters(method: str, parameters: Any) -> str:
    match method:
        case "SUBSCRIBE" | "UNSUBSCRIBE":
            if not isinstance(parameters, list) or not parameters:
                return "property 'params' must be an array of stream names"
            names_only = all(isinstance(name, str) for name in parameters)  # pyright: ignore[reportUnknownVariableType]
            return "" if names_only else "invalid type: expected a string"
        case "SET_PROPERTY":
            known = parameters in (["combined", True], ["combined", False])
            return "" if known else "property 'params' must be [\"combined\", true|false]"
        case "LIST_SUBSCRIPTIONS" | "GET_PROPERTY":
            return ""
        case unknown:
            return f"unknown variant `{unknown}`"


def _answer(number: Any, result: Any) -> bytes:
    return msgspec.json.encode({"result": result, "id": number})


def _refusal(number: Any, code: int, text: str) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "msg": text}, "id": number})
