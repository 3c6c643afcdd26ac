"""The machine's clock, and what a server's clock says beside it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median_low

from zvt_crypto.ports.clock import Clock


class SystemClock:
    """The `Clock` of the running machine."""

    def now_us(self) -> int:
        """Return UTC in microseconds."""
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        """Return seconds since the machine started, the same in all its processes."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(max(0.0, seconds))


class ServerClock:
    """A server's clock as a fixed distance from ours.

    `offset_us` is what to add to our time; 0 until the first `sync`. `uncertainty_us` is half the
    shortest round trip: the true offset lies that close to the sample it came from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_us = 0
        self.uncertainty_us: int | None = None

    @property
    def synced(self) -> bool:
        """Return whether the offset was measured at all."""
        return self.uncertainty_us is not None

    @property
    def skew_us(self) -> int:
        """Return how far apart the clocks are, whichever is ahead."""
        return abs(self.offset_us)

    def now_us(self) -> int:
        """Return the server's time as far as we know."""
        return self._clock.now_us() + self.offset_us

    async def sync(self, server_us: Callable[[], Awaitable[int]], *, samples: int = 5) -> int:
        """Measure the offset and return it.

        The answer is taken to be read halfway between question and reply. The median discards
        samples whose two ways were unequal; a round trip is timed on the steady clock, so that a
        step of ours in the middle cannot stretch it.

        Args:
            server_us: asks the server for its time once.
            samples: how often; odd, so that the median is one of them.

        Raises:
            CryptoError: whatever `server_us` raises; the old offset stays.
        """
        offsets: list[int] = []
        trips: list[int] = []
        for _ in range(samples):
            started_us = self._clock.now_us()
            started_s = self._clock.monotonic_s()
            answer_us = await server_us()
            trip_us = round((self._clock.monotonic_s() - started_s) * 1e6)
            offsets.append(answer_us - (started_us + trip_us // 2))
            trips.append(trip_us)
        self.offset_us = median_low(offsets)
        self.uncertainty_us = min(trips) // 2
        return self.offset_us
