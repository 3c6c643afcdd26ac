"""The store in memory. Every other engine is tested against it."""

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument, check_keepable
from zvt_crypto.core.ledger import Coverage, clip, disjoint, revise, taken_back
from zvt_crypto.core.parcel import BLANK, Listing, Parcel, Seal, Unpacked
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement, Reconciled, check, json_of
from zvt_crypto.core.rows import arrange, conform, restored
from zvt_crypto.core.schema import CORRECTIONS, QUARANTINE, RECONCILIATIONS
from zvt_crypto.core.series import Series
from zvt_crypto.core.unpacking import checked, restated
from zvt_crypto.ports.lease import Lease
from zvt_crypto.ports.store import Batch, Committed, Fault, SeriesInfo, Verified
from zvt_crypto.ports.transfer import PARCEL_ROWS
from zvt_crypto.store.memory import transfer
from zvt_crypto.store.memory.held import Correction, Held, Key, Listed, order, rows_of

_ALWAYS = Range(-(1 << 62), 1 << 62)


class MemoryStore:
    """A `Store` that lives and dies with the process."""

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1_000) -> None:
        """Use `clock` for the time of a commit, in microseconds."""
        self._clock = clock
        self._now_us = 0
        self._held: dict[Series, Held] = {}
        self._listed: list[Listed] = []
        self._leases: dict[str, Lease] = {}

    @property
    def url(self) -> str:
        """Return `memory://`."""
        return "memory://"

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Make all batches visible together; see `Store.commit`."""
        groups: dict[Series, list[int]] = {}
        for index, batch in enumerate(batches):
            groups.setdefault(batch.series, []).append(index)
        tables = {
            series: _arranged(series, [batches[index].table for index in indices])
            for series, indices in groups.items()
        }
        for batch in batches:
            check(batch.series, batch.reconciled)
        now = self._tick()
        done = [Committed(0, 0, 0) for _ in batches]
        for series, indices in groups.items():
            group = [batches[index] for index in indices]
            done[indices[-1]] = self._commit(series, tables[series], group, now)
        return done

    def _commit(
        self, series: Series, table: pa.Table, group: Sequence[Batch], now: int
    ) -> Committed:
        held = self._held.setdefault(series, _nothing(series))
        inserted, corrected, unchanged = 0, 0, 0
        changed: list[int] = []
        for key, row in rows_of(series, table, now):
            old = held.rows.get(key)
            if old is not None and old.digest == row.digest:
                unchanged += 1
                continue
            if old is not None:
                corrected += 1
                held.corrections.append(Correction(key, old, row))
            else:
                inserted += 1
            held.rows[key] = row
            changed.append(key[0])
        news = [
            Coverage(found.start, found.end, found.verdict, batch.source, written_us=now)
            for batch in group
            for found in batch.findings
        ]
        held.ledger = revise(
            held.ledger,
            disjoint(news),
            touched=lambda part: any(part.holds(moment) for moment in changed),
            measure=held.measure,
            times=held.times,
            cell_end=series.cell_end,
            source=group[-1].source,
            now_us=now,
        )
        for batch in group:
            for one in batch.rejected:
                held.rejected.setdefault(one, now)
            for one in batch.reconciled:
                held.reconciled[one.timestamp] = (one, now)
        return Committed(inserted, corrected, unchanged)

    async def read(
        self, series: Series, asked: Range, *, as_of: int | None = None, last: int | None = None
    ) -> pa.Table:
        """Return rows; see `Store.read`."""
        held = self._held.get(series)
        rows: dict[Key, str] = {}
        if held is not None:
            for key in held.keys(asked):
                if as_of is None or held.rows[key].known_us <= as_of:
                    rows[key] = held.rows[key].payload
            for one in held.corrections if as_of is not None else []:
                known, until = one.old.known_us, one.new.known_us
                if asked.holds(one.key[0]) and as_of is not None and known <= as_of < until:
                    rows[one.key] = one.old.payload
        keys = sorted(rows)
        if last is not None:
            keys = keys[max(len(keys) - last, 0) :]
        return restored(series.kind, keys, [rows[key] for key in keys])

    async def latest(self, series: Sequence[Series]) -> list[pa.Table]:
        """Return the newest row of each series; see `Store.latest`."""
        return [await self.read(one, _ALWAYS, last=1) for one in series]

    async def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return the ledger, cut to `asked`."""
        held = self._held.get(series)
        if held is None:
            return []
        return list(held.ledger) if asked is None else clip(held.ledger, asked, held.measure)

    async def series(self) -> list[SeriesInfo]:
        """Return every series that has rows or ledger entries."""
        return [
            SeriesInfo(
                series,
                len(held.rows),
                min(held.rows)[0] if held.rows else None,
                max(held.rows)[0] if held.rows else None,
                sum(len(row.payload) for row in held.rows.values()),
            )
            for series, held in sorted(self._held.items(), key=lambda item: order(item[0]))
            if held.rows or held.ledger
        ]

    async def write_instruments(self, exchange: str, instruments: Sequence[Instrument]) -> int:
        """Record instruments as known from now; return how many changed."""
        check_keepable(instruments)
        now = self._tick()
        wanted = {one.symbol: one for one in instruments if one.exchange == exchange}
        current = {
            entry.instrument.symbol: entry
            for entry in self._listed
            if entry.valid_to is None and entry.instrument.exchange == exchange
        }
        changes = 0
        for symbol, entry in current.items():
            if wanted.get(symbol) != entry.instrument:
                entry.valid_to = now
                changes += 1
        for symbol, one in wanted.items():
            if symbol not in current or current[symbol].valid_to is not None:
                self._listed.append(Listed(one, now))
                changes += symbol not in current
        return changes

    async def instruments(
        self, exchange: str | None = None, *, as_of: int | None = None
    ) -> list[Instrument]:
        """Return the instruments valid at `as_of`, by exchange and symbol."""
        found = [
            entry.instrument
            for entry in self._listed
            if exchange in (None, entry.instrument.exchange)
            and (
                entry.valid_to is None
                if as_of is None
                else entry.valid_from <= as_of and (entry.valid_to or as_of + 1) > as_of
            )
        ]
        return sorted(found, key=lambda one: (one.exchange, one.symbol))

    async def quarantine(self, series: Series | None = None) -> pa.Table:
        """Return quarantined rows in the order they came."""
        rows = [
            (*_names(held.series), one.timestamp_us, one.reason, one.raw, written)
            for held in self._chosen(series)
            for one, written in held.rejected.items()
        ]
        return _table(sorted(rows, key=lambda row: row[-1]), QUARANTINE)

    async def corrections(self, series: Series | None = None) -> pa.Table:
        """Return replaced rows in the order they were replaced."""
        rows = [
            (
                *_names(held.series),
                one.key[0],
                None if one.key[1] is None else str(one.key[1]),
                one.old.payload,
                one.new.payload,
                one.new.known_us,
            )
            for held in self._chosen(series)
            for one in held.corrections
        ]
        return _table(sorted(rows, key=lambda row: row[-1]), CORRECTIONS)

    async def reconciliations(
        self, series: Series | None = None, asked: Range | None = None
    ) -> pa.Table:
        """Return the latest verdict on each bar, by series and time."""
        rows = [
            _verdict_row(*held.reconciled[at])
            for held in sorted(self._chosen(series), key=lambda held: order(held.series))
            for at in sorted(held.reconciled)
            if asked is None or asked.holds(at)
        ]
        return _table(rows, RECONCILIATIONS)

    async def verify(self, series: Sequence[Series] | None = None) -> Verified:
        """Measure every observed range again and compare."""
        ranges, rows = 0, 0
        faults: list[Fault] = []
        for held in self._held.values():
            if series is not None and held.series not in series:
                continue
            for entry in held.ledger:
                found = held.measure(entry.start, entry.end)
                ranges += 1
                rows += found[0]
                if found != (entry.rows, entry.digest) and entry.verdict == "observed":
                    faults.append(Fault(held.series, *entry.range, "rows or digest differ"))
        return Verified(ranges, rows, faults)

    async def discard(self, series: Series, asked: Range) -> Range:
        """Take back what is held in `asked`; return it."""
        held = self._held.get(series)
        if held is not None:
            for key in held.keys(asked):
                del held.rows[key]
            held.ledger = taken_back(held.ledger, asked, held.measure, self._tick())
        return asked

    async def keeping(self) -> list[Series]:
        """Return every series anything is kept of."""
        return sorted(self._held, key=order)

    async def seal(self, series: Series, asked: Range) -> Seal:
        """Return in short what is held of a stretch."""
        held = self._held.get(series)
        return BLANK if held is None else transfer.seal(held, asked)

    async def pack(self, series: Series, asked: Range, *, limit_rows: int = PARCEL_ROWS) -> Parcel:
        """Return all that is held of a stretch; see `Transferable.pack`."""
        return transfer.pack(self._held.get(series) or _nothing(series), asked, limit_rows)

    async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
        """Enter a parcel; see `Transferable.unpack`."""
        parcel = checked(parcel)
        held = self._held.get(parcel.series) or _nothing(parcel.series)
        done = transfer.unpack(held, parcel, replace=replace)
        if not done.is_nothing:
            self._held[parcel.series] = held
        self._now_us = max(self._now_us, parcel.newest_us)
        return done

    async def restate(self, series: Series, asked: Range, ledger: Sequence[Coverage]) -> bool:
        """Take over when the ledger was written; see `Transferable.restate`."""
        held = self._held.get(series) or _nothing(series)
        after = restated(held.ledger, series, asked, ledger, held.measure)
        if after is not None:
            held.ledger = after
            self._now_us = max([self._now_us, *(entry.written_us for entry in ledger)])
        return after is not None

    async def pack_instruments(self, exchanges: Sequence[str] | None = None) -> list[Listing]:
        """Return all versions of instruments."""
        return [
            transfer.listing_of(one)
            for one in self._listed
            if exchanges is None or one.instrument.exchange in exchanges
        ]

    async def unpack_instruments(self, listings: Sequence[Listing]) -> int:
        """Enter versions of instruments; see `Transferable.unpack_instruments`."""
        newest = [max(one.valid_from, one.valid_to or 0) for one in listings]
        self._now_us = max([self._now_us, *newest])
        return transfer.enter_listings(self._listed, listings)

    async def vacuum(self, *, older_than_s: float = 86_400.0) -> int:
        """Return 0: nothing here outlives its use."""
        del older_than_s
        return 0

    async def acquire(
        self, names: Sequence[str], holder: str, for_s: float, note: str = ""
    ) -> set[str]:
        """Take leases; see `Leases.acquire`."""
        now = self._expire()
        got = {
            name
            for name in names
            if name not in self._leases or self._leases[name].holder == holder
        }
        for name in got:
            self._leases[name] = Lease(name, holder, now + round(for_s * 1e6), for_s, note)
        return got

    async def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        """Prolong leases; see `Leases.renew`."""
        now = self._expire()
        mine = self._mine(names, holder)
        for name in mine:
            self._leases[name] = msgspec.structs.replace(
                self._leases[name], expires_us=now + round(for_s * 1e6)
            )
        return mine

    async def release(self, names: Sequence[str], holder: str) -> None:
        """Give leases up; see `Leases.release`."""
        for name in self._mine(names, holder):
            del self._leases[name]

    async def held(self, prefix: str = "") -> list[Lease]:
        """Return leases; see `Leases.held`."""
        now = self._expire()
        return [
            msgspec.structs.replace(lease, left_s=(lease.expires_us - now) / 1e6)
            for name, lease in sorted(self._leases.items())
            if name.startswith(prefix)
        ]

    async def close(self) -> None:
        """Do nothing."""

    def _expire(self) -> int:
        now = self._clock()
        self._leases = {n: one for n, one in self._leases.items() if one.expires_us > now}
        return now

    def _mine(self, names: Sequence[str], holder: str) -> set[str]:
        held = self._leases
        return {name for name in names if name in held and held[name].holder == holder}

    def _tick(self) -> int:
        # Strictly later than every commit before, whatever the clock does.
        self._now_us = max(self._clock(), self._now_us + 1)
        return self._now_us

    def _chosen(self, series: Series | None) -> Iterator[Held]:
        return (held for held in self._held.values() if series in (None, held.series))


def _arranged(series: Series, tables: Sequence[pa.Table]) -> pa.Table:
    table = conform(series.kind, tables)
    return arrange(series.kind, table, np.zeros(table.num_rows, dtype=np.int64))[0]


def _nothing(series: Series) -> Held:
    return Held(series, {}, [], [], {}, {})


def _names(series: Series) -> tuple[str, str, str, str | None]:
    return series.exchange, series.symbol, series.kind, series.interval


def _verdict_row(one: Reconciled, written: int) -> tuple[object, ...]:
    exchange, symbol, _, interval = _names(one.series)
    named = (exchange, symbol, interval, one.timestamp, one.verdict.value)
    if one.verdict is Agreement.MATCH:
        return (*named, None, None, None, one.source.value, written)
    sides = (json_of(one.built), json_of(one.venue))
    return (*named, ",".join(one.differs) or None, *sides, one.source.value, written)


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(column, pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)
