"""What a feed knows of its pauses, although it is told of a record once a millisecond at most."""

import pytest

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.health import Health, Verdict

START = 1_700_000_000 * US_PER_S


def saw(health: Health, at: int) -> bool:
    """Tell of a record as feeds do, and return whether it was worth telling."""
    if at < health.next_us:
        return False
    health.saw(at)
    return True


@pytest.fixture
def health() -> Health:
    made = Health(StreamConfig())
    made.begin(START)
    return made


def test_records_within_a_millisecond_are_told_once(health: Health) -> None:
    assert [saw(health, START + at) for at in (0, 1, 999, 1_000, 1_500, 2_000)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip
    assert health.last_us == START + 2_000


@pytest.mark.parametrize("verdict", ["ended", "found_quiet", "found_stale", "begin"])
def test_the_first_record_after_a_verdict_always_counts(health: Health, verdict: str) -> None:
    # given a feed that has just seen a record, and then a verdict
    saw(health, START)
    if verdict == "ended":
        health.ended()
    else:
        getattr(health, verdict)(START + 1)
    before = health.verdict

    # when a record comes at once
    assert saw(health, START + 2)

    # then it is live again
    assert health.verdict is Verdict.LIVE
    assert before in (Verdict.DEAD, Verdict.QUIET, Verdict.STALE, Verdict.LIVE)


def test_a_clock_that_is_put_back_does_not_hide_a_silence(health: Health) -> None:
    # given a feed whose last record came before our clock was put back by an hour
    saw(health, START + 3_600 * US_PER_S)

    # when it is looked at, then seems suspect only after its patience from now on
    assert not health.is_suspect(START)
    assert saw(health, START + 1)
    assert health.is_suspect(START + 60 * US_PER_S)
