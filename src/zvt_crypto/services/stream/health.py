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
    """What is known of the pauses of one feed.

    Once it stayed silent although it was asked for anew, only a record from a socket proves that
    it lives: that the exchange has had nothing newer for a while does not.
    """

    __slots__ = (
        "_config", "_is_given_up", "_mean_us", "_probe_at", "_revived_us", "_state", "_was_stale",
        "began_us", "heard_us", "is_cut", "is_repairing", "last_us", "next_us", "tries",
    )  # fmt: skip

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._state = Verdict.QUIET
        self.is_cut = True
        """Whether no connection carries it."""
        self.is_repairing = False
        self.began_us = 0
        self.heard_us = 0
        """When the newest record came."""
        self.last_us = 0
        """Since when it is silent: the newest record, or the newest request."""
        self.next_us = 0
        """From when on a record is to be told to `saw`; before, it may be spared the call."""
        self.tries = 0
        """How often it was found stale since it was well."""
        self._was_stale = False
        self._is_given_up = False
        self._revived_us = 0
        self._mean_us = 0.0
        self._probe_at = 0

    @property
    def verdict(self) -> Verdict:
        """How the feed is; a gap under repair shows while the feed itself is well."""
        if self.is_cut or self._is_given_up:
            return Verdict.DEAD
        if self.is_repairing and self._state in (Verdict.LIVE, Verdict.QUIET):
            return Verdict.REPAIRING
        return self._state

    def begin(self, now_us: int) -> None:
        """A subscription was sent: silence counts from now."""
        self.began_us = now_us
        self.last_us = max(self.last_us, now_us)
        self.next_us = 0
        self._probe_at = now_us + int(self._config.silent_after_s * US_PER_S)
        self.is_cut = False

    def saw(self, now_us: int) -> None:
        """A record came."""
        pause = now_us - self.last_us
        if pause > 0:
            self._mean_us += _LEARN * (pause - self._mean_us)
        self.last_us = self.heard_us = now_us
        self.next_us = now_us + _BLINK_US
        if self._state is not Verdict.LIVE:
            self._revive(now_us)

    def _revive(self, now_us: int) -> None:
        self._state = Verdict.LIVE
        self.is_cut = self._is_given_up = False
        if self._was_stale:
            self._was_stale = False
            self._revived_us = now_us

    def ended(self) -> None:
        """The connection is gone."""
        self.is_cut = True
        if self._state is Verdict.LIVE:
            self._state = Verdict.QUIET
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
        if self.is_cut:
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
        if not (self._was_stale and self.tries > 1):
            self._state = Verdict.QUIET
        self.next_us = 0
        self._probe_at = now_us + int(self._config.quiet_probe_s * US_PER_S)

    def found_young(self, now_us: int) -> None:
        """The exchange has something newer that may still be on its way: ask again soon."""
        self._probe_at = now_us + int(self._config.in_flight_s * US_PER_S)

    def found_stale(self, now_us: int) -> bool:
        """The exchange has something newer that did not come; return whether that is news."""
        is_news = not self._was_stale
        if is_news and self.heard_us - self._revived_us >= self._config.steady_s * US_PER_S:
            self.tries = 0
        self._was_stale = True
        self._state = Verdict.STALE
        self.next_us = 0
        self.tries += 1
        self._probe_at = now_us + int(self._config.silent_after_s * US_PER_S)
        return is_news

    def give_up(self) -> bool:
        """New connections did not help: call it dead until a record comes; return if it was not."""
        is_news = not self._is_given_up
        self._is_given_up = True
        if self._state is Verdict.LIVE:
            self._state = Verdict.QUIET
        self.next_us = 0
        return is_news

    def hope(self) -> None:
        """The connection it was given up with has come alive: it is as it was found by itself."""
        self._is_given_up = False
