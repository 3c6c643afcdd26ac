"""Retention: old rows go, and with them what ledger and blocks say of their time.

Not left to TimescaleDB's own policy: that would remove rows the ledger still vouches for, at once,
and also those a load has just brought. Whole chunks or partitions go, so it costs next to nothing.
"""

from typing import Final

from psycopg import sql

from zvt_crypto.core.ledger import forgotten
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.timescale import block, coverage, rows
from zvt_crypto.store.timescale.block import Holding
from zvt_crypto.store.timescale.database import Connection
from zvt_crypto.store.timescale.rows import moment
from zvt_crypto.store.timescale.tables import TABLES, Table, block_us

# Ordered like every other lock of series, so that commits and this never wait in a circle.
_LOCK: Final = (
    "SELECT id, exchange, symbol, kind, interval, known_us FROM series "
    "WHERE kind = %s ORDER BY id FOR NO KEY UPDATE"
)
_NATIVE: Final = """
SELECT c.oid::regclass::text,
    us_at(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('(.*)'\\)$$)::timestamptz)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass
"""
_HYPER: Final = """
SELECT format('%%I.%%I', chunk_schema, chunk_name), us_at(range_end)
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema AND hypertable_name = %s
"""


def retain(connection: Connection, kind: Kind, before_us: int, clock_us: int) -> tuple[int, int]:
    """Remove the chunks of a kind that end before a moment.

    Returns how many went, and from when on rows are kept: `before_us` or somewhat earlier.
    """
    table = TABLES[kind]
    layout = connection.execute("SELECT value FROM setting WHERE name = 'layout'").fetchone()
    is_hyper = layout == ("hypertable",)
    locked = connection.execute(_LOCK, (kind.value,)).fetchall()
    chunks = connection.execute(_HYPER if is_hyper else _NATIVE, (table.name,)).fetchall()
    doomed = [(name, end) for name, end in chunks if end <= before_us]
    ends = [end for _, end in doomed]
    if connection.files is not None:
        # What lies in files has no chunks: it goes by the calendar that partitions would have.
        ends.append(table.partition.floor(before_us))
    if not ends:
        return 0, before_us
    kept_from = max(ends)
    if doomed:
        _drop(connection, table, [name for name, _ in doomed], kept_from, is_hyper=is_hyper)
    gone = Range(ALWAYS.start, kept_from)
    for series_id, *fields, known_us in locked:
        now_us = max(clock_us, known_us + 1)
        if connection.files is not None:
            rows.remove_range(connection, table, series_id, gone)
        _forget(connection, to_series(fields), series_id, gone, now_us)
    return len(doomed), kept_from


def _drop(
    connection: Connection, table: Table, names: list[str], kept_from: int, *, is_hyper: bool
) -> None:
    if is_hyper:
        query = f"SELECT drop_chunks('{table.name}', older_than => {moment(kept_from)})"
        connection.execute(query.encode())
        return
    for name in names:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(name)))  # pyright: ignore[reportArgumentType]


def _forget(
    connection: Connection, series: Series, series_id: int, gone: Range, now_us: int
) -> None:
    width = block_us(series)
    edge = gone.end // width * width
    connection.execute(
        "DELETE FROM blocks WHERE series_id = %s AND start_us < %s", (series_id, edge)
    )
    block.recount(connection, series, series_id, Range(edge, edge + width))
    connection.execute(block.RECOUNT, {"id": series_id, "now": now_us})
    for statement in (
        "DELETE FROM corrections WHERE series_id = %s AND timestamp_us < %s",
        "DELETE FROM agreement WHERE series_id = %s AND last_us < %s",
    ):
        connection.execute(statement.encode(), (series_id, gone.end))

    existing = coverage.load(connection, series_id)
    hull = Range(ALWAYS.start, max([gone.end, *(entry.end for entry in existing)]))
    view = Holding(connection, series, series_id, hull)
    coverage.replace(connection, series_id, existing, forgotten(existing, gone, view.measure))
