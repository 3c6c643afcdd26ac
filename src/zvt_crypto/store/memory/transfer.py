"""Parcels of the store in memory."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from zvt_crypto.core.bar import Values
from zvt_crypto.core.digest import EMPTY_DIGEST
from zvt_crypto.core.ledger import Source, clip
from zvt_crypto.core.parcel import (
    KNOWN,
    Corrected,
    Judged,
    Listing,
    Parcel,
    Refused,
    Seal,
    Unpacked,
    tally_corrections,
    tally_reconciled,
    tally_rejected,
)
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement, Reconciled, json_of
from zvt_crypto.core.rows import restored
from zvt_crypto.core.schema import KEYS, SCHEMAS
from zvt_crypto.core.series import Series
from zvt_crypto.core.unpacking import ledger_after, merge_in, versions_after
from zvt_crypto.store.memory.held import Correction, Held, Key, Listed, Row, rows_of

_FIRST: Final = 0


def seal(held: Held, asked: Range) -> Seal:
    """Return in short what is held of a stretch."""
    rows, digest = held.measure(*asked)
    return Seal(
        rows=rows,
        digest=digest,
        ledger=tuple(clip(held.ledger, asked, held.measure)),
        corrections=tally_corrections(_corrections(held, asked)),
        rejected=tally_rejected(_rejected(held, asked)),
        reconciled=tally_reconciled(held.series, _reconciled(held, asked)),
    )


def pack(held: Held, asked: Range, limit_rows: int) -> Parcel:
    """Return all that is held of a stretch, or of its beginning."""
    keys = held.keys(asked)
    if len(keys) > limit_rows:
        moments = [moment for moment, _ in keys]
        cut = moments[limit_rows]
        if cut == moments[0]:
            cut += 1
        asked, keys = Range(asked.start, cut), keys[: bisect_left(moments, cut)]
    return Parcel(
        series=held.series,
        range=asked,
        table=_table(held, keys),
        ledger=tuple(clip(held.ledger, asked, held.measure)),
        corrections=tuple(_corrections(held, asked)),
        rejected=tuple(_rejected(held, asked)),
        reconciled=tuple(_reconciled(held, asked)),
    )


def unpack(held: Held, parcel: Parcel, *, replace: bool) -> Unpacked:
    """Enter a parcel that is `checked`; nothing is changed if it is refused."""
    asked = parcel.range
    before = held.keys(asked)
    past = list(_corrections(held, asked))
    merged = merge_in(parcel, _table(held, before), past, replace=replace)
    for key in before:
        del held.rows[key]
    names = SCHEMAS[held.series.kind].names
    known = merged.table.column(KNOWN.name).to_pylist()
    for (key, row), moment in zip(
        rows_of(held.series, merged.table.select(names), _FIRST), known, strict=True
    ):
        held.rows[key] = msgspec.structs.replace(row, known_us=moment)
    forgotten = set(merged.forget)
    kept = [one for one in held.corrections if corrected_of(one) not in forgotten]
    there = {corrected_of(one) for one in kept}
    fresh = [_correction(held.series, one) for one in parcel.corrections if one not in there]
    held.corrections = sorted([*kept, *fresh], key=lambda one: one.new.known_us)
    said = set(held.ledger)
    held.ledger = ledger_after(held.ledger, parcel, held.measure)
    return Unpacked(
        merged.changed,
        len(set(held.ledger) - said),
        len(fresh) + len(forgotten),
        _refuse(held, parcel.rejected),
        _judge(held, parcel.reconciled),
    )


def enter_listings(listed: list[Listed], sent: Sequence[Listing]) -> int:
    """Take versions of instruments over; return of how many."""
    theirs: dict[tuple[str, str], list[Listing]] = {}
    for one in sent:
        theirs.setdefault((one.instrument.exchange, one.instrument.symbol), []).append(one)
    changed = 0
    for name, versions in theirs.items():
        mine = [e for e in listed if (e.instrument.exchange, e.instrument.symbol) == name]
        after = versions_after([listing_of(one) for one in mine], versions)
        if after is not None:
            listed[:] = [one for one in listed if one not in mine]
            listed.extend(Listed(one.instrument, one.valid_from, one.valid_to) for one in after)
            changed += 1
    return changed


def listing_of(one: Listed) -> Listing:
    """Return a version as it travels."""
    return Listing(one.instrument, one.valid_from, one.valid_to)


def corrected_of(one: Correction) -> Corrected:
    """Return a correction as it travels."""
    moment, key = one.key
    text = None if key is None else str(key)
    return Corrected(
        moment, text, one.old.payload, one.new.payload, one.old.known_us, one.new.known_us
    )


def _correction(series: Series, one: Corrected) -> Correction:
    key: Key = (one.timestamp_us, one.key)
    if one.key is not None and SCHEMAS[series.kind].field(KEYS[series.kind][1]).type == pa.int64():
        key = (one.timestamp_us, int(one.key))
    old = Row(one.old, EMPTY_DIGEST, one.known_us)
    return Correction(key, old, Row(one.new, EMPTY_DIGEST, one.corrected_us))


def _table(held: Held, keys: Sequence[Key]) -> pa.Table:
    rows = [held.rows[key] for key in keys]
    table = restored(held.series.kind, keys, [row.payload for row in rows])
    return table.append_column(KNOWN, pa.array([row.known_us for row in rows], pa.int64()))


def _corrections(held: Held, asked: Range) -> Iterator[Corrected]:
    return (corrected_of(one) for one in held.corrections if asked.holds(one.key[0]))


def _rejected(held: Held, asked: Range) -> Iterator[Refused]:
    found = (Refused(one, written) for one, written in held.rejected.items())
    return (one for one in found if asked.holds(one.moment))


def _reconciled(held: Held, asked: Range) -> Iterator[Judged]:
    for at in sorted(held.reconciled):
        if asked.holds(at):
            one, written = held.reconciled[at]
            match = one.verdict is Agreement.MATCH
            yield Judged(
                at,
                at,
                one.verdict.value,
                one.source.value,
                None if match else ",".join(one.differs) or None,
                None if match else json_of(one.built),
                None if match else json_of(one.venue),
                written,
            )


def _refuse(held: Held, rejected: Iterable[Refused]) -> int:
    before = len(held.rejected)
    for one in rejected:
        held.rejected.setdefault(one.rejected, one.written_us)
    return len(held.rejected) - before


def _judge(held: Held, judged: Iterable[Judged]) -> int:
    interval = held.series.interval
    if interval is None:
        return 0
    changed = 0
    for one in judged:
        for at in interval.grid(one.first_us, one.last_us + 1).tolist():
            verdict = Reconciled(
                held.series,
                at,
                Agreement(one.verdict),
                tuple(one.differs.split(",")) if one.differs else (),
                _values(one.built),
                _values(one.venue),
                Source(one.source),
            )
            there = held.reconciled.get(at)
            if there is None or there[1] < one.written_us:
                held.reconciled[at] = (verdict, one.written_us)
                changed += 1
    return changed


def _values(text: str | None) -> Values | None:
    return None if text is None else msgspec.json.decode(text, type=Values)
