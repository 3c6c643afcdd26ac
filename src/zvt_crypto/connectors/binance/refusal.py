"""What a reply of Binance means when it is not an answer. Pure.

The HTTP status comes first: a refused region answers 451 with code 0, which looks like success.
Source: https://developers.binance.com/docs/binance-spot-api-docs/errors
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from zvt_crypto.connectors.binance.spec import BINANCE, NAME, WEIGHT
from zvt_crypto.connectors.wire import UNDECODABLE
from zvt_crypto.core.errors import (
    Banned,
    CryptoError,
    GeoBlocked,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.timestamp import int_to_us

_OK: Final = 200
_FORBIDDEN: Final = 403
_TIMEOUT: Final = 408
_BANNED: Final = 418
_TOO_MANY: Final = 429
_REGION: Final = 451
_SERVER_ERROR: Final = 500

_TOO_MANY_CODE: Final = -1003
# Unknown failure, disconnected, no answer from the backend (twice), overloaded, shutting down.
_FAULT_CODES: Final = frozenset({-1000, -1001, -1006, -1007, -1008, -1016})
_SYMBOL_CODES: Final = frozenset({-1121, -1122})

# The shortest and longest ban there is.
_FIRST_BAN_S: Final = 120.0
_LONGEST_BAN_S: Final = 3 * 86_400.0
_LONGEST_ERROR: Final = 2_000
_BANNED_UNTIL: Final = re.compile(r"banned until (\d{10,16})", re.ASCII)

_FIREWALL_REMEDY: Final = (
    "Its firewall refused this address, usually after too many malformed requests: slow down "
    "(lower exchanges.binance.budget), wait some minutes, or use net.proxy"
)


class _Body(msgspec.Struct):
    code: int
    msg: str


_decode: Final = msgspec.json.Decoder(_Body).decode


@dataclass(frozen=True, slots=True)
class Refused:
    """A reply that may be a refusal, and what is needed to read it.

    `quota` is what the request was booked on; `now_us` is the exchange's clock, for bans that end
    at a moment; `host` is named in errors.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    host: str
    now_us: int
    quota: str = WEIGHT


def refusal(reply: Refused) -> CryptoError | None:
    """Return what a reply refuses, None if it is an answer."""
    error = _error(reply.body)
    if reply.status == _OK and error is None:
        if reply.body.lstrip()[:1] in (b"[", b"{"):
            return None
        return MalformedPayload(NAME, "a reply", _text(reply.body))
    by_status = _of_status(reply)
    if by_status is not None:
        return by_status
    if error is not None:
        return _of_code(reply, error)
    if reply.status < 400:  # noqa: PLR2004 - nothing documented answers with less than that
        return MalformedPayload(NAME, f"a reply with status {reply.status}", _text(reply.body))
    return RequestRejected(NAME, _text(reply.body) or "no reason given", f"HTTP {reply.status}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds `Retry-After` asks to wait, if it does so in seconds."""
    text = header(headers, "Retry-After")
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_BAN_S else None


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header whatever its case."""
    found = headers.get(name)
    if found is not None:
        return found
    wanted = name.casefold()
    return next((v for k, v in headers.items() if k.casefold() == wanted), None)


def _of_status(reply: Refused) -> CryptoError | None:
    status, wait = reply.status, retry_after_s(reply.headers)
    if status in (_REGION, _FORBIDDEN):
        remedy = BINANCE.geo_remedy if status == _REGION else _FIREWALL_REMEDY
        return GeoBlocked(NAME, reply.host, remedy)
    if status == _BANNED:
        return Banned(NAME, wait or _until_s(reply) or _FIRST_BAN_S)
    if status == _TOO_MANY:
        return _limited(reply)
    if status >= _SERVER_ERROR or status == _TIMEOUT:
        return ServerFault(NAME, status, _text(reply.body), retry_after_s=wait)
    return None


def _of_code(reply: Refused, error: _Body) -> CryptoError:
    if error.code == _TOO_MANY_CODE:
        return _limited(reply)
    if error.code in _FAULT_CODES:
        return ServerFault(NAME, reply.status, f"{error.msg} (code {error.code})")
    if error.code in _SYMBOL_CODES:
        return UnknownSymbol(NAME, "asked for")
    return RequestRejected(NAME, error.msg, str(error.code))


def _limited(reply: Refused) -> RateLimited | Banned:
    until, wait = _until_s(reply), retry_after_s(reply.headers)
    if until is not None:
        return Banned(NAME, max(until, wait or 0.0))
    return RateLimited(NAME, reply.quota, wait)


def _until_s(reply: Refused) -> float | None:
    """Return the seconds left of a ban "until <epoch>", if the message holds one."""
    found = _BANNED_UNTIL.search(_text(reply.body))
    if found is None:
        return None
    left = (int_to_us(int(found[1])) - reply.now_us) / US_PER_S
    return min(max(left, 1.0), _LONGEST_BAN_S)


def _error(body: bytes) -> _Body | None:
    """Return the error a body is; a short one, so that pages are not decoded twice."""
    if len(body) > _LONGEST_ERROR:
        return None
    try:
        return _decode(body)
    except UNDECODABLE:
        return None


def _text(body: bytes) -> str:
    return body[:500].decode(errors="replace")
