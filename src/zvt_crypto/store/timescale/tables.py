"""Which table holds the rows of a kind, and how its time is cut."""

from typing import Final

import msgspec
import pyarrow as pa

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.schema import KEYS, KNOWN, SCHEMAS
from zvt_crypto.core.series import Kind, Series

_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR


class Table(msgspec.Struct, frozen=True):
    """The table of one kind.

    Attributes:
        name: in the schema of the store.
        columns: beside the series, in the order of the kind's schema, and `known_us`.
        keys: that make a row unique within its series.
        partition: the calendar stretch a native partition holds.
    """

    kind: Kind
    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    partition: Interval

    @property
    def schema(self) -> pa.Schema:
        """Return the columns of a row as stored."""
        return pa.schema([*SCHEMAS[self.kind], KNOWN])


_NAMES: Final = {Kind.MARK_PRICE: "mark_prices"}
# A month of candles of hundreds of series, or a week of their trades, are some ten million rows.
_WEEKLY: Final = frozenset(
    {
        Kind.TRADES,
        Kind.QUOTES,
        Kind.LIQUIDATIONS,
        Kind.MARK_PRICE,
        Kind.BOOK_SNAPSHOTS,
        Kind.BOOK_DELTAS,
    }
)

TABLES: Final = {
    kind: Table(
        kind,
        _NAMES.get(kind, kind.value),
        (*schema.names, KNOWN.name),
        KEYS[kind],
        Interval.W1 if kind in _WEEKLY else Interval.MON1,
    )
    for kind, schema in SCHEMAS.items()
}

# Blocks are the grain of proofs: what lies at the edge of a range is read, so they are small; each
# is a line in a table, so they are not too small. Never to be changed: lines stored are so wide.
_BLOCK_BARS: Final = 1_440
_BLOCKS: Final = {
    Kind.TRADES: _HOUR,
    Kind.QUOTES: _HOUR,
    Kind.MARK_PRICE: _HOUR,
    Kind.BOOK_SNAPSHOTS: _HOUR,
    Kind.BOOK_DELTAS: _HOUR,
    Kind.LIQUIDATIONS: _DAY,
    Kind.OPEN_INTEREST: _DAY,
    Kind.FUNDING: 64 * _DAY,
}


def block_us(series: Series) -> int:
    """Return how long the blocks of a series are, from the epoch on."""
    if series.interval is not None:
        return _BLOCK_BARS * series.interval.nominal_us
    return _BLOCKS[series.kind]
