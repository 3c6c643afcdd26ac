"""What parsers do with what cannot be read: refuse a row, or give up a frame. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.ports.stream import Message, Refused

MOST_RAW_CHARS: Final = 500
"""How much of a refused frame is kept."""

MOST_REFUSALS: Final = 64
"""Bad rows of one frame that are kept one by one; the others are counted."""

UNREADABLE: Final = (ValueError, ArithmeticError, LookupError, RecursionError)
"""All that a decoder, a conversion or a check raises on hostile text.

`msgspec.DecodeError` and `UnicodeDecodeError` are ValueErrors; `OverflowError` and what `Decimal`
raises, on comparing NaN for one, are ArithmeticErrors; a word that is in none of our tables is a
LookupError.
"""


def read_rows(
    rows: Iterable[msgspec.Raw], read: Callable[[bytes], Sequence[Message]], symbol: str | None
) -> list[Message]:
    """Read a frame row by row because it could not be read in one go; refuse the bad ones.

    `read` raises one of `UNREADABLE` for a bad row.
    """
    messages: list[Message] = []
    bad = 0
    for raw in rows:
        row = bytes(raw)
        try:
            messages.extend(read(row))
        except UNREADABLE as e:
            bad += 1
            if bad <= MOST_REFUSALS:
                messages.append(refused(row, e, symbol))
    if bad > MOST_REFUSALS:
        messages.append(Refused(f"{bad - MOST_REFUSALS} more rows of the same frame", "", symbol))
    return messages


def refused(frame: bytes, reason: Exception | str, symbol: str | None = None) -> Refused:
    """Return the refusal of part of a frame, with a bounded copy of it."""
    return Refused(reason if isinstance(reason, str) else _text(reason), clipped(frame), symbol)


def clipped(frame: bytes) -> str:
    """Return the beginning of a frame as text that can be shown and stored."""
    text = frame[:MOST_RAW_CHARS].decode("utf-8", "backslashreplace")
    return text.encode("unicode_escape", "replace").decode("ascii")[: 2 * MOST_RAW_CHARS]


def malformed(exchange: str, error: Exception) -> MalformedPayload:
    """Return the error for a frame that cannot be read at all."""
    return MalformedPayload(exchange, "frame", _text(error))


def _text(error: Exception) -> str:
    """Return the message of an error, bounded: texts of the exchange may be quoted in it."""
    return (str(error) or type(error).__name__)[:MOST_RAW_CHARS]
