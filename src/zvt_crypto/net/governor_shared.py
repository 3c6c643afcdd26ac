"""One rate budget for many machines, beside the one each keeps for itself.

A machine's own file stays in force (`net/governor_state.py`), and a request has to fit into what
all machines booked together as well: the stricter of both holds, whatever was counted while the
other was out of reach. When the shared cells are away, the file alone decides.
"""

import asyncio
import logging
import math
import secrets
import struct
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from isal import isal_zlib

from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_state import GovernorState, Record
from zvt_crypto.net.quota import US_PER_S, Quota
from zvt_crypto.ports.cache import CellsAway, SharedCells, Swapped
from zvt_crypto.ports.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[Record, bool], T]

# Stamp, the steady time of the change, and a checksum of the cells.
_HEAD: Final = struct.Struct("<8sdI")
_TTL_S: Final = 5 * 86_400.0  # longer than any freeze
_TRIES: Final = 64
_BACKLOG: Final = 64
_STALE_OFFSET_S: Final = 30.0
_LOST_OFFSET_S: Final = 300.0
_LOOKS: Final = 5
# How far clocks of two machines may be from the server's, together.
_CLOCKS_S: Final = 0.02
# Clocks that differ by more are no drift: the server was replaced, or its clock was set.
_MOST_AHEAD_S: Final = 5.0
_NOTICEABLE_S: Final = 0.1
_LOOK: Final = b"only ask"  # eight bytes that no value bears as its stamp


class SharedClock:
    """A steady clock all machines agree on: the server's, carried on by our own.

    Args:
        clock: ours; the time of day stays ours, as exchanges' clocks are measured against it.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._offset_s = self._clock.now_us() / US_PER_S - self._clock.monotonic_s()
        self._trip_s = float("inf")
        self._set_s = 0.0
        self.is_set = False
        self.floor_s = 0.0
        """The latest moment another machine has booked at: time does not run back behind it."""

    def now_us(self) -> int:
        """Return UTC in microseconds."""
        return self._clock.now_us()

    def monotonic_s(self) -> float:
        """Return the shared steady time."""
        here = self._clock.monotonic_s() + self._offset_s
        return max(here, self.floor_s) if self.floor_s - here < _MOST_AHEAD_S else here

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self._clock.sleep(seconds)

    def own_s(self) -> float:
        """Return our own steady time."""
        return self._clock.monotonic_s()

    def set(self, server_us: int, asked_s: float) -> None:
        """Take over what the server's clock said, when asked at `asked_s` of our own steady time.

        The answer with the shortest way counts; after a while a somewhat longer one will do.
        """
        now_s = self._clock.monotonic_s()
        trip_s = now_s - asked_s
        self.is_set = True
        age_s = now_s - self._set_s
        is_old = age_s > _STALE_OFFSET_S and trip_s < 2 * self._trip_s
        if trip_s <= self._trip_s or is_old or age_s > _LOST_OFFSET_S:
            self._trip_s, self._set_s = trip_s, now_s
            self._offset_s = server_us / US_PER_S - (asked_s + trip_s / 2)


class SharedState:
    """A `GovernorState` in cells that machines compare and swap.

    Args:
        cells: where they are.
        name: of the governor, and of the address its requests leave from.
        clock: the governor's own; it is set by what the server says.
    """

    def __init__(self, cells: SharedCells, name: str, clock: SharedClock) -> None:
        self._cells = cells
        self._name = name
        self.clock = clock
        self._held = b""
        self._backlog: deque[Change[None]] = deque(maxlen=_BACKLOG)
        self._posting: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.trouble = ""

    async def update(self, change: Change[T]) -> T:
        """See `GovernorState`.

        Raises:
            CellsAway: the server does not answer in time.
        """
        # One at a time: what was posted would else be in two changes, and each might be made.
        async with self._turn:
            return await self._update(change)

    async def _update(self, change: Change[T]) -> T:
        if not self.clock.is_set:
            for _ in range(_LOOKS):
                self._held = (await self._swap(_LOOK, b"")).held
        seen = self._held
        for _ in range(_TRIES):
            posted = list(self._backlog)
            value, result = self._changed(seen, posted, change)
            swapped = await self._swap(seen[:8], value)
            if swapped.is_done:
                self._held = value
                for one in posted:
                    if one in self._backlog:
                        self._backlog.remove(one)
                return result
            seen = swapped.held
            if not seen and self._held:
                # The server lost what it held: what this machine saw last is better than nothing.
                value, result = self._changed(self._held, posted, change)
                swapped = await self._swap(b"", value)
                seen = swapped.held
                if swapped.is_done:
                    self._held = value
                    self._backlog.clear()
                    return result
        raise CellsAway("too many machines change the budget at once")

    def post(self, change: Change[None]) -> None:
        """See `GovernorState`; sent at once in the background, and with the next `update`."""
        self._backlog.append(change)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._posting is None or self._posting.done():
            self._posting = running.create_task(self._post(), name=f"budget {self._name}")

    async def _post(self) -> None:
        try:
            await self.update(_nothing)
        except CellsAway as e:
            self.trouble = str(e)

    async def _swap(self, stamp: bytes, value: bytes) -> Swapped:
        asked_s = self.clock.own_s()
        swapped = await self._cells.swap(self._name, stamp, value, ttl_s=_TTL_S)
        self.clock.set(swapped.server_us, asked_s)
        return swapped

    def _changed(
        self, seen: bytes, posted: Sequence[Change[None]], change: Change[T]
    ) -> tuple[bytes, T]:
        cells, intact, booked_s = _unpack(seen)
        self.clock.floor_s = booked_s
        for one in posted:
            one(cells, intact)
            intact = intact or len(cells) > 0
        result = change(cells, intact)
        return _pack(cells, self.clock.monotonic_s()), result


class PairedGovernor(Governor):
    """A governor of this machine that asks the one of all machines too.

    A request passes the machine's own first: while the shared one answers, that is the stricter,
    and it books at the moment of leaving.

    Args:
        name, quotas, state, share, clock, server_clock, patience_s: as of `Governor`.
        shared: the cells of all machines.
    """

    def __init__(
        self,
        name: str,
        quotas: Sequence[Quota],
        state: GovernorState,
        share: float = 0.97,
        *,
        shared: SharedState,
        clock: Clock | None = None,
        server_clock: ServerClock | None = None,
        patience_s: float = math.inf,
    ) -> None:
        super().__init__(
            name,
            quotas,
            state,
            share,
            clock=clock,
            server_clock=server_clock,
            patience_s=patience_s,
        )
        others = Governor(
            f"{name} (all machines)",
            [_guarded(one) for one in quotas],
            shared,
            share,
            clock=shared.clock,
            server_clock=server_clock,
            patience_s=patience_s,
        )
        self._others = others
        self._is_away = False
        self.alone = 0
        """Requests let out by this machine's count alone."""

    @property
    def frozen_s(self) -> float:
        """Return how long the host stays frozen, as far as this process has seen."""
        return max(super().frozen_s, self._others.frozen_s)

    async def acquire(self, cost: Mapping[str, float]) -> None:
        """See `Governor.acquire`."""
        await super().acquire(cost)
        began_s = self._clock.monotonic_s()
        try:
            await self._others.acquire(cost)
        except CellsAway as e:
            self._went(str(e))
            self.alone += 1
            if self._others.frozen_s > super().frozen_s + 1:
                super().freeze(self._others.frozen_s, "frozen by another machine")
            if super().frozen_s > 0 or self._clock.monotonic_s() - began_s > _NOTICEABLE_S:
                await super().acquire(cost)  # it leaves later than it was booked for
            return
        if self._is_away:
            self._is_away = False
            log.warning("governor_shared_again", extra={"host": self.name})

    def observe(self, used: Mapping[str, float], *, elapsed_s: float = 2.0) -> None:
        """See `Governor.observe`."""
        super().observe(used, elapsed_s=elapsed_s)
        self._others.observe(used, elapsed_s=elapsed_s)

    def freeze(self, seconds: float, reason: str) -> None:
        """See `Governor.freeze`; for all machines of this address."""
        super().freeze(seconds, reason)
        self._others.freeze(seconds, reason)

    def set_limits(self, limits: Mapping[str, float]) -> None:
        """See `Governor.set_limits`."""
        super().set_limits(limits)
        self._others.set_limits(limits)

    def _went(self, detail: str) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning("governor_alone", extra={"host": self.name, "detail": detail})


def _guarded(quota: Quota) -> Quota:
    """Return a quota with room for clocks that do not agree to the last."""
    if quota.kind == "bucket" or (quota.kind == "window" and quota.aligned):
        return quota
    guard_s = quota.per_s * 0.015 if quota.guard_s is None else quota.guard_s
    return replace(quota, guard_s=guard_s + _CLOCKS_S)


def _nothing(cells: Record, intact: bool) -> None:  # noqa: FBT001
    del cells, intact


def _pack(cells: Record, booked_s: float) -> bytes:
    stamp = secrets.token_bytes(8)
    body = cells.tobytes()
    return _HEAD.pack(stamp, booked_s, isal_zlib.crc32(body)) + body


def _unpack(value: bytes) -> tuple[Record, bool, float]:
    """Return the cells, whether they are intact, and when they were changed last."""
    cells: Record = array("d")
    if not value:
        return cells, True, 0.0
    body = value[_HEAD.size :]
    if len(value) < _HEAD.size or len(body) % cells.itemsize:
        return cells, False, 0.0
    _, booked_s, checksum = _HEAD.unpack_from(value)
    if isal_zlib.crc32(body) != checksum:
        return cells, False, 0.0
    cells.frombytes(body)
    return cells, True, booked_s


__all__ = ["PairedGovernor", "SharedClock", "SharedState"]
