"""Work shared with other processes: units of a series, taken by lease, one worker each.

A unit is the month, the year or all of a series, by how many pages that makes, and the same for
every worker whatever range it was asked: so two that ask for overlapping ranges share the overlap.
The ledger is the plan. A lease only says who is at it: one that is free is no proof that its unit
is done, and one that is held none that it will be.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from zvt_crypto.core.errors import CryptoError, RetryableError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range, intersect
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.net.keeper import LeaseKeeper

PREFIX: Final = "load/"
"""What the names of all leases of loaders begin with."""

HELD: Final = "held by another worker"
"""The state of a series of which all that is left is another worker's."""

_POLL_S: Final = 1.0
# Months of what fills a page in hours, years of what fills one in days: some fifty to a hundred
# pages. The rest of a series is no more than that in all.
_MONTHLY: Final = frozenset((Interval.M1,))
_YEARLY: Final = frozenset((Interval.M5, Interval.M15, Interval.M30))
_MONTHS_A_YEAR: Final = 12


class LeaseLost(RetryableError):
    """Our lease of a unit expired, and another may be at it."""

    code = "lease_lost"


class Unit(NamedTuple):
    """A part of a series that one worker loads."""

    name: str
    parts: tuple[Range, ...]


def units_of(series: Series, ranges: Sequence[Range]) -> list[Unit]:
    """Return the units that `ranges` lie in, ascending, each with its part of them."""
    base = PREFIX + "/".join(
        str(part) for part in (series.exchange, series.symbol, series.kind, series.interval) if part
    )
    if not ranges:
        return []
    if series.kind is Kind.TRADES or series.interval in _MONTHLY:
        months, digits = 1, len("2024-01")
    elif series.interval in _YEARLY:
        months, digits = _MONTHS_A_YEAR, len("2024")
    else:
        return [Unit(f"{base}/all", tuple(ranges))]
    found: list[Unit] = []
    at = _floor(ranges[0].start, months)
    while at < ranges[-1].end:
        after = Interval.MON1.shift(at, months)
        if parts := intersect([Range(at, after)], ranges):
            found.append(Unit(f"{base}/{format_us(at)[:digits]}", tuple(parts)))
        at = after
    return found


def _floor(moment: int, months: int) -> int:
    month = Interval.MON1.floor(moment)
    return month if months == 1 else Interval.MON1.shift(month, 1 - int(format_us(month)[5:7]))


class Desk:
    """Where the series of one load take their units, and wait for those of other workers.

    Two series of a load may be made from the same finer one: those count as other workers too.
    """

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper
        self._taken: set[str] = set()
        self._looking = asyncio.Lock()
        self._looked_s: float | None = None
        self._others: set[str] = set()

    async def open(self) -> None:
        """Look at who else is there, before anything is taken."""
        await self._held()

    async def take(self, unit: Unit) -> bool:
        """Return whether the unit is ours now; if not, another worker is at it."""
        if unit.name in self._taken:
            return False
        self._taken.add(unit.name)
        try:
            got = await self._keeper.acquire([unit.name])
        except BaseException:
            self._taken.discard(unit.name)
            raise
        if not got:
            self._taken.discard(unit.name)
            self._looked_s = None  # what we saw last is out of date
        return bool(got)

    async def give(self, unit: Unit) -> None:
        """Let others have the unit."""
        self._taken.discard(unit.name)
        await self._keeper.release([unit.name])

    def check(self, unit: Unit) -> None:
        """Do nothing while the unit is ours.

        Raises:
            LeaseLost: it is not any more.
        """
        if not self._keeper.holds(unit.name):
            raise LeaseLost(f"the lease of {unit.name} has expired, another worker may have it")

    async def until_free(self, names: Iterable[str]) -> None:
        """Return once one of these is no other worker's any more: it is done, or has expired."""
        wanted = set(names)
        while wanted <= await self._held():  # noqa: ASYNC110 - a store is asked, it does not tell
            await asyncio.sleep(_POLL_S / 2)

    async def _held(self) -> set[str]:
        """Return what others hold: asked for once a second, for all that wait."""
        now_s = asyncio.get_running_loop().time
        async with self._looking:
            if self._looked_s is None or now_s() - self._looked_s > _POLL_S:
                try:
                    self._others = await self._look()
                except (CryptoError, OSError):
                    # Whoever waits then asks the store itself, and tells what is wrong with it.
                    self._others = set()
                self._looked_s = now_s()
        return self._others | self._taken

    async def _look(self) -> set[str]:
        held = await self._keeper.leases.held(PREFIX)
        others = {one.name for one in held if one.holder != self._keeper.holder}
        return others - await self._keeper.bury(held)


__all__ = ["HELD", "PREFIX", "Desk", "LeaseLost", "Unit", "units_of"]
