"""The simulator's clock: the wall clock, shifted or sped up for tests of skew and of time."""

import time

US_PER_S = 1_000_000


class Clock:
    """Tell the simulated time in UTC microseconds.

    Args:
        offset_s: added to the wall clock; a venue whose clock is wrong, or a market seen elsewhen.
        speed: simulated seconds per real second, counted from construction.
    """

    def __init__(self, *, offset_s: float = 0.0, speed: float = 1.0) -> None:
        self._offset_us = round(offset_s * US_PER_S)
        self._speed = speed
        self._started_us = time.time_ns() // 1_000

    def now_us(self) -> int:
        """Return the simulated time."""
        real_us = time.time_ns() // 1_000
        if self._speed != 1.0:
            real_us = self._started_us + round((real_us - self._started_us) * self._speed)
        return real_us + self._offset_us

    def describe(self) -> dict[str, float | int]:
        """Return what `/_clock` shows."""
        return {
            "now_us": self.now_us(),
            "offset_us": self._offset_us,
            "speed": self._speed,
        }
