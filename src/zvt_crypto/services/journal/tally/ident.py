"""Which ids were seen: how many, which twice, which never."""

from bisect import bisect_right
from collections import OrderedDict
from typing import Final

_MOST_TEXTS: Final = 1_000_000
"""Ids that are no numbers are remembered so far back."""

_MOST_RUNS: Final = 1_000_000


class Ids:
    """Ids in the order of the wire.

    Numbers are kept as runs without a hole, so memory grows with the holes only. The order is
    judged against the highest id so far: what is below it came late, what is beyond the next one
    leaves a gap.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: int | str | None = None
        self.last: int | str | None = None
        self.duplicates = 0
        self.out_of_order = 0
        self.gaps = 0
        self.missing = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._texts: OrderedDict[str, None] = OrderedDict()

    @property
    def low(self) -> int | str | None:
        """Return the lowest id; None if they are no numbers."""
        return self._starts[0] if self._starts else None

    @property
    def high(self) -> int | str | None:
        """Return the highest id; None if they are no numbers."""
        return self._ends[-1] if self._ends else None

    @property
    def absent(self) -> int | None:
        """Return how many numbers between the lowest and the highest never came."""
        if not self._starts:
            return None
        seen = sum(e - s + 1 for s, e in zip(self._starts, self._ends, strict=True))
        return self._ends[-1] - self._starts[0] + 1 - seen

    def add(self, one: int | str) -> None:
        """Take note of one id; digits are numbers, whatever their type."""
        number = int(one) if isinstance(one, str) and one.isdecimal() and one.isascii() else one
        self.count += 1
        if self.first is None:
            self.first = number
        if isinstance(number, str):
            self.last = number
            self._add_text(number)
            return
        ends = self._ends
        if ends and number == ends[-1] + 1:  # nearly always
            ends[-1] = number
            self.last = number
            return
        self._add_number(number)

    def _add_text(self, text: str) -> None:
        if text in self._texts:
            self.duplicates += 1
            return
        self._texts[text] = None
        if len(self._texts) > _MOST_TEXTS:
            self._texts.popitem(last=False)

    def _add_number(self, number: int) -> None:
        starts, ends = self._starts, self._ends
        if not ends or number > ends[-1]:
            if ends:
                self.gaps += 1
                self.missing += number - ends[-1] - 1
            self.last = number
            starts.append(number)
            ends.append(number)
            if len(starts) > _MOST_RUNS:
                # Forget a hole far behind rather than grow without end.
                del starts[1], ends[0]
            return
        at = bisect_right(starts, number) - 1
        if at >= 0 and number <= ends[at]:
            self.duplicates += 1
        else:
            self._fill(at, number)
        if number < ends[-1]:
            self.out_of_order += 1

    def _fill(self, at: int, number: int) -> None:
        """Enter a number that lies between run `at` and the next."""
        starts, ends = self._starts, self._ends
        joins_before = at >= 0 and ends[at] + 1 == number
        joins_after = at + 1 < len(starts) and starts[at + 1] - 1 == number
        if joins_before and joins_after:
            ends[at] = ends[at + 1]
            del starts[at + 1], ends[at + 1]
        elif joins_before:
            ends[at] = number
        elif joins_after:
            starts[at + 1] = number
        else:
            starts.insert(at + 1, number)
            ends.insert(at + 1, number)
