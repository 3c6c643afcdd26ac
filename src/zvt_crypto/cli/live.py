"""What `stream`, `record` and `sync --live` share: running until stopped, and the last words."""

import asyncio
import os
import signal
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from zvt_crypto.bootstrap.live import Live
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.subscription import (
    DEFAULT_INTERVALS,
    Subscription,
    parse_words,
    resolve,
)
from zvt_crypto.cli.flags import parse_interval, parse_kind
from zvt_crypto.core.errors import CryptoError, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.settings import Settings, load_settings

_POLL_S: Final = 1.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

WordsArg = Annotated[
    list[str] | None,
    typer.Argument(
        help="EXCHANGE SYMBOL..., or words as EXCHANGE:SYMBOL[:KIND[:INTERVAL]]. None: what the "
        "setting stream.subscriptions says.",
        show_default=False,
    ),
]
LiveKindFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        "-k",
        help="trades candles quotes book funding mark_price open_interest liquidations status; "
        "may be repeated.",
    ),
]
LiveIntervalFlag = Annotated[
    list[str] | None,
    typer.Option("--interval", "-i", help="Width of candles; may be repeated.", show_default="1m"),
]
MetricsFlag = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65_535,
        help="Serve Prometheus metrics on this port of 127.0.0.1; 0 picks one.",
        show_default=False,
    ),
]
ForFlag = Annotated[
    float | None,
    typer.Option("--for", min=0.1, metavar="SECONDS", help="Stop by itself.", show_default=False),
]
QuietFlag = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only gaps, disconnects and the like.")
]
LinesFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def wanted_from(
    words: Sequence[str],
    kinds: Sequence[str] | None,
    intervals: Sequence[str] | None,
    usual: Sequence[Kind],
) -> list[Subscription]:
    """Return what words and flags ask for.

    Raises:
        UsageError: one cannot be read.
    """
    widths: Sequence[Interval] = [parse_interval(text) for text in intervals or ()]
    asked: Sequence[Kind] = [parse_kind(text) for text in kinds or ()]
    return parse_words(words, asked or usual, widths or DEFAULT_INTERVALS)


def say(text: str) -> None:
    """Tell people something beside the records."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def until_stopped() -> Generator[asyncio.Event]:
    """Give an event that the first Ctrl-C or SIGTERM sets; the second ends the task at once."""
    stop = asyncio.Event()
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stopped() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for one in _SIGNALS:
        loop.add_signal_handler(one, stopped)
    try:
        yield stop
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)
        # What was cancelled by SIGTERM before goes on being so.
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)


async def stay(stop: asyncio.Event, seconds: float | None) -> None:
    """Return when `stop` is set, or the seconds are over."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        stop.set()


class Watcher:
    """Follows the setting `stream.subscriptions` in `zvtc.toml` while a stream runs.

    Args:
        live: what streams.
        series: what is streamed now.
        file: the settings file.
        overrides: flags, which go on to win over it.
        usual: kinds of subscriptions that name none.
    """

    def __init__(
        self,
        live: Live,
        series: Iterable[Series],
        file: Path,
        overrides: Mapping[str, object],
        usual: Sequence[Kind],
    ) -> None:
        self._live = live
        self._file = file
        self._overrides = overrides
        self._usual = usual
        self._seen = _stamp(file)
        self._held = live.platform.settings.stream.subscriptions
        self._series = set(series)

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            stamp = await asyncio.to_thread(_stamp, self._file)
            if stamp == self._seen:
                continue
            self._seen = stamp
            if stamp is None:
                say(f"{self._file.name} is gone; what was streamed goes on")
                continue
            try:
                await self._apply()
            except CryptoError as e:
                say(f"{self._file.name} is not taken, what was streamed goes on: {e}")

    async def _apply(self) -> None:
        settings = (await asyncio.to_thread(load_settings, self._overrides)).settings
        words = settings.stream.subscriptions
        if words == self._held:
            return
        series = await resolve(self._live.platform, parse_words(words, self._usual))
        await self._live.set(series)
        self._held = words
        added, removed = len(set(series) - self._series), len(self._series - set(series))
        self._series = set(series)
        say(f"{self._file.name}: {len(series)} series now, {added} added, {removed} removed")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - the same, and it may be gone
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def from_settings(settings: Settings, usual: Sequence[Kind]) -> list[Subscription]:
    """Return what the settings subscribe to.

    Raises:
        UsageError: nothing, or something unreadable.
    """
    words = settings.stream.subscriptions
    if not words:
        raise UsageError(
            "nothing to stream is named",
            remedy="Write: zvtc stream binance BTC-USDT, or set [stream] subscriptions = "
            '["binance:BTC-USDT:trades"] in zvtc.toml',
        )
    return parse_words(words, usual)


def greet(platform: Platform, series: Sequence[Series], live: Live) -> None:
    """Say what runs, for whom who looks at a terminal."""
    where = f" from the simulator at {platform.settings.sim}" if platform.settings.sim else ""
    shared = "" if live.sharing is None else f", shared in group {live.sharing.group!r}"
    say(
        f"{live.command}: {len(series)} series{where}{shared}; "
        "Ctrl-C ends it, `zvtc top` watches it"
    )
    if live.metrics_url:
        say(f"metrics at {live.metrics_url}")
    if live.journal is not None:
        say(f"raw frames to {live.journal.folder}")


def summary_fields(live: Live, seconds: float) -> dict[str, Any]:
    """Return what a run came to, after its end."""
    told = live.describe()
    return {
        "seconds": round(seconds, 1),
        **told["totals"],
        "rows_unstored": told["sink"]["pending_rows"],
        "store_failing": told["sink"]["failing"],
        "journal": told["journal"],
    }


def print_summary(live: Live, seconds: float) -> bool:
    """Print the last words to stderr; return whether all that came is stored."""
    found = summary_fields(live, seconds)
    gaps = (
        f"gaps: {found['gaps_repaired']:,} repaired, "
        f"{found['gaps_unrecoverable']:,} unrecoverable, {found['gaps_open']:,} open"
    )
    parts = [
        f"{found['seconds']:g} s",
        f"{found['messages']:,} records",
        f"{found['rows_stored']:,} rows stored",
        gaps,
        f"{found['reconnects']:,} reconnects",
    ]
    journal = found["journal"]
    if journal is not None:
        parts.append(f"journal: {journal['durable']:,} frames, {journal['dropped']:,} dropped")
    say(f"{live.command}: " + "; ".join(parts))
    if found["store_failing"]:
        say(
            f"{found['rows_unstored']:,} rows could not be stored: {found['store_failing']}. "
            "`zvtc sync` loads the trades and candles among them; other kinds are lost"
        )
    return not found["store_failing"]
