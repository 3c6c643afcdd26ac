"""Ranges against sets of integers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.ranges import Range, intersect, split, subtract, total, union

# Reversed and empty ranges are part of the input: callers clip without looking.
RANGES = st.lists(st.builds(Range, st.integers(0, 40), st.integers(0, 40)), max_size=8)


def moments(ranges: list[Range]) -> set[int]:
    return {moment for part in ranges for moment in range(part.start, part.end)}


def assert_tidy(ranges: list[Range]) -> None:
    assert all(not part.is_empty for part in ranges)
    assert all(a.end < b.start for a, b in itertools.pairwise(ranges))


@given(RANGES)
def test_union_holds_every_moment_once(ranges: list[Range]) -> None:
    assert moments(union(ranges)) == moments(ranges)
    assert_tidy(union(ranges))
    assert total(ranges) == len(moments(ranges))


@given(RANGES, RANGES)
def test_subtract_leaves_what_no_hole_holds(ranges: list[Range], holes: list[Range]) -> None:
    rest = subtract(ranges, holes)
    assert moments(rest) == moments(ranges) - moments(holes)
    assert_tidy(rest)


@given(RANGES, RANGES)
def test_intersect_keeps_what_both_hold(ranges: list[Range], others: list[Range]) -> None:
    common = intersect(ranges, others)
    assert moments(common) == moments(ranges) & moments(others)
    assert all(not part.is_empty for part in common)


@given(st.builds(Range, st.integers(-20, 20), st.integers(-20, 40)), st.integers(1, 50))
def test_split_tiles_the_whole(whole: Range, width: int) -> None:
    parts = list(split(whole, width))
    assert union(parts) == union([whole])
    assert all(0 < part.end - part.start <= width for part in parts)
    assert all(part.end - part.start == width for part in parts[:-1])


@given(st.builds(Range, st.integers(0, 9), st.integers(0, 9)), st.integers(-1, 10))
def test_the_end_is_excluded(part: Range, moment: int) -> None:
    assert part.holds(moment) == (moment in range(part.start, part.end))
    assert part.is_empty == (not moments([part]))
    assert moments([part.overlap(Range(3, 6))]) == moments([part]) & {3, 4, 5}
