"""Where answers meet: trade ids count up by one, so neighbours have to join on.

A page cut short at its end looks whole by itself. Only the first id of the next one shows the loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from zvt_crypto.core.ranges import Range, subtract, union


@dataclass(frozen=True, slots=True, order=True)
class Seam:
    """The first and the last trade of an answer, or of several that join."""

    first_us: int
    first_id: int
    last_us: int
    last_id: int

    def joined(self, right: Self) -> "Seam":
        """Return the ends of this and of what follows it."""
        if right.last_id < self.last_id:
            return self
        return Seam(self.first_us, self.first_id, right.last_us, right.last_id)


@dataclass(slots=True)
class Seams:
    """The ends of all answers so far, and the time they have settled."""

    _ends: list[Seam] = field(default_factory=list[Seam])
    _settled: list[Range] = field(default_factory=list[Range])

    def add(self, ends: Iterable[Seam], settled: Sequence[Range]) -> list[Range]:
        """Take in answers; return where ids jump between two with nothing left to ask between.

        A jump is returned once. Each range holds the trades on both sides of it.
        """
        self._settled = union([*self._settled, *settled])
        joined: list[Seam] = []
        gaps: list[Range] = []
        for right in sorted([*self._ends, *ends]):
            if not joined or self._is_open_between(joined[-1], right):
                joined.append(right)
                continue
            left = joined[-1]
            if right.first_id > left.last_id + 1:
                low, high = sorted((left.last_us, right.first_us))
                gaps.append(Range(low, high + 1))
            joined[-1] = left.joined(right)
        self._ends = joined
        return gaps

    def _is_open_between(self, left: Seam, right: Seam) -> bool:
        between = Range(left.last_us, right.first_us + 1)
        return not between.is_empty and bool(subtract([between], self._settled))
