"""Several loaders at once: on one store and one series, and on one rate budget."""

import asyncio
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cli_process import finish, start
from judge import check_honest, check_settled
from sim_process import Sim, simulator
from store_place import store_at

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.settings import load_settings

ASKED = Range(to_us("2024-03-04"), to_us("2024-03-07"))
DAYS = ("--since", "2024-03-04", "--until", "2024-03-07")
# For a simulator that refuses nobody.
UNLIMITED = {
    f"ZVTC_EXCHANGES__{name}__LIMIT_FACTOR": "20"
    for name in ("BINANCE", "OKX", "BYBIT", "COINBASE")
}


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "4000") as running:
        running.fault("slow", delay_s=0.05)
        yield running


def load(
    folder: Path, sim: Sim, *arguments: str, env: Mapping[str, str] = UNLIMITED
) -> "subprocess.Popen[str]":
    return start(
        "load", *arguments, *DAYS, "-i", "1m", "--sim", sim.url,
        "--store", store_at(folder / "store"), "--json",
        cwd=folder, env=env,
    )  # fmt: skip


async def check(folder: Path, sim: Sim, *series: Series) -> None:
    values = {
        "store": store_at(folder / "store"),
        "sim": sim.url,
        "state_dir": str(folder / ".state"),
    }
    async with Platform(load_settings(values, cwd=folder, environ={}).settings) as platform:
        assert list((await platform.store.verify()).faults) == []
        for one in series:
            found = await check_honest(platform.store, sim, one, ASKED, verify=False)
            check_settled(found, ASKED)


def test_three_loaders_on_one_series_lose_nothing_and_store_nothing_twice(
    sim: Sim, tmp_path: Path
) -> None:
    # when three processes load the same series at once
    command = ("binance", "BTC-USDT", "-k", "candles", "-k", "trades")
    ended = [finish(one) for one in [load(tmp_path, sim, *command) for _ in range(3)]]

    # then each ends well, and the store holds every row once
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    btc = candle_series("binance", "BTC-USDT", Interval.M1)
    asyncio.run(check(tmp_path, sim, btc, Series("binance", "BTC-USDT", Kind.TRADES)))
    totals = {s["kind"]: s["rows_total"] for one in ended for s in one.json["series"]}
    assert totals == {"candles": 3 * 1_440, "trades": 3 * 2_800}


@pytest.mark.campaign
def test_loaders_of_different_series_share_a_store(sim: Sim, tmp_path: Path) -> None:
    # when processes load different series of different exchanges at once
    symbols = {"binance": "ETH-USDT", "bybit": "BTC-USDT", "okx": "BTC-USDT", "coinbase": "BTC-USD"}
    running = [load(tmp_path, sim, *pair) for pair in symbols.items()]
    ended = [finish(one) for one in running]

    # then all is there
    assert [one.code for one in ended] == [0] * 4, [one.err for one in ended]
    wanted = [candle_series(exchange, symbol, Interval.M1) for exchange, symbol in symbols.items()]
    asyncio.run(check(tmp_path, sim, *wanted))


@pytest.mark.slow
def test_two_processes_share_one_rate_budget(tmp_path: Path) -> None:
    # given an exchange with its limits in force, and work for some ten seconds
    with simulator("--limits", "real", "--exchange", "coinbase") as strict:
        # when two processes load different series as fast as they may
        running = [load(tmp_path, strict, "coinbase", s, "--archive", "never", env={}) for s in
                   ("BTC-USD", "ETH-USD")]  # fmt: skip
        ended = [finish(one) for one in running]
        stats = strict.stats("coinbase")

    # then together they stay within them, and do use them
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    assert stats["429"] == 0
    assert max(stats["peak_share"].values()) > 0.5
