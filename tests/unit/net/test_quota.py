"""Meters against servers that count by the book, over arbitrary histories."""

import math
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zvt_crypto.net.quota import Meter, Now, Quota, make_meter

S = 1_000_000
BASE_US = 1_767_225_600 * S  # a full minute


def at(us: float, *, skew_us: float = 0) -> Now:
    return Now(BASE_US + us, BASE_US + us + skew_us, 5_000 * S + us)


def meter_of(share: float = 1.0, **facts: Any) -> tuple[Meter, list[float]]:
    meter = make_meter(Quota("q", **facts), 2, share)
    return meter, [0.0] * (2 + meter.size)


def drive(
    meter: Meter, cells: list[float], steps: list[tuple[int, int]], *, skew_us: int = 0
) -> list[tuple[int, int]]:
    """Book as a governor does: wait as told, then book; return what left, and when."""
    sent: list[tuple[int, int]] = []
    us = 0
    for pause_us, cost in steps:
        us += pause_us
        for _ in range(1_000):
            wait = meter.wait_us(cells, at(us, skew_us=skew_us), cost)
            if wait == 0:
                break
            us += math.ceil(wait)
        else:
            pytest.fail("waits as told, but is never let go")
        meter.book(cells, at(us, skew_us=skew_us), cost)
        sent.append((us, cost))
    return sent


def most_in_any(sent: list[tuple[int, int]], per_us: int) -> int:
    most = total = 0
    inside: deque[tuple[int, int]] = deque()
    for us, cost in sent:
        inside.append((us, cost))
        total += cost
        while inside[0][0] <= us - per_us:
            total -= inside.popleft()[1]
        most = max(most, total)
    return most


STEPS = st.lists(st.tuples(st.integers(0, 3 * S), st.integers(1, 10)), min_size=1, max_size=200)


@settings(deadline=None)
@given(
    STEPS,
    st.integers(10, 400),
    st.sampled_from([1.0, 0.97, 0.5]),
    st.sampled_from([{"kind": "rolling"}, {"aligned": False}]),
)
def test_no_span_of_time_ever_holds_more_than_the_limit(
    steps: list[tuple[int, int]], amount: int, share: float, facts: dict[str, Any]
):
    meter, cells = meter_of(share, amount=amount, per_s=2.0, **facts)
    sent = drive(meter, cells, steps)
    assert most_in_any(sent, 2 * S) <= max(amount * share, 10)


@settings(deadline=None)
@given(
    STEPS,
    st.integers(10, 60),
    st.integers(-900_000, 900_000),
    st.lists(st.integers(0, 100_000), min_size=200, max_size=200),
)
def test_no_window_of_the_servers_clock_ever_holds_more_than_the_limit(
    steps: list[tuple[int, int]], amount: int, skew_us: int, ways_us: list[int]
):
    # given a server whose clock we know wrong, and requests that take a while to arrive
    meter, cells = meter_of(1.0, amount=amount, per_s=10.0)
    sent = drive(meter, cells, steps)

    # then its windows, by its clock, at arrival, hold
    windows: dict[int, int] = {}
    for (us, cost), way_us in zip(sent, ways_us, strict=False):
        window = (BASE_US + us + skew_us + way_us) // (10 * S)
        windows[window] = windows.get(window, 0) + cost
    assert max(windows.values()) <= amount


@settings(deadline=None)
@given(STEPS, st.integers(10, 60), st.floats(1, 3))
def test_a_bucket_of_the_server_never_overflows(
    steps: list[tuple[int, int]], amount: int, ratio: float
):
    burst = amount * ratio
    meter, cells = meter_of(0.97, amount=amount, per_s=1.0, kind="bucket", burst=burst)
    level = last = 0.0
    for us, cost in drive(meter, cells, steps):
        level = max(0.0, level - (us - last) / S * amount) + cost
        last = us
        assert level <= burst + 1e-6


TWENTY: dict[str, Any] = {"amount": 20, "per_s": 10.0}


@pytest.mark.parametrize(
    "facts", [{}, {"kind": "rolling"}, {"kind": "bucket"}, {"kind": "rolling", "amount": 5_000}]
)
class TestEveryKind:
    def test_a_cost_over_the_limit_can_never_go(self, facts: dict[str, Any]):
        meter, cells = meter_of(0.97, **TWENTY | facts)
        assert meter.wait_us(cells, at(5 * S), meter.quota.amount + 1) == math.inf

    def test_a_cost_over_the_share_goes_alone(self, facts: dict[str, Any]):
        meter, cells = meter_of(0.5, **TWENTY | facts)
        limit = meter.quota.amount
        assert meter.wait_us(cells, at(5 * S), limit) == 0
        meter.book(cells, at(5 * S), 1)
        assert 0 < meter.wait_us(cells, at(5 * S), limit) < math.inf

    def test_what_the_server_counted_more_is_taken_over(self, facts: dict[str, Any]):
        meter, cells = meter_of(1.0, **TWENTY | facts)
        limit = meter.quota.amount
        meter.observe(cells, at(5 * S), limit - 2, 0)
        assert meter.wait_us(cells, at(5 * S), 2) == 0
        assert meter.wait_us(cells, at(5 * S), 3) > 0
        meter.observe(cells, at(5 * S), 1, 0)  # less is no news: requests are on their way
        assert meter.wait_us(cells, at(5 * S), 3) > 0

    def test_a_full_meter_lets_nothing_out_and_recovers(self, facts: dict[str, Any]):
        meter, cells = meter_of(1.0, **TWENTY | facts)
        meter.fill(cells, at(5 * S))
        wait = meter.wait_us(cells, at(5 * S), 1)
        assert 0 < wait <= 11 * S
        assert meter.wait_us(cells, at(5 * S + math.ceil(wait)), 1) == 0

    def test_a_raised_limit_is_used(self, facts: dict[str, Any]):
        meter, cells = meter_of(1.0, **TWENTY | facts)
        limit = meter.quota.amount
        cells[meter.at] = limit * 2
        for _ in range(int(limit) * 2):
            assert meter.wait_us(cells, at(5 * S), 1) == 0
            meter.book(cells, at(5 * S), 1)
        assert meter.wait_us(cells, at(5 * S), 1) > 0

    def test_a_clock_that_began_anew_counts_as_all_used(self, facts: dict[str, Any]):
        meter, cells = meter_of(1.0, **TWENTY | facts)
        meter.book(cells, at(3_600 * S), 1)
        assert 0 < meter.wait_us(cells, at(5 * S), 1) <= 11 * S


def test_reports_near_the_turn_of_a_window_are_not_taken_for_the_new_one():
    meter, cells = meter_of(1.0, amount=20, per_s=60.0)
    # a reply to a request of 200 ms, 1.1 s into the minute: may still speak of the last one
    meter.observe(cells, at(1.1 * S), 20, 0.2 * S)
    assert meter.wait_us(cells, at(1.1 * S), 1) == 0
    # 1.3 s into it cannot
    meter.observe(cells, at(1.3 * S), 20, 0.2 * S)
    assert meter.wait_us(cells, at(1.3 * S), 1) > 0


def test_a_small_correction_of_the_servers_clock_keeps_both_windows():
    # given 20 of 20 in the new minute, as one process sees the clock
    meter, cells = meter_of(1.0, amount=20, per_s=60.0, guard_s=0)
    meter.book(cells, at(10_000), 20)

    # when another sees it 20 ms behind, and the first again
    assert meter.wait_us(cells, at(10_000, skew_us=-20_000), 20) == 0
    meter.book(cells, at(10_000, skew_us=-20_000), 20)

    # then neither minute takes more
    assert meter.wait_us(cells, at(10_000, skew_us=-20_000), 1) > 0
    assert meter.wait_us(cells, at(10_000), 1) > 0


ONE: dict[str, Any] = {"amount": 1, "per_s": 1}


@pytest.mark.parametrize("bad", [{"amount": 0}, {"per_s": 0}, {"share": 0}, {"share": 1.1}])
def test_impossible_quotas_are_refused(bad: dict[str, Any]):
    with pytest.raises(ValueError, match="q"):
        Quota("q", **ONE | bad)
