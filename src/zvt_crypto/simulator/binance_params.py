"""Reading the parameters of a Binance request, and refusing them in Binance's words."""

from typing import Final

from zvt_crypto.simulator.rows import END_OF_TIME
from zvt_crypto.simulator.venue import Refusal, Request, json_reply

MS: Final = 1_000
_DIGITS: Final = 20  # the longest number Binance reads
_LAST_MS: Final = 2**52


def refuse(code: int, message: str, status: int = 400) -> Refusal:
    """Return an error in Binance's form, to be raised."""
    return Refusal(json_reply({"code": code, "msg": message}, status))


def needed(request: Request, name: str) -> str:
    """Return a parameter that must be there."""
    value = request.query.get(name)
    if not value:
        raise refuse(
            -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        )
    return value


def number(request: Request, name: str) -> int | None:
    """Return a number, or None when it is not sent."""
    value = request.query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= _DIGITS):
        raise refuse(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(value)


def page_size(request: Request, default: int, most: int, *, cut: bool) -> int:
    """Return the parameter `limit`; what is too large is cut (spot) or refused (perpetuals)."""
    limit = number(request, "limit")
    if limit is None:
        return default
    if limit < 1 or (limit > most and not cut):
        raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def times(request: Request) -> tuple[int | None, int]:
    """Return start and end in microseconds; the end, inclusive for Binance, made exclusive."""
    start, end = number(request, "startTime"), number(request, "endTime")
    first = None if start is None else min(start, _LAST_MS) * MS
    return first, END_OF_TIME if end is None else min(end, _LAST_MS) * MS + 1
