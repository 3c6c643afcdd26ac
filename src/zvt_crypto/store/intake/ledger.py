"""The ledger as engines keep it: lines of a table, of which a change touches a few."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ledger import ABSENT, Coverage, Source, Verdict, revise
from zvt_crypto.core.ranges import Range, union
from zvt_crypto.core.series import Series

# Looking a member up is several times faster than calling its class.
_VERDICTS: Final = {member.value: member for member in Verdict}
_SOURCES: Final = {member.value: member for member in Source}


class Rows(Protocol):
    """What a transaction sees of a series' rows; see the engines' `Holding`."""

    def measure(self, start: int, end: int) -> tuple[int, Digest]:
        """Count and digest the rows in `[start, end)`."""
        ...

    def times(self, start: int, end: int) -> list[int]:
        """Return the times of the rows in `[start, end)`, ascending."""
        ...


def line_of(entry: Coverage) -> tuple[int, int, str, str, int, str, int]:
    """Return an entry as columns: start, end, verdict, source, rows, digest, written."""
    return (
        entry.start,
        entry.end,
        entry.verdict.value,
        entry.source.value,
        entry.rows,
        str(entry.digest),
        entry.written_us,
    )


def entry_of(line: Sequence[Any]) -> Coverage:
    """Return the entry of such columns."""
    start, end, verdict, source, rows, digest, written = line
    return Coverage(
        start, end, _VERDICTS[verdict], _SOURCES[source], rows, Digest.parse(digest), written
    )


def hull(asked: Range, entries: Sequence[Coverage]) -> Range:
    """Return the range from the first to the last of what is asked and the entries around it."""
    bounds = [asked, *(entry.range for entry in entries)]
    return Range(min(b.start for b in bounds), max(b.end for b in bounds))


def changed_by(
    series: Series,
    load: Callable[[Range], list[Coverage]],
    rows: Callable[[Range], Rows],
    *,
    news: Sequence[Coverage],
    changed: Sequence[Range],
    source: Source,
    now_us: int,
) -> tuple[list[Coverage], list[Coverage]]:
    """Return the neighbourhood of a change, as it was and as it is to be.

    Args:
        series: whose ledger it is.
        load: returns the entries that overlap or touch a range.
        rows: looks at the rows inside a range as they are after the change.
        news: the commit's findings, disjoint.
        changed: ranges that hold every row inserted or corrected; may hold others.
        source: whose rows the changed ones are.
        now_us: when the commit happens.
    """
    touched = union(changed)
    existing = _neighbourhood(load, union([*touched, *(e.range for e in news)]))
    bounds = [entry.range for entry in [*existing, *news]]
    if not bounds:
        return [], []
    view = rows(Range(min(b.start for b in bounds), max(b.end for b in bounds)))
    after = revise(
        existing,
        news,
        touched=lambda part: any(not part.overlap(one).is_empty for one in touched),
        measure=view.measure,
        times=view.times,
        cell_end=series.cell_end,
        source=source,
        now_us=now_us,
    )
    return existing, after


def differences(
    existing: Sequence[Coverage], after: Sequence[Coverage]
) -> tuple[list[int], list[Coverage]]:
    """Return the starts of entries that go, and the entries to write over what is there."""
    held = set(existing)
    starts = {entry.start for entry in after}
    gone = [entry.start for entry in existing if entry.start not in starts]
    return gone, [entry for entry in after if entry not in held]


def _neighbourhood(
    load: Callable[[Range], list[Coverage]], asked: Sequence[Range]
) -> list[Coverage]:
    found: dict[int, Coverage] = {}
    for one in asked:
        near = load(one)
        # An absence that a row refutes changes up to its ends, so its neighbours matter too.
        wide = union([one, *(e.range for e in near if e.verdict in ABSENT)])
        for stretch in wide:
            if stretch != one:
                near.extend(load(stretch))
        found.update((entry.start, entry) for entry in near)
    return [found[start] for start in sorted(found)]
