"""Native partitions, made before rows come that need them."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from zvt_crypto.core.ranges import Range
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.rows import moment
from zvt_crypto.store.timescale.tables import Table

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Partitions:
    """Remembers which partitions there are; a hypertable makes its chunks itself."""

    def __init__(self, database: Database, *, is_needed: bool) -> None:
        """Make partitions through `database`; nothing if they are not needed."""
        self._database = database
        self._is_needed = is_needed
        self._guard = threading.Lock()
        self._known: set[tuple[str, int]] = set()

    def ensure(self, wanted: Iterable[tuple[Table, Range]]) -> None:
        """Make the partitions that rows in these ranges need.

        In transactions of their own: they stay if the commit fails, which does no harm, and
        writers do not wait for each other longer than it takes to make one.
        """
        if not self._is_needed:
            return
        lacking = {
            (table, opens)
            for table, hull in wanted
            for opens in _opens(table, hull)
            if (table.name, opens) not in self._known
        }
        if not lacking:
            return
        with self._guard:
            for table, opens in sorted(lacking, key=lambda one: (one[0].name, one[1])):
                self._database.transact(lambda c, t=table, o=opens: _make(c, t, o))
                self._known.add((table.name, opens))

    def forget(self) -> None:
        """Look anew: partitions may have been removed."""
        with self._guard:
            self._known.clear()


def _opens(table: Table, hull: Range) -> list[int]:
    first = table.partition.floor(hull.start)
    if table.partition.floor(hull.end - 1) == first:
        return [first]
    return [first, *table.partition.grid(first + 1, hull.end).tolist()]


def _make(connection: Connection, table: Table, opens: int) -> None:
    """Make one partition unless it is there.

    Attached, not created as part of the table: that would lock out all readers for the moment.
    """
    name = f"{table.name}_{(_EPOCH + timedelta(microseconds=opens)):%Y%m%d}"
    if _is_there(connection, name):
        return
    # Others may be making it at this very moment.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"zvtc:{name}",))
    if _is_there(connection, name):
        return
    start, end = moment(opens), moment(table.partition.shift(opens, 1))
    connection.execute(f"CREATE TABLE {name} (LIKE {table.name} INCLUDING ALL)".encode())
    # Bounds of a partition must be constants.
    bounds = connection.execute(f"SELECT ({start})::text, ({end})::text".encode()).fetchone()
    first, last = bounds or ("-infinity", "infinity")
    connection.execute(
        f"ALTER TABLE {table.name} ATTACH PARTITION {name} "
        f"FOR VALUES FROM ('{first}') TO ('{last}')".encode()
    )


def _is_there(connection: Connection, name: str) -> bool:
    """Ask the table of tables: `to_regclass` remembers what it did not find, across a lock."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_class "
        "WHERE relname = %s AND relnamespace = current_schema()::regnamespace)",
        (name,),
    ).fetchone()
    return row is not None and bool(row[0])
