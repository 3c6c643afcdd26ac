"""What a reply of OKX means when it is not an answer.

The status of HTTP is not reliable, many refusals come with 200: the `code` of the body decides,
the status only where there is none.
Source: https://www.okx.com/docs-v5/en/#error-code
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from zvt_crypto.connectors.okx.spec import MIN_PAUSE_S, NAME
from zvt_crypto.core.errors import (
    CryptoError,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)

_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_UNAVAILABLE_FOR_LEGAL_REASONS: Final = 451
_SERVER_ERROR: Final = 500

_OK: Final = "0"
# 50011 too many requests, 50061 sub-account cap, 50040 too frequent
_RATE: Final = frozenset({"50011", "50040", "50061"})
# unavailable, timeout, busy, system error, and two timeouts of single services
_FAULT: Final = frozenset({"50001", "50004", "50013", "50026", "51054", "51149"})
_SYMBOL: Final = frozenset({"51001"})


class _Envelope(msgspec.Struct):
    code: str
    msg: str | None = ""


_decode = msgspec.json.Decoder(_Envelope).decode


def check_reply(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    quota: str,
    blocked: Callable[[], CryptoError],
) -> None:
    """Return if the reply is an answer, else raise what it means.

    Args:
        status: of HTTP.
        headers: as received; names in any case if the mapping ignores it.
        body: decompressed.
        quota: what the call books on, for the message of a rate limit.
        blocked: makes the error for a refused region.

    Raises:
        RateLimited: 50011 or HTTP 429; wait two seconds at least.
        ServerFault: busy, unavailable, in maintenance.
        UnknownSymbol: 51001.
        RequestRejected: any other refusal.
        MalformedPayload: a body that is none of OKX's.
    """
    envelope = _read(body)
    if envelope is not None and envelope.code != _OK:
        raise _refused(envelope, headers, quota)
    if status == _TOO_MANY:
        raise RateLimited(NAME, quota, _pause_s(headers))
    if status in (_FORBIDDEN, _UNAVAILABLE_FOR_LEGAL_REASONS):
        raise blocked()
    if status >= _SERVER_ERROR:
        raise ServerFault(NAME, status, _text(body))
    if envelope is None:
        if status == _NOT_FOUND:
            raise RequestRejected(NAME, _text(body) or "no such path", str(status))
        raise MalformedPayload(NAME, f"a reply (status {status})", _text(body) or "empty body")


def _read(body: bytes) -> _Envelope | None:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _refused(envelope: _Envelope, headers: Mapping[str, str], quota: str) -> CryptoError:
    code, message = envelope.code, envelope.msg or ""
    if code in _RATE:
        return RateLimited(NAME, quota, _pause_s(headers))
    if code in _FAULT:
        return ServerFault(NAME, int(code), message)
    if code in _SYMBOL:
        return UnknownSymbol(NAME, message)
    return RequestRejected(NAME, message or "no reason given", code)


def _pause_s(headers: Mapping[str, str]) -> float:
    """Return how long to stop; no header is documented, one that comes is heeded."""
    try:
        return max(MIN_PAUSE_S, float(headers.get("Retry-After", "")))
    except ValueError:
        return MIN_PAUSE_S


def _text(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")
