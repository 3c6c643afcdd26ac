"""Bulk files to a proven store, beside pandas on the same files."""

import asyncio
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.bench import simulated
from zvt_crypto.cli.bench.history import check_report
from zvt_crypto.cli.bench.measure import RATE, Figure, Series, Target, lap, say
from zvt_crypto.cli.running import run
from zvt_crypto.core.errors import MissingExtra
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.net.http import HttpClient, HttpConfig
from zvt_crypto.ports.connector import ArchiveFile
from zvt_crypto.services.loader import LoadRequest

MONTH_ROWS: Final = 43_830
"""Minutes of a month, on average."""

_ROWS_S: Final = 1_900_000
_LARGEST_FILE: Final = 1 << 30
_COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
    "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip


def measure(rows: int, repeats: int, *, is_quick: bool) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench and return its settings and figures.

    Raises:
        MissingExtra: pandas is not installed.
    """
    _pandas()
    months = max(1, round(rows / MONTH_ROWS))
    with tempfile.TemporaryDirectory(prefix="zvtc-bench-") as name, simulated.simulator() as url:
        folder = Path(name)
        settings = simulated.settings_for(folder, url, "always")
        runs = run(
            lambda platform: _repeat(platform, folder, url, months, repeats),
            settings,
            create=True,
        )
        spans = [_minutes(one) for one in ((1, 2) if is_quick else (1, max(2, months)))]
        memory = simulated.memory_figures(url, folder, "always", spans, "archives")
    count = _minutes(months)
    return {"candles": count, "months": months, "repeats": repeats}, [
        Figure(
            "archive zips to proven store",
            RATE,
            runs["stored"],
            Target(_ROWS_S),
            "zipfile + pandas + parquet",
            runs["pandas"],
            note="ours downloads from the simulator and compares SHA-256 too, and writes a ledger; "
            "the peer's files lie on the disk already",
        ),
        Figure(
            "archive zips to table",
            RATE,
            runs["parsed"],
            note="downloaded, checked, parsed, not stored",
        ),
        *memory,
    ]


def _minutes(months: int) -> int:
    return (_month_start(months) - simulated.START) // US_PER_MINUTE


def _month_start(number: int) -> int:
    """Return where the month `number` after the first one begins."""
    year, month = (int(word) for word in format_us(simulated.START).split("-")[:2])
    years, at = divmod(month - 1 + number, 12)
    return to_us(f"{year + years}-{at + 1:02d}-01")


async def _repeat(
    platform: Platform, folder: Path, url: str, months: int, repeats: int
) -> dict[str, Series]:
    connector = platform.connectors[simulated.EXCHANGE]
    listed = await connector.instruments()
    instrument = next(one for one in listed if one.symbol == simulated.SYMBOL)
    asked = Range(simulated.START, _month_start(months))
    files = await connector.archives(instrument, Kind.CANDLES, Interval.M1, asked)
    files = [one for one in files if one.covers.end - one.covers.start > 27 * 1440 * US_PER_MINUTE]
    say(f"having the simulator build {len(files)} files")
    paths = await _download(files, folder)
    rows = (asked.end - asked.start) // US_PER_MINUTE
    runs = {name: Series() for name in ("stored", "pandas", "parsed")}
    for number in range(1, repeats + 1):
        say(f"repeat {number} of {repeats}")
        with tempfile.TemporaryDirectory(prefix="zvtc-bench-", dir=folder) as name:
            await _stored(Path(name), url, asked, runs["stored"])
        with tempfile.TemporaryDirectory(prefix="zvtc-bench-", dir=folder) as name, lap() as taken:
            got = await asyncio.to_thread(_with_pandas, paths, Path(name))
        _check(got, rows)
        runs["pandas"].add_rate(rows, taken)
        with lap() as taken:
            got = await _parsed(platform, instrument, files)
        _check(got, rows)
        runs["parsed"].add_rate(rows, taken)
    return runs


async def _stored(folder: Path, url: str, asked: Range, into: Series) -> None:
    async with Platform(simulated.settings_for(folder, url, "always")) as platform:
        request = LoadRequest(
            simulated.EXCHANGE, simulated.SYMBOL, Kind.CANDLES, Interval.M1, *asked
        )
        await platform.loader.instruments(simulated.EXCHANGE)
        with lap() as taken:
            report = await platform.loader.load([request])
        check_report(report, (asked.end - asked.start) // US_PER_MINUTE)
        into.add_rate(report.series[0].rows_written, taken)


async def _parsed(platform: Platform, instrument: Instrument, files: Sequence[ArchiveFile]) -> int:
    """Download, check and parse every file as the loader does, and store nothing."""
    rows = 0
    for file in files:
        parts = platform.connectors[simulated.EXCHANGE].fetch_archive(instrument, Interval.M1, file)
        async for part in parts:
            rows += part.table.num_rows
    return rows


async def _download(files: Sequence[ArchiveFile], folder: Path) -> list[Path]:
    paths: list[Path] = []
    # A file of the simulator is built when it is first asked for, which takes seconds.
    config = HttpConfig(read_timeout_s=300.0, total_timeout_s=300.0)
    async with HttpClient(simulated.EXCHANGE, config) as http:
        for file in files:
            path = folder / file.name
            reply = await http.download(file.url, path, max_bytes=_LARGEST_FILE)
            if not path.exists():
                raise RuntimeError(f"no {file.name}: status {reply.status}")
            if file.checksum_url:
                await http.get(file.checksum_url)
            paths.append(path)
    return paths


def _with_pandas(paths: Sequence[Path], folder: Path) -> int:
    """Do what most scripts do: unzip, read as CSV, write Parquet; no proof, no checksum."""
    pandas = _pandas()
    rows = 0
    for path in paths:
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
            frame = pandas.read_csv(member, header=None, names=_COLUMNS)
        frame.to_parquet(folder / f"{path.stem}.parquet")
        rows += len(frame)
    return rows


def _check(got: int, wanted: int) -> None:
    if got != wanted:
        raise RuntimeError(f"{got} rows came, {wanted} were asked for")


def _pandas() -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise MissingExtra("zvtc bench archive", "bench") from None
    return pd
