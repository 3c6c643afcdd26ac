"""Parcels: everything a store holds of one stretch of a series, to be entered in another store.

How one is taken in, and when it is refused, is in `core.unpacking`. Pure.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest, row_hashes
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Series
from zvt_crypto.core.validation import Rejected

KNOWN: Final = pa.field("known_us", pa.int64(), nullable=False)
"""The last column of a parcel's table: since when the store knows the values of the row."""

_MASK: Final = (1 << 64) - 1
_PIECE_ROWS: Final = 65_536


class Corrected(msgspec.Struct, frozen=True, order=True):
    """A row replaced by other values: `key` is the rest of its key, both sides as JSON.

    The old values were known from `known_us` up to `corrected_us`.
    """

    timestamp_us: int
    key: str | None
    old: str
    new: str
    known_us: int
    corrected_us: int


class Refused(msgspec.Struct, frozen=True):
    """A quarantined row, and when it was refused."""

    rejected: Rejected
    written_us: int

    @property
    def moment(self) -> int:
        """Return the time it counts at: its own, or when it was refused if it has none."""
        at = self.rejected.timestamp_us
        return self.written_us if at is None else at


class Judged(msgspec.Struct, frozen=True):
    """The verdict on the bars that open from `first_us` to `last_us`, both included.

    More than one bar only if all match and the source is one. Columns are those of
    RECONCILIATIONS.
    """

    first_us: int
    last_us: int
    verdict: str
    source: str
    differs: str | None = None
    built: str | None = None
    venue: str | None = None
    written_us: int = 0


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a store holds of one stretch of a series, as it is: nothing is judged anew.

    Attributes:
        series: whose it is.
        range: the stretch.
        table: the rows in it, in key order: the columns of the kind, then `known_us`.
        ledger: what the ledger says, cut to the stretch; `written_us` and source as they are.
        corrections: of rows in the stretch, also of rows that were taken back since.
        rejected: refused rows of the stretch; see `Refused.moment`.
        reconciled: verdicts on bars that open in the stretch, ascending.
    """

    series: Series
    range: Range
    table: pa.Table
    ledger: Sequence[Coverage] = ()
    corrections: Sequence[Corrected] = ()
    rejected: Sequence[Refused] = ()
    reconciled: Sequence[Judged] = ()

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.table.num_rows

    @property
    def is_empty(self) -> bool:
        """Return whether nothing at all is in it."""
        others = (self.ledger, self.corrections, self.rejected, self.reconciled)
        return not self.rows and not any(others)

    @property
    def newest_us(self) -> int:
        """Return the latest time anything in it was learned: a store's clock must be past it."""
        known = self.table.column(KNOWN.name)
        return max(
            int(np.asarray(known).max()) if self.rows else 0,
            max((entry.written_us for entry in self.ledger), default=0),
            max((one.corrected_us for one in self.corrections), default=0),
            max((one.written_us for one in self.rejected), default=0),
            max((one.written_us for one in self.reconciled), default=0),
        )


class Tally(msgspec.Struct, frozen=True):
    """How many there are, and a sum of hashes that tells other ones apart."""

    count: int = 0
    digest: int = 0


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds of a stretch, in short: two that are equal hold the same."""

    rows: int
    digest: Digest
    ledger: Sequence[Coverage]
    corrections: Tally
    rejected: Tally
    reconciled: Tally

    @property
    def is_blank(self) -> bool:
        """Return whether nothing at all is held."""
        return self == BLANK

    def says_as(self, other: "Seal") -> bool:
        """Return whether two differ in nothing but when the ledger was written."""
        mine = msgspec.structs.replace(self, ledger=unwritten(self.ledger))
        return mine == msgspec.structs.replace(other, ledger=unwritten(other.ledger))


BLANK: Final = Seal(
    rows=0,
    digest=EMPTY_DIGEST,
    ledger=(),
    corrections=Tally(),
    rejected=Tally(),
    reconciled=Tally(),
)


class Unpacked(msgspec.Struct, frozen=True):
    """What taking a parcel in has changed: all zero if the store held it already.

    `rows` counts rows that came, changed or went, `ledger` entries of the stretch that are new.
    """

    rows: int = 0
    ledger: int = 0
    corrections: int = 0
    rejected: int = 0
    reconciled: int = 0

    @property
    def is_nothing(self) -> bool:
        """Return whether the store held all of it already."""
        return not any(msgspec.structs.astuple(self))

    def __add__(self, other: "Unpacked") -> "Unpacked":
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Unpacked(*(mine + theirs for mine, theirs in both))


class Listing(msgspec.Struct, frozen=True):
    """One version of an instrument, and from when until when it was the valid one."""

    instrument: Instrument
    valid_from: int
    valid_to: int | None = None


def tally_corrections(corrections: Iterable[Corrected]) -> Tally:
    """Return the tally of corrections, in any order."""
    return _tally(msgspec.structs.astuple(one) for one in corrections)


def tally_rejected(rejected: Iterable[Refused]) -> Tally:
    """Return the tally of refused rows; when they were refused does not count."""
    return _tally(
        (one.rejected.timestamp_us, one.rejected.reason, one.rejected.raw) for one in rejected
    )


def tally_reconciled(series: Series, reconciled: Iterable[Judged]) -> Tally:
    """Return the tally of verdicts, however bars that match are put together."""
    count, matches = 0, dict[str, int]()
    others: list[tuple[object, ...]] = []
    for one in reconciled:
        bars = _bars(series, one)
        count += bars
        if one.verdict == Agreement.MATCH:
            matches[one.source] = matches.get(one.source, 0) + bars
        else:
            others.append(msgspec.structs.astuple(one))
    return Tally(count, _tally([*others, *sorted(matches.items())]).digest)


def seal_of(parcel: Parcel) -> Seal:
    """Return the seal of the store a parcel is from."""
    low, high = hashes(parcel.table.select(SCHEMAS[parcel.series.kind].names))
    return Seal(
        rows=parcel.rows,
        digest=Digest(_sum(low), _sum(high)),
        ledger=tuple(parcel.ledger),
        corrections=tally_corrections(parcel.corrections),
        rejected=tally_rejected(parcel.rejected),
        reconciled=tally_reconciled(parcel.series, parcel.reconciled),
    )


def unwritten(ledger: Sequence[Coverage]) -> tuple[Coverage, ...]:
    """Return entries without the time they were written at."""
    return tuple(msgspec.structs.replace(entry, written_us=0) for entry in ledger)


def hashes(table: pa.Table) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return both lanes of the hash of every row, worked out in pieces that fit a cache."""
    if not table.num_rows:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
    pieces = range(0, table.num_rows, _PIECE_ROWS)
    lanes = zip(*(row_hashes(table.slice(at, _PIECE_ROWS)) for at in pieces), strict=True)
    low, high = (np.concatenate(lane) for lane in lanes)
    return low, high


def _sum(lane: npt.NDArray[np.uint64]) -> int:
    return int(np.add.reduce(lane, dtype=np.uint64))


def _tally(rows: Iterable[tuple[object, ...]]) -> Tally:
    count, total = 0, 0
    for row in rows:
        body = hashlib.blake2b(msgspec.json.encode(row), digest_size=8).digest()
        count, total = count + 1, (total + int.from_bytes(body, "little")) & _MASK
    return Tally(count, total)


def _bars(series: Series, one: Judged) -> int:
    if series.interval is None:
        return 1
    return series.interval.count_opens(one.first_us, one.last_us + 1)
