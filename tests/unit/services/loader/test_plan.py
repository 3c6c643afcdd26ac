"""What is worth a bulk file, and which bounds can be asked for at all."""

import pytest

from zvt_crypto.core.errors import BadRange
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.connector import ArchiveFile
from zvt_crypto.services.loader.plan import align, check_bounds, choose_archives

DAY = US_PER_DAY
NOW = 20_000 * DAY


def file(start: int, end: int) -> ArchiveFile:
    return ArchiveFile("http://x/f.zip", f"{start}-{end}.zip", Kind.CANDLES, Range(start, end))


def pages(part: Range) -> int:
    return (part.end - part.start) // DAY


def test_a_file_is_taken_only_where_it_saves_more_pages_than_it_costs() -> None:
    month, day = file(0, 30 * DAY), file(30 * DAY, 31 * DAY)

    chosen = choose_archives([day, month], [Range(0, 40 * DAY)], pages, reach=0, always=False)

    assert chosen == [month]


def test_a_longer_file_makes_the_shorter_ones_inside_it_superfluous() -> None:
    month = file(0, 30 * DAY)
    days = [file(n * DAY, (n + 1) * DAY) for n in range(31)]

    chosen = choose_archives([*days, month], [Range(0, 31 * DAY)], pages, reach=0, always=True)

    assert chosen == [month, days[30]]


def test_a_file_before_the_reach_of_rest_is_always_taken() -> None:
    short = file(0, DAY)

    assert choose_archives([short], [Range(0, DAY)], pages, reach=5 * DAY, always=False) == [short]
    assert choose_archives([short], [Range(0, DAY)], pages, reach=0, always=False) == []


def test_bounds_end_at_the_last_closed_candle() -> None:
    half_past = NOW + US_PER_HOUR // 2

    asked = align(NOW - 3 * US_PER_HOUR - 1, half_past, Interval.H1, half_past, settle_s=0)
    settling = align(NOW - 3 * US_PER_HOUR, half_past, Interval.H1, NOW + 1, settle_s=60)

    assert asked == Range(NOW - 3 * US_PER_HOUR, NOW)
    assert settling == Range(NOW - 3 * US_PER_HOUR, NOW - US_PER_HOUR)


@pytest.mark.parametrize(
    ("start", "end"), [(5, 5), (6, 5), (NOW + DAY, None), (0, NOW + DAY), (None, NOW + DAY)]
)
def test_bounds_nobody_can_answer_for_are_refused(start: int | None, end: int | None) -> None:
    with pytest.raises(BadRange):
        check_bounds(start, end, NOW)
