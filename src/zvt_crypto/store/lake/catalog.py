"""The catalog: one SQLite file that says what the lake holds.

It is the only thing that changes in place. A commit is one SQLite transaction, synced to disk
(`synchronous=FULL`) before it counts; segments are synced before they are named here.
"""

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from zvt_crypto.core.errors import BadStore, StoreBusy, StoreCorrupt, StoreFull
from zvt_crypto.core.schema import LATECOMERS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.store.intake.fields import series_key
from zvt_crypto.store.lake.agreement import AGREEMENT_TABLE
from zvt_crypto.store.lake.arrival import ARRIVAL_TABLE
from zvt_crypto.store.lake.chunk import widened
from zvt_crypto.store.lake.hot import HOT_INDEX, HOT_TABLE

FORMAT: Final = 3
NAME: Final = "catalog.sqlite"

# "ZVTC": tells our file from any other SQLite database.
_APPLICATION_ID: Final = 0x5A565443
# A backstop only: checkpoints are made beside the commits, which would else stall on them.
_AUTOCHECKPOINT_PAGES: Final = 50_000
# 16 MiB. Writing over the log anew is also quicker than making its file longer.
_LONG_LOG_PAGES: Final = 4_096
# Keeps neither readers nor writers of other processes waiting.
_CHECKPOINT: Final = "PRAGMA wal_checkpoint(PASSIVE)"
_READ_BUSY_MS: Final = 30_000
_FIRST_WAIT_S: Final = 0.0005
_LONGEST_WAIT_S: Final = 0.02

_LEASE_TABLE: Final = """CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_us INTEGER NOT NULL,
    note TEXT NOT NULL) WITHOUT ROWID"""

_TABLES: Final = (
    """CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), now_us INTEGER NOT NULL)""",
    """INSERT INTO clock VALUES (1, 0)""",
    """CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        exchange TEXT NOT NULL,
        symbol TEXT NOT NULL,
        kind TEXT NOT NULL,
        interval TEXT NOT NULL,
        rows INTEGER NOT NULL DEFAULT 0,
        hot_rows INTEGER NOT NULL DEFAULT 0,
        first_us INTEGER,
        last_us INTEGER,
        UNIQUE (exchange, symbol, kind, interval))""",
    """CREATE TABLE coverage (
        series_id INTEGER NOT NULL REFERENCES series (id),
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL CHECK ("end" > start),
        verdict TEXT NOT NULL,
        source TEXT NOT NULL,
        rows INTEGER NOT NULL,
        digest TEXT NOT NULL,
        written_us INTEGER NOT NULL,
        PRIMARY KEY (series_id, start)) WITHOUT ROWID""",
    """CREATE TABLE segments (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series (id),
        first_us INTEGER NOT NULL,
        last_us INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        digest TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        path TEXT NOT NULL UNIQUE,
        known_us INTEGER NOT NULL,
        retired_us INTEGER)""",
    """CREATE INDEX segments_live ON segments (series_id, first_us) WHERE retired_us IS NULL""",
    """CREATE INDEX segments_retired ON segments (retired_us) WHERE retired_us IS NOT NULL""",
    """CREATE TABLE instruments (
        exchange TEXT NOT NULL,
        symbol TEXT NOT NULL,
        valid_from INTEGER NOT NULL,
        valid_to INTEGER,
        payload TEXT NOT NULL,
        PRIMARY KEY (exchange, symbol, valid_from)) WITHOUT ROWID""",
    """CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series (id),
        timestamp INTEGER,
        reason TEXT NOT NULL,
        raw TEXT NOT NULL,
        written_us INTEGER NOT NULL,
        mark BLOB NOT NULL UNIQUE)""",
    """CREATE TABLE corrections (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series (id),
        timestamp INTEGER NOT NULL,
        key TEXT,
        old TEXT NOT NULL,
        new TEXT NOT NULL,
        known_us INTEGER NOT NULL,
        corrected_us INTEGER NOT NULL)""",
    """CREATE INDEX corrections_at ON corrections (series_id, timestamp)""",
    HOT_TABLE,
    HOT_INDEX,
    ARRIVAL_TABLE,
    AGREEMENT_TABLE,
    _LEASE_TABLE,
)


class Catalog:
    """Connections to the catalog, one a thread, and its transactions."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int],
        read_only: bool = False,
        busy_s: float = 30.0,
        crash_point: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open the catalog at `path`, made before by `ensure_schema`."""
        self.path = path
        self._clock = clock
        self._read_only = read_only
        self._busy_s = busy_s
        self._crash_point = crash_point
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        # Threads of one process queue here, so that they do not spin against each other.
        self._turn = threading.Lock()
        # Chance only spreads the waits of several processes: nothing depends on it.
        self._random = random.Random()  # noqa: S311

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            with translated(self.path):
                found = _connect(self.path, read_only=self._read_only)
            self._local.connection = found
            with self._guard:
                self._open.append(found)
        return found

    @contextlib.contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """Give a connection on which all reads see one state; never waits for a writer."""
        connection = self.connection()
        with translated(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self) -> Generator["Transaction"]:
        """Give the one writing transaction; it is durable when the block ends without error.

        Raises:
            StoreBusy: other writers held the catalog too long.
            StoreFull: no space; nothing was changed.
        """
        with self._begun() as connection:
            transaction = Transaction(connection, self._clock)
            yield transaction
            if transaction.is_idle:
                return
            self._crash_point("before_catalog_commit")
            transaction.is_sealed = True
            connection.execute("COMMIT")
        self._crash_point("after_catalog_commit")

    @contextlib.contextmanager
    def lend(self) -> Generator[tuple[sqlite3.Connection, int]]:
        """Give a connection and the time for a change of leases, which other processes see at once.

        It is not waited for until it is on the disk: after a loss of power nobody holds a lease.

        Raises:
            StoreBusy: other writers held the catalog too long.
        """
        with self._begun(synchronous="NORMAL") as connection:
            before = connection.total_changes
            yield connection, self._clock()
            if connection.total_changes > before:
                connection.execute("COMMIT")

    def now_us(self) -> int:
        """Return the clock's time."""
        return self._clock()

    @contextlib.contextmanager
    def _begun(self, *, synchronous: str = "FULL") -> Generator[sqlite3.Connection]:
        """Give a connection on which nobody else writes; what is not committed is rolled back."""
        if self._read_only:
            raise BadStore(
                f"the store at {self.path.parent} was opened for reading only",
                remedy="Open it without read_only to write",
            )
        began = time.monotonic()
        if not self._turn.acquire(timeout=self._busy_s):
            raise StoreBusy(str(self.path.parent), self._busy_s)
        try:
            with translated(self.path):
                connection = self.connection()
                if synchronous != "FULL":
                    connection.execute(f"PRAGMA synchronous={synchronous}")
                try:
                    self._begin(connection, began)
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if synchronous != "FULL":
                        connection.execute("PRAGMA synchronous=FULL")
        finally:
            self._turn.release()

    def checkpoint(self) -> None:
        """Move what the log holds into the file, so that the log may start anew.

        It does once nothing is left in it that the file lacks. Commits that never pause always
        leave something, and the log would grow for ever; one that has become long is finished
        while they wait, which takes as long as what they left since.
        """
        connection = self.connection()
        _, pages, _ = connection.execute(_CHECKPOINT).fetchone()
        if pages > _LONG_LOG_PAGES:
            with self._turn:
                connection.execute(_CHECKPOINT).fetchall()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    def _begin(self, connection: sqlite3.Connection, began: float) -> None:
        # SQLite's own waits grow to 100 ms at once; ours are short, and spread by chance.
        connection.execute("PRAGMA busy_timeout=0")
        try:
            self._retry_begin(connection, began)
        finally:
            connection.execute(f"PRAGMA busy_timeout={_READ_BUSY_MS}")

    def _retry_begin(self, connection: sqlite3.Connection, began: float) -> None:
        ceiling = _FIRST_WAIT_S
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as e:
                if not _is_busy(e):
                    raise
                if time.monotonic() - began >= self._busy_s:
                    raise StoreBusy(str(self.path.parent), self._busy_s) from e
                time.sleep(self._random.uniform(0, ceiling))
                ceiling = min(ceiling * 2, _LONGEST_WAIT_S)
            else:
                return


class Transaction:
    """The one writing transaction, with the time it happens at."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], int]) -> None:
        """Begin on `connection`, which is inside `BEGIN IMMEDIATE`."""
        # From here on only SQLite knows whether it happened, also when it reports a failure:
        # files it may name must stay.
        self.is_sealed = False
        self.connection = connection
        self._clock = clock
        self._began_us: int | None = None
        self._now_us: int | None = None
        self._floor_us = 0
        self._changes = connection.total_changes

    @property
    def began_us(self) -> int:
        """Return the time of the last commit before this one, by whichever process."""
        if self._began_us is None:
            (last,) = self.connection.execute("SELECT now_us FROM clock").fetchone()
            self._began_us = int(last)
        return self._began_us

    @property
    def now_us(self) -> int:
        """Return the time of this commit: later than every commit before, whatever the clock."""
        if self._now_us is None:
            self._now_us = max(self._clock(), self.began_us + 1, self._floor_us)
        return self._now_us

    def reach(self, moment: int) -> None:
        """Make this commit no earlier than `moment`; called before its time is asked for."""
        self._floor_us = moment

    @property
    def ended_us(self) -> int:
        """Return the catalog's time once this has ended well: as before if nothing was changed."""
        return self.now_us if self.is_sealed else self.began_us

    @property
    def is_idle(self) -> bool:
        """Return whether nothing was changed; else the commit's time is noted for the next."""
        if self.connection.total_changes == self._changes:
            return True
        self.connection.execute("UPDATE clock SET now_us = ?", (self.now_us,))
        return False


def find_series(connection: sqlite3.Connection, series: Series) -> int | None:
    """Return the catalog's number of a series."""
    row = connection.execute(
        "SELECT id FROM series WHERE exchange = ? AND symbol = ? AND kind = ? AND interval = ?",
        series_key(series),
    ).fetchone()
    return None if row is None else row[0]


@contextlib.contextmanager
def translated(path: Path) -> Generator[None]:
    """Turn SQLite's errors into ours."""
    where = str(path.parent)
    try:
        yield
    except sqlite3.DatabaseError as e:
        code = getattr(e, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StoreFull(where) from e
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(where, 0.0) from e
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreCorrupt(
                f"the catalog of the store at {where} is damaged: {e}",
                remedy="Restore it from a backup, or move the folder away and load again",
            ) from e
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise BadStore(
                f"the store at {where} cannot be written: {e}",
                remedy="Give this user the right to write there, or choose another folder",
            ) from e
        raise


def ensure_schema(path: Path, *, create: bool, read_only: bool) -> None:
    """Check that the catalog is ours and of this version; make it if it is not there.

    Raises:
        BadStore: it is not, or from a newer version, or cannot be written.
    """
    if not path.exists() and (read_only or not create):
        raise BadStore(
            f"there is no store at {path.parent}",
            remedy="Check the path, or load something into it first",
        )
    try:
        with contextlib.closing(_connect(path, read_only=read_only)) as connection:
            application, version = _made(connection, read_only=read_only)
    except sqlite3.DatabaseError as e:
        if getattr(e, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_NOTADB:
            raise BadStore(
                f"{path} is not the catalog of a zvt-crypto store",
                remedy="Choose another folder for the store",
            ) from e
        with translated(path):
            raise
    if application != _APPLICATION_ID:
        raise BadStore(
            f"{path} is not the catalog of a zvt-crypto store",
            remedy="Choose another folder for the store",
        )
    if version < FORMAT:
        raise BadStore(
            f"the store at {path.parent} has format {version}, older than {FORMAT}, "
            "and was opened for reading only",
            remedy="Open it once for writing: that brings it up to date, in a moment",
        )
    if version > FORMAT:
        raise BadStore(
            f"the store at {path.parent} has format {version}, newer than {FORMAT}",
            remedy="Upgrade zvt-crypto: pip install --upgrade zvt-crypto",
        )


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        # Readers wait only where a log is recovered or a last connection closes: rarely.
        timeout=_READ_BUSY_MS / 1_000,
        isolation_level=None,
        # Only `close` touches a connection from another thread, when all threads are done.
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-16000")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint={_AUTOCHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _made(connection: sqlite3.Connection, *, read_only: bool) -> tuple[int, int]:
    """Return whose file it is and of which format; a blank one becomes ours, an old one new."""
    found = _identity(connection)
    if found == (0, 0) and not read_only and _is_blank(connection):
        _create(connection)
        return _identity(connection)
    if found[0] == _APPLICATION_ID and found[1] < FORMAT and not read_only:
        _upgrade(connection)
        return _identity(connection)
    return found


def _is_blank(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    return tables == 0


def _create(connection: sqlite3.Connection) -> None:
    # Two processes may open a new folder at the same moment: the second waits and finds it made.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    if _is_blank(connection):
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("COMMIT")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring a catalog of an earlier format up to date, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    if _identity(connection)[1] == 1:
        connection.execute(AGREEMENT_TABLE)
        for kind in LATECOMERS:
            _widen(connection, kind)
        connection.execute("PRAGMA user_version=2")
    if _identity(connection)[1] == 2:  # noqa: PLR2004 - the format without leases
        connection.execute(_LEASE_TABLE)
        connection.execute("PRAGMA user_version=3")
    connection.execute("COMMIT")


def _widen(connection: sqlite3.Connection, kind: Kind) -> None:
    """Give the hot rows of a kind its latest columns."""
    arrived = connection.execute(
        "SELECT id, fixed FROM arrival WHERE kind = ?", (kind.value,)
    ).fetchall()
    for key, fixed in arrived:
        connection.execute("UPDATE arrival SET fixed = ? WHERE id = ?", (widened(kind, fixed), key))
    chunks = connection.execute(
        "SELECT h.fixed, h.series_id, h.first_us, h.known_us FROM hot h "
        "JOIN series s ON s.id = h.series_id WHERE s.kind = ?",
        (kind.value,),
    ).fetchall()
    for fixed, *key in chunks:
        connection.execute(
            "UPDATE hot SET fixed = ? WHERE series_id = ? AND first_us = ? AND known_us = ?",
            (widened(kind, fixed), *key),
        )


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
