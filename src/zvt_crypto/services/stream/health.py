"""Quiet or dead: the verdict on one feed, from its own habits and from what REST says.

Silence alone proves nothing. When a feed is silent for longer than it usually is, the exchange is
asked over REST: if it has something newer, old enough to have reached us, the feed is stale; if it
has nothing newer, the market is quiet.
"""

from enum import StrEnum

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.services.stream.config import StreamConfig

# Weight of the newest pause in the running mean.
_LEARN = 0.1
# Records within this of one that was seen say nothing new about silence, which is seconds.
_BLINK_US = 1_000


class Verdict(StrEnum):
    """How a feed is."""

    LIVE = "live"
    QUIET = "quiet"
    STALE = "stale"
    REPAIRING = "repairing"
    DEAD = "dead"


class Health:
    """What is known of the pauses of one feed."""

    __slots__ = (
        "_config", "_mean_us", "_probe_at", "_state", "began_us", "is_repairing", "last_us",
        "next_us", "tries",
    )  # fmt: skip

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._state = Verdict.DEAD
        self.is_repairing = False
        self.began_us = 0
        self.last_us = 0
        self.next_us = 0
        """From when on a record is to be told to `saw`; before, it may be spared the call."""
        self.tries = 0
        self._mean_us = 0.0
        self._probe_at = 0

    @property
    def verdict(self) -> Verdict:
        """How the feed is; a gap under repair shows while the feed itself is well."""
        if self.is_repairing and self._state in (Verdict.LIVE, Verdict.QUIET):
            return Verdict.REPAIRING
        return self._state

    def begin(self, now_us: int) -> None:
        """A subscription was sent: silence counts from now."""
        self.began_us = now_us
        self.last_us = max(self.last_us, now_us)
        self.next_us = 0
        self._probe_at = now_us + int(self._config.silent_after_s * US_PER_S)
        if self._state is Verdict.DEAD:
            self._state = Verdict.QUIET

    def saw(self, now_us: int) -> None:
        """A record came."""
        pause = now_us - self.last_us
        if pause > 0:
            self._mean_us += _LEARN * (pause - self._mean_us)
        self.last_us = now_us
        self.next_us = now_us + _BLINK_US
        if self._state is not Verdict.LIVE:
            self._state = Verdict.LIVE
            self.tries = 0

    def ended(self) -> None:
        """The connection is gone."""
        self._state = Verdict.DEAD
        self.next_us = 0

    @property
    def patience_us(self) -> int:
        """Return how long a silence is nothing unusual."""
        config = self._config
        usual = self._mean_us * config.silent_factor
        least, most = config.silent_after_s * US_PER_S, config.quiet_probe_s * US_PER_S
        return int(min(max(least, usual), most))

    def is_suspect(self, now_us: int) -> bool:
        """Return whether it is time to ask the exchange."""
        if self._state is Verdict.DEAD:
            return False
        if now_us < self.last_us:  # the clock was put back
            self.last_us, self.next_us = now_us, 0
        return now_us - self.last_us >= self.patience_us and now_us >= self._probe_at

    def overdue_us(self, now_us: int) -> int:
        """Return for how long it has been time to ask."""
        return now_us - max(self.last_us + self.patience_us, self._probe_at)

    def asked(self, now_us: int) -> None:
        """The exchange is being asked: not again before the answer can matter."""
        self._probe_at = now_us + int(self._config.quiet_probe_s * US_PER_S)

    def found_quiet(self, now_us: int) -> None:
        """The exchange has nothing newer either."""
        self._state = Verdict.QUIET
        self.next_us = 0
        self._probe_at = now_us + int(self._config.quiet_probe_s * US_PER_S)

    def found_young(self, now_us: int) -> None:
        """The exchange has something newer that may still be on its way: ask again soon."""
        self._probe_at = now_us + int(self._config.in_flight_s * US_PER_S)

    def found_stale(self, now_us: int) -> None:
        """The exchange has something newer that did not come."""
        self._state = Verdict.STALE
        self.next_us = 0
        self.tries += 1
        self._probe_at = now_us + int(self._config.silent_after_s * US_PER_S)
