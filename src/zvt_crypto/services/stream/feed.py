"""A feed: one series on its way from the sockets to the store and to the handlers.

A feed takes records, follows their continuity, and keeps two accounts: rows that still have to be
stored, and what may be claimed in the ledger once they are. Claims are in the exchange's time and
end before the newest row: another of the same moment may still come.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import (
    ControlRecord,
    Disconnected,
    Funding,
    Gap,
    GapRepaired,
    GapUnrecoverable,
)
from zvt_crypto.core.rows import times
from zvt_crypto.core.schema import SCHEMAS, empty_table
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.tabulate import to_table
from zvt_crypto.core.validation import Rejected
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.health import Health

_FUNDING_US: Final = 300 * US_PER_S
# Rows are made columns in pieces of so many: under a millisecond each.
_PIECE: Final = 2_000


class Place(NamedTuple):
    """Where a series comes from: the kind of socket, and the topic on it."""

    route: str
    topic: str


POLLED: Final = Place("", "")
"""The place of series that no socket carries: they are loaded as they close."""


class Hub(Protocol):
    """What a feed needs of the service around it."""

    config: StreamConfig

    def now_us(self) -> int:
        """Return our clock."""
        ...

    def mend(self, feed: "Feed", gap: "OpenGap") -> None:
        """Begin to repair a gap; the feed's `mended` is called with what came of it."""
        ...


class OpenGap(msgspec.Struct):
    """A gap under repair; `[start, end)` is in the exchange's time."""

    start: int
    end: int
    reason: str
    opened_us: int
    first_id: int | None = None
    """The first trade that did not come, where trades are counted."""
    last_id: int | None = None
    """The last, where it is known yet."""
    tries: int = 0
    is_late: bool = False
    """Whether the records after it have gone on without it."""
    is_refuted: bool = False
    """Whether what the store holds of it is wrong: it is taken out, and loaded anew."""

    @property
    def range(self) -> Range:
        """Return the bounds."""
        return Range(self.start, self.end)


@dataclass(slots=True)
class Counters:
    """What happened to a feed; plain numbers, read at any time."""

    messages: int = 0
    repeated: int = 0
    reordered: int = 0
    refused: int = 0
    gaps: int = 0
    repaired: int = 0
    unrecoverable: int = 0
    repaired_rows: int = 0
    dropped_rows: int = 0
    stale: int = 0
    resets: int = 0


COUNTED: Final = tuple(field.name for field in fields(Counters))
"""Names of the counters."""


class Feed:
    """Base of all feeds: rows, claims, outlets; takes records as they come."""

    def __init__(self, series: Series, instrument: Instrument, place: Place, hub: Hub) -> None:
        self.series = series
        self.instrument = instrument
        self.place = place
        self.hub = hub
        self.health = Health(hub.config)
        self.counters = Counters()
        self.outlets: list[Callable[[Any], None]] = []
        self.is_stored = series.kind in SCHEMAS
        self.last: Any = None
        self._gap: OpenGap | None = None
        self.whole = asyncio.Event()
        """Set while no gap is open."""
        self.whole.set()
        self._rows: list[Any] = []
        self._pieces: list[pa.Table] = []
        self._piece_rows = 0
        self._findings: list[Finding] = []
        self._rejected: list[Rejected] = []
        self.claimed_us: int | None = None
        """End of what the ledger will say is held; None before the first row."""

    @property
    def gap(self) -> OpenGap | None:
        """The gap under repair that later records wait for."""
        return self._gap

    @gap.setter
    def gap(self, gap: OpenGap | None) -> None:
        self._gap = gap
        if gap is None:
            self.whole.set()
        else:
            self.whole.clear()

    @property
    def open_gaps(self) -> int:
        """Number of gaps under repair, those left behind included."""
        return int(self._gap is not None)

    # -- records --------------------------------------------------------------------------------

    def take(self, record: Any, /) -> None:
        """Take one record from a socket."""
        self._release(record)

    def _release(self, record: Any, *, stored: bool = False) -> None:
        """Give a record to the handlers, and to the store if it is not there yet."""
        self.counters.messages += 1
        self.last = record
        if self.is_stored and not stored:
            rows = self._rows
            rows.append(record)
            if len(rows) >= _PIECE:
                self._seal()
        for put in self.outlets:
            put(record)

    def announce(self, record: ControlRecord) -> None:
        """Give a control record to the handlers, in order with the data."""
        for put in self.outlets:
            put(record)

    # -- connections ----------------------------------------------------------------------------

    def connected(self, now_us: int) -> None:
        """Take note that the exchange was asked to send."""
        self.health.begin(now_us)

    def disconnected(self, detail: str) -> None:
        """Take note that what comes next may not follow what came."""
        self.announce(Disconnected(self.series, self.hub.now_us(), detail))

    def tick(self, now_us: int) -> None:
        """Do what is due; called several times a second."""

    # -- the ledger -----------------------------------------------------------------------------

    @property
    def pending_rows(self) -> int:
        """Rows that are not in the store yet."""
        return self._piece_rows + len(self._rows)

    def claim_to(self, moment: int) -> None:
        """Claim all time from the last claim up to `moment`."""
        if self.claimed_us is None:
            self.claimed_us = moment
        elif moment > self.claimed_us:
            self._findings.append(Finding(self.claimed_us, moment, Verdict.OBSERVED))
            self.claimed_us = moment

    def note(self, start: int, end: int, verdict: Verdict) -> None:
        """Enter a verdict of ours; claims go on behind it."""
        if end > start:
            self._findings.append(Finding(start, end, verdict))
        self.claimed_us = max(end, self.claimed_us or 0)

    def settle(self) -> None:
        """Claim what is certain now; called before every commit."""
        if self.last is not None and self.gap is None:
            self.claim_to(self.last.ts_event)

    def drain(self) -> Batch | None:
        """Return what is to be committed, None if there is nothing; the feed forgets it.

        The findings stay in the order they were made: a later one wins.
        """
        self.settle()
        if self._rows:
            self._seal()
        if not (self._pieces or self._findings or self._rejected):
            return None
        table = pa.concat_tables(self._pieces) if self._pieces else empty_table(self.series.kind)
        batch = Batch(
            series=self.series,
            table=table,
            findings=self._findings,
            source=Source.LIVE,
            rejected=self._rejected,
        )
        self._pieces, self._piece_rows = [], 0
        self._findings, self._rejected = [], []
        return batch

    def put_back(self, batch: Batch) -> None:
        """Take back what could not be committed, to be tried again with what came since."""
        self._pieces.insert(0, batch.table)
        self._piece_rows += batch.table.num_rows
        self._findings[:0] = batch.findings
        self._rejected[:0] = batch.rejected

    def refuse(self, rejected: Rejected) -> None:
        """Keep a refused row for the quarantine."""
        self.counters.refused += 1
        if self.is_stored:
            self._rejected.append(rejected)

    def drop_pending(self) -> None:
        """Give up rows the store did not take in time; the ledger will owe their time."""
        starts = [finding.start for finding in self._findings]
        end = self.last.ts_event + 1 if self.last is not None else None
        self.counters.dropped_rows += self.pending_rows
        self._rows, self._pieces, self._piece_rows = [], [], 0
        self._findings = []
        if end is not None and self.claimed_us is not None:
            start = min([*starts, self.claimed_us])
            self.claimed_us = end
            self.counters.gaps += 1
            self._give_up(
                OpenGap(
                    start=start,
                    end=end,
                    reason="overflow",
                    opened_us=self.hub.now_us(),
                    is_late=True,
                )
            )

    def _give_up(self, gap: OpenGap) -> None:
        """Announce what was dropped, and have it loaded again; consumers have seen its rows."""
        self._findings.append(Finding(gap.start, gap.end, Verdict.MISSING))
        self.announce(Gap(self.series, gap.start, gap.end, gap.opened_us, gap.reason))
        self.hub.mend(self, gap)

    def refilled(self, gap: OpenGap, rows: int, *, is_whole: bool, detail: str) -> None:
        """Take note that dropped rows are in the store after all, or will not be."""
        self._close_gap(gap, rows, is_whole=is_whole, detail=detail)

    def _seal(self) -> None:
        self._pieces.append(to_table(self.series.kind, self._rows))
        self._piece_rows += len(self._rows)
        self._rows = []

    # -- gaps -----------------------------------------------------------------------------------

    def mended(self, gap: OpenGap, rows: pa.Table, *, is_whole: bool, detail: str) -> None:
        """Take what the repair of `gap` brought; see `repair.py`."""
        raise NotImplementedError(f"{self.series.kind} is not repaired")

    def _close_gap(self, gap: OpenGap, rows: int, *, is_whole: bool, detail: str) -> None:
        now_us = self.hub.now_us()
        if is_whole:
            self.counters.repaired += 1
            self.counters.repaired_rows += rows
            self.announce(GapRepaired(self.series, gap.start, gap.end, now_us, rows))
        else:
            self.counters.unrecoverable += 1
            self.announce(GapUnrecoverable(self.series, gap.start, gap.end, now_us, detail))


class ReadingFeed(Feed):
    """Quotes, marks, open interest, liquidations: what was not seen is lost for good.

    No exchange has their history at this grain, so a break is entered as `unrecoverable` at once.
    """

    def __init__(self, series: Series, instrument: Instrument, place: Place, hub: Hub) -> None:
        super().__init__(series, instrument, place, hub)
        self._is_broken = False

    def take(self, record: Any) -> None:
        """Take a reading; the first after a break shows how long the break was."""
        if self._is_broken:
            self._resume(record)
        if record.ts_recv >= self.health.next_us:
            self.health.saw(record.ts_recv)
        last = self.last
        if last is not None and record.ts_event < last.ts_event:
            # Two sockets of a rotation, or a cache: the newest stays the newest.
            self.counters.repeated += 1
            return
        self._release(record)

    def disconnected(self, detail: str) -> None:
        """Remember that time passes unseen."""
        super().disconnected(detail)
        self._is_broken = self.last is not None

    def _resume(self, record: Any) -> None:
        self._is_broken = False
        start, end = self.last.ts_event + 1, record.ts_event
        if end <= start:
            return
        self.counters.gaps += 1
        if self.is_stored:
            self.claim_to(start)
            self.claimed_us = end
        self._give_up(OpenGap(start=start, end=end, reason="disconnect", opened_us=record.ts_recv))

    def _give_up(self, gap: OpenGap) -> None:
        """Say that it is lost: nobody has it."""
        if self.is_stored:
            self._findings.append(Finding(gap.start, gap.end, Verdict.UNRECOVERABLE))
        self.announce(Gap(self.series, gap.start, gap.end, gap.opened_us, gap.reason))
        detail = f"no exchange keeps the history of {self.series.kind}"
        self._close_gap(gap, 0, is_whole=False, detail=detail)


class FundingFeed(Feed):
    """Funding: what the exchange foresees is passed on, what it settled is loaded over REST."""

    def __init__(self, series: Series, instrument: Instrument, place: Place, hub: Hub) -> None:
        super().__init__(series, instrument, place, hub)
        self.is_stored = False
        self._due_us = 0

    def resume_at(self, end: int) -> None:
        """Go on where a store ended."""
        self.claimed_us = end

    def take(self, record: Any) -> None:
        """Pass a forecast on."""
        self.health.saw(record.ts_recv)
        self._release(record)

    def settle(self) -> None:
        """Forecasts claim nothing."""

    def tick(self, now_us: int) -> None:
        """Load what was settled since, every few minutes."""
        if self._due_us == 0:
            self._due_us = now_us + _FUNDING_US
            if self.claimed_us is None:
                self.claimed_us = now_us
        elif now_us >= self._due_us and self.gap is None:
            self._due_us = now_us + _FUNDING_US
            start = self.claimed_us or now_us
            self.gap = OpenGap(start=start, end=now_us, reason="unpushed", opened_us=now_us)
            self.note(start, now_us, Verdict.MISSING)
            self.hub.mend(self, self.gap)

    def mended(self, gap: OpenGap, rows: pa.Table, *, is_whole: bool, detail: str) -> None:
        """Pass the settled rates on."""
        self.gap = None
        now_us = self.hub.now_us()
        columns = [rows.column(name).to_pylist() for name in ("funding_rate", "interval_hours")]
        for at, rate, hours in zip(times(rows).tolist(), *columns, strict=True):
            record = Funding(
                self.series.exchange,
                self.series.symbol,
                at,
                now_us,
                funding_rate=rate,
                funding_time=at,
                interval_hours=hours,
            )
            self._release(record)
        if not is_whole:
            self._close_gap(gap, rows.num_rows, is_whole=False, detail=detail)


class PassingFeed(Feed):
    """What is shown and not stored: announcements, running bars of a width nobody keeps."""

    def take(self, record: Any) -> None:
        """Pass it on."""
        self.health.saw(record.ts_recv)
        self._release(record)


STORED_READINGS: Final = frozenset(
    (Kind.QUOTES, Kind.MARK_PRICE, Kind.OPEN_INTEREST, Kind.LIQUIDATIONS)
)
