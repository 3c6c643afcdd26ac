"""One exchange, one series, one fault: load under it, judge, take it back, load again."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from judge import check_honest, check_settled, check_tiled
from sim_process import Sim
from store_place import store_at

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.errors import Banned
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.services.loader import LoadReport, LoadRequest
from zvt_crypto.settings import load_settings

EXCHANGES: Final = ("binance", "okx", "bybit", "coinbase")
LONG_AGO: Final = to_us("2024-03-05")
SPOT: Final = dict.fromkeys(EXCHANGES, "BTC-USDT") | {"coinbase": "BTC-USD"}
PERPETUAL: Final = "BTC-USDT-PERP"
# Bybit bans for ten minutes, which nobody wants to see the end of here.
_PATIENCE_S: Final = 5.0
# Enough to insist where a fault strikes now and then, not enough to sit out a lasting one.
HASTE: Final[Mapping[str, object]] = {
    "net.retry_for_s": 0.8,
    "net.read_timeout_s": 30.0,
    "net.max_body_bytes": 4 << 20,
    # The simulator of these tests has no limits: keeping to the published ones is only waiting.
    **{f"exchanges.{exchange}.limit_factor": 20.0 for exchange in EXCHANGES},
}


@dataclass(frozen=True)
class Case:
    """One series of one exchange and the range to load."""

    exchange: str
    symbol: str
    kind: Kind
    interval: Interval | None
    asked: Range

    @property
    def series(self) -> Series:
        return Series(self.exchange, self.symbol, self.kind, self.interval)

    @property
    def request(self) -> LoadRequest:
        return LoadRequest(
            self.exchange, self.symbol, self.kind, self.interval, self.asked.start, self.asked.end
        )


def candles_case(
    exchange: str, *, hours: int = 36, start: int = LONG_AGO, symbol: str | None = None
) -> Case:
    """Return minute candles: several pages at every exchange."""
    asked = Range(start, start + hours * US_PER_HOUR)
    return Case(exchange, symbol or SPOT[exchange], Kind.CANDLES, Interval.M1, asked)


def trades_case(exchange: str, now_us: int, *, archive: bool) -> Case:
    """Return some hours of trades, from where the exchange's REST or its files have them."""
    if archive:
        day = LONG_AGO if exchange != "okx" else _days_ago(now_us, 20)
        return Case(exchange, SPOT[exchange], Kind.TRADES, None, Range(day, day + US_PER_DAY))
    match exchange:
        case "bybit":  # the newest thousand are all there are
            start = now_us // US_PER_MINUTE * US_PER_MINUTE - 40 * US_PER_MINUTE
            asked = Range(start, start + 30 * US_PER_MINUTE)
            return Case(exchange, PERPETUAL, Kind.TRADES, None, asked)
        case "okx":
            start = _days_ago(now_us, 20)
        case _:
            start = LONG_AGO
    asked = Range(start, start + 2 * US_PER_HOUR)
    return Case(exchange, SPOT[exchange], Kind.TRADES, None, asked)


def funding_case(exchange: str, now_us: int) -> Case:
    """Return a month of funding."""
    start = _days_ago(now_us, 70) if exchange == "okx" else LONG_AGO
    asked = Range(start, start + 30 * US_PER_DAY)
    return Case(exchange, PERPETUAL, Kind.FUNDING, None, asked)


def _days_ago(now_us: int, days: int) -> int:
    return now_us // US_PER_DAY * US_PER_DAY - days * US_PER_DAY


@dataclass
class FaultWorld:
    """A store and a loader, in haste, against a simulator that others use after this."""

    sim: Sim
    platform: Platform

    async def load(self, case: Case, *, refetch: bool = False) -> LoadReport:
        return await self.platform.loader.load([case.request], refetch=refetch)

    async def judge(self, case: Case, report: LoadReport) -> dict[Verdict, list[Range]]:
        """Assert that what came of a load is the truth, and that what did not is named."""
        found = await check_honest(self.platform.store, self.sim, case.series, case.asked)
        check_tiled(found, case.asked)
        if report.is_complete:
            check_settled(found, case.asked)
        else:
            lost = found[Verdict.MISSING] or found[Verdict.UNRECOVERABLE]
            assert lost or report.series[0].error, found
        earned = self.sim.stats(case.exchange)
        assert earned["418"] == 0
        assert earned["403"] == 0
        return found

    async def under(self, case: Case, *, refetch: bool = False, **fault: Any) -> LoadReport:
        """Load under a fault and judge; then without it, which has to complete the series."""
        await self.platform.loader.instruments(case.exchange)
        self.sim.fault(exchange=case.exchange, **fault)
        try:
            report = await self.load(case)
            await self.judge(case, report)
        finally:
            self.sim.heal()
        error = report.series[0].error
        if not (isinstance(error, Banned) and (error.retry_after_s or 0) > _PATIENCE_S):
            await self.completes(case, refetch=refetch)
        return report

    async def completes(self, case: Case, *, refetch: bool = False) -> None:
        """Load without a fault and assert that all is there."""
        again = await self.load(case, refetch=refetch)
        found = await self.judge(case, again)
        assert again.is_complete, (again.series[0].error, found)


@asynccontextmanager
async def fault_world(sim: Sim, folder: Path, **settings: object) -> AsyncGenerator[FaultWorld]:
    """Open a platform on an empty store; leave the simulator without a fault."""
    sim.heal()
    sim.send("POST", "/_stats/reset")
    values = {
        **HASTE,
        "store": store_at(folder / "store"),
        "sim": sim.url,
        "state_dir": str(folder / "state"),
        **settings,
    }
    try:
        async with Platform(load_settings(values, cwd=folder, environ={}).settings) as platform:
            yield FaultWorld(sim, platform)
    finally:
        sim.heal()
