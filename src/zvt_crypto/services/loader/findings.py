"""From proofs to what the ledger is told."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range, intersect, subtract, union
from zvt_crypto.ports.store import Finding
from zvt_crypto.services.loader.prove import Proven
from zvt_crypto.services.loader.strategy import cut


def clipped(proven: Proven, part: Range) -> Proven:
    """Return what is proven of `part` alone."""
    window = proven.window.overlap(part)
    return Proven(
        window,
        cut(proven.table, window),
        [b for b in proven.rejected if b.timestamp_us is None or window.holds(b.timestamp_us)],
        intersect(proven.empty, [window]),
        intersect(proven.missing, [window]),
    )


def overlaid(findings: Sequence[Finding], news: Proven) -> list[Finding]:
    """Return `findings` with what is now known of one window instead of theirs."""
    kept = [
        Finding(rest.start, rest.end, f.verdict)
        for f in findings
        for rest in subtract([Range(f.start, f.end)], [news.window])
    ]
    return [*kept, *findings_of(news.window, news.empty, news.missing)]


def findings_of(window: Range, empty: Sequence[Range], missing: Sequence[Range]) -> list[Finding]:
    """Return a verdict for every part of `window`: observed, where nothing else is said."""
    observed = subtract([window], [*empty, *missing])
    return [
        *(Finding(r.start, r.end, Verdict.OBSERVED) for r in observed),
        *(Finding(r.start, r.end, Verdict.EMPTY) for r in empty),
        *(Finding(r.start, r.end, Verdict.MISSING) for r in missing),
    ]


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, touching neighbours of one verdict as one: the store measures each."""
    return [
        Finding(part.start, part.end, verdict)
        for verdict, run in groupby(findings, key=attrgetter("verdict"))
        for part in union(Range(one.start, one.end) for one in run)
    ]
