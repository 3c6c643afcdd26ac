"""Verification: what the tables hold, against what blocks and ledger say of them."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.proof import Tallies, disagreements
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import sorted_together
from zvt_crypto.core.schema import SCHEMAS, weight
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Fault, Verified
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.segments.segment import Segment
from zvt_crypto.store.timescale import block, coverage, history, rows
from zvt_crypto.store.timescale.block import Block
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.reader import plain
from zvt_crypto.store.timescale.tables import TABLES, block_us
from zvt_crypto.store.timescale.writer import Numbers

# So many light rows are held in memory at once, or a whole block if that has more.
_AT_ONCE: Final = 500_000


def verify(
    database: Database, numbers: Numbers, series: Sequence[Series] | None = None
) -> Verified:
    """Read every row again; return how much was compared and every disagreement."""
    if series is None:
        found = database.snapshot(
            lambda c: c.execute("SELECT exchange, symbol, kind, interval FROM series").fetchall()
        )
        series = sorted(to_series(row) for row in found)
    ranges, count = 0, 0
    faults: list[Fault] = []
    for one, series_id in numbers.of(series).items():
        checked = database.snapshot(lambda c, s=one, i=series_id: _check(database, c, s, i))
        ranges, count = ranges + checked.ranges, count + checked.rows
        faults.extend(checked.faults)
    return Verified(ranges, count, faults)


def _check(database: Database, connection: Connection, series: Series, series_id: int) -> Verified:
    """Check one series on one state; rows are read beside, on the same state."""
    ledger = coverage.load(connection, series_id)
    blocks = block.load(connection, series, series_id, ALWAYS)
    ((*counts, snapshot),) = connection.execute(
        "SELECT rows, first_us, last_us, pg_export_snapshot() FROM series WHERE id = %s",
        (series_id,),
    ).fetchall()
    tallies = Tallies(ledger)
    faults: list[Fault] = []
    made: list[Block] = []
    filed = _Filed(connection, series, series_id)
    for stretch in _stretches(blocks, _AT_ONCE // weight(series.kind)):
        query = (
            f"SELECT {rows.names(SCHEMAS[series.kind].names)} "
            f"FROM {TABLES[series.kind].name} WHERE series_id = {series_id} "
            f"AND {rows.within(stretch)} ORDER BY {rows.names(TABLES[series.kind].keys)}"
        )
        hot = plain(series.kind, database.arrow(query, snapshot=snapshot))
        index = RowIndex.of(sorted_together(series.kind, [hot, *filed.read(stretch)]))
        tallies.add(index)
        made.extend(block.cut(series, index))
    faults.extend(filed.faults())
    for one in filed.lost:
        tallies.add_lost(Range(one.first_us, one.last_us + 1), one.rows, one.digest)
    total = sum(one.rows for one in made)
    found = [total, made[0].first_us if made else None, made[-1].last_us if made else None]
    if counts != found and not filed.lost:
        detail = f"the catalog counts rows, first, last {counts}, found {found}"
        faults.append(Fault(series, *tallies.hull, detail))
    # What an unreadable file has held is missing from its blocks: that is one fault, not many.
    faults.extend(one for one in _differences(series, blocks, made) if not filed.explains(one))
    faults.extend(Fault(series, *where, detail) for where, detail in disagreements(ledger, tallies))
    observed = sum(entry.verdict is Verdict.OBSERVED for entry in ledger)
    return Verified(observed, total, faults)


class _Filed:
    """The rows in files, and which files cannot be read."""

    def __init__(self, connection: Connection, series: Series, series_id: int) -> None:
        self._connection = connection
        self._series = series
        self._segments = history.live(connection, series_id, ALWAYS)
        self._reasons: dict[int, str] = {}

    @property
    def lost(self) -> list[Segment]:
        return [one for one in self._segments if one.id in self._reasons]

    def read(self, stretch: Range) -> list[pa.Table]:
        """Return the rows in `stretch` of every file that can be read."""
        kind = self._series.kind
        tables: list[pa.Table] = []
        for one in self._segments:
            if one.id in self._reasons or not one.overlaps(stretch):
                continue
            try:
                tables.extend(history.read_all(self._connection, kind, [one], stretch))
            except (OSError, pa.ArrowException) as e:
                self._reasons[one.id] = str(e)
        return [one.select(SCHEMAS[kind].names) for one in tables]

    def faults(self) -> Iterator[Fault]:
        """Yield a fault for every file that cannot be read."""
        for one in self.lost:
            detail = f"segment {one.path} cannot be read: {self._reasons[one.id]}"
            yield Fault(self._series, one.first_us, self._series.cell_end(one.last_us), detail)

    def explains(self, fault: Fault) -> bool:
        """Return whether a file that cannot be read is reason enough for a fault."""
        return any(one.overlaps(Range(fault.start, fault.end)) for one in self.lost)


def _differences(series: Series, stored: Sequence[Block], made: Sequence[Block]) -> Iterator[Fault]:
    width = block_us(series)
    there = {one.start_us: one for one in stored}
    here = {one.start_us: one for one in made}
    for start in sorted(there.keys() | here.keys()):
        if there.get(start) != here.get(start):
            detail = "rows of the block are not those that were committed"
            yield Fault(series, start, start + width, detail)


def _stretches(blocks: Sequence[Block], at_once: int) -> Iterator[Range]:
    """Yield ranges that tile all of time, none with many more rows than `at_once`."""
    start, held = ALWAYS.start, 0
    for one in blocks:
        if held and held + one.rows > at_once:
            yield Range(start, one.start_us)
            start, held = one.start_us, 0
        held += one.rows
    yield Range(start, ALWAYS.end)
