"""Decide what is owed and where it comes from. Pure: the ledger and the clock are arguments."""

from collections.abc import Callable, Sequence

from zvt_crypto.core.errors import BadRange
from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S, Interval
from zvt_crypto.core.ranges import Range, intersect, subtract, total
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.connector import ArchiveFile

# Clocks of a user and an exchange may differ by this much before "in the future" is an error.
_CLOCK_TOLERANCE_US = 5 * US_PER_MINUTE
# A bulk file takes two requests (file and checksum): it has to save more pages than that.
_PAGES_PER_ARCHIVE = 3


def check_bounds(start: int | None, end: int | None, now_us: int) -> None:
    """Refuse a range no exchange can answer.

    Raises:
        BadRange: reversed, empty, or in the future.
    """
    if start is not None and end is not None and end <= start:
        raise BadRange(
            f"the range is reversed: it starts {format_us(start)} and ends {format_us(end)}",
            remedy="Give --since before --until; the end is excluded",
        )
    for name, moment in (("start", start), ("end", end)):
        if moment is not None and moment > now_us + _CLOCK_TOLERANCE_US:
            raise BadRange(
                f"the {name} of the range is in the future: {format_us(moment)}",
                remedy="Leave out --until to load up to now",
            )


def align(start: int, end: int, interval: Interval | None, now_us: int, settle_s: float) -> Range:
    """Return the range of closed rows: opens on the grid, nothing that can still change.

    A candle counts once it has been closed for `settle_s`; other kinds end at `now_us`.
    """
    latest = now_us - round(settle_s * US_PER_S)
    if interval is None:
        return Range(start, min(end, latest))
    return Range(interval.ceil(start), min(interval.ceil(end), interval.floor(latest)))


def choose_archives(
    files: Sequence[ArchiveFile],
    todo: Sequence[Range],
    pages: Callable[[Range], int],
    *,
    reach: int,
    always: bool,
) -> list[ArchiveFile]:
    """Return the files worth downloading: those that replace more pages than they cost.

    Longer files win; a file is left out when others already answer for all it offers. One that
    speaks for time before `reach`, where REST answers no more, is always taken.
    """
    chosen: list[ArchiveFile] = []
    left = list(todo)
    for file in sorted(files, key=lambda f: (f.covers.start - f.covers.end, f.covers.start)):
        offers = intersect([file.covers], left)
        if not offers:
            continue
        needed = always or offers[0].start < reach
        if needed or sum(pages(part) for part in offers) > _PAGES_PER_ARCHIVE:
            chosen.append(file)
            left = subtract(left, offers)
    return sorted(chosen, key=lambda f: f.covers.start)


def row_estimate(ranges: Sequence[Range], interval: Interval | None) -> int:
    """Return how many rows `ranges` hold at most; 0 where the kind has no grid."""
    if interval is None:
        return 0
    return total(ranges) // interval.nominal_us
