"""Parcels of the server store: packed on one snapshot, taken in by one transaction."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage, clip
from zvt_crypto.core.parcel import (
    BLANK,
    KNOWN,
    Corrected,
    Judged,
    Listing,
    Parcel,
    Refused,
    Seal,
    Unpacked,
    tally_corrections,
    tally_reconciled,
    tally_rejected,
)
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import sorted_together, times
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.unpacking import (
    checked,
    inside,
    ledger_after,
    merge_in,
    restated,
    spoken_of,
    versions_after,
)
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.store.intake.fields import to_series
from zvt_crypto.store.intake.ledger import hull
from zvt_crypto.store.timescale import agreement, block, coverage, history, rows
from zvt_crypto.store.timescale.block import Holding
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.partition import Partitions
from zvt_crypto.store.timescale.tables import TABLES, block_us
from zvt_crypto.store.timescale.writer import Numbers, mark_of

_CORRECTIONS: Final = (
    "SELECT timestamp_us, key, old, new, known_us, corrected_us FROM corrections "
    "WHERE series_id = %s AND timestamp_us >= %s AND timestamp_us < %s ORDER BY corrected_us, id"
)
_FORGET: Final = (
    "DELETE FROM corrections WHERE series_id = %s AND timestamp_us = %s "
    "AND key IS NOT DISTINCT FROM %s AND old = %s AND new = %s AND known_us = %s "
    "AND corrected_us = %s"
)
_CORRECT: Final = (
    "INSERT INTO corrections (series_id, timestamp_us, key, old, new, known_us, corrected_us) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
_REFUSED: Final = (
    "SELECT timestamp_us, reason, raw, written_us FROM quarantine WHERE series_id = %s "
    "AND COALESCE(timestamp_us, written_us) >= %s AND COALESCE(timestamp_us, written_us) < %s "
    "ORDER BY written_us, id"
)
_REFUSE: Final = (
    "INSERT INTO quarantine (series_id, timestamp_us, reason, raw, written_us, mark) "
    "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (mark) DO NOTHING"
)
_LIST: Final = (
    "INSERT INTO instruments (exchange, symbol, valid_from, valid_to, payload) "
    "VALUES (%s, %s, %s, %s, %s::json) ON CONFLICT (exchange, symbol, valid_from) "
    "DO UPDATE SET valid_to = excluded.valid_to, payload = excluded.payload"
)


class Mover:
    """Packs stretches of the store, and takes in those of others."""

    def __init__(
        self,
        database: Database,
        numbers: Numbers,
        partitions: Partitions,
        clock: Callable[[], int],
    ) -> None:
        """Read and write through `database`."""
        self._database = database
        self._numbers = numbers
        self._partitions = partitions
        self._clock = clock

    def keeping(self) -> list[Series]:
        """Return every series anything is kept of."""
        found = self._database.snapshot(
            lambda c: c.execute("SELECT exchange, symbol, kind, interval FROM series").fetchall()
        )
        return sorted((to_series(row) for row in found), key=_order)

    def seal(self, series: Series, asked: Range) -> Seal:
        """Return in short what is held of a stretch."""
        series_id = self._numbers.of([series]).get(series)
        if series_id is None:
            return BLANK
        return self._database.snapshot(lambda c: _seal(c, series, series_id, asked))

    def pack(self, series: Series, asked: Range, *, limit_rows: int) -> Parcel:
        """Return all that is held of a stretch, or of its beginning."""
        series_id = self._numbers.of([series]).get(series)
        if series_id is None:
            return Parcel(series=series, range=asked, table=_schema(series.kind).empty_table())
        return self._database.snapshot(
            lambda c: self._pack(c, series, series_id, asked, limit_rows)
        )

    def unpack(self, parcel: Parcel, *, replace: bool) -> Unpacked:
        """Enter a parcel; see `Transferable.unpack`."""
        parcel = checked(parcel)
        series = parcel.series
        if parcel.is_empty and series not in self._numbers.of([series]):
            return Unpacked()
        series_id = self._numbers.of([series], enter=True)[series]
        if parcel.rows:
            moments = times(parcel.table)
            hull = Range(int(moments[0]), int(moments[-1]) + 1)
            self._partitions.ensure([(TABLES[series.kind], hull)])
        return self._database.transact(
            lambda c: _unpack(c, parcel, series_id, self._clock(), replace=replace)
        )

    def restate(self, series: Series, asked: Range, ledger: Sequence[Coverage]) -> bool:
        """Take over when the ledger was written; see `Transferable.restate`."""
        series_id = self._numbers.of([series], enter=True)[series]

        def take_over(connection: Connection) -> bool:
            now_us = _lock(connection, series_id, self._clock())
            existing = coverage.load(connection, series_id, asked)
            measure = _holding(connection, series, series_id, asked, existing).measure
            after = restated(existing, series, asked, ledger, measure)
            if after is None:
                return False
            newest = max((entry.written_us for entry in ledger), default=0)
            _reach(connection, series_id, max(now_us, newest))
            coverage.replace(connection, series_id, existing, after)
            return True

        return self._database.transact(take_over)

    def listings(self, exchanges: Sequence[str] | None) -> list[Listing]:
        """Return all versions of the instruments of these exchanges, or of all."""
        found = self._database.snapshot(
            lambda c: c.execute(
                "SELECT exchange, payload::text, valid_from, valid_to FROM instruments "
                'ORDER BY exchange COLLATE "C", symbol COLLATE "C", valid_from'
            ).fetchall()
        )
        return [
            Listing(msgspec.json.decode(payload, type=Instrument), start, end)
            for exchange, payload, start, end in found
            if exchanges is None or exchange in exchanges
        ]

    def enter_listings(self, sent: Sequence[Listing]) -> int:
        """Enter versions of instruments; return of how many instruments."""
        return self._database.transact(lambda c: _enter_listings(c, sent))

    def _pack(
        self, connection: Connection, series: Series, series_id: int, asked: Range, limit: int
    ) -> Parcel:
        table = TABLES[series.kind]
        holding = Holding(connection, series, series_id, asked)
        asked = _cut(holding, asked, limit)
        ((snapshot,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
        query = (
            f"SELECT {rows.names(table.columns)} FROM {table.name} "
            f"WHERE series_id = {series_id} AND {rows.within(asked)} "
            f"ORDER BY {rows.names(table.keys)}"
        )
        schema = _schema(series.kind)
        hot = self._database.arrow(query, snapshot=snapshot).cast(schema)
        filed = history.read(connection, series.kind, series_id, asked)
        cold = [one.cast(schema) for one in filed]
        ledger = coverage.load(connection, series_id, asked)
        return Parcel(
            series=series,
            range=asked,
            table=sorted_together(series.kind, [hot, *cold]) if cold else hot.combine_chunks(),
            ledger=tuple(clip(ledger, asked, holding.measure)),
            corrections=tuple(_corrections(connection, series_id, asked)),
            rejected=tuple(_refused(connection, series_id, asked)),
            reconciled=tuple(_judged(connection, series, series_id, asked)),
        )


def _seal(connection: Connection, series: Series, series_id: int, asked: Range) -> Seal:
    holding = Holding(connection, series, series_id, asked)
    count, digest = holding.measure(*asked)
    ledger = coverage.load(connection, series_id, asked)
    return Seal(
        rows=count,
        digest=digest,
        ledger=tuple(clip(ledger, asked, holding.measure)),
        corrections=tally_corrections(_corrections(connection, series_id, asked)),
        rejected=tally_rejected(_refused(connection, series_id, asked)),
        reconciled=tally_reconciled(series, _judged(connection, series, series_id, asked)),
    )


def _unpack(
    connection: Connection, parcel: Parcel, series_id: int, clock_us: int, *, replace: bool
) -> Unpacked:
    series, interval = parcel.series, parcel.series.interval
    now_us = max(_lock(connection, series_id, clock_us), parcel.newest_us)
    changed, forget = _enter_rows(connection, parcel, series_id, replace=replace)
    connection.execute(block.RECOUNT, {"id": series_id, "now": now_us})
    existing = coverage.load(connection, series_id, parcel.range)
    measure = _holding(connection, series, series_id, parcel.range, existing).measure
    after = ledger_after(existing, parcel, measure)
    coverage.replace(connection, series_id, existing, after)
    return Unpacked(
        changed,
        len(set(after) - set(existing)),
        _correct(connection, series_id, parcel, forget),
        _refuse(connection, series_id, parcel.rejected),
        0
        if interval is None
        else agreement.enter(connection, series_id, interval, parcel.reconciled),
    )


def _enter_rows(
    connection: Connection, parcel: Parcel, series_id: int, *, replace: bool
) -> tuple[int, Sequence[Corrected]]:
    """Make the stretches a parcel speaks of hold what it says; return how many rows changed."""
    series, table = parcel.series, TABLES[parcel.series.kind]
    stretches = spoken_of(parcel)
    kept = [s for s in stretches if Holding(connection, series, series_id, s).measure(*s)[0]]
    parts = [rows.select(connection, table, series_id, stretch) for stretch in kept]
    held = pa.concat_tables(
        [_schema(series.kind).empty_table(), *(one.cast(_schema(series.kind)) for one in parts)]
    ).combine_chunks()
    past = _corrections(connection, series_id, parcel.range)
    merged = merge_in(parcel, held, past, replace=replace)
    if not merged.changed:
        return 0, merged.forget
    for stretch in kept:
        rows.remove_range(connection, table, series_id, stretch)
    wanted = merged.table.filter(pa.array(inside(times(merged.table), stretches))).combine_chunks()
    ids = np.full(wanted.num_rows, series_id, dtype=np.int32)
    plain, known = wanted.drop_columns([KNOWN.name]), np.asarray(wanted.column(KNOWN.name))
    files = connection.files
    if files is not None and files.takes_at_once(series, wanted.num_rows):
        history.enter(connection, series, series_id, wanted)
    else:
        rows.copy_in(connection, table, plain, ids, known)
    if kept:
        for stretch in stretches:
            for one in block.load(connection, series, series_id, stretch):
                around = Range(one.first_us, one.last_us + 1)
                block.recount(connection, series, series_id, around)
        moments = times(plain)
        lone = _uncounted(connection, series, series_id, moments)
        for one in lone:
            block.recount(connection, series, series_id, Range(one, one + 1))
    else:
        made = block.cut(series, RowIndex.of(plain))
        block.add(connection, [(series_id, one) for one in made])
    return merged.changed, merged.forget


def _uncounted(
    connection: Connection, series: Series, series_id: int, moments: np.ndarray
) -> list[int]:
    """Return the starts of blocks that have rows now and no line yet."""
    width = block_us(series)
    starts = {int(start) for start in np.unique(moments // width * width)}
    there = connection.execute(
        "SELECT start_us FROM blocks WHERE series_id = %s AND start_us = ANY(%s)",
        (series_id, list(starts)),
    )
    return sorted(starts - {row[0] for row in there})


def _holding(
    connection: Connection,
    series: Series,
    series_id: int,
    asked: Range,
    existing: Sequence[Coverage],
) -> Holding:
    """Return what counts and digests rows where the ledger may have to be measured anew."""
    return Holding(connection, series, series_id, hull(asked, existing))


def _lock(connection: Connection, series_id: int, clock_us: int) -> int:
    """Keep other writers away; return a time later than all of them."""
    ((known_us,),) = connection.execute(
        "SELECT known_us FROM series WHERE id = %s FOR NO KEY UPDATE", (series_id,)
    ).fetchall()
    return max(clock_us, known_us + 1)


def _reach(connection: Connection, series_id: int, now_us: int) -> None:
    connection.execute("UPDATE series SET known_us = %s WHERE id = %s", (now_us, series_id))


def _cut(holding: Holding, asked: Range, limit_rows: int) -> Range:
    """Return the beginning of a stretch with at most so many rows, or with those of one moment."""
    if holding.measure(*asked)[0] <= limit_rows:
        return asked

    def before(at: int) -> int:
        return holding.measure(asked.start, at)[0]

    # First between blocks, which need not be read; then inside the one that is too much.
    edges = [asked.start, *(at for at in holding.edges if asked.holds(at))]
    low = edges[max(bisect_right(edges, limit_rows, key=before) - 1, 0)]
    later = edges[edges.index(low) + 1 :]
    moments = holding.times(low, later[0] if later else asked.end)
    at = limit_rows - before(low)
    if at < len(moments):
        cut = moments[at]
        return Range(asked.start, cut + 1 if cut == moments[0] and not before(low) else cut)
    return Range(asked.start, later[0] if later else asked.end)


def _schema(kind: Kind) -> pa.Schema:
    return pa.schema([*SCHEMAS[kind], KNOWN])


def _order(series: Series) -> tuple[str, str, str, str]:
    return series.exchange, series.symbol, series.kind, series.interval or ""


def _corrections(connection: Connection, series_id: int, asked: Range) -> list[Corrected]:
    return [Corrected(*row) for row in connection.execute(_CORRECTIONS, (series_id, *asked))]


def _refused(connection: Connection, series_id: int, asked: Range) -> list[Refused]:
    found = connection.execute(_REFUSED, (series_id, *asked))
    return [
        Refused(Rejected(at, reason, rows.text_of(raw)), written)
        for at, reason, raw, written in found
    ]


def _judged(
    connection: Connection, series: Series, series_id: int, asked: Range
) -> Iterable[Judged]:
    if series.interval is None:
        return []
    return agreement.judged(connection, series_id, series.interval, asked)


def _correct(
    connection: Connection, series_id: int, parcel: Parcel, forget: Sequence[Corrected]
) -> int:
    there = set(_corrections(connection, series_id, parcel.range)) - set(forget)
    fresh = [one for one in parcel.corrections if one not in there]
    with connection.cursor() as cursor:
        cursor.executemany(_FORGET, [(series_id, *msgspec.structs.astuple(c)) for c in forget])
        cursor.executemany(_CORRECT, [(series_id, *msgspec.structs.astuple(c)) for c in fresh])
    return len(forget) + len(fresh)


def _refuse(connection: Connection, series_id: int, rejected: Sequence[Refused]) -> int:
    lines = [
        (
            series_id,
            one.rejected.timestamp_us,
            one.rejected.reason,
            rows.bytes_of(one.rejected.raw),
            one.written_us,
            mark_of(series_id, one.rejected),
        )
        for one in rejected
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_REFUSE, lines)
        return max(cursor.rowcount, 0) if lines else 0


def _enter_listings(connection: Connection, sent: Sequence[Listing]) -> int:
    theirs: dict[tuple[str, str], list[Listing]] = {}
    for one in sent:
        theirs.setdefault((one.instrument.exchange, one.instrument.symbol), []).append(one)
    for exchange in sorted({exchange for exchange, _ in theirs}):
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext(%s))", (f"instruments:{exchange}",)
        )
    changed = 0
    for name, versions in theirs.items():
        found = connection.execute(
            "SELECT payload::text, valid_from, valid_to FROM instruments "
            "WHERE exchange = %s AND symbol = %s",
            name,
        )
        mine = [Listing(msgspec.json.decode(p, type=Instrument), f, t) for p, f, t in found]
        after = versions_after(mine, versions)
        if after is None:
            continue
        changed += 1
        for one in after:
            payload = msgspec.json.encode(one.instrument).decode()
            connection.execute(_LIST, (*name, one.valid_from, one.valid_to, payload))
    return changed
