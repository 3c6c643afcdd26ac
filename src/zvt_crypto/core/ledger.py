"""The coverage ledger: what we hold of a series, what is proven absent, what is owed.

A series has disjoint half-open ranges, each with a verdict. Time no range speaks of was never
asked for. All functions are pure; a store applies them inside its own transaction.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ranges import Range, intersect, subtract, union


class Verdict(StrEnum):
    """What is known of a range."""

    OBSERVED = "observed"
    EMPTY = "empty"
    OUTAGE = "outage"
    MISSING = "missing"
    UNRECOVERABLE = "unrecoverable"


class Source(StrEnum):
    """Where the knowledge came from."""

    ARCHIVE = "archive"
    REST = "rest"
    LIVE = "live"
    REPAIR = "repair"
    INGEST = "ingest"


SETTLED: Final = frozenset({Verdict.OBSERVED, Verdict.EMPTY, Verdict.OUTAGE, Verdict.UNRECOVERABLE})
"""Verdicts that leave no work to do; only `missing` is asked for again."""


class Coverage(msgspec.Struct, frozen=True):
    """One range of the ledger.

    `rows` and `digest` describe the stored rows in `[start, end)` and are zero for every verdict
    but `observed`. `written_us` is when the ledger learned it.
    """

    start: int
    end: int
    verdict: Verdict
    source: Source
    rows: int = 0
    digest: Digest = EMPTY_DIGEST
    written_us: int = 0

    @property
    def range(self) -> Range:
        """Return the bounds alone."""
        return Range(self.start, self.end)


ABSENT: Final = frozenset({Verdict.EMPTY, Verdict.OUTAGE})
"""Verdicts that say no row exists; a stored row refutes them."""

Measure = Callable[[int, int], tuple[int, Digest]]
"""Counts and digests the stored rows in `[start, end)`; asked when an observed range is cut."""

Times = Callable[[int, int], Sequence[int]]
"""Returns the times of the stored rows in `[start, end)`, ascending."""


def settled(ledger: Iterable[Coverage]) -> list[Range]:
    """Return the time no work is left for."""
    return union(entry.range for entry in ledger if entry.verdict in SETTLED)


def owed(requested: Iterable[Range], ledger: Iterable[Coverage]) -> list[Range]:
    """Return what of `requested` has to be fetched: never asked for, or `missing`."""
    return subtract(requested, settled(ledger))


def unknown(requested: Range, ledger: Iterable[Coverage]) -> list[Range]:
    """Return what of `requested` the ledger says nothing about."""
    return subtract([requested], [entry.range for entry in ledger])


def overlay(
    existing: Sequence[Coverage], news: Sequence[Coverage], measure: Measure
) -> list[Coverage]:
    """Return the ledger after `news`, which win wherever they overlap `existing`.

    `existing` must hold every entry that overlaps or touches the news. What remains of a cut
    `observed` entry is measured again; neighbours of one verdict and source are joined.
    """
    cuts = union(entry.range for entry in news)
    kept: list[Coverage] = []
    for entry in existing:
        parts = subtract([entry.range], cuts)
        if parts == [entry.range]:
            kept.append(entry)
            continue
        kept.extend(_part(entry, part, measure) for part in parts)
    return join(kept + list(news))


def yielding(existing: Sequence[Coverage], news: Sequence[Coverage]) -> list[Coverage]:
    """Return `news` without what must not replace stronger knowledge in `existing`.

    Two processes may work on one series. `missing` never replaces a settled verdict, and a
    verdict without rows (`empty`, `outage`, `unrecoverable`) never replaces an `observed` range
    that holds rows: the other process found what this one did not. Only `discard` takes
    knowledge back.
    """
    settled_now = settled(existing)
    with_rows = [e.range for e in existing if e.verdict is Verdict.OBSERVED and e.rows]
    kept: list[Coverage] = []
    for entry in news:
        if entry.verdict is Verdict.OBSERVED:
            kept.append(entry)
            continue
        shields = settled_now if entry.verdict is Verdict.MISSING else with_rows
        kept.extend(
            Coverage(
                part.start, part.end, entry.verdict, entry.source, 0, EMPTY_DIGEST, entry.written_us
            )
            for part in subtract([entry.range], shields)
        )
    return kept


def join(entries: Iterable[Coverage]) -> list[Coverage]:
    """Return entries ascending, touching ones of one verdict and source made one."""
    return join_ascending(sorted(entries, key=lambda e: e.start))


def join_ascending(entries: Iterable[Coverage]) -> list[Coverage]:
    """Return what `join` does of entries that are in order already."""
    joined: list[Coverage] = []
    for entry in entries:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.end == entry.start
            and last.verdict is entry.verdict
            and last.source is entry.source
        ):
            joined[-1] = Coverage(
                last.start,
                entry.end,
                last.verdict,
                last.source,
                last.rows + entry.rows,
                last.digest + entry.digest,
                max(last.written_us, entry.written_us),
            )
        else:
            joined.append(entry)
    return joined


def disjoint(news: Sequence[Coverage]) -> list[Coverage]:
    """Return `news` without overlaps, the later winning; rows and digests are not measured."""
    ascending = sorted(news, key=lambda e: e.start)
    if all(a.end <= b.start for a, b in itertools.pairwise(ascending)):
        return ascending
    kept: list[Coverage] = []
    taken: list[Range] = []
    for entry in reversed(news):
        kept.extend(
            _part(entry, part, lambda _start, _end: (0, EMPTY_DIGEST))
            for part in subtract([entry.range], taken)
        )
        taken = union([*taken, entry.range])
    return sorted(kept, key=lambda e: e.start)


def revise(
    existing: Sequence[Coverage],
    news: Sequence[Coverage],
    *,
    touched: Callable[[Range], bool],
    measure: Measure,
    times: Times,
    cell_end: Callable[[int], int],
    source: Source,
    now_us: int,
) -> list[Coverage]:
    """Return the ledger after a commit, so that every entry agrees with the stored rows.

    Over `overlay`, four things. News yield as `yielding` says. Observed entries that a change
    touched are measured again.
    A row inside a range called empty or an outage refutes it: from its time to `cell_end` the
    range becomes observed. An entry that says what it said before keeps its `written_us`.

    Args:
        existing: every entry that overlaps the news or holds a changed row, and the neighbours
            touching those.
        news: the commit's findings, disjoint; their rows and digests are measured here.
        touched: whether a row of the range was inserted or corrected; may say so in vain.
        measure: counts and digests the rows stored after the commit.
        times: returns the times of the rows stored after the commit.
        cell_end: where the stretch of time a row speaks for ends.
        source: whose rows the changed ones are.
        now_us: when the commit happens.
    """

    def measured(part: Range, verdict: Verdict, by: Source) -> Coverage:
        rows, digest = measure(*part) if verdict is Verdict.OBSERVED else (0, EMPTY_DIGEST)
        return Coverage(*part, verdict, by, rows, digest, now_us)

    def refuted(entry: Coverage) -> list[Coverage]:
        cells = union(Range(t, min(cell_end(t), entry.end)) for t in times(*entry.range))
        rest = [
            measured(part, entry.verdict, entry.source) for part in subtract([entry.range], cells)
        ]
        return [*rest, *(measured(cell, Verdict.OBSERVED, source) for cell in cells)]

    news = yielding(existing, [entry for entry in news if not entry.range.is_empty])
    cuts = union(entry.range for entry in news)
    before: list[Coverage] = []
    for entry in existing:
        if entry.verdict in ABSENT and touched(entry.range):
            before.extend(refuted(entry))
        elif (
            entry.verdict is Verdict.OBSERVED
            and touched(entry.range)
            and subtract([entry.range], cuts) == [entry.range]
        ):
            before.append(measured(entry.range, entry.verdict, entry.source))
        else:
            before.append(entry)
    claims: list[Coverage] = []
    for entry in news:
        if entry.verdict in ABSENT:
            claims.extend(refuted(entry))
        else:
            claims.append(measured(entry.range, entry.verdict, entry.source))
    known = {_sense(entry): entry for entry in existing}
    return [known.get(_sense(entry), entry) for entry in overlay(before, claims, measure)]


def taken_back(
    existing: Sequence[Coverage], asked: Range, measure: Measure, now_us: int
) -> list[Coverage]:
    """Return the ledger with `missing` wherever it said anything about `asked`."""
    lost = intersect([asked], [entry.range for entry in existing])
    news = [
        Coverage(*part, Verdict.MISSING, Source.REPAIR, 0, EMPTY_DIGEST, now_us) for part in lost
    ]
    return overlay(existing, news, measure)


def forgotten(existing: Sequence[Coverage], asked: Range, measure: Measure) -> list[Coverage]:
    """Return the ledger saying nothing of `asked`, as if nobody had ever wanted to know."""
    return [
        entry if part == entry.range else _part(entry, part, measure)
        for entry in existing
        for part in subtract([entry.range], [asked])
    ]


def clip(ledger: Iterable[Coverage], asked: Range, measure: Measure) -> list[Coverage]:
    """Return the ledger cut to `asked`; cut observed entries are measured again."""
    clipped: list[Coverage] = []
    for entry in ledger:
        part = entry.range.overlap(asked)
        if not part.is_empty:
            clipped.append(entry if part == entry.range else _part(entry, part, measure))
    return clipped


def is_complete(requested: Range, ledger: Iterable[Coverage]) -> bool:
    """Return whether every moment of `requested` is settled, and none lost for good."""
    held = [e.range for e in ledger if e.verdict in SETTLED - {Verdict.UNRECOVERABLE}]
    return not subtract([requested], held)


def _sense(entry: Coverage) -> tuple[int, int, Verdict, Source, int, Digest]:
    return entry.start, entry.end, entry.verdict, entry.source, entry.rows, entry.digest


def _part(entry: Coverage, part: Range, measure: Measure) -> Coverage:
    rows, digest = (0, EMPTY_DIGEST)
    if entry.verdict is Verdict.OBSERVED:
        rows, digest = measure(part.start, part.end)
    return Coverage(
        part.start, part.end, entry.verdict, entry.source, rows, digest, entry.written_us
    )
