"""Where time is cut, and what two stores have in common of a stretch. Pure."""

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Final

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.core.parcel import Seal, Tally
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.timestamp import format_us, from_us, to_us

LEVELS: Final = ("year", "month", "day")
"""The stretches that are compared, each cut into the next where two stores differ.

They are those of the calendar because stores keep their data by it: a whole month is answered
without a look at the rows.
"""

_FIRST_YEAR: Final = to_us(dt.date(1, 1, 1))
_LAST_YEAR: Final = to_us(dt.date(9999, 1, 1))


def parts(stretch: Range, hull: Range, level: str) -> list[Range]:
    """Return a stretch cut wherever a year, month or day of `hull` begins."""
    within = stretch.overlap(hull)
    within = within.overlap(Range(_FIRST_YEAR, _LAST_YEAR))
    if within.is_empty:
        return [stretch]
    # The end of the last one, too: what lies beyond is a stretch of its own.
    cuts = [at for at in _openings(within, level) if stretch.start < at < stretch.end]
    return [Range(*pair) for pair in itertools.pairwise([stretch.start, *cuts, stretch.end])]


def lacks(sent: Seal, there: Seal) -> str | None:
    """Return in which way a store does not hold what was sent; None if it does.

    It may hold more: data of its own beside that of the source.
    """
    claims = set(there.ledger)
    strange = [entry for entry in sent.ledger if entry not in claims]
    if strange:
        shown = ", ".join(f"{format_us(e.start)}..{format_us(e.end)} {e.verdict}"
                          for e in strange[:3])  # fmt: skip
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""  # noqa: PLR2004
        return f"the ledger of the target does not say {shown}{more}"
    covered = sum(entry.rows for entry in sent.ledger)
    proven = sum((entry.digest for entry in sent.ledger), Digest(0, 0))
    mine, theirs = sent.rows - covered, there.rows - covered
    if mine > theirs:
        return f"{mine - theirs:,} rows that no ledger entry covers are not there"
    if mine == theirs and sent.digest - proven != there.digest - proven:
        return f"{mine:,} rows that no ledger entry covers are not the same"
    for what, ours, others in (
        ("corrections", sent.corrections, there.corrections),
        ("quarantined rows", sent.rejected, there.rejected),
        ("verdicts on bars", sent.reconciled, there.reconciled),
    ):
        if _misses(ours, others):
            return f"{ours.count:,} {what} were sent, and {others.count:,} others are there"
    return None


def _misses(sent: Tally, there: Tally) -> bool:
    return there.count < sent.count or (there.count == sent.count and there != sent)


def _openings(within: Range, level: str) -> Iterator[int]:
    """Yield the opening of every year, month or day that overlaps, and of the one after."""
    if level == "day":
        first = within.start // US_PER_DAY * US_PER_DAY
        yield from range(first, within.end + US_PER_DAY, US_PER_DAY)
        return
    date = from_us(within.start).date()
    year, month = date.year, 1 if level == "year" else date.month
    while True:
        at = to_us(dt.date(year, month, 1))
        yield at
        if at >= within.end or year >= dt.MAXYEAR - 1:
            return
        if level == "year" or month == 12:  # noqa: PLR2004 - December
            year, month = year + 1, 1
        else:
            month += 1
