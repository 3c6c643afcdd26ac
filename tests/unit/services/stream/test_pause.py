"""Pauses between tries that are all in vain."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.services.stream.pause import Pause

START = 1_700_000_000 * US_PER_S


def wait_s(pause: Pause, now_us: int) -> float:
    """Return how long a pause lasts from now, to a tenth of a second."""
    tenths = range(10_000)
    return next(n / 10 for n in tenths if pause.is_over(now_us + n * US_PER_S // 10))


@given(st.integers(0, 1_000))
def test_the_first_try_is_at_once_and_waits_double_up_to_the_cap(seed: int) -> None:
    pause = Pause(5.0, 60.0, Random(seed))
    waits: list[float] = []
    for _ in range(7):
        assert pause.is_over(START) is (not waits)
        pause.take(START)
        waits.append(wait_s(pause, START))

    for waited, least in zip(waits, (5, 10, 20, 40, 60, 60, 60), strict=True):
        assert least <= waited <= least * 1.25 + 0.1


def test_pauses_that_begin_together_do_not_end_together() -> None:
    rng = Random(3)
    pauses = [Pause(5.0, 60.0, rng) for _ in range(20)]
    for pause in pauses:
        pause.take(START)
    assert len({wait_s(pause, START) for pause in pauses}) > 5


def test_after_a_try_that_worked_the_next_is_at_once_again() -> None:
    pause = Pause(5.0, 60.0, Random(1))
    for _ in range(4):
        pause.take(START)
    assert not pause.is_over(START + 30 * US_PER_S)
    pause.reset()
    assert pause.is_over(START + 1)
    pause.take(START + 1)
    assert wait_s(pause, START + 1) == pytest.approx(5.6, abs=0.7)


def test_a_clock_that_is_put_back_prolongs_no_pause() -> None:
    pause = Pause(5.0, 60.0, Random(1))
    pause.take(START)
    assert not pause.is_over(START + US_PER_S)
    assert pause.is_over(START - 3_600 * US_PER_S)
