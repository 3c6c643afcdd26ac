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


def find_stale(health: Health, at: int) -> Verdict:
    health.found_stale(at)
    return health.verdict


def test_a_feed_asked_for_anew_in_vain_is_stale_until_a_record_comes(health: Health) -> None:
    # given a feed that was found stale, asked for anew, and found stale again
    saw(health, START)
    assert find_stale(health, START + 5 * US_PER_S) is Verdict.STALE
    health.begin(START + 5 * US_PER_S)
    assert find_stale(health, START + 8 * US_PER_S) is Verdict.STALE

    # when the exchange has nothing newer for a while, and when it is asked for once more
    health.found_quiet(START + 10 * US_PER_S)
    health.begin(START + 11 * US_PER_S)
    health.found_quiet(START + 15 * US_PER_S)

    # then that proves nothing, and a record does
    assert health.verdict is Verdict.STALE
    assert saw(health, START + 16 * US_PER_S)
    assert health.verdict is Verdict.LIVE


def test_a_feed_asked_for_anew_once_is_quiet_when_its_market_is(health: Health) -> None:
    saw(health, START)
    health.found_stale(START + 5 * US_PER_S)
    health.begin(START + 5 * US_PER_S)
    health.found_quiet(START + 9 * US_PER_S)
    assert health.verdict is Verdict.QUIET


def test_it_is_news_once_that_a_feed_is_stale(health: Health) -> None:
    saw(health, START)
    found = [health.found_stale(START + at * US_PER_S) for at in (5, 8, 11)]
    assert found == [True, False, False]
    saw(health, START + 12 * US_PER_S)
    assert health.found_stale(START + 17 * US_PER_S)


@pytest.mark.parametrize(("lived_s", "tries"), [(1, 4), (29, 4), (30, 1), (600, 1)])
def test_tries_are_forgotten_only_by_a_feed_that_lived_for_a_while(
    health: Health, lived_s: int, tries: int
) -> None:
    # given a feed that was found stale three times, and then lived
    saw(health, START)
    for at in (5, 8, 11):
        health.found_stale(START + at * US_PER_S)
    for second in range(lived_s + 1):
        saw(health, START + (12 + second) * US_PER_S)

    # when it is found stale again
    health.found_stale(START + (12 + lived_s + 5) * US_PER_S)
    assert health.tries == tries


def test_a_feed_that_was_given_up_is_dead_until_a_record_comes(health: Health) -> None:
    # given a feed that new connections did not help
    saw(health, START)
    health.found_stale(START + 5 * US_PER_S)
    assert health.give_up()
    assert not health.give_up()

    # when its connection is made anew, and the exchange is asked again and again
    for at in (8, 12):
        health.ended()
        health.begin(START + at * US_PER_S)
        assert health.verdict is Verdict.DEAD
        assert health.is_suspect(START + (at + 3) * US_PER_S)
        assert find_stale(health, START + (at + 3) * US_PER_S) is Verdict.DEAD
    health.found_quiet(START + 20 * US_PER_S)
    health.is_repairing = True
    assert health.verdict is Verdict.DEAD

    # then it is dead all the time, and lives with the first record
    health.is_repairing = False
    assert saw(health, START + 30 * US_PER_S)
    assert health.verdict is Verdict.LIVE


def test_a_feed_given_up_with_its_connection_is_what_it_was_when_that_lives(
    health: Health,
) -> None:
    saw(health, START)
    health.give_up()
    assert health.verdict is Verdict.DEAD
    health.hope()
    assert health.verdict is Verdict.QUIET
