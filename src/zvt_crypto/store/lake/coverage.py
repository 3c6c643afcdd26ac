"""The ledger in the catalog: only the neighbourhood of a change is read and written."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ledger import ABSENT, Coverage, Source, Verdict, revise
from zvt_crypto.core.ranges import Range, union
from zvt_crypto.core.series import Series
from zvt_crypto.store.lake.holding import Holding

_FIELDS: Final = 'start, "end", verdict, source, rows, digest, written_us'
# The entry before the range may touch it, or reach into it.
_NEAR: Final = (
    f"SELECT {_FIELDS} FROM coverage WHERE series_id = ? AND start <= ? AND start >= "  # noqa: S608
    "COALESCE((SELECT MAX(start) FROM coverage WHERE series_id = ? AND start < ?), ?) "
    "ORDER BY start"
)
_TAILS: Final = (
    'SELECT s.id, c.start, c."end", c.verdict, c.source, c.rows, c.digest, c.written_us '
    "FROM series s JOIN coverage c ON c.series_id = s.id AND c.start = "
    "(SELECT MAX(start) FROM coverage WHERE series_id = s.id) "
    "WHERE s.id IN (SELECT value FROM json_each(?))"
)
# Looking a member up is several times faster than calling its class.
_VERDICTS: Final = {member.value: member for member in Verdict}
_SOURCES: Final = {member.value: member for member in Source}
_PUT: Final = "INSERT OR REPLACE INTO coverage VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def load(
    connection: sqlite3.Connection, series_id: int, asked: Range | None = None
) -> list[Coverage]:
    """Return the ledger, or its entries that overlap or touch `asked`, ascending."""
    if asked is None:
        rows = connection.execute(
            f"SELECT {_FIELDS} FROM coverage WHERE series_id = ? ORDER BY start",  # noqa: S608
            (series_id,),
        )
    else:
        bounds = (series_id, asked.end, series_id, asked.start, asked.start)
        rows = connection.execute(_NEAR, bounds)
    entries = [_entry(row) for row in rows]
    if asked is None:
        return entries
    return [entry for entry in entries if entry.end >= asked.start]


def tails(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Coverage]:
    """Return the last entry of each series that has one."""
    rows = connection.execute(_TAILS, (json.dumps(ids),))
    return {row[0]: _entry(row[1:]) for row in rows}


def put(connection: sqlite3.Connection, entries: Iterable[tuple[int, Coverage]]) -> None:
    """Write entries, each of one series; one that starts at the same moment is replaced."""
    connection.executemany(
        _PUT,
        (
            (
                series_id,
                entry.start,
                entry.end,
                entry.verdict.value,
                entry.source.value,
                entry.rows,
                str(entry.digest),
                entry.written_us,
            )
            for series_id, entry in entries
        ),
    )


def update(
    connection: sqlite3.Connection,
    series: Series,
    series_id: int,
    holding: Callable[[Range], Holding],
    *,
    news: Sequence[Coverage],
    changed: Sequence[Range],
    source: Source,
    now_us: int,
) -> None:
    """Bring the ledger in line with the rows that the transaction now holds.

    Args:
        connection: inside the transaction that has written the rows already.
        series: whose ledger it is.
        series_id: its number in the catalog.
        holding: looks at the rows inside a range.
        news: the commit's findings, disjoint.
        changed: ranges that hold every row inserted or corrected; may hold others.
        source: whose rows the changed ones are.
        now_us: when the commit happens.
    """
    touched = union(changed)
    existing = _neighbourhood(connection, series_id, union([*touched, *(e.range for e in news)]))
    bounds = [e.range for e in existing] + [e.range for e in news]
    if not bounds:
        return
    view = holding(Range(min(b.start for b in bounds), max(b.end for b in bounds)))
    after = revise(
        existing,
        news,
        touched=lambda part: any(not part.overlap(one).is_empty for one in touched),
        measure=view.measure,
        times=view.times,
        cell_end=series.cell_end,
        source=source,
        now_us=now_us,
    )
    replace(connection, series_id, existing, after)


def hull(connection: sqlite3.Connection, series_id: int, asked: Range) -> Range:
    """Return the range from the first to the last entry that overlaps or touches `asked`."""
    bounds = [asked, *(entry.range for entry in load(connection, series_id, asked))]
    return Range(min(b.start for b in bounds), max(b.end for b in bounds))


def replace(
    connection: sqlite3.Connection,
    series_id: int,
    existing: Sequence[Coverage],
    after: Sequence[Coverage],
) -> None:
    """Write what differs between a neighbourhood as it was and as it is to be."""
    held = set(existing)
    starts = {entry.start for entry in after}
    connection.executemany(
        "DELETE FROM coverage WHERE series_id = ? AND start = ?",
        [(series_id, entry.start) for entry in existing if entry.start not in starts],
    )
    put(connection, ((series_id, entry) for entry in after if entry not in held))


def _neighbourhood(
    connection: sqlite3.Connection, series_id: int, asked: Sequence[Range]
) -> list[Coverage]:
    found: dict[int, Coverage] = {}
    for one in asked:
        near = load(connection, series_id, one)
        # An absence that a row refutes changes up to its ends, so its neighbours matter too.
        wide = union([one, *(e.range for e in near if e.verdict in ABSENT)])
        for stretch in wide:
            if stretch != one:
                near.extend(load(connection, series_id, stretch))
        found.update((entry.start, entry) for entry in near)
    return [found[start] for start in sorted(found)]


def _entry(row: Sequence[Any]) -> Coverage:
    start, end, verdict, source, rows, digest, written = row
    return Coverage(
        start,
        end,
        _VERDICTS[verdict],
        _SOURCES[source],
        rows,
        Digest.parse(digest),
        written,
    )
