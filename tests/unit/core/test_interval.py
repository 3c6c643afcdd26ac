"""The calendar of candles."""

import datetime as dt
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.timestamp import from_us, to_us

INTERVALS = st.sampled_from(list(Interval))
# 1900 to 2150: years before 1970 are negative times.
TIMES = st.integers(to_us("1900-01-01"), to_us("2150-01-01"))


@pytest.mark.parametrize("interval", list(Interval))
def test_every_interval_parses_from_its_own_spelling(interval: Interval) -> None:
    assert Interval.parse(str(interval)) is interval


@pytest.mark.parametrize(
    ("text", "interval"),
    [("1w", Interval.W1), ("1W", Interval.W1), ("1M", Interval.MON1), ("1H", Interval.H1),
     ("4H", Interval.H4), ("1D", Interval.D1), ("60m", Interval.H1), ("1mo", Interval.MON1)],
)  # fmt: skip
def test_other_spellings_are_accepted(text: str, interval: Interval) -> None:
    assert Interval.parse(text) is interval


@pytest.mark.parametrize("text", ["", "2m", "1min", "1 m", "60", "1MON"])
def test_an_unknown_spelling_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="known: 1m 5m 15m 30m 1h 4h 1d 1wk 1mon"):
        Interval.parse(text)


def test_a_minute_is_not_a_month() -> None:
    assert Interval.parse("1m") is Interval.M1
    assert Interval.parse("1M") is Interval.MON1


@given(INTERVALS, TIMES)
def test_a_candle_contains_the_times_that_floor_to_it(interval: Interval, time: int) -> None:
    opened = interval.floor(time)
    assert opened <= time < interval.shift(opened, 1)
    assert interval.is_open(opened)
    assert interval.floor(opened) == opened
    assert interval.ceil(opened) == opened
    assert interval.ceil(time) in (opened, interval.shift(opened, 1))
    assert interval.ceil(time) >= time


@given(INTERVALS, TIMES, st.integers(-500, 500))
def test_shifting_there_and_back_returns_to_the_same_open(
    interval: Interval, time: int, count: int
) -> None:
    opened = interval.floor(time)
    assert interval.shift(interval.shift(opened, count), -count) == opened
    assert interval.is_open(interval.shift(opened, count))


@given(INTERVALS, TIMES, st.integers(-3, 400), st.integers(0, US_PER_DAY))
def test_the_grid_holds_exactly_the_opens_of_a_range(
    interval: Interval, start: int, candles: int, extra: int
) -> None:
    # given a range that need not begin or end at an open
    end = interval.shift(interval.floor(start), candles) + extra % interval.nominal_us

    # when its opens are listed
    grid = interval.grid(start, end).tolist()

    # then they are as many as counted, inside, and neighbours on the calendar
    assert interval.count_opens(start, end) == len(grid)
    assert all(start <= opened < end and interval.is_open(opened) for opened in grid)
    assert all(interval.shift(a, 1) == b for a, b in pairwise(grid))
    if grid:
        assert interval.shift(grid[0], -1) < start
        assert interval.shift(grid[-1], 1) >= end


@given(INTERVALS, st.lists(TIMES, max_size=50))
def test_flooring_many_is_flooring_each(interval: Interval, times: list[int]) -> None:
    many = interval.floor_many(np.array(times, dtype=np.int64))
    assert many.dtype == np.int64
    assert many.tolist() == [interval.floor(time) for time in times]


@given(TIMES)
def test_weeks_open_on_monday_and_months_on_the_first(time: int) -> None:
    week, month = from_us(Interval.W1.floor(time)), from_us(Interval.MON1.floor(time))
    assert week.weekday() == 0
    assert week.time() == month.time() == dt.time(0)
    assert (month.day, month.month, month.year) == (1, from_us(time).month, from_us(time).year)


def test_the_grid_of_months_is_that_of_python() -> None:
    # given every first of a month from before the epoch to after a century that has no leap day
    firsts = [
        dt.datetime(year, month, 1, tzinfo=dt.UTC)
        for year in range(1965, 2105)
        for month in range(1, 13)
    ]
    wanted = [to_us(first) for first in firsts]

    # then grid, shift and floor agree with them
    assert Interval.MON1.grid(wanted[0], wanted[-1] + 1).tolist() == wanted
    assert [Interval.MON1.shift(wanted[0], n) for n in range(len(wanted))] == wanted
    assert Interval.MON1.count_opens(wanted[0] - 1, wanted[-1]) == len(wanted) - 1


@pytest.mark.parametrize(
    ("year", "days"), [(2023, 28), (2024, 29), (2000, 29), (2100, 28), (1968, 29)]
)
def test_february_has_its_leap_day(year: int, days: int) -> None:
    opened = to_us(f"{year}-02-01")
    assert Interval.MON1.shift(opened, 1) - opened == days * US_PER_DAY
    assert Interval.MON1.floor(to_us(f"{year}-03-01") - 1) == opened


@pytest.mark.parametrize(
    ("interval", "width"),
    [(Interval.M1, US_PER_MINUTE), (Interval.M15, 15 * US_PER_MINUTE),
     (Interval.H4, 4 * US_PER_HOUR), (Interval.W1, 7 * US_PER_DAY), (Interval.MON1, None)],
)  # fmt: skip
def test_widths(interval: Interval, width: int | None) -> None:
    assert interval.width_us == width
    assert interval.nominal_us == (width or 30 * US_PER_DAY)


def test_an_empty_or_reversed_range_has_no_opens() -> None:
    for interval in Interval:
        assert interval.count_opens(10, 10) == 0
        assert interval.count_opens(US_PER_DAY * 60, 0) == 0
        assert interval.grid(US_PER_DAY * 60, 0).tolist() == []


def test_candles_that_tile_coarser_ones() -> None:
    # given for each interval the coarser ones whose every open is one of its own
    days = Interval.D1.grid(to_us("2023-01-01"), to_us("2025-01-01")).tolist()
    for fine in Interval:
        for coarse in Interval:
            opens = coarse.grid(days[0], days[-1]).tolist()
            tiles = coarse.nominal_us >= fine.nominal_us and all(map(fine.is_open, opens))
            assert fine.divides(coarse) == tiles, (fine, coarse)
    assert not Interval.W1.divides(Interval.MON1)
