"""The ledger against an oracle that knows every microsecond."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ledger import (
    SETTLED,
    Coverage,
    Source,
    Verdict,
    clip,
    is_complete,
    join,
    overlay,
    owed,
    settled,
    unknown,
)
from zvt_crypto.core.ranges import Range

LENGTH = 24
RANGES = st.builds(Range, st.integers(0, LENGTH), st.integers(0, LENGTH))
Sense = tuple[Verdict, Source]
Kind = tuple[Verdict | None, Source, int]


def measure(start: int, end: int) -> tuple[int, Digest]:
    """Return rows and digest of a store with one row a microsecond."""
    digest = EMPTY_DIGEST
    for moment in range(start, end):
        digest += Digest(moment * 7 + 1, moment * 11 + 3)
    return end - start, digest


def entry(start: int, end: int, verdict: Verdict, source: Source, written: int = 0) -> Coverage:
    rows, digest = measure(start, end) if verdict is Verdict.OBSERVED else (0, EMPTY_DIGEST)
    return Coverage(start, end, verdict, source, rows, digest, written)


def _ledger(bounds: set[int], kinds: list[Kind]) -> list[Coverage]:
    edges = itertools.pairwise(sorted(bounds))
    return [
        entry(start, end, verdict, source, written)
        for (start, end), (verdict, source, written) in zip(edges, kinds, strict=False)
        if verdict is not None
    ]


def ledgers() -> st.SearchStrategy[list[Coverage]]:
    """Return disjoint ascending entries with gaps and without."""
    kind = st.tuples(
        st.sampled_from([None, *Verdict]),
        st.sampled_from([Source.REST, Source.ARCHIVE]),
        st.integers(0, 9),
    )
    bounds = st.sets(st.integers(0, LENGTH), max_size=10)
    return st.builds(_ledger, bounds, st.lists(kind, min_size=9, max_size=9))


def painted(ledger: list[Coverage]) -> dict[int, Sense]:
    """Return what is known of every microsecond."""
    return {t: (e.verdict, e.source) for e in ledger for t in range(e.start, e.end)}


def assert_sound(ledger: list[Coverage]) -> None:
    """Check that entries are disjoint, ascending, joined, and measured as they should be."""
    for one in ledger:
        assert not one.range.is_empty
        wanted = measure(one.start, one.end)
        assert (one.rows, one.digest) == (
            wanted if one.verdict is Verdict.OBSERVED else (0, EMPTY_DIGEST)
        )
    for a, b in itertools.pairwise(ledger):
        assert a.end <= b.start
        assert a.end < b.start or (a.verdict, a.source) != (b.verdict, b.source)


@given(ledgers(), ledgers())
def test_news_win_and_the_rest_stays(existing: list[Coverage], news: list[Coverage]) -> None:
    after = overlay(existing, news, measure)
    assert painted(after) == painted(existing) | painted(news)
    assert_sound(after)


@given(ledgers(), ledgers())
def test_overlay_is_idempotent(existing: list[Coverage], news: list[Coverage]) -> None:
    once = overlay(existing, news, measure)
    assert overlay(once, news, measure) == once


@given(ledgers())
def test_join_changes_no_moment_and_no_sum(ledger: list[Coverage]) -> None:
    joined = join(ledger[::-1])
    assert painted(joined) == painted(ledger)
    assert_sound(joined)
    total = EMPTY_DIGEST
    for one in joined:
        total += one.digest
    for one in ledger:
        total -= one.digest
    assert total == EMPTY_DIGEST
    assert sum(one.rows for one in joined) == sum(one.rows for one in ledger)
    assert max((one.written_us for one in joined), default=0) == max(
        (one.written_us for one in ledger), default=0
    )


@given(ledgers(), RANGES)
def test_clip_cuts_to_what_is_asked(ledger: list[Coverage], asked: Range) -> None:
    cut = clip(ledger, asked, measure)
    inside = range(asked.start, asked.end)
    assert painted(cut) == {t: sense for t, sense in painted(ledger).items() if t in inside}
    for one in cut:
        wanted = measure(one.start, one.end)
        assert one.verdict is not Verdict.OBSERVED or (one.rows, one.digest) == wanted


@given(ledgers(), st.lists(RANGES, max_size=3))
def test_what_is_owed_is_what_nobody_settled(
    ledger: list[Coverage], requested: list[Range]
) -> None:
    # given the microseconds asked for and those settled
    asked = {t for part in requested for t in range(part.start, part.end)}
    done = {t for t, (verdict, _) in painted(ledger).items() if verdict in SETTLED}

    # then the debt is the difference, and missing ranges stay part of it
    rest = owed(requested, ledger)
    assert {t for part in rest for t in range(part.start, part.end)} == asked - done
    assert {t for part in settled(ledger) for t in range(part.start, part.end)} == done


@given(ledgers(), RANGES)
def test_unknown_and_complete(ledger: list[Coverage], asked: Range) -> None:
    moments, known = set(range(asked.start, asked.end)), painted(ledger)
    rest = unknown(asked, ledger)
    assert {t for part in rest for t in range(part.start, part.end)} == moments - set(known)
    good = {Verdict.OBSERVED, Verdict.EMPTY, Verdict.OUTAGE}
    assert is_complete(asked, ledger) == all(t in known and known[t][0] in good for t in moments)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_missing_is_work(verdict: Verdict) -> None:
    rest = owed([Range(0, 9)], [entry(2, 5, verdict, Source.REST)])
    assert (rest == [Range(0, 9)]) == (verdict is Verdict.MISSING)
