"""Where candles open, against Python's own calendar."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.timestamp import from_us, to_us
from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator.bar import Bar

MOMENTS = st.integers(0, to_us("2100-01-01"))
ALL = [*bars.MINUTES.values(), bars.SECOND, bars.DAY, bars.WEEK, bars.MONTH, bars.DAY_UTC8,
       bars.WEEK_UTC8, bars.MONTH_UTC8, Bar(0, months=3)]  # fmt: skip


@given(MOMENTS, st.sampled_from(ALL))
def test_a_moment_lies_in_the_candle_it_is_floored_to(moment: int, bar: Bar):
    opened = bar.floor(moment)

    assert opened <= moment < bar.next(opened)
    assert bar.floor(opened) == opened
    assert bar.opening(bar.index(moment)) == opened
    assert bar.floor_many(np.array([moment])).tolist() == [opened]
    assert bar.closes(np.array([opened])).tolist() == [bar.next(opened)]


@given(MOMENTS, st.sampled_from(list(Interval)))
def test_the_platforms_intervals_open_where_core_says(moment: int, interval: Interval):
    assert bars.bar_of(interval).floor(moment) == interval.floor(moment)


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        (bars.DAY, "2024-02-29T00:00:00Z"),
        (bars.DAY_UTC8, "2024-02-29T16:00:00Z"),
        (bars.WEEK, "2024-02-26T00:00:00Z"),
        (bars.WEEK_UTC8, "2024-02-25T16:00:00Z"),
        (bars.MONTH, "2024-02-01T00:00:00Z"),
        (bars.MONTH_UTC8, "2024-02-29T16:00:00Z"),
    ],
)
def test_days_weeks_and_months_of_utc_and_of_utc_plus_eight(bar: Bar, expected: str):
    # 20:00 UTC on 29 February is 04:00 on 1 March in UTC+8.
    assert bar.floor(to_us("2024-02-29T20:00:00Z")) == to_us(expected)
    assert from_us(bars.WEEK.floor(to_us("2024-02-29"))).isoweekday() == 1
