"""Windows count as the venues' do, and Binance's bans grow."""

from http import HTTPStatus

from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S
from zvt_crypto.simulator.binance_limits import WeightGovernor
from zvt_crypto.simulator.config import UNREACHABLE, Scale
from zvt_crypto.simulator.limits import FixedWindow, SlidingWindow


def test_a_fixed_window_is_full_again_when_it_turns():
    window = FixedWindow(10, US_PER_MINUTE)

    assert window.spend(10, 59 * US_PER_S)
    assert not window.spend(1, 59 * US_PER_S)
    assert window.resets_in_us(59 * US_PER_S) == US_PER_S
    assert window.spend(1, 60 * US_PER_S)
    assert window.current(60 * US_PER_S) == 1
    assert window.peak_share == 1.0


def test_a_sliding_window_forgets_one_request_at_a_time():
    window = SlidingWindow(2, 2 * US_PER_S)

    assert [window.spend(at * US_PER_S) for at in (0, 1, 1, 2, 2, 3)] == [
        True, True, False, True, False, True,
    ]  # fmt: skip


def test_binance_warns_then_bans_and_bans_longer():
    governor = WeightGovernor(100)
    assert governor.spend(100, 0) == (HTTPStatus.OK, 0)

    answers = [governor.spend(1, 10 * US_PER_S)[0] for _ in range(12)]

    assert answers == [HTTPStatus.TOO_MANY_REQUESTS] * 10 + [HTTPStatus.IM_A_TEAPOT] * 2
    assert governor.spend(1, 11 * US_PER_S) == (HTTPStatus.IM_A_TEAPOT, 119)
    later = 130 * US_PER_S
    assert governor.spend(1, later)[0] == HTTPStatus.OK
    longer = [governor.spend(100, later) for _ in range(11)][-1]
    assert longer == (HTTPStatus.IM_A_TEAPOT, 240)


def test_limits_scale_and_switch_off():
    assert Scale.of("real").apply(6_000) == 6_000
    assert Scale.of(0.1).apply(6_000) == 600
    assert Scale.of("off").apply(6_000) == UNREACHABLE
