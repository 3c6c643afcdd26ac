"""Rows as a store takes them in: of the kind's schema, in key order, each key once.

All functions take one table, which may hold rows of several series side by side: `group` then
tells them apart, so that a thousand rows of hundreds of series are put in order in one go.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from zvt_crypto.core.column import as_array, holds_zero
from zvt_crypto.core.errors import DataError
from zvt_crypto.core.schema import KEYS, SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind

Int64s = npt.NDArray[np.int64]

# The functions of this module are made at import, out of sight of a type checker.
pc: Any = pyarrow.compute

_PAIR: Final = 2


def conform(kind: Kind, tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables in the schema of `kind`; a NaN that may be null becomes null.

    Raises:
        DataError: a column is missing, of another type, or lacks a value it must have; or a text
            holds U+0000.
    """
    if kind not in SCHEMAS:
        raise DataError(f"{kind} is not a kind that can be stored")
    schema = SCHEMAS[kind]
    parts = [one if one.schema.equals(schema) else _cast(kind, one, schema) for one in tables]
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    table = table.combine_chunks()
    for index, field in enumerate(schema):
        column = table.column(index)
        if pa.types.is_floating(field.type) and _has_nan(column):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
            table = table.set_column(index, field, column)
        if pa.types.is_list(field.type) and _has_holes(column):
            raise DataError(
                f"rows of {kind} have levels without a value in {field.name}",
                remedy="Such rows belong into quarantine",
            )
        if not field.nullable and column.null_count:
            raise DataError(
                f"{column.null_count} rows of {kind} have no {field.name}",
                remedy="Such rows belong into quarantine",
            )
        if pa.types.is_string(field.type) and (zeros := holds_zero(as_array(column))) is not None:
            raise DataError(
                f"{int(zeros.sum())} rows of {kind} hold the character U+0000 in {field.name}, "
                "which not every store can keep",
                remedy="Such rows belong into quarantine",
            )
    return table


def times(table: pa.Table | pa.RecordBatch) -> Int64s:
    """Return the timestamps in microseconds."""
    # The same bits; a cast would copy them.
    return np.asarray(as_array(table.column("timestamp")).view(pa.int64()))


def arrange(kind: Kind, table: pa.Table, group: Int64s) -> tuple[pa.Table, Int64s]:
    """Return rows and groups sorted by group and key, of equal keys only the last."""
    if _is_arranged(kind, table, group):
        return table, group
    keys = KEYS[kind]
    columns = [pa.array(group), *(table.column(name).combine_chunks() for name in keys)]
    names = ["group", *keys]
    keyed = pa.table(columns, names=names)
    # A stable sort: of equal keys the one that came last stays last.
    order = pc.sort_indices(keyed, sort_keys=[(name, "ascending") for name in names])
    keyed = keyed.take(order).combine_chunks()
    repeats = np.ones(max(len(order) - 1, 0), dtype=bool)
    for name in names:
        column = keyed.column(name)
        repeats &= np.asarray(pc.equal(column.slice(0, len(order) - 1), column.slice(1)))
    kept = np.asarray(order)[np.append(~repeats, True)]
    return table.take(pa.array(kept)).combine_chunks(), group[kept]


def sorted_together(kind: Kind, tables: Sequence[pa.Table]) -> pa.Table:
    """Return rows of tables that are each sorted, and share no key, as one sorted table."""
    joined = pa.concat_tables(sorted(tables, key=_first_time)).combine_chunks()
    return arrange(kind, joined, np.zeros(joined.num_rows, dtype=np.int64))[0]


def match(kind: Kind, held: pa.Table, incoming: pa.Table) -> Int64s:
    """Return for every incoming row the index of the held row of the same key, or -1.

    Both are arranged, of one series.
    """
    there, here = times(held), times(incoming)
    found = np.full(len(here), -1, dtype=np.int64)
    if not len(there) or not len(here):
        return found
    if len(KEYS[kind]) < _PAIR:
        at = np.minimum(np.searchsorted(there, here), len(there) - 1)
        same = there[at] == here
        found[same] = at[same]
        return found
    # Two-part keys are looked up only where the times meet.
    low, high = np.searchsorted(there, here), np.searchsorted(there, here, side="right")
    second = KEYS[kind][1]
    candidates = np.flatnonzero(high > low)
    if not len(candidates):
        return found
    first, last = int(low[candidates[0]]), int(high[candidates[-1]])
    known = held.column(second).slice(first, last - first).to_pylist()
    wanted = incoming.column(second).take(pa.array(candidates)).to_pylist()
    index = {
        key: first + offset
        for offset, key in enumerate(zip(there[first:last].tolist(), known, strict=True))
    }
    keys = zip(here[candidates].tolist(), wanted, strict=True)
    found[candidates] = [index.get(key, -1) for key in keys]
    return found


def payloads(kind: Kind, table: pa.Table) -> list[str]:
    """Return the columns beside the key of every row as a JSON object."""
    plain = table.drop_columns(list(KEYS[kind]))
    for index, field in enumerate(plain.schema):
        if pa.types.is_timestamp(field.type):
            plain = plain.set_column(index, field.name, plain.column(index).cast(pa.int64()))
    return [json.dumps(row) for row in plain.to_pylist()]


def restored(
    kind: Kind, keys: Sequence[tuple[int, str | int | None]], texts: Sequence[str]
) -> pa.Table:
    """Return the rows whose `payloads` are `texts`; a whole number in a key may be text, too."""
    schema = SCHEMAS[kind]
    decoded: list[dict[str, Any]] = [json.loads(text) for text in texts]
    columns: list[pa.Array] = []
    for field in schema:
        if field.name == "timestamp":
            column = pa.array([key[0] for key in keys], pa.int64()).cast(TIMESTAMP)
        elif field.name in KEYS[kind]:
            column = pa.array([key[1] for key in keys])
            column = column.cast(field.type) if len(keys) else pa.array([], field.type)
        elif pa.types.is_timestamp(field.type):
            column = pa.array([row.get(field.name) for row in decoded], pa.int64()).cast(field.type)
        else:
            column = pa.array([row.get(field.name) for row in decoded], field.type)
        columns.append(column)
    return pa.table(columns, schema=schema)


def _cast(kind: Kind, table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, ValueError, NotImplementedError) as e:
        raise DataError(f"not a table of {kind}: {e}") from e


def _has_nan(column: pa.ChunkedArray) -> bool:
    if column.null_count:  # NumPy would take them for NaN
        return bool(pc.any(pc.is_nan(column)).as_py())
    return bool(np.isnan(np.asarray(as_array(column))).any())


def _first_time(table: pa.Table) -> int:
    return int(times(table.slice(0, 1))[0]) if table.num_rows else 0


def _has_holes(column: pa.ChunkedArray) -> bool:
    """Return whether an element of a list is null or NaN."""
    for chunk in column.chunks:
        elements = chunk.flatten()
        if elements.null_count or bool(np.isnan(np.asarray(elements)).any()):
            return True
    return False


def _is_arranged(kind: Kind, table: pa.Table, group: Int64s) -> bool:
    moments = times(table)
    steps, jumps = np.diff(moments), np.diff(group)
    ascending = (jumps > 0) | ((jumps == 0) & (steps > 0))
    if bool(ascending.all()):
        return True
    ties = np.flatnonzero((jumps == 0) & (steps == 0))
    if len(KEYS[kind]) < _PAIR or len(ties) + int(ascending.sum()) < len(steps):
        return False
    column = table.column(KEYS[kind][1])
    here, after = column.take(pa.array(ties)), column.take(pa.array(ties + 1))
    return bool(pc.all(pc.less(here, after)).as_py())
