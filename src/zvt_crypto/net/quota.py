"""The arithmetic of a rate limit: how much is used, and how long until something fits.

A meter is pure. What it remembers is a stretch of float64 cells that its caller holds, so the same
arithmetic works on memory, on a file shared by processes, or on a value in a cache. Times are
microseconds, which float64 holds exactly until the year 2255.

A request is booked when it leaves and counted by the server when it arrives. Every meter has a
margin for the difference, explained in its docstring.
"""

import math
from collections.abc import MutableSequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

Cells: TypeAlias = MutableSequence[float]
QuotaKind = Literal["window", "rolling", "bucket"]

US_PER_S: Final = 1_000_000
_LIMIT: Final = 0  # first cell of every meter: the published amount, 0 for "as configured"
_EPSILON: Final = 1e-9  # 0.29 * 100 is a little less than 29


@dataclass(frozen=True, slots=True)
class Quota:
    """One published limit of a host: `amount` per `per_s` seconds.

    Attributes:
        name: what a cost refers to, e.g. `weight` or `endpoint:klines`.
        amount: the published limit.
        per_s: the time it is for.
        kind: `window` counts from zero at each turn of a window, `rolling` looks back over the
            last `per_s`, `bucket` refills evenly and holds `burst`.
        aligned: a window turns at multiples of `per_s` of the server's clock. When it does not,
            nobody outside knows when it turns, and it is obeyed as `rolling`: what fits into any
            `per_s` fits into theirs.
        share: part of the limit to use; the governor's when None.
        guard_s: the margin of time; None for the default of the kind.
        burst: capacity of a bucket; `amount` when None.
    """

    name: str
    amount: float
    per_s: float
    kind: QuotaKind = "window"
    aligned: bool = True
    share: float | None = None
    guard_s: float | None = None
    burst: float | None = None

    def __post_init__(self) -> None:
        if self.amount <= 0 or self.per_s <= 0:
            raise ValueError(f"quota {self.name!r}: amount and per_s must be positive")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"quota {self.name!r}: share must be over 0 and at most 1")


class Now(NamedTuple):
    """One moment on three clocks, and how well the second is known, in microseconds."""

    local: float  # ours, UTC
    server: float  # the server's, UTC, as far as we know
    steady: float  # never jumps, the same in all processes of a machine
    doubt: float = 1.0 * US_PER_S  # how far `server` may be from the truth, the way there included
    late: float = 0.0  # how much longer than others a request on its way may take to be counted


class Meter(Protocol):
    """One quota's use, kept in `size` cells from `at`."""

    quota: Quota
    at: int
    size: int

    def wait_us(self, cells: Cells, now: Now, cost: float) -> float:
        """Return 0 if `cost` fits now, else how long until it may; infinite if it never can."""
        ...

    def book(self, cells: Cells, now: Now, cost: float) -> None:
        """Count `cost` as used; only after `wait_us` returned 0 for the same moment."""
        ...

    def observe(self, cells: Cells, now: Now, used: float, age_us: float) -> None:
        """Raise the use to what the server said it is, at most `age_us` before `now`."""
        ...

    def fill(self, cells: Cells, now: Now) -> None:
        """Count everything as used, for when what was used is not known."""
        ...


def make_meter(quota: Quota, at: int, share: float) -> Meter:
    """Return the meter of `quota` with its cells from `at`."""
    share = share if quota.share is None else quota.share
    if quota.kind == "bucket":
        return BucketMeter(quota, at, share)
    if quota.kind == "window" and quota.aligned:
        return WindowMeter(quota, at, share)
    return RollingMeter(quota, at, share)


class _Limited:
    def __init__(self, quota: Quota, at: int, share: float) -> None:
        self.quota = quota
        self.at = at
        self._share = share
        self._per_us = quota.per_s * US_PER_S

    def _fits(self, cells: Cells, used: float, cost: float) -> bool:
        limit = self._limit(cells)
        # A cost over our share but within the limit goes alone, or it would never go.
        return used + cost <= limit * self._share + _EPSILON or (used <= 0 and cost <= limit)

    def _limit(self, cells: Cells) -> float:
        return cells[self.at + _LIMIT] or self.quota.amount


class WindowMeter(_Limited):
    """Counts per window of the server's clock, for the previous, the current and the next one.

    The margin is `guard_s`, or else `Now.doubt` (1 s while the server's clock is unknown), at most
    a quarter of the window, either side of a turn. A request inside it may be counted in either
    window, so it is booked in both. Nothing is lost by that when the budget is used up early in
    the window, as a saturating load does: the double counting then falls where nothing is sent.
    A load that just needs the whole window loses up to two margins' worth.
    """

    size = 5
    _INDEX, _PREVIOUS, _CURRENT, _NEXT = 1, 2, 3, 4

    def __init__(self, quota: Quota, at: int, share: float) -> None:
        super().__init__(quota, at, share)
        self._fixed_us = None if quota.guard_s is None else quota.guard_s * US_PER_S

    def _guard_us(self, now: Now) -> float:
        guard_us = now.doubt if self._fixed_us is None else self._fixed_us
        return min(guard_us, self._per_us / 4)

    def wait_us(self, cells: Cells, now: Now, cost: float) -> float:
        """See `Meter`."""
        if cost > self._limit(cells):
            return math.inf
        index = self._turn(cells, now)
        wait = 0.0
        for window in self._touched(now):
            if not self._fits(cells, cells[self._cell(window, index)], cost):
                free_at = (window + 1) * self._per_us + self._guard_us(now)
                wait = max(wait, free_at - now.server)
        return wait

    def book(self, cells: Cells, now: Now, cost: float) -> None:
        """See `Meter`."""
        index = self._turn(cells, now)
        for window in self._touched(now):
            cells[self._cell(window, index)] += cost

    def observe(self, cells: Cells, now: Now, used: float, age_us: float) -> None:
        """See `Meter`; ignored where it may belong to either of two windows.

        Replies to the last requests of a minute arrive in the next one. Taken for the new one,
        their count would block it whole.
        """
        index = self._turn(cells, now)
        earliest = self._window(now.server - age_us - self._guard_us(now))
        if earliest == self._window(now.server + self._guard_us(now)) == index:
            cell = self.at + self._CURRENT
            cells[cell] = max(cells[cell], used)

    def fill(self, cells: Cells, now: Now) -> None:
        """See `Meter`."""
        index = self._window(now.server)
        cells[self.at + self._INDEX] = index
        for window in range(index - 1, index + 2):
            spent = window <= self._window(now.server + self._guard_us(now))
            cells[self._cell(window, index)] = self._limit(cells) if spent else 0.0

    def _window(self, server_us: float) -> int:
        return int(server_us // self._per_us)

    def _touched(self, now: Now) -> range:
        first = self._window(now.server - self._guard_us(now))
        return range(first, self._window(now.server + self._guard_us(now)) + 1)

    def _cell(self, window: int, index: int) -> int:
        return self.at + self._CURRENT + window - index

    def _turn(self, cells: Cells, now: Now) -> int:
        """Move the three counts so that the middle one is the window of `now`."""
        index = self._window(now.server)
        at = self.at
        turned = index - cells[at + self._INDEX]
        if turned == 0:
            return index
        previous, current, after = cells[at + self._PREVIOUS : at + self._NEXT + 1]
        if turned == 1:
            counts = (current, after, 0.0)
        elif turned == 2:  # noqa: PLR2004
            counts = (after, 0.0, 0.0)
        elif turned > 2:  # noqa: PLR2004
            counts = (0.0, 0.0, 0.0)
        elif turned == -1:  # two processes that know the server's clock a little differently
            counts = (previous, previous, current + after)
        else:
            self.fill(cells, now)
            return index
        cells[at + self._INDEX] = index
        cells[at + self._PREVIOUS], cells[at + self._CURRENT], cells[at + self._NEXT] = counts
        return index


class RollingMeter(_Limited):
    """A ring of (time, amount): what was booked in the last `per_s`.

    The margin is `guard_s` (1.5 % of `per_s`) by which bookings are held longer: the first
    requests of a burst may take longer to arrive than those that follow `per_s` later. Where
    replies showed that they do, by `Now.late`, that is the margin, up to half of `per_s`.

    Up to `_ENTRIES` bookings are kept exactly. Larger limits are kept in slots of time, each
    counted until its last moment has passed, which costs 1 / `_ENTRIES` of the rate.
    """

    _ENTRIES: Final = 256
    _TOTAL, _HEAD, _COUNT, _RING = 1, 2, 3, 4

    def __init__(self, quota: Quota, at: int, share: float) -> None:
        super().__init__(quota, at, share)
        guard_s = quota.per_s * 0.015 if quota.guard_s is None else quota.guard_s
        self._guard_us = guard_s * US_PER_S
        self._entries = min(math.ceil(quota.amount), self._ENTRIES)
        exact = quota.amount <= self._ENTRIES
        held_us = self._per_us + self._guard_us
        self._slot_us = 1.0 if exact else math.ceil(held_us / (self._ENTRIES - 2))
        self.size = self._RING + 2 * self._entries

    def wait_us(self, cells: Cells, now: Now, cost: float) -> float:
        """See `Meter`."""
        limit = self._limit(cells)
        if cost > limit:
            return math.inf
        self._expire(cells, now)
        used = cells[self.at + self._TOTAL]
        if self._fits(cells, used, cost):
            return 0.0
        for entry in range(int(cells[self.at + self._COUNT])):
            cell = self._entry(cells, entry)
            used -= cells[cell + 1]
            if self._fits(cells, used, cost):
                return cells[cell] + self._hold_us(now) - now.steady
        return self._hold_us(now)  # unreachable while the total is the sum of the ring

    def book(self, cells: Cells, now: Now, cost: float) -> None:
        """See `Meter`."""
        self._expire(cells, now)
        at = self.at
        count = int(cells[at + self._COUNT])
        counted_at = math.ceil(now.steady / self._slot_us) * self._slot_us
        cells[at + self._TOTAL] += cost
        if count:
            last = self._entry(cells, count - 1)
            if cells[last] == counted_at or count == self._entries:
                cells[last] = counted_at
                cells[last + 1] += cost
                return
        cell = self._entry(cells, count)
        cells[cell], cells[cell + 1] = counted_at, cost
        cells[at + self._COUNT] = count + 1

    def observe(self, cells: Cells, now: Now, used: float, age_us: float) -> None:
        """See `Meter`; ignored when so old that much of it has rolled out since."""
        self._expire(cells, now)
        excess = min(used, self._limit(cells)) - cells[self.at + self._TOTAL]
        if excess > 0 and age_us < self._per_us / 4:
            self.book(cells, now, excess)

    def fill(self, cells: Cells, now: Now) -> None:
        """See `Meter`."""
        cells[self.at + self._HEAD] = cells[self.at + self._COUNT] = 0
        cells[self.at + self._TOTAL] = 0
        self.book(cells, now, self._limit(cells))

    def _hold_us(self, now: Now) -> float:
        return self._per_us + max(self._guard_us, min(now.late, self._per_us / 2))

    def _entry(self, cells: Cells, number: int) -> int:
        place = (int(cells[self.at + self._HEAD]) + number) % self._entries
        return self.at + self._RING + 2 * place

    def _expire(self, cells: Cells, now: Now) -> None:
        at = self.at
        count = int(cells[at + self._COUNT])
        if count and cells[self._entry(cells, count - 1)] > now.steady + self._slot_us:
            self.fill(cells, now)  # the machine was restarted: its steady clock began anew
            return
        hold_us = self._hold_us(now)
        while count and cells[cell := self._entry(cells, 0)] + hold_us <= now.steady:
            cells[at + self._TOTAL] -= cells[cell + 1]
            cells[at + self._HEAD] = (cells[at + self._HEAD] + 1) % self._entries
            count -= 1
            cells[at + self._COUNT] = count
        if not count:
            cells[at + self._TOTAL] = 0  # sums of fractions drift


class BucketMeter(_Limited):
    """A level that each cost raises and time lowers.

    The share is taken of rate and burst alike, which is the margin: requests that bunch up on the
    way find a bucket that is a little larger than the one we emptied.
    """

    size = 3
    _LEVEL, _UPDATED = 1, 2

    def wait_us(self, cells: Cells, now: Now, cost: float) -> float:
        """See `Meter`."""
        capacity = self._capacity(cells)
        if cost > capacity / self._share + _EPSILON:
            return math.inf
        level = self._leak(cells, now)
        # As in `_fits`: over our share alone, when nothing else is in.
        over = level + cost - max(capacity, cost)
        return max(0.0, over - _EPSILON) / self._rate(cells)

    def book(self, cells: Cells, now: Now, cost: float) -> None:
        """See `Meter`."""
        cells[self.at + self._LEVEL] = self._leak(cells, now) + cost

    def observe(self, cells: Cells, now: Now, used: float, age_us: float) -> None:
        """See `Meter`; `used` is what is missing from a full bucket."""
        level = self._leak(cells, now)
        said = min(used, self._limit(cells)) - age_us * self._rate(cells)
        cells[self.at + self._LEVEL] = max(level, said)

    def fill(self, cells: Cells, now: Now) -> None:
        """See `Meter`."""
        cells[self.at + self._LEVEL] = self._capacity(cells)
        cells[self.at + self._UPDATED] = now.steady

    def _rate(self, cells: Cells) -> float:
        return self._limit(cells) * self._share / self._per_us

    def _capacity(self, cells: Cells) -> float:
        burst = self.quota.amount if self.quota.burst is None else self.quota.burst
        return burst * self._share * self._limit(cells) / self.quota.amount

    def _leak(self, cells: Cells, now: Now) -> float:
        passed = now.steady - cells[self.at + self._UPDATED]
        if passed < 0:  # restarted, as in `RollingMeter`
            self.fill(cells, now)
            return cells[self.at + self._LEVEL]
        level = max(0.0, cells[self.at + self._LEVEL] - passed * self._rate(cells))
        cells[self.at + self._LEVEL] = level
        cells[self.at + self._UPDATED] = now.steady
        return level
