"""WebSockets over picows: whole frames in, text frames out, errors of ours.

The session is thin on purpose. Frames are handed over as they come, on the loop, those of one read
together; pings of the other side are answered at once, whatever the consumer does. What the frames
mean, when a silent socket is dead and what to do then is the business of who listens.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import picows

from zvt_crypto.core.errors import CryptoError, GeoBlocked, NetworkFault, RateLimited, ServerFault
from zvt_crypto.ports.stream import Socket, SocketListener

_HANDSHAKE_S: Final = 10.0
_CLOSE_S: Final = 2.0
# picows reads into a buffer of this size: large enough that a burst is a few system calls.
_READ_BUFFER: Final = 64 * 1024
# So many frames of one read are handed over at once: beyond, nothing is gained.
_TOGETHER: Final = 64
_REFUSED_REGION: Final = 451
_TOO_MANY: Final = 429
_MOST_DETAIL: Final = 200
# picows logs what peers do wrong as errors of ours; we tell it once, by `on_closed`.
_quiet = logging.getLogger("picows.quiet")
_quiet.setLevel(logging.CRITICAL)


class WsDialer:
    """Opens WebSockets of one exchange; a `Dialer`.

    Args:
        exchange: named in errors.
        geo_remedy: what to tell a user whose region is refused.
        proxy: `http://` or `socks5://` address, or None.
        trust: certificates to trust beside the system's, for an exchange in a box with TLS.
    """

    def __init__(
        self,
        exchange: str,
        *,
        geo_remedy: str = "",
        proxy: str | None = None,
        trust: str | None = None,
    ) -> None:
        self._exchange = exchange
        self._geo_remedy = geo_remedy
        self._proxy = proxy
        self._tls = ssl.create_default_context()
        if trust is not None:
            self._tls.load_verify_locations(trust)

    async def dial(self, url: str, listener: SocketListener, *, max_frame_bytes: int) -> Socket:
        """Connect and shake hands; see the port for what is raised."""
        line = _Line()
        connecting = asyncio.ensure_future(
            picows.ws_connect(
                lambda: _Session(listener, max_frame_bytes),
                url,
                ssl_context=self._tls if url.startswith("wss:") else None,
                websocket_handshake_timeout=_HANDSHAKE_S,
                max_frame_size=max_frame_bytes,
                max_redirects=0,
                proxy=self._proxy,
                socket_factory=line.connect if self._proxy is None else None,
                read_buffer_init_size=_READ_BUFFER,
                enable_auto_pong=False,  # it would hide the pings, which are signs of life
                logger_name=_quiet,
            )
        )
        try:
            _, session = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await _hang_up(connecting, line)
            raise
        except (picows.WSError, OSError, TimeoutError, ValueError) as e:
            raise self._explained(url, e) from e
        if not isinstance(session, _Session):
            raise NetworkFault(self._exchange, "WebSocket: cut in the middle of the handshake")
        return session

    def _explained(self, url: str, error: Exception) -> CryptoError:
        if isinstance(error, picows.WSInvalidStatusError):
            status = 0 if error.response is None else int(error.response.status)
            if status == _REFUSED_REGION:
                return GeoBlocked(self._exchange, urlsplit(url).netloc, self._geo_remedy)
            if status == _TOO_MANY:
                return RateLimited(self._exchange, "connections")
            return ServerFault(self._exchange, status, "it refused the WebSocket handshake")
        detail = " ".join(str(error).split())[:_MOST_DETAIL] or type(error).__name__
        return NetworkFault(self._exchange, f"WebSocket: {detail}")


class _Line:
    """The TCP connection under a handshake: picows gives it out only when the handshake is done."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    async def connect(self, url: Any) -> socket.socket:
        """Connect to the first address of a host that answers."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_HANDSHAKE_S):
            found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            failure = OSError(f"{url.host} has no address")
            for family, kind, protocol, _, address in found:
                made = socket.socket(family, kind, protocol)
                made.settimeout(0.0)
                try:
                    await loop.sock_connect(made, address)
                except OSError as e:
                    made.close()
                    failure = e
                except BaseException:
                    made.close()
                    raise
                else:
                    self._socket = made
                    return made
            raise failure

    def cut(self) -> None:
        """End the connection if there is one; whoever reads it is told, and closes the socket."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)


async def _hang_up(connecting: "asyncio.Future[Any]", line: _Line) -> None:
    """End a connect that is not wanted any more; cancelled alone, its handshake would go on."""
    connecting.cancel()
    try:
        await asyncio.wait((connecting,), timeout=_CLOSE_S)
    finally:
        line.cut()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        transport, _ = connecting.result()
        transport.disconnect(graceful=False)


class _Session(picows.WSListener):
    """One open socket, in both directions."""

    def __init__(self, listener: SocketListener, max_frame_bytes: int) -> None:
        super().__init__()
        self._on_frames = listener.on_frames
        self._listener = listener
        self._whole: list[bytes] = []
        self._max_bytes = max_frame_bytes
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._transport: picows.WSTransport | None = None
        self._why = ""
        self._is_open = False
        self._closed = asyncio.Event()

    # -- what picows calls --------------------------------------------------------------------

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        self._is_open = True
        # What broke the protocol is told by `on_closed`; somebody has to take the exception.
        self._end = asyncio.ensure_future(transport.wait_disconnected())
        self._end.add_done_callback(lambda end: end.cancelled() or end.exception())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        # picows ends the connection over a frame that is too large, and hands it over all the same.
        if frame.msg_type is _TEXT and frame.fin and frame.payload_size <= self._max_bytes:
            self._whole.append(frame.get_payload_as_bytes())
        else:
            self._take_unusual(transport, frame)
        if frame.last_in_buffer or len(self._whole) >= _TOGETHER:
            self._hand_over()

    def _take_unusual(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind in _DATA:
            self._gather(frame)
        elif kind is picows.WSMsgType.CLOSE:
            reason = (frame.get_close_message() or b"")[:_MOST_DETAIL]
            # It is a number too, which the stubs do not tell.
            code: Any = frame.get_close_code()
            self._why = self._why or f"closed by the exchange: {int(code)} {reason!r}"
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            if kind is picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            self._listener.on_alive()

    def _hand_over(self) -> None:
        if frames := self._whole:
            self._whole = []
            self._on_frames(frames)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        del transport
        self._hand_over()
        was_open, self._is_open = self._is_open, False
        self._closed.set()
        if was_open:
            self._listener.on_closed(self._why or "the connection broke")

    def _gather(self, frame: picows.WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._parts_bytes += frame.payload_size
        if self._parts_bytes > self._max_bytes:
            self._why = f"a message of over {self._max_bytes} bytes"
            raise picows.WSProtocolError(picows.WSCloseCode.MESSAGE_TOO_BIG, self._why)
        if frame.fin:
            self._whole.append(b"".join(self._parts))
            self._parts.clear()
            self._parts_bytes = 0

    # -- the port's Socket --------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send one text frame; dropped when the socket is closing."""
        if self._transport is not None and self._is_open:
            self._transport.send(picows.WSMsgType.TEXT, frame)

    def ping(self) -> None:
        """Send a protocol ping."""
        if self._transport is not None and self._is_open:
            self._transport.send_ping()

    def pause(self) -> None:
        """Stop reading; what is in the buffer still comes."""
        self._reading("pause_reading")

    def resume(self) -> None:
        """Read on."""
        self._reading("resume_reading")

    def _reading(self, change: str) -> None:
        if self._transport is not None and self._is_open:
            with contextlib.suppress(RuntimeError):  # it is so already
                getattr(self._transport.underlying_transport, change)()

    async def close(self) -> None:
        """Say goodbye, wait for the other side a moment, then hang up."""
        if self._transport is None or not self._is_open:
            return
        self._why = "closed by us"
        self._transport.send_close(picows.WSCloseCode.OK)
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._closed.wait()
        except TimeoutError:
            self._transport.disconnect(graceful=False)
            await self._closed.wait()
        finally:
            if not self._closed.is_set():  # who closes it was cancelled
                self._transport.disconnect(graceful=False)


_TEXT: Final = picows.WSMsgType.TEXT
_DATA: Final = frozenset(
    (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION)
)
