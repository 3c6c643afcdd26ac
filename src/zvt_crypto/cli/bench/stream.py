"""Live frames to columns, books, latency and memory, beside cryptofeed and ccxt.pro."""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from zvt_crypto.cli.bench.measure import MESSAGES, Figure, Lap, Series, Target, say, single
from zvt_crypto.cli.bench.ours import Stage
from zvt_crypto.cli.bench.peers import CCXT, CRYPTOFEED
from zvt_crypto.cli.bench.rig import Rig, read_frames, rig
from zvt_crypto.cli.bench.wire import DRAWN
from zvt_crypto.core.series import Kind

OURS: Final = "ours"
MIX: Final = (Kind.TRADES, Kind.QUOTES, Kind.BOOK)
BOOKS: Final = ("usdm-2023", "usdm", "spot", "coinm")

_MIX_S, _BOOKS_S = 350_000, 230_000
_TIMES_CRYPTOFEED, _TIMES_CCXT, _TIMES_CRYPTOFEED_BOOKS = 3.4, 10.0, 6.0
_CCXT_SHARE: Final = 8
"""ccxt.pro is given that much less, or it alone would take minutes."""

_P50_US, _P99_US, _STALL_MS = 50.0, 500.0, 1.0
_RATES: Final = (10_000, 100_000)
_LATENCY_S, _QUICK_LATENCY_S = 3.0, 0.2

_DIFFERS: Final = (
    "ours: float64 records, in Arrow columns handed to a store; cryptofeed: objects of Decimal to "
    "an empty callback; ccxt.pro: dicts of floats to a watch_ call, which drops what is outrun"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is sent, and how often: `count` frames of a recording, or drawn ones without `data`."""

    data: Path | None
    name: str
    count: int
    repeats: int

    def file(self, made: Rig, kinds: Sequence[Kind], share: int = 1) -> Path:
        """Return the file of its frames of some kinds, one in `share` of them."""
        name = DRAWN if self.data is None else self.name
        return made.frames(self.data, name, kinds, max(1, self.count // share))


def measure(
    sample: Sample, *, has_store: bool, has_peers: bool
) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench of whole streams and return its settings and figures."""
    systems = (OURS, CRYPTOFEED, CCXT) if has_peers else (OURS,)
    figures: list[Figure] = []
    with _rig(systems) as made:
        for kinds in (MIX, *((kind,) for kind in MIX)):
            figures += _compared(made, sample, kinds, has_store=has_store)
        figures += _stages(made, sample)
        levels = read_frames(sample.file(made, MIX)).levels
    settings = {
        "frames": "drawn" if sample.data is None else f"recorded {sample.name}",
        "count": sample.count,
        "levels": round(levels, 1),
        "repeats": sample.repeats,
        "store": "lake" if has_store else "discarding",
    }
    return settings, figures


@contextmanager
def _rig(systems: Sequence[str]) -> Generator[Rig]:
    with (
        tempfile.TemporaryDirectory(prefix="zvtc-bench-") as folder,
        rig(Path(folder), systems) as made,
    ):
        yield made


def _compared(made: Rig, sample: Sample, kinds: Sequence[Kind], *, has_store: bool) -> list[Figure]:
    """Run ours and the peers in turns on the same frames."""
    what = "mix" if kinds == MIX else str(kinds[0])
    taken: dict[str, Series] = {system: Series() for system in made.systems}
    for number in range(1, sample.repeats + 1):
        say(f"{what}, run {number} of {sample.repeats}")
        for system, series in taken.items():
            file = sample.file(made, kinds, _CCXT_SHARE if system == CCXT else 1)
            more: dict[str, object] = {"stage": Stage.COLUMNS} if system == OURS else {}
            if system == OURS and has_store:
                more["lake"] = made.lake()
            _add(series, made.ask(system, file, **more), len(read_frames(file).frames))
    target = Target(_MIX_S) if kinds == MIX else None
    ours = taken[OURS]
    named = f"{what} to columns" if kinds != (Kind.BOOK,) else "book kept"
    if len(taken) == 1:
        return [Figure(named, MESSAGES, ours, target)]
    wanted = Target(_TIMES_CRYPTOFEED)
    return [
        Figure(named, MESSAGES, ours, target, CRYPTOFEED, taken[CRYPTOFEED], wanted, _DIFFERS),
        Figure(named, MESSAGES, ours, None, CCXT, taken[CCXT], Target(_TIMES_CCXT)),
    ]


def _stages(made: Rig, sample: Sample) -> list[Figure]:
    """Run the mix with what comes later switched off."""
    file = sample.file(made, MIX)
    frames = len(read_frames(file).frames)
    taken = {stage: Series() for stage in Stage}
    for number in range(1, sample.repeats + 1):
        say(f"stages, run {number} of {sample.repeats}")
        for stage, series in taken.items():
            _add(series, made.ask(OURS, file, stage=stage), frames)
    names = {
        Stage.SOCKET: "mix, socket alone",
        Stage.PARSE: "mix, and parsed",
        Stage.FEEDS: "mix, and continuity, books kept",
        Stage.COLUMNS: "mix, and columns",
    }
    return [Figure(names[stage], MESSAGES, series) for stage, series in taken.items()]


def _add(series: Series, reply: dict[str, Any], frames: int) -> None:
    series.add_rate(frames, Lap(reply["wall_s"], reply["cpu_s"]))


# -- books -----------------------------------------------------------------------------------------


def measure_books(sample: Sample, *, has_peers: bool) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench of books, on every recording that has one."""
    systems = (OURS, CRYPTOFEED) if has_peers else (OURS,)
    figures: list[Figure] = []
    with _rig(systems) as made:
        for name in BOOKS if sample.data is not None else (DRAWN,):
            file = replace(sample, name=name).file(made, (Kind.BOOK,))
            frames = read_frames(file)
            taken = {system: Series() for system in systems}
            for number in range(1, sample.repeats + 1):
                say(f"book {name}, run {number} of {sample.repeats}")
                for system, series in taken.items():
                    more = {"stage": Stage.COLUMNS} if system == OURS else {}
                    _add(series, made.ask(system, file, **more), len(frames.frames))
            is_goal = name in (BOOKS[0], DRAWN)
            figures.append(
                Figure(
                    f"book kept, {name}, {frames.levels:.0f} levels a message",
                    MESSAGES,
                    taken[OURS],
                    Target(_BOOKS_S) if is_goal else None,
                    CRYPTOFEED if has_peers else None,
                    taken.get(CRYPTOFEED),
                    Target(_TIMES_CRYPTOFEED_BOOKS) if has_peers else None,
                    "sequence checked, both sides in order; the peer's are Decimals"
                    if is_goal
                    else "",
                )
            )
    return {"messages": sample.count, "repeats": sample.repeats}, figures


# -- latency ---------------------------------------------------------------------------------------


def measure_latency(
    data: Path | None, repeats: int, *, is_quick: bool
) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench of latency: an open loop at two rates, inline, queued, and a control."""
    seconds = _QUICK_LATENCY_S if is_quick else _LATENCY_S
    name = DRAWN if data is None else "spot"
    kinds = (Kind.TRADES, Kind.QUOTES) if data is not None else (Kind.TRADES,)
    figures: list[Figure] = []
    with _rig(["latency"]) as made:
        for rate in _RATES:
            file = made.frames(data, name, kinds, int(rate * seconds))
            runs: dict[str, list[dict[str, Any]]] = {"control": [], "inline": [], "queue": []}
            for number in range(1, repeats + 1):
                say(f"latency at {rate:,} msg/s, run {number} of {repeats}")
                for handler, replies in runs.items():
                    replies.append(made.ask("latency", file, handler=handler, rate=rate))
            for handler, replies in runs.items():
                figures += _latency_figures(rate, handler, replies)
    settings = {"messages": "trades and quotes", "seconds": seconds, "repeats": repeats}
    return settings, figures


def _latency_figures(rate: int, handler: str, replies: Sequence[dict[str, Any]]) -> list[Figure]:
    label = "control: picows alone" if handler == "control" else f"handler {handler}"
    targets: dict[tuple[str, str], Target] = {}
    stall = None
    if handler != "control":
        targets[("sent", "p50")] = Target(_P50_US, is_ceiling=True)
        targets[("sent", "p99")] = Target(_P99_US, is_ceiling=True)
        stall = Target(_STALL_MS, is_ceiling=True)
    made: list[Figure] = []
    for start in ("sent", "scheduled"):
        for share in ("p50", "p99", "max"):
            values = [one[f"{start}_us"][share] for one in replies]
            figure = Figure(
                f"{rate:,} msg/s, {label}, from {start}, {share}",
                "us",
                Series(values),
                targets.get((start, share)),
            )
            made.append(figure)
    stalls = Series([one["stall_ms"] for one in replies])
    made.append(Figure(f"{rate:,} msg/s, {label}, longest stall of the loop", "ms", stalls, stall))
    return made


# -- memory ----------------------------------------------------------------------------------------


def soak(
    sample: Sample, rate: float, seconds: float, *, has_store: bool
) -> tuple[dict[str, Any], list[Figure]]:
    """Stream at a steady rate and look at the memory of the process over time."""
    with _rig(["soak"]) as made:
        file = sample.file(made, MIX)
        lake = made.lake() if has_store else None
        every_s = max(1.0, seconds / 20)
        reply = made.ask("soak", file, rate=rate, seconds=seconds, every_s=every_s, lake=lake)
    samples = reply["samples"]
    for passed, megabytes, received, waiting in samples:
        held = f"{int(waiting):7,} waiting"
        say(f"{passed:7.1f} s {megabytes:7.1f} MB {int(received):12,} messages {held}")
    # What is warm after a tenth of the time is what the rest is compared with.
    settled = [mb for passed, mb, *_ in samples if passed >= seconds / 10] or [samples[-1][1]]
    lost = reply["queue_dropped"] + reply["rows_dropped"] + reply["gaps"] + reply["resets"]
    lost += reply["received"] - reply["handled"] - reply["repeated"]
    none = Target(0.0, is_ceiling=True)
    figures = [
        Figure("memory after a tenth of the time", "MB", single(settled[0])),
        Figure("memory at the end", "MB", single(settled[-1])),
        Figure("memory, most of all samples", "MB", Series([mb for _, mb, *_ in samples])),
        Figure("messages received", "msg", single(reply["received"])),
        Figure("messages a second", MESSAGES, single(reply["received"] / samples[-1][0])),
        Figure("repeated", "msg", single(reply["repeated"]), none),
        Figure("dropped, missed, reset", "msg", single(lost), none),
    ]
    settings = {"rate": rate, "seconds": seconds, "store": "lake" if has_store else "discarding"}
    return settings | {"samples": samples}, figures
