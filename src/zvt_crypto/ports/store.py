"""What the services need of a store. Every engine passes `tests/contract/test_store.py`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage, Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Reconciled
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.connector import Rejected


class Finding(msgspec.Struct, frozen=True):
    """One verdict on one range, to be entered in the ledger with the data it speaks of."""

    start: int
    end: int
    verdict: Verdict


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one commit changes, for one series.

    `table` has the schema of the kind, in any order, repeats allowed (the last wins). Rows need
    not lie inside an observed finding (a late live row), and findings need no rows. The store
    computes rows and digest of every observed range itself, from what it then holds. Findings
    yield to stronger knowledge as `core.ledger.yielding` says: two writers never undo each other.
    `reconciled` are verdicts on bars of the series, with or without rows.
    """

    series: Series
    table: pa.Table
    findings: Sequence[Finding] = ()
    source: Source
    rejected: Sequence[Rejected] = ()
    reconciled: Sequence[Reconciled] = ()


class Committed(msgspec.Struct, frozen=True):
    """What a commit did: rows that were new, changed (old value kept) and already there."""

    inserted: int
    corrected: int
    unchanged: int


class SeriesInfo(msgspec.Struct, frozen=True):
    """What the store holds of a series; bounds are of the stored rows, None without rows."""

    series: Series
    rows: int
    first_us: int | None
    last_us: int | None
    stored_bytes: int


class Fault(msgspec.Struct, frozen=True):
    """One disagreement found by `verify`."""

    series: Series
    start: int
    end: int
    detail: str


class Published(msgspec.Struct, frozen=True):
    """One table that other engines may read now."""

    kind: Kind
    url: str
    files: int
    rows: int


class Fact(msgspec.Struct, frozen=True):
    """One thing an operator should know of a store; with a remedy it is something to mend."""

    name: str
    value: str
    remedy: str = ""


class Verified(msgspec.Struct, frozen=True):
    """What `verify` recomputed and found."""

    ranges: int
    rows: int
    faults: Sequence[Fault]


class Store(Protocol):
    """Data and ledger of many series, changed together or not at all.

    Rows are unique by the key of their kind; writing a row again changes nothing, a row with
    the same key and other values replaces the old one, which stays readable through `as_of`.
    All times are UTC microseconds; ranges are half-open.
    """

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        ...

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Make data, ledger and quarantine of all batches durable, in one transaction.

        Returns what each batch did. Batches of one series are taken as one, the later winning,
        and counted at the last of them. A row inside a range called empty or an outage refutes
        it: its stretch of time (the candle's, or the moment) becomes observed.

        Raises:
            DataError: a table is not of its kind's schema, or a verdict on no bar of its series;
                nothing was changed.
            StoreBusy: another writer held the store too long; nothing was changed.
            StoreFull: no space; nothing was changed.
        """
        ...

    async def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        """Return the rows in `asked` in the kind's schema and key order.

        `last` keeps only that many newest rows. `as_of` gives the values known at that moment.
        """
        ...

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return the newest row of each series, in the order they are named.

        Each is what `read` gives of all time with `last=1`: of rows of one moment the one whose key
        comes last, and an empty table where there is no row. One question for hundreds of series
        that are being written costs little more than one for one.
        """
        ...

    async def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return the ledger, ascending, cut to `asked`."""
        ...

    async def series(self) -> list[SeriesInfo]:
        """Return every series that has rows or ledger entries."""
        ...

    async def write_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> int:
        """Record the exchange's instruments as known from now; return how many changed.

        Ones not named any more are kept and closed with a `valid_to`.

        Raises:
            DataError: one holds a text that not every store can keep; nothing was changed.
        """
        ...

    async def instruments(
        self, exchange: str | None = None, *, as_of: int | None = None
    ) -> list[Instrument]:
        """Return the instruments valid at `as_of` (default: now)."""
        ...

    async def quarantine(self, series: Series | None = None) -> pa.Table:
        """Return quarantined rows: exchange symbol kind interval timestamp reason raw written."""
        ...

    async def corrections(self, series: Series | None = None) -> pa.Table:
        """Return replaced rows: exchange symbol kind interval timestamp key old new corrected."""
        ...

    async def reconciliations(
        self, series: Series | None = None, asked: Range | None = None
    ) -> pa.Table:
        """Return the latest verdict on each bar whose open is in `asked`, by series and time.

        Columns: exchange symbol interval timestamp verdict differs built venue source written. Both
        sides are left out of a match. `written` is when the verdict came; matches next to each
        other may all bear the time of the last.
        """
        ...

    async def verify(self, series: Sequence[Series] | None = None) -> Verified:
        """Recompute rows and digests from the stored data and compare with the ledger."""
        ...

    async def discard(self, series: Series, asked: Range) -> Range:
        """Take back what is held in `asked`: rows go, the ledger says `missing`.

        For data that `verify` refuted. Where damage makes more unreadable (a whole segment), the
        range taken back is wider; it is returned.
        """
        ...

    async def vacuum(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what no reader can need any more; return bytes freed."""
        ...

    async def close(self) -> None:
        """Release files and locks."""
        ...


TableFormat = Literal["delta", "iceberg"]


@runtime_checkable
class Publisher(Protocol):
    """A store that can register its files as tables of other engines, without copying a row."""

    async def publish(self, form: TableFormat, target: str | Path | None = None) -> list[Published]:
        """Make or refresh one table for each kind that has segments.

        Raises:
            MissingExtra: the format's library is not installed.
            UsageError: the target is none the format can have.
        """
        ...


@runtime_checkable
class Described(Protocol):
    """A store that can say more of itself than its URL."""

    async def describe(self) -> list[Fact]:
        """Return what is known of the engine: versions, level, what is missing."""
        ...


class Upkept(msgspec.Struct, frozen=True):
    """What housekeeping did.

    Attributes:
        kept_from: since when the kinds are kept whose rule of retention was applied.
        filed_rows: rows moved into files.
        freed_bytes: of files nobody needs any more.
    """

    kept_from: dict[Kind, int]
    filed_rows: int
    freed_bytes: int


@runtime_checkable
class Housekeeper(Protocol):
    """A store that keeps itself in order, every now and then while it is written to."""

    async def upkeep(self) -> Upkept | None:
        """Do now what is due; None if another process is at it."""
        ...


@runtime_checkable
class Retainer(Protocol):
    """A store that can forget what is old."""

    async def retention(self) -> dict[Kind, int]:
        """Return for how many seconds rows are kept, of the kinds that have a rule."""
        ...

    async def set_retention(self, kind: Kind, keep_s: int | None) -> None:
        """Keep rows of a kind for so many seconds from now on, or for ever.

        Applied by `Housekeeper.upkeep`, not at once.
        """
        ...

    async def retain(self, kind: Kind, before_us: int) -> int:
        """Remove the rows of a kind older than a moment, and what the ledger says of their time.

        Whole chunks go: some rows before the moment may stay. Returns from when on all are kept.
        """
        ...


__all__ = [
    "Batch",
    "Committed",
    "Described",
    "Fact",
    "Fault",
    "Finding",
    "Housekeeper",
    "Kind",
    "Published",
    "Publisher",
    "Retainer",
    "SeriesInfo",
    "Store",
    "TableFormat",
    "Upkept",
    "Verified",
]
