"""Reads: a snapshot of the catalog says where rows are, the files are read after it is closed."""

import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.digest import EMPTY_DIGEST
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage, clip
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import arrange, pc, restored, sorted_together, times
from zvt_crypto.core.schema import CORRECTIONS, KNOWN, QUARANTINE, RECONCILIATIONS, SCHEMAS
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import SeriesInfo
from zvt_crypto.store.intake.fields import series_key, table_of, to_series
from zvt_crypto.store.lake import agreement, coverage, hot
from zvt_crypto.store.lake.catalog import Catalog, find_series
from zvt_crypto.store.lake.chunk import unpack_many
from zvt_crypto.store.lake.holding import Holding, live_segments, newest_segments
from zvt_crypto.store.segments.publish import Member
from zvt_crypto.store.segments.retry import retried
from zvt_crypto.store.segments.segment import Segment, SegmentFiles, newest_of

# What a hot row takes in the catalog, roughly.
_HOT_BYTES: Final = 90


class Reader:
    """Answers questions from the catalog and the segments."""

    def __init__(self, catalog: Catalog, files: SegmentFiles) -> None:
        """Read from `catalog` and `files`."""
        self._catalog = catalog
        self._files = files

    def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        """Return rows; see `Store.read`."""
        return retried(series, lambda: self._read(series, asked, as_of, last))

    def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return the newest row of each series; see `Store.latest`."""
        kinds: dict[Kind, list[Series]] = {}
        for one in series:
            kinds.setdefault(one.kind, []).append(one)
        found: dict[Series, pa.Table] = {}
        for kind, members in kinds.items():
            found |= retried(kind, partial(self._latest, kind, members))
        nothing = {kind: SCHEMAS[kind].empty_table() for kind in kinds}
        return [found.get(one, nothing[one.kind]) for one in series]

    def batches(self, series: Series, asked: Range) -> Iterator[pa.RecordBatch]:
        """Yield the rows in `asked` in order, one segment's worth in memory at a time."""
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            segments = live_segments(connection, series_id or 0, asked)
        start = asked.start
        for segment in segments:
            # One read each: rows that turned from hot to cold meanwhile are found where they are.
            part = Range(start, min(max(segment.last_us + 1, start), asked.end))
            yield from self.read(series, part).to_batches()
            start = part.end
        yield from self.read(series, Range(start, asked.end)).to_batches()

    def coverage(self, series: Series, asked: Range | None) -> list[Coverage]:
        """Return the ledger, cut to `asked`."""

        def once() -> list[Coverage]:
            with self._catalog.snapshot() as connection:
                series_id = find_series(connection, series)
                if series_id is None:
                    return []
                ledger = coverage.load(connection, series_id, asked)
                if asked is None:
                    return ledger
                holding = Holding(connection, self._files, series, series_id, asked)
                return clip(ledger, asked, holding.measure)

        return retried(series, once)

    def hot_rows(self) -> int:
        """Return how many rows are in the catalog and not in segments yet."""
        with self._catalog.snapshot() as connection:
            (count,) = connection.execute(
                "SELECT COALESCE(SUM(hot_rows), 0) FROM series"
            ).fetchone()
        return count

    def members(self) -> list[Member]:
        """Return every live segment with its series, by path."""
        with self._catalog.snapshot() as connection:
            rows = connection.execute(
                "SELECT s.exchange, s.symbol, s.kind, s.interval, g.first_us, g.last_us, g.rows, "
                "g.bytes, g.path FROM segments g JOIN series s ON s.id = g.series_id "
                "WHERE g.retired_us IS NULL ORDER BY g.path"
            ).fetchall()
        return [
            Member(
                to_series(row[:4]),
                Segment(row[4], row[5], row[6], digest=EMPTY_DIGEST, bytes=row[7], path=row[8]),
            )
            for row in rows
        ]

    def series(self) -> list[SeriesInfo]:
        """Return every series that has rows or ledger entries."""
        with self._catalog.snapshot() as connection:
            rows = connection.execute(
                "SELECT s.exchange, s.symbol, s.kind, s.interval, s.rows, s.first_us, s.last_us, "
                "COALESCE((SELECT SUM(bytes) FROM segments g WHERE g.series_id = s.id "
                "AND g.retired_us IS NULL), 0) + s.hot_rows * ? FROM series s "
                "WHERE s.rows > 0 OR EXISTS (SELECT 1 FROM coverage c WHERE c.series_id = s.id) "
                "ORDER BY 1, 2, 3, 4",
                (_HOT_BYTES,),
            ).fetchall()
        return [SeriesInfo(to_series(row[:4]), *row[4:]) for row in rows]

    def instruments(self, exchange: str | None, as_of: int | None) -> list[Instrument]:
        """Return the instruments valid at `as_of`, by exchange and symbol."""
        valid = "valid_to IS NULL"
        if as_of is not None:
            valid = "valid_from <= :at AND COALESCE(valid_to, :at + 1) > :at"
        with self._catalog.snapshot() as connection:
            rows = connection.execute(
                f"SELECT payload FROM instruments WHERE {valid} "  # noqa: S608
                "AND exchange = COALESCE(:exchange, exchange) ORDER BY exchange, symbol",
                {"at": as_of, "exchange": exchange},
            ).fetchall()
        return [msgspec.json.decode(payload, type=Instrument) for (payload,) in rows]

    def quarantine(self, series: Series | None) -> pa.Table:
        """Return quarantined rows in the order they came."""
        return self._listed(
            "SELECT s.exchange, s.symbol, s.kind, NULLIF(s.interval, ''), q.timestamp, q.reason, "
            "q.raw, q.written_us FROM quarantine q JOIN series s ON s.id = q.series_id ",
            "q.written_us, q.id",
            series,
            QUARANTINE,
        )

    def corrections(self, series: Series | None) -> pa.Table:
        """Return replaced rows in the order they were replaced."""
        return self._listed(
            "SELECT s.exchange, s.symbol, s.kind, NULLIF(s.interval, ''), q.timestamp, q.key, "
            "q.old, q.new, q.corrected_us FROM corrections q JOIN series s ON s.id = q.series_id ",
            "q.corrected_us, q.id",
            series,
            CORRECTIONS,
        )

    def reconciliations(self, series: Series | None, asked: Range | None) -> pa.Table:
        """Return the latest verdict on each bar, by series and time."""
        with self._catalog.snapshot() as connection:
            numbered = connection.execute(
                "SELECT id, exchange, symbol, kind, interval FROM series "
                "WHERE kind = ? ORDER BY exchange, symbol, interval",
                (Kind.CANDLES.value,),
            ).fetchall()
            rows = [
                (one.exchange, one.symbol, one.interval.value, *row)
                for number, *names in numbered
                for one in [to_series(names)]
                if series in (None, one) and one.interval is not None
                for row in agreement.rows(connection, number, one.interval, asked)
            ]
        return table_of(rows, RECONCILIATIONS)

    def _listed(self, query: str, order: str, series: Series | None, schema: pa.Schema) -> pa.Table:
        with self._catalog.snapshot() as connection:
            chosen: tuple[object, ...] = ()
            if series is not None:
                query += "WHERE s.id = ? "
                chosen = (find_series(connection, series) or 0,)
            rows = connection.execute(f"{query}ORDER BY {order}", chosen).fetchall()
        return table_of(rows, schema)

    def _read(self, series: Series, asked: Range, as_of: int | None, last: int | None) -> pa.Table:
        kind = series.kind
        with self._catalog.snapshot() as connection:
            series_id = find_series(connection, series)
            if series_id is None or asked.is_empty:
                return SCHEMAS[kind].empty_table()
            segments = live_segments(connection, series_id, asked)
            newest = last if as_of is None else None
            warm = hot.select(connection, kind, series_id, *asked)
            old = [] if as_of is None else _old_values(connection, series_id, asked, as_of)
        if newest is not None:
            segments = newest_of(segments, asked, newest)
        tables = [
            self._files.read(kind, segment, asked, with_known=as_of is not None)
            for segment in segments
        ]
        table = self._joined(kind, [*tables, warm], as_of, old)
        if last is not None:
            table = table.slice(max(table.num_rows - last, 0))
        return table

    def _latest(self, kind: Kind, series: Sequence[Series]) -> dict[Series, pa.Table]:
        """Return the newest row of each series of one kind that has rows."""
        with self._catalog.snapshot() as connection:
            numbered = _last_moments(connection, series)
            if not numbered:
                return {}
            ends = dict(numbered.values())
            chunks = hot.newest(connection, kind, ends)
            segments = newest_segments(connection, ends)
        table, group = unpack_many(kind, chunks)
        tables, groups = [table.select(SCHEMAS[kind].names)], [group]
        for series_id, segment in segments.items():
            last = ends[series_id]
            if segment.last_us == last:
                cold = self._files.read(kind, segment, Range(last, last + 1), with_known=False)
                # The files say that a column may be null where the schema says that it is not.
                tables.append(cold.cast(SCHEMAS[kind]))
                groups.append(np.full(cold.num_rows, series_id, dtype=np.int64))
        table, group = arrange(
            kind, pa.concat_tables(tables).combine_chunks(), np.concatenate(groups)
        )
        at = np.flatnonzero(np.diff(group, append=-1)).tolist()
        rows = dict(zip(group[at].tolist(), at, strict=True))
        return {one: table.slice(rows[key], 1) for one, (key, _) in numbered.items() if key in rows}

    def _joined(
        self,
        kind: Kind,
        tables: Sequence[pa.Table],
        as_of: int | None,
        old: Sequence[tuple[int, str | None, str]],
    ) -> pa.Table:
        names = SCHEMAS[kind].names
        if as_of is not None:
            tables = [
                table.filter(pc.less_equal(table.column(KNOWN.name), as_of)) for table in tables
            ]
        plain = [table.select(names) for table in tables if table.num_rows]
        if old:
            keys = [(moment, key) for moment, key, _ in old]
            past = restored(kind, keys, [payload for _, _, payload in old])
            plain.append(arrange(kind, past, np.zeros(past.num_rows, dtype=np.int64))[0])
        if not plain:
            return SCHEMAS[kind].empty_table()
        # The files say that a column may be null where the schema says that it is not.
        alike = [table.cast(SCHEMAS[kind]) for table in plain]
        if not _is_ascending(alike):
            return sorted_together(kind, alike)
        return pa.concat_tables(alike)


def _last_moments(
    connection: sqlite3.Connection, series: Sequence[Series]
) -> dict[Series, tuple[int, int]]:
    """Return number and time of the last row of each series that has rows."""
    rows = connection.execute(
        "SELECT e.key, s.id, s.last_us FROM json_each(?) e CROSS JOIN series s "
        "ON s.exchange = json_extract(e.value, '$[0]') "
        "AND s.symbol = json_extract(e.value, '$[1]') "
        "AND s.kind = json_extract(e.value, '$[2]') "
        "AND s.interval = json_extract(e.value, '$[3]') WHERE s.last_us IS NOT NULL",
        (json.dumps([series_key(one) for one in series]),),
    )
    return {series[at]: (series_id, last_us) for at, series_id, last_us in rows}


def _is_ascending(tables: Sequence[pa.Table]) -> bool:
    """Return whether each table begins after the one before has ended."""
    bounds = [(times(t.slice(0, 1))[0], times(t.slice(t.num_rows - 1))[0]) for t in tables]
    return all(before[1] < after[0] for before, after in itertools.pairwise(bounds))


def _old_values(
    connection: sqlite3.Connection, series_id: int, asked: Range, as_of: int
) -> list[tuple[int, str | None, str]]:
    return connection.execute(
        "SELECT timestamp, key, old FROM corrections WHERE series_id = ? "
        "AND timestamp >= ? AND timestamp < ? AND known_us <= ? AND corrected_us > ?",
        (series_id, *asked, as_of, as_of),
    ).fetchall()
