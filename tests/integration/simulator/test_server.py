"""The simulator as a process, its own paths, and its speed of light."""

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from aiohttp import ClientSession

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_stops_at_a_signal(number: signal.Signals):
    process = subprocess.Popen(
        [sys.executable, "-m", "zvt_crypto.simulator", "--port", "0", "--trades-per-day", "100"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        assert ready["url"].startswith("http://127.0.0.1:")
    finally:
        process.send_signal(number)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert rest == ""


def test_a_wrong_file_ends_it_with_one_line(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-m", "zvt_crypto.simulator", "--candles",
         f"{tmp_path}/none.csv=binance:BTC-USDT:1m"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "none.csv" in result.stderr


async def test_truth_comes_as_arrow_too(sim: Simulator, client: ClientSession):
    query = {"exchange": "binance", "symbol": "BTC-USDT", "interval": "1m",
             "start": "2024-01-01", "end": "2024-01-02"}  # fmt: skip
    async with client.get(f"{sim.url}/_truth/candles", params=query) as reply:
        rows = await reply.json()
    async with client.get(f"{sim.url}/_truth/candles", params=query | {"format": "arrow"}) as reply:
        table = pa.ipc.open_stream(await reply.read()).read_all()

    assert table.num_rows == len(rows) > 800
    assert table.column("close").to_pylist() == [float(row["close"]) for row in rows]
    assert table.column("open_time_us").to_pylist() == [row["open_time_us"] for row in rows]


async def test_truth_refuses_what_it_does_not_know(sim: Simulator, client: ClientSession):
    for path in (
        "/_truth/candles?exchange=binance&symbol=BTC-USDT",
        "/_truth/candles?exchange=nowhere&symbol=BTC-USDT&interval=1m",
        "/_truth/candles?exchange=binance&symbol=NOPE-USDT&interval=1m",
        "/_truth/candles?exchange=binance&symbol=BTC-USDT&interval=7m",
        "/_truth/candles?exchange=binance&symbol=BTC-USDT&interval=1m&start=yesterday",
    ):
        async with client.get(f"{sim.url}{path}") as reply:
            assert reply.status == 400, path
            assert (await reply.json())["error"]


async def test_requests_are_counted_and_the_counts_reset(sim: Simulator, client: ClientSession):
    for path in ("/binance/api/v3/klines?symbol=BTCUSDT&interval=1m", "/binance/api/v3/time"):
        async with client.get(f"{sim.url}{path}") as reply:
            assert reply.status == 200
    async with client.get(f"{sim.url}/_stats") as reply:
        stats = (await reply.json())["binance"]
    async with client.post(f"{sim.url}/_stats/reset") as reply:
        assert reply.status == 200
    async with client.get(f"{sim.url}/_stats") as reply:
        after = (await reply.json())["binance"]

    assert (stats["requests"], stats["data_requests"], stats["weight"]) == (2, 1, 3)
    assert stats["endpoints"] == {"/api/v3/klines": 1, "/api/v3/time": 1}
    assert stats["rows"] == 500
    assert after["requests"] == 0


async def test_answers_are_compressed_only_when_configured():
    url = "/binance/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=0"
    config = SimulatorConfig(trades_per_day=100, compress=True)
    async with (
        ClientSession(auto_decompress=False) as raw,
        Simulator(config) as packed,
        Simulator(SimulatorConfig(trades_per_day=100)) as plain,
    ):
        async with raw.get(packed.url + url) as reply:
            assert reply.headers["Content-Encoding"] == "gzip"
            body = gzip.decompress(await reply.read())
        async with raw.get(plain.url + url) as reply:
            assert "Content-Encoding" not in reply.headers
            assert await reply.read() == body


async def test_the_clock_can_be_elsewhere(client: ClientSession):
    config = SimulatorConfig(trades_per_day=100, clock_offset_s=-3 * 86_400)
    async with Simulator(config) as sim, client.get(f"{sim.url}/_clock") as reply:
        clock = await reply.json()
        url = f"{sim.url}/binance/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1"
        async with client.get(url) as page:
            rows = await page.json()

    assert clock["offset_us"] == -3 * 86_400 * 1_000_000
    assert 0 <= clock["now_us"] // 1_000 - rows[0][0] < 120_000
