"""Times of live rows: in microseconds, and within the bounds of what can be. Pure."""

from typing import Final

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MS

FUTURE_US: Final = US_PER_HOUR
"""A row from further ahead of our clock than this is refused: clocks are off by seconds."""

EARLIEST_US: Final = 14_000 * US_PER_DAY  # 2008-05-01: before any exchange of ours

LATEST_US: Final = 47_482 * US_PER_DAY
"""2100-01-01: how late a row may be when our own clock is not known."""

_MILLIS_BELOW: Final = 10**14
"""A time from here on counts microseconds (Binance serves them on request)."""


def latest_us(ts_recv: int) -> int:
    """Return the latest time a row may have that arrived at `ts_recv`."""
    return ts_recv + FUTURE_US if ts_recv > 0 else LATEST_US


def moment(time: int, ts_recv: int) -> int:
    """Return a time of the exchange in microseconds; milliseconds are told by their size.

    Raises:
        ValueError: it cannot be: long ago, or ahead of our clock by more than clocks differ.
    """
    time_us = time * US_PER_MS if time < _MILLIS_BELOW else time
    # The bound of `latest_us`, without the call.
    if EARLIEST_US <= time_us <= (ts_recv + FUTURE_US if ts_recv > 0 else LATEST_US):
        return time_us
    raise ValueError(f"a row of time {time}, received at {ts_recv} us")
