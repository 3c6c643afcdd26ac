"""A reply's body as the exchange meant it: decompressed, and never larger than allowed.

aiohttp is told to leave bodies alone. It decodes zstd in some versions only, on Python 3.11 with
a package of its own, and without a bound on what comes out.
"""

from typing import Final, cast

import zstandard
from isal import isal_zlib

from zvt_crypto.core.errors import BodyTooLarge, MalformedPayload

ACCEPT_ENCODING: Final = "gzip, zstd"

_GZIP_WBITS: Final = 31
# Its type stub calls the class an instance.
_ISAL_ERROR: Final = cast("type[Exception]", isal_zlib.IsalError)
# Each member costs a copy of what follows it; servers send one, log rotation a handful.
_MAX_MEMBERS: Final = 64
# RFC 9659: a zstd window on the web is at most 8 MiB. More is a demand on our memory.
_ZSTD_WINDOW: Final = 8 << 20
# A 4-byte block can stand for 128 KiB, so one slice overshoots the bound by 8 MiB at worst.
_ZSTD_SLICE: Final = 256


def decode_body(exchange: str, encoding: str, body: bytes, *, max_bytes: int) -> bytes:
    """Undo `Content-Encoding`, producing at most `max_bytes`.

    Args:
        exchange: named in the errors.
        encoding: value of the header; empty for none.
        body: as it came over the wire.
        max_bytes: bound on the result; memory used stays near it whatever the body claims.

    Raises:
        BodyTooLarge: the result would be larger.
        MalformedPayload: cut short, corrupt, or of an encoding we did not ask for.
    """
    match encoding.strip().lower():
        case "" | "identity":
            decoded = body
        case "gzip" | "x-gzip":
            decoded = _gunzip(exchange, body, max_bytes)
        case "zstd":
            decoded = _unzstd(exchange, body, max_bytes)
        case other:
            raise MalformedPayload(exchange, "a body", f"content-encoding {other!r}")
    if len(decoded) > max_bytes:
        raise BodyTooLarge(exchange, max_bytes)
    return decoded


def _gunzip(exchange: str, body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    produced = 0
    rest = body
    try:
        for _ in range(_MAX_MEMBERS):
            member = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
            part = member.decompress(rest, max_bytes + 1 - produced)
            parts.append(part)
            produced += len(part)
            if produced > max_bytes:
                raise BodyTooLarge(exchange, max_bytes)
            if not member.eof:
                raise MalformedPayload(exchange, "a gzip body", "it is cut short")
            rest = member.unused_data
            if not rest:
                return part if len(parts) == 1 else b"".join(parts)
    except _ISAL_ERROR as e:
        raise MalformedPayload(exchange, "a gzip body", str(e)) from e
    raise MalformedPayload(exchange, "a gzip body", f"more than {_MAX_MEMBERS} members")


def _unzstd(exchange: str, body: bytes, max_bytes: int) -> bytes:
    try:
        promised = zstandard.frame_content_size(body)
        if promised > max_bytes:
            raise BodyTooLarge(exchange, max_bytes)
        if promised >= 0:
            try:
                whole = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
                return whole.decompress(body, allow_extra_data=False)
            except zstandard.ZstdError:
                pass  # more than one frame, or corrupt: the careful way can tell
        return _unzstd_in_slices(exchange, body, max_bytes)
    except zstandard.ZstdError as e:
        raise MalformedPayload(exchange, "a zstd body", str(e)) from e


def _unzstd_in_slices(exchange: str, body: bytes, max_bytes: int) -> bytes:
    """Decode frames of unknown size; a slice is checked before the next one is fed."""
    parts: list[bytes] = []
    produced = 0
    rest = body
    for _ in range(_MAX_MEMBERS):
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        fed = 0
        while fed < len(rest) and not frame.eof:
            part = frame.decompress(rest[fed : fed + _ZSTD_SLICE])
            fed += _ZSTD_SLICE
            parts.append(part)
            produced += len(part)
            if produced > max_bytes:
                raise BodyTooLarge(exchange, max_bytes)
        if not frame.eof:
            raise MalformedPayload(exchange, "a zstd body", "it is cut short")
        rest = frame.unused_data + rest[fed:]
        if not rest:
            return b"".join(parts)
    raise MalformedPayload(exchange, "a zstd body", f"more than {_MAX_MEMBERS} frames")
