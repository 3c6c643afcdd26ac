"""Tables put together: what a row replaces, what is new, and all of it in order."""

import sqlite3
from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.rows import arrange, match, payloads, times
from zvt_crypto.core.schema import KEYS, SCHEMAS
from zvt_crypto.core.series import Kind
from zvt_crypto.store.lake.chunk import KNOWN
from zvt_crypto.store.lake.intake import Share
from zvt_crypto.store.lake.rowindex import RowIndex


class Correction(msgspec.Struct, frozen=True):
    """A row replaced by other values."""

    time: int
    key: str | None
    old: str
    new: str
    known_us: int


def record_corrections(
    connection: sqlite3.Connection,
    series_id: int,
    corrections: Sequence[Correction],
    now_us: int,
) -> None:
    """Keep the old values of replaced rows."""
    connection.executemany(
        "INSERT INTO corrections "
        "(series_id, timestamp, key, old, new, known_us, corrected_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(series_id, c.time, c.key, c.old, c.new, c.known_us, now_us) for c in corrections],
    )


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


def sorted_together(kind: Kind, tables: Sequence[pa.Table]) -> pa.Table:
    """Return rows of tables that are each sorted, and share no key, as one sorted table."""
    joined = pa.concat_tables(sorted(tables, key=_first_time)).combine_chunks()
    return arrange(kind, joined, np.zeros(joined.num_rows, dtype=np.int64))[0]


def _first_time(table: pa.Table) -> int:
    return int(times(table.slice(0, 1))[0]) if table.num_rows else 0


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


def combine(
    kind: Kind, existing: pa.Table, old: np.ndarray, incoming: pa.Table, fresh: np.ndarray
) -> pa.Table:
    """Return existing rows less the replaced ones, and the fresh incoming ones, sorted."""
    if len(old):
        kept = np.ones(existing.num_rows, dtype=bool)
        kept[old] = False
        existing = existing.filter(pa.array(kept))
    if not fresh.all():
        incoming = incoming.filter(pa.array(fresh))
    tables = [existing, without_time(incoming)]
    return sorted_together(kind, [table for table in tables if table.num_rows])


def without_time(table: pa.Table) -> pa.Table:
    """Add no time of its own to any row: known since the commit that makes them visible."""
    return table.append_column(KNOWN, pa.nulls(table.num_rows, pa.int64()))
