"""Bybit's way of limiting: 600 requests in any five seconds per address, then ten minutes of 403.

One quota holds for all hosts and categories together. No header tells how much of it is used.
"""

from typing import Final

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.simulator.config import Scale
from zvt_crypto.simulator.limits import SlidingWindow

REQUESTS: Final = 600
WINDOW_US: Final = 5 * US_PER_S
BAN_US: Final = 600 * US_PER_S


class IpGovernor:
    """The requests of one address.

    Args:
        scale: multiplies the quota, and shortens the ban with it, so that a test of both is short.
    """

    def __init__(self, scale: Scale) -> None:
        self.window = SlidingWindow(scale.apply(REQUESTS), WINDOW_US)
        self.ban_us = round(BAN_US * min(1.0, scale.factor))
        self.banned_until_us = 0

    def admit(self, now_us: int) -> bool:
        """Count a request and return whether it is within the quota and outside a ban."""
        if now_us < self.banned_until_us:
            return False
        if self.window.spend(now_us):
            return True
        self.banned_until_us = now_us + self.ban_us
        return False
