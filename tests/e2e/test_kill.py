"""A load that is killed at any moment loses nothing, and the next one goes on from there."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

import pytest
from cli_process import finish, start
from judge import check_honest, check_settled
from sim_process import Sim, simulator
from store_place import store_at

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import owed
from zvt_crypto.core.ranges import Range, intersect, subtract, total
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.settings import Settings, load_settings

KILLS: Final = int(os.environ.get("ZVTC_TEST_KILLS", "3"))
LOADS: Final = {
    "binance": ("BTC-USDT", "ETH-USDT"),
    "bybit": ("BTC-USDT-PERP",),
    "coinbase": ("BTC-USD",),
}
SINCE: Final = to_us("2024-03-04")
DAYS: Final = 3
DAY_US: Final = 86_400_000_000
MINUTE_MS: Final = 60_000
WITHIN_S: Final = 60
# The simulator refuses nobody: what makes a load last is how slowly it answers.
UNLIMITED: Final = {f"ZVTC_EXCHANGES__{name.upper()}__LIMIT_FACTOR": "20" for name in LOADS}


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "4000") as running:
        # An exchange that takes its time: so a kill strikes in the middle.
        running.fault("slow", delay_s=0.15)
        yield running


def asked_of(days: int = DAYS) -> Range:
    return Range(SINCE, SINCE + days * DAY_US)


def command(folder: Path, exchange: str, sim: Sim, days: int = DAYS) -> list[str]:
    asked = asked_of(days)
    return [
        "load", exchange, *LOADS[exchange], "--kind", "candles", "--kind", "trades", "-i", "1m",
        "--since", format_us(asked.start), "--until", format_us(asked.end),
        "--store", store_at(folder / "store"), "--sim", sim.url, "--json",
    ]  # fmt: skip


def series_of(exchange: str) -> list[Series]:
    return [
        one
        for symbol in LOADS[exchange]
        for one in (
            candle_series(exchange, symbol, Interval.M1),
            Series(exchange, symbol, Kind.TRADES),
        )
    ]


ALL: Final = [one for exchange in LOADS for one in series_of(exchange)]


def settings(folder: Path, sim: Sim) -> Settings:
    return load_settings(
        {"store": store_at(folder / "store"), "sim": sim.url, "state_dir": str(folder / ".state")},
        environ={},
    ).settings


async def plan(folder: Path, sim: Sim, asked: Range) -> dict[Series, list[Range]]:
    """Return what the ledger says is owed."""
    async with Platform(settings(folder, sim)) as platform:
        return {one: owed([asked], await platform.store.coverage(one, asked)) for one in ALL}


async def check(folder: Path, sim: Sim, asked: Range, *, complete: bool = False) -> None:
    async with Platform(settings(folder, sim)) as platform:
        assert list((await platform.store.verify()).faults) == []
        for one in ALL:
            found = await check_honest(platform.store, sim, one, asked, verify=False)
            if complete:
                check_settled(found, asked)


# -- what the simulator was asked ----------------------------------------------------------------


def asked_ranges(sim: Sim, exchange: str) -> list[tuple[str, Range]]:
    """Return the native name and the range of every request for minute candles."""
    found: list[tuple[str, Range]] = []
    for one in sim.asked(exchange):
        query: Mapping[str, str] = one["query"]
        match exchange:
            case "binance" if "klines" in one["endpoint"] and query["interval"] == "1m":
                if query["limit"] != "1":
                    found.append((query["symbol"], _ms(query["startTime"], query["endTime"])))
            case "bybit" if "kline" in one["endpoint"] and query["interval"] == "1":
                if query["limit"] != "1" and "end" in query:
                    found.append((query["symbol"], _ms(query["start"], query["end"])))
            case "coinbase" if query.get("granularity") == "ONE_MINUTE":
                name = one["path"].split("/")[-2]
                start, end = int(query["start"]) * 1_000, int(query["end"]) * 1_000
                found.append((name, _ms(start, end)))
            case _:
                pass
    return found


def _ms(start: str | int, last: str | int) -> Range:
    return Range(int(start) * 1_000, (int(last) + 1) * 1_000)


def natives(exchange: str) -> dict[str, str]:
    if exchange == "coinbase":
        return {symbol: symbol for symbol in LOADS[exchange]}
    return {s.removesuffix("-PERP").replace("-", ""): s for s in LOADS[exchange]}


def files_asked(sim: Sim, exchange: str) -> list[str]:
    """Return the bulk files asked for, by name, checksums and listings left out."""
    paths = [one["path"] for one in sim.asked(exchange)]
    return [p.rsplit("/", 1)[1] for p in paths if p.endswith((".zip", ".csv.gz"))]


def check_asked(sim: Sim, plans: Mapping[Series, Sequence[Range]]) -> None:
    """Assert that since the statistics were reset nothing was asked for that was settled."""
    for exchange in LOADS:
        for native, part in asked_ranges(sim, exchange):
            series = candle_series(exchange, natives(exchange)[native], Interval.M1)
            left = plans[series]
            assert intersect([part], left), f"{series} {part} asked again"
            if exchange != "coinbase":
                # Without holes there is nothing to prove: only what is owed is asked for.
                assert total(subtract([_opens(part)], left)) == 0, f"{series} {part} {left}"
        for name in files_asked(sim, exchange):
            symbol = next(s for n, s in natives(exchange).items() if name.startswith(n))
            date = next(p for p in _dates() if p in name)
            covers = Range(to_us(date), to_us(date) + DAY_US)
            left = plans[Series(exchange, symbol, Kind.TRADES)]
            if "kline" not in name and "1m" not in name:
                assert intersect([covers], left), f"{name} fetched again"


def _opens(part: Range) -> Range:
    """Return from the first to the last open asked for: the last millisecond says no more."""
    return Range(part.start, part.end - part.end % (MINUTE_MS * 1_000))


def _dates() -> list[str]:
    return [format_us(SINCE + n * DAY_US)[:10] for n in range(DAYS)]


# -- kills ---------------------------------------------------------------------------------------


def begin(folder: Path, sim: Sim) -> list["subprocess.Popen[str]"]:
    return [start(*command(folder, exchange, sim), cwd=folder, env=UNLIMITED) for exchange in LOADS]


def reap(running: Sequence["subprocess.Popen[str]"]) -> None:
    for one in running:
        one.kill()
    for one in running:
        one.communicate(timeout=WITHIN_S)


@pytest.mark.slow
def test_killed_loads_resume_and_ask_for_nothing_they_hold(sim: Sim, tmp_path: Path) -> None:
    chance = Random(20)
    asked = asked_of()
    plans: dict[Series, list[Range]] = {one: [asked] for one in ALL}
    folder, lap = tmp_path / "0", 0
    folder.mkdir()
    for _ in range(KILLS):
        # when three loads, of several series each, are killed at once at a random moment
        sim.send("POST", "/_stats/reset")
        running = begin(folder, sim)
        _wait_for_requests(sim, running, chance.randrange(1, 60))
        reap(running)

        # then what is held is true, and only what was owed had been asked for
        check_asked(sim, plans)
        asyncio.run(check(folder, sim, asked))
        plans = asyncio.run(plan(folder, sim, asked))
        if not any(plans.values()):
            lap += 1
            folder = tmp_path / str(lap)
            folder.mkdir()
            plans = {one: [asked] for one in ALL}

    # when it is let run to its end
    sim.send("POST", "/_stats/reset")
    ended = [finish(one) for one in begin(folder, sim)]

    # then all is there, and nothing that was held had been asked for
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    check_asked(sim, plans)
    asyncio.run(check(folder, sim, asked, complete=True))

    # and once more sends no request for data at all
    sim.send("POST", "/_stats/reset")
    again = [finish(one) for one in begin(folder, sim)]
    assert [one.code for one in again] == [0, 0, 0]
    assert sim.data_requests() == 0
    assert [s["rows_written"] for one in again for s in one.json["series"]] == [0] * len(ALL)


def _wait_for_requests(sim: Sim, running: Sequence["subprocess.Popen[str]"], count: int) -> None:
    """Wait until so much data was asked for, or all have ended."""
    deadline = time.monotonic() + WITHIN_S
    while sim.data_requests() < count and any(one.poll() is None for one in running):
        assert time.monotonic() < deadline, "the loads ask for nothing"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_load_in_good_order(sim: Sim, tmp_path: Path, number: int) -> None:
    # given a load under way
    sim.send("POST", "/_stats/reset")
    with start(*command(tmp_path, "binance", sim, days=8), cwd=tmp_path) as running:
        _wait_for_requests(sim, [running], 10)

        # when it is asked to stop
        running.send_signal(number)
        out, err = running.communicate(timeout=15)

    # then it says so in one line
    assert running.returncode == 130, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert "resumes" in err
    # and the same command goes on from there
    asked = asked_of(8)
    plans = asyncio.run(plan(tmp_path, sim, asked))
    sim.send("POST", "/_stats/reset")
    ended = finish(start(*command(tmp_path, "binance", sim, days=8), cwd=tmp_path))
    assert ended.code == 0, ended.err
    for native, part in asked_ranges(sim, "binance"):
        symbol = natives("binance")[native]
        assert intersect([part], plans[candle_series("binance", symbol, Interval.M1)])
