"""Housekeeping: old rows go into files or are let go, and what nobody needs is removed.

One process of all that share a store does it at a time; the others find its lease taken.
"""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import psycopg
import pyarrow as pa

from zvt_crypto.core.digest import Digest
from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import sorted_together, times
from zvt_crypto.core.schema import KNOWN, SCHEMAS, weight
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Upkept
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.segments.segment import Segment, partition
from zvt_crypto.store.timescale import block, history, rows
from zvt_crypto.store.timescale.block import Holding
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.lease import LeaseTable
from zvt_crypto.store.timescale.retain import retain
from zvt_crypto.store.timescale.tables import TABLES, Table

_log = logging.getLogger(__name__)

_LEASE: Final = "upkeep"
_LEASE_S: Final = 900.0
# A month's rows stay in their table for so long after its end: most repairs have come by then.
_SETTLED_US: Final = 7 * US_PER_DAY
# Light rows held in memory at once.
_AT_ONCE: Final = 1_000_000
# A file with fewer rows is merged with what comes beside it.
_SMALL_ROWS: Final = 100_000
RULE: Final = "retain:"
"""What settings are named that say how long rows of a kind are kept."""
_DONE: Final = "upkeep_us"
_SERIES: Final = (
    "SELECT id, exchange, symbol, kind, interval FROM series WHERE kind = %s AND rows > 0"
)


class _Found(msgspec.Struct, frozen=True):
    """Rows to be filed, and what tells whether they have changed since.

    Attributes:
        hot: the stretch of the rows in the table; `rows` of them, with this `known_sum`.
        inside: rows and digest of all that lies in that stretch, in files too.
        taken: files whose rows go along.
        whole: all these rows.
    """

    hot: Range
    rows: int
    known_sum: int
    inside: tuple[int, Digest]
    taken: Sequence[Segment]
    whole: pa.Table


class Upkeep:
    """Does what is due."""

    def __init__(self, database: Database, holder: str, clock: Callable[[], int]) -> None:
        """Work through `database` as `holder` of the lease; `clock` tells microseconds."""
        self._database = database
        self._leases = LeaseTable(database)
        self._holder = holder
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let a run under way come to its end soon."""
        self._stopped.set()

    def run(self, retired_kept_s: float, *, unless_within_s: float = 0.0) -> Upkept | None:
        """Do all that is due; None if another process is at it, or has been so lately."""
        with self._one_at_a_time:
            if not self._leases.acquire([_LEASE], self._holder, _LEASE_S, ""):
                return None
            try:
                if unless_within_s and self._database.snapshot(_done_s) < unless_within_s:
                    return None
                return self._run(retired_kept_s)
            finally:
                self._leases.release([_LEASE], self._holder)

    def _run(self, retired_kept_s: float) -> Upkept:
        ages = rules(self._database)
        forgotten = {kind: self._forget(kind, age_s) for kind, age_s in ages.items()}
        filed = self._file_settled()
        freed = history.sweep(self._database, retired_kept_s)
        self._database.transact(_note)
        return Upkept(forgotten, filed, freed)

    def _forget(self, kind: Kind, age_s: int) -> int:
        before_us = self._clock() - age_s * 1_000_000
        _, kept_from = self._database.transact(lambda c: retain(c, kind, before_us, self._clock()))
        return kept_from

    def _file_settled(self) -> int:
        """Move the rows of months that are over into files; return how many."""
        files, filed = self._database.files, 0
        if files is None:
            return filed
        for kind, table in TABLES.items():
            known = self._database.snapshot(
                lambda c, k=kind: c.execute(_SERIES, (k.value,)).fetchall()
            )
            numbers = {row[0]: to_series(row[1:]) for row in known}
            open_ones = {key: one for key, one in numbers.items() if files.takes(one)}
            while open_ones and not self._stopped.is_set():
                oldest = self._database.snapshot(
                    lambda c, t=table, o=dict(open_ones): _oldest(c, t, o, self._settled_end)
                )
                open_ones = {key: open_ones[key] for key in oldest}
                for key, at in oldest.items():
                    part = partition(open_ones[key], at)
                    self._leases.renew([_LEASE], self._holder, _LEASE_S)
                    count = self._file(open_ones[key], key, Range(at, part.end))
                    filed += count
                    if not count:  # others are at work on it: next time
                        del open_ones[key]
                    if self._stopped.is_set():
                        break
        return filed

    def _settled_end(self, series: Series) -> int:
        """Return when the stretch began that is not over, or only just."""
        return partition(series, self._clock() - _SETTLED_US).start

    def _file(self, series: Series, series_id: int, stretch: Range) -> int:
        """Move rows of a stretch, from its first on, into files; return how many.

        Files are written before anybody is kept waiting: the transaction that lets them count
        looks whether the rows are still those that were read.
        """
        files = self._database.files
        found = self._database.snapshot(lambda c: self._found(c, series, series_id, stretch))
        if files is None or found is None:
            return 0
        made = files.write(series, found.whole)
        if self._database.transact(lambda c: _settle(c, series, series_id, found, made)):
            return found.rows
        for one in made:
            files.storage.remove(one.path)
        return 0

    def _found(
        self, connection: Connection, series: Series, series_id: int, stretch: Range
    ) -> _Found | None:
        """Return rows to be filed, with those of the files they belong into."""
        hot = self._hot(connection, series, series_id, stretch)
        if not hot.num_rows:
            return None
        moments = times(hot)
        hull = Range(int(moments[0]), int(moments[-1]) + 1)
        small = _SMALL_ROWS // weight(series.kind)
        near = history.live(connection, series_id, partition(series, hull.start))
        taken = [one for one in near if one.overlaps(hull) or one.rows < small]
        cold = history.read_all(connection, series.kind, taken, ALWAYS)
        whole = sorted_together(series.kind, [*cold, hot])
        inside = RowIndex.of(whole.drop_columns([KNOWN.name])).measure(*hull)
        known_sum = sum(np.asarray(hot.column(KNOWN.name)).tolist())
        return _Found(hull, hot.num_rows, known_sum, inside, taken, whole)

    def _hot(
        self, connection: Connection, series: Series, series_id: int, stretch: Range
    ) -> pa.Table:
        """Return the rows in the table from the beginning of a stretch, at most a million or so."""
        blocks = block.load(connection, series, series_id, stretch)
        held, end = 0, stretch.end
        for one in blocks:
            if held and held + one.rows > _AT_ONCE // weight(series.kind):
                end = max(one.start_us, stretch.start + 1)
                break
            held += one.rows
        table = TABLES[series.kind]
        ((snapshot,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
        query = (
            f"SELECT {rows.names(table.columns)} FROM {table.name} WHERE series_id = {series_id} "
            f"AND {rows.within(Range(stretch.start, end))} ORDER BY {rows.names(table.keys)}"
        )
        found = self._database.arrow(query, snapshot=snapshot)
        return found.cast(pa.schema([*SCHEMAS[series.kind], KNOWN])).combine_chunks()


def _done_s(connection: Connection) -> float:
    """Return for how long nobody has kept house."""
    row = connection.execute(
        "SELECT us_at(clock_timestamp()) - value::bigint FROM setting WHERE name = %s", (_DONE,)
    ).fetchone()
    return math.inf if row is None else row[0] / 1e6


def _note(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO setting VALUES (%s, us_at(clock_timestamp())::text) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_DONE,),
    )


def rules(database: Database) -> dict[Kind, int]:
    """Return for how many seconds rows are kept, of the kinds that have such a rule."""
    found = database.snapshot(
        lambda c: c.execute(
            "SELECT name, value FROM setting WHERE starts_with(name, %s) ORDER BY name", (RULE,)
        ).fetchall()
    )
    return {Kind(name.removeprefix(RULE)): int(value) for name, value in found}


def set_rule(connection: Connection, kind: Kind, keep_s: int | None) -> None:
    """Keep rows of a kind for so many seconds from now on; None keeps them for ever."""
    name = f"{RULE}{kind.value}"
    connection.execute("DELETE FROM setting WHERE name = %s", (name,))
    if keep_s is not None:
        connection.execute("INSERT INTO setting VALUES (%s, %s)", (name, str(keep_s)))


def _oldest(
    connection: Connection,
    table: Table,
    series: dict[int, Series],
    settled_end: Callable[[Series], int],
) -> dict[int, int]:
    """Return the first row in the table of each series that has one to be filed."""
    pairs = ", ".join(f"({key}, {rows.moment(settled_end(one))})" for key, one in series.items())
    found: list[Any] = connection.execute(
        f"SELECT v.id, us_at(r.at) FROM (VALUES {pairs}) AS v (id, before) CROSS JOIN LATERAL "
        f'(SELECT "timestamp" AS at FROM {table.name} WHERE series_id = v.id '
        'AND "timestamp" < v.before ORDER BY "timestamp" LIMIT 1) r'.encode()
    ).fetchall()
    return dict(found)


def _settle(
    connection: Connection,
    series: Series,
    series_id: int,
    found: _Found,
    made: Sequence[Segment],
) -> bool:
    """Let files take the place of rows, if these are still those that were read."""
    table = TABLES[series.kind]
    connection.execute("SELECT FROM series WHERE id = %s FOR NO KEY UPDATE", (series_id,))
    overlapping = {one.id for one in history.live(connection, series_id, found.hot)}
    standing = {one.id for one in history.live(connection, series_id, ALWAYS)}
    view = Holding(connection, series, series_id, found.hot)
    is_same = view.measure(*found.hot) == found.inside
    if not is_same or not overlapping <= {one.id for one in found.taken} <= standing:
        return False
    ((count, known_sum),) = connection.execute(
        f"WITH gone AS (DELETE FROM {table.name} WHERE series_id = {series_id} "
        f"AND {rows.within(found.hot)} RETURNING known_us) "
        "SELECT count(*), COALESCE(sum(known_us), 0)::numeric FROM gone".encode()
    ).fetchall()
    if (count, int(known_sum)) != (found.rows, found.known_sum):
        raise psycopg.Rollback  # which gives no result
    history.retire(connection, found.taken)
    history.name(connection, series_id, made)
    return True
