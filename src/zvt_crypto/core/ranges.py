"""Half-open ranges of time and their arithmetic. Pure, integers only, any unit."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple


class Range(NamedTuple):
    """`[start, end)`: start included, end excluded."""

    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        """Return whether it holds no moment."""
        return self.end <= self.start

    def overlap(self, other: "Range") -> "Range":
        """Return the common part; empty when there is none."""
        return Range(max(self.start, other.start), min(self.end, other.end))

    def holds(self, moment: int) -> bool:
        """Return whether `moment` lies inside."""
        return self.start <= moment < self.end


ALWAYS: Final = Range(-(1 << 62), 1 << 62)
"""All time: also rows that were refused for a time that cannot be are somewhere in it."""


def union(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges ascending, touching and overlapping ones joined, empty ones dropped."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if end <= start:
            continue
        if joined and start <= joined[-1].end:
            joined[-1] = Range(joined[-1].start, max(joined[-1].end, end))
        else:
            joined.append(Range(start, end))
    return joined


def subtract(ranges: Iterable[Range], holes: Iterable[Range]) -> list[Range]:
    """Return what of `ranges` lies outside all `holes`, ascending and joined."""
    rest: list[Range] = []
    cuts = union(holes)
    first = 0
    for start, end in union(ranges):
        at = start
        while first < len(cuts) and cuts[first].end <= start:
            first += 1
        for cut in cuts[first:]:
            if cut.start >= end:
                break
            if cut.start > at:
                rest.append(Range(at, cut.start))
            at = max(at, cut.end)
        if at < end:
            rest.append(Range(at, end))
    return rest


def intersect(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """Return the parts that lie in both, ascending and joined."""
    mine, theirs = union(ranges), union(others)
    common: list[Range] = []
    i = j = 0
    while i < len(mine) and j < len(theirs):
        part = mine[i].overlap(theirs[j])
        if not part.is_empty:
            common.append(part)
        if mine[i].end <= theirs[j].end:
            i += 1
        else:
            j += 1
    return common


def total(ranges: Iterable[Range]) -> int:
    """Return the length covered, counting nothing twice."""
    return sum(end - start for start, end in union(ranges))


def split(whole: Range, width: int) -> Iterator[Range]:
    """Yield consecutive parts of at most `width`."""
    for start in range(whole.start, whole.end, width):
        yield Range(start, min(start + width, whole.end))
