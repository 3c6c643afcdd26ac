"""Files are served as they are, and refused in one line when they are wrong."""

import gzip
from pathlib import Path

import pytest

from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

HEADER = "open_time_ms,open,high,low,close,volume\n"
ROWS = "60000,1.10,1.3,1.0,1.2,5\n120000,1.2,1.40,1.1,1.3,2.50\n300007,1.3,1.3,1.3,1.3,0\n"


def load(path: Path, target: str) -> Simulator:
    return Simulator(SimulatorConfig(candles=(f"{path}={target}",)))


@pytest.mark.parametrize("packed", [False, True])
def test_rows_keep_their_texts_and_their_holes(tmp_path: Path, packed: bool):
    path = tmp_path / "a=b.csv"
    text = (HEADER + ROWS).encode()
    path.write_bytes(gzip.compress(text) if packed else text)

    sim = load(path, "binance:BTC-USDT:1m")

    rows = sim.world.files["binance", "BTC-USDT"].candles(bars.MINUTE)
    assert rows is not None
    assert rows.open_us.tolist() == [60_000_000, 120_000_000, 300_007_000]
    assert rows.high.texts() == ["1.3", "1.40", "1.3"]
    assert rows.base.texts() == ["5", "2.50", "0"]
    assert rows.quote.texts() == ["0", "0", "0"]


def test_several_files_of_a_series_are_one_series(tmp_path: Path):
    (tmp_path / "1.csv").write_text(HEADER + "60000,1,1,1,1,1\n")
    (tmp_path / "2.csv").write_text(HEADER + "0,2,2,2,2,2\n")
    sim = Simulator(
        SimulatorConfig(
            candles=tuple(f"{tmp_path}/{n}.csv=okx:BTC-USDT:1m" for n in (1, 2)),
        )
    )

    rows = sim.world.files["okx", "BTC-USDT"].candles(bars.MINUTE)

    assert rows is not None
    assert rows.open_us.tolist() == [0, 60_000_000]
    assert rows.base.texts() == ["2", "1"]


def test_a_wider_candle_is_added_up_exactly(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(HEADER + ROWS)

    rows = (
        load(path, "binance:BTC/USDT:1m")
        .world.files["binance", "BTC-USDT"]
        .candles(bars.MINUTES[5])
    )

    assert rows is not None
    assert rows.open_us.tolist() == [0, 300_000_000]
    assert rows.open.texts() == ["1.10", "1.3"]
    assert rows.high.texts() == ["1.40", "1.3"]
    assert rows.base.texts() == ["7.5", "0"]


@pytest.mark.parametrize(
    ("target", "native", "symbol"),
    [
        ("binance:ADAUSDT:1m", "ADAUSDT", "ADA-USDT"),
        ("binance:ADA/USDT:USDT:1m", "ADAUSDT", "ADA-USDT-PERP"),
        ("binance:BTCUSDT:1m", "BTCUSDT", "BTC-USDT"),
        ("okx:XRP-USDT-SWAP:1m", "XRP-USDT-SWAP", "XRP-USDT-PERP"),
        ("okx:BTC-USD-PERP:1m", "BTC-USD-SWAP", "BTC-USD-PERP"),
    ],
)
def test_symbols_are_canonical_ccxt_or_native(
    tmp_path: Path, target: str, native: str, symbol: str
):
    path = tmp_path / "a.csv"
    path.write_text(HEADER + ROWS)

    sim = load(path, target)

    exchange = target.partition(":")[0]
    assert list(sim.world.files) == [(exchange, symbol)]
    found = sim.world.venues[exchange].find_symbol(symbol)
    assert found is not None
    assert found.native == native


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        ("binance:BTC-USDT:7m", HEADER, "unknown interval"),
        ("kraken:BTC-USDT:1m", HEADER, "no exchange 'kraken'"),
        ("binance:BTC-USDT", HEADER, "write FILE=EXCHANGE:SYMBOL:INTERVAL"),
        ("binance:BTC-USDT:1m", "a,b\n", "no column open_time_ms"),
        ("binance:BTC-USDT:1m", HEADER + "1,2\n", "line 2 has 2 fields"),
        ("binance:BTC-USDT:1m", HEADER + "x,1,1,1,1,1\n", "milliseconds"),
        ("binance:BTC-USDT-PERP:funding", HEADER, "no column funding_time_ms"),
        ("binance:BTC-USD-PERP:1m", HEADER, "no inverse perpetual"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, target: str, text: str, message: str
):
    path = tmp_path / "a.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message) as caught:
        load(path, target)

    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"absent\.csv"):
        load(tmp_path / "absent.csv", "binance:BTC-USDT:1m")
