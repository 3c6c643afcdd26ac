"""Verification: what the tables hold, against what blocks and ledger say of them."""

from collections.abc import Iterator, Sequence
from typing import Final

from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.proof import Tallies, disagreements
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Fault, Verified
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.timescale import block, coverage, rows
from zvt_crypto.store.timescale.block import Block
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.reader import plain
from zvt_crypto.store.timescale.tables import TABLES, block_us
from zvt_crypto.store.timescale.writer import Numbers

ALWAYS: Final = Range(-(1 << 62), 1 << 62)
# So many rows are held in memory at once, or a whole block if that has more.
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
    for stretch in _stretches(blocks):
        query = (
            f"SELECT {rows.names(SCHEMAS[series.kind].names)} "
            f"FROM {TABLES[series.kind].name} WHERE series_id = {series_id} "
            f"AND {rows.within(stretch)} ORDER BY {rows.names(TABLES[series.kind].keys)}"
        )
        index = RowIndex.of(plain(series.kind, database.arrow(query, snapshot=snapshot)))
        tallies.add(index)
        made.extend(block.cut(series, index))
    total = sum(one.rows for one in made)
    found = [total, made[0].first_us if made else None, made[-1].last_us if made else None]
    if counts != found:
        detail = f"the catalog counts rows, first, last {counts}, found {found}"
        faults.append(Fault(series, *tallies.hull, detail))
    faults.extend(_differences(series, blocks, made))
    faults.extend(Fault(series, *where, detail) for where, detail in disagreements(ledger, tallies))
    observed = sum(entry.verdict is Verdict.OBSERVED for entry in ledger)
    return Verified(observed, total, faults)


def _differences(series: Series, stored: Sequence[Block], made: Sequence[Block]) -> Iterator[Fault]:
    width = block_us(series)
    there = {one.start_us: one for one in stored}
    here = {one.start_us: one for one in made}
    for start in sorted(there.keys() | here.keys()):
        if there.get(start) != here.get(start):
            detail = "rows of the block are not those that were committed"
            yield Fault(series, start, start + width, detail)


def _stretches(blocks: Sequence[Block]) -> Iterator[Range]:
    """Yield ranges that tile all of time, none with many more rows than `_AT_ONCE`."""
    start, held = ALWAYS.start, 0
    for one in blocks:
        if held and held + one.rows > _AT_ONCE:
            yield Range(start, one.start_us)
            start, held = one.start_us, 0
        held += one.rows
    yield Range(start, ALWAYS.end)
