"""Parcels of the lake: a stretch as one snapshot sees it, and one taken in by one transaction."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from zvt_crypto.core.errors import StoreBusy
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage, Measure, clip
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
from zvt_crypto.core.rows import sorted_together, times
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.unpacking import (
    Merged,
    checked,
    inside,
    ledger_after,
    merge_in,
    restated,
    spoken_of,
    versions_after,
)
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.store.intake.fields import series_key, to_series
from zvt_crypto.store.intake.ledger import hull
from zvt_crypto.store.lake import agreement, coverage, hot
from zvt_crypto.store.lake.apply import mark_of
from zvt_crypto.store.lake.catalog import Catalog, Transaction, find_series
from zvt_crypto.store.lake.discard import recount
from zvt_crypto.store.lake.holding import Holding, live_segments
from zvt_crypto.store.lake.merge import Conflict, Merger, Part
from zvt_crypto.store.segments.retry import retried
from zvt_crypto.store.segments.segment import SegmentFiles

_ATTEMPTS: Final = 40
# As for commits: after so many conflicts the plan is made while holding the catalog.
_PATIENCE: Final = 4

_CORRECTIONS: Final = (
    "SELECT timestamp, key, old, new, known_us, corrected_us FROM corrections "
    "WHERE series_id = ? AND timestamp >= ? AND timestamp < ? ORDER BY corrected_us, id"
)
_FORGET: Final = (
    "DELETE FROM corrections WHERE series_id = ? AND timestamp = ? AND key IS ? AND old = ? "
    "AND new = ? AND known_us = ? AND corrected_us = ?"
)
_CORRECT: Final = (
    "INSERT INTO corrections (series_id, timestamp, key, old, new, known_us, corrected_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_REFUSED: Final = (
    "SELECT timestamp, reason, raw, written_us FROM quarantine WHERE series_id = ? "
    "AND COALESCE(timestamp, written_us) >= ? AND COALESCE(timestamp, written_us) < ? "
    "ORDER BY written_us, id"
)
_REFUSE: Final = (
    "INSERT OR IGNORE INTO quarantine (series_id, timestamp, reason, raw, written_us, mark) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


class Mover:
    """Packs stretches of the lake, and takes in those of other stores."""

    def __init__(self, catalog: Catalog, files: SegmentFiles, merger: Merger) -> None:
        """Read and write through `catalog` and `files`; segments are written by `merger`."""
        self._catalog = catalog
        self._files = files
        self._merger = merger

    def keeping(self) -> list[Series]:
        """Return every series anything is kept of."""
        with self._catalog.snapshot() as connection:
            rows = connection.execute(
                "SELECT exchange, symbol, kind, interval FROM series ORDER BY 1, 2, 3, 4"
            ).fetchall()
        return [to_series(row) for row in rows]

    def seal(self, series: Series, asked: Range) -> Seal:
        """Return in short what is held of a stretch."""
        return retried(series, lambda: self._seal(series, asked))

    def pack(self, series: Series, asked: Range, *, limit_rows: int) -> Parcel:
        """Return all that is held of a stretch, or of its beginning."""
        return retried(series, lambda: self._pack(series, asked, limit_rows))

    def unpack(self, parcel: Parcel, *, replace: bool) -> Unpacked:
        """Enter a parcel; see `Transferable.unpack`."""
        parcel = checked(parcel)
        for attempt in range(_ATTEMPTS):
            try:
                return self._attempt(parcel, replace=replace, is_patient=attempt < _PATIENCE)
            except (Conflict, FileNotFoundError):
                continue
        raise StoreBusy(str(self._catalog.path.parent), 0.0)

    def restate(self, series: Series, asked: Range, ledger: Sequence[Coverage]) -> bool:
        """Take over when the ledger was written; see `Transferable.restate`."""
        with self._catalog.write() as transaction:
            connection = transaction.connection
            series_id = find_series(connection, series)
            existing = [] if series_id is None else coverage.load(connection, series_id, asked)
            measure = self._measure(connection, series, series_id or 0, asked, existing)
            after = restated(existing, series, asked, ledger, measure)
            if after is None:
                return False
            transaction.reach(max((entry.written_us for entry in ledger), default=0))
            coverage.replace(connection, series_id or 0, existing, after)
            return True

    def listings(self, exchanges: Sequence[str] | None) -> list[Listing]:
        """Return all versions of the instruments of these exchanges, or of all."""
        with self._catalog.snapshot() as connection:
            rows = connection.execute(
                "SELECT exchange, payload, valid_from, valid_to FROM instruments "
                "ORDER BY exchange, symbol, valid_from"
            ).fetchall()
        return [
            Listing(msgspec.json.decode(payload, type=Instrument), start, end)
            for exchange, payload, start, end in rows
            if exchanges is None or exchange in exchanges
        ]

    def enter_listings(self, sent: Sequence[Listing]) -> int:
        """Enter versions of instruments; return of how many instruments."""
        with self._catalog.write() as transaction:
            transaction.reach(max((max(o.valid_from, o.valid_to or 0) for o in sent), default=0))
            return _enter_listings(transaction.connection, sent)

    def _seal(self, series: Series, asked: Range) -> Seal:
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            if series_id is None:
                return BLANK
            holding = Holding(connection, self._files, series, series_id, asked)
            rows, digest = holding.measure(*asked)
            ledger = coverage.load(connection, series_id, asked)
            return Seal(
                rows=rows,
                digest=digest,
                ledger=tuple(clip(ledger, asked, holding.measure)),
                corrections=tally_corrections(_corrections(connection, series_id, asked)),
                rejected=tally_rejected(_refused(connection, series_id, asked)),
                reconciled=tally_reconciled(series, _judged(connection, series, series_id, asked)),
            )

    def _pack(self, series: Series, asked: Range, limit_rows: int) -> Parcel:
        kind = series.kind
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            if series_id is None:
                return Parcel(series=series, range=asked, table=_schema(kind).empty_table())
            holding = Holding(connection, self._files, series, series_id, asked)
            asked = _cut(holding, asked, limit_rows)
            ledger = coverage.load(connection, series_id, asked)
            return Parcel(
                series=series,
                range=asked,
                table=self._rows(connection, kind, series_id, [asked]),
                ledger=tuple(clip(ledger, asked, holding.measure)),
                corrections=tuple(_corrections(connection, series_id, asked)),
                rejected=tuple(_refused(connection, series_id, asked)),
                reconciled=tuple(_judged(connection, series, series_id, asked)),
            )

    def _rows(
        self,
        connection: sqlite3.Connection,
        kind: Kind,
        series_id: int,
        stretches: Sequence[Range],
    ) -> pa.Table:
        """Return the rows in the stretches in key order, with `known_us`."""
        tables = [_schema(kind).empty_table()]
        for stretch in stretches:
            tables.append(hot.select(connection, kind, series_id, *stretch))
            tables.extend(
                self._files.read(kind, segment, stretch)
                for segment in live_segments(connection, series_id, stretch)
            )
        # The files say that a column may be null where the schema says that it is not.
        return sorted_together(kind, [table.cast(_schema(kind)) for table in tables])

    def _attempt(self, parcel: Parcel, *, replace: bool, is_patient: bool) -> Unpacked:
        parts: Sequence[Part] = ()
        transaction: Transaction | None = None
        try:
            merged: Merged | None = None
            if is_patient:
                with self._catalog.snapshot() as connection:
                    merged, parts = self._plan(connection, parcel, replace=replace)
            with self._catalog.write() as transaction:
                if merged is None:
                    merged, parts = self._plan(transaction.connection, parcel, replace=replace)
                transaction.reach(parcel.newest_us)
                return self._enter(transaction, parcel, merged, parts)
        except BaseException:
            self._merger.discard(parts, transaction)
            raise

    def _plan(
        self, connection: sqlite3.Connection, parcel: Parcel, *, replace: bool
    ) -> tuple[Merged, list[Part]]:
        series = parcel.series
        series_id = find_series(connection, series) or 0
        stretches = spoken_of(parcel)
        held = self._rows(connection, series.kind, series_id, stretches)
        past = _corrections(connection, series_id, parcel.range)
        merged = merge_in(parcel, held, past, replace=replace)
        if not merged.changed:
            return merged, []
        table = merged.table.filter(pa.array(inside(times(merged.table), stretches)))
        parts = self._merger.plan_entry(
            connection, series, series_id, stretches, table.combine_chunks()
        )
        return merged, parts

    def _enter(
        self, transaction: Transaction, parcel: Parcel, merged: Merged, parts: Sequence[Part]
    ) -> Unpacked:
        connection, series = transaction.connection, parcel.series
        series_id = find_series(connection, series)
        if series_id is None:
            if parcel.is_empty:
                return Unpacked()
            series_id = _number(connection, series)
        if parts:
            self._merger.apply(connection, series, series_id, parts, transaction.now_us)
            hot.settle(connection, series.kind)
            recount(connection, series_id)
        interval, judged = series.interval, parcel.reconciled
        return Unpacked(
            merged.changed,
            self._enter_ledger(connection, parcel, series_id),
            _correct(connection, series_id, parcel, merged.forget),
            _refuse(connection, series_id, parcel.rejected),
            0 if interval is None else agreement.enter(connection, series_id, interval, judged),
        )

    def _enter_ledger(self, connection: sqlite3.Connection, parcel: Parcel, series_id: int) -> int:
        existing = coverage.load(connection, series_id, parcel.range)
        measure = self._measure(connection, parcel.series, series_id, parcel.range, existing)
        after = ledger_after(existing, parcel, measure)
        coverage.replace(connection, series_id, existing, after)
        return len(set(after) - set(existing))

    def _measure(
        self,
        connection: sqlite3.Connection,
        series: Series,
        series_id: int,
        asked: Range,
        existing: Sequence[Coverage],
    ) -> Measure:
        """Return what counts and digests rows where the ledger may have to be measured anew."""
        # The hot rows in it are read once, and only if there is a question.
        return Holding(connection, self._files, series, series_id, hull(asked, existing)).measure


def _schema(kind: Kind) -> pa.Schema:
    return pa.schema([*SCHEMAS[kind], KNOWN])


def _number(connection: sqlite3.Connection, series: Series) -> int:
    cursor = connection.execute(
        "INSERT INTO series (exchange, symbol, kind, interval) VALUES (?, ?, ?, ?)",
        series_key(series),
    )
    return cursor.lastrowid or 0


def _cut(holding: Holding, asked: Range, limit_rows: int) -> Range:
    """Return the beginning of a stretch with at most so many rows, or with those of one moment."""

    def rows_before(moment: int) -> int:
        return holding.measure(asked.start, moment)[0]

    if rows_before(asked.end) <= limit_rows:
        return asked
    # First between segments, which the manifest answers; then inside the one that is too much.
    edges = [s.first_us for s in holding.segments if asked.holds(s.first_us)]
    low, high = asked.start, asked.end
    low, high = _narrowed(edges, low, high, lambda at: rows_before(at) <= limit_rows)
    while high - low > 1:
        middle = (low + high) // 2
        if rows_before(middle) <= limit_rows:
            low = middle
        else:
            high = middle
    return Range(asked.start, low if rows_before(low) else high)


def _narrowed(
    edges: Sequence[int], low: int, high: int, is_enough: Callable[[int], bool]
) -> tuple[int, int]:
    first, last = 0, len(edges)
    while first < last:
        middle = (first + last) // 2
        if is_enough(edges[middle]):
            low, first = edges[middle], middle + 1
        else:
            high, last = edges[middle], middle
    return low, high


def _corrections(connection: sqlite3.Connection, series_id: int, asked: Range) -> list[Corrected]:
    return [Corrected(*row) for row in connection.execute(_CORRECTIONS, (series_id, *asked))]


def _refused(connection: sqlite3.Connection, series_id: int, asked: Range) -> list[Refused]:
    return [
        Refused(Rejected(*fields), written)
        for *fields, written in connection.execute(_REFUSED, (series_id, *asked))
    ]


def _judged(
    connection: sqlite3.Connection, series: Series, series_id: int, asked: Range
) -> Iterable[Judged]:
    if series.interval is None:
        return []
    return agreement.judged(connection, series_id, series.interval, asked)


def _correct(
    connection: sqlite3.Connection,
    series_id: int,
    parcel: Parcel,
    forget: Sequence[Corrected],
) -> int:
    connection.executemany(_FORGET, [(series_id, *msgspec.structs.astuple(c)) for c in forget])
    there = set(_corrections(connection, series_id, parcel.range))
    fresh = [one for one in parcel.corrections if one not in there]
    connection.executemany(_CORRECT, [(series_id, *msgspec.structs.astuple(c)) for c in fresh])
    return len(forget) + len(fresh)


def _refuse(connection: sqlite3.Connection, series_id: int, rejected: Sequence[Refused]) -> int:
    rows = [
        (
            series_id,
            one.rejected.timestamp_us,
            one.rejected.reason,
            one.rejected.raw,
            one.written_us,
            mark_of(series_id, one.rejected),
        )
        for one in rejected
    ]
    return max(connection.executemany(_REFUSE, rows).rowcount, 0) if rows else 0


def _enter_listings(connection: sqlite3.Connection, sent: Sequence[Listing]) -> int:
    theirs: dict[tuple[str, str], list[Listing]] = {}
    for one in sent:
        theirs.setdefault((one.instrument.exchange, one.instrument.symbol), []).append(one)
    changed = 0
    for name, versions in theirs.items():
        mine = [
            Listing(msgspec.json.decode(payload, type=Instrument), start, end)
            for payload, start, end in connection.execute(
                "SELECT payload, valid_from, valid_to FROM instruments "
                "WHERE exchange = ? AND symbol = ?",
                name,
            )
        ]
        after = versions_after(mine, versions)
        if after is None:
            continue
        changed += 1
        connection.executemany(
            "INSERT OR REPLACE INTO instruments VALUES (?, ?, ?, ?, ?)",
            [
                (*name, o.valid_from, o.valid_to, msgspec.json.encode(o.instrument).decode())
                for o in after
            ],
        )
    return changed
