"""Incoming rows beside those held: what is new, what replaces, and what is there already."""

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import match, payloads, times
from zvt_crypto.core.schema import KEYS, KNOWN, SCHEMAS
from zvt_crypto.core.series import Kind
from zvt_crypto.store.intake.share import Share


class Correction(msgspec.Struct, frozen=True):
    """A row replaced by other values."""

    time: int
    key: str | None
    old: str
    new: str
    known_us: int


def corrections_of(kind: Kind, old: pa.Table, new: pa.Table) -> list[Correction]:
    """Pair old rows, with `known_us`, and the new rows of the same keys."""
    if not old.num_rows:
        return []
    second = KEYS[kind][1:]
    keys = new.column(second[0]).to_pylist() if second else [None] * new.num_rows
    before = payloads(kind, old.drop_columns([KNOWN.name]))
    known = old.column(KNOWN.name).to_pylist()
    keys = [None if key is None else str(key) for key in keys]
    rows = zip(times(new).tolist(), keys, before, payloads(kind, new), known, strict=True)
    return [Correction(*row) for row in rows]


def compare(
    kind: Kind, existing: pa.Table, share: Share
) -> tuple[np.ndarray, np.ndarray, list[Correction]]:
    """Return which incoming rows to write, which existing they replace, and the old values."""
    found = match(kind, existing, share.table)
    fresh = found < 0
    known = np.flatnonzero(~fresh)
    if len(known):
        index = RowIndex.of(existing.select(SCHEMAS[kind].names))
        differs = index.differs(found[known], share.index, known)
        fresh[known[differs]] = True
        known = known[differs]
    old = found[known]
    taken = existing.take(pa.array(old))
    return fresh, old, corrections_of(kind, taken, share.table.take(pa.array(known)))
