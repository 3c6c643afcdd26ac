"""How figures are taken and shown: repeats, median, spread, processor time, peak memory.

Wall time on a busy machine says as much about the neighbours as about the program. So ours and
its peer take turns within one run, every figure carries its spread, and is given by processor time
as well: that of all threads of this process, without the simulator, which is another one.
"""

import gc
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from zvt_crypto.cli.display import err, out, print_json

RATE: Final = "rows/s"
MESSAGES: Final = "msg/s"
_RATES: Final = (RATE, MESSAGES)
_PACKAGES: Final = (
    "zvt-crypto",
    "polars",
    "pyarrow",
    "aiohttp",
    "picows",
    "ccxt",
    "cryptofeed",
    "pandas",
)
_KIB_PER_MB: Final = 1_000_000 / 1024
_BYTES_PER_MB: Final = 1_000_000
_BIG, _MIDDLE = 10_000, 100
_TABLE_CELLS: Final = 170
# A process inherits the peak of the one that starts it, so a small one stands in between.
_WATCH: Final = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
    "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: at least `value`, or below it where `is_ceiling`."""

    value: float
    is_ceiling: bool = False

    def is_met(self, figure: float) -> bool:
        """Return whether a figure reaches it."""
        return figure <= self.value if self.is_ceiling else figure >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.is_ceiling else '>='} {show(self.value)}"


@dataclass(slots=True)
class Series:
    """One thing measured several times, by the clock on the wall and by processor time."""

    values: list[float] = field(default_factory=list[float])
    by_cpu: list[float] = field(default_factory=list[float])

    def add_rate(self, rows: int, lap: "Lap") -> None:
        """Take over a run over `rows` rows."""
        self.values.append(rows / lap.wall_s)
        self.by_cpu.append(rows / max(lap.cpu_s, 1e-9))

    def add_ms(self, lap: "Lap") -> None:
        """Take over a run whose length is the figure."""
        self.values.append(lap.wall_s * 1e3)
        self.by_cpu.append(lap.cpu_s * 1e3)

    @property
    def median(self) -> float:
        """Return the median."""
        return median(self.values)


@dataclass(slots=True)
class Lap:
    """Wall and processor seconds of one run."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def lap(*, tidy: bool = True) -> Generator[Lap]:
    """Time a block; garbage of what ran before is not charged to it.

    `tidy` is for long ones: a collection takes longer than a read.
    """
    if tidy:
        gc.collect()
    taken = Lap()
    cpu, wall = time.process_time(), time.perf_counter()
    yield taken
    taken.wall_s = time.perf_counter() - wall
    taken.cpu_s = time.process_time() - cpu


@dataclass(slots=True)
class Figure:
    """A result, its target, and the same work done by a peer in the same run."""

    name: str
    unit: str
    ours: Series
    target: Target | None = None
    peer: str | None = None
    theirs: Series | None = None
    ratio_target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Return how many times better we are: more rows in a second, or less of the rest."""
        if self.theirs is None or not self.theirs.values:
            return None
        mine, other = self.ours.median, self.theirs.median
        return mine / other if self.unit in _RATES else other / mine

    @property
    def cpu_ratio(self) -> float | None:
        """Return the same by processor time, where both have it."""
        theirs = self.theirs.by_cpu if self.theirs is not None else []
        if not (self.ours.by_cpu and theirs):
            return None
        mine, other = median(self.ours.by_cpu), median(theirs)
        return mine / other if self.unit in _RATES else other / mine

    @property
    def is_met(self) -> bool | None:
        """Return whether all targets are met, None if there are none."""
        asked: list[bool] = []
        if self.target is not None:
            asked.append(self.target.is_met(self.ours.median))
        if self.ratio_target is not None and self.ratio is not None:
            asked.append(self.ratio_target.is_met(self.ratio))
        return all(asked) if asked else None

    def fields(self) -> dict[str, Any]:
        """Return it as JSON."""
        made: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "median": self.ours.median,
            "min": min(self.ours.values),
            "max": max(self.ours.values),
            "repeats": self.ours.values,
            "by_cpu_time": median(self.ours.by_cpu) if self.ours.by_cpu else None,
            "target": None if self.target is None else str(self.target),
            "ratio_target": None if self.ratio_target is None else str(self.ratio_target),
            "is_met": self.is_met,
            "peer": None,
            "ratio": self.ratio,
            "ratio_by_cpu_time": self.cpu_ratio,
            "note": self.note,
        }
        if self.theirs is not None and self.theirs.values:
            made["peer"] = {
                "name": self.peer,
                "median": self.theirs.median,
                "min": min(self.theirs.values),
                "max": max(self.theirs.values),
                "repeats": self.theirs.values,
                "by_cpu_time": median(self.theirs.by_cpu) if self.theirs.by_cpu else None,
            }
        return made


def single(value: float) -> Series:
    """Return a figure that is counted, not timed."""
    return Series([value])


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    load = os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0)
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(one, 2) for one in load],
        "packages": found,
    }


def peak_memory_mb(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command to its end and return the most memory it held at once, in MB.

    Args:
        command: what to run.
        environment: variables on top of ours.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(  # noqa: S603 - our own commands
        [sys.executable, "-I", "-S", "-c", _WATCH, *command],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, **environment},
    )
    code, peak = (int(word) for word in done.stdout.split())
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return peak / (_BYTES_PER_MB if sys.platform == "darwin" else _KIB_PER_MB)


def say(text: str) -> None:
    """Report progress to people."""
    err().print(f"[dim]{text}[/dim]")


def show(value: float) -> str:
    """Return a number with as many digits as mean something."""
    if abs(value) >= _BIG:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= _MIDDLE else f"{value:.2f}"


def publish(
    name: str,
    settings: dict[str, Any],
    figures: Sequence[Figure],
    *,
    as_json: bool,
    facts: Callable[[], dict[str, Any]] = machine,
) -> None:
    """Print the figures: a table for people, or one JSON object."""
    about = facts()
    if as_json:
        print_json(
            {
                "bench": name,
                "machine": about,
                "settings": settings,
                "figures": [one.fields() for one in figures],
            }
        )
        return
    words = ", ".join(f"{key} {value}" for key, value in settings.items())
    packages = " ".join(f"{key} {value}" for key, value in about["packages"].items() if value)
    console = out()
    console.print(f"[bold]bench {name}[/bold]: {words}")
    console.print(
        f"[dim]{about['cores']} cores, load {about['load_average'][0]}, "
        f"Python {about['python']}, {packages}[/dim]"
    )
    # A table cut to a narrow window or a pipe would hide the figures it is there to show.
    Console(highlight=False, width=max(console.width, _TABLE_CELLS)).print(_table(figures))
    for one in figures:
        if one.note:
            console.print(f"[dim]{one.name}: {one.note}[/dim]")


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("figure", "median", "min..max", "by CPU time", "target", "peer", "ratio", ""):
        table.add_column(name, no_wrap=True)
    for one in figures:
        values = one.ours.values
        wanted = [] if one.target is None else [str(one.target)]
        wanted += [] if one.ratio_target is None else [f"{one.ratio_target} x"]
        verdict = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}[one.is_met]
        table.add_row(
            one.name,
            f"{show(one.ours.median)} {one.unit}",
            f"{show(min(values))}..{show(max(values))}" if len(values) > 1 else "",
            show(median(one.ours.by_cpu)) if one.ours.by_cpu else "",
            ", ".join(wanted),
            _peer(one),
            _ratio(one),
            verdict,
        )
    return table


def _ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return ""
    by_cpu = f" (CPU {figure.cpu_ratio:.1f})" if figure.cpu_ratio is not None else ""
    return f"{figure.ratio:.1f} x{by_cpu}"


def _peer(figure: Figure) -> str:
    theirs = figure.theirs
    if theirs is None or not theirs.values:
        return ""
    by_cpu = f" (CPU {show(median(theirs.by_cpu))})" if theirs.by_cpu else ""
    return f"{figure.peer} {show(theirs.median)}{by_cpu}"
