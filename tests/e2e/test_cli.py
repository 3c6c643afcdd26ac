"""The command line as its users and their scripts know it."""

import csv
import fcntl
import io
import json
import os
import resource
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_process import Ended, finish, start, zvtc
from sim_process import Sim, simulator
from store_place import is_made, on_server, store_at

from zvt_crypto.core.timestamp import to_us

COLUMNS = [
    "timestamp", "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
    "taker_buy_volume",
]  # fmt: skip
PIPE_BYTES = 4_096
DAY = ("--since", "2024-03-05", "--until", "2024-03-06")
HOURS = ("BTC-USDT", "-i", "1h", *DAY)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "2000", "--exchange", "binance") as box:
        yield box


@pytest.fixture(scope="module")
def loaded(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """Return a folder with a loaded store, and what the load said."""
    folder = tmp_path_factory.mktemp("loaded")
    ended = zvtc(
        "load", "binance", "BTC-USDT", "BTC-USDT-PERP", "-k", "candles", "-k", "funding",
        "-k", "trades", "-i", "1h", *DAY, "--sim", sim.url, "--json", cwd=folder,
    )  # fmt: skip
    return folder, ended


# -- what scripts read ---------------------------------------------------------------------------


def test_load_ends_with_one_object(loaded: tuple[Path, Ended]) -> None:
    _, ended = loaded
    series: list[dict[str, Any]] = ended.json["series"]
    stopped = [one for one in series if one["status"] != "complete"]

    # spot pays no funding: that one series says so, the others are whole
    assert ended.code == 3, ended.err
    assert ended.json["status"] == "incomplete"
    assert [(s["kind"], s["symbol"], s["error"]["code"]) for s in stopped] == [
        ("funding", "BTC-USDT", "not_supported")
    ]
    wanted = "exchange symbol kind interval rows_written rows_total requests seconds coverage"
    assert all(set(wanted.split()) <= set(one) for one in series)
    rows = {(s["symbol"], s["kind"]): s["rows_written"] for s in series}
    assert rows["BTC-USDT", "candles"] == rows["BTC-USDT-PERP", "candles"] == 24
    assert rows["BTC-USDT-PERP", "funding"] == 3
    assert rows["BTC-USDT", "trades"] == 1_400  # seven orders of ten fills


def test_a_whole_load_ends_with_0_and_again_asks_nothing(sim: Sim, tmp_path: Path) -> None:
    command = ("load", "binance", *HOURS, "--sim", sim.url, "--json")
    assert zvtc(*command, cwd=tmp_path).code == 0
    before = sim.data_requests()

    again = zvtc(*command, cwd=tmp_path)

    assert (again.code, again.json["status"]) == (0, "complete")
    assert again.json["series"][0]["requests"] == 0
    assert sim.data_requests() == before


def test_a_plan_tells_what_a_load_will_download(sim: Sim, tmp_path: Path) -> None:
    months = ("binance", "BTC-USDT", "-i", "1m", "--since", "2024-01-01", "--until", "2024-05-01")
    more = ("--sim", sim.url, "--json")

    (plan,) = zvtc("plan", *months, *more, cwd=tmp_path).json["plan"]
    (done,) = zvtc("load", *months, *more, cwd=tmp_path).json["series"]

    assert plan["archive_files"] == 4
    assert plan["minutes"] > 0
    assert plan["bytes"] == pytest.approx(done["bytes"], rel=0.02)


def test_coverage_and_gaps_list_ranges(loaded: tuple[Path, Ended]) -> None:
    folder, _ = loaded
    ended = zvtc("coverage", "binance", "BTC-USDT", "1h", "--json", cwd=folder)

    (held,) = ended.json["ranges"]
    assert {name: held[name] for name in ("start", "end", "verdict", "source", "rows")} == {
        "start": "2024-03-05T00:00:00Z", "end": "2024-03-06T00:00:00Z",
        "verdict": "observed", "source": "rest", "rows": 24,
    }  # fmt: skip
    gaps = zvtc("gaps", "binance", "BTC-USDT", "1h", "--json", cwd=folder)
    assert (gaps.code, gaps.json["ranges"]) == (0, [])
    # a wider question shows what was never asked for
    wide = zvtc("gaps", "binance", "BTC-USDT", "1h", "--since", "2024-03-04", "--json", cwd=folder)
    assert [(g["start"], g["end"], g["verdict"]) for g in wide.json["ranges"]] == [
        ("2024-03-04T00:00:00Z", "2024-03-05T00:00:00Z", "unknown")
    ]
    assert zvtc("verify", "--json", cwd=folder).json["status"] == "verified"


@pytest.mark.parametrize("style", ["csv", "json", "parquet", "arrow", "table"])
def test_candles_come_in_every_format(loaded: tuple[Path, Ended], style: str) -> None:
    folder, _ = loaded
    into = folder / f"rows.{style}"
    with into.open("wb") as file:
        running = start("query", "candles", "binance", "BTC-USDT", "1h", "--format", style,
                        cwd=folder, into=file)  # fmt: skip
        assert running.wait(60) == 0
        running.communicate()
    match style:
        case "csv":
            rows = list(csv.reader(io.StringIO(into.read_text())))
            assert rows[0] == COLUMNS
            assert rows[1][0] == "2024-03-05T00:00:00Z"
            assert len(rows) == 25
        case "json":
            objects = json.loads(into.read_text())
            assert [list(one) for one in objects] == [COLUMNS] * 24
            assert objects[-1]["timestamp"] == "2024-03-05T23:00:00Z"
        case "parquet" | "arrow":
            read = pl.read_parquet if style == "parquet" else pl.read_ipc_stream
            frame = read(into)
            assert frame.columns == COLUMNS
            assert frame["timestamp"].dtype == pl.Datetime("us", "UTC")
            assert len(frame) == 24
        case _:
            assert "2024-03-05T00:00:00Z" in into.read_text()


@pytest.mark.parametrize("style", ["json", "arrow"])
def test_output_survives_a_pause_with_a_full_pipe(loaded: tuple[Path, Ended], style: str) -> None:
    folder, _ = loaded
    command = ("query", "trades", "binance", "BTC-USDT", *DAY, "--format", style)
    env = {"PYTHONUNBUFFERED": "1"}
    path = folder / "paused"
    with (
        path.open("wb") as file,
        start(*command, cwd=folder, env=env, into=file) as whole,
    ):
        assert whole.wait(60) == 0

    # given a reader that takes its time, and a writer that waits for it
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(reader, "rb") as read, os.fdopen(writer, "wb") as write:
        running = start(*command, cwd=folder, env=env, into=write)
        write.close()
        select.select([read], [], [], 60)
        time.sleep(0.3)

        # when the writer is stopped and goes on
        running.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        running.send_signal(signal.SIGCONT)
        time.sleep(0.1)

        # then nothing of it is lost
        assert read.read() == path.read_bytes()
    ended = finish(running)
    assert (ended.code, ended.err) == (0, "")


def test_trades_and_funding_are_queried(loaded: tuple[Path, Ended]) -> None:
    folder, _ = loaded
    trades = zvtc("query", "trades", "binance", "BTC-USDT", "-f", "csv", cwd=folder)
    assert trades.out.splitlines()[0] == "timestamp,trade_id,price,size,side,fills"
    assert len(trades.out.splitlines()) == 1_401
    funding = zvtc("query", "funding", "binance", "BTC-USDT-PERP", "-f", "csv", cwd=folder)
    assert funding.out.splitlines()[0] == "timestamp,funding_rate,interval_hours,mark_price"
    assert [line[:20] for line in funding.out.splitlines()[1:]] == [
        f"2024-03-05T{hour:02}:00:00Z" for hour in (0, 8, 16)
    ]


# -- bad input -----------------------------------------------------------------------------------

BAD = {
    "exchange": (("binanse", *HOURS), ["binance"]),
    "symbol": (("binance", "BTC-USDX", "-i", "1h", *DAY), ["BTC-USDT", "Nearest"]),
    "interval": (("binance", "BTC-USDT", "-i", "7m", *DAY), ["1m 5m"]),
    "reversed": (("binance", "BTC-USDT", "--since", "2024-03-06", "--until", "2024-03-05"),
                 ["reversed"]),
    "future": (("binance", "BTC-USDT", "--since", "2024-03-06", "--until", "2999-01-01"),
               ["future"]),
    "unreadable": (("binance", "BTC-USDT", "--since", "yesterday"), ["--since"]),
    "kind": (("binance", "BTC-USDT", "-k", "gossip"), ["candles"]),
    "no value": (("binance", "BTC-USDT", "--since"), ["--since"]),
    "no symbol": (("binance",), ["SYMBOLS"]),
    "no such option": (("binance", "BTC-USDT", "--sinse", "2024-03-05"), ["--since"]),
    "archive": (("binance", *HOURS, "--archive", "perhaps"), ["load.archive"]),
    "confirm": (("binance", *HOURS, "--confirm", "all"), ["load.confirm"]),
}  # fmt: skip


def check_refused(ended: Ended, folder: Path, words: list[str]) -> None:
    """Assert one line on standard error with the remedy, and that nothing was made."""
    assert ended.code == 2, ended.err
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    for word in words:
        assert word.lower() in ended.err.lower(), ended.err
    assert not is_made(store_at(folder / "data"))


def place_named(folder: Path) -> str:
    """Return what messages call the store of commands in `folder`."""
    return store_at(folder / "data").partition("schema=")[2] if on_server() else "data"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_with_the_remedy(sim: Sim, tmp_path: Path, case: str) -> None:
    arguments, words = BAD[case]

    ended = zvtc("load", *arguments, cwd=tmp_path, env={"ZVTC_SIM": sim.url})

    check_refused(ended, tmp_path, words)


def test_an_unknown_symbol_suggests_the_nearest_three(sim: Sim, tmp_path: Path) -> None:
    ended = zvtc("load", "binance", "BTC-USDX", *DAY, cwd=tmp_path, env={"ZVTC_SIM": sim.url})

    near = ended.err.split("Nearest: ")[1].split(". ")[0].split(", ")
    assert len(near) == 3
    assert "BTC-USDT" in near


def test_unknown_settings_are_refused_wherever_they_stand(sim: Sim, tmp_path: Path) -> None:
    command = ("load", "binance", *HOURS, "--sim", sim.url)
    by_env = zvtc(*command, cwd=tmp_path, env={"ZVTC_STOER": "x"})
    check_refused(by_env, tmp_path, ["ZVTC_STOER", "ZVTC_STORE"])
    (tmp_path / "zvtc.toml").write_text("[net]\nretry_four_s = 1\n")
    by_file = zvtc(*command, cwd=tmp_path)
    check_refused(by_file, tmp_path, ["net.retry_four_s", "zvtc.toml", "net.retry_for_s"])


def test_a_place_that_cannot_be_a_store_is_refused(sim: Sim, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not ours")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("not ours either")
    for place in ("file", "file/below", "foreign", "ftp://host/x"):
        ended = zvtc("load", "binance", *HOURS, "--sim", sim.url, "--store", place, cwd=tmp_path)
        check_refused(ended, tmp_path, [])
    assert (tmp_path / "file").read_text() == "not ours"
    assert [p.name for p in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "command",
    [("coverage",), ("gaps",), ("verify",), ("query", "candles", "okx", "BTC-USDT", "1h")],
)
def test_reading_makes_no_store(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = zvtc(*command, cwd=tmp_path)
    check_refused(ended, tmp_path, ["no store", place_named(tmp_path)])


# -- what goes wrong on the way ------------------------------------------------------------------


@pytest.mark.skipif(on_server(), reason="the disk of a server is not its client's")
def test_a_full_disk_stops_the_load_and_keeps_what_was_done(sim: Sim, tmp_path: Path) -> None:
    # given a disk that takes no file over half a megabyte
    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    command = ("load", "binance", "BTC-USDT", "-i", "1m", "--archive", "never",
               "--since", "2024-03-01", "--until", "2024-03-29", "--sim", sim.url,
               "--json")  # fmt: skip

    # when more than that is loaded
    ended = finish(start(*command, cwd=tmp_path, preexec_fn=small_disk))

    # then one line says so, and with more room the same command ends what was begun
    assert ended.code == 1, (ended.out, ended.err)
    assert ended.err.count("\n") == 1, ended.err
    assert "space" in ended.err
    again = zvtc(*command, cwd=tmp_path)
    assert (again.code, again.json["status"]) == (0, "complete"), again.err
    assert zvtc("verify", "--json", cwd=tmp_path).json["status"] == "verified"


def test_a_lost_network_ends_incomplete_and_resumes(tmp_path: Path) -> None:
    command = ("load", "binance", "BTC-USDT", "-i", "1m", "--archive", "never",
               "--since", "2024-01-01", "--until", "2024-05-30", "--json")  # fmt: skip
    env = {"ZVTC_NET__RETRY_FOR_S": "1"}
    options = ("--limits", "off", "--exchange", "binance")
    # given an exchange that goes away in the middle of a load
    with simulator(*options) as gone:
        gone.fault("slow", delay_s=0.3)
        running = start(*command, cwd=tmp_path, env={**env, "ZVTC_SIM": gone.url})
        deadline = time.monotonic() + 60
        while gone.data_requests() < 60 and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(gone.pid, signal.SIGKILL)
    ended = finish(running)

    # then the load says what is missing
    assert ended.code == 3, (ended.out, ended.err)
    (series,) = ended.json["series"]
    assert series["error"]["code"] == "network_fault"
    assert series["error"]["remedy"]
    kept = sum(r["rows"] for r in series["coverage"])
    assert kept == series["rows_total"] > 0
    # and ends it when the exchange is back
    with simulator(*options) as back:
        again = zvtc(*command, cwd=tmp_path, env={**env, "ZVTC_SIM": back.url})
    assert again.code == 0, again.err
    (series,) = again.json["series"]
    assert series["rows_written"] == series["rows_total"] - kept
    minutes = (to_us("2024-05-30") - to_us("2024-01-01")) // 60_000_000
    assert series["rows_total"] == minutes


def test_an_exchange_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    env = {"ZVTC_SIM": "http://127.0.0.1:9", "ZVTC_NET__RETRY_FOR_S": "0.5"}
    ended = zvtc("load", "binance", *HOURS, cwd=tmp_path, env=env)
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert "binance" in ended.err
