"""Taking back: rows that turned out to be wrong or unreadable go, and are owed again."""

import sqlite3
from typing import Final

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.ledger import taken_back
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.store.intake.ledger import hull
from zvt_crypto.store.lake import coverage
from zvt_crypto.store.lake.catalog import Catalog, Transaction, find_series
from zvt_crypto.store.lake.holding import Holding
from zvt_crypto.store.lake.merge import Conflict, Merger
from zvt_crypto.store.segments.segment import SegmentFiles

_ATTEMPTS: Final = 20


def discard(
    catalog: Catalog, files: SegmentFiles, merger: Merger, series: Series, asked: Range
) -> Range:
    """Remove the rows in `asked`, and call `missing` what the ledger said of it.

    Returns the range taken back: wider than `asked` where a segment reaching into it is damaged.
    """
    for _ in range(_ATTEMPTS):
        with catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            if series_id is None:
                return asked
            parts, taken = merger.plan_discard(connection, series, series_id, asked)
        transaction: Transaction | None = None
        try:
            with catalog.write() as transaction:
                now, connection = transaction.now_us, transaction.connection
                merger.apply(connection, series, series_id, parts, now)
                recount(transaction.connection, series_id)
                existing = coverage.load(connection, series_id, taken)
                around = hull(taken, existing)
                holding = Holding(connection, files, series, series_id, around)
                after = taken_back(existing, taken, holding.measure, now)
                coverage.replace(connection, series_id, existing, after)
        except Conflict:
            merger.discard(parts)
            continue
        except BaseException:
            merger.discard(parts, transaction)
            raise
        return taken
    raise StoreBusy(str(catalog.path.parent), 0.0)


def recount(connection: sqlite3.Connection, series_id: int) -> None:
    """Count the series anew: after damage, differences prove nothing.

    Nothing of its kind may have only just arrived, see `hot.settle`.
    """
    hot = "(SELECT {} FROM hot WHERE series_id = :id)"
    live = "(SELECT {} FROM segments WHERE series_id = :id AND retired_us IS NULL)"
    connection.execute(
        "UPDATE series SET "  # noqa: S608
        f"hot_rows = COALESCE({hot.format('SUM(rows)')}, 0), "
        f"rows = COALESCE({hot.format('SUM(rows)')}, 0) + COALESCE({live.format('SUM(rows)')}, 0), "
        f"first_us = (SELECT MIN(v) FROM (SELECT {hot.format('MIN(first_us)')} AS v "
        f"UNION ALL SELECT {live.format('MIN(first_us)')})), "
        f"last_us = (SELECT MAX(v) FROM (SELECT {hot.format('MAX(last_us)')} AS v "
        f"UNION ALL SELECT {live.format('MAX(last_us)')})) WHERE id = :id",
        {"id": series_id},
    )
