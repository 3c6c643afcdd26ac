"""Prove a hole: ask again until the exchange explains every suspect stretch of an answer.

An answer without a row is no proof that there is none: pages come cut short, late or from a
stale cache. A second answer proves a hole empty only if it returns every row already known in the
range it was asked for, and rows on both sides of the hole: a page cut anywhere shows. The
question is therefore widened to the known neighbours of the hole, and past the window where it
has none. At the very ends of a market there is nothing beyond; there an answer counts only
when it comes several times, to questions that take ever fewer known rows along: a page that is
always cut at the same place, or at the same share, cannot hold them all each time. An answer that
lacks known rows proves nothing, nor does one with rows nobody asked for: it may belong to another
question. Then the question is narrowed and put again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from zvt_crypto.core.column import times_of
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range, intersect, subtract, union
from zvt_crypto.core.validation import Reason, Rejected
from zvt_crypto.services.loader.strategy import Answer, Strategy, Suspect, cut

# Questions put again for one window before its rest is left `missing`.
_MAX_ASKS = 24
# Without rows on both sides nothing shows that an answer is whole: it has to come this often.
_BLIND_ASKS = 3


@dataclass(slots=True)
class Proven:
    """A window after its proof: rows, and a verdict for every part of it."""

    window: Range
    table: pa.Table
    rejected: list[Rejected]
    empty: list[Range] = field(default_factory=list[Range])
    missing: list[Range] = field(default_factory=list[Range])
    answered: list[Range] = field(default_factory=list[Range])
    requests: int = 0
    body_bytes: int = 0

    @property
    def observed(self) -> list[Range]:
        """Return what of the window holds data, or is proven to lack none."""
        return subtract([self.window], [*self.empty, *self.missing])


async def prove(strategy: Strategy, window: Range, first: Answer) -> Proven:
    """Explain every suspect of `first`, the answer for `window`; at most some 24 questions."""
    result = Proven(window, first.table, list(first.rejected), answered=list(first.answered))
    suspects = strategy.suspects(result.table, window)
    confirmed: list[Suspect] = []
    asks = 0
    while asks < _MAX_ASKS:
        open_ = _open_suspects(suspects, result, confirmed)
        if not open_:
            break
        groups = _groups(window, open_, asks)
        progressed = False
        for group in groups:
            if asks >= _MAX_ASKS:
                break
            asks += 1
            if await _ask_again(strategy, result, group):
                confirmed.extend(group)
                progressed = True
        suspects = strategy.suspects(result.table, window)
        if not progressed and len(groups) == len(open_) and asks >= _MAX_ASKS // 2:
            break
    done = [s.range for s in confirmed]
    result.missing.extend(_bad_slots(strategy, result, suspects))
    if not strategy.shows_holes and any(bad.timestamp_us is None for bad in result.rejected):
        result.missing.append(window)  # the refused row is somewhere in it
    for suspect in suspects:
        result.missing.extend(subtract([suspect.range], done))
        if suspect.verdict is Verdict.EMPTY:
            result.empty.append(suspect.range)
    result.missing = union([*result.missing, *subtract([window], result.answered)])
    result.empty = subtract(result.empty, result.missing)
    return result


def _open_suspects(
    suspects: Sequence[Suspect], result: Proven, confirmed: Sequence[Suspect]
) -> list[Suspect]:
    """Return the suspects no answer has explained yet."""
    done = [s.range for s in confirmed]
    return [s for s in suspects if subtract(intersect([s.range], result.answered), done)]


def _groups(window: Range, suspects: Sequence[Suspect], asks: int) -> list[list[Suspect]]:
    """Return suspects to ask about together: all at first, then ever fewer.

    One at an edge of the window stands alone, because its question reaches beyond the window.
    """
    edges = [s for s in suspects if s.range.start <= window.start or s.range.end >= window.end]
    inner = [s for s in suspects if s not in edges]
    parts = max(1, min(len(inner), 1 << min(asks // 2, 10)))
    size = max(1, -(-len(inner) // parts))
    halves = [list(inner[at : at + size]) for at in range(0, len(inner), size)]
    return [*halves, *([edge] for edge in edges)]


async def _ask_again(strategy: Strategy, result: Proven, group: Sequence[Suspect]) -> bool:
    """Ask about `group`; return whether the answers prove that nothing is absent there."""
    for blind in range(_BLIND_ASKS):
        wide = _question(strategy, result, group, blind)
        known = cut(result.table, wide)
        answer = await strategy.ask(wide)
        result.requests += answer.requests
        result.body_bytes += answer.body_bytes
        result.answered = union([*result.answered, *answer.answered])
        _add_rejected(result, answer.rejected)
        before = result.table.num_rows
        result.table = strategy.merge(result.table, cut(answer.table, result.window))
        if result.table.num_rows > before or not strategy.holds_all(known, answer.table):
            return False
        if any(bad.timestamp_us is None for bad in answer.rejected):
            return False  # a row without a time may belong anywhere
        times = times_of(answer.table)
        start, end = group[0].range.start, group[-1].range.end
        # An id jump holds its neighbours itself; a grid hole lies strictly between them. A candle
        # off the grid is believed like an answer without neighbours: if it always comes.
        is_off = any(bad.reason == Reason.OFF_GRID for bad in answer.rejected)
        if len(times) and times[0] <= start and times[-1] >= end - 1 and not is_off:
            return True
        if any(bad.reason == Reason.OUTSIDE_WINDOW for bad in answer.rejected):
            return False
    return True


def _question(strategy: Strategy, result: Proven, group: Sequence[Suspect], blind: int) -> Range:
    """Return the range of `group` widened to rows on both sides, as far as one page reaches.

    On a side without a known row it reaches half a page out; on the other it then takes more
    known rows along, so that an answer cut short shows: fewer of them each `blind` time.
    """
    start, end = group[0].range.start, group[-1].range.end
    span = strategy.page_span(start)
    reach = max(0, span - (end - start)) // 2
    times = times_of(result.table)
    left = int(np.searchsorted(times, start)) - 1
    right = int(np.searchsorted(times, end))
    low = int(times[left]) if left >= 0 else start - reach
    high = int(times[right]) + 1 if right < len(times) else end + reach
    more = reach * (_BLIND_ASKS - blind) // _BLIND_ASKS
    if right >= len(times):
        low = min(low, max(start - more, result.window.start))
    if left < 0:
        high = max(high, min(end + more, result.window.end))
    wide = strategy.on_grid(Range(low, high))
    if wide.end - wide.start <= span:
        return wide
    # The nearest row is more than a page away: what fits around the group has to do.
    return strategy.on_grid(Range(start - reach, min(end + reach, start - reach + span)))


def _bad_slots(strategy: Strategy, result: Proven, suspects: Sequence[Suspect]) -> list[Range]:
    """Return where the exchange has a row that we refuse: neither observed nor empty.

    A candle that keeps opening off the grid says nothing else than that none opens on it.
    """
    if not result.rejected:
        return []
    slots: list[Range] = []
    held = set(times_of(result.table).tolist())
    doubtful = union(s.range for s in suspects)
    for bad in result.rejected:
        if bad.timestamp_us is None or bad.reason in (Reason.DUPLICATE, Reason.OFF_GRID):
            continue
        slot = strategy.slot(bad.timestamp_us)
        # Where time alone is no key, a good row at the same moment may be another one.
        is_known = slot.start in held and strategy.is_told_by_time(slot, doubtful)
        if result.window.holds(slot.start) and not is_known:
            slots.append(slot)
    return union(slots)


def _add_rejected(result: Proven, more: Sequence[Rejected]) -> None:
    seen = {(bad.timestamp_us, bad.reason, bad.raw) for bad in result.rejected}
    for bad in more:
        if (bad.timestamp_us, bad.reason, bad.raw) not in seen:
            result.rejected.append(bad)
