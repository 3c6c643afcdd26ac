"""The lake: a store in a folder, without a server. See the package's docstring."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import msgspec
import pyarrow as pa

from zvt_crypto.core.errors import BadStore
from zvt_crypto.core.instrument import Instrument, check_keepable
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.parcel import Listing, Parcel, Seal, Unpacked
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.ports.lease import Lease
from zvt_crypto.ports.store import (
    Batch,
    Committed,
    Published,
    SeriesInfo,
    TableFormat,
    Upkept,
    Verified,
)
from zvt_crypto.ports.transfer import PARCEL_ROWS
from zvt_crypto.store.lake import catalog as catalogs
from zvt_crypto.store.lake.catalog import Catalog, Transaction
from zvt_crypto.store.lake.discard import discard
from zvt_crypto.store.lake.lease import LeaseTable
from zvt_crypto.store.lake.merge import Merger
from zvt_crypto.store.lake.reader import Reader
from zvt_crypto.store.lake.transfer import Mover
from zvt_crypto.store.lake.upkeep import WriterMark, in_background, tidy, vacuum
from zvt_crypto.store.lake.verify import verify
from zvt_crypto.store.lake.writer import Writer
from zvt_crypto.store.segments.publish import publish
from zvt_crypto.store.segments.segment import SegmentFiles
from zvt_crypto.store.segments.storage import open_storage

_P = ParamSpec("_P")
_T = TypeVar("_T")


_THREADS: Final = 8
_RETIRED_KEPT_US: Final = 86_400 * 1_000_000
_UPKEEP_EVERY_S: Final = 600.0
# Small portions: a commit that has to wait for one waits for a few milliseconds.
_SETTLE_EVERY: Final = 32
_CHECKPOINT_EVERY: Final = 64
# What a fresh volume may hold before we come.
_IGNORED: Final = frozenset({"lost+found"})


def _now_us() -> int:
    return time.time_ns() // 1_000


def _no_crash(_point: str) -> None:
    pass


class LakeStore:
    """A `Store` of one SQLite catalog and many Parquet segments; open it with `open`."""

    def __init__(
        self,
        root: Path,
        *,
        segments_url: str | None,
        read_only: bool,
        clock: Callable[[], int],
        busy_s: float,
        crash_points: Callable[[str], None],
    ) -> None:
        """Use `open` instead: it checks the folder and does not block the event loop."""
        self.root = root
        self._clock = clock
        self._read_only = read_only
        self._storage = open_storage(root, segments_url, crash_points)
        self._catalog = Catalog(
            root / catalogs.NAME,
            clock=clock,
            read_only=read_only,
            busy_s=busy_s,
            crash_point=crash_points,
        )
        self._files = SegmentFiles(self._storage)
        self._writers = WriterMark(root / "writers")
        self._merger = Merger(self._files, self._writers.unique)
        self._writer = Writer(self._catalog, self._files, self._merger)
        self._reader = Reader(self._catalog, self._files)
        self._mover = Mover(self._catalog, self._files, self._merger)
        self._leases = LeaseTable(self._catalog)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="lake")
        # One thread: upkeep takes no more than a share of the machine, and never doubles up.
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix="lake-upkeep")
        self._guard = threading.Lock()
        self._compacting: set[Series] = set()
        self._commits = 0
        self._tidied_s = time.monotonic()
        self._is_closed = False
        if not read_only:
            self._behind("tidy", self._tidy)

    @classmethod
    async def open(
        cls,
        root: Path | str,
        *,
        segments_url: str | None = None,
        create: bool = True,
        read_only: bool = False,
        clock: Callable[[], int] = _now_us,
        busy_s: float = 30.0,
        crash_points: Callable[[str], None] = _no_crash,
    ) -> "LakeStore":
        """Open the store in folder `root`.

        Args:
            root: folder of the catalog, and of the segments unless `segments_url` is given.
            segments_url: a folder or `s3://bucket/prefix`; remembered by the store, so that it
                may be left out when it is opened again.
            create: make the folder and the catalog if they are not there.
            read_only: never write, not even upkeep.
            clock: UTC in microseconds; commits are strictly later than those before all the same.
            busy_s: how long to wait for other writers.
            crash_points: called at each step of a commit; tests kill the process there.

        Raises:
            BadStore: not a store, unwritable, from a newer version, or not there.
        """
        folder = Path(root)

        def prepared() -> LakeStore:
            _prepare(folder, create=create, read_only=read_only)
            url = _settle_url(folder, segments_url, clock=clock, read_only=read_only)
            return cls(
                folder,
                segments_url=url,
                read_only=read_only,
                clock=clock,
                busy_s=busy_s,
                crash_points=crash_points,
            )

        return await asyncio.to_thread(prepared)

    @property
    def url(self) -> str:
        """Return the folder, and where the segments are if that is elsewhere."""
        if self._storage.url == str(self.root):
            return str(self.root)
        return f"{self.root}?segments={self._storage.url}"

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Make all batches durable in one transaction; see `Store.commit`."""
        done, crowded = await self._run(self._writer.commit, batches)
        self._after_commit(crowded)
        return done

    async def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        """Return rows; see `Store.read`."""
        return await self._run(self._reader.read, series, asked, as_of=as_of, last=last)

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return the newest row of each series; see `Store.latest`."""
        return await self._run(self._reader.latest, series)

    def read_batches(self, series: Series, asked: Range) -> Iterator[pa.RecordBatch]:
        """Yield the rows in `asked` piece by piece, for ranges too long to hold; blocking."""
        return self._reader.batches(series, asked)

    async def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return the ledger, ascending, cut to `asked`."""
        return await self._run(self._reader.coverage, series, asked)

    async def series(self) -> list[SeriesInfo]:
        """Return every series that has rows or ledger entries."""
        return await self._run(self._reader.series)

    async def write_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> int:
        """Record the exchange's instruments as known from now; return how many changed."""
        check_keepable(instruments)

        def write() -> int:
            with self._catalog.write() as transaction:
                return _write_instruments(transaction, exchange, instruments)

        return await self._run(write)

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
        """Recompute rows and digests from the files and compare with the ledger."""
        return await self._run(verify, self._catalog, self._files, series)

    async def discard(self, series: Series, asked: Range) -> Range:
        """Take back what is held in `asked`, and damaged segments whole; see `Store.discard`."""
        return await self._run(discard, self._catalog, self._files, self._merger, series, asked)

    async def vacuum(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove replaced segments and orphans; return bytes freed."""
        before = self._clock() - int(older_than_s * 1_000_000) + 1
        return await self._run(vacuum, self._catalog, self._storage, self._writers, before)

    async def keeping(self) -> list[Series]:
        """Return every series anything is kept of."""
        return await self._run(self._mover.keeping)

    async def seal(self, series: Series, asked: Range) -> Seal:
        """Return in short what is held of a stretch; see `Transferable.seal`."""
        return await self._run(self._mover.seal, series, asked)

    async def pack(self, series: Series, asked: Range, *, limit_rows: int = PARCEL_ROWS) -> Parcel:
        """Return all that is held of a stretch; see `Transferable.pack`."""
        return await self._run(self._mover.pack, series, asked, limit_rows=limit_rows)

    async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
        """Enter a parcel in one transaction; see `Transferable.unpack`."""
        done = await self._run(self._mover.unpack, parcel, replace=replace)
        self._after_commit([])
        return done

    async def restate(self, series: Series, asked: Range, ledger: Sequence[Coverage]) -> bool:
        """Take over when the ledger was written; see `Transferable.restate`."""
        return await self._run(self._mover.restate, series, asked, ledger)

    async def pack_instruments(self, exchanges: Sequence[str] | None = None) -> list[Listing]:
        """Return all versions of the instruments of these exchanges, or of all."""
        return await self._run(self._mover.listings, exchanges)

    async def unpack_instruments(self, listings: Sequence[Listing]) -> int:
        """Enter versions of instruments; see `Transferable.unpack_instruments`."""
        return await self._run(self._mover.enter_listings, listings)

    async def compact(self, series: Sequence[Series] | None = None) -> None:
        """Move hot rows into segments; done by itself too, where they become many."""
        if series is None:
            series = [info.series for info in await self.series()]
        await self._run(self._writer.settle)
        for one in series:
            while not await self._run(self._writer.compact, one):
                pass

    async def upkeep(self) -> Upkept | None:
        """Move hot rows into segments and remove what is not needed; see `Housekeeper.upkeep`."""
        hot = await self._run(self._reader.hot_rows)
        await self.compact()
        moved = hot - await self._run(self._reader.hot_rows)
        return Upkept({}, max(moved, 0), await self.vacuum())

    async def publish(self, form: TableFormat, target: str | Path | None = None) -> list[Published]:
        """Show all rows to other engines as Delta or Iceberg tables, without copying them.

        Hot rows are compacted first. A Delta table lies beside its files; an Iceberg catalog is
        made in the folder `target`. Publish again to bring the tables up to date.

        Raises:
            MissingExtra: the format's library is not installed.
            UsageError: a target was given for Delta, or none for Iceberg.
        """
        await self.compact()
        members = await self._run(self._reader.members)
        return await self._run(publish, members, self._storage, form, target)

    async def acquire(
        self, names: Sequence[str], holder: str, for_s: float, note: str = ""
    ) -> set[str]:
        """Take leases; see `Leases.acquire`."""
        return await self._run(self._leases.acquire, names, holder, for_s, note)

    async def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        """Prolong leases; see `Leases.renew`."""
        return await self._run(self._leases.renew, names, holder, for_s)

    async def release(self, names: Sequence[str], holder: str) -> None:
        """Give leases up; see `Leases.release`."""
        await self._run(self._leases.release, names, holder)

    async def held(self, prefix: str = "") -> list[Lease]:
        """Return leases; see `Leases.held`."""
        return await self._run(self._leases.held, prefix)

    async def close(self) -> None:
        """Finish what is under way and release files and locks."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.to_thread(self._shut)

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(function, *args, **kwargs))

    def _shut(self) -> None:
        self._pool.shutdown(wait=True)
        self._upkeep.shutdown(wait=True, cancel_futures=True)
        self._merger.close()
        self._writers.close()
        self._catalog.close()

    def _after_commit(self, crowded: Sequence[Series]) -> None:
        self._commits += 1
        for series in crowded:
            with self._guard:
                if series in self._compacting:
                    continue
                self._compacting.add(series)
            self._behind("compact", partial(self._compact_one, series))
        if self._commits % _SETTLE_EVERY == 0:
            self._behind("settle", self._writer.settle_if_many)
        if self._commits % _CHECKPOINT_EVERY == 0:
            self._behind("checkpoint", self._catalog.checkpoint)
        if time.monotonic() - self._tidied_s > _UPKEEP_EVERY_S:
            self._tidied_s = time.monotonic()
            self._behind("tidy", self._tidy)

    def _compact_one(self, series: Series) -> None:
        try:
            self._writer.compact_if_due(series)
        finally:
            # Only now: a series under way still looks crowded to the commits that go on.
            with self._guard:
                self._compacting.discard(series)

    def _tidy(self) -> None:
        tidy(self._catalog, self._storage, self._writers, self._clock() - _RETIRED_KEPT_US)

    def _behind(self, what: str, action: Callable[[], object]) -> None:
        def guarded() -> None:
            with in_background(what):
                action()

        if not self._is_closed:
            self._upkeep.submit(guarded)


def _prepare(root: Path, *, create: bool, read_only: bool) -> None:
    """Check the folder and the catalog in it; make them if asked to."""
    try:
        if root.exists() and not root.is_dir():
            raise BadStore(f"{root} is a file", remedy="Choose a folder for the store")
        if not root.exists() and create and not read_only:
            root.mkdir(parents=True)
        path = root / catalogs.NAME
        if root.exists() and not path.exists():
            strangers = sorted(p.name for p in root.iterdir() if not _is_ours_or_hidden(p.name))
            if strangers:
                raise BadStore(
                    f"{root} is not a store and not empty: it holds {strangers[0]!r}",
                    remedy="Choose an empty or new folder for the store",
                )
        catalogs.ensure_schema(path, create=create, read_only=read_only)
    except OSError as e:
        raise BadStore(
            f"{root} cannot be used as a store: {e.strerror or e}",
            remedy="Choose a folder this user may write to",
        ) from e


def _is_ours_or_hidden(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _settle_url(
    root: Path, url: str | None, *, clock: Callable[[], int], read_only: bool
) -> str | None:
    """Return where the segments are: as the catalog remembers it, or as asked the first time."""
    catalog = Catalog(root / catalogs.NAME, clock=clock, read_only=read_only)
    try:
        with catalog.snapshot() as connection:
            row = connection.execute(
                "SELECT value FROM setting WHERE name = 'segments_url'"
            ).fetchone()
            (segments,) = connection.execute("SELECT COUNT(*) FROM segments").fetchone()
        if row is not None and url is not None and row[0] != url:
            raise BadStore(
                f"the segments of the store at {root} are at {row[0]}, not at {url}",
                remedy="Leave the place of the segments out, or choose another folder",
            )
        if row is None and url is not None:
            if segments:
                raise BadStore(
                    f"the segments of the store at {root} are in that folder, not at {url}",
                    remedy="Leave the place of the segments out, or choose another folder",
                )
            if not read_only:
                with catalog.write() as transaction:
                    transaction.connection.execute(
                        "INSERT OR REPLACE INTO setting VALUES ('segments_url', ?)", (url,)
                    )
        return url if row is None else row[0]
    finally:
        catalog.close()


def _write_instruments(
    transaction: Transaction, exchange: str, instruments: Sequence[Instrument]
) -> int:
    connection = transaction.connection
    wanted = {
        one.symbol: msgspec.json.encode(one).decode()
        for one in instruments
        if one.exchange == exchange
    }
    current = dict(
        connection.execute(
            "SELECT symbol, payload FROM instruments WHERE exchange = ? AND valid_to IS NULL",
            (exchange,),
        ).fetchall()
    )
    gone = [symbol for symbol, payload in current.items() if wanted.get(symbol) != payload]
    news = [(symbol, text) for symbol, text in wanted.items() if current.get(symbol) != text]
    if not gone and not news:
        return 0
    now = transaction.now_us
    connection.executemany(
        "UPDATE instruments SET valid_to = ? WHERE exchange = ? AND symbol = ? "
        "AND valid_to IS NULL",
        [(now, exchange, symbol) for symbol in gone],
    )
    connection.executemany(
        "INSERT INTO instruments VALUES (?, ?, ?, NULL, ?)",
        [(exchange, symbol, now, text) for symbol, text in news],
    )
    return len({*gone, *(symbol for symbol, _ in news)})
