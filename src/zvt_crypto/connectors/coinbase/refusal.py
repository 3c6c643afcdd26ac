"""What a reply of Coinbase means when it is not an answer.

Two dialects and a third are in use: `{"error", "message", "error_details"}`,
`{"errors": [{"id", "message"}]}` and gRPC's `{"code": 5, "message"}`.
Source: https://docs.cdp.coinbase.com/coinbase-app/api-architecture/error-handling
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from zvt_crypto.connectors.coinbase.spec import COINBASE, NAME
from zvt_crypto.core.errors import (
    CryptoError,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)

INVALID_ARGUMENT: Final = "INVALID_ARGUMENT"

_OK: Final = 200
_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_UNAVAILABLE_FOR_LEGAL_REASONS: Final = 451
_SERVER_ERROR: Final = 500

_LONGEST_PAUSE_S: Final = 3_600.0

_RATE: Final = frozenset({"RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"})
_FAULT: Final = frozenset({"INTERNAL", "UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED"})

# https://grpc.io/docs/guides/status-codes/
_GRPC: Final = {
    2: "UNKNOWN",
    3: INVALID_ARGUMENT,
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    10: "ABORTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}


class _Item(msgspec.Struct):
    id: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    error: str | None = None
    message: str | None = None
    error_details: str | None = None
    errors: list[_Item] | None = None
    code: Any = None


_decode = msgspec.json.Decoder(_Errors).decode


def check_reply(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    blocked: Callable[[], CryptoError],
) -> None:
    """Return if the reply is an answer, else raise what it means.

    Args:
        status: of HTTP; only 200 is an answer.
        headers: as received; names in any case if the mapping ignores it.
        body: decompressed; plain text for some refusals.
        blocked: makes the error for a refused region.

    Raises:
        RateLimited: 429; no time is documented, one that comes is heeded.
        ServerFault: 5xx.
        UnknownSymbol: 404 `NOT_FOUND`.
        RequestRejected: a wrong parameter or a missing permission.
        GeoBlocked: 451, or a page instead of JSON with 403.
        MalformedPayload: any other status.
    """
    if status == _OK:
        return
    word, message = _read(body)
    if status == _TOO_MANY or word in _RATE:
        raise RateLimited(NAME, "public", _pause_s(headers))
    if status >= _SERVER_ERROR or word in _FAULT:
        raise ServerFault(NAME, status, message)
    if status == _UNAVAILABLE_FOR_LEGAL_REASONS or (status == _FORBIDDEN and not word):
        raise blocked()
    if word == "NOT_FOUND" or (status == _NOT_FOUND and word):
        raise UnknownSymbol(NAME, message)
    if word or status >= _BAD_REQUEST:
        raise RequestRejected(NAME, message, word or str(status))
    raise MalformedPayload(NAME, f"a reply (status {status})", message)


def _read(body: bytes) -> tuple[str, str]:
    """Return the exchange's word for the refusal, upper case, empty if there is none; and why."""
    text = body[:200].decode("utf-8", "replace") or "empty body"
    try:
        wire = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", text
    if wire.errors:
        return wire.errors[0].id.upper(), wire.errors[0].message or text
    word = wire.error or (_GRPC.get(wire.code, "") if isinstance(wire.code, int) else "")
    return word.upper(), wire.message or wire.error_details or text


def _pause_s(headers: Mapping[str, str]) -> float:
    """Return how long to stop: what a header says, else a moment."""
    for name in ("Retry-After", "x-ratelimit-reset"):
        try:
            wait = float(headers.get(name, ""))
        except ValueError:
            continue
        # Some gateways send the moment of the reset there, not the time to it.
        if 0 < wait <= _LONGEST_PAUSE_S:
            return max(wait, COINBASE.freeze_s)
    return COINBASE.freeze_s
