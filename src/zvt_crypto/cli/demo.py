"""`zvtc demo`: the main job end to end on simulated exchanges, damage and repair included."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.rule import Rule

from zvt_crypto.bootstrap.door import Door
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.demo_live import show_live
from zvt_crypto.cli.display import LoadDisplay, legend, out, print_report
from zvt_crypto.cli.export import Format, write_rows
from zvt_crypto.cli.load import INCOMPLETE
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.series import Kind, candle_series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.services.loader import LoadReport, LoadRequest

_SPOT: Final = {
    "binance": "BTC-USDT",
    "okx": "BTC-USDT",
    "bybit": "BTC-USDT",
    "coinbase": "BTC-USD",
}
# Bybit's REST has a thousand trades of a perpetual, sixty of a spot pair: too few to repair from.
_STREAMED: Final = _SPOT | {"bybit": "BTC-USDT-PERP"}
_FUNDED: Final = ("binance", "okx", "bybit")
_MONTH_DAYS: Final = 30
# Bulk files of the day are published by then at every exchange that has them.
_TRADES_DAYS_AGO: Final = 5
_READY_WITHIN_S: Final = 30.0
# Trades a day in the box that is streamed from: a dozen a second.
_LIVELY: Final = 1_000_000


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the demo's store.")] = Path("demo"),
    *,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is another market.")] = 7,
) -> None:
    """Run the main job in a minute or two, without a network.

    Starts simulated exchanges, loads a month of minute candles, a day of trades and funding from
    all four at once, shows what is held, damages one file on purpose, repairs it, and queries;
    then streams from all four, loses messages and lines on purpose, and repairs that too.
    """
    _clear(folder)
    console = out()
    began = time.monotonic()
    with _simulator(seed) as url:
        settings = settings_from(str(folder), url, state_dir=str(folder / ".budget"))
        console.print(Rule("zvt-crypto demo"))
        console.print(f"Four exchanges in a box at {url}; the store is {folder}/.")
        code = run(lambda platform: _tour(platform, console, folder), settings, create=True)
    _step(console, 6, "Live: trades, quotes and books of all four, damaged on the way, and healed")
    with _simulator(seed, "--trades-per-day", str(_LIVELY)) as url:
        folder_live = str(folder / "live")
        settings = settings_from(folder_live, url, state_dir=str(folder / ".budget"))
        is_whole = run(
            lambda platform: show_live(platform, console, url, _STREAMED), settings, create=True
        )
    code = code if is_whole else INCOMPLETE
    console.print(Rule())
    console.print(f"Done in {time.monotonic() - began:.0f} s. What to try next:")
    for line in (
        f"zvtc coverage --store {folder}              the ledger of everything loaded",
        f"zvtc query candles okx BTC-USDT 1h --store {folder} --last 24",
        "zvtc load binance BTC-USDT --interval 1m --since 2024-01-01     the real exchange",
        "zvtc plan coinbase BTC-USD --interval 1m --since 2020-01-01     what it would take",
        "zvtc stream binance BTC-USDT ETH-USDT --kind trades --kind book",
        "zvtc sim --port 8123                       the box, for your own programs",
    ):
        console.print(f"  {line}")
    if code:
        raise typer.Exit(code)


async def _tour(platform: Platform, console: Console, folder: Path) -> int:
    today = platform.clock.now_us() // US_PER_DAY * US_PER_DAY
    start, end = today - _MONTH_DAYS * US_PER_DAY, today
    day = today - _TRADES_DAYS_AGO * US_PER_DAY
    requests = [
        *(LoadRequest(e, s, Kind.CANDLES, Interval.M1, start, end) for e, s in _SPOT.items()),
        *(LoadRequest(e, s, Kind.TRADES, None, day, day + US_PER_DAY) for e, s in _SPOT.items()),
        *(LoadRequest(e, "BTC-USDT-PERP", Kind.FUNDING, None, start, end) for e in _FUNDED),
    ]
    _step(console, 1, "Load a month of 1m candles, a day of trades, a month of funding")
    console.print("[dim]Coinbase publishes no funding history; the other three are asked.[/dim]")
    report = await _load(platform, requests)
    print_report(report, platform.settings.sim)
    console.print(legend())

    _step(console, 2, "Load it again: the ledger knows, nothing is fetched")
    again = await _load(platform, requests)
    console.print(f"{sum(one.requests for one in again.series)} requests")

    _step(console, 3, "Damage a file on purpose, and let the digests find it")
    victim = _damage(folder)
    console.print(f"overwrote 64 bytes in {victim.relative_to(folder)}")
    found = await platform.store.verify()
    for fault in found.faults:
        console.print(
            f"[red]fault[/red] {fault.series} {format_us(fault.start)}..{format_us(fault.end)}: "
            f"{fault.detail}"
        )

    _step(console, 4, "Repair: throw away what is refuted, load it again, prove it")
    _, healed = await platform.loader.repair()
    print_report(healed)
    after = await platform.store.verify()
    state = "[red]still faulty[/red]" if after.faults else "[green]verified[/green]"
    console.print(f"{after.ranges:,} ranges with {after.rows:,} rows recomputed: {state}")

    _step(console, 5, "Query: the last five hours, made from the minutes just loaded")
    door = Door(platform)
    for exchange, symbol in _SPOT.items():
        hours = await door.candles(exchange, symbol, "1h", last=5)
        console.print(f"{exchange} {symbol} 1h, complete: {hours.is_complete}")
        write_rows(hours.table, Kind.CANDLES, Format.TABLE, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    rows = await platform.store.read(
        candle_series("binance", "BTC-USDT", Interval.M1), report.series[0].asked
    )
    is_good = report.is_complete and healed.is_complete and not after.faults and found.faults
    console.print(f"{rows.num_rows:,} of {_MONTH_DAYS * 1440:,} Binance minutes are held.")
    return 0 if is_good else INCOMPLETE


async def _load(platform: Platform, requests: Sequence[LoadRequest]) -> LoadReport:
    with LoadDisplay(platform.loader, quiet=False, sim=None):
        return await platform.loader.load(requests)


def _step(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}. {title}[/bold]")


def _damage(folder: Path) -> Path:
    """Overwrite the middle of one candle file of Binance, as a failing disk might."""
    files = sorted(folder.rglob("p_exchange=binance/**/p_interval=1m/*.parquet"))
    victim = files[0]
    with victim.open("r+b") as file:
        file.seek(victim.stat().st_size // 2)
        file.write(bytes(64))
    return victim


def _clear(folder: Path) -> None:
    """Remove an earlier demo; anything else in the way is not ours to remove."""
    if not folder.exists():
        return
    if not (folder / "catalog.sqlite").is_file() and any(folder.iterdir()):
        raise UsageError(
            f"{folder}/ is there and is no store of an earlier demo",
            remedy="Name another folder: zvtc demo FOLDER",
        )
    shutil.rmtree(folder)


@contextmanager
def _simulator(seed: int, *options: str) -> Generator[str]:
    """Run the simulator as a process of its own, so that it takes no time from the loader."""
    command = [sys.executable, "-m", "zvt_crypto.simulator", "--port", "0", "--seed", str(seed)]
    command += options
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the simulator has no output to read")
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_READY_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
