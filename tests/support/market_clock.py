"""A clock that goes with a simulator's, so that a market's minute need not take one."""

import asyncio
import time
from dataclasses import dataclass

from sim_process import Sim

US_PER_S = 1_000_000


@dataclass(frozen=True)
class MarketClock:
    """The `Clock` of a process that lives in the simulator's time.

    Wall time, steady time and sleep go as fast as the market's: deadlines of the service keep
    their measure in it, and the machine only seems slower.
    """

    market_us: int
    began_s: float
    speed: float

    @classmethod
    def of(cls, sim: Sim) -> "MarketClock":
        """Return a clock that shows what the simulator's shows."""
        asked_s = time.monotonic()
        told = sim.get("/_clock")
        return cls(told["now_us"], (asked_s + time.monotonic()) / 2, told["speed"])

    def now_us(self) -> int:
        """Return the market's time."""
        passed_s = (time.monotonic() - self.began_s) * self.speed
        return self.market_us + round(passed_s * US_PER_S)

    def monotonic_s(self) -> float:
        """Return seconds of the market since some moment."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of the market."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)
