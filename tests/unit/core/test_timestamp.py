"""Moments in every spelling."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.timestamp import format_us, from_us, int_to_us, ints_to_us, to_us

NOON = 1_706_702_400_000_000  # 2024-01-31T12:00:00Z
NEW_YEAR = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z


@pytest.mark.parametrize(
    "moment",
    [
        "2024-01-31T12:00:00Z", "2024-01-31 12:00:00", "2024-01-31T12:00", "2024-01-31T12",
        "2024-01-31T13:00:00+01:00", "2024-01-31T12:00:00.000Z", "20240131T120000Z",
        " 2024-01-31T12:00:00.000000000Z ", "1706702400", "1706702400000", "1706702400000000",
        "1706702400000000000", 1_706_702_400, 1_706_702_400_000, 1_706_702_400_000_000,
        1_706_702_400_000_000_000, np.int64(1_706_702_400_000), np.uint64(1_706_702_400_000),
        dt.datetime(2024, 1, 31, 12),  # noqa: DTZ001 - naive means UTC
        dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC),
        dt.datetime(2024, 1, 31, 17, 30, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    ],
)  # fmt: skip
def test_one_moment_in_all_spellings(moment: str | int | dt.datetime) -> None:
    assert to_us(moment) == NOON


@pytest.mark.parametrize(
    "moment", ["2024", "2024-01", "2024-01-01", "20240101", dt.date(2024, 1, 1)]
)
def test_years_months_and_days_mean_their_start_in_utc(moment: str | dt.date) -> None:
    assert to_us(moment) == NEW_YEAR


@pytest.mark.parametrize(
    ("text", "fraction_us"),
    [("2024-01-01T00:00:00.1Z", 100_000), ("2024-01-01T00:00:00.12", 120_000),
     ("2024-01-01T00:00:00.123456Z", 123_456), ("2024-01-01T00:00:00.1234567Z", 123_456),
     ("2024-01-01T00:00:00.123456789Z", 123_456), ("2024-01-01T01:00:00.5+01:00", 500_000)],
)  # fmt: skip
def test_fractions_are_cut_to_microseconds(text: str, fraction_us: int) -> None:
    assert to_us(text) == NEW_YEAR + fraction_us


@pytest.mark.parametrize(
    "moment",
    ["", " ", "yesterday", "2024-13", "2024-02-30", "20241301", "0000", "2024-01-01T25:00",
     "12:00", "1.5", "-5", "2024-1-1", "2024-01-01T00:00:00+99:00", "9" * 40, True, False, 1.5,
     None],
)  # fmt: skip
def test_what_is_no_time_is_refused(moment: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        format_us(to_us(moment))


def test_a_unit_is_told_by_its_magnitude() -> None:
    # given the ends of each magnitude
    second, milli, micro = 10**11, 10**14, 10**17

    # then just below them the finer reading has not begun
    assert int_to_us(second - 1) == (second - 1) * 1_000_000
    assert int_to_us(second) == second * 1_000
    assert int_to_us(milli - 1) == (milli - 1) * 1_000
    assert int_to_us(milli) == milli
    assert int_to_us(micro - 1) == micro - 1
    assert int_to_us(micro) == micro // 1_000


@given(st.lists(st.integers(-(2**62), 2**62), max_size=20))
def test_arrays_are_read_like_single_numbers(values: list[int]) -> None:
    got = ints_to_us(np.array(values, dtype=np.int64))
    assert got.dtype == np.int64
    assert got.tolist() == [int_to_us(value) for value in values]


def test_an_array_may_change_its_unit_halfway() -> None:
    # given Binance's archives around 2025-01-01: milliseconds, then microseconds
    times = np.array([1_735_689_599_000, 1_735_689_600_000_000], dtype=np.int64)
    assert ints_to_us(times).tolist() == [1_735_689_599_000_000, 1_735_689_600_000_000]
    for unit in (1, 1_000, 1_000_000):
        assert ints_to_us(times[:1] * unit).tolist()[0] == 1_735_689_599_000_000


@given(st.datetimes(timezones=st.just(dt.UTC)).filter(lambda moment: moment.year >= 1000))
def test_text_and_datetimes_survive_a_round_trip(moment: dt.datetime) -> None:
    time = to_us(moment)
    assert from_us(time) == moment
    assert to_us(format_us(time)) == time


def test_a_fraction_is_shown_only_where_there_is_one() -> None:
    assert format_us(NOON) == "2024-01-31T12:00:00Z"
    assert format_us(NOON + 1) == "2024-01-31T12:00:00.000001Z"
    assert format_us(NOON + 120_000) == "2024-01-31T12:00:00.12Z"
    assert format_us(-1) == "1969-12-31T23:59:59.999999Z"
