"""Connections to the server, and transactions that outlive its moods.

Rows go in and out of transactions through psycopg; plain reads of many rows come as Arrow through
ADBC, on connections of their own. Both are used from the store's threads, never the event loop.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from queue import Empty, Full, LifoQueue
from typing import Any, Final, TypeVar

import adbc_driver_manager
import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg import IsolationLevel
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg_pool import ConnectionPool, PoolTimeout

from zvt_crypto.core.errors import CryptoError, StoreBusy
from zvt_crypto.store.timescale.files import Files
from zvt_crypto.store.timescale.place import Place
from zvt_crypto.store.timescale.trouble import is_away, is_contention, translated, unkeepable

_T = TypeVar("_T")

_EPOCH_US: Final = 946_684_800_000_000
_CONNECT_S: Final = 5
# A commit that takes longer waits for something that does not come.
_STATEMENT_MS: Final = 120_000
_LOCK_MS: Final = 30_000
# A process that is stopped in the middle of a commit must not hold its series for ever.
_IDLE_MS: Final = 60_000
_CONTENDED_TRIES: Final = 20
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0
# After this long the pool gives up making a connection and tries anew when asked.
_POOL_PATIENCE_S: Final = 2.0
_LIFETIME_S: Final = 3_600.0
_ARROW_IDLE: Final = 8
_NO_SNAPSHOT: Final = "42704"
# Raised before anything was sent: a mistake of this package, no trouble of the server.
_OURS: Final = (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError)


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection to the tables, and the files beside them, if the store has any."""

    files: Files | None = None


class _Microseconds(Loader):
    """A timestamptz as microseconds since 1970: datetimes end at the year 9999, and cost more."""

    format = Format.BINARY

    def load(self, data: Buffer) -> int:
        return int.from_bytes(data, "big", signed=True) + _EPOCH_US


class Database:
    """A pool of connections to one schema."""

    def __init__(self, place: Place, *, connections: int, patience_s: float) -> None:
        """Connect when first asked.

        Args:
            place: which schema of which database.
            connections: so many transactions at once; one that notes in another one what it is
                about to do takes two connections. As many again for Arrow.
            patience_s: for how long a server that went away is waited for.
        """
        self.place = place
        self.files: Files | None = None
        self._patience_s = patience_s
        # Chance only spreads the waits of several processes: nothing depends on it.
        self._random = random.Random()  # noqa: S311
        self._arrow: LifoQueue[Any] = LifoQueue(_ARROW_IDLE)
        self._pool = ConnectionPool(
            place.conninfo,
            connection_class=Connection,
            min_size=0,
            max_size=2 * connections,
            timeout=_POOL_PATIENCE_S,
            reconnect_timeout=_POOL_PATIENCE_S,
            max_lifetime=_LIFETIME_S,
            kwargs={"connect_timeout": _CONNECT_S, "application_name": "zvtc"},
            configure=self._configure,
            check=ConnectionPool.check_connection,
            open=False,
        )

    def open(self) -> None:
        """Connect once, so that what is wrong is told at once.

        Raises:
            BadStore: no such database, or the user may not use it.
            StoreAway: the server does not answer.
        """
        try:
            psycopg.connect(self.place.conninfo, connect_timeout=_CONNECT_S).close()
        except psycopg.Error as e:
            raise translated(self.place, e.sqlstate, str(e)) from e
        self._pool.open()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close(timeout=_POOL_PATIENCE_S)
        with contextlib.suppress(Empty):
            while True:
                _close(self._arrow.get_nowait())

    def transact(self, action: Callable[[Connection], _T]) -> _T:
        """Run `action` in one transaction; what it did is durable when this returns.

        It is run again from the start where another transaction was in the way or the connection
        broke, also if that was while committing: what it does must be safe to repeat.

        Raises:
            StoreBusy: others were in the way too often or too long.
            StoreAway: the server did not answer for `patience_s`.
            StoreFull, BadStore, StoreCorrupt: as the server says.
        """
        return self._retried(lambda: self._once(action, None))

    def snapshot(self, action: Callable[[Connection], _T]) -> _T:
        """Run `action` in a transaction that sees one state throughout, and writes nothing."""
        return self._retried(lambda: self._once(action, IsolationLevel.REPEATABLE_READ))

    def plain(self, action: Callable[[Connection], _T]) -> _T:
        """Run `action`, statement by statement on its own; for what no transaction may do."""

        def once() -> _T:
            with self._pool.connection() as connection:
                connection.rollback()
                connection.autocommit = True
                try:
                    return action(connection)
                finally:
                    if not connection.closed:
                        connection.autocommit = False

        return self._retried(once)

    def arrow(self, query: str, *, snapshot: str | None = None) -> pa.Table:
        """Return what a query gives as an Arrow table.

        `snapshot` is the name of one that a transaction has exported and still holds open. If the
        server goes away it goes, too: then that transaction is begun again, not this query.
        """
        if snapshot is None:
            return self._retried(lambda: self._arrow_once(query, snapshot))
        try:
            return self._arrow_once(query, snapshot)
        except adbc_driver_manager.Error as e:
            if e.sqlstate == _NO_SNAPSHOT:
                raise psycopg.OperationalError("the server was restarted") from e
            raise

    def _once(self, action: Callable[[Connection], _T], isolation: IsolationLevel | None) -> _T:
        with self._pool.connection() as connection:
            connection.files = self.files
            if isolation is not None:
                connection.isolation_level = isolation
                connection.read_only = True
            try:
                with connection.transaction():
                    return action(connection)
            finally:
                if isolation is not None and not connection.closed:
                    connection.isolation_level = None
                    connection.read_only = None

    def _arrow_once(self, query: str, snapshot: str | None) -> pa.Table:
        connection = self._arrow_connection()
        try:
            with connection.cursor() as cursor:
                if snapshot is not None:
                    cursor.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                cursor.execute(query)
                table = cursor.fetch_arrow_table()
                if snapshot is not None:
                    cursor.execute("COMMIT")
        except BaseException:
            _close(connection)
            raise
        try:
            self._arrow.put_nowait(connection)
        except Full:  # one too many is simply closed
            _close(connection)
        return table

    def _arrow_connection(self) -> Any:
        try:
            return self._arrow.get_nowait()
        except Empty:
            pass
        connection = dbapi.connect(self.place.conninfo, autocommit=True)
        with connection.cursor() as cursor:
            for statement in self._session():
                cursor.execute(statement)
        return connection

    def _configure(self, connection: Connection) -> None:
        connection.adapters.register_loader("timestamptz", _Microseconds)
        # Statements name the rows they want in their text: a plan made for others is of no use.
        connection.prepare_threshold = None
        for statement in self._session():
            connection.execute(statement.encode())
        connection.commit()

    def _session(self) -> Iterator[str]:
        yield f"SET search_path = {self.place.schema}, public"
        yield "SET timezone = 'UTC'"
        yield f"SET statement_timeout = {_STATEMENT_MS}"
        yield f"SET lock_timeout = {_LOCK_MS}"
        yield f"SET idle_in_transaction_session_timeout = {_IDLE_MS}"
        # A late repair of months may change more rows of packed chunks than TimescaleDB lets pass
        # unasked. Versions before 2.14 have no such limit, and refuse to hear of it.
        yield (
            "SELECT set_config(name, '0', false) FROM pg_settings "
            "WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'"
        )

    def _retried(self, once: Callable[[], _T]) -> _T:
        began = time.monotonic()
        ceiling, tries = _FIRST_WAIT_S, 0
        while True:
            tries += 1
            try:
                return once()
            except (psycopg.Error, adbc_driver_manager.Error) as e:
                code, detail = e.sqlstate or None, str(e)
                if code is None and isinstance(e, _OURS):
                    if "NUL" in detail:
                        raise unkeepable(detail) from e
                    raise
                waited = time.monotonic() - began
                if is_contention(code):
                    if tries >= _CONTENDED_TRIES:
                        raise StoreBusy(self.place.shown, waited) from e
                elif not is_away(code) or waited >= self._patience_s:
                    raise self._explained(e, code, detail, waited) from e
            except UnicodeEncodeError as e:
                raise unkeepable(str(e)) from e
            time.sleep(self._random.uniform(0, ceiling))
            ceiling = min(2 * ceiling, _LONGEST_WAIT_S)

    def _explained(
        self, error: Exception, code: str | None, detail: str, waited_s: float
    ) -> CryptoError:
        if isinstance(error, PoolTimeout):
            # The pool says only that it has waited; a connection of our own says why.
            try:
                psycopg.connect(self.place.conninfo, connect_timeout=_CONNECT_S).close()
            except psycopg.Error as e:
                return translated(self.place, e.sqlstate, str(e), waited_s)
            return StoreBusy(self.place.shown, waited_s)
        return translated(self.place, code, detail, waited_s)


def _close(connection: Any) -> None:
    # One that is broken may refuse even that.
    with contextlib.suppress(Exception):
        connection.close()
