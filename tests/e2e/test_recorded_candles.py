"""Every recorded candle series, served by the simulator, comes back as it is in the file."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from recorded import CandleFile, candle_file_names, read_candle_file
from sim_process import Sim, simulator
from store_place import store_at

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import union
from zvt_crypto.core.series import Kind, candle_series
from zvt_crypto.services.loader import LoadRequest
from zvt_crypto.settings import load_settings

EXCHANGES = ("binance", "okx", "bybit", "coinbase")
NEVER_NATIVE = {("coinbase", Interval.W1), ("coinbase", Interval.MON1)}


def symbol_of(name: str, exchange: str, *, perpetual: bool) -> str:
    """Return a symbol of its own for a file: several files hold the same pair and interval."""
    base = "X" + "".join(c for c in name.upper() if c.isalnum())[-24:]
    if exchange == "coinbase":
        return f"{base}-USD"
    return f"{base}-USDT-PERP" if perpetual else f"{base}-USDT"


@pytest.fixture(scope="module")
def files(shared_data: Path) -> dict[str, CandleFile]:
    return {name: read_candle_file(shared_data, name) for name in candle_file_names(shared_data)}


@pytest.fixture(scope="module")
def sim(files: dict[str, CandleFile]) -> Iterator[Sim]:
    options: list[str] = []
    for name, file in files.items():
        for exchange in EXCHANGES:
            if (exchange, file.interval) in NEVER_NATIVE:
                continue
            for perpetual in (False, True) if exchange != "coinbase" else (False,):
                symbol = symbol_of(name, exchange, perpetual=perpetual)
                options += ["--candles", f"{file.path}={exchange}:{symbol}:{file.interval}"]
    with simulator("--limits", "off", *options) as running:
        yield running


@pytest.fixture
async def platform(sim: Sim, tmp_path: Path) -> AsyncIterator[Platform]:
    # The simulator sets no limits here, so the published ones only cost time.
    unlimited = {f"exchanges.{name}.limit_factor": 100.0 for name in EXCHANGES}
    settings = load_settings(
        {
            "store": store_at(tmp_path / "lake"),
            "sim": sim.url,
            "state_dir": str(tmp_path / "state"),
            **unlimited,
        }
    ).settings
    async with Platform(settings) as opened:
        yield opened


@pytest.mark.parametrize(
    ("exchange", "market"),
    [
        ("binance", "spot"),
        ("binance", "perpetual"),
        ("okx", "spot"),
        ("okx", "perpetual"),
        ("bybit", "spot"),
        ("bybit", "perpetual"),
        ("coinbase", "spot"),
    ],
)
async def test_every_file_reads_back_equal_and_every_hole_is_proven_empty(
    platform: Platform, files: dict[str, CandleFile], exchange: str, market: str
) -> None:
    served = {n: f for n, f in files.items() if (exchange, f.interval) not in NEVER_NATIVE}
    names = {n: symbol_of(n, exchange, perpetual=market == "perpetual") for n in served}

    # when all are loaded
    report = await platform.loader.load(
        [
            LoadRequest(exchange, names[n], Kind.CANDLES, f.interval, f.asked.start, f.asked.end)
            for n, f in served.items()
        ]
    )

    # then each equals its file row for row, and its holes are the known ones, exactly
    assert [r.error for r in report.series if r.error] == []
    for (name, file), one in zip(served.items(), report.series, strict=True):
        table = await platform.store.read(
            candle_series(exchange, names[name], file.interval), file.asked
        )
        assert table["timestamp"].cast(pa.int64()).to_pylist() == list(file.times_us), name
        for column in ("open", "high", "low", "close", "volume"):
            assert np.array_equal(np.asarray(table[column]), file.columns[column]), (name, column)
        if file.is_full and exchange == "binance":
            assert np.array_equal(np.asarray(table["quote_volume"]), file.columns["quote_volume"])
            assert np.array_equal(np.asarray(table["trade_count"]), file.columns["trades"])
            taker = np.asarray(table["taker_buy_volume"])
            assert np.array_equal(taker, file.columns["taker_buy_base"])
        empty = union(e.range for e in one.coverage if e.verdict is Verdict.EMPTY)
        assert empty == list(file.holes), name
        assert one.is_complete, name
    assert (await platform.store.verify()).faults == []
