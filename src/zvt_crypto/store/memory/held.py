"""What the store in memory keeps of a series."""

from collections.abc import Iterator

import msgspec
import pyarrow as pa

from zvt_crypto.core.digest import Digest, row_hashes
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Reconciled
from zvt_crypto.core.rows import payloads, times
from zvt_crypto.core.schema import KEYS
from zvt_crypto.core.series import Series
from zvt_crypto.ports.connector import Rejected

Key = tuple[int, str | int | None]


class Row(msgspec.Struct, frozen=True):
    """The columns beside the key as JSON, and since when we know them."""

    payload: str
    digest: Digest
    known_us: int


class Correction(msgspec.Struct, frozen=True):
    """A row that was replaced, and by what."""

    key: Key
    old: Row
    new: Row


class Held(msgspec.Struct):
    """Everything of one series."""

    series: Series
    rows: dict[Key, Row]
    ledger: list[Coverage]
    corrections: list[Correction]
    rejected: dict[Rejected, int]
    reconciled: dict[int, tuple[Reconciled, int]]

    def keys(self, asked: Range) -> list[Key]:
        """Return the keys of the rows in `asked`, ascending."""
        return sorted(key for key in self.rows if asked.holds(key[0]))

    def measure(self, start: int, end: int) -> tuple[int, Digest]:
        """Count and digest the rows in `[start, end)`."""
        keys = self.keys(Range(start, end))
        return len(keys), sum((self.rows[key].digest for key in keys), Digest(0, 0))

    def times(self, start: int, end: int) -> list[int]:
        """Return the times of the rows in `[start, end)`, ascending."""
        return [moment for moment, _ in self.keys(Range(start, end))]


class Listed(msgspec.Struct):
    """One version of an instrument."""

    instrument: Instrument
    valid_from: int
    valid_to: int | None = None


def rows_of(series: Series, table: pa.Table, now: int) -> Iterator[tuple[Key, Row]]:
    """Yield the rows of a table, known since `now`."""
    second = KEYS[series.kind][1:]
    tails: list[str | int | None] = (
        table.column(second[0]).to_pylist() if second else [None] * table.num_rows
    )
    keys = zip(times(table).tolist(), tails, strict=True)
    digests = (Digest(*both) for both in zip(*(h.tolist() for h in row_hashes(table)), strict=True))
    for key, text, digest in zip(keys, payloads(series.kind, table), digests, strict=True):
        yield key, Row(text, digest, now)


def order(series: Series) -> tuple[str, str, str, str]:
    """Return what series are listed by."""
    return series.exchange, series.symbol, series.kind, series.interval or ""
