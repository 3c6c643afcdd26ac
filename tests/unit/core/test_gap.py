"""Holes in candles and jumps in ids."""

import gzip
import itertools
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.gap import IdBreak, candle_holes, id_breaks
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.timestamp import to_us

MINUTE = US_PER_MINUTE


def test_the_recorded_series_have_the_published_holes(shared_data: Path) -> None:
    checked = holes_found = 0
    for path in sorted((shared_data / "expected").glob("ohlcv__*.json")):
        expected = json.loads(path.read_text())
        if "timeframe" not in expected:  # the one file of funding rates
            continue
        # given the opens a file holds
        interval = Interval.parse(expected["timeframe"])
        with gzip.open(shared_data / expected["file"], "rt") as lines:
            next(lines)
            opens = np.array([int(line.split(",")[0]) * 1_000 for line in lines], dtype=np.int64)
        first, last = expected["first_open_time_ms"], expected["last_open_time_ms"]

        # when the holes between first and last are listed
        holes = candle_holes(opens, interval, Range(first * 1_000, last * 1_000 + 1))

        # then they are the published ones, from the first missing open to the last
        bounds = [[hole.start // 1_000, interval.shift(hole.end, -1) // 1_000] for hole in holes]
        assert bounds == expected["missing_ranges_ms"], path.name
        assert sum(interval.count_opens(*hole) for hole in holes) == expected["missing_count"]
        checked += 1
        holes_found += len(holes)
    assert (checked, holes_found > 700) == (34, True)


@given(
    st.sampled_from(list(Interval)),
    st.integers(to_us("1965-01-01"), to_us("2040-01-01")),
    st.integers(1, 40),
    st.sets(st.integers(-2, 42)),
    st.randoms(use_true_random=False),
)
def test_holes_are_the_opens_of_the_grid_that_are_absent(
    interval: Interval, start: int, candles: int, present: set[int], random: Random
) -> None:
    # given a window, candles in and around it, some twice, in no order, and times off the grid
    first = interval.ceil(start)
    window = Range(start, interval.shift(first, candles))
    opens = [interval.shift(first, n) for n in present]
    times = [*opens, *opens[:2], *(opened + 1 for opened in opens)]
    random.shuffle(times)

    # when the holes are found
    holes = candle_holes(np.array(times, dtype=np.int64), interval, window)

    # then their opens are those of the grid without a candle, each run once
    missing = [opened for hole in holes for opened in interval.grid(*hole).tolist()]
    assert missing == [t for t in interval.grid(*window).tolist() if t not in set(opens)]
    assert all(a.end < b.start for a, b in itertools.pairwise(holes))


def test_a_window_without_opens_has_no_holes() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert candle_holes(none, Interval.H1, Range(1, 2)) == []
    assert candle_holes(none, Interval.H1, Range(5, 5)) == []
    assert candle_holes(none, Interval.MON1, Range(to_us("2024-01-02"), to_us("2024-02-01"))) == []


def test_a_hole_ends_with_its_last_candle_even_past_the_window() -> None:
    holes = candle_holes(np.array([0]), Interval.M5, Range(0, 6 * MINUTE))
    assert holes == [Range(5 * MINUTE, 10 * MINUTE)]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 1, 3, 0, 2]])
def test_a_jump_of_ids_is_a_break_between_its_neighbours(order: list[int]) -> None:
    # given ids 10 11 12, then 15, then a repeat of 15, with 13 and 14 lost
    ids = np.array([10, 11, 12, 15, 15])[order]
    times = np.array([100, 110, 120, 150, 150])[order]

    # then the lost ones may share the time of either neighbour
    assert id_breaks(ids, times) == [IdBreak(12, 15, 2, Range(120, 151))]


def test_a_fold_stands_for_as_many_ids_as_it_has_fills() -> None:
    # given OKX rows named by their last id: 123 with count 3 is 121, 122 and 123
    ids, times = np.array([120, 123, 126, 127]), np.array([1, 2, 3, 3])

    # then a fold that reaches back to its neighbour is no break, a shorter one is
    assert id_breaks(ids, times, np.array([1, 3, 3, 1])) == []
    assert id_breaks(ids, times, np.array([1, 3, 2, 1])) == [IdBreak(123, 126, 1, Range(2, 4))]
    assert id_breaks(ids, times, np.array([9, 9, 9, 9])) == []


@given(st.sets(st.integers(0, 60), min_size=1))
def test_breaks_count_every_absent_id(ids: set[int]) -> None:
    ascending = np.array(sorted(ids))
    breaks = id_breaks(ascending, ascending * 10)
    lost = [i for one in breaks for i in range(one.after_id + 1, one.before_id)]
    assert lost == [i for i in range(min(ids), max(ids)) if i not in ids]
    assert sum(one.count for one in breaks) == len(lost)
    assert all(one.range == Range(one.after_id * 10, one.before_id * 10 + 1) for one in breaks)


def test_a_clock_that_steps_back_does_not_reverse_a_range() -> None:
    assert id_breaks(np.array([1, 5]), np.array([50, 40]))[0].range == Range(40, 51)


def test_nothing_has_no_breaks() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert id_breaks(none, none) == []
