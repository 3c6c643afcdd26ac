"""The ledger in the catalog: only the neighbourhood of a change is read and written."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from zvt_crypto.core.ledger import Coverage, Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.store.intake.ledger import changed_by, differences, entry_of, line_of
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
    entries = [entry_of(row) for row in rows]
    if asked is None:
        return entries
    return [entry for entry in entries if entry.end >= asked.start]


def tails(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Coverage]:
    """Return the last entry of each series that has one."""
    rows = connection.execute(_TAILS, (json.dumps(ids),))
    return {row[0]: entry_of(row[1:]) for row in rows}


def put(connection: sqlite3.Connection, entries: Iterable[tuple[int, Coverage]]) -> None:
    """Write entries, each of one series; one that starts at the same moment is replaced."""
    connection.executemany(
        _PUT,
        ((series_id, *line_of(entry)) for series_id, entry in entries),
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

    `connection` is inside the transaction that has written the rows already, and `holding` looks at
    those inside a range; for the rest see `changed_by`.
    """
    existing, after = changed_by(
        series,
        lambda asked: load(connection, series_id, asked),
        holding,
        news=news,
        changed=changed,
        source=source,
        now_us=now_us,
    )
    replace(connection, series_id, existing, after)


def replace(
    connection: sqlite3.Connection,
    series_id: int,
    existing: Sequence[Coverage],
    after: Sequence[Coverage],
) -> None:
    """Write what differs between a neighbourhood as it was and as it is to be."""
    gone, written = differences(existing, after)
    connection.executemany(
        "DELETE FROM coverage WHERE series_id = ? AND start = ?",
        [(series_id, start) for start in gone],
    )
    put(connection, ((series_id, entry) for entry in written))
