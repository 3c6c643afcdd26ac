"""What the benches run against: simulated exchanges as a process of their own, and their truth."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from zvt_crypto.cli.bench.measure import Figure, Series, Target, peak_memory_mb, say
from zvt_crypto.cli.running import settings_from
from zvt_crypto.core.interval import US_PER_MINUTE
from zvt_crypto.core.schema import CANDLES
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.net.http import HttpClient, HttpConfig
from zvt_crypto.settings import Settings

EXCHANGE: Final = "binance"
SYMBOL: Final = "BTC-USDT"
START: Final = to_us("2023-01-01")
"""Where the candles of the benches begin: two years of them are files of whole months."""

_STOP_WITHIN_S: Final = 30.0
_TRUTH_ROWS: Final = 250_000
_MEMORY_MB: Final = 300.0


@contextmanager
def simulator(*, limits: str = "off") -> Generator[str]:
    """Run simulated Binance beside us and give its URL; `limits` as `zvtc sim` takes them."""
    command = [sys.executable, "-m", "zvt_crypto.simulator", "--port", "0", "--seed", "7"]
    command += ["--limits", limits, "--exchange", EXCHANGE]
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
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def settings_for(folder: Path, url: str, archive: str = "never", **more: object) -> Settings:
    """Return settings for a load into a new store under `folder`; budgets are kept there too."""
    names = {"load.archive": archive, **more}
    return settings_from(str(folder / "store"), url, state_dir=str(folder / "state"), **names)


async def get_json(url: str, path: str) -> Any:
    """Return what the simulator says at one of its own paths."""
    async with HttpClient("simulator") as http:
        return json.loads((await http.get(f"{url}{path}")).body)


async def truth_candles(url: str, rows: int) -> pa.Table:
    """Return simulated 1m candles: decimals of a market that trades, not random bits.

    Minutes without a trade are left out, so there may be a few less than `rows`.
    """
    parts: list[pa.Table] = []
    config = HttpConfig(max_body_bytes=1 << 30, read_timeout_s=300.0, total_timeout_s=300.0)
    async with HttpClient("simulator", config) as http:
        for at in range(0, rows, _TRUTH_ROWS):
            start = START + at * US_PER_MINUTE
            end = START + min(rows, at + _TRUTH_ROWS) * US_PER_MINUTE
            params = {"exchange": EXCHANGE, "symbol": SYMBOL, "interval": "1m", "format": "arrow"}
            params |= {"start": format_us(start), "end": format_us(end)}
            reply = await http.get(f"{url}/_truth/candles", params=params)
            table = pa.ipc.open_stream(reply.body).read_all()
            table = table.rename_columns(
                ["timestamp" if n == "open_time_us" else n for n in table.column_names]
            )
            # As the connectors have them: whole numbers, where the exact texts were read as floats.
            counts = pa.array(table["trade_count"].to_numpy().astype(np.int64))
            at_count = table.column_names.index("trade_count")
            table = table.set_column(at_count, "trade_count", counts)
            parts.append(table.select(CANDLES.names).cast(CANDLES))
    return pa.concat_tables(parts).combine_chunks()


def memory_figures(
    url: str, folder: Path, archive: str, minutes: Sequence[int], name: str
) -> list[Figure]:
    """Load ever longer ranges, each in a process of its own, and return their peaks."""
    figures: list[Figure] = []
    for span in minutes:
        say(f"peak memory of a load of {span:,} candles")
        end = format_us(START + span * US_PER_MINUTE)
        command = [sys.executable, "-m", "zvt_crypto.cli.main", "load", EXCHANGE, SYMBOL]
        command += ["--interval", "1m", "--since", format_us(START), "--until", end]
        command += ["--store", str(folder / f"{archive}-{span}"), "--sim", url]
        command += ["--archive", archive, "--json"]
        peak = peak_memory_mb(command, {"ZVTC_STATE_DIR": str(folder / f"{archive}-{span}-state")})
        figures.append(
            Figure(
                f"peak memory, {name}, {span:,} candles",
                "MB",
                Series([peak]),
                Target(_MEMORY_MB, is_ceiling=True),
            )
        )
    return figures
