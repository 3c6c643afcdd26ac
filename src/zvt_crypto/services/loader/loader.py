"""CryptoDataLoader: history of many series, proven complete."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zvt_crypto.core.column import numeric_ids
from zvt_crypto.core.errors import (
    Banned,
    CryptoError,
    FatalError,
    GeoBlocked,
    NetworkFault,
    NotSupported,
    StoreCorrupt,
    StoreFull,
    UnknownExchange,
    UnknownSymbol,
)
from zvt_crypto.core.instrument import Instrument, InstrumentTable, unkeepable
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.ledger import Source, Verdict, owed
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.net.keeper import LeaseKeeper, new_holder
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.connector import Connector
from zvt_crypto.ports.filler import Answered
from zvt_crypto.ports.lease import Leases
from zvt_crypto.ports.store import Batch, Finding, Store, Verified
from zvt_crypto.services.loader.derive import derive
from zvt_crypto.services.loader.forecast import forecast
from zvt_crypto.services.loader.plan import align, check_bounds
from zvt_crypto.services.loader.report import (
    LoaderConfig,
    LoadReport,
    LoadRequest,
    SeriesPlan,
    SeriesProgress,
    SeriesReport,
)
from zvt_crypto.services.loader.sharing import HELD, Desk
from zvt_crypto.services.loader.strategy import (
    CandleStrategy,
    FundingStrategy,
    Strategy,
    TradeStrategy,
)
from zvt_crypto.services.loader.work import SeriesWork

log = logging.getLogger(__name__)

_IN_FLIGHT = 8
# The earliest moment any of our exchanges has data for lies after this.
_DAWN_US = 1_262_304_000_000_000  # 2010-01-01


@dataclass(slots=True)
class _Job:
    """One request, resolved."""

    instrument: Instrument
    series: Series
    asked: Range
    now_us: int
    progress: SeriesProgress
    report: SeriesReport
    refetch: bool = False
    desk: Desk | None = None
    """Where units are taken, if the work is shared with other processes."""
    busy: set[str] = field(default_factory=set[str])
    """The units other workers are at."""
    work: SeriesWork | None = None
    finer: "_Job | None" = None
    """The job of the series this one is aggregated from."""


@dataclass(slots=True)
class CryptoDataLoader:
    """Loads, plans and repairs history; the ledger in `store` decides what there is to do.

    Loaders of several processes over one store share what they are all asked for, where the store
    has leases: each takes units of it, and all end when none of it is owed any more.

    `progress` lists the series of the load under way; a display reads it at its own pace.
    `holder` names this loader to the others.
    """

    store: Store
    connectors: Mapping[str, Connector]
    clock: Clock
    config: LoaderConfig = field(default_factory=LoaderConfig)
    progress: list[SeriesProgress] = field(default_factory=list[SeriesProgress])
    holder: str = field(default_factory=new_holder)
    _tables: dict[str, InstrumentTable] = field(default_factory=dict[str, InstrumentTable])
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict[str, asyncio.Semaphore])
    _broken: dict[str, CryptoError] = field(default_factory=dict[str, CryptoError])

    # -- instruments ----------------------------------------------------------------------------

    def connector(self, exchange: str) -> Connector:
        """Return the connector of an exchange.

        Raises:
            UnknownExchange: there is none of that name.
        """
        found = self.connectors.get(exchange.lower())
        if found is None:
            raise UnknownExchange(exchange, sorted(self.connectors))
        return found

    async def instruments(self, exchange: str, *, refresh: bool = False) -> InstrumentTable:
        """Return the exchange's instruments: from the store, or fetched when it has none."""
        connector = self.connector(exchange)
        name = connector.exchange
        if not refresh and name in self._tables:
            return self._tables[name]
        known = [] if refresh else await self.store.instruments(name)
        if not known:
            listed = await connector.instruments()
            if odd := unkeepable(listed):
                names = [one.native for one in odd]
                log.warning("instruments_left_out", extra={"exchange": name, "names": names})
            known = [one for one in listed if one not in odd]
            await self.store.write_instruments(name, known)
        self._tables[name] = InstrumentTable(name, known)
        return self._tables[name]

    async def instrument(self, exchange: str, symbol: str) -> Instrument:
        """Return the instrument `symbol` names; an unknown name is looked up afresh once.

        Raises:
            UnknownSymbol: the exchange does not list it either.
        """
        table = await self.instruments(exchange)
        try:
            return table.resolve(symbol)
        except UnknownSymbol:
            return (await self.instruments(exchange, refresh=True)).resolve(symbol)

    # -- load -----------------------------------------------------------------------------------

    async def load(
        self,
        requests: Sequence[LoadRequest],
        *,
        source: Source = Source.REST,
        refetch: bool = False,
        share: bool = True,
    ) -> LoadReport:
        """Load everything the ledger does not hold yet; stop a series at its first dead end.

        Args:
            requests: what to load; bounds and names are checked before anything is fetched.
            source: what the ledger names as the origin of rows fetched over REST.
            refetch: ask again for what is held already, and correct what differs; not shared.
            share: leave to other workers what they are at, and wait for it, where the store has
                leases. Without, nothing is waited for, and some is asked twice.

        Returns:
            One report per request, in order, on all of it, whoever loaded it; a series that stopped
            early carries its error.

        Raises:
            UsageError: a request is wrong; nothing was done.
            StoreFull: no space left; what was committed is kept.
        """
        jobs = await self._resolve(requests)
        for job in jobs:
            job.refetch = refetch
        self._broken.clear()
        self.progress = [job.progress for job in jobs]
        failures: list[CryptoError] = []
        if share and self.config.share and not refetch and isinstance(self.store, Leases):
            keeper = LeaseKeeper(self.store, self.holder, self.config.lease_s, self.clock)
            async with keeper:
                desk = Desk(keeper)
                await desk.open()
                for job in jobs:
                    job.desk = desk
                await self._run_all(jobs, source, failures)
        else:
            await self._run_all(jobs, source, failures)
        if failures:
            raise failures[0]
        totals = {info.series: info.rows for info in await self.store.series()}
        for job in jobs:
            job.report.rows_total = totals.get(job.series, 0)
            job.report.coverage = await self.store.coverage(job.series, job.asked)
        return LoadReport([job.report for job in jobs])

    def settle_s(self, exchange: str) -> float:
        """Return how long after its time a row may still be absent from REST."""
        return self.connector(exchange).settle_s

    async def fill(
        self,
        series: Series,
        asked: Range,
        *,
        again: bool = False,
        source: Source = Source.REPAIR,
    ) -> None:
        """Load what the ledger owes of one range; what `load` does, for a part that heals itself.

        With `again` also what it says is held.

        The ledger tells afterwards what came of it. Several may run at once.

        Raises:
            CryptoError: the exchange could not be asked, or refuses.
        """
        request = LoadRequest(
            exchange=series.exchange,
            symbol=series.symbol,
            kind=series.kind,
            interval=series.interval,
            start=asked.start,
            end=asked.end,
        )
        job = (await self._resolve([request]))[0]
        job.refetch = again
        if not job.asked.is_empty:
            await self._load_named(job, source)

    async def fill_trades(
        self, series: Series, asked: Range, first_id: int, last_id: int | None
    ) -> Answered:
        """Load the trades of one range whose ids are known, in one question.

        Ids that follow one another from `first_id` prove the answer, so nothing has to be asked
        twice. Without `last_id` all up to the newest are wanted.

        Returns:
            `ALL` when they came and are held now; else nothing was changed. `STRANGER` when the
            exchange has trades up to the end of `asked`, and none of them is the one behind
            `last_id`.

        Raises:
            CryptoError: the exchange could not be asked, or refuses.
        """
        instrument = await self.instrument(series.exchange, series.symbol)
        strategy = TradeStrategy(self.connector(series.exchange), instrument)
        answer = await strategy.ask(asked)
        ids = numeric_ids(answer.table["trade_id"])
        wanted = np.unique(ids[ids >= first_id]) if ids is not None else np.zeros(0, np.int64)
        last = last_id if last_id is not None else int(wanted.max(initial=first_id - 1))
        # An answer without the trade before the first may come from a cache, and be old.
        is_fresh = ids is not None and bool((ids == first_id - 1).any())
        is_whole = int((wanted <= last).sum()) == last - first_id + 1
        if not is_whole or (len(wanted) == 0 and not is_fresh):
            is_known = last_id is None or bool((wanted == last_id + 1).any())
            return Answered.SOME if is_known else Answered.STRANGER
        await self.store.commit(
            [
                Batch(
                    series=series,
                    table=answer.table,
                    findings=[Finding(asked.start, asked.end, Verdict.OBSERVED)],
                    source=Source.REPAIR,
                    rejected=answer.rejected,
                )
            ]
        )
        return Answered.ALL

    async def check(self, requests: Sequence[LoadRequest]) -> None:
        """Refuse what `load` would refuse: names and bounds.

        Raises:
            UsageError: a request is wrong.
        """
        local_now = self.clock.now_us()
        for request in requests:
            check_bounds(request.start, request.end, local_now)
            await self.instrument(request.exchange, request.symbol)

    async def plan(self, requests: Sequence[LoadRequest]) -> list[SeriesPlan]:
        """Return what `load` would take, without fetching data."""
        return [
            await forecast(
                self.store,
                self._strategy(job),
                job.series,
                job.asked,
                now_us=job.now_us,
                archive=self.config.archive,
            )
            for job in await self._resolve(requests)
        ]

    async def repair(
        self, series: Sequence[Series] | None = None, *, verify: bool = True
    ) -> tuple[Verified, LoadReport]:
        """Heal the store: throw away what `verify` refutes, and load all that is missing."""
        held = [info.series for info in await self.store.series()]
        wanted = [one for one in held if series is None or one in series]
        found = await self.store.verify(wanted) if verify else Verified(0, 0, ())
        for fault in found.faults:
            await self.store.discard(fault.series, Range(fault.start, fault.end))
        requests: list[LoadRequest] = []
        for one in wanted:
            holes = [
                e.range for e in await self.store.coverage(one) if e.verdict is Verdict.MISSING
            ]
            if holes:
                requests.append(
                    LoadRequest(
                        exchange=one.exchange,
                        symbol=one.symbol,
                        kind=one.kind,
                        interval=one.interval,
                        start=holes[0].start,
                        end=holes[-1].end,
                    )
                )
        return found, await self.load(requests, source=Source.REPAIR)

    # -- parts ----------------------------------------------------------------------------------

    async def _resolve(self, requests: Sequence[LoadRequest]) -> list[_Job]:
        local_now = self.clock.now_us()
        for request in requests:
            check_bounds(request.start, request.end, local_now)
            self.connector(request.exchange)
        jobs: list[_Job] = []
        clocks: dict[str, int] = {}
        for request in requests:
            instrument = await self.instrument(request.exchange, request.symbol)
            exchange = instrument.exchange
            if exchange not in clocks and self._is_recent(request.end, local_now):
                clocks[exchange] = await self._exchange_now(exchange, local_now)
            jobs.append(await self._job(request, instrument, clocks.get(exchange, local_now)))
        return jobs

    async def _job(self, request: LoadRequest, instrument: Instrument, now_us: int) -> _Job:
        series = Series(instrument.exchange, instrument.symbol, request.kind, request.interval)
        start = request.start
        if start is None:
            start = await self._earliest(instrument, request)
        end = now_us if request.end is None else request.end
        settle_s = self.connector(instrument.exchange).settle_s
        asked = align(start, end, request.interval, now_us, settle_s)
        if asked.is_empty:
            asked = Range(asked.start, asked.start)
        return _Job(
            instrument=instrument,
            series=series,
            asked=asked,
            now_us=now_us,
            progress=SeriesProgress(series),
            report=SeriesReport(series, asked),
        )

    async def _earliest(self, instrument: Instrument, request: LoadRequest) -> int:
        """Return the first moment a series can have rows."""
        stored = await self.store.coverage(
            Series(instrument.exchange, instrument.symbol, request.kind, request.interval)
        )
        if stored:
            return stored[0].start
        first = await self.connector(instrument.exchange).first_candle(
            instrument, request.interval or Interval.D1
        )
        return first if first is not None else instrument.listed_us or _DAWN_US

    @staticmethod
    def _is_recent(end: int | None, now_us: int) -> bool:
        return end is None or end > now_us - US_PER_DAY

    async def _exchange_now(self, exchange: str, local_now: int) -> int:
        """Return the earlier of the exchange's clock and ours: what is before both is over.

        An exchange that tells a wrong time must not have time that is still to come called empty.
        """
        try:
            return min(await self.connector(exchange).sync_clock(), self.clock.now_us())
        except CryptoError as e:
            log.warning("server_time_failed", extra={"exchange": exchange, "code": e.code})
            return local_now

    def _strategy(self, job: _Job) -> Strategy:
        connector = self.connector(job.instrument.exchange)
        match job.series.kind, job.series.interval:
            case Kind.CANDLES, Interval() as interval:
                return CandleStrategy(connector, job.instrument, interval)
            case Kind.TRADES, None:
                return TradeStrategy(connector, job.instrument)
            case Kind.FUNDING, None:
                if not job.instrument.is_perpetual:
                    raise NotSupported(
                        connector.exchange,
                        f"funding for {job.series.symbol}",
                        "it is a spot pair",
                        remedy=f"Ask for {job.series.symbol}-PERP",
                    )
                return FundingStrategy(connector, job.instrument)
            case kind, _:
                raise NotSupported(
                    connector.exchange, f"history of {kind}", "it exists as a live stream only"
                )

    async def _run_all(
        self, jobs: Sequence[_Job], source: Source, failures: list[CryptoError]
    ) -> None:
        gate = asyncio.Semaphore(self.config.parallel_series)

        async def one(job: _Job) -> None:
            while True:
                async with gate:
                    if not failures:
                        await self._run(job, source, failures)
                if job.desk is None or not job.busy or failures:
                    return
                # Out of the gate: others are let through while this one waits.
                await job.desk.until_free(job.busy)

        async with asyncio.TaskGroup() as together:
            for job in jobs:
                together.create_task(one(job))

    async def _run(self, job: _Job, source: Source, failures: list[CryptoError]) -> None:
        exchange = job.instrument.exchange
        job.progress.started_s = job.progress.started_s or self.clock.monotonic_s()
        job.busy.clear()
        try:
            if exchange in self._broken:
                raise self._broken[exchange]
            if not job.asked.is_empty:
                await self._load_named(job, source)
            job.progress.state = HELD if job.busy else "done"
        except (StoreFull, StoreCorrupt) as e:
            failures.append(e)
        except CryptoError as e:
            job.report.error = e
            job.progress.state = "stopped"
            if isinstance(e, (NetworkFault, GeoBlocked, Banned)):
                self._broken[exchange] = e
            level = logging.WARNING if isinstance(e, FatalError) else logging.INFO
            log.log(level, "series_stopped", extra={"series": str(job.series), "code": e.code})
        finally:
            job.report.seconds = self.clock.monotonic_s() - job.progress.started_s

    async def _load_named(self, job: _Job, source: Source) -> None:
        """Load a series; if the exchange has given it another name by now, under that one."""
        try:
            await self._load_series(job, source)
        except UnknownSymbol as e:
            table = await self.instruments(job.series.exchange, refresh=True)
            try:
                renamed = table.resolve(job.series.symbol)
            except UnknownSymbol as gone:
                raise gone from e
            if renamed.native == job.instrument.native:
                raise
            job.instrument = renamed
            job.work = job.finer = None
            await self._load_series(job, source)

    async def _load_series(self, job: _Job, source: Source) -> None:
        connector = self.connector(job.instrument.exchange)
        interval = job.series.interval
        native = interval and connector.source_interval(job.instrument, interval)
        if interval is None or native is None or native is interval:
            job.work = job.work or self._work(job, source)
            job.busy |= await job.work.run()
            return
        todo = owed([job.asked], await self.store.coverage(job.series, job.asked))
        if not todo and not job.refetch:
            return
        finer = job.finer = job.finer or self._finer(job, native)
        finer.report = SeriesReport(job.series, job.asked)
        finer.busy = job.busy
        if finer.work is not None:
            finer.work.report = finer.report
        try:
            await self._load_series(finer, source)
        finally:
            job.report.requests += finer.report.requests
            job.report.body_bytes += finer.report.body_bytes
            job.report.rows_rejected += finer.report.rows_rejected
            job.report.precision_loss += finer.report.precision_loss
            if not job.busy:
                done = await derive(self.store, job.series, native, job.asked, source)
                job.report.rows_written += done.inserted + done.corrected
                job.report.rows_corrected += done.corrected

    @staticmethod
    def _finer(job: _Job, native: Interval) -> _Job:
        return _Job(
            instrument=job.instrument,
            series=Series(job.series.exchange, job.series.symbol, Kind.CANDLES, native),
            asked=job.asked,
            now_us=job.now_us,
            progress=job.progress,
            report=job.report,
            refetch=job.refetch,
            desk=job.desk,
        )

    def _work(self, job: _Job, source: Source) -> SeriesWork:
        exchange = job.instrument.exchange
        slots = self._slots.setdefault(
            exchange, asyncio.Semaphore(self.config.concurrency.get(exchange, _IN_FLIGHT))
        )
        return SeriesWork(
            store=self.store,
            strategy=self._strategy(job),
            series=job.series,
            asked=job.asked,
            source=source,
            config=self.config,
            slots=slots,
            progress=job.progress,
            report=job.report,
            now_us=job.now_us,
            refetch=job.refetch,
            desk=job.desk,
        )
