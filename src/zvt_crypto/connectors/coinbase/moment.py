"""Times of Coinbase's streams: RFC 3339 with none to nine digits of a fraction. Pure."""

import re
from typing import Final

from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S
from zvt_crypto.core.timestamp import to_us

_SHAPE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
# Up to the point: `2026-09-30T02:39:53.`
_TO_POINT: Final = 20
# Up to the second: `2026-09-30T02:39:`
_TO_SECOND: Final = 17
_MICRO_DIGITS: Final = 6
_TOO_MANY_DIGITS: Final = 10
_SCALE: Final = tuple(10 ** (_MICRO_DIGITS - digits) for digits in range(_MICRO_DIGITS + 1))


class Moments:
    """Reads times; those of one connection come in runs, so the last second is remembered."""

    def __init__(self) -> None:
        self._second = "none yet"
        self._second_us = 0
        self._minute = ""
        self._minute_us = 0

    def read(self, text: str) -> int:
        """Return UTC microseconds; further digits are cut. The year 1 is far below zero.

        Raises:
            ValueError: not RFC 3339.
        """
        if text[:_TO_POINT] == self._second or self._enters_second(text):
            digits = text[_TO_POINT:-1]
            # Ten digits and more are left to the slow way, which refuses them.
            if (
                text[-1] == "Z"
                and digits.isdecimal()
                and digits.isascii()
                and len(digits) < _TOO_MANY_DIGITS
            ):
                digits = digits[:_MICRO_DIGITS]
                return self._second_us + int(digits) * _SCALE[len(digits)]
        return self._read_slowly(text)

    def _enters_second(self, text: str) -> bool:
        """Return whether a time is of the minute read last, and remember its second."""
        second = text[_TO_SECOND : _TO_POINT - 1]
        if (
            text[:_TO_SECOND] != self._minute
            or text[_TO_POINT - 1 : _TO_POINT] != "."
            or not (second.isdecimal() and second.isascii() and second < "60")
        ):
            return False
        self._second, self._second_us = text[:_TO_POINT], self._minute_us + int(second) * US_PER_S
        return True

    def _read_slowly(self, text: str) -> int:
        found = _SHAPE.fullmatch(text)
        if found is None:
            raise ValueError(f"not a time: {text[:40]!r}")
        time = to_us(text)
        if found[2] == "Z":
            self._minute, self._minute_us = text[:_TO_SECOND], time - time % US_PER_MINUTE
        return time
