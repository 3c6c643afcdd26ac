"""What a reply of Bybit means when it is not an answer.

Failures mostly come with HTTP 200 and a numeric `retCode`; the status matters for what the
delivery network in front answers itself.
Source: https://bybit-exchange.github.io/docs/v5/error
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from zvt_crypto.connectors.bybit.spec import BAN_S, NAME
from zvt_crypto.core.errors import (
    ArchiveAbsent,
    Banned,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)

_OK_STATUS: Final = 200
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400

_OK: Final = 0
# "Too many visits": sleep until the reset time in the headers, which may be missing.
_RATE: Final = frozenset({10006, 20003, 170222})
_OVERLOAD: Final = frozenset({429, 10429})
_FAULT: Final = frozenset({10000, 10016, 10019, 170007, 170032})
_CLOCK: Final = frozenset({10002, -1})
_PARAMETER: Final = frozenset({10001, 170130})
_SYMBOL: Final = frozenset({10029, 110074, 170121})
_IP_BANNED: Final = frozenset({10009})
_REGION: Final = frozenset({10024})

# One code stands for every wrong parameter, so an unknown symbol shows in the wording alone.
_SYMBOL_TEXT: Final = re.compile(
    r"symbols?\b.{0,12}\b(invalid|not (exist|support|found))|(invalid|not supported) symbols?",
    re.IGNORECASE,
)
_COUNTRY_TEXT: Final = re.compile(rb"block access from your country|restricted (region|location)")

_RESET_HEADER: Final = "X-Bapi-Limit-Reset-Timestamp"
_RESET_BOUNDS_S: Final = (0.05, 5.0)
_RESET_DEFAULT_S: Final = 2.0


class GeoRefusal(Exception):
    """The delivery network refuses this country; `rest` turns it into `GeoBlocked`."""


class _Envelope(msgspec.Struct, rename="camel"):
    ret_code: int
    ret_msg: str | None = ""
    time: int = 0


_decode = msgspec.json.Decoder(_Envelope).decode


def check_reply(status: int, headers: Mapping[str, str], body: bytes, *, now_ms: int) -> None:
    """Return if the reply is an answer, else raise what it means.

    Args:
        status: of HTTP.
        headers: as received; names in any case if the mapping ignores it.
        body: decompressed.
        now_ms: the exchange's clock as far as known, for the reset time of a rate limit.

    Raises:
        GeoRefusal: an HTML page that refuses the country.
        CryptoError: any other refusal.

    Source:
        https://bybit-exchange.github.io/docs/v5/error
    """
    envelope = _read(body)
    if status == _FORBIDDEN:
        raise _forbidden(envelope, body)
    if envelope is not None and envelope.ret_code != _OK:
        raise _refused(envelope, headers, now_ms, body)
    if status == _TOO_MANY:
        raise RateLimited(NAME, "ip", _reset_s(headers, now_ms))
    if status >= _SERVER_ERROR:
        raise ServerFault(NAME, status, _text(body))
    if status >= _CLIENT_ERROR:
        raise RequestRejected(NAME, _text(body) or "no reason given", str(status))
    if envelope is None:
        raise MalformedPayload(NAME, f"a reply (status {status})", _text(body) or "empty body")


def check_file(status: int, body: bytes, name: str) -> None:
    """Return if the file server answered with a file or listing, else raise what it means.

    Args:
        status: of HTTP.
        body: of the answer, empty for a file that was written to disk.
        name: what was asked for.

    Raises:
        GeoRefusal: a page that refuses the country.
        CryptoError: any other refusal; `ArchiveAbsent` for what is not published (yet).
    """
    head = body[:4096].lower()
    if status == _OK_STATUS:
        return
    if status == _TOO_MANY:
        raise RateLimited(NAME, "archive")
    if status >= _SERVER_ERROR:
        raise ServerFault(NAME, status, _text(body))
    if status == _NOT_FOUND or b"accessdenied" in head or b"nosuchkey" in head:
        # Storage that may not be listed answers 403 for a file that is not there.
        raise ArchiveAbsent(NAME, name)
    if status == _FORBIDDEN:
        raise _forbidden(None, body)
    raise RequestRejected(NAME, _text(body) or "no reason given", str(status))


def _read(body: bytes) -> _Envelope | None:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _forbidden(envelope: _Envelope | None, body: bytes) -> Exception:
    """Tell the meanings of 403 apart: address limit, country, or a body on a GET (never sent).

    The country is refused by the delivery network, with a page; the limit by the exchange, in
    JSON or a line of text. What is neither is taken for the limit, which waits longest.
    """
    head = body[:4096].lower()
    is_page = b"<html" in head or b"<!doctype" in head or _COUNTRY_TEXT.search(head)
    if envelope is None and is_page and b"too frequent" not in head:
        return GeoRefusal()
    return Banned(NAME, BAN_S)


def _refused(
    envelope: _Envelope, headers: Mapping[str, str], now_ms: int, body: bytes
) -> Exception:
    code, message = envelope.ret_code, envelope.ret_msg or ""
    is_symbol = code in _SYMBOL or (code in _PARAMETER and _SYMBOL_TEXT.search(message))
    if code in _RATE or code in _OVERLOAD:
        wait_s = _reset_s(headers, envelope.time or now_ms) if code in _RATE else None
        refusal: Exception = RateLimited(NAME, "ip", wait_s)
    elif code in _IP_BANNED:
        refusal = Banned(NAME, BAN_S)
    elif code in _REGION:
        refusal = GeoRefusal()
    elif code in _FAULT or code in _CLOCK:
        refusal = ServerFault(NAME, code, message)
    elif is_symbol:
        refusal = UnknownSymbol(NAME, message)
    else:
        refusal = RequestRejected(NAME, message or _text(body), str(code))
    return refusal


def _reset_s(headers: Mapping[str, str], now_ms: int) -> float:
    """Return how long to wait; the header is missing on some refusals."""
    try:
        wait = (int(headers[_RESET_HEADER]) - now_ms) / 1_000
    except (KeyError, ValueError):
        return _RESET_DEFAULT_S
    low, high = _RESET_BOUNDS_S
    return min(high, max(low, wait))


def _text(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")
