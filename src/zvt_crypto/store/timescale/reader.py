"""Reads: rows as Arrow, and what the catalog says of them."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage, clip
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import arrange, pc, restored, sorted_together, times
from zvt_crypto.core.schema import CORRECTIONS, KNOWN, QUARANTINE, RECONCILIATIONS, SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import SeriesInfo
from zvt_crypto.store.intake.fields import table_of, to_series
from zvt_crypto.store.segments.segment import newest_of
from zvt_crypto.store.timescale import agreement, coverage, history, rows
from zvt_crypto.store.timescale.block import Holding
from zvt_crypto.store.timescale.database import Connection, Database
from zvt_crypto.store.timescale.tables import TABLES
from zvt_crypto.store.timescale.writer import Numbers

_LISTED: Final = """
SELECT s.exchange, s.symbol, s.kind, s.interval, s.rows, s.first_us, s.last_us
FROM series s
WHERE s.rows > 0 OR EXISTS (SELECT FROM coverage c WHERE c.series_id = s.id)
ORDER BY s.exchange COLLATE "C", s.symbol COLLATE "C", s.kind COLLATE "C", s.interval COLLATE "C"
"""
_SIZES: Final = """
SELECT p.relname, sum(pg_total_relation_size(c.oid))::bigint
FROM pg_class p LEFT JOIN pg_inherits i ON i.inhparent = p.oid
JOIN pg_class c ON c.oid IN (p.oid, i.inhrelid)
WHERE p.relnamespace = %s::regnamespace AND p.relname = ANY(%s) GROUP BY 1
"""
# Packed chunks inherit from nothing of ours.
_HYPER_SIZES: Final = """
SELECT t, hypertable_size(format('%%I.%%I', %s::text, t)::regclass) FROM unnest(%s::text[]) AS t
"""
_FILED: Final = """
SELECT s.exchange, s.symbol, s.kind, s.interval, sum(g.rows)::bigint, sum(g.bytes)::bigint
FROM segments g JOIN series s ON s.id = g.series_id WHERE g.retired_us IS NULL GROUP BY 1, 2, 3, 4
"""
_Filed: TypeAlias = dict[tuple[Any, ...], tuple[Any, ...]]


class _Cut(msgspec.Struct, frozen=True):
    """Which rows are wanted: those known at `as_of`, or the `newest` so many."""

    as_of: int | None
    newest: int | None

    def known(self, table: pa.Table) -> pa.Table:
        """Return what was known then, without saying since when."""
        if self.as_of is not None:
            table = table.filter(pc.less_equal(table.column(KNOWN.name), self.as_of))
        return table.drop_columns([KNOWN.name])


class Reader:
    """Answers questions."""

    def __init__(self, database: Database, numbers: Numbers) -> None:
        """Read through `database`."""
        self._database = database
        self._numbers = numbers

    def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        """Return rows; see `Store.read`."""
        kind = series.kind
        series_id = self._numbers.of([series]).get(series)
        if series_id is None or asked.is_empty or last == 0:
            return SCHEMAS[kind].empty_table()
        # With `as_of` old values may take the place of newer ones: which are the last is seen then.
        cut = _Cut(as_of, last if as_of is None else None)
        if self._database.files is None:
            table = self._warm(kind, series_id, asked, cut)
        else:
            table = self._database.snapshot(
                lambda c: self._read_both(c, series, series_id, asked, cut)
            )
        if as_of is None:
            return table
        table = self._with_old(kind, series_id, asked, as_of, table)
        return table if last is None else table.slice(max(table.num_rows - last, 0))

    def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return the newest row of each series; see `Store.latest`."""
        numbers = self._numbers.of(series)
        kinds: dict[Kind, list[Series]] = {}
        for one in numbers:
            kinds.setdefault(one.kind, []).append(one)
        found: dict[Series, pa.Table] = {}
        for kind, members in kinds.items():
            found |= self._latest(kind, {numbers[one]: one for one in members})
        return [found.get(one) or SCHEMAS[one.kind].empty_table() for one in series]

    def coverage(self, series: Series, asked: Range | None) -> list[Coverage]:
        """Return the ledger, cut to `asked`."""
        series_id = self._numbers.of([series]).get(series)
        if series_id is None:
            return []

        def load(connection: Connection) -> list[Coverage]:
            ledger = coverage.load(connection, series_id, asked)
            if asked is None:
                return ledger
            return clip(ledger, asked, Holding(connection, series, series_id, asked).measure)

        return self._database.snapshot(load)

    def series(self) -> list[SeriesInfo]:
        """Return every series that has rows or ledger entries; bytes are shared out by rows."""
        schema = self._database.place.schema
        tables = [table.name for table in TABLES.values()]

        def load(connection: Connection) -> tuple[list[tuple[Any, ...]], dict[str, int], _Filed]:
            listed = connection.execute(_LISTED).fetchall()
            layout = connection.execute("SELECT value FROM setting WHERE name = 'layout'")
            query = _HYPER_SIZES if layout.fetchone() == ("hypertable",) else _SIZES
            sizes = dict(connection.execute(query, (schema, tables)).fetchall())
            filed = {tuple(r[:4]): tuple(r[4:]) for r in connection.execute(_FILED).fetchall()}
            return listed, sizes, filed

        listed, sizes, filed = self._database.snapshot(load)
        nothing = (0, 0)
        totals: dict[str, int] = {}
        for row in listed:
            rows_hot = row[4] - filed.get(row[:4], nothing)[0]
            totals[row[2]] = totals.get(row[2], 0) + rows_hot
        infos: list[SeriesInfo] = []
        for row in listed:
            rows_filed, stored = filed.get(row[:4], nothing)
            size = sizes.get(TABLES[Kind(row[2])].name, 0)
            stored += size * (row[4] - rows_filed) // max(totals[row[2]], 1)
            infos.append(SeriesInfo(to_series(row[:4]), row[4], row[5], row[6], stored))
        return infos

    def instruments(self, exchange: str | None, as_of: int | None) -> list[Instrument]:
        """Return the instruments valid at `as_of`, by exchange and symbol."""
        valid = "valid_to IS NULL"
        if as_of is not None:
            valid = "valid_from <= %(at)s AND COALESCE(valid_to, %(at)s + 1) > %(at)s"
        query = (
            f"SELECT payload::text FROM instruments WHERE {valid} "
            "AND (%(exchange)s::text IS NULL OR exchange = %(exchange)s) "
            'ORDER BY exchange COLLATE "C", symbol COLLATE "C"'
        )
        found = self._database.snapshot(
            lambda c: c.execute(query.encode(), {"at": as_of, "exchange": exchange}).fetchall()
        )
        return [msgspec.json.decode(payload, type=Instrument) for (payload,) in found]

    def quarantine(self, series: Series | None) -> pa.Table:
        """Return quarantined rows in the order they came."""
        found = self._listed(
            "SELECT s.exchange, s.symbol, s.kind, NULLIF(s.interval, ''), q.timestamp_us, "
            "q.reason, q.raw, q.written_us FROM quarantine q JOIN series s ON s.id = q.series_id",
            series,
            "q.written_us, q.id",
        )
        readable = [(*row[:6], rows.text_of(row[6]), row[7]) for row in found]
        return table_of(readable, QUARANTINE)

    def corrections(self, series: Series | None) -> pa.Table:
        """Return replaced rows in the order they were replaced."""
        found = self._listed(
            "SELECT s.exchange, s.symbol, s.kind, NULLIF(s.interval, ''), q.timestamp_us, q.key, "
            "q.old, q.new, q.corrected_us FROM corrections q JOIN series s ON s.id = q.series_id",
            series,
            "q.corrected_us, q.id",
        )
        return table_of(found, CORRECTIONS)

    def reconciliations(self, series: Series | None, asked: Range | None) -> pa.Table:
        """Return the latest verdict on each bar, by series and time."""

        def load(connection: Connection) -> list[tuple[object, ...]]:
            numbered = connection.execute(
                "SELECT id, exchange, symbol, kind, interval FROM series WHERE kind = %s "
                'ORDER BY exchange COLLATE "C", symbol COLLATE "C", interval COLLATE "C"',
                (Kind.CANDLES.value,),
            ).fetchall()
            return [
                (one.exchange, one.symbol, one.interval.value, *row)
                for number, *fields in numbered
                for one in [to_series(fields)]
                if series in (None, one) and one.interval is not None
                for row in agreement.rows(connection, number, one.interval, asked)
            ]

        return table_of(self._database.snapshot(load), RECONCILIATIONS)

    def _listed(self, query: str, series: Series | None, order: str) -> list[tuple[Any, ...]]:
        chosen: tuple[object, ...] = ()
        if series is not None:
            query += " WHERE s.id = %s"
            chosen = (self._numbers.of([series]).get(series, 0),)
        query += f" ORDER BY {order}"
        return self._database.snapshot(lambda c: c.execute(query.encode(), chosen).fetchall())

    def _latest(self, kind: Kind, members: dict[int, Series]) -> dict[Series, pa.Table]:
        if self._database.files is not None:
            return self._database.snapshot(lambda c: _latest_both(c, kind, members))
        last = self._database.snapshot(lambda c: _last(c, members))
        if not last:
            return {}
        found = self._database.arrow(rows.last_query(TABLES[kind], SCHEMAS[kind].names, last))
        ids = found.column("id").to_pylist()
        ordered = plain(kind, found.drop_columns(["id"]))
        return {members[key]: ordered.slice(place, 1) for place, key in enumerate(ids)}

    def _read_both(
        self, connection: Connection, series: Series, series_id: int, asked: Range, cut: _Cut
    ) -> pa.Table:
        """Return rows of the table and of files: of one snapshot, while rows move between them."""
        kind = series.kind
        ((snapshot,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
        warm = self._warm(kind, series_id, asked, cut, snapshot)
        segments = history.live(connection, series_id, asked)
        if cut.newest is not None:
            if warm.num_rows == cut.newest:
                oldest = int(times(warm)[0])
                segments = [one for one in segments if one.last_us >= oldest]
            segments = newest_of(segments, asked, cut.newest)
        cold = [
            plain(kind, cut.known(one))
            for one in history.read_all(connection, kind, segments, asked)
        ]
        table = sorted_together(kind, [*cold, warm]) if cold else warm
        return table if cut.newest is None else table.slice(max(table.num_rows - cut.newest, 0))

    def _warm(
        self, kind: Kind, series_id: int, asked: Range, cut: _Cut, snapshot: str | None = None
    ) -> pa.Table:
        query = _query(kind, series_id, asked, cut.as_of, cut.newest)
        table = plain(kind, self._database.arrow(query, snapshot=snapshot))
        if cut.newest is None:
            return table
        return table.take(pa.array(np.arange(table.num_rows)[::-1])).combine_chunks()

    def _with_old(
        self, kind: Kind, series_id: int, asked: Range, as_of: int, table: pa.Table
    ) -> pa.Table:
        """Return the rows with the values that were replaced since."""
        old = self._database.snapshot(
            lambda c: c.execute(
                "SELECT timestamp_us, key, old FROM corrections WHERE series_id = %s AND "
                "timestamp_us >= %s AND timestamp_us < %s AND known_us <= %s AND corrected_us > %s",
                (series_id, *asked, as_of, as_of),
            ).fetchall()
        )
        if not old:
            return table
        past = restored(kind, [row[:2] for row in old], [row[2] for row in old])
        both = pa.concat_tables([table, past]).combine_chunks()
        return arrange(kind, both, np.zeros(both.num_rows, dtype=np.int64))[0]


def _last(connection: Connection, members: Iterable[int]) -> list[tuple[int, int]]:
    """Return number and time of the last row of each series that has rows."""
    return connection.execute(
        "SELECT id, last_us FROM series WHERE id = ANY(%s::int[]) AND last_us IS NOT NULL",
        (rows.array(members),),
    ).fetchall()


def _latest_both(
    connection: Connection, kind: Kind, members: dict[int, Series]
) -> dict[Series, pa.Table]:
    """Return the newest row of each series, wherever it lies."""
    last = _last(connection, members)
    ids, ends = [key for key, _ in last], [at for _, at in last]
    found: dict[Series, pa.Table] = {}
    if not last:
        return found
    filed = connection.execute(
        "SELECT DISTINCT w.id FROM unnest(%s::int[], %s::bigint[]) AS w (id, at) JOIN segments g "
        "ON g.series_id = w.id AND g.last_us = w.at AND g.retired_us IS NULL",
        (rows.array(ids), rows.array(ends)),
    ).fetchall()
    in_files = {key for (key,) in filed}
    hot = [(key, at) for key, at in last if key not in in_files]
    if hot:
        newest, groups = rows.last_of(connection, TABLES[kind], hot)
        ordered = plain(kind, newest.drop_columns([KNOWN.name]))
        found |= {members[key]: ordered.slice(at, 1) for at, key in enumerate(groups)}
    for key, at in last:
        if key in in_files:
            one = rows.newest(connection, TABLES[kind], key, Range(at, at + 1), 1)
            found[members[key]] = plain(kind, one.drop_columns([KNOWN.name]))
    return found


def plain(kind: Kind, found: pa.Table) -> pa.Table:
    """Return what the server gave in the schema of `kind`."""
    return found.cast(SCHEMAS[kind]).combine_chunks()


def _query(kind: Kind, series_id: int, asked: Range, as_of: int | None, newest: int | None) -> str:
    table = TABLES[kind]
    known = "" if as_of is None else f" AND known_us <= {int(as_of)}"
    order = rows.names(table.keys)
    if newest is not None:
        order = ", ".join(f'"{name}" DESC' for name in table.keys) + f" LIMIT {int(newest)}"
    return (
        f"SELECT {rows.names(SCHEMAS[kind].names)} FROM {table.name} "
        f"WHERE series_id = {series_id} AND {rows.within(asked)}{known} ORDER BY {order}"
    )
