"""Recorded sessions on the simulator's port: which exchanges have one, and their sockets."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from aiohttp import WSMsgType, web

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.recording import split_argument
from zvt_crypto.simulator.session import Session, SessionClient
from zvt_crypto.simulator.session_dialects import DIALECTS
from zvt_crypto.simulator.session_rest import RecordedReplies
from zvt_crypto.simulator.stream.frame import text_frame

_LARGEST_REQUEST: Final = 1 << 20
_MOST_WAITING: Final = 1 << 20  # bytes
_FULL_S: Final = 0.002


@dataclass(slots=True)
class Sessions:
    """The recordings of all exchanges: frames and REST replies."""

    frames: dict[str, Session] = field(default_factory=dict[str, Session])
    replies: dict[str, RecordedReplies] = field(default_factory=dict[str, RecordedReplies])

    @classmethod
    def load(cls, config: SimulatorConfig, exchanges: Iterable[str]) -> "Sessions":
        """Read through the configured files.

        Raises:
            ValueError: a file or an exchange is wrong; one line says which.
        """
        known = tuple(exchanges)
        found = cls()
        for exchange, paths in _group(config.sessions, "--session", known).items():
            found.frames[exchange] = Session(DIALECTS[exchange], paths, config.session_speed)
        for exchange, paths in _group(config.session_replies, "--session-rest", known).items():
            replies = found.replies[exchange] = RecordedReplies()
            for path in paths:
                replies.load(path)
        return found

    def find(
        self, raw: web.BaseRequest, path: str, query: str, hosts: Mapping[str, str]
    ) -> Coroutine[Any, Any, web.WebSocketResponse] | None:
        """Return the recording a handshake is for, ready to be served, or None.

        The exchange is the first word of the path, or the one whose real host is named; `hosts`
        has the exchange of every host.
        """
        if not self.frames:
            return None
        host = raw.headers.get("Host", "").partition(":")[0]
        exchange = hosts.get(host, "")
        if not exchange:
            exchange, _, rest = path[1:].partition("/")
            host, path = "", "/" + rest
            named, _, after = rest.partition("/")
            if hosts.get(named) == exchange:
                host, path = named, "/" + after
        session = self.frames.get(exchange)
        if session is None:
            return None
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        return serve_session(session, raw, host, unquote(path), parameters)

    def describe(self, exchange: str) -> dict[str, Any]:
        """Return what of an exchange's recording is there and what was sent.

        Raises:
            ValueError: the exchange is not served from a recording.
        """
        frames, replies = self.frames.get(exchange), self.replies.get(exchange)
        if frames is None and replies is None:
            raise ValueError(f"no recorded session of {exchange!r}; start with --session")
        about: dict[str, Any] = {"exchange": exchange}
        if frames is not None:
            about |= frames.describe()
        if replies is not None:
            about["rest"] = replies.describe()
        return about


def _group(
    arguments: Iterable[str], option: str, exchanges: tuple[str, ...]
) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for argument in arguments:
        path, exchange = split_argument(argument, option)
        if exchange not in exchanges or exchange not in DIALECTS:
            known = " ".join(exchanges)
            raise ValueError(f"{option} {argument}: no exchange {exchange!r}; served: {known}")
        groups.setdefault(exchange, []).append(path)
    return groups


async def serve_session(
    session: Session, raw: web.BaseRequest, host: str, path: str, query: Mapping[str, str]
) -> web.WebSocketResponse:
    """Serve a recording to one client until it goes.

    Args:
        session: the recording.
        raw: the request for a socket.
        host: the exchange's own host the client named, or nothing.
        path: without the exchange's prefix.
        query: the parameters of the address.
    """
    socket = web.WebSocketResponse(compress=False, max_msg_size=_LARGEST_REQUEST)
    await socket.prepare(raw)
    if raw.transport is None:  # the client is gone already
        return socket
    send = partial(_send, raw.transport)
    client = SessionClient(session, send, host, path, query)
    player = asyncio.create_task(_play(client, socket))
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await client.hear(message.data)
    finally:
        player.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await player
    return socket


async def _send(transport: asyncio.Transport, texts: Sequence[str]) -> None:
    """Write frames at once, and wait while too much waits for the client."""
    transport.write(b"".join([text_frame(text.encode()) for text in texts]))
    # The transport's own signal goes to aiohttp's protocol, which writes here as well.
    while transport.get_write_buffer_size() > _MOST_WAITING:  # noqa: ASYNC110
        await asyncio.sleep(_FULL_S)
    if transport.is_closing():
        raise ConnectionResetError


async def _play(client: SessionClient, socket: web.WebSocketResponse) -> None:
    try:
        await client.play()
    except ConnectionError:
        pass  # the client left in the middle
    except ValueError as error:  # the file changed since it was read through
        await socket.close(code=1011, message=str(error).encode()[:120])
