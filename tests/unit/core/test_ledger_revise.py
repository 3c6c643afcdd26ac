"""Commits against the ledger, checked microsecond by microsecond."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ledger import (
    ABSENT,
    SETTLED,
    Coverage,
    Measure,
    Source,
    Verdict,
    disjoint,
    revise,
    taken_back,
)
from zvt_crypto.core.ranges import Range

LENGTH = 24
CELL = 3
Sense = tuple[Verdict, Source]
Row = tuple[int, int, Verdict, Source]
ROWS = st.sets(st.integers(0, LENGTH - 1))
FINDINGS = st.lists(
    st.tuples(
        st.integers(0, LENGTH),
        st.integers(0, LENGTH),
        st.sampled_from(list(Verdict)),
        st.sampled_from([Source.REST, Source.LIVE]),
    ),
    max_size=5,
)


def measure_of(rows: set[int]) -> Measure:
    """Return what counts and digests the rows of a store, one a microsecond."""

    def measure(start: int, end: int) -> tuple[int, Digest]:
        held = [t for t in rows if start <= t < end]
        digest = EMPTY_DIGEST
        for moment in held:
            digest += Digest(moment * 7 + 1, moment * 11 + 3)
        return len(held), digest

    return measure


def cell_end(time: int) -> int:
    return (time // CELL + 1) * CELL


def findings(rows: list[Row]) -> list[Coverage]:
    return disjoint([Coverage(a, b, verdict, source) for a, b, verdict, source in rows if a < b])


def commit(
    existing: list[Coverage], news: list[Coverage], rows: set[int], new: set[int], now_us: int = 2
) -> list[Coverage]:
    def touched(part: Range) -> bool:
        return any(part.holds(time) for time in new)

    def times(start: int, end: int) -> list[int]:
        return sorted(t for t in rows if start <= t < end)

    return revise(
        existing, news, touched=touched, measure=measure_of(rows), times=times,
        cell_end=cell_end, source=Source.INGEST, now_us=now_us,
    )  # fmt: skip


def painted(ledger: list[Coverage]) -> dict[int, Sense]:
    return {t: (e.verdict, e.source) for e in ledger for t in range(e.start, e.end)}


def refuted(part: Coverage, rows: set[int]) -> dict[int, Sense]:
    """Return what an absent range is once the rows in it are known."""
    known: dict[int, Sense] = dict.fromkeys(
        range(part.start, part.end), (part.verdict, part.source)
    )
    for time in rows & set(known):
        for moment in range(time, min(cell_end(time), part.end)):
            known[moment] = (Verdict.OBSERVED, Source.INGEST)
    return known


def oracle(existing: list[Coverage], news: list[Coverage], rows: set[int]) -> dict[int, Sense]:
    """Return what every microsecond should be after a commit."""
    known = painted(existing)
    for entry in existing:
        if entry.verdict in ABSENT:
            known |= refuted(entry, rows)
    before = painted(existing)
    strong = {t for e in existing if e.verdict is Verdict.OBSERVED and e.rows
              for t in range(e.start, e.end)}  # fmt: skip
    for entry in news:
        claimed = set(range(entry.start, entry.end))
        if entry.verdict is Verdict.MISSING:
            claimed -= {t for t in claimed if t in before and before[t][0] in SETTLED}
        elif entry.verdict is not Verdict.OBSERVED:
            claimed -= strong
        for part in _runs(claimed):
            told = Coverage(part.start, part.end, entry.verdict, entry.source)
            known |= refuted(told, rows if entry.verdict in ABSENT else set())
    return known


def _runs(moments: set[int]) -> list[Range]:
    runs: list[Range] = []
    for moment in sorted(moments):
        if runs and runs[-1].end == moment:
            runs[-1] = Range(runs[-1].start, moment + 1)
        else:
            runs.append(Range(moment, moment + 1))
    return runs


def assert_true_to(ledger: list[Coverage], rows: set[int]) -> None:
    measure = measure_of(rows)
    for one in ledger:
        wanted = measure(one.start, one.end) if one.verdict is Verdict.OBSERVED else (
            0, EMPTY_DIGEST
        )  # fmt: skip
        assert (one.rows, one.digest) == wanted
        assert one.verdict not in ABSENT or not measure(one.start, one.end)[0]


@given(FINDINGS, ROWS, FINDINGS, ROWS)
@example([(0, 9, Verdict.EMPTY, Source.REST)], set(), [], {4})
def test_after_a_commit_every_entry_agrees_with_the_rows(
    first: list[Row], stored: set[int], second: list[Row], new: set[int]
) -> None:
    # given a store and its ledger, made by one commit
    existing = commit([], findings(first), stored, stored, now_us=1)
    assert_true_to(existing, stored)

    # when rows and findings are committed
    news, rows = findings(second), stored | new
    after = commit(existing, news, rows, new - stored)

    # then every moment is what the rules say and every entry measures what is stored
    assert painted(after) == oracle(existing, news, rows)
    assert_true_to(after, rows)
    assert all(a.end <= b.start for a, b in itertools.pairwise(after))


@given(FINDINGS, ROWS, FINDINGS)
def test_what_a_commit_does_not_change_keeps_its_time(
    first: list[Row], stored: set[int], second: list[Row]
) -> None:
    existing = commit([], findings(first), stored, stored, now_us=1)
    after = commit(existing, findings(second), stored, set(), now_us=2)
    assert commit(after, [], stored, set(), now_us=3) == after
    unchanged = {(e.start, e.end, e.verdict, e.source): e for e in existing}
    for entry in after:
        old = unchanged.get((entry.start, entry.end, entry.verdict, entry.source))
        assert old is None or entry == old


@given(FINDINGS)
def test_of_overlapping_findings_the_later_wins(rows: list[Row]) -> None:
    wanted: dict[int, Sense] = {}
    for start, end, verdict, source in rows:
        wanted |= dict.fromkeys(range(start, end), (verdict, source))
    tidy = findings(rows)
    assert painted(tidy) == wanted
    assert all(a.end <= b.start for a, b in itertools.pairwise(tidy))


@given(FINDINGS, ROWS, st.builds(Range, st.integers(0, LENGTH), st.integers(0, LENGTH)))
def test_what_is_taken_back_is_missing(first: list[Row], stored: set[int], asked: Range) -> None:
    existing = commit([], findings(first), stored, stored)
    after = taken_back(existing, asked, measure_of(stored), 5)
    known = painted(existing)
    lost = dict.fromkeys(set(known) & set(range(*asked)), (Verdict.MISSING, Source.REPAIR))
    assert painted(after) == known | lost
    assert_true_to([e for e in after if e.verdict is Verdict.OBSERVED], stored)
