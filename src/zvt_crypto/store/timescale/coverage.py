"""The ledger in PostgreSQL: only the neighbourhood of a change is read and written."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from zvt_crypto.core.ledger import Coverage, Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.store.intake.ledger import changed_by, differences, entry_of, hull, line_of
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


def load(connection: Connection, series_id: int, asked: Range | None = None) -> list[Coverage]:
    """Return the ledger, or its entries that overlap or touch `asked`, ascending."""
    if asked is None:
        found = connection.execute(
            f"SELECT {_FIELDS} FROM coverage WHERE series_id = %s ORDER BY start_us",
            (series_id,),
        )
        return [entry_of(row) for row in found]
    bounds = {"id": series_id, "start": asked.start, "end": asked.end}
    entries = [entry_of(row) for row in connection.execute(_NEAR, bounds)]
    return [entry for entry in entries if entry.end >= asked.start]


def tails(connection: Connection, ids: Sequence[int]) -> dict[int, Coverage]:
    """Return the last entry of each series that has one."""
    return {row[0]: entry_of(row[1:]) for row in connection.execute(_TAILS, (array(ids),))}


def put(connection: Connection, entries: Iterable[tuple[int, Coverage]]) -> None:
    """Write entries, each of one series; one that starts at the same moment is replaced."""
    lines = [(series_id, *line_of(entry)) for series_id, entry in entries]
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

    `connection` is inside the transaction that has written rows and blocks already; for the rest
    see `changed_by`.
    """
    existing, after = changed_by(
        series,
        lambda asked: load(connection, series_id, asked),
        lambda asked: Holding(connection, series, series_id, asked),
        news=news,
        changed=changed,
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
    replace(connection, series_id, existing, change(existing, hull(asked, existing)))


def replace(
    connection: Connection,
    series_id: int,
    existing: Sequence[Coverage],
    after: Sequence[Coverage],
) -> None:
    """Write what differs between a neighbourhood as it was and as it is to be."""
    gone, written = differences(existing, after)
    if gone:
        connection.execute(
            "DELETE FROM coverage WHERE series_id = %s AND start_us = ANY(%s)", (series_id, gone)
        )
    put(connection, [(series_id, entry) for entry in written])
