"""Taking parcels in: which rows stand in a stretch afterwards, and what the ledger then says.

Decided here once, so that all engines decide alike, also about when to refuse. Pure.
"""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.errors import CopyRefused, DataError, StoreCorrupt
from zvt_crypto.core.ledger import ABSENT, Coverage, Measure, Source, Verdict, clip
from zvt_crypto.core.parcel import KNOWN, Corrected, Listing, Parcel, hashes, unwritten
from zvt_crypto.core.ranges import Range, subtract, union
from zvt_crypto.core.rows import Int64s, arrange, conform, match, payloads, times
from zvt_crypto.core.schema import KEYS, SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import format_us


class Merged(msgspec.Struct, frozen=True):
    """What a stretch holds once a parcel is in: its rows, and how many changed.

    `forget` are corrections of the store's own that have to go, as it was told to replace.
    """

    table: pa.Table
    changed: int
    forget: Sequence[Corrected] = ()


def checked(parcel: Parcel) -> Parcel:
    """Return the parcel with its rows in order.

    Raises:
        DataError: rows, ledger or verdicts are not of its series or not of its stretch.
        StoreCorrupt: its ledger says other things than its rows: damage is not passed on.
    """
    series, kind = parcel.series, parcel.series.kind
    if KNOWN.name not in parcel.table.column_names:
        raise DataError(f"a parcel of {series} does not say since when its rows are known")
    known = parcel.table.column(KNOWN.name).combine_chunks().cast(pa.int64())
    if known.null_count:
        raise DataError(f"{known.null_count} rows of a parcel of {series} have no time of knowing")
    rows = parcel.table.drop_columns([KNOWN.name])
    table = conform(kind, [rows]).append_column(KNOWN, known)
    table = arrange(kind, table, np.zeros(table.num_rows, dtype=np.int64))[0]
    if table.num_rows != parcel.rows:
        raise DataError(f"a parcel of {series} holds {parcel.rows - table.num_rows} rows twice")
    moments = times(table)
    is_inside = not len(moments) or bool(
        parcel.range.start <= moments[0] and moments[-1] < parcel.range.end
    )
    if not is_inside or subtract([entry.range for entry in parcel.ledger], [parcel.range]):
        raise DataError(f"a parcel of {series} holds more than its stretch")
    _check_ledger(parcel, table)
    for one in parcel.reconciled:
        if series.interval is None or not series.interval.is_open(one.first_us):
            raise DataError(f"a parcel of {series} judges {one.first_us}, where no bar opens")
    return msgspec.structs.replace(parcel, table=table)


def spoken_of(parcel: Parcel) -> list[Range]:
    """Return the time a parcel changes: what its ledger speaks of, and around its other rows."""
    covered = union(entry.range for entry in parcel.ledger)
    moments = times(parcel.table)
    loose = moments[~inside(moments, covered)]
    if not len(loose):
        return covered
    return union([*covered, Range(int(loose[0]), int(loose[-1]) + 1)])


def merge_in(
    parcel: Parcel, held: pa.Table, past: Sequence[Corrected], *, replace: bool = False
) -> Merged:
    """Return the rows of the stretch once the parcel is in it.

    Where the parcel's ledger says something, its rows are the only ones there; elsewhere rows of
    the store's own stay beside them. Rows of the store that differ or that the parcel lacks are
    no obstacle if they are what the sender held earlier: it says itself that it corrected them or
    took them back since.

    Args:
        parcel: as `checked` returns it.
        held: the store's rows of the stretch in key order, with `known_us`; those outside
            `spoken_of` may be left out.
        past: the store's corrections of rows in the stretch.
        replace: let the parcel win whatever is there.

    Raises:
        CopyRefused: the store knows other things, and is not told to replace them.
    """
    kind, names = parcel.series.kind, SCHEMAS[parcel.series.kind].names
    covered = union(entry.range for entry in parcel.ledger)
    found = match(kind, parcel.table, held)
    there = np.flatnonzero(found >= 0)
    mine = hashes(held.select(names).take(pa.array(there)))
    sent = hashes(parcel.table.select(names).take(pa.array(found[there])))
    differs = there[(mine[0] != sent[0]) | (mine[1] != sent[1])]
    lacking = np.flatnonzero(found < 0)
    is_covered = inside(times(held)[lacking], covered)
    kept, gone = lacking[~is_covered], lacking[is_covered]
    foreign = _foreign(parcel, past, covered)
    if not replace:
        strange = _unexplained(parcel, held, differs, gone)
        if any(strange) or foreign:
            raise _refusal(parcel, *strange, len(foreign))
    same = np.setdiff1d(there, differs, assume_unique=True)
    known_there = np.asarray(held.column(KNOWN.name))[same]
    known_sent = np.asarray(parcel.table.column(KNOWN.name))[found[same]]
    unchanged = int((known_there == known_sent).sum())
    table = parcel.table
    if len(kept):
        rest = held.take(pa.array(kept)).cast(table.schema)
        table = pa.concat_tables([table, rest]).combine_chunks()
        table = arrange(kind, table, np.zeros(table.num_rows, dtype=np.int64))[0]
    return Merged(table, parcel.rows - unchanged + len(gone), foreign)


def ledger_after(existing: Sequence[Coverage], parcel: Parcel, measure: Measure) -> list[Coverage]:
    """Return the ledger once the parcel is in: its entries as they are, and what it leaves open.

    Args:
        existing: every entry that overlaps or touches the parcel's stretch.
        parcel: whose rows are stored already.
        measure: counts and digests the rows as they are stored now.
    """
    covered = union(entry.range for entry in parcel.ledger)
    moments = times(parcel.table)
    loose = moments[~inside(moments, covered)]
    kept: list[Coverage] = []
    for entry in existing:
        mine = loose[(loose >= entry.start) & (loose < entry.end)].tolist()
        cuts = list(covered)
        if mine and entry.verdict in ABSENT:
            # A row refutes it, and nobody claims more than that the row is there.
            cuts += [Range(at, parcel.series.cell_end(at)) for at in mine]
        parts = subtract([entry.range], cuts)
        if parts == [entry.range] and not mine:
            kept.append(entry)
            continue
        for part in parts:
            observed = entry.verdict is Verdict.OBSERVED
            rows, digest = measure(*part) if observed else (0, EMPTY_DIGEST)
            kept.append(
                Coverage(*part, entry.verdict, entry.source, rows, digest, entry.written_us)
            )
    return rejoined([*kept, *parcel.ledger])


def restated(
    existing: Sequence[Coverage],
    series: Series,
    asked: Range,
    ledger: Sequence[Coverage],
    measure: Measure,
) -> list[Coverage] | None:
    """Return the ledger with the times of writing of another; None if they say other things."""
    if unwritten(clip(existing, asked, measure)) != unwritten(ledger):
        return None
    table = pa.schema([*SCHEMAS[series.kind], KNOWN]).empty_table()
    parcel = Parcel(series=series, range=asked, table=table, ledger=ledger)
    return ledger_after(existing, parcel, measure)


def rejoined(entries: Iterable[Coverage]) -> list[Coverage]:
    """Return entries ascending, those joined again that were cut between parcels.

    They are known by their time of writing; others that touch belong to different commits here,
    and stay apart so that each goes on to say what the sender's says.
    """
    joined: list[Coverage] = []
    for entry in sorted(entries, key=lambda e: e.start):
        last = joined[-1] if joined else None
        if last is not None and last.end == entry.start and _sense(last) == _sense(entry):
            joined[-1] = msgspec.structs.replace(
                last,
                end=entry.end,
                rows=last.rows + entry.rows,
                digest=last.digest + entry.digest,
            )
        else:
            joined.append(entry)
    return joined


def versions_after(held: Sequence[Listing], sent: Sequence[Listing]) -> list[Listing] | None:
    """Return the versions of one instrument once others are taken in; None to leave them.

    A store that lists it by itself keeps its own; one that holds an earlier copy takes the rest.
    """
    if not held:
        return sorted(sent, key=lambda one: one.valid_from) or None
    mine = sorted(held, key=lambda one: one.valid_from)
    theirs = sorted(sent, key=lambda one: one.valid_from)
    if mine == theirs or len(theirs) < len(mine):
        return None
    for one, other in zip(mine, theirs, strict=False):
        if (one.instrument, one.valid_from) != (other.instrument, other.valid_from):
            return None
        if one.valid_to not in (None, other.valid_to):
            return None
    return theirs


def _check_ledger(parcel: Parcel, table: pa.Table) -> None:
    moments = times(table)
    sums = [
        np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(lane, dtype=np.uint64)])
        for lane in hashes(table.select(SCHEMAS[parcel.series.kind].names))
    ]
    for entry in parcel.ledger:
        first, last = np.searchsorted(moments, entry.range).tolist()
        upto, before = (Digest(*(int(lane[at]) for lane in sums)) for at in (last, first))
        digest = upto - before
        if entry.verdict is Verdict.OBSERVED and (last - first, digest) != (
            entry.rows,
            entry.digest,
        ):
            raise StoreCorrupt(
                f"{parcel.series} {_shown(entry.start)}..{_shown(entry.end)} cannot be copied: "
                "rows and ledger of the source disagree",
                remedy="`zvtc repair` heals the source; then run the copy again",
            )


def _sense(entry: Coverage) -> tuple[Verdict, Source, int]:
    return entry.verdict, entry.source, entry.written_us


def _foreign(
    parcel: Parcel, past: Sequence[Corrected], covered: Sequence[Range]
) -> list[Corrected]:
    """Return the store's corrections that the sender knows nothing of, of rows it speaks of."""
    known = set(parcel.corrections)
    others = [one for one in past if one not in known]
    if not others:
        return []
    at = np.array([one.timestamp_us for one in others], dtype=np.int64)
    spoken_of = inside(at, covered) | np.isin(at, times(parcel.table))
    return [one for one, is_so in zip(others, spoken_of.tolist(), strict=True) if is_so]


def _unexplained(parcel: Parcel, held: pa.Table, differs: Int64s, gone: Int64s) -> tuple[int, int]:
    """Return how many rows that differ, and that are lacking, the sender never held."""
    corrected = {(c.timestamp_us, c.key, c.old, c.known_us) for c in parcel.corrections}
    different = sum(one not in corrected for one in _identities(parcel.series.kind, held, differs))
    if not len(gone):
        return different, 0
    moments, known = times(held)[gone], np.asarray(held.column(KNOWN.name))[gone]
    explained = np.zeros(len(gone), dtype=bool)
    for entry in parcel.ledger:
        if entry.verdict is Verdict.MISSING and entry.source is Source.REPAIR:
            within = (moments >= entry.start) & (moments < entry.end)
            explained |= within & (known < entry.written_us)
    return different, int((~explained).sum())


def _identities(kind: Kind, held: pa.Table, rows: Int64s) -> list[tuple[int, str | None, str, int]]:
    """Return time, rest of the key, values and time of knowing of some rows."""
    if not len(rows):
        return []
    chosen = held.take(pa.array(rows))
    second = KEYS[kind][1:]
    keys = chosen.column(second[0]).to_pylist() if second else [None] * len(rows)
    plain = chosen.select(SCHEMAS[kind].names)
    return list(
        zip(
            times(chosen).tolist(),
            [None if key is None else str(key) for key in keys],
            payloads(kind, plain),
            chosen.column(KNOWN.name).to_pylist(),
            strict=True,
        )
    )


def _refusal(parcel: Parcel, differing: int, lacking: int, corrected: int) -> CopyRefused:
    counts = {
        "rows with other values": differing,
        "rows the source does not have": lacking,
        "corrections of its own": corrected,
    }
    found = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    bounds = [moment for entry in parcel.ledger for moment in entry.range]
    if parcel.rows:
        moments = times(parcel.table)
        bounds += [int(moments[0]), int(moments[-1]) + 1]
    where = f"{_shown(min(bounds))}..{_shown(max(bounds))}" if bounds else "all time"
    return CopyRefused(str(parcel.series), where, found)


def _shown(moment: int) -> str:
    try:
        return format_us(moment)
    except OverflowError:
        return str(moment)


def inside(moments: Int64s, ranges: Sequence[Range]) -> npt.NDArray[np.bool_]:
    """Return which moments lie in one of the ranges, which are disjoint and ascending."""
    if not ranges:
        return np.zeros(len(moments), dtype=bool)
    starts = np.array([one.start for one in ranges], dtype=np.int64)
    ends = np.array([one.end for one in ranges], dtype=np.int64)
    at = np.searchsorted(starts, moments, side="right") - 1
    return (at >= 0) & (moments < ends[np.maximum(at, 0)])
