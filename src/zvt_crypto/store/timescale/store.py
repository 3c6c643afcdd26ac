"""The server store. See the package's docstring."""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import msgspec
import pyarrow as pa

from zvt_crypto.core.errors import BadStore, CryptoError, UsageError
from zvt_crypto.core.instrument import Instrument, check_keepable
from zvt_crypto.core.ledger import Coverage, taken_back
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.lease import Lease
from zvt_crypto.ports.store import (
    Batch,
    Committed,
    Fact,
    Published,
    SeriesInfo,
    TableFormat,
    Upkept,
    Verified,
)
from zvt_crypto.ports.transfer import PARCEL_ROWS, Listing, Parcel, Seal, Unpacked
from zvt_crypto.store.segments.publish import publish
from zvt_crypto.store.segments.retry import retried
from zvt_crypto.store.timescale import block, coverage, history, level, rows, schema
from zvt_crypto.store.timescale.block import Holding
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.files import FILED_ROWS, Files
from zvt_crypto.store.timescale.lease import LeaseTable
from zvt_crypto.store.timescale.level import Level
from zvt_crypto.store.timescale.partition import Partitions
from zvt_crypto.store.timescale.place import Place, parse_place
from zvt_crypto.store.timescale.reader import Reader
from zvt_crypto.store.timescale.retain import retain
from zvt_crypto.store.timescale.tables import TABLES, block_us
from zvt_crypto.store.timescale.transfer import Mover
from zvt_crypto.store.timescale.upkeep import RULE, Upkeep, rules, set_rule
from zvt_crypto.store.timescale.verify import verify
from zvt_crypto.store.timescale.writer import Numbers, Writer

_log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS: Final = 8
_PATIENCE_S: Final = 30.0
_UPKEEP_EVERY_S: Final = 600.0
_RETIRED_KEPT_S: Final = 86_400.0
_IN_TABLES: Final = ""


def _now_us() -> int:
    return time.time_ns() // 1_000


class TimescaleStore:
    """A `Store` in a schema of a PostgreSQL database; open it with `open`."""

    def __init__(self, place: Place, clock: Callable[[], int], patience_s: float) -> None:
        """Use `open` instead: it checks the schema and does not block the event loop."""
        self._place = place
        self._clock = clock
        self._database = Database(place, connections=_THREADS, patience_s=patience_s)
        self._numbers = Numbers(self._database)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="timescale")
        self._reader = Reader(self._database, self._numbers)
        self._leases = LeaseTable(self._database)
        self._upkeep = Upkeep(self._database, f"upkeep-{secrets.token_hex(6)}", clock)
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="timescale-upkeep")
        self._kept_s = time.monotonic()
        self._is_closed = False
        self._writer: Writer
        self._mover: Mover
        self._partitions: Partitions

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        create: bool = True,
        clock: Callable[[], int] = _now_us,
        patience_s: float = _PATIENCE_S,
        filed_rows: int = FILED_ROWS,
    ) -> "TimescaleStore":
        """Open the store at `url`; see `place.parse_place` for what it may say.

        Args:
            url: of the database.
            create: make the schema if it is not there.
            clock: UTC in microseconds; commits to a series are strictly later than those before.
            patience_s: how long a server that went away is waited for.
            filed_rows: so many rows of one series go into files at once, where there are any.

        Raises:
            BadStore: no such database, no rights, or a schema of another version.
            StoreAway: the server does not answer.
        """
        store = cls(parse_place(url), clock, patience_s)
        await asyncio.to_thread(store._start, create, filed_rows)
        return store

    def _start(self, create: bool, filed_rows: int) -> None:  # noqa: FBT001 - `open` alone calls
        try:
            schema.ensure(self._place, create=create)
            self._database.open()
            settings = self._database.snapshot(_settings)
            url = self._settle_segments(settings.get("segments_url"), create=create)
        except BaseException:
            self._shut()
            raise
        if url is not None:
            self._database.files = Files(
                url,
                partial(history.announce, self._database),
                filed_rows=filed_rows,
                keeps_minutes="features" in settings,
            )
        # One that runs for minutes only, again and again, does its share with its first commit.
        if url is not None or any(name.startswith(RULE) for name in settings):
            self._kept_s = -math.inf
        is_partitioned = settings.get("layout") == "partition"
        self._partitions = Partitions(self._database, is_needed=is_partitioned)
        tools = (self._database, self._numbers, self._partitions, self._clock)
        self._writer, self._mover = Writer(*tools), Mover(*tools)

    def _settle_segments(self, known: str | None, *, create: bool) -> str | None:
        """Return where the history in files is, None if all of it is in tables.

        Chosen once, by the first that opens the store for writing: another process that knows
        nothing of files would neither see the rows in them nor keep from writing them again.
        """
        asked = self._place.segments
        if known is None and create:
            known = self._database.transact(lambda c: _remember(c, asked or _IN_TABLES))
        if known is not None and asked not in (None, known):
            where = "in its tables" if known == _IN_TABLES else f"at {known}"
            raise BadStore(
                f"the store at {self._place.shown} has its history {where}, not at {asked}",
                remedy="Leave segments= out, or `zvtc copy` it into another schema",
            )
        return known or None

    @property
    def url(self) -> str:
        """Return the URL without secrets."""
        return self._place.shown

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Make all batches durable in one transaction; see `Store.commit`."""
        done = await self._run(self._writer.commit, batches)
        self._after_commit()
        return done

    async def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        """Return rows; see `Store.read`."""
        return await self._run(self._reader.read, series, asked, as_of=as_of, last=last)

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return the newest row of each series; see `Store.latest`."""
        return await self._run(self._reader.latest, series)

    async def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return the ledger, ascending, cut to `asked`."""
        return await self._run(self._reader.coverage, series, asked)

    async def series(self) -> list[SeriesInfo]:
        """Return every series that has rows or ledger entries."""
        return await self._run(self._reader.series)

    async def write_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> int:
        """Record the exchange's instruments as known from now; return how many changed."""
        check_keepable(instruments)
        return await self._run(
            self._database.transact,
            lambda c: _write_instruments(c, exchange, instruments, self._clock()),
        )

    async def instruments(
        self, exchange: str | None = None, *, as_of: int | None = None
    ) -> list[Instrument]:
        """Return the instruments valid at `as_of` (default: now)."""
        return await self._run(self._reader.instruments, exchange, as_of)

    async def quarantine(self, series: Series | None = None) -> pa.Table:
        """Return quarantined rows in the order they came."""
        return await self._run(self._reader.quarantine, series)

    async def corrections(self, series: Series | None = None) -> pa.Table:
        """Return replaced rows in the order they were replaced."""
        return await self._run(self._reader.corrections, series)

    async def reconciliations(
        self, series: Series | None = None, asked: Range | None = None
    ) -> pa.Table:
        """Return the latest verdict on each bar; see `Store.reconciliations`."""
        return await self._run(self._reader.reconciliations, series, asked)

    async def verify(self, series: Sequence[Series] | None = None) -> Verified:
        """Recompute rows and digests from the tables and compare with blocks and ledger."""
        return await self._run(verify, self._database, self._numbers, series)

    async def discard(self, series: Series, asked: Range) -> Range:
        """Take back what is held in `asked`; see `Store.discard`."""
        number = (await self._run(self._numbers.of, [series])).get(series)
        if number is None or asked.is_empty:
            return asked
        return await self._run(
            self._database.transact,
            lambda c: _discard(c, series, number, asked, self._clock()),
        )

    async def describe(self) -> list[Fact]:
        """Return what server and schema are, what they can do, and what is missing."""

        def facts(connection: Connection) -> list[Fact]:
            return [*level.describe(connection), *_kept(connection, rules(self._database))]

        return await self._run(self._database.snapshot, facts)

    async def refresh(self) -> list[str]:
        """Bring the views of coarser candles up to date now; return their names.

        The server does so by itself every ten minutes. None on levels that have no such views.
        """

        def renew(connection: Connection) -> list[str]:
            if level.detect(connection) is not Level.COMMUNITY:
                return []
            for name in level.COARSER:
                level.refresh(connection, name)
            return list(level.COARSER)

        return await self._run(self._database.plain, renew)

    async def retain(self, kind: Kind, before_us: int) -> int:
        """Remove old rows of a kind; see `Retainer.retain`."""
        if kind not in TABLES:
            raise UsageError(f"{kind} is not a kind that is stored")
        _, kept_from = await self._run(
            self._database.transact, lambda c: retain(c, kind, before_us, self._clock())
        )
        self._partitions.forget()
        return kept_from

    async def retention(self) -> dict[Kind, int]:
        """Return for how many seconds rows are kept, of the kinds that have a rule."""
        return await self._run(rules, self._database)

    async def set_retention(self, kind: Kind, keep_s: int | None) -> None:
        """Make or lift the rule of a kind; see `Retainer.set_retention`."""
        if kind not in TABLES:
            raise UsageError(f"{kind} is not a kind that is stored")
        await self._run(self._database.transact, lambda c: set_rule(c, kind, keep_s))

    async def upkeep(self) -> Upkept | None:
        """Apply rules of retention, move settled months into files, remove what is not needed."""
        return await self._run(self._upkeep.run, _RETIRED_KEPT_S)

    async def publish(self, form: TableFormat, target: str | Path | None = None) -> list[Published]:
        """Show the history in files to other engines; see `Publisher.publish`.

        What lies in tables is not shown: it is for SQL to read.
        """
        files = self._database.files
        if files is None:
            raise UsageError(
                f"the store {self.url} keeps its history in tables, which cannot be published",
                remedy="Give its URL ?segments=s3://bucket/prefix or a folder",
            )
        members = await self._run(self._database.snapshot, history.members)
        return await self._run(publish, members, files.storage, form, target)

    async def vacuum(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove files replaced so long ago; of tables the server itself takes care."""
        return await self._run(history.sweep, self._database, older_than_s)

    async def acquire(
        self, names: Sequence[str], holder: str, for_s: float, note: str = ""
    ) -> set[str]:
        """Take the names that are free; see `Leases.acquire`."""
        return await self._run(self._leases.acquire, names, holder, for_s, note)

    async def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        """Let names that are `holder`'s still hold on; see `Leases.renew`."""
        return await self._run(self._leases.renew, names, holder, for_s)

    async def release(self, names: Sequence[str], holder: str) -> None:
        """Give names up; see `Leases.release`."""
        await self._run(self._leases.release, names, holder)

    async def held(self, prefix: str = "") -> list[Lease]:
        """Return the leases that have not expired; see `Leases.held`."""
        return await self._run(self._leases.held, prefix)

    async def keeping(self) -> list[Series]:
        """Return every series anything is kept of, in order."""
        return await self._run(self._mover.keeping)

    async def seal(self, series: Series, asked: Range) -> Seal:
        """Return in short what is held of a stretch."""
        return await self._run(self._mover.seal, series, asked)

    async def pack(self, series: Series, asked: Range, *, limit_rows: int = PARCEL_ROWS) -> Parcel:
        """Return all that is held of a stretch; see `Transferable.pack`."""
        return await self._run(self._mover.pack, series, asked, limit_rows=limit_rows)

    async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
        """Enter a parcel in one transaction; see `Transferable.unpack`."""
        return await self._run(self._mover.unpack, parcel, replace=replace)

    async def restate(self, series: Series, asked: Range, ledger: Sequence[Coverage]) -> bool:
        """Take over when the ledger of a stretch was written; see `Transferable.restate`."""
        return await self._run(self._mover.restate, series, asked, ledger)

    async def pack_instruments(self, exchanges: Sequence[str] | None = None) -> list[Listing]:
        """Return all versions of the instruments of these exchanges, or of all."""
        return await self._run(self._mover.listings, exchanges)

    async def unpack_instruments(self, listings: Sequence[Listing]) -> int:
        """Enter versions of instruments; return of how many instruments."""
        return await self._run(self._mover.enter_listings, listings)

    async def close(self) -> None:
        """Finish what is under way and close all connections."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.to_thread(self._shut)

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        work = partial(function, *args, **kwargs)
        if self._database.files is not None:
            # All of it may be repeated: it happens in a transaction, or changes nothing.
            work = partial(retried, self._place.shown, work)
        return await loop.run_in_executor(self._pool, work)

    def _after_commit(self) -> None:
        if time.monotonic() - self._kept_s > _UPKEEP_EVERY_S:
            self._kept_s = time.monotonic()
            self._behind.submit(self._keep_house_quietly)

    def _keep_house_quietly(self) -> None:
        try:
            self._upkeep.run(_RETIRED_KEPT_S, unless_within_s=_UPKEEP_EVERY_S)
        except (CryptoError, OSError) as e:  # it is done again next time
            _log.warning("store_upkeep_failed", extra={"detail": str(e)})

    def _shut(self) -> None:
        self._upkeep.stop()
        self._behind.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True)
        self._database.close()


def _settings(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM setting").fetchall())


def _remember(connection: Connection, url: str) -> str:
    """Note where segments go, unless another process has just done so; return what holds."""
    connection.execute(
        "INSERT INTO setting VALUES ('segments_url', %s) ON CONFLICT DO NOTHING", (url,)
    )
    return _settings(connection)["segments_url"]


def _kept(connection: Connection, ages: dict[Kind, int]) -> Iterator[Fact]:
    """Tell what is kept where, and for how long."""
    if connection.files is not None:
        ((count, held, size),) = connection.execute(
            "SELECT count(*), COALESCE(sum(rows), 0), COALESCE(sum(bytes), 0) FROM segments "
            "WHERE retired_us IS NULL"
        ).fetchall()
        where = connection.files.storage.url
        yield Fact("segments", f"{where}: {count:,} files, {held:,} rows, {size:,} bytes")
    for kind, seconds in ages.items():
        yield Fact("retention", f"{kind} are kept for {seconds / 86_400:g} days")


def _discard(
    connection: Connection, series: Series, series_id: int, asked: Range, clock_us: int
) -> Range:
    row = connection.execute(
        "SELECT known_us FROM series WHERE id = %s FOR NO KEY UPDATE", (series_id,)
    ).fetchone()
    now_us = max(clock_us, (row[0] if row else 0) + 1)
    asked = history.drop_unreadable(connection, series, series_id, asked, block_us(series))
    rows.remove_range(connection, TABLES[series.kind], series_id, asked)
    # Rows that `verify` refuted may lie in no block, or not in the one that counts them.
    for one in block.load(connection, series, series_id, asked):
        block.recount(connection, series, series_id, Range(one.first_us, one.last_us + 1))
    connection.execute(block.RECOUNT, {"id": series_id, "now": now_us})

    def without(existing: Sequence[Coverage], hull: Range) -> list[Coverage]:
        view = Holding(connection, series, series_id, hull)
        return taken_back(existing, asked, view.measure, now_us)

    coverage.revised(connection, series_id, asked, without)
    return asked


def _write_instruments(
    connection: Connection, exchange: str, instruments: Sequence[Instrument], clock_us: int
) -> int:
    # One writer an exchange: two that list it at the same moment must not both close a version.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"instruments:{exchange}",))
    wanted = {
        one.symbol: msgspec.json.encode(one).decode()
        for one in instruments
        if one.exchange == exchange
    }
    current = dict(
        connection.execute(
            "SELECT symbol, payload::text FROM instruments "
            "WHERE exchange = %s AND valid_to IS NULL",
            (exchange,),
        ).fetchall()
    )
    gone = [symbol for symbol, payload in current.items() if wanted.get(symbol) != payload]
    come = [symbol for symbol, payload in wanted.items() if current.get(symbol) != payload]
    if not gone and not come:
        return 0
    row = connection.execute(
        "SELECT max(GREATEST(valid_from, valid_to)) FROM instruments WHERE exchange = %s",
        (exchange,),
    ).fetchone()
    now_us = max(clock_us, ((row[0] if row else None) or 0) + 1)
    connection.execute(
        "UPDATE instruments SET valid_to = %s "
        "WHERE exchange = %s AND valid_to IS NULL AND symbol = ANY(%s)",
        (now_us, exchange, gone),
    )
    connection.execute(
        "INSERT INTO instruments (exchange, symbol, valid_from, payload) "
        "SELECT %s, s, %s, p::json FROM unnest(%s::text[], %s::text[]) AS w (s, p)",
        (exchange, now_us, come, [wanted[symbol] for symbol in come]),
    )
    return len(set(gone) | set(come))
