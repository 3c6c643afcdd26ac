"""The live benches run end to end on a few hundred frames; never how fast this machine is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STAGES = [
    "mix, socket alone",
    "mix, and parsed",
    "mix, and continuity, books kept",
    "mix, and columns",
]


def run_bench(folder: Path, *arguments: str, data: Path | None = None) -> dict[str, Any]:
    """Run `zvtc bench ... --json`, on recorded frames if their folder is given."""
    kept = {name: value for name, value in os.environ.items() if name != "ZVTC_TEST_DATA"}
    where = [] if data is None else ["--data", str(data)]
    done = subprocess.run(
        [sys.executable, "-m", "zvt_crypto.cli.main", "bench", *arguments, *where, "--json"],
        cwd=folder,
        env={**kept, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Nothing that was started is left to complain, and no file is left behind.
    assert "Traceback" not in done.stderr
    assert "Task was destroyed" not in done.stderr
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout)


@pytest.mark.slow
def test_drawn_frames_go_through_every_stage_and_into_a_lake(tmp_path: Path) -> None:
    # when the stream bench runs without recordings and peers
    result = run_bench(
        tmp_path, "stream", "--frames", "400", "--repeats", "2", "--no-peers", "--store"
    )

    # then it says so, and every kind and stage is there; what came out was counted on the way
    assert result["settings"]["frames"] == "drawn"
    assert result["settings"]["store"] == "lake"
    figures = {one["name"]: one for one in result["figures"]}
    whole = ["mix to columns", "trades to columns", "quotes to columns", "book kept"]
    assert list(figures) == [*whole, *STAGES]
    for one in figures.values():
        assert one["unit"] == "msg/s"
        assert len(one["repeats"]) == 2
        assert one["median"] > 0
        assert one["by_cpu_time"] > 0
        assert one["peer"] is None


@pytest.mark.slow
@pytest.mark.campaign
def test_peers_take_the_same_recorded_frames(tmp_path: Path, shared_data: Path) -> None:
    # when the bench runs on a recording, with its peers
    result = run_bench(
        tmp_path, "stream", "--frames", "300", "--repeats", "1", "--recording", "usdm-2023",
        data=shared_data,
    )  # fmt: skip

    # then each kind is compared with both
    assert result["settings"]["frames"] == "recorded usdm-2023"
    peers = [one["peer"]["name"] for one in result["figures"] if one["peer"]]
    assert peers == ["cryptofeed", "ccxt.pro"] * 4
    for one in result["figures"]:
        if one["peer"]:
            assert one["ratio"] > 0
            assert one["ratio_by_cpu_time"] > 0


@pytest.mark.slow
def test_books_are_kept_on_every_recording(tmp_path: Path, shared_data: Path) -> None:
    # when the book bench runs
    result = run_bench(
        tmp_path, "book", "--frames", "300", "--repeats", "1", "--no-peers", data=shared_data
    )

    # then all four recordings have a figure: a book that was reset would have ended it
    names = [one["name"] for one in result["figures"]]
    assert [name.split(", ")[1] for name in names] == ["usdm-2023", "usdm", "spot", "coinm"]
    assert re.search(r", \d\d levels a message$", names[0])


@pytest.mark.slow
@pytest.mark.campaign
def test_latency_is_measured_beside_a_control(tmp_path: Path) -> None:
    # when it runs for a moment
    result = run_bench(tmp_path, "latency", "--quick", "--repeats", "1")

    # then the control is measured as ours are, but has no target
    figures = {one["name"]: one for one in result["figures"]}
    assert len(figures) == 2 * 3 * 7
    control = [one for name, one in figures.items() if "control" in name]
    assert all(one["target"] is None for one in control)
    for one in ("inline", "queue"):
        took = figures[f"10,000 msg/s, handler {one}, from sent, p50"]
        assert took["unit"] == "us"
        assert took["median"] > 0
        # a message is sent when it is due or later, so from then on it takes no longer
        due = figures[f"10,000 msg/s, handler {one}, from scheduled, p50"]
        assert due["median"] >= took["median"]


@pytest.mark.slow
def test_a_soak_loses_nothing_while_its_frames_go_round(tmp_path: Path) -> None:
    # when fewer frames than are sent in the time are sent again and again
    result = run_bench(tmp_path, "stream", "--soak", "2", "--rate", "5000", "--frames", "1000")

    # then every one was new to us, and none was lost
    figures = {one["name"]: one["median"] for one in result["figures"]}
    assert figures["messages received"] > 5_000
    assert figures["dropped, missed, reset"] == 0
    assert figures["repeated"] == 0
    assert result["settings"]["samples"]


@pytest.mark.slow
def test_a_folder_without_recordings_is_named_with_a_remedy(tmp_path: Path) -> None:
    # given a folder that has none
    (tmp_path / "empty").mkdir()

    # when a bench is to read it
    done = subprocess.run(
        [sys.executable, "-m", "zvt_crypto.cli.main", "bench", "book", "--data", "empty"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    # then the error says which recording, and what to do
    assert done.returncode != 0
    assert "usdm_btcusdt_hft_20230404" in done.stderr
    assert "--data" in done.stderr
