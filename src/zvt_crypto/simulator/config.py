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
        extra_coins: spot pairs beside the usual ones on every venue, each with a fiftieth of a
            major symbol's trades: `X0001`, `X0002` and so on against the venue's usual quote.
        clock_offset_s, clock_speed: the simulated clock against the real one.
        compress: gzip answers for clients that accept it.
        cache_mb: memory for encoded rows; the other caches add about 150 MB at most.
        exchanges: which venues to serve; empty means all.
        sessions: recorded frames served instead of the market's, each `FILE=EXCHANGE`. See
            `session.py`.
        session_replies: recorded REST replies that go with them, each `FILE=EXCHANGE`.
        session_speed: times the recorded speed; 0 is as fast as clients read.
        tls: serve https and wss, too, with a certificate made at the start, or with `tls_cert` and
            `tls_key`. See `tls.py`.
        tls_port: where; 0 picks a free one.
        rules_speed: how much faster than real the rules of connections go: pings, idle closes, the
            rates and lifetimes of sockets. The simulated clock has no part in them.
        stream_buffer_bytes: what may wait for a client that does not read, before it is closed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    candles: tuple[str, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    limits: str | float = "real"
    trades_per_day: int = 20_000
    extra_coins: int = 0
    clock_offset_s: float = 0.0
    clock_speed: float = 1.0
    compress: bool = False
    cache_mb: int = DEFAULT_CACHE_MB
    exchanges: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    session_replies: tuple[str, ...] = ()
    session_speed: float = 1.0
    tls: bool = False
    tls_port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    rules_speed: float = 1.0
    stream_buffer_bytes: int = 8_000_000

    def __post_init__(self) -> None:
        if not (self.limits in ("real", "off") or _is_factor(self.limits)):
            raise ValueError(f"limits is real, off or a factor above 0, not {self.limits!r}")
        if self.trades_per_day < _FEWEST_TRADES:
            raise ValueError(f"trades_per_day is at least {_FEWEST_TRADES}")
        if self.extra_coins < 0:
            raise ValueError(f"extra_coins is at least 0, not {self.extra_coins}")
        if not 0 <= self.session_speed < math.inf:
            raise ValueError(f"session_speed is 0 or more, not {self.session_speed}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("a certificate needs its key: give both tls_cert and tls_key")
        if not self.rules_speed > 0:
            raise ValueError(f"rules_speed is above 0, not {self.rules_speed!r}")


def read_speed(text: str) -> float:
    """Return the speed of a recording: a factor, or `max`, which is 0.

    Raises:
        ValueError: neither.
    """
    if text == "max":
        return 0.0
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a speed is a factor or max, not {text!r}") from None


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
