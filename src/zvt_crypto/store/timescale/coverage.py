"""The ledger in PostgreSQL: only the neighbourhood of a change is read and written."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ledger import ABSENT, Coverage, Source, Verdict, revise
from zvt_crypto.core.ranges import Range, union
from zvt_crypto.core.series import Series
from zvt_crypto.store.timescale.block import Holding
from zvt_crypto.store.timescale.database import Connection
from zvt_crypto.store.timescale.rows import array

_FIELDS: Final = "start_us, end_us, verdict, source, rows, digest, written_us"
# The entry before the range may touch it, or reach into it.
_NEAR: Final = (
    f"SELECT {_FIELDS} FROM coverage WHERE series_id = %(id)s "
    "AND start_us <= %(end)s AND start_us >= COALESCE((SELECT max(start_us) FROM coverage "
    "WHERE series_id = %(id)s AND start_us < %(start)s), %(start)s) ORDER BY start_us"
)
_TAILS: Final = (
    "SELECT i.id, c.* FROM unnest(%s::int[]) AS i (id) CROSS JOIN LATERAL "
    f"(SELECT {_FIELDS} FROM coverage WHERE series_id = i.id ORDER BY start_us DESC LIMIT 1) c"
)
_PUT: Final = (
    f"INSERT INTO coverage (series_id, {_FIELDS}) "
    "SELECT * FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], "
    "%s::bigint[], %s::text[], %s::bigint[]) ON CONFLICT (series_id, start_us) DO UPDATE SET "
    "end_us = excluded.end_us, verdict = excluded.verdict, source = excluded.source, "
    "rows = excluded.rows, digest = excluded.digest, written_us = excluded.written_us"
)
_VERDICTS: Final = {member.value: member for member in Verdict}
_SOURCES: Final = {member.value: member for member in Source}


def load(connection: Connection, series_id: int, asked: Range | None = None) -> list[Coverage]:
    """Return the ledger, or its entries that overlap or touch `asked`, ascending."""
    if asked is None:
        found = connection.execute(
            f"SELECT {_FIELDS} FROM coverage WHERE series_id = %s ORDER BY start_us",
            (series_id,),
        )
        return [_entry(row) for row in found]
    bounds = {"id": series_id, "start": asked.start, "end": asked.end}
    entries = [_entry(row) for row in connection.execute(_NEAR, bounds)]
    return [entry for entry in entries if entry.end >= asked.start]


def tails(connection: Connection, ids: Sequence[int]) -> dict[int, Coverage]:
    """Return the last entry of each series that has one."""
    return {row[0]: _entry(row[1:]) for row in connection.execute(_TAILS, (array(ids),))}


def put(connection: Connection, entries: Iterable[tuple[int, Coverage]]) -> None:
    """Write entries, each of one series; one that starts at the same moment is replaced."""
    lines = [
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
    ]
    if lines:
        connection.execute(_PUT, [array(column) for column in zip(*lines, strict=True)])


def update(
    connection: Connection,
    series: Series,
    series_id: int,
    *,
    news: Sequence[Coverage],
    changed: Sequence[Range],
    source: Source,
    now_us: int,
) -> None:
    """Bring the ledger in line with the rows that the transaction now holds.

    Args:
        connection: inside the transaction that has written rows and blocks already.
        series: whose ledger it is.
        series_id: its number.
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
    hull = Range(min(b.start for b in bounds), max(b.end for b in bounds))
    view = Holding(connection, series, series_id, hull)
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


def revised(
    connection: Connection,
    series_id: int,
    asked: Range,
    change: Callable[[Sequence[Coverage], Range], Sequence[Coverage]],
) -> None:
    """Write what `change` makes of the entries around `asked`; it is told their hull, too."""
    existing = load(connection, series_id, asked)
    bounds = [asked, *(entry.range for entry in existing)]
    hull = Range(min(b.start for b in bounds), max(b.end for b in bounds))
    replace(connection, series_id, existing, change(existing, hull))


def replace(
    connection: Connection,
    series_id: int,
    existing: Sequence[Coverage],
    after: Sequence[Coverage],
) -> None:
    """Write what differs between a neighbourhood as it was and as it is to be."""
    held = set(existing)
    starts = {entry.start for entry in after}
    gone = [entry.start for entry in existing if entry.start not in starts]
    if gone:
        connection.execute(
            "DELETE FROM coverage WHERE series_id = %s AND start_us = ANY(%s)", (series_id, gone)
        )
    put(connection, [(series_id, entry) for entry in after if entry not in held])


def _neighbourhood(
    connection: Connection, series_id: int, asked: Sequence[Range]
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
    start, end, verdict, source, count, digest, written = row
    return Coverage(
        start, end, _VERDICTS[verdict], _SOURCES[source], count, Digest.parse(digest), written
    )
