"""WebSocket frames of a server: unmasked, unfragmented, never compressed."""

import struct
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_SHORT: Final = 126
_MEDIUM: Final = 65_536
_TEXT_HEADERS: Final = [bytes((_FIN | TEXT, size)) for size in range(_SHORT)]
_TEXT_MEDIUM: Final = struct.Struct("!BBH")
_LONG: Final = struct.Struct("!BBQ")


def text_frame(payload: bytes) -> bytes:
    """Return a text frame; the payload is sent as it is, UTF-8 or not."""
    size = len(payload)
    if size < _SHORT:
        return _TEXT_HEADERS[size] + payload
    if size < _MEDIUM:
        return _TEXT_MEDIUM.pack(_FIN | TEXT, _SHORT, size) + payload
    return _LONG.pack(_FIN | TEXT, _SHORT + 1, size) + payload


def control_frame(code: int, payload: bytes = b"") -> bytes:
    """Return a ping, pong or close frame; the payload is cut at 125 bytes."""
    payload = payload[: _SHORT - 1]
    return bytes((_FIN | code, len(payload))) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame."""
    return control_frame(CLOSE, struct.pack("!H", code) + reason.encode())
