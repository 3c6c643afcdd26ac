"""OKX's sockets: `/ws/v5/public`, `/ws/v5/business` and `/ws/v5/private`.

At the venue's prefix or on its hosts. A channel on the wrong socket, an unknown one and an unknown
instrument are refused one by one; the other arguments of the request are taken. Private channels
and those of paying users ask for a login, which nobody has here.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec

from zvt_crypto.simulator.stream import okx_topic
from zvt_crypto.simulator.stream.connection import Connection
from zvt_crypto.simulator.stream.protocol import Route, Rules, StreamVenue, Words
from zvt_crypto.simulator.stream.topic import Topic

_RULES: Final = Rules(
    idle_s=30.0, idle_code=4004, lifetime_s=0.0, requests_per_hour=480, handshakes=3,
    handshakes_s=1.0, most_bytes=65_536, overflow_code=4005,
)  # fmt: skip
_PREFIX: Final = "/ws/v5/"
_ROUTES: Final = frozenset(("public", "business", "private"))
_MOST_ID: Final = 32
_BUSINESS: Final = frozenset(("trades-all",)) | okx_topic.CANDLES.keys()


class OkxStream(StreamVenue):
    """OKX's public channels."""

    name = "okx"
    hosts = frozenset(
        (
            "ws.okx.com", "wspap.okx.com", "wseea.okx.com", "wseeapap.okx.com", "wsus.okx.com",
            "wsuspap.okx.com", "wsaws.okx.com",
        )
    )  # fmt: skip
    words: ClassVar[Words] = Words(
        id=frozenset(("tradeId",)),
        time=frozenset(("ts",)),
        number=frozenset(
            (1, 2, 3, 4, 5, "px", "sz", "last", "askPx", "bidPx", "markPx", "fundingRate", "oi",
             "bkPx")
        ),
    )  # fmt: skip

    def route(self, host: str, path: str, query: Mapping[str, str], raw_query: str) -> Route | None:
        """Return the socket of a path."""
        del host
        name = path.removeprefix(_PREFIX)
        if not path.startswith(_PREFIX) or name not in _ROUTES:
            return None
        return Route(name, _RULES, path, query, raw_query)

    def received(self, connection: Connection, text: str) -> None:
        """Answer `ping`, or carry out subscribe, unsubscribe and login."""
        if text == "ping":
            connection.send(b"pong")
            return
        try:
            request = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError):
            connection.send(_error(connection, None, "60012", f"Invalid request: {text[:200]}"))
            return
        operation = request.get("op") if isinstance(request, dict) else None
        arguments: Any = request.get("args") if isinstance(request, dict) else None
        number = request.get("id") if isinstance(request, dict) else None
        if operation == "login":
            connection.send(_error(connection, None, "60009", "Login failed."))
        elif operation not in ("subscribe", "unsubscribe") or not _is_list(arguments, number):
            connection.send(_error(connection, number, "60012", f"Invalid request: {text[:200]}"))
        elif not connection.request_allowed():
            connection.hub.stats.violations["requests"] += 1
            connection.send(_error(connection, number, "60014", "Requests too frequent"))
        else:
            for argument in arguments:
                self._carry_out(connection, operation, argument, number)

    def notify(self, connection: Connection, within_s: float) -> None:
        """Send the notice of a service upgrade."""
        del within_s
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        notice = {"event": "notice", "code": "64008", "msg": text, "connId": connection.id}
        connection.send(msgspec.json.encode(notice))

    def error_ack(self, connection: Connection, request: Any) -> bytes:
        """Refuse one argument for no reason of the client's; it is not repeated."""
        return _error(connection, request.get("id"), "50001", "Service temporarily unavailable")

    def _carry_out(
        self, connection: Connection, operation: str, argument: dict[str, str], number: Any
    ) -> None:
        request = {"id": number} if number else {}
        done = request | {"event": operation, "arg": argument, "connId": connection.id}
        name = _name_of(argument)
        if operation == "unsubscribe":
            connection.answer(
                msgspec.json.encode(done), request, lambda: connection.unsubscribe(name)
            )
            return
        code = self._refusal(connection.route.name, argument)
        if code:
            connection.send(_error(connection, number, code, _text(code, argument)))
            return
        topic = self._topic(argument)
        connection.answer(
            msgspec.json.encode(done), request,
            lambda: connection.subscribe(topic) if topic is not None else None,
        )  # fmt: skip

    def _refusal(self, route: str, argument: dict[str, str]) -> str:
        """Return the code an argument is refused with, or nothing."""
        channel = argument["channel"]
        if channel in okx_topic.LOGIN:
            return "60011"
        known = okx_topic.PUBLIC | okx_topic.SILENT
        if channel in _BUSINESS:
            if route != "business":
                return "64001"
        elif channel not in known or route != "public":
            return "60018"
        if channel in okx_topic.SILENT:
            return ""
        return "" if self._topic(argument) is not None else "60018"

    def _topic(self, argument: dict[str, str]) -> Topic | None:
        if argument["channel"] in okx_topic.SILENT:
            return None
        if "instId" not in argument:
            return okx_topic.of_type(self.venue, argument)
        instrument = self.venue.lookup(argument["instId"])
        if instrument is None:
            return None
        return okx_topic.of_instrument(self.venue, argument["channel"], instrument)


def _is_list(arguments: Any, number: Any) -> bool:
    """Return whether a request's arguments and id are what the venue takes."""
    if number is not None and not (
        isinstance(number, str)
        and number.isascii()
        and number.isalnum()
        and len(number) <= _MOST_ID
    ):
        return False
    return isinstance(arguments, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("channel"), str)
        and all(isinstance(own, str) for own in one.values())  # pyright: ignore[reportUnknownVariableType]
        for one in arguments  # pyright: ignore[reportUnknownVariableType]
    )


def _name_of(argument: dict[str, str]) -> str:
    """Return the name of the topic an argument means."""
    about = argument.get("instId") or argument.get("instType")
    return f"{argument['channel']}:{about}" if about else argument["channel"]


def _text(code: str, argument: dict[str, str]) -> str:
    if code == "60011":
        return "Please log in"
    if code == "64001":
        return "This channel has been migrated to the business URL. Please use the new URL."
    written = ",".join(f"{name}:{value}" for name, value in argument.items())
    return (
        f"Wrong URL or {written} doesn't exist. Please use the correct URL, channel and parameters "
        "referring to API document."
    )


def _error(connection: Connection, number: Any, code: str, text: str) -> bytes:
    answer = {"event": "error", "msg": text, "code": code, "connId": connection.id}
    return msgspec.json.encode(({"id": number} if isinstance(number, str) else {}) | answer)
