"""Everything the venues of one simulator share."""

from typing import TYPE_CHECKING

from zvt_crypto.core.timestamp import Moment, to_us
from zvt_crypto.simulator.cache import Cache
from zvt_crypto.simulator.clock import Clock
from zvt_crypto.simulator.config import Scale, SimulatorConfig
from zvt_crypto.simulator.faults import Fault, Faults
from zvt_crypto.simulator.injection import InjectionLog
from zvt_crypto.simulator.market import Market
from zvt_crypto.simulator.rows import Rows
from zvt_crypto.simulator.series import FileSeries
from zvt_crypto.simulator.session_socket import Sessions

if TYPE_CHECKING:
    from zvt_crypto.simulator.venue import Venue

_MB = 1_000_000
_DAYS_KEPT = 24  # of the trades of a major symbol: as many such symbols can be streamed at once


class World:
    """One market, one clock, one set of faults, and the venues that show them.

    Attributes:
        files: series served from files, by venue and canonical symbol.
        rows: encoded blocks of all venues.
        sessions: recordings served instead of the market.
        previous_pages: the last page of every endpoint, for the fault that repeats it.
        injected: what stream faults did, by venue; see `/_truth/injected`.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.scale = Scale.of(config.limits)
        self.clock = Clock(offset_s=config.clock_offset_s, speed=config.clock_speed)
        self.market = Market(config.seed, kept=_DAYS_KEPT * config.trades_per_day)
        self.faults = Faults(config.seed, self.clock)
        self.files: dict[tuple[str, str], FileSeries] = {}
        self.rows: Cache[Rows] = Cache(
            config.cache_mb * _MB, lambda rows: len(rows.buffer) + 16 * len(rows) + 200
        )
        self.venues: dict[str, Venue] = {}
        self.sessions = Sessions()
        self.previous_pages: dict[str, list[bytes]] = {}
        self.injected: dict[str, InjectionLog] = {}

    def add_fault(self, value: object) -> Fault:
        """Put a fault in force; an `outage` changes the market itself.

        Raises:
            ValueError: not a fault object; one line says why.
        """
        fault = self.faults.add(value)
        if fault.kind != "outage":
            return fault
        try:
            start, end = _moment(fault, "start"), _moment(fault, "end")
        except ValueError:
            self.faults.remove(fault.id)
            raise
        names = list(self.venues) if fault.exchange == "*" else [fault.exchange]
        for name in names:
            self.market.add_outage(name, start, end)
        self.rows.clear()
        return fault

    def injections(self, exchange: str) -> InjectionLog:
        """Return what stream faults did to a venue, to be read or added to."""
        return self.injected.setdefault(exchange, InjectionLog())

    def clear_faults(self) -> int:
        """Remove all faults and what they remember; return how many there were."""
        self.previous_pages.clear()
        return self.faults.remove()


def _moment(fault: Fault, name: str) -> int:
    value: Moment | None = fault.params.get(name)
    if value is None:
        raise ValueError(f"fault {fault.kind} needs {name!r}")
    return to_us(value)
