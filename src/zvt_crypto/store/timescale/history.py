"""Rows in files: the manifest that says which files count, and what changes it.

A row lies in its table or in one file, never in both; blocks and ledger speak of it alike. Files
never change: where rows of one are replaced or removed, another takes its place in the same
transaction that changes everything else, and it is retired. Readers that still need it find it
until `sweep` removes it, a day later.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import match, times
from zvt_crypto.core.schema import KNOWN, SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.segments.publish import Member
from zvt_crypto.store.segments.segment import Segment
from zvt_crypto.store.timescale.database import Connection, Database

# Longer than any commit can take: a file announced before that, and not named since, is nobody's.
_DRAFT_KEPT_S: Final = 86_400.0
_FIELDS: Final = "first_us, last_us, rows, low, high, bytes, path, id"
_ENTER: Final = (
    "INSERT INTO segments (series_id, first_us, last_us, rows, low, high, bytes, path) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)


def live(connection: Connection, series_id: int, asked: Range) -> list[Segment]:
    """Return the files with rows in `asked`, by their first row; none if there are no files."""
    if connection.files is None:
        return []
    found = connection.execute(
        f"SELECT {_FIELDS} FROM segments WHERE series_id = %s AND retired_us IS NULL "
        "AND last_us >= %s AND first_us < %s ORDER BY first_us, id",
        (series_id, asked.start, asked.end),
    )
    return [_segment(row) for row in found]


def read(connection: Connection, kind: Kind, series_id: int, asked: Range) -> list[pa.Table]:
    """Return the rows in `asked` that lie in files, with `known_us`, a table each file."""
    return read_all(connection, kind, live(connection, series_id, asked), asked)


def read_all(
    connection: Connection, kind: Kind, segments: Sequence[Segment], asked: Range
) -> list[pa.Table]:
    """Return the rows of these files that lie in `asked`, with `known_us`."""
    if connection.files is None or not segments:
        return []
    files = connection.files.segments
    # The files say that a column may be null where the schema says that it is not.
    schema = pa.schema([*SCHEMAS[kind], KNOWN])
    tables = [files.read(kind, segment, asked).cast(schema) for segment in segments]
    return [table for table in tables if table.num_rows]


def enter(connection: Connection, series: Series, series_id: int, table: pa.Table) -> None:
    """Put sorted rows with their `known_us` into files, which count once the transaction does."""
    if connection.files is None or not table.num_rows:
        return
    segments = connection.files.write(series, table)
    name(connection, series_id, segments)


def name(connection: Connection, series_id: int, segments: Sequence[Segment]) -> None:
    """Enter files in the manifest."""
    lines = [
        (series_id, s.first_us, s.last_us, s.rows, s.digest.low, s.digest.high, s.bytes, s.path)
        for s in segments
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_ENTER, lines)
    paths = [segment.path for segment in segments]
    connection.execute("DELETE FROM drafts WHERE path = ANY(%s)", (paths,))


def retire(connection: Connection, segments: Sequence[Segment]) -> None:
    """Take files out of the manifest; they are removed later."""
    connection.execute(
        "UPDATE segments SET retired_us = us_at(clock_timestamp()) WHERE id = ANY(%s)",
        ([segment.id for segment in segments],),
    )


def remove(connection: Connection, kind: Kind, series_id: int, doomed: pa.Table) -> None:
    """Remove the rows of the keys of `doomed` from the files they lie in."""
    if connection.files is None or not doomed.num_rows:
        return
    moments = times(doomed)
    hull = Range(int(moments[0]), int(moments[-1]) + 1)
    for segment in live(connection, series_id, hull):
        held = connection.files.segments.read(kind, segment)
        at = match(kind, held, doomed)
        kept = np.ones(held.num_rows, dtype=bool)
        kept[at[at >= 0]] = False
        _keep(connection, series_id, segment, held, kept)


def remove_range(connection: Connection, kind: Kind, series_id: int, asked: Range) -> None:
    """Remove all rows in `asked` from files."""
    segments = live(connection, series_id, asked)
    retire(connection, [one for one in segments if one.inside(asked)])
    for segment in segments:
        if not segment.inside(asked) and connection.files is not None:
            held = connection.files.segments.read(kind, segment)
            moments = times(held)
            kept = (moments < asked.start) | (moments >= asked.end)
            _keep(connection, series_id, segment, held, kept)


def drop_unreadable(
    connection: Connection, series: Series, series_id: int, asked: Range, around_us: int
) -> Range:
    """Give up the files around `asked` that cannot be read; return what is lost, with `asked`.

    What depends on it reaches up to `around_us` beyond both ends.
    """
    if connection.files is None:
        return asked
    while True:
        near = Range(asked.start - around_us, asked.end + around_us)
        lost: list[Segment] = []
        for segment in live(connection, series_id, near):
            try:
                connection.files.segments.read(series.kind, segment)
            except (OSError, pa.ArrowException):
                lost.append(segment)
        if not lost:
            return asked
        retire(connection, lost)
        bounds = [asked, *(Range(s.first_us, series.cell_end(s.last_us)) for s in lost)]
        asked = Range(min(b.start for b in bounds), max(b.end for b in bounds))


def members(connection: Connection) -> list[Member]:
    """Return every file with its series, by path."""
    found = connection.execute(
        "SELECT s.exchange, s.symbol, s.kind, s.interval, g.first_us, g.last_us, g.rows, g.low, "
        "g.high, g.bytes, g.path, g.id FROM segments g JOIN series s ON s.id = g.series_id "
        "WHERE g.retired_us IS NULL ORDER BY g.path"
    )
    return [Member(to_series(row[:4]), _segment(row[4:])) for row in found]


def announce(database: Database, paths: Sequence[str]) -> None:
    """Note, in a transaction of its own, that files of these paths are about to be written."""
    database.transact(
        lambda c: c.execute(
            "INSERT INTO drafts SELECT p, us_at(clock_timestamp()) FROM unnest(%s::text[]) AS p",
            (list(paths),),
        )
    )


def sweep(database: Database, older_than_s: float) -> int:
    """Remove files retired for so long, and those of commits that failed; return bytes freed."""
    files = database.files
    if files is None:
        return 0
    retired, drafts = database.snapshot(
        lambda c: (
            c.execute(
                "SELECT id, path, bytes FROM segments "
                "WHERE retired_us < us_at(clock_timestamp()) - %s",
                (int(older_than_s * 1_000_000),),
            ).fetchall(),
            c.execute(
                "SELECT path FROM drafts WHERE written_us < us_at(clock_timestamp()) - %s",
                (int(max(older_than_s, _DRAFT_KEPT_S) * 1_000_000),),
            ).fetchall(),
        )
    )
    # Files first: a line without its file is found again next time.
    for path in [row[1] for row in retired] + [row[0] for row in drafts]:
        files.storage.remove(path)
    if retired or drafts:
        database.transact(
            lambda c: (
                c.execute("DELETE FROM segments WHERE id = ANY(%s)", ([r[0] for r in retired],)),
                c.execute("DELETE FROM drafts WHERE path = ANY(%s)", ([r[0] for r in drafts],)),
            )
        )
    return sum(row[2] for row in retired)


def _keep(
    connection: Connection,
    series_id: int,
    segment: Segment,
    held: pa.Table,
    kept: np.ndarray,
) -> None:
    """Let another file with the rows to keep take the place of one."""
    if kept.all():
        return
    retire(connection, [segment])
    if kept.any():
        (row,) = connection.execute(
            "SELECT exchange, symbol, kind, interval FROM series WHERE id = %s", (series_id,)
        ).fetchall()
        enter(connection, to_series(row), series_id, held.filter(pa.array(kept)).combine_chunks())


def _segment(row: Sequence[Any]) -> Segment:
    first, last, count, low, high, size, path, number = row
    return Segment(first, last, count, Digest(int(low), int(high)), size, path, 0, number)
