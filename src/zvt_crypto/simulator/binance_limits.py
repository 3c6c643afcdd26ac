"""Binance's way of limiting: weight in calendar minutes, 429, and bans for those who go on.

Going over the weight answers 429 with Retry-After until the minute turns. A client that keeps
asking meanwhile is banned: 418, two minutes at first, doubling up to three days. A ban ends when
it said it would, whatever the client sends meanwhile.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S
from zvt_crypto.simulator.config import Scale
from zvt_crypto.simulator.limits import FixedWindow
from zvt_crypto.simulator.venue import Request

SPOT_WEIGHT: Final = 6_000
PERP_WEIGHT: Final = 2_400
RAW_REQUESTS: Final = 300_000
_QUOTA_US: Final = 5 * US_PER_MINUTE
_QUOTAS: Final = {"spot": RAW_REQUESTS, "funding": 500, "statistics": 1_000}
_FIRST_BAN_S: Final = 120
_LONGEST_BAN_S: Final = 3 * 86_400
_PATIENCE: Final = 10  # requests in one minute after the limit that are answered 429

Weight = Callable[[Request], int]


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

    def spend(self, amount: int, now_us: int) -> tuple[HTTPStatus, int]:
        """Count a request; return the status it earns and the seconds to wait."""
        if now_us < self.banned_until_us:
            return HTTPStatus.IM_A_TEAPOT, -(-(self.banned_until_us - now_us) // US_PER_S)
        if self.weight.spend(amount, now_us):
            return HTTPStatus.OK, 0
        window = now_us // US_PER_MINUTE
        if window != self._warned_window:
            self._warned_window, self._warnings = window, 0
        self._warnings += 1
        if self._warnings > _PATIENCE:
            ban_s = min(_LONGEST_BAN_S, _FIRST_BAN_S * 2**self._bans)
            self._bans += 1
            self.banned_until_us = now_us + ban_s * US_PER_S
            return HTTPStatus.IM_A_TEAPOT, ban_s
        return HTTPStatus.TOO_MANY_REQUESTS, -(-self.weight.resets_in_us(now_us) // US_PER_S)


class Limits:
    """All limits of all clients: spot and perpetual weight, and the quotas beside them."""

    def __init__(self, scale: Scale) -> None:
        self.spot = scale.apply(SPOT_WEIGHT)
        self.perp = scale.apply(PERP_WEIGHT)
        self.raw = scale.apply(RAW_REQUESTS)
        self._scale = scale
        self._governors: dict[tuple[str, bool], WeightGovernor] = {}
        self._windows: dict[tuple[str, str], FixedWindow] = {}

    def governor(self, client: str, *, perp: bool) -> WeightGovernor:
        """Return the weight of one client on spot or perpetual hosts."""
        governor = self._governors.get((client, perp))
        if governor is None:
            governor = WeightGovernor(self.perp if perp else self.spot)
            self._governors[client, perp] = governor
        return governor

    def quota(self, client: str, scope: str) -> FixedWindow | None:
        """Return the five-minute quota of a scope, where it has one."""
        window = self._windows.get((client, scope))
        if window is None and scope in _QUOTAS:
            window = FixedWindow(self._scale.apply(_QUOTAS[scope]), _QUOTA_US)
            self._windows[client, scope] = window
        return window


def stepped(default: int, *steps: tuple[int, int], beyond: int) -> Weight:
    """Return a weight that grows with the parameter `limit`: (limit up to, weight), ascending."""

    def weigh(request: Request) -> int:
        text = request.query.get("limit", "")
        limit = int(text) if text.isdecimal() else default
        return next((weight for upto, weight in steps if limit <= upto), beyond)

    return weigh


def one_or_all(one: int, many: int) -> Weight:
    """Return a weight that is lower when a symbol is named."""
    return lambda request: one if "symbol" in request.query else many


def day_ticker(request: Request) -> int:
    """Return the weight of spot `ticker/24hr`, which depends on how many symbols are named."""
    symbols = request.query.get("symbols", "")
    count = symbols.count(",") + 1 if symbols else _MANY
    if "symbol" in request.query or count <= _FEW:
        return 2
    return 40 if count < _MANY else 80


PERP_KLINES: Final = stepped(500, (99, 1), (499, 2), (1_000, 5), beyond=10)
SPOT_DEPTH: Final = stepped(100, (100, 5), (500, 25), (1_000, 50), beyond=250)
PERP_DEPTH: Final = stepped(500, (50, 2), (100, 5), (500, 10), beyond=20)
_FEW: Final = 20
_MANY: Final = 101
