"""Candle widths of any venue, beyond the platform's nine.

Venues also speak of three-minute, eight-hour or three-day candles, and OKX of days that open at
16:00 UTC; a `Bar` says where such candles open.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, US_PER_S, Interval

Ints = npt.NDArray[np.int64]

_MONDAY_US: Final = 4 * US_PER_DAY  # 1970-01-05
_EPOCH_YEAR: Final = 1970
_UTC8_US: Final = -8 * US_PER_HOUR  # a day of UTC+8 opens at 16:00 UTC of the day before


@dataclass(frozen=True, slots=True)
class Bar:
    """Width and origin of a candle.

    Attributes:
        width_us: microseconds of one candle; 0 for calendar months.
        months: calendar months of one candle, when `width_us` is 0.
        origin_us: a moment at which a candle opens; for months, a shift of the whole calendar.
    """

    width_us: int
    months: int = 0
    origin_us: int = 0

    @property
    def nominal_us(self) -> int:
        """Return the width for estimates; a month counts as 31 days."""
        return self.width_us or self.months * 31 * US_PER_DAY

    def index(self, time_us: int) -> int:
        """Return the number of the candle that contains `time_us`, counted from the origin."""
        if self.width_us:
            return (time_us - self.origin_us) // self.width_us
        return _month_index(time_us - self.origin_us) // self.months

    def opening(self, index: int) -> int:
        """Return the open of candle number `index`."""
        if self.width_us:
            return index * self.width_us + self.origin_us
        return _month_open(index * self.months) + self.origin_us

    def floor(self, time_us: int) -> int:
        """Return the open of the candle that contains `time_us`."""
        return self.opening(self.index(time_us))

    def next(self, open_us: int) -> int:
        """Return the open of the candle after the one opening at `open_us`."""
        return self.opening(self.index(open_us) + 1)

    def floor_many(self, times_us: Ints) -> Ints:
        """Return `floor` of every element."""
        if self.width_us:
            return (times_us - self.origin_us) // self.width_us * self.width_us + self.origin_us
        moments = (times_us - self.origin_us).astype("datetime64[us]").astype("datetime64[M]")
        index = moments.astype(np.int64) // self.months * self.months
        opens = index.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
        return opens + self.origin_us

    def closes(self, opens_us: Ints) -> Ints:
        """Return the end of every candle, excluded."""
        if self.width_us:
            return opens_us + self.width_us
        moments = (opens_us - self.origin_us).astype("datetime64[us]").astype("datetime64[M]")
        ends = moments + np.timedelta64(self.months, "M")
        return ends.astype("datetime64[us]").astype(np.int64) + self.origin_us


def _minutes(count: int) -> Bar:
    return Bar(count * US_PER_MINUTE)


SECOND: Final = Bar(US_PER_S)
MINUTE: Final = _minutes(1)
DAY: Final = Bar(US_PER_DAY)
WEEK: Final = Bar(7 * US_PER_DAY, origin_us=_MONDAY_US)
MONTH: Final = Bar(0, months=1)
DAY_UTC8: Final = Bar(US_PER_DAY, origin_us=_UTC8_US)
WEEK_UTC8: Final = Bar(7 * US_PER_DAY, origin_us=_MONDAY_US + _UTC8_US)
MONTH_UTC8: Final = Bar(0, months=1, origin_us=_UTC8_US)

MINUTES: Final[dict[int, Bar]] = {
    count: _minutes(count) for count in (1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720)
}
"""Bars of whole minutes, up to twelve hours, by their number of minutes."""

_OF_INTERVAL: Final[dict[Interval, Bar]] = {
    Interval.M1: MINUTE,
    Interval.M5: MINUTES[5],
    Interval.M15: MINUTES[15],
    Interval.M30: MINUTES[30],
    Interval.H1: MINUTES[60],
    Interval.H4: MINUTES[240],
    Interval.D1: DAY,
    Interval.W1: WEEK,
    Interval.MON1: MONTH,
}


def bar_of(interval: Interval) -> Bar:
    """Return the bar of one of the platform's nine intervals."""
    return _OF_INTERVAL[interval]


def _month_index(time_us: int) -> int:
    day = dt.date(_EPOCH_YEAR, 1, 1) + dt.timedelta(days=time_us // US_PER_DAY)
    return (day.year - _EPOCH_YEAR) * 12 + day.month - 1


def _month_open(index: int) -> int:
    year, month = divmod(index, 12)
    days = (dt.date(_EPOCH_YEAR + year, month + 1, 1) - dt.date(_EPOCH_YEAR, 1, 1)).days
    return days * US_PER_DAY
