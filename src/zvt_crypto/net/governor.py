"""The rate governor: one for each host and address, asked before every request.

It keeps to several limits at once, is corrected by what the server reports, and stops everybody
when the server has said stop. `net/quota.py` does the arithmetic, `net/governor_state.py` decides
who shares it.
"""

import asyncio
import logging
import math
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor_state import GovernorState, Record
from zvt_crypto.net.quota import US_PER_S, Meter, Now, Quota, make_meter
from zvt_crypto.ports.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

_LAYOUT: Final = 0
_FROZEN_UNTIL: Final = 1
_HEAD_CELLS: Final = 2
# Venues ban for up to three days; anything longer is a mistake.
_MAX_FREEZE_US: Final = 4 * 86_400 * US_PER_S
_MIN_WAIT_S: Final = 0.001  # timers may fire a little early: no spinning when they do
# The way to the server, and the drift of the clocks since they were compared.
_CLOCK_SLACK_US: Final = 250_000
_TYPICAL_REPLY_S: Final = 2.0
# How soon half of the lateness of a reply is forgotten.
_LATE_HALF_LIFE_S: Final = 4.0

_Wanted = tuple[tuple[Meter, float], ...]


class _Waiter:
    def __init__(self, wanted: _Wanted, names: frozenset[str]) -> None:
        self.wanted = wanted
        self.names = names
        self.turn: asyncio.Future[_Verdict] = asyncio.get_running_loop().create_future()


class Frozen(Exception):
    """The host answers nobody for so long that waiting is for the user to decide."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(seconds)


class _Verdict(NamedTuple):
    """`refused` names the quotas that do not allow it, `wait_us` when the first of them may."""

    wait_us: float
    refused: frozenset[str]


_ALLOWED: Final = _Verdict(0.0, frozenset())


class _Report(NamedTuple):
    meter: Meter
    used: float
    local_us: float
    age_us: float


class Governor:
    """Lets requests out no faster than the quotas of one host allow.

    Requests that wait are served first come, first served, as far as they wait for the same
    quota: one that waits for a scarce endpoint does not hold up the others. A cancelled wait books
    nothing.

    Args:
        name: of the host, for the log.
        quotas: its limits; a cost refers to them by name.
        state: shared by all governors of this host and address.
        share: part of every limit to use. The rest is for what we cannot see: requests already
            counted twice or late, and other programs at this address until the server's reports
            tell of them.
        clock: ours.
        server_clock: the server's, for windows that turn with its clock. Without one (or before
            it is synced) its clock is taken to be within a second of ours.

    Attributes:
        wait_s: seconds all callers together have waited.
        acquired: requests let out.
    """

    def __init__(
        self,
        name: str,
        quotas: Sequence[Quota],
        state: GovernorState,
        share: float = 0.97,
        *,
        clock: Clock | None = None,
        server_clock: ServerClock | None = None,
        patience_s: float = math.inf,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError("share must be over 0 and at most 1")
        self.name = name
        self.wait_s = 0.0
        self.acquired = 0
        self._state = state
        self._clock: Clock = clock or SystemClock()
        self._server_clock = server_clock
        self._meters: dict[str, Meter] = {}
        self._size = _HEAD_CELLS
        for quota in quotas:
            if quota.name in self._meters:
                raise ValueError(f"quota {quota.name!r} is given twice")
            meter = make_meter(quota, self._size, share)
            self._meters[quota.name] = meter
            self._size += meter.size
        self._layout = _layout(self._meters.values())
        self._all_names = frozenset(self._meters)
        self._limits: dict[str, float] = {}
        self._line: dict[_Waiter, None] = {}
        self._joined = 0
        self._blocked: frozenset[str] = frozenset()
        self._pump: asyncio.Task[None] | None = None
        self._reports: deque[_Report] = deque(maxlen=64)
        self._frozen_until_us = 0.0
        self._patience_s = patience_s
        self._quickest_s = math.inf
        self._late_us = 0.0
        self._late_at_s = 0.0

    @property
    def frozen_s(self) -> float:
        """Return how long the host stays frozen, as far as this process has seen."""
        return max(0.0, (self._frozen_until_us - self._clock.now_us()) / US_PER_S)

    async def acquire(self, cost: Mapping[str, float]) -> None:
        """Return when a request of this cost may leave; it is booked then.

        Args:
            cost: what the request takes of each quota, by name.

        Raises:
            ValueError: a quota is unknown, or the cost is over its limit and would wait for ever.
            Frozen: the host stays frozen for longer than the governor's patience.
        """
        wanted = self._priced(cost)
        names = frozenset(cost)
        if self._blocked.isdisjoint(names):
            verdict = await self._update(partial(self._judge, wanted))
            if verdict.wait_us == 0:
                self.acquired += 1
                return
            self._refuse_hopeless(verdict, cost)
            self._blocked |= verdict.refused
            await self._wait(_Waiter(wanted, names), cost, stir=True)
        else:
            await self._wait(_Waiter(wanted, names), cost, stir=False)

    def observe(self, used: Mapping[str, float], *, elapsed_s: float = _TYPICAL_REPLY_S) -> None:
        """Take over what a reply tells: what the server counted, and how late it may have.

        The count is taken over with the next request, where it is more than ours. Names that are
        no quota are ignored, so that headers can be passed on as they come.

        Args:
            used: what the reply's headers call used, by quota name.
            elapsed_s: how long the request took; the server counted it within that time.
        """
        self._note_lateness(elapsed_s)
        local_us = self._clock.now_us()
        for name, amount in used.items():
            if (meter := self._meters.get(name)) is not None:
                self._reports.append(_Report(meter, amount, local_us, elapsed_s * US_PER_S))

    def _note_lateness(self, elapsed_s: float) -> None:
        """Remember how much longer than the quickest ever a request took, for some seconds."""
        self._quickest_s = min(self._quickest_s, elapsed_s)
        now_s = self._clock.monotonic_s()
        faded_us = self._late_us * 0.5 ** ((now_s - self._late_at_s) / _LATE_HALF_LIFE_S)
        self._late_us = max(faded_us, (elapsed_s - self._quickest_s) * US_PER_S)
        self._late_at_s = now_s

    def freeze(self, seconds: float, reason: str) -> None:
        """Let no request to this host out of any process for `seconds`; never shortens a freeze."""
        until_us = self._clock.now_us() + min(max(seconds, 0.0) * US_PER_S, _MAX_FREEZE_US)
        self._frozen_until_us = max(self._frozen_until_us, until_us)
        log.warning("host_frozen", extra={"host": self.name, "seconds": seconds, "reason": reason})

        def change(cells: Record, intact: bool) -> None:  # noqa: FBT001
            self._prepare(cells, self._now(), intact=intact)
            cells[_FROZEN_UNTIL] = max(cells[_FROZEN_UNTIL], until_us)

        self._state.post(change)

    def set_limits(self, limits: Mapping[str, float]) -> None:
        """Replace published amounts by what the server says they are, for all processes.

        Raises:
            ValueError: a name is no quota of this host, or an amount is not positive.
        """
        for name, amount in limits.items():
            if name not in self._meters or amount <= 0:
                raise ValueError(f"{self.name}: cannot set quota {name!r} to {amount:g}")
        self._limits.update(limits)

        def change(cells: Record, intact: bool) -> None:  # noqa: FBT001
            self._prepare(cells, self._now(), intact=intact)
            self._apply_limits(cells)

        self._state.post(change)
        if self._line:
            self._stir()

    # -- the line --------------------------------------------------------------------------------

    async def _wait(self, waiter: _Waiter, cost: Mapping[str, float], *, stir: bool) -> None:
        started_s = self._clock.monotonic_s()
        self._line[waiter] = None
        self._joined += 1
        if stir or self._pump is None:
            self._stir()
        try:
            self._refuse_hopeless(await waiter.turn, cost)
        except asyncio.CancelledError:
            # What stood behind it may fit now. Without this it would still go at the next wake.
            self._line.pop(waiter, None)
            self._stir()
            raise
        finally:
            self.wait_s += self._clock.monotonic_s() - started_s
        self.acquired += 1

    def _stir(self) -> None:
        """Have the line looked at now, whatever it was waiting for."""
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        if self._line:
            self._pump = asyncio.create_task(self._serve(), name=f"governor {self.name}")
        else:
            self._blocked = frozenset()

    async def _serve(self) -> None:
        """Let waiters go as the quotas allow; runs only while there are some."""
        try:
            while self._line:
                joined = self._joined
                served, rest = await self._update(self._judge_line)
                self._blocked = rest.refused
                for waiter, verdict in served:
                    self._line.pop(waiter, None)
                    if not waiter.turn.done():
                        waiter.turn.set_result(verdict)
                # One who joined while a state of many machines answered was not judged yet.
                if self._line and self._joined == joined:
                    await self._clock.sleep(max(rest.wait_us / US_PER_S, _MIN_WAIT_S))
        except Exception as e:  # noqa: BLE001 - nobody awaits this task: those who wait get it
            for waiter in self._line:
                if not waiter.turn.done():
                    waiter.turn.set_exception(e)
            self._line.clear()
        self._blocked = frozenset()
        self._pump = None

    def _judge_line(
        self, cells: Record, now: Now
    ) -> tuple[list[tuple[_Waiter, _Verdict]], _Verdict]:
        served: list[tuple[_Waiter, _Verdict]] = []
        refused: frozenset[str] = frozenset()
        soonest_us = math.inf
        for waiter in self._line:
            if not refused.isdisjoint(waiter.names):
                continue
            verdict = self._judge(waiter.wanted, cells, now)
            if verdict.wait_us in (0, math.inf):
                served.append((waiter, verdict))
                continue
            refused |= verdict.refused
            soonest_us = min(soonest_us, verdict.wait_us)
            if refused == self._all_names:
                break
        return served, _Verdict(soonest_us, refused)

    # -- the books -------------------------------------------------------------------------------

    def _judge(self, wanted: _Wanted, cells: Record, now: Now) -> _Verdict:
        """Book `wanted` if every quota allows it."""
        frozen_us = min(cells[_FROZEN_UNTIL] - now.local, _MAX_FREEZE_US)
        if frozen_us > 0:
            self._frozen_until_us = now.local + frozen_us
            is_long = frozen_us > self._patience_s * US_PER_S
            return _Verdict(math.inf if is_long else frozen_us, self._all_names)
        refused: list[str] = []
        soonest_us = math.inf
        for meter, amount in wanted:
            if (wait_us := meter.wait_us(cells, now, amount)) > 0:
                refused.append(meter.quota.name)
                soonest_us = min(soonest_us, wait_us)
                if wait_us == math.inf:
                    return _Verdict(math.inf, frozenset(refused[-1:]))
        if refused:
            return _Verdict(soonest_us, frozenset(refused))
        for meter, amount in wanted:
            meter.book(cells, now, amount)
        return _ALLOWED

    async def _update(self, judge: Callable[[Record, Now], T]) -> T:
        reports = tuple(self._reports)
        self._reports.clear()

        def change(cells: Record, intact: bool) -> T:  # noqa: FBT001
            now = self._now()
            self._prepare(cells, now, intact=intact)
            for meter, used, local_us, age_us in reports:
                meter.observe(cells, now, used, age_us + max(0.0, now.local - local_us))
            return judge(cells, now)

        return await self._state.update(change)

    def _prepare(self, cells: Record, now: Now, *, intact: bool) -> None:
        """Lay the cells out; if what they held is not known, count everything as used."""
        if intact and len(cells) == self._size and cells[_LAYOUT] == self._layout:
            return
        fresh = intact and not cells
        frozen_until = cells[_FROZEN_UNTIL] if len(cells) > _FROZEN_UNTIL else 0.0
        cells[:] = array("d", bytes(8 * self._size))
        cells[_LAYOUT] = self._layout
        cells[_FROZEN_UNTIL] = max(frozen_until, self._frozen_until_us)
        self._apply_limits(cells)
        if fresh:
            return
        for meter in self._meters.values():
            meter.fill(cells, now)
        log.warning("governor_state_reset", extra={"host": self.name, "intact": intact})

    def _apply_limits(self, cells: Record) -> None:
        for name, amount in self._limits.items():
            cells[self._meters[name].at] = amount

    def _now(self) -> Now:
        local_us = self._clock.now_us()
        steady_us = self._clock.monotonic_s() * US_PER_S
        server = self._server_clock
        if server is None or server.uncertainty_us is None:
            return Now(local_us, local_us, steady_us, late=self._late_us)
        doubt_us = min(server.uncertainty_us + _CLOCK_SLACK_US, US_PER_S)
        return Now(local_us, local_us + server.offset_us, steady_us, doubt_us, self._late_us)

    def _priced(self, cost: Mapping[str, float]) -> _Wanted:
        try:
            return tuple((self._meters[name], amount) for name, amount in cost.items())
        except KeyError as e:
            known = ", ".join(self._meters)
            raise ValueError(f"{self.name} has no quota {e.args[0]!r}, only: {known}") from None

    def _refuse_hopeless(self, verdict: _Verdict, cost: Mapping[str, float]) -> None:
        if verdict.wait_us == math.inf:
            if (seconds := self.frozen_s) > self._patience_s:
                raise Frozen(seconds)
            (name,) = verdict.refused
            raise ValueError(f"{self.name}: {cost[name]:g} is over the limit of quota {name!r}")


def _layout(meters: Iterable[Meter]) -> float:
    """Return a number that differs where cells of one set of quotas mean something else."""
    facts = [
        (m.quota.name, m.quota.kind, m.quota.aligned, m.quota.per_s, m.quota.amount, m.at, m.size)
        for m in meters
    ]
    return float(zlib.crc32(repr(facts).encode()))
