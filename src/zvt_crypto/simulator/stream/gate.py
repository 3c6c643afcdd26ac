"""Where sockets come in: the handshake on the port of REST, then a loop that reads the client.

The first part of the path chooses the venue, or the Host header does, as on REST. A real host may
follow the venue, as in `/binance/stream.binance.com/ws`: some clients look at the host of a URL, so
one rule replaces `wss://HOST` by the simulator's address. The handshake and the reading are
aiohttp's; what is sent goes straight to the transport, many frames at once.
"""

from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from aiohttp import WSCloseCode, WSMsgType, web

from zvt_crypto.simulator.faults import HANDSHAKE_KINDS
from zvt_crypto.simulator.stream.connection import Connection
from zvt_crypto.simulator.stream.hub import Hub
from zvt_crypto.simulator.stream.protocol import Route, Rules
from zvt_crypto.simulator.stream.registry import STREAMS

if TYPE_CHECKING:
    from zvt_crypto.simulator.world import World

_HANDSHAKE_REMEMBERED = 10_000


def is_handshake(raw: web.BaseRequest) -> bool:
    """Return whether a request asks for a WebSocket."""
    return raw.headers.get("Upgrade", "").lower() == "websocket"


class Gate:
    """The stream side of all venues of one simulator."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._hubs: dict[str, Hub] = {}
        self._handshakes: dict[tuple[str, Rules, str], deque[float]] = {}

    async def admit(self, raw: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """Answer a handshake, and serve the connection until it ends."""
        found = self._find(raw.headers.get("Host", "").partition(":")[0], path, query)
        if found is None:
            return web.Response(status=404, text=f"no socket at {path}\n")
        hub, route = found
        client = raw.remote or ""
        refusal = self._refuse(hub, route, client, raw)
        if refusal is not None:
            return refusal
        socket = web.WebSocketResponse(
            autoclose=False, autoping=False, compress=False,
            max_msg_size=route.rules.most_bytes,
        )  # fmt: skip
        await socket.prepare(raw)
        if raw.transport is None:
            return socket
        connection = hub.open(client, route, raw.transport)
        try:
            hub.stream.opened(connection)
            await _listen(hub, connection, socket)
        finally:
            connection.lost()
        return socket

    async def close(self) -> None:
        """End all connections."""
        for hub in self._hubs.values():
            await hub.close()

    def _find(self, host: str, path: str, query: str) -> tuple[Hub, Route] | None:
        path = unquote(path)
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        for stream_type in STREAMS:
            if host in stream_type.hosts and stream_type.name in self._world.venues:
                hub = self._hub(stream_type.name)
                break
        else:
            name, _, rest = path[1:].partition("/")
            if name not in self._world.venues or all(s.name != name for s in STREAMS):
                return None
            hub, path, host = self._hub(name), "/" + rest, ""
            first, _, after = rest.partition("/")
            if first in hub.stream.hosts:
                path, host = "/" + after, first
        route = hub.stream.route(host, path, parameters, query)
        return None if route is None else (hub, route)

    def _hub(self, name: str) -> Hub:
        if name not in self._hubs:
            stream_type = next(s for s in STREAMS if s.name == name)
            self._hubs[name] = Hub(self._world, stream_type(self._world.venues[name]))
        return self._hubs[name]

    def _refuse(
        self, hub: Hub, route: Route, client: str, raw: web.BaseRequest
    ) -> web.Response | None:
        """Return the answer to a handshake that is not let in."""
        for fault in hub.fire(HANDSHAKE_KINDS, route.path):
            hub.note(fault, route.path)
            if fault.kind == "ws_refuse":
                if raw.transport is not None:
                    raw.transport.abort()
                return web.Response()
            return _status(hub, int(fault.number("status", 503)), fault.params)
        if self._world.faults.state("maintenance", hub.venue.name):
            return _status(hub, 503, {})
        limit = hub.scaled(route.rules.handshakes)
        times = self._handshakes.setdefault(
            (hub.venue.name, route.rules, client), deque(maxlen=_HANDSHAKE_REMEMBERED)
        )
        now_s = hub.time_s()
        while times and times[0] <= now_s - route.rules.handshakes_s:
            times.popleft()
        if limit and len(times) >= limit:
            hub.stats.violations["handshakes"] += 1
            return _status(hub, 429, {"retry_after": 1})
        times.append(now_s)
        return None


def _status(hub: Hub, status: int, params: dict[str, Any]) -> web.Response:
    hub.stats.refused[status] += 1
    headers = {}
    if "retry_after" in params:
        headers["Retry-After"] = str(params["retry_after"])
    return web.Response(status=status, text=str(params.get("body", status)), headers=headers)


async def _listen(hub: Hub, connection: Connection, socket: web.WebSocketResponse) -> None:
    """Read the client until it, or the venue, ends the connection."""
    rules = connection.route.rules
    while True:
        message = await socket.receive()
        if message.type in (WSMsgType.CLOSED, WSMsgType.CLOSING):
            return
        if message.type is WSMsgType.CLOSE:
            connection.echo_close(message.data)
            return
        if message.type is WSMsgType.ERROR:
            hub.stats.violations["size"] += 1
            connection.close(WSCloseCode.MESSAGE_TOO_BIG, "", why="size")
            return
        if connection.closing:
            continue
        if not connection.spoke():
            hub.stats.violations["rate"] += 1
            connection.close(rules.rate_code, "Too many requests", why="rate")
        elif message.type is WSMsgType.PING:
            connection.pinged(message.data)
        elif message.type is WSMsgType.PONG:
            connection.ponged(message.data)
        elif message.type is WSMsgType.TEXT:
            hub.stream.received(connection, message.data)
        else:
            hub.stream.received(connection, message.data.decode(errors="replace"))
