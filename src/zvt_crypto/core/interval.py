"""The nine candle intervals and their calendar, in UTC microseconds.

A candle is named by its open; it covers `[open, close)`. Minutes, hours and days are fixed
widths from the epoch. Weeks open on Monday 00:00, months on the first, 00:00, always UTC.
"""

import datetime as dt
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

US_PER_MS: Final = 1_000
US_PER_S: Final = 1_000_000
US_PER_MINUTE: Final = 60 * US_PER_S
US_PER_HOUR: Final = 60 * US_PER_MINUTE
US_PER_DAY: Final = 24 * US_PER_HOUR

# 1970-01-05 was the first Monday after the epoch.
_FIRST_MONDAY_US: Final = 4 * US_PER_DAY
_EPOCH_YEAR: Final = 1970


class Interval(StrEnum):
    """Width of a candle, in ZVT's spelling."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1wk"
    MON1 = "1mon"

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Return the interval spelled `text`; `1w` and `1M` are accepted too.

        Raises:
            ValueError: `text` names none of the nine; the message lists them.
        """
        try:
            return cls(_ALIASES.get(text, text))
        except ValueError:
            known = " ".join(cls)
            raise ValueError(f"unknown interval {text!r}; known: {known}") from None

    @property
    def width_us(self) -> int | None:
        """Microseconds of one candle, or None for months, whose width varies."""
        return _WIDTH_US.get(self)

    @property
    def nominal_us(self) -> int:
        """Return the width for estimates; a month counts as 30 days."""
        return _WIDTH_US.get(self, 30 * US_PER_DAY)

    def floor(self, time_us: int) -> int:
        """Return the open of the candle that contains `time_us`."""
        width = self.width_us
        if width is None:
            return _month_open(_month_index(time_us))
        origin = _origin(self)
        return (time_us - origin) // width * width + origin

    def ceil(self, time_us: int) -> int:
        """Return the first open at or after `time_us`."""
        opened = self.floor(time_us)
        return opened if opened == time_us else self.shift(opened, 1)

    def shift(self, open_us: int, count: int) -> int:
        """Return the open `count` candles after (or before) the candle opening at `open_us`."""
        width = self.width_us
        if width is None:
            return _month_open(_month_index(open_us) + count)
        return open_us + count * width

    def is_open(self, time_us: int) -> bool:
        """Return whether a candle can open at `time_us`."""
        return self.floor(time_us) == time_us

    def count_opens(self, start_us: int, end_us: int) -> int:
        """Return how many candles open in `[start_us, end_us)`."""
        if end_us <= start_us:
            return 0
        width = self.width_us
        first, stop = self.ceil(start_us), self.ceil(end_us)
        if width is None:
            return _month_index(stop) - _month_index(first)
        return (stop - first) // width

    def grid(self, start_us: int, end_us: int) -> npt.NDArray[np.int64]:
        """Return every open in `[start_us, end_us)`, ascending."""
        width = self.width_us
        if width is not None:
            return np.arange(self.ceil(start_us), end_us, width, dtype=np.int64)
        first, stop = _month_index(self.ceil(start_us)), _month_index(self.ceil(end_us))
        months = np.arange(first, max(first, stop)).astype("datetime64[M]")
        return months.astype("datetime64[us]").astype(np.int64)

    def floor_many(self, times_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return `floor` of every element."""
        width = self.width_us
        if width is None:
            moments = times_us.astype("datetime64[us]")
            return moments.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
        origin = _origin(self)
        return (times_us - origin) // width * width + origin

    def divides(self, coarser: "Interval") -> bool:
        """Return whether candles of this interval tile those of `coarser` exactly."""
        if self is coarser:
            return True
        if coarser is Interval.MON1:
            return self not in (Interval.W1, Interval.MON1)
        if coarser is Interval.W1:
            return self is not Interval.MON1
        mine, theirs = self.width_us, coarser.width_us
        return mine is not None and theirs is not None and theirs % mine == 0 and mine < theirs


_ALIASES: Final = {
    "1w": "1wk",
    "1W": "1wk",
    "1M": "1mon",
    "1mo": "1mon",
    "1H": "1h",
    "4H": "4h",
} | {
    "1D": "1d",
    "60m": "1h",
}

_WIDTH_US: Final[dict[Interval, int]] = {
    Interval.M1: US_PER_MINUTE,
    Interval.M5: 5 * US_PER_MINUTE,
    Interval.M15: 15 * US_PER_MINUTE,
    Interval.M30: 30 * US_PER_MINUTE,
    Interval.H1: US_PER_HOUR,
    Interval.H4: 4 * US_PER_HOUR,
    Interval.D1: US_PER_DAY,
    Interval.W1: 7 * US_PER_DAY,
}


def _origin(interval: Interval) -> int:
    return _FIRST_MONDAY_US if interval is Interval.W1 else 0


def _month_index(time_us: int) -> int:
    """Return months since January 1970 of the month that contains `time_us`."""
    day = dt.date(_EPOCH_YEAR, 1, 1) + dt.timedelta(days=time_us // US_PER_DAY)
    return (day.year - _EPOCH_YEAR) * 12 + day.month - 1


def _month_open(index: int) -> int:
    year, month = divmod(index, 12)
    days = (dt.date(_EPOCH_YEAR + year, month + 1, 1) - dt.date(_EPOCH_YEAR, 1, 1)).days
    return days * US_PER_DAY
