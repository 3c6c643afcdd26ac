"""The recorded candle files and what is known to be true of them."""

import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range

US = 1_000


@dataclass(frozen=True)
class CandleFile:
    """One file of `data/ohlcv`: `columns` as float64, times in microseconds."""

    name: str
    path: Path
    interval: Interval
    times_us: Sequence[int]
    columns: dict[str, np.ndarray]
    holes: Sequence[Range]

    @property
    def is_full(self) -> bool:
        """Return whether it has the exchange's other columns too."""
        return "quote_volume" in self.columns

    @property
    def asked(self) -> Range:
        """Return from the first open to the close of the last."""
        return Range(self.times_us[0], self.interval.shift(self.times_us[-1], 1))


def candle_file_names(shared_data: Path) -> list[str]:
    """Return the names of all candle files, without the funding one."""
    files = sorted((shared_data / "ohlcv").glob("*.csv.gz"))
    return [f.name.removesuffix(".csv.gz") for f in files if not f.name.startswith("funding")]


def read_candle_file(shared_data: Path, name: str) -> CandleFile:
    """Read a file with Python's own parser and float, and its holes from `expected`."""
    path = shared_data / "ohlcv" / f"{name}.csv.gz"
    with gzip.open(path, "rt") as lines:
        rows = list(csv.DictReader(lines))
    expected = json.loads((shared_data / "expected" / f"ohlcv__{name}.json").read_text())
    interval = Interval.parse(expected["timeframe"])
    holes = [
        Range(first * US, interval.shift(last * US, 1))
        for first, last in expected["missing_ranges_ms"]
    ]
    wanted = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_base")
    columns = {
        column: np.array([float(row[column]) for row in rows])
        for column in wanted
        if column in rows[0]
    }
    times = [int(row["open_time_ms"]) * US for row in rows]
    return CandleFile(name, path, interval, times, columns, holes)
