"""`zvtc stream`, `record`, `top`, `status`, `sync --live` as processes against the simulator."""

import json
import os
import re
import resource
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import Ended, finish, start, zvtc
from sim_process import Sim, simulator

import zvt_crypto as zc
from zvt_crypto.bootstrap.presence import read_all
from zvt_crypto.cli.telling import KINDS
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.services.journal import JournalReader
from zvt_crypto.services.stream.metrics import NAMES

_WITHIN_S = 30.0
_DISK = 200_000


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    options = ("--limits", "off", "--exchange", "binance", "--exchange", "okx")
    with simulator("--trades-per-day", "2000000", *options) as box:
        yield box


class Running:
    """A command in the background, its output in files: a full pipe must not hold it up."""

    def __init__(self, folder: Path, *arguments: str, **more: Any) -> None:
        self.folder = folder
        self._err = b""
        with (folder / "out").open("wb") as out:
            self.process = start(*arguments, cwd=folder, into=out, **more)

    @property
    def err(self) -> str:
        """Return what it has said beside the records so far."""
        stderr = self.process.stderr
        assert stderr is not None
        os.set_blocking(stderr.fileno(), False)
        try:
            self._err += os.read(stderr.fileno(), 1 << 20)
        except BlockingIOError:
            pass
        finally:
            os.set_blocking(stderr.fileno(), True)
        return self._err.decode()

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8")

    def until(self, condition: Callable[[], Any]) -> Any:
        """Return what the condition gives once it is true."""
        until = time.monotonic() + _WITHIN_S
        while time.monotonic() < until:
            assert self.process.poll() is None, finish(self.process).err
            if found := condition():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {_WITHIN_S} s: {self.out[-2_000:]}")

    def stop(self, number: int = signal.SIGTERM) -> Ended:
        self.process.send_signal(number)
        ended = finish(self.process)
        return Ended(ended.code, self.out, self._err.decode() + ended.err)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*arguments: str, **more: Any) -> Running:
        started.append(Running(tmp_path, *arguments, **more))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def living(folder: Path) -> list[dict[str, Any]]:
    return read_all(folder / ".state", SystemClock())


def records(one: Running, kind: str, symbol: str) -> int:
    return len(re.findall(rf'"type":"{kind}","exchange":"\w+","symbol":"{symbol}"', one.out))


def set_subscriptions(folder: Path, *words: str) -> None:
    draft = folder / "draft"
    draft.write_text(f"[stream]\nsubscriptions = {json.dumps(words)}\n", encoding="utf-8")
    draft.replace(folder / "zvtc.toml")


# -- stream --------------------------------------------------------------------------------------


def test_a_stream_prints_ndjson_and_has_stored_all_of_it_when_it_is_ended(
    sim: Sim, tmp_path: Path, running: Callable[..., Running]
) -> None:
    # given a stream of two exchanges
    words = ("binance:BTC-USDT:trades", "okx:BTC-USDT-PERP:trades", "binance:BTC-USDT:quotes")
    stream = running("stream", *words, "--json", "--sim", sim.url)
    stream.until(
        lambda: (
            records(stream, "trade", "BTC-USDT") > 3
            and records(stream, "trade", "BTC-USDT-PERP") > 3
            and records(stream, "quote", "BTC-USDT") > 0
        )
    )

    # when it is told to end
    ended = stream.stop()

    # then it ends well, every line was a record, and each trade printed is stored
    assert ended.code == 0, ended.err
    told = lines(ended.out)
    assert {one["type"] for one in told} <= set(KINDS.values())
    trades = [one for one in told if one["type"] == "trade" and one["exchange"] == "binance"]
    ids = [one["trade_id"] for one in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    with zc.open(tmp_path / "data", state_dir=str(tmp_path / ".state")) as db:
        # The ledger claims neither edge: others of the same moments may have been there.
        bounds = (trades[0]["ts_event"], trades[-1]["ts_event"] + 1)
        stored = db.trades("binance", "BTC-USDT", *bounds).table
    assert [int(one) for one in stored.column("trade_id").to_pylist()] == ids
    assert stored.column("price").to_pylist() == [one["price"] for one in trades]
    # and its last words are beside the records
    assert re.search(
        rf"^stream: .* {len(told):,} records; .* rows stored; ", ended.err, re.MULTILINE
    )
    assert "0 open" in ended.err


def test_books_that_are_kept_are_shown_as_they_stood(
    sim: Sim, tmp_path: Path, running: Callable[..., Running]
) -> None:
    # given a stream that keeps books, printed as they come
    words = ("okx:BTC-USDT:book", "--keep-books", "--json", "--sim", sim.url)
    stream = running("stream", *words)
    stream.until(lambda: records(stream, "book", "BTC-USDT") > 12)
    ended = stream.stop()
    assert ended.code == 0, ended.err
    told = [one for one in lines(ended.out) if one["type"] == "book"]

    # when it is asked how one stood
    at = told[8]["ts_event"]
    asked = ("--at", format_us(at), "--depth", "1", "--format", "json")
    shown = zvtc("query", "book", "okx", "BTC-USDT", *asked, cwd=tmp_path)

    # then it is the book that the printed messages make
    bids: dict[float, float] = {}
    for one in told[:9]:
        bids = {p: s for p, s in (bids | dict(one["bids"])).items() if s}
    (top,) = json.loads(shown.out)
    assert (top["bid_price"], top["bid_size"]) == max(bids.items())
    assert f"number {told[8]['sequence']}" in shown.err
    with zc.open(tmp_path / "data", state_dir=str(tmp_path / ".state")) as db:
        kinds = {info.series.kind.value: info.rows for info in db.series()}
    assert kinds == {"book_deltas": len(told) - 1, "book_snapshots": 1}


def test_lines_for_people_and_ctrl_c(sim: Sim, running: Callable[..., Running]) -> None:
    stream = running("stream", "binance", "BTC/USDT", "--kind", "trades", "--sim", sim.url)
    stream.until(lambda: stream.out.count("\n") > 3)

    ended = stream.stop(signal.SIGINT)

    assert ended.code == 0, ended.err
    shown = r"\d\d:\d\d:\d\d\.\d{3} trade     binance BTC-USDT  +(?:buy |sell) \S+ @ \S+  id \d+"
    assert all(re.fullmatch(shown, line) for line in ended.out.splitlines())


def test_quiet_prints_gaps_and_their_repair_only(sim: Sim, running: Callable[..., Running]) -> None:
    # given a quiet stream
    stream = running(
        "stream", "binance", "ETH-USDT", "-k", "trades", "--quiet", "--json", "--sim", sim.url
    )
    stream.until(lambda: any(one["series"] for one in living(stream.folder)))
    stream.until(lambda: living(stream.folder)[0]["series"][0]["messages"] > 5)

    # when messages are lost
    sim.fault("ws_drop", exchange="binance", symbol="ETH-USDT", channel="trades", first=3)
    try:
        stream.until(lambda: "gap_repaired" in stream.out)
    finally:
        sim.heal()
    ended = stream.stop()

    # then that is all it says, and the summary counts it
    assert ended.code == 0
    told = lines(ended.out)
    assert {one["type"] for one in told} == {"gap", "gap_repaired"}
    assert told[0]["kind"] == "trades"
    assert told[0]["start"] < told[0]["end"]
    repaired = sum(one["type"] == "gap_repaired" for one in told)
    assert f"gaps: {repaired} repaired, 0 unrecoverable, 0 open" in ended.err


def test_a_change_of_the_settings_is_applied_and_a_broken_one_is_not(
    sim: Sim, tmp_path: Path, running: Callable[..., Running]
) -> None:
    # given a stream that takes its subscriptions from the file
    set_subscriptions(tmp_path, "binance:BTC-USDT:trades")
    stream = running("stream", "--json", "--sim", sim.url)
    stream.until(lambda: records(stream, "trade", "BTC-USDT"))

    # when the file is broken, then the old set stays
    (tmp_path / "zvtc.toml").write_text("[stream\n", encoding="utf-8")
    stream.until(lambda: "cannot be read" in stream.err)
    # when a symbol in it does not exist, then too
    set_subscriptions(tmp_path, "binance:NOPE-USDT:trades")
    stream.until(lambda: "NOPE-USDT" in stream.err)
    before = records(stream, "trade", "BTC-USDT")
    stream.until(lambda: records(stream, "trade", "BTC-USDT") > before)
    # when it is good, then it is followed
    set_subscriptions(tmp_path, "binance:ETH-USDT:trades", "okx:BTC-USDT:quotes")
    wanted = {("binance", "ETH-USDT", "trades"), ("okx", "BTC-USDT", "quotes")}
    stream.until(
        lambda: (
            wanted
            == {
                (one["exchange"], one["symbol"], one["kind"])
                for one in living(tmp_path)[0]["series"]
            }
        )
    )
    stream.until(
        lambda: records(stream, "trade", "ETH-USDT") and records(stream, "quote", "BTC-USDT")
    )
    ended = stream.stop()
    assert ended.code == 0
    told = [line for line in ended.err.splitlines() if line.startswith("zvtc.toml")]
    assert len(told) == 3
    assert "cannot be read" in told[0]
    assert "NOPE-USDT" in told[1]
    assert told[2] == "zvtc.toml: 2 series now, 2 added, 1 removed"


def test_a_reader_who_leaves_ends_the_stream_in_good_order(sim: Sim, tmp_path: Path) -> None:
    process = start("stream", "binance", "BTC-USDT", "-k", "trades", "--sim", sim.url, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()

    assert process.wait(_WITHIN_S) == 0
    assert process.stderr is not None
    assert "rows stored" in process.stderr.read()
    process.stderr.close()


def test_a_full_disk_stops_neither_records_nor_the_end(
    sim: Sim, tmp_path: Path, running: Callable[..., Running]
) -> None:
    # given a disk that takes little more than an empty store
    stream = running(
        "stream", "binance:BTC-USDT:trades", "binance:BTC-USDT:quotes", "-q", "--sim", sim.url,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_DISK, _DISK)),
    )  # fmt: skip

    # when it is full, then it is said, and records go on to who wants them
    stream.until(lambda: any(one["sink"]["failing"] for one in living(tmp_path)))
    before = living(tmp_path)[0]["totals"]["messages"]
    stream.until(lambda: living(tmp_path)[0]["totals"]["messages"] > before + 5)
    assert "the store takes no rows" in zvtc("top", "--once", cwd=tmp_path).out

    # and the end says what was not stored, and how to get it
    ended = stream.stop()
    assert ended.code == 1
    assert re.search(r"^\d+ rows could not be stored: no space left", ended.err, re.MULTILINE)


def test_an_unknown_symbol_is_refused_in_one_line_and_makes_no_store(
    sim: Sim, tmp_path: Path
) -> None:
    ended = zvtc("stream", "binance:BTC-USTD:trades", "--sim", sim.url, cwd=tmp_path)

    assert (ended.code, ended.out) == (2, "")
    assert "no instrument 'BTC-USTD'" in ended.err
    assert "BTC-USDT" in ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert not (tmp_path / "data").exists()


# -- top, status, metrics ------------------------------------------------------------------------


def test_top_status_and_metrics_tell_of_a_running_stream(
    sim: Sim, tmp_path: Path, running: Callable[..., Running]
) -> None:
    # given a stream that serves metrics
    command = ("stream", "binance", "BTC-USDT", "-k", "trades", "-k", "book", "--json")
    stream = running(*command, "--metrics-port", "0", "--sim", sim.url)
    stream.until(lambda: records(stream, "trade", "BTC-USDT") > 5)
    stream.until(lambda: living(tmp_path)[0]["totals"]["rows_stored"] > 0)

    # then top shows it, as text and as JSON
    (one,) = zvtc("top", "--json", cwd=tmp_path).json["processes"]
    assert (one["command"], one["stage"], one["pid"]) == ("stream", "live", stream.process.pid)
    series = {each["kind"]: each for each in one["series"]}
    assert set(series) == {"trades", "book"}
    assert series["trades"]["verdict"] == "live"
    assert series["trades"]["messages_per_s"] > 0
    assert 0 < series["trades"]["latency_ms"]["p50"] <= series["trades"]["latency_ms"]["p99"]
    assert series["trades"]["gaps"] == {"open": 0, "repaired": 0, "unrecoverable": 0}
    shown = zvtc("top", "--once", cwd=tmp_path)
    assert shown.code == 0
    assert "BTC-USDT" in shown.out
    assert f"pid {stream.process.pid}" in shown.out

    # and status names it beside the store
    status = zvtc("status", "--offline", "--sim", sim.url, cwd=tmp_path)
    assert status.code == 0
    assert "2 series: 2 live" in status.out

    # and every metric is served
    with urllib.request.urlopen(one["metrics"], timeout=10) as reply:
        page = reply.read().decode()
    served = set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
    assert {name.removesuffix("_created") for name in served} == set(NAMES)
    counted = re.search(
        r'^stream_messages_total\{exchange="binance",kind="trades"\} (.*)$', page, re.MULTILINE
    )
    assert counted is not None
    assert float(counted[1]) > 5
    assert 'stream_feed_verdicts{exchange="binance",verdict="live"} 2.0' in page

    # when it ends, then its file is gone
    assert stream.stop().code == 0
    assert list((tmp_path / ".state" / "streams").iterdir()) == []


def test_with_nothing_running_top_says_how_to_start(tmp_path: Path) -> None:
    ended = zvtc("top", cwd=tmp_path)

    assert ended.code == 0
    assert "zvtc stream binance BTC-USDT" in ended.out


def test_the_file_of_a_killed_stream_is_swept_away(
    sim: Sim, tmp_path: Path, running: Callable[..., Running]
) -> None:
    stream = running("stream", "binance", "BTC-USDT", "-k", "trades", "--sim", sim.url)
    folder = tmp_path / ".state" / "streams"
    stream.until(lambda: stream.out)
    assert [file.name for file in folder.iterdir()] == [f"{stream.process.pid}.json"]

    stream.process.kill()
    stream.process.communicate()

    assert living(tmp_path) == []
    assert list(folder.iterdir()) == []


def test_a_taken_port_is_refused_in_one_line(sim: Sim, tmp_path: Path) -> None:
    port = sim.url.rpartition(":")[2]
    ended = zvtc(
        "stream", "binance", "BTC-USDT", "--metrics-port", port, "--sim", sim.url, cwd=tmp_path
    )

    assert ended.code == 2
    assert f"127.0.0.1:{port} cannot be listened on" in ended.err
    assert ended.err.count("\n") == 1


# -- record --------------------------------------------------------------------------------------


def test_record_keeps_frames_and_makes_no_store(sim: Sim, tmp_path: Path) -> None:
    ended = zvtc(
        "record", "binance", "BTC-USDT", "-k", "trades", "--into", "frames", "--for", "2",
        "--json", "--sim", sim.url, cwd=tmp_path,
    )  # fmt: skip

    assert ended.code == 0, ended.err
    frames = list(JournalReader(tmp_path / "frames"))
    assert len(frames) == ended.json["journal"]["durable"] > 3
    assert ended.json["journal"]["dropped"] == 0
    assert ended.json["messages"] > 3
    assert ended.json["rows_stored"] == 0
    assert any(b"aggTrade" in one.frame for one in frames)
    assert not (tmp_path / "data").exists()
    played = zvtc("replay", "frames", "--exchange", "binance", "--json", cwd=tmp_path)
    assert played.code == 0, played.err
    assert sum(one["kind"] == "trade" for one in lines(played.out)) == ended.json["messages"]


def test_record_can_store_too(sim: Sim, tmp_path: Path) -> None:
    ended = zvtc(
        "record", "binance", "BTC-USDT", "-k", "trades", "--into", "frames", "--with-store",
        "--for", "2", "--json", "--sim", sim.url, cwd=tmp_path,
    )  # fmt: skip

    assert ended.code == 0, ended.err
    assert ended.json["rows_stored"] == ended.json["messages"] > 3
    assert (tmp_path / "data").is_dir()


# -- sync ----------------------------------------------------------------------------------------


def test_sync_live_proves_its_seams(sim: Sim, tmp_path: Path) -> None:
    since = format_us(int((time.time() - 120) * 1e6))
    ended = zvtc(
        "sync", "binance", "BTC-USDT", "-k", "trades", "-k", "candles", "--since", since,
        "--live", "--for", "6", "--json", "--sim", sim.url, cwd=tmp_path,
    )  # fmt: skip

    # history is told first, then each seam
    assert ended.code == 0, ended.err
    report, *told = lines(ended.out)
    assert report["status"] == "complete"
    seams = {one["kind"]: one for one in told if one["type"] == "seam"}
    assert set(seams) == {"trades", "candles"}
    before, after = re.fullmatch(r"ids (\d+)->(\d+)", seams["trades"]["proof"]).groups()  # type: ignore[union-attr] # it is of this form
    assert int(after) == int(before) + 1
    # and the ledger owes nothing from the start of history to what came live
    with zc.open(tmp_path / "data", state_dir=str(tmp_path / ".state")) as db:
        trades = db.trades("binance", "BTC-USDT")
    assert trades.is_complete
    ids = [int(one) for one in trades.table.column("trade_id").to_pylist()]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert ids[0] < int(before) < int(after) < ids[-1]


def test_sync_without_live_ends_after_history(sim: Sim, tmp_path: Path) -> None:
    since = format_us(int((time.time() - 300) * 1e6))
    ended = zvtc(
        "sync", "binance", "BTC-USDT", "--since", since, "--json", "--sim", sim.url, cwd=tmp_path
    )

    assert (ended.code, ended.json["status"]) == (0, "complete")
    assert os.listdir(tmp_path / ".state" / "streams") == []  # noqa: PTH208 - names are enough
