"""Where data is missing: opens absent from a grid, ids absent from a count."""

import msgspec
import numpy as np

from zvt_crypto.core.column import Ints
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range


class IdBreak(msgspec.Struct, frozen=True):
    """A jump in consecutive trade ids: `count` trades between two neighbours are absent.

    `range` holds every moment they can have happened at: from the time of the neighbour before to
    the time of the one after, both included, since trades may share a time.
    """

    after_id: int
    before_id: int
    count: int
    range: Range


def candle_holes(times_us: Ints, interval: Interval, window: Range) -> list[Range]:
    """Return the opens in `window` that `times_us` lacks, each run of them as one range.

    A range goes from the first missing open to the close of the last missing candle, which lies
    past `window.end` if the window ends inside a candle. Times may be in any order and repeated;
    those off the grid or out of the window count for nothing.
    """
    count = interval.count_opens(window.start, window.end)
    if count == 0:
        return []
    first = interval.ceil(window.start)
    if _is_whole(times_us, first, count, interval.width_us):
        return []
    inside = times_us[(times_us >= first) & (times_us < window.end)]
    width = interval.width_us
    if width is None:
        grid = interval.grid(window.start, window.end)
        present = np.flatnonzero(np.isin(grid, inside))
    else:
        present, rest = np.divmod(inside - first, width)
        present = present[rest == 0]
        if len(present) > 1 and not bool((np.diff(present) > 0).all()):
            present = np.unique(present)
    # Virtual neighbours just outside make the ends of the window holes like any other.
    edges = np.concatenate(([-1], present, [count]))
    jumps = np.flatnonzero(np.diff(edges) > 1)
    return [
        Range(interval.shift(first, int(edges[at]) + 1), interval.shift(first, int(edges[at + 1])))
        for at in jumps
    ]


def _is_whole(times_us: Ints, first: int, count: int, width: int | None) -> bool:
    """Return whether the times are every open from `first` on: the usual page, seen at once."""
    return (
        width is not None
        and len(times_us) == count
        and int(times_us[0]) == first
        and bool((times_us[1:] - times_us[:-1] == width).all())
    )


def id_breaks(ids: Ints, times_us: Ints, steps: Ints | None = None) -> list[IdBreak]:
    """Return where ids that an exchange counts up one by one jump.

    Args:
        ids: trade ids of one instrument, any order, repeats allowed.
        times_us: the time of each.
        steps: how many ids each row stands for, where the exchange folds fills and names the
            fold by its last id (OKX: id 123 with count 3 is 121, 122 and 123). None means one.

    Returns:
        The breaks by ascending id; ids before the first and after the last are not judged.
    """
    if len(ids) > 1 and not bool((np.diff(ids) > 0).all()):
        ids, rows = np.unique(ids, return_index=True)
        times_us = times_us[rows]
        steps = None if steps is None else steps[rows]
    absent = np.diff(ids) - (1 if steps is None else steps[1:])
    found: list[IdBreak] = []
    for at in np.flatnonzero(absent > 0):
        # The clock of an exchange may step back between two ids.
        early, late = sorted((int(times_us[at]), int(times_us[at + 1])))
        found.append(
            IdBreak(int(ids[at]), int(ids[at + 1]), int(absent[at]), Range(early, late + 1))
        )
    return found
