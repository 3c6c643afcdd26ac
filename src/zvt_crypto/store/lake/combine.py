"""Tables put together: existing rows, less what is replaced, and fresh ones, all in order."""

import sqlite3
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from zvt_crypto.core.rows import sorted_together
from zvt_crypto.core.schema import KNOWN
from zvt_crypto.core.series import Kind
from zvt_crypto.store.intake.compare import Correction


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
