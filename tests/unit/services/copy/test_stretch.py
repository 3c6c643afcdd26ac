import datetime as dt
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ledger import Coverage, Source, Verdict
from zvt_crypto.core.parcel import BLANK, Seal, Tally
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.services.copy.stretch import LEVELS, lacks, parts

DAY = 86_400_000_000


def between(start: str, end: str) -> Range:
    return Range(to_us(start), to_us(end))


def test_all_time_is_cut_at_the_years_there_are() -> None:
    hull = between("2022-05-01", "2024-02-03")

    found = parts(ALWAYS, hull, "year")

    cuts = [to_us(dt.date(year, 1, 1)) for year in (2022, 2023, 2024, 2025)]
    assert [part.start for part in found] == [ALWAYS.start, *cuts]
    assert [part.end for part in found] == [*cuts, ALWAYS.end]


def test_a_year_is_cut_at_months_and_a_month_at_days() -> None:
    hull = between("2023-11-20", "2024-02-03")

    months = parts(between("2023-01-01", "2024-01-01"), hull, "month")
    days = parts(between("2024-02-01", "2024-03-01"), hull, "day")

    assert months == [
        between("2023-01-01", "2023-11-01"),
        between("2023-11-01", "2023-12-01"),
        between("2023-12-01", "2024-01-01"),
    ]
    assert days == [
        between("2024-02-01", "2024-02-02"),
        between("2024-02-02", "2024-02-03"),
        between("2024-02-03", "2024-03-01"),
    ]


def test_time_outside_the_hull_stays_whole() -> None:
    assert parts(
        between("2020-01-01", "2021-01-01"), between("2023-01-01", "2024-01-01"), "day"
    ) == [between("2020-01-01", "2021-01-01")]
    assert parts(ALWAYS, Range(0, 0), "year") == [ALWAYS]
    beyond = Range(ALWAYS.end - 5, ALWAYS.end)
    assert parts(beyond, beyond, "month") == [beyond]


@given(
    st.integers(0, 4 * 366 * DAY),
    st.integers(1, 500 * DAY),
    st.integers(0, 4 * 366 * DAY),
    st.integers(1, 500 * DAY),
    st.sampled_from(LEVELS),
)
def test_parts_are_the_whole_again(
    start: int, width: int, first: int, length: int, level: str
) -> None:
    whole = Range(start, start + width)

    found = parts(whole, Range(first, first + length), level)

    assert found[0].start == whole.start
    assert found[-1].end == whole.end
    assert all(a.end == b.start for a, b in itertools.pairwise(found))
    assert not any(part.is_empty for part in found)


ENTRY = Coverage(0, 10, Verdict.OBSERVED, Source.REST, 2, Digest(5, 6), 77)
SEAL = Seal(
    rows=3,
    digest=Digest(7, 9),
    ledger=(ENTRY,),
    corrections=Tally(1, 11),
    rejected=Tally(),
    reconciled=Tally(4, 44),
)


def changed(**fields: object) -> Seal:
    return msgspec.structs.replace(SEAL, **fields)


def test_the_same_lacks_nothing_and_more_lacks_nothing() -> None:
    other = Coverage(10, 20, Verdict.OBSERVED, Source.LIVE, 7, Digest(1, 1), 99)
    more = changed(ledger=(ENTRY, other), rows=10, digest=Digest(8, 10), rejected=Tally(3, 1))

    assert lacks(SEAL, SEAL) is None
    assert lacks(SEAL, more) is None
    assert lacks(BLANK, SEAL) is None


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (changed(ledger=()), "ledger of the target does not say 1970-01-01T00:00:00Z"),
        (changed(ledger=(msgspec.structs.replace(ENTRY, written_us=1),)), "ledger"),
        (changed(rows=2), "1 rows that no ledger entry covers are not there"),
        (changed(digest=Digest(7, 8)), "1 rows that no ledger entry covers are not the same"),
        (changed(corrections=Tally(1, 12)), "1 corrections were sent, and 1 others are there"),
        (changed(reconciled=Tally(3, 44)), "4 verdicts on bars were sent, and 3 others"),
    ],
)
def test_what_is_lacking_is_told(there: Seal, told: str) -> None:
    assert told in str(lacks(SEAL, there))
