"""What people see of a load: progress on stderr, results on stdout."""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from zvt_crypto.cli.console import err, out, print_json, print_rows
from zvt_crypto.core.ledger import Coverage, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.services.loader import LoadReport

_REFRESH_S: Final = 0.2
_BAR_CELLS: Final = 60
# One sign and colour per verdict, worst first: a cell shows the worst verdict inside it.
_SIGNS: Final = {
    Verdict.MISSING: ("░", "red"),
    Verdict.UNRECOVERABLE: ("x", "magenta"),
    Verdict.OUTAGE: ("▒", "yellow"),
    Verdict.EMPTY: ("·", "bright_black"),
    Verdict.OBSERVED: ("█", "green"),
}


def coverage_bar(asked: Range, ledger: Sequence[Coverage], cells: int = _BAR_CELLS) -> str:
    """Return the ledger as a picture, one sign per stretch of time, in Rich markup.

    A loss shows however short it is; a stretch is called empty only where most of it is.
    """
    width = asked.end - asked.start
    if width <= 0:
        return ""
    cells = max(1, min(cells, width))
    held: list[dict[Verdict, int]] = [{} for _ in range(cells)]
    for entry in ledger:
        part = entry.range.overlap(asked)
        for at in range(
            (part.start - asked.start) * cells // width,
            -((asked.start - part.end) * cells // width),
        ):
            cell = Range(asked.start + at * width // cells, asked.start + (at + 1) * width // cells)
            share = part.overlap(cell)
            held[at][entry.verdict] = held[at].get(entry.verdict, 0) + share.end - share.start
    return "".join(_sign(cell) for cell in held)


def _sign(cell: dict[Verdict, int]) -> str:
    if not cell:
        return "[dim]?[/dim]"
    losses = [v for v in _SIGNS if v in cell and v not in (Verdict.EMPTY, Verdict.OBSERVED)]
    verdict = losses[0] if losses else max(cell, key=lambda v: cell[v])
    sign, colour = _SIGNS[verdict]
    return f"[{colour}]{sign}[/{colour}]"


def legend() -> str:
    """Return what the signs of `coverage_bar` mean."""
    parts = [f"[{colour}]{sign}[/{colour}] {verdict}" for verdict, (sign, colour) in _SIGNS.items()]
    return "  ".join([*reversed(parts), "[dim]?[/dim] never asked"])


def print_report(report: LoadReport, sim: str | None = None) -> None:
    """Print what a load did, with a picture of the ledger and what is missing."""
    console = out()
    if sim:
        console.print(f"[yellow]simulated market at {sim}[/yellow]")
    for one in report.series:
        state = "[green]complete[/green]" if one.is_complete else "[red]incomplete[/red]"
        console.print(
            f"[bold]{one.series}[/bold]  {state}  {one.rows_written:,} rows written, "
            f"{one.rows_total:,} in store, {one.requests:,} requests, {one.seconds:.1f} s"
        )
        console.print(
            f"  {format_us(one.asked.start)} {coverage_bar(one.asked, one.coverage)} "
            f"{format_us(one.asked.end)}"
        )
        if one.rows_rejected:
            console.print(f"  {one.rows_rejected:,} rows refused and kept in the quarantine")
        if one.error is not None:
            console.print(f"  [red]stopped:[/red] {one.error}")
    if not report.is_complete:
        console.print("Some ranges are missing: `zvtc gaps` lists them, `zvtc repair` asks again.")


class Tracked(Protocol):
    """How far one series is."""

    @property
    def series(self) -> object:
        """Return which."""
        ...

    @property
    def fraction(self) -> float:
        """Return the share that is done."""
        ...

    @property
    def rows(self) -> int:
        """Return the rows done by now."""
        ...

    @property
    def state(self) -> str:
        """Return what is being done."""
        ...

    @property
    def started_s(self) -> float:
        """Return when it began; 0 if it has not."""
        ...


class Watched(Protocol):
    """Work on several series at once."""

    @property
    def progress(self) -> Sequence[Tracked]:
        """Return how far each series is."""
        ...


class LoadDisplay:
    """A live bar per series with rows, rate and time left; silent off a terminal.

    A thread draws: the event loop has better things to do.
    """

    def __init__(self, work: Watched, *, quiet: bool, sim: str | None = None) -> None:
        self._work = work
        self._console = err()
        self._on = not quiet and self._console.is_terminal
        self._sim = sim
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._sim and self._on:
            self._console.print(f"[yellow]simulated exchanges at {self._sim}[/yellow]")
        if self._on:
            self._thread = threading.Thread(target=self._draw, name="zvtc-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _draw(self) -> None:
        tasks: dict[int, TaskID] = {}
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        ) as bars:
            while not self._stop.wait(_REFRESH_S):
                self._update(bars, tasks)
            self._update(bars, tasks)

    def _update(self, bars: Progress, tasks: dict[int, TaskID]) -> None:
        now = time.monotonic()
        for one in list(self._work.progress):
            if id(one) not in tasks:
                tasks[id(one)] = bars.add_task(str(one.series), total=1.0, note="")
            bars.update(tasks[id(one)], completed=one.fraction, note=_note(one, now))


def _note(one: Tracked, now: float) -> str:
    elapsed = max(now - one.started_s, 1e-3) if one.started_s else 0.0
    rate = f"{one.rows / elapsed:,.0f} rows/s" if elapsed and one.rows else ""
    return f"{one.rows:>11,} rows  {rate:>16}  {one.state}"


__all__ = [
    "LoadDisplay",
    "coverage_bar",
    "err",
    "legend",
    "out",
    "print_json",
    "print_report",
    "print_rows",
]
