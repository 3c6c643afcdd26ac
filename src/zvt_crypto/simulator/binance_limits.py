"""Binance's way of limiting: weight in calendar minutes, 429, and bans for those who go on.

Going over the weight answers 429 with Retry-After until the minute turns. A client that keeps
asking meanwhile is banned: 418, two minutes at first, doubling up to three days. Requests during
a ban only lengthen it in Binance's terms, not here: the ban ends when it said it would.
"""

from typing import Final

from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S
from zvt_crypto.simulator.limits import FixedWindow

_FIRST_BAN_S: Final = 120
_LONGEST_BAN_S: Final = 3 * 86_400
_PATIENCE: Final = 10  # requests in one minute after the first 429 that are forgiven


class WeightGovernor:
    """The weight of one client on one host group.

    Args:
        limit: weight per minute in force.
    """

    def __init__(self, limit: int) -> None:
        self.weight = FixedWindow(limit, US_PER_MINUTE)
        self.banned_until_us = 0
        self._bans = 0
        self._warned_window = -1
        self._warnings = 0

    def spend(self, amount: int, now_us: int) -> tuple[int, int]:
        """Count a request; return the status it earns (200, 429, 418) and seconds to wait."""
        if now_us < self.banned_until_us:
            return 418, -(-(self.banned_until_us - now_us) // US_PER_S)
        if self.weight.spend(amount, now_us):
            return 200, 0
        window = now_us // US_PER_MINUTE
        if window != self._warned_window:
            self._warned_window, self._warnings = window, 0
        self._warnings += 1
        if self._warnings > _PATIENCE:
            ban_s = min(_LONGEST_BAN_S, _FIRST_BAN_S * 2**self._bans)
            self._bans += 1
            self.banned_until_us = now_us + ban_s * US_PER_S
            return 418, ban_s
        return 429, -(-self.weight.resets_in_us(now_us) // US_PER_S)
