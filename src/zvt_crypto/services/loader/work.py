"""Load one series: archives first, then REST, chunk by chunk, each made durable with its proof."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from zvt_crypto.core.errors import (
    ArchiveAbsent,
    CryptoError,
    DataError,
    MalformedPayload,
    NetworkFault,
    ServerFault,
)
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ledger import Coverage, Source, Verdict, owed, unknown
from zvt_crypto.core.ranges import Range, intersect, subtract, total, union
from zvt_crypto.core.schema import empty_table
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.validation import Rejected
from zvt_crypto.ports.connector import ArchiveFile, Connector, Fetched
from zvt_crypto.ports.store import Batch, Finding, Store
from zvt_crypto.services.loader.bounded import run_bounded
from zvt_crypto.services.loader.commit import Committer
from zvt_crypto.services.loader.findings import clipped, findings_of, joined, overlaid
from zvt_crypto.services.loader.plan import choose_archives
from zvt_crypto.services.loader.prove import Proven, prove
from zvt_crypto.services.loader.report import LoaderConfig, SeriesProgress, SeriesReport
from zvt_crypto.services.loader.seams import Seam, Seams
from zvt_crypto.services.loader.sharing import Desk, LeaseLost, Unit, units_of
from zvt_crypto.services.loader.strategy import Answer, Strategy, cut

log = logging.getLogger(__name__)

# An archive file that is absent this long after its day will not come any more.
_ARCHIVE_DUE_US = 10 * US_PER_DAY
# How far beside a range trades are looked for, to see whether ids join on; an hour without any is
# asked for twice.
_EDGE_US = (US_PER_MINUTE, US_PER_HOUR, US_PER_HOUR)
# What may lie between two trades whose ids have to join.
_SETTLED = (Verdict.OBSERVED, Verdict.EMPTY)
# Answers to one question before an exchange that changes its mind is given up.
_MOST_ANSWERS = 6
# Chunks of a series under way: while one is proven and committed, the next is being fetched.
_CHUNKS_AT_ONCE = 2
# And units: the first pages of the next are fetched while the last of one are proven.
_UNITS_AT_ONCE = 2

Check = Callable[[], None]
"""Raises `LeaseLost` once what is worked on is another worker's."""


def _alone() -> None:
    pass


@dataclass(slots=True)
class SeriesWork:
    """Everything about loading one series over one range.

    `slots` bounds the requests in flight for the exchange. Commits of one series are serial. With a
    `desk` the work is shared with other processes, a unit at a time.
    """

    store: Store
    strategy: Strategy
    series: Series
    asked: Range
    source: Source
    config: LoaderConfig
    slots: asyncio.Semaphore
    progress: SeriesProgress
    report: SeriesReport
    now_us: int
    refetch: bool = False
    desk: Desk | None = None
    _is_begun: bool = False
    _knows_start: bool = False
    _starts: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stopped: CryptoError | None = None
    _tried: set[str] = field(default_factory=set[str])
    _seams: Seams = field(default_factory=Seams)
    _beside: list[pa.Table] = field(default_factory=list[pa.Table])
    _errors: list[CryptoError] = field(default_factory=list[CryptoError])
    _refused: list[tuple[Range, CryptoError]] = field(
        default_factory=list[tuple[Range, CryptoError]]
    )
    _joins: asyncio.Lock = field(default_factory=asyncio.Lock)
    _committer: Committer = field(init=False)
    _chunks_at_once: asyncio.Semaphore = field(init=False)
    _files_at_once: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._committer = Committer(self.store)
        self._chunks_at_once = asyncio.Semaphore(_CHUNKS_AT_ONCE)
        self._files_at_once = asyncio.Semaphore(self.config.archives_at_once)

    @property
    def _connector(self) -> Connector:
        return self.strategy.connector

    async def run(self) -> set[str]:
        """Settle what is owed; on an error what is left stays `missing` in the ledger.

        Returns:
            The units that other workers are at: once one of them is free, run again. None are left
            when all is settled, or was tried here.
        """
        ledger = await self.store.coverage(self.series, self.asked)
        todo = [self.asked] if self.refetch else owed([self.asked], ledger)
        if not self._is_begun:
            self.progress.total_us = total(todo)
            news = [Finding(r.start, r.end, Verdict.MISSING) for r in unknown(self.asked, ledger)]
            if todo and news:
                await self._commit(empty_table(self.series.kind), news, ())
            self._is_begun = True
        # What other workers settled is done too.
        self.progress.done_us = self.progress.total_us - total(todo)
        busy: set[str] = set()
        if self.desk is None:
            await self._settle_all(await self._before_listing(todo, ledger), _alone)
        else:
            jobs = (self._unit(self.desk, unit, busy) for unit in units_of(self.series, todo))
            await run_bounded(jobs, _UNITS_AT_ONCE)
        if not busy and (errors := [*self._errors, *(e for _, e in self._refused)]):
            raise errors[0]
        return busy

    async def _unit(self, desk: Desk, unit: Unit, busy: set[str]) -> None:
        """Load a unit if nobody else is at it; each once, what stays missing then is not asked."""
        if unit.name in self._tried:
            return
        if not await desk.take(unit):
            busy.add(unit.name)
            return

        def check() -> None:
            desk.check(unit)
            if self._stopped is not None:  # an exchange that does not answer is not insisted on
                raise self._stopped

        try:
            await self._settle_all(await self._left_of(unit), check)
            self._tried.add(unit.name)
        except LeaseLost:
            busy.add(unit.name)
        except CryptoError as e:
            self._stopped = self._stopped or e
            raise
        finally:
            await desk.give(unit)

    async def _left_of(self, unit: Unit) -> list[Range]:
        """Return what is owed of a unit now that it is ours: another may have been at it before."""
        async with self._starts:
            ledger = await self.store.coverage(self.series, self.asked)
            todo = owed(unit.parts, ledger)
            if todo and not self._knows_start:
                await self._before_listing(owed([self.asked], ledger), ledger)
                self._knows_start = True
                todo = owed(unit.parts, await self.store.coverage(self.series, self.asked))
        return todo

    async def _settle_all(self, todo: list[Range], check: Check) -> None:
        """Take `todo` through all stages."""
        if not todo:
            return
        todo = await self._from_archives(todo, check)
        todo = await self._out_of_reach(todo)
        await self._look_past_edges(todo)
        await self._from_rest(todo, check)

    # -- stages ---------------------------------------------------------------------------------

    async def _before_listing(self, todo: list[Range], ledger: Sequence[Coverage]) -> list[Range]:
        """Settle the time before the first candle ever, without paging through it."""
        if not todo or any(entry.rows and entry.start < todo[0].start for entry in ledger):
            return todo
        interval = self.strategy.interval or Interval.D1
        head = todo[0]
        pages = self.strategy.windows(head) if self.series.kind is Kind.CANDLES else []
        is_long = len(pages) > 2 or (  # noqa: PLR2004 - two pages cost no more than the question
            self.series.kind is not Kind.CANDLES and head.end - head.start > 2 * US_PER_DAY
        )
        if not is_long:
            return todo
        first = await self._first_candle(interval)
        if first is None or first <= head.start:
            return todo
        cut_at = min(first, head.end)
        await self._settle(Range(head.start, cut_at), Verdict.EMPTY)
        return subtract(todo, [Range(head.start, cut_at)])

    async def _first_candle(self, interval: Interval) -> int | None:
        """Ask twice and believe the earlier answer: one may come from a page cut short."""
        answers: list[int] = []
        for _ in range(2):
            self.progress.state = "looking for the first candle"
            async with self.slots:
                first = await self._connector.first_candle(self.strategy.instrument, interval)
            self._count(1, 0)
            if first is None:
                return None
            answers.append(first)
        return min(answers)

    async def _from_archives(self, todo: list[Range], check: Check) -> list[Range]:
        """Load what bulk files answer for; return what is left."""
        if self.config.archive == "never" or not todo:
            return todo
        files = [
            file
            for part in todo
            for file in await self._connector.archives(
                self.strategy.instrument, self.series.kind, self.strategy.interval, part
            )
        ]
        chosen = choose_archives(
            files,
            todo,
            lambda part: len(self.strategy.windows(part)),
            reach=self._reach(),
            always=self.config.archive == "always" or self.series.kind is Kind.TRADES,
        )
        if not chosen:
            return todo
        self.progress.state = "archives"
        done: list[Range] = []

        async def one(file: ArchiveFile) -> None:
            parts = intersect([file.covers], todo)
            async with self._files_at_once:
                if await self._archive(file, parts, check):
                    done.extend(parts)

        await run_bounded((one(file) for file in chosen), self.config.archives_at_once)
        return subtract(todo, done)

    async def _archive(self, file: ArchiveFile, parts: Sequence[Range], check: Check) -> bool:
        """Load one bulk file; return False if REST has to answer instead."""
        check()
        try:
            async for fetched in self._archive_parts(file):
                check()
                wanted = intersect([fetched.asked], parts)
                for part in wanted:
                    answer = self.strategy.judge([_narrow(fetched, part)], part)
                    await self._prove_and_commit(part, answer, Source.ARCHIVE)
        except ArchiveAbsent:
            return False
        except (DataError, NetworkFault, ServerFault) as e:
            log.warning(
                "archive_refused",
                extra={"exchange": self.series.exchange, "file": file.name, "code": e.code},
            )
            self._refused.append((file.covers, e))
            return False
        return True

    async def _archive_parts(self, file: ArchiveFile) -> AsyncIterator[Fetched]:
        parts = self._connector.fetch_archive(
            self.strategy.instrument, self.strategy.interval, file
        )
        async for fetched in parts:
            self._count(fetched.requests, fetched.body_bytes)
            self.report.precision_loss += fetched.precision_loss
            yield fetched

    async def _out_of_reach(self, todo: list[Range]) -> list[Range]:
        """Settle what REST cannot answer any more; return what it can.

        Where a bulk file is there and could not be read today, nothing is settled.
        """
        reach = self._reach()
        gone = intersect(todo, [Range(0, reach)]) if reach > 0 else []
        # Others are of units that have not come this far, or of ones that have.
        self._refused = [
            r for r in self._refused if intersect([r[0]], gone) or not intersect([r[0]], todo)
        ]
        for part in subtract(gone, [covers for covers, _ in self._refused]):
            due = self.now_us - _ARCHIVE_DUE_US
            files = await self._connector.archives(
                self.strategy.instrument, self.series.kind, self.strategy.interval, part
            )
            lost = Range(part.start, min(part.end, due)) if files else part
            if not lost.is_empty:
                await self._settle(lost, Verdict.UNRECOVERABLE)
        return subtract(todo, gone)

    async def _from_rest(self, todo: list[Range], check: Check) -> None:
        """Page through `todo`, a few chunks at a time."""
        self.progress.state = "rest"
        chunks = [
            chunk
            for part in todo
            for chunk in _chunks(self.strategy.windows(part), self.config.chunk_windows)
        ]
        await run_bounded((self._chunk(chunk, check) for chunk in chunks), _CHUNKS_AT_ONCE)

    async def _chunk(self, windows: list[Range], check: Check) -> None:
        async with self._chunks_at_once:
            await self._fetch_chunk(windows, check)

    async def _fetch_chunk(self, windows: list[Range], check: Check) -> None:
        """Ask for consecutive windows, prove their holes, commit them as one.

        Busy trades fill memory long before the chunk is done: then what is there goes first.
        """
        proven: list[Proven] = []
        errors: list[CryptoError] = []

        async def one(window: Range) -> None:
            async with self.slots:
                if errors:  # the exchange is not answering: do not queue up for another try
                    return
                try:
                    check()
                    answer = await self._ask(window)
                    result = await prove(self.strategy, window, answer)
                except CryptoError as e:
                    errors.append(e)
                    if not isinstance(e, LeaseLost):
                        self._stopped = self._stopped or e
                    return
            self._count(result.requests, result.body_bytes)
            proven.append(result)
            if sum(p.table.num_rows for p in proven) >= self.config.chunk_rows:
                full = proven.copy()
                proven.clear()
                await self._commit_proven(full, self.source)

        async with asyncio.TaskGroup() as together:
            for window in windows:
                together.create_task(one(window))
        await self._commit_proven(proven, self.source)
        if errors:
            raise errors[0]

    async def _look_past_edges(self, todo: Sequence[Range]) -> None:
        """Look at the trades beside what will be asked for: their ids have to join on.

        Nothing else shows that the first or the last trades are absent. It comes first, so that
        no page is ever committed whose ends are not proven, wherever the load is interrupted.
        """
        if not self.strategy.counts_ids:
            return
        reach = self._reach()
        for part in todo:
            for width in _EDGE_US:
                before = Range(max(part.start - width, reach), part.start)
                if before.is_empty or await self._note_beside(before):
                    break
            for width in _EDGE_US:
                after = Range(part.end, min(part.end + width, self.now_us))
                if after.is_empty or await self._note_beside(after):
                    break

    async def _note_beside(self, beside: Range) -> bool:
        """Take in the trades beside a range: those held, as they are, or the exchange's."""
        held = await self.store.coverage(self.series, beside)
        if not subtract([beside], [e.range for e in held if e.verdict in _SETTLED]):
            table, answered = await self.store.read(self.series, beside), [beside]
        else:
            async with self.slots:
                answer = await self.strategy.ask(beside)
            self._count(answer.requests, answer.body_bytes)
            table, answered = answer.table, list(answer.answered)
        self._beside.append(table)
        ends = self._ends([table])
        await self._commit(empty_table(self.series.kind), (), (), ends=ends, settled=answered)
        return table.num_rows > 0

    async def _ask(self, window: Range) -> Answer:
        """Ask for a window; with `confirm = "rows"` until two answers running agree."""
        answer = await self.strategy.ask(window)
        self._count(answer.requests, answer.body_bytes)
        self.report.precision_loss += answer.precision_loss
        if self.config.confirm == "holes":
            return answer
        for _ in range(_MOST_ANSWERS):
            before, answer = answer, await self.strategy.ask(window)
            self._count(answer.requests, answer.body_bytes)
            if before.table.equals(answer.table):
                return answer
        raise MalformedPayload(self.series.exchange, str(self.series), "answers never agree")

    # -- commits --------------------------------------------------------------------------------

    async def _prove_and_commit(self, window: Range, answer: Answer, source: Source) -> None:
        """Commit an archive's answer; its holes are put to REST, page by page."""
        suspects = self.strategy.suspects(answer.table, window)
        doubtful = union(s.range for s in suspects)
        reach = self._reach()
        askable = subtract(doubtful, [Range(0, reach)])
        proven: list[Proven] = []
        pages = _pages_of(self.strategy.windows(window), askable) if askable else []
        for page in pages:
            known = Answer(cut(answer.table, page), (), [page])
            async with self.slots:
                result = await prove(self.strategy, page, known)
            self._count(result.requests, result.body_bytes)
            proven.append(result)
        table = answer.table
        for one in proven:
            table = self.strategy.merge(table, one.table)
        for gap in self._across(table, window, pages):
            async with self.slots:
                result = await prove(self.strategy, gap, Answer(cut(table, gap), (), [gap]))
            self._count(result.requests, result.body_bytes)
            proven.append(result)
            table = self.strategy.merge(table, result.table)
        empty = [r for p in proven for r in p.empty]
        missing = [r for p in proven for r in p.missing]
        beyond = [s for s in suspects if not intersect([s.range], askable)]
        # Beyond the reach of REST the checksummed archive is the only witness: it is believed.
        empty.extend(s.range for s in beyond if s.verdict is Verdict.EMPTY)
        findings = findings_of(window, empty, missing)
        rejected = [*answer.rejected, *(bad for p in proven for bad in p.rejected)]
        await self._commit(table, findings, rejected, source, ends=self._ends([table]))

    def _across(self, table: pa.Table, window: Range, pages: Sequence[Range]) -> list[Range]:
        """Return what is suspect across the bounds of `pages`, where none of them could tell."""
        between = {page.start for page in pages} | {page.end for page in pages}
        return [
            s.range
            for s in self.strategy.suspects(table, window)
            if s.verdict is Verdict.OBSERVED
            and any(s.range.start < bound < s.range.end for bound in between)
        ]

    async def _commit_proven(self, proven: Sequence[Proven], source: Source) -> None:
        if not proven:
            return
        proven = sorted(proven, key=lambda p: p.window.start)
        tables = [p.table for p in proven if p.table.num_rows]
        table = pa.concat_tables(tables) if tables else empty_table(self.series.kind)
        findings = [f for p in proven for f in findings_of(p.window, p.empty, p.missing)]
        rejected = [bad for p in proven for bad in p.rejected]
        await self._commit(table, joined(findings), rejected, source, ends=self._ends(tables))

    def _reach(self) -> int:
        """Return the earliest moment REST still answers for."""
        return self._connector.reach(self.strategy.instrument, self.series.kind, self.now_us)

    def _ends(self, tables: Iterable[pa.Table]) -> list[Seam]:
        found = (self.strategy.seam(table) for table in tables)
        return [seam for seam in found if seam is not None]

    async def _settle(self, part: Range, verdict: Verdict) -> None:
        await self._commit(
            empty_table(self.series.kind), [Finding(part.start, part.end, verdict)], ()
        )

    async def _commit(
        self,
        table: pa.Table,
        findings: Sequence[Finding],
        rejected: Sequence[Rejected],
        source: Source | None = None,
        *,
        ends: Sequence[Seam] = (),
        settled: Sequence[Range] = (),
    ) -> None:
        """Make rows and findings durable, once their `ends` join what lies beside them."""
        async with self._joins:
            whole = [Range(f.start, f.end) for f in findings if f.verdict in _SETTLED]
            for gap in self._seams.add(ends, [*whole, *settled]):
                await self._committer.drain()  # what lies beside the gap is in the store then
                closed = await self._close(gap, table)
                table = self.strategy.merge(table, closed.table)
                findings = overlaid(findings, closed)
                rejected = [*rejected, *closed.rejected]
        if not (findings or rejected):
            return
        batch = Batch(
            series=self.series,
            table=table,
            findings=findings,
            source=source or self.source,
            rejected=rejected,
        )
        done = await self._committer.put(batch)
        self.report.rows_written += done.inserted + done.corrected
        self.report.rows_corrected += done.corrected
        self.report.rows_rejected += len(rejected)
        self.progress.rows += done.inserted + done.corrected
        self.progress.done_us += sum(
            f.end - f.start for f in findings if f.verdict is not Verdict.MISSING
        )

    async def _close(self, gap: Range, table: pa.Table) -> Proven:
        """Ask for the trades that ids show to be absent between two answers.

        What stays absent is taken back where it was believed before, as whole or as empty.
        """
        known = self.strategy.merge(await self.store.read(self.series, gap), cut(table, gap))
        for beside in self._beside:
            known = self.strategy.merge(known, cut(beside, gap))
        try:
            async with self.slots:
                result = await prove(self.strategy, gap, Answer(known, (), [gap]))
        except CryptoError as e:
            self._errors.append(e)
            result = Proven(gap, known, [], missing=[gap])
        self._count(result.requests, result.body_bytes)
        closed = clipped(result, self.asked)
        for lost in closed.missing:
            await self.store.discard(self.series, lost)
        return closed

    def _count(self, requests: int, body_bytes: int) -> None:
        self.report.requests += requests
        self.report.body_bytes += body_bytes
        self.progress.requests += requests


def _chunks(windows: Sequence[Range], size: int) -> list[list[Range]]:
    return [list(windows[at : at + size]) for at in range(0, len(windows), size)]


def _pages_of(windows: Sequence[Range], doubtful: Sequence[Range]) -> list[Range]:
    """Return the windows that hold a doubtful stretch."""
    return [w for w in windows if intersect([w], doubtful)]


def _narrow(fetched: Fetched, part: Range) -> Fetched:
    """Return `fetched` cut to `part`; requests were counted when it came."""
    if fetched.asked == part:
        return fetched
    return Fetched(
        asked=part,
        table=cut(fetched.table, part),
        rejected=[
            b for b in fetched.rejected if b.timestamp_us is None or part.holds(b.timestamp_us)
        ],
        requests=0,
    )
