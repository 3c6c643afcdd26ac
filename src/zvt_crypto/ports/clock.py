"""Time as an argument: nothing below the edges reads a clock of its own."""

from typing import Protocol


class Clock(Protocol):
    """Wall time, steady time and sleep, from one hand so that a test can own all three."""

    def now_us(self) -> int:
        """Return UTC in microseconds; may jump when the machine corrects its clock."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds since some fixed moment; never jumps, the same in all processes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once, but not before other tasks ran, if not positive."""
        ...
