"""What a simulator is started with."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

DEFAULT_CACHE_MB = 512
_FEWEST_TRADES = 10


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Settings of one simulator.

    Attributes:
        host, port: where to listen; port 0 picks a free one.
        seed: of the market and of the faults.
        candles: series served from files, each `FILE=EXCHANGE:SYMBOL:INTERVAL`; the interval
            `funding` serves a funding file. See `series.py`.
        faults: fault objects in force from the start. See `faults.py`.
        limits: `real`, `off`, or a factor, as text or number, the venues' limits are multiplied by.
        trades_per_day: of a major symbol; a multiple of ten.
        clock_offset_s, clock_speed: the simulated clock against the real one.
        compress: gzip answers for clients that accept it.
        cache_mb: memory for encoded rows; the other caches add about 150 MB at most.
        exchanges: which venues to serve; empty means all.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    candles: tuple[str, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    limits: str | float = "real"
    trades_per_day: int = 20_000
    clock_offset_s: float = 0.0
    clock_speed: float = 1.0
    compress: bool = False
    cache_mb: int = DEFAULT_CACHE_MB
    exchanges: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.limits in ("real", "off") or _is_factor(self.limits)):
            raise ValueError(f"limits is real, off or a factor above 0, not {self.limits!r}")
        if self.trades_per_day < _FEWEST_TRADES:
            raise ValueError(f"trades_per_day is at least {_FEWEST_TRADES}")


def _is_factor(limits: str | float) -> bool:
    try:
        return 0 < float(limits) < math.inf
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Scale:
    """How the venues' published limits become the limits in force."""

    factor: float = 1.0
    off: bool = field(default=False)

    @classmethod
    def of(cls, limits: str | float) -> "Scale":
        """Return the scale the configuration asks for."""
        if limits == "off":
            return cls(off=True)
        return cls(1.0 if limits == "real" else float(limits))

    def apply(self, limit: int) -> int:
        """Return the limit in force: at least 1, or a number nobody reaches."""
        return UNREACHABLE if self.off else max(1, round(limit * self.factor))


UNREACHABLE = 1_000_000_000


def read_json(path: Path) -> Any:
    """Return the JSON value in a file.

    Raises:
        ValueError: not a readable JSON file; one line says which.
    """
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from None
