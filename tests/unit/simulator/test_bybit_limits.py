"""The quota of an address on Bybit."""

from zvt_crypto.simulator.bybit_limits import BAN_US, REQUESTS, WINDOW_US, IpGovernor
from zvt_crypto.simulator.config import Scale

START = 1_795_000_000_000_000


def test_six_hundred_requests_fit_in_any_five_seconds() -> None:
    # given an address that has used its quota at once
    governor = IpGovernor(Scale())
    assert all(governor.admit(START + n) for n in range(REQUESTS))

    # then it is free again as the first requests are five seconds old, one for one
    assert governor.admit(START + WINDOW_US)
    assert governor.admit(START + WINDOW_US + 1)


def test_one_request_more_is_ten_minutes_of_silence() -> None:
    governor = IpGovernor(Scale())
    for n in range(REQUESTS):
        governor.admit(START + n)
    over = START + WINDOW_US - 1
    assert not governor.admit(over)
    assert not governor.admit(over + BAN_US - 1)
    assert governor.admit(over + BAN_US)
    assert BAN_US == 600_000_000


def test_a_scale_shortens_the_ban_with_the_quota_and_off_has_none() -> None:
    small = IpGovernor(Scale(0.01))
    assert [small.admit(START) for _ in range(7)] == [True] * 6 + [False]
    assert small.admit(START + 6_000_000)
    assert IpGovernor(Scale(10.0)).ban_us == BAN_US
    free = IpGovernor(Scale(off=True))
    assert all(free.admit(START) for _ in range(10 * REQUESTS))
