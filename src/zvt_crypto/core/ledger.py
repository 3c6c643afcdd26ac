"""The coverage ledger: what we hold of a series, what is proven absent, what is owed.

A series has disjoint half-open ranges, each with a verdict. Time no range speaks of was never
asked for. All functions are pure; a store applies them inside its own transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.ranges import Range, subtract, union


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


Measure = Callable[[int, int], tuple[int, Digest]]
"""Counts and digests the stored rows in `[start, end)`; asked when an observed range is cut."""


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


def join(entries: Iterable[Coverage]) -> list[Coverage]:
    """Return entries ascending, touching ones of one verdict and source made one."""
    joined: list[Coverage] = []
    for entry in sorted(entries, key=lambda e: e.start):
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


def _part(entry: Coverage, part: Range, measure: Measure) -> Coverage:
    rows, digest = (0, EMPTY_DIGEST)
    if entry.verdict is Verdict.OBSERVED:
        rows, digest = measure(part.start, part.end)
    return Coverage(
        part.start, part.end, entry.verdict, entry.source, rows, digest, entry.written_us
    )
