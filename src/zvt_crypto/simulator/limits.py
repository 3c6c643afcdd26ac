"""Counting windows the venues' rate limits are made of."""

from collections import deque


class FixedWindow:
    """A quota per calendar window: used up or not, it is full again when the window turns.

    Args:
        limit: how much fits in a window.
        width_us: the window, aligned to the epoch.
    """

    def __init__(self, limit: int, width_us: int) -> None:
        self.limit = limit
        self.width_us = width_us
        self.used = 0
        self.peak_share = 0.0
        self._window = 0

    def spend(self, amount: int, now_us: int) -> bool:
        """Count `amount` and return whether the window still holds."""
        window = now_us // self.width_us
        if window != self._window:
            self._window, self.used = window, 0
        self.used += amount
        if self.used <= self.limit:
            self.peak_share = max(self.peak_share, self.used / self.limit)
        return self.used <= self.limit

    def current(self, now_us: int) -> int:
        """Return what is used of the window of `now_us`."""
        return self.used if now_us // self.width_us == self._window else 0

    def resets_in_us(self, now_us: int) -> int:
        """Return the time until the window turns."""
        return self.width_us - now_us % self.width_us


class SlidingWindow:
    """A quota over the last `width_us`, at any moment; refused requests do not count."""

    def __init__(self, limit: int, width_us: int) -> None:
        self.limit = limit
        self.width_us = width_us
        self.peak_share = 0.0
        self._times: deque[int] = deque()

    def spend(self, now_us: int) -> bool:
        """Count one request and return whether it was within the quota."""
        times = self._times
        while times and times[0] <= now_us - self.width_us:
            times.popleft()
        if len(times) >= self.limit:
            return False
        times.append(now_us)
        self.peak_share = max(self.peak_share, len(times) / self.limit)
        return True

    def remaining(self, now_us: int) -> int:
        """Return how many more requests fit now."""
        times = self._times
        while times and times[0] <= now_us - self.width_us:
            times.popleft()
        return self.limit - len(times)

    def resets_in_us(self, now_us: int) -> int:
        """Return the time until one more request fits."""
        return max(0, self._times[0] + self.width_us - now_us) if self._times else 0
