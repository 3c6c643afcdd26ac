"""How long to wait between tries that are all in vain."""

from random import Random
from typing import Final

from zvt_crypto.core.interval import US_PER_S

# Waits are longer by up to this share, by chance: what fell silent together is not tried together.
_JITTER: Final = 0.25
_MOST_DOUBLINGS: Final = 30


class Pause:
    """Lets the first try through at once, and each further one after twice the wait.

    Args:
        first_s: the least wait after the first try.
        cap_s: what the waits grow to.
        rng: chance.
    """

    __slots__ = ("_cap_s", "_first_s", "_over_us", "_rng", "count", "taken_us")

    def __init__(self, first_s: float, cap_s: float, rng: Random) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._rng = rng
        self._over_us = 0
        self.count = 0
        """How many tries there were."""
        self.taken_us = 0
        """When the last one was."""

    def is_over(self, now_us: int) -> bool:
        """Return whether the next try may be made; a clock that was put back holds up none."""
        return now_us >= self._over_us or now_us < self.taken_us

    def take(self, now_us: int) -> None:
        """A try is made now."""
        doubled = self._first_s * 2 ** min(self.count, _MOST_DOUBLINGS)
        wait_s = min(doubled, self._cap_s) * self._rng.uniform(1.0, 1.0 + _JITTER)
        self.count += 1
        self.taken_us = now_us
        self._over_us = now_us + int(wait_s * US_PER_S)

    def reset(self) -> None:
        """A try worked: the next one may be made at once."""
        self.count = self._over_us = 0


__all__ = ["Pause"]
