"""Bybit's cursors."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, quote

_DIGITS_OF_TIME: Final = 16


def write_cursor(page: Sequence[dict[str, Any]]) -> str:
    """Return the cursor to the page after `page`, percent-encoded as Bybit hands it out.

    A client sends it back as it is: encoding it again makes it unreadable.
    """
    return quote(f"first={page[0]['symbol']}&last={page[-1]['symbol']}", safe="")


def read_cursor(text: str) -> str:
    """Return the last symbol of the page before; nothing if the cursor is not one of ours."""
    values = parse_qs(text).get("last", [])
    return values[0] if len(values) == 1 else ""


def interest_times(
    width_us: int, *, first_us: int, last_us: int, cursor: str, limit: int
) -> tuple[list[int], str]:
    """Return the times of one page of open interest, newest first, and the cursor to the next."""
    last = last_us // width_us * width_us
    before = parse_qs(cursor).get("before", [""])[0]
    if before.isdecimal() and len(before) <= _DIGITS_OF_TIME:
        last = min(last, int(before) - width_us)
    first = -(-first_us // width_us) * width_us
    times = list(range(last, first - 1, -width_us)[:limit])
    more = bool(times) and times[-1] - width_us >= first
    return times, quote(f"before={times[-1]}", safe="") if more else ""
