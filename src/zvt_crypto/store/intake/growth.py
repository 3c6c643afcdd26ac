"""A ledger that grows at its end, as a live stream's does: nothing stored has to be looked at."""

from typing import Final

import numpy as np

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ledger import ABSENT, Coverage, Verdict, join_ascending
from zvt_crypto.core.ranges import Range, union
from zvt_crypto.store.intake.share import Share

_FAR_APART_US: Final = 6 * 3_600_000_000


def extend(
    share: Share, tail: Coverage | None, last_us: int | None, now_us: int
) -> list[Coverage] | None:
    """Return the entries of a commit that only adds to the end; None if it does more.

    This is what a live stream does all day: rows newer than all others, and findings at or after
    the end of the ledger. Nothing stored needs to be looked at.
    """
    news = share.news()
    if tail is not None:
        if news and news[0].start < tail.end:
            return None
        if share.rows and share.hull.start < tail.end:
            return None
    claims = [] if tail is None else [tail]
    for one in news:
        if last_us is not None and one.start <= last_us:
            return None
        rows, digest = _part_of(share, one)
        if rows and one.verdict in ABSENT:
            return None
        if one.verdict is not Verdict.OBSERVED:
            rows, digest = 0, EMPTY_DIGEST
        claims.append(Coverage(one.start, one.end, one.verdict, one.source, rows, digest, now_us))
    entries = join_ascending(claims)
    return entries[1:] if entries and entries[0] is tail else entries


def _part_of(share: Share, one: Coverage) -> tuple[int, Digest]:
    hull = share.hull
    if not share.rows or hull.end <= one.start or hull.start >= one.end:
        return 0, EMPTY_DIGEST
    if one.start <= hull.start and hull.end <= one.end:
        return share.rows, share.digest
    return share.index.measure(one.start, one.end)


def clusters(moments: np.ndarray) -> list[Range]:
    """Return ranges that hold all moments, far-apart ones in ranges of their own."""
    if not len(moments):
        return []
    breaks = np.flatnonzero(np.diff(moments) > _FAR_APART_US) + 1
    return union(Range(int(group[0]), int(group[-1]) + 1) for group in np.split(moments, breaks))
