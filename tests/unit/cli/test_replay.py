"""`zvtc replay`: records, summaries, conversion, and one clear line for bad input."""

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from zvt_crypto.services.journal import Direction, JournalConfig, JournalWriter

Run = Callable[..., Any]

SPOT = "wss://stream.binance.com:9443/stream"
FUTURES = "wss://fstream.binance.com/stream"
COIN = "wss://dstream.binance.com/stream"
T0 = 1_723_161_256_000_000


def trade(number: int, symbol: str = "BTCUSDT", size: str = "0.5") -> str:
    stream = f"{symbol.lower()}@trade"
    data = {"e": "trade", "E": T0 // 1000, "s": symbol, "t": number, "p": "61837.60", "q": size}
    return json.dumps({"stream": stream, "data": {**data, "T": T0 // 1000, "m": True}})


def line(raw: str, connection: str = SPOT, t: str = "1723161256.172216566") -> str:
    return f'{{"t":{t},"conn":"{connection}","dir":"in","raw":{json.dumps(raw)}}}\n'


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "rec.jsonl.gz"
    with gzip.open(path, "wt") as out:
        out.writelines(line(trade(number), t=f"1723161256.{number:06d}") for number in range(3))
    return path


def summary_of(zvtc: Run, *arguments: str) -> dict[str, Any]:
    ended = zvtc("replay", *arguments, "--exchange", "binance", "--summary", "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_records_are_printed_one_a_line(zvtc: Run, recording: Path):
    ended = zvtc("replay", str(recording), "--exchange", "binance", "--json")
    assert ended.code == 0
    rows = [json.loads(text) for text in ended.out.splitlines()]
    assert [(row["kind"], row["trade_id"], row["symbol"]) for row in rows] == [
        ("trade", number, "BTCUSDT") for number in range(3)
    ]
    assert (rows[0]["price"], rows[0]["size"], rows[0]["side"]) == (61837.6, 0.5, "sell")
    assert rows[2]["ts_recv"] == T0 + 2
    plain = zvtc("replay", str(recording), "--exchange", "binance", "--limit", "1")
    assert plain.out.startswith("2024-08-08T23:54:16Z trade BTCUSDT trade_id=0 price=61837.6")
    assert plain.out.count("\n") == 1


def test_a_summary_for_people_names_each_symbol(zvtc: Run, recording: Path):
    ended = zvtc("replay", str(recording), "--exchange", "binance", "--summary")
    assert "3 frames of binance, 0 undecoded" in ended.out
    assert "BTCUSDT" in ended.out


def test_a_summary_is_one_json_object_a_file(zvtc: Run, recording: Path):
    ended = zvtc(
        "replay", str(recording), str(recording), "--exchange", "binance", "--summary", "--json"
    )
    one, other = (json.loads(text) for text in ended.out.splitlines())
    assert one == other
    assert one["symbols"]["BTCUSDT"]["trades"]["sum_size"] == "1.5"


def test_an_id_of_two_markets_is_told_apart(zvtc: Run, tmp_path: Path):
    path = tmp_path / "two.jsonl"
    path.write_text(line(trade(1)) + line(trade(2), FUTURES) + line(trade(3, "ETHUSDT"), FUTURES))
    found = summary_of(zvtc, str(path))["symbols"]
    assert sorted(found) == ["BTCUSDT@linear", "BTCUSDT@spot", "ETHUSDT"]


def test_contracts_become_base_units_only_where_their_worth_is_known(zvtc: Run, tmp_path: Path):
    path, rest = tmp_path / "coin.jsonl", tmp_path / "rest.jsonl"
    path.write_text(line(trade(1, "BTCUSD_PERP", "4"), COIN))
    unknown = summary_of(zvtc, str(path))["symbols"]["BTCUSD_PERP"]["trades"]
    assert unknown["sum_size"] is None
    assert unknown["sum_size_native"] == "4"
    body = json.dumps({"symbols": [{"symbol": "BTCUSD_PERP", "contractSize": 100}]})
    url = "https://dapi.binance.com/dapi/v1/exchangeInfo"
    rest.write_text(json.dumps({"url": url, "status": 200, "body": body}) + "\n")
    known = summary_of(zvtc, str(path), "--rest", str(rest))["symbols"]["BTCUSD_PERP"]["trades"]
    assert Decimal(known["sum_size"]) == round(Decimal(400) / Decimal("61837.6"), 18)


def test_rows_marked_as_coin_margined_count_on_their_own_socket(zvtc: Run, tmp_path: Path):
    path = tmp_path / "coin.jsonl"
    marked = trade(1, "BTCUSD_PERP").replace('"m": true', '"m": true, "st": 2')
    path.write_text(line(marked, COIN) + line(marked, FUTURES))
    found = summary_of(zvtc, str(path))
    assert found["symbols"]["BTCUSD_PERP"]["trades"]["count"] == 1
    assert sum(found["ignored"].values()) == 1


def test_what_cannot_be_decoded_is_counted_by_reason_with_a_bounded_sample(
    zvtc: Run, tmp_path: Path
):
    path = tmp_path / "bad.jsonl"
    broken = ["not json", '{"e":"nothing we know"}', "x" * 5_000, *["{"] * 10]
    path.write_text("".join(map(line, broken)) + line(trade(1)))
    found = summary_of(zvtc, str(path))
    assert (found["frames"], found["undecoded"]) == (14, 13)
    assert sum(found["undecoded_reasons"].values()) == 13
    assert len(found["undecoded_samples"]) == 5
    assert all(len(sample["frame"]) <= 300 for sample in found["undecoded_samples"])
    assert found["symbols"]["BTCUSDT"]["trades"]["count"] == 1


def test_export_writes_the_recorded_layout_and_reads_back(
    zvtc: Run, recording: Path, tmp_path: Path
):
    copy = tmp_path / "copy.jsonl.gz"
    ended = zvtc("replay", str(recording), "--export", str(copy), "--json")
    assert json.loads(ended.out)["frames"] == 3
    with gzip.open(copy, "rt") as lines:
        first = json.loads(next(lines))
    assert first == {"t": 1723161256.0, "conn": SPOT, "dir": "in", "raw": trade(0)}
    ours, theirs = summary_of(zvtc, str(copy)), summary_of(zvtc, str(recording))
    assert ours["symbols"] == theirs["symbols"]


def test_a_journal_replays_as_a_recording_does(zvtc: Run, recording: Path, tmp_path: Path):
    folder = tmp_path / "journal"
    with JournalWriter(folder, JournalConfig()) as journal:
        for number in range(3):
            journal.append(SPOT, Direction.IN, T0 + number, trade(number).encode())
    found = summary_of(zvtc, str(folder))
    assert found["symbols"] == summary_of(zvtc, str(recording))["symbols"]
    assert found["journal"]["unclosed"] == 0
    (segment,) = folder.iterdir()
    segment.write_bytes(segment.read_bytes()[:-30])
    torn = summary_of(zvtc, str(segment))
    assert torn["journal"]["unclosed"] == 1
    assert torn["journal"]["cut_bytes"] > 0


def test_recorded_speed_can_be_multiplied(zvtc: Run, tmp_path: Path, monkeypatch: Any):
    waits: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    path = tmp_path / "slow.jsonl"
    times = ("1723161256.0", "1723161258.0", "null", "1723161260.0")
    path.write_text("".join(line(trade(n), t=t) for n, t in enumerate(times)))
    monkeypatch.setattr("zvt_crypto.cli.replay.time.sleep", sleep)
    monkeypatch.setattr("zvt_crypto.cli.replay.time.monotonic", lambda: clock[0])
    ended = zvtc("replay", str(path), "--exchange", "binance", "--speed", "4")
    assert ended.out.count("\n") == 4
    assert waits == [0.5, 0.5]


@pytest.mark.parametrize("alias", ["binance_us", "BINANCE"])
def test_siblings_are_known_by_their_names(zvtc: Run, recording: Path, alias: str):
    ended = zvtc("replay", str(recording), "--exchange", alias, "--summary", "--json")
    assert json.loads(ended.out)["exchange"] == "binance"


def test_bad_input_is_one_clear_line_and_exit_code_2(zvtc: Run, recording: Path, tmp_path: Path):
    cut, other, empty, rest = (tmp_path / n for n in ("cut.gz", "other.csv", "empty", "rest"))
    cut.write_bytes(recording.read_bytes()[:-9])
    other.write_text("open_time_ms,open\n1,2\n")
    empty.mkdir()
    rest.write_text('{"t":1}\n')
    binance = ("--exchange", "binance", "--summary")
    for arguments, says in (
        ((str(tmp_path / "absent"), *binance), "there is no file or folder"),
        ((str(recording),), "--exchange is missing"),
        ((str(recording), "--exchange", "kraken"), "unknown exchange 'kraken'"),
        ((str(recording), "--exchange", "okx", "--summary"), "is of binance, not of okx"),
        ((str(recording), "--exchange", "okx"), "is of binance, not of okx"),
        ((str(cut), *binance), "ends in the middle of its gzip stream"),
        ((str(other), *binance), "line 1 is not a recorded frame"),
        ((str(empty), *binance), "no journal segment"),
        ((str(recording), *binance, "--rest", str(tmp_path / "no")), "there is no file"),
        ((str(recording), *binance, "--rest", str(rest)), "not a recorded reply"),
        ((str(recording), "--export", str(recording)), "would overwrite"),
        ((str(recording), "--export", str(tmp_path / "no" / "x")), "cannot be written"),
        ((str(recording), *binance, "--limit", "0"), "--limit"),
    ):
        ended = zvtc("replay", *arguments)
        assert ended.code == 2, (arguments, ended)
        assert says in ended.err
        assert ended.err.count("\n") == 1
        assert not ended.out
