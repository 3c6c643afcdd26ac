"""The benches run end to end and say what they measured; never how fast this machine is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zvt_crypto.cli.bench.measure import Figure, Series, Target

RATES = {
    "history": {"REST pages to frame", "REST pages to proven store"},
    "archive": {"archive zips to proven store", "archive zips to table"},
    "store": {"bulk write with ledger", "idempotent reload", "live commits, sustained"},
}


def run_bench(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run `zvtc bench ... --json` in a process of its own, which it measures the memory of."""
    done = subprocess.run(
        [sys.executable, "-m", "zvt_crypto.cli.main", "bench", *arguments, "--json"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["history", "archive", "store"])
def test_bench_prints_every_figure_with_its_repeats(verb: str, tmp_path: Path) -> None:
    # when a bench runs with as little as it takes
    result = run_bench(tmp_path, verb, "--quick", "--rows", "4000", "--repeats", "2")

    # then it says what was measured, where, and how often
    assert result["bench"] == verb
    assert result["machine"]["cores"] == os.cpu_count()
    assert result["machine"]["packages"]["polars"]
    assert result["settings"]["repeats"] == 2
    figures = {one["name"]: one for one in result["figures"]}
    assert set(figures) >= RATES[verb]
    for one in figures.values():
        assert one["min"] <= one["median"] <= one["max"]
        assert one["median"] > 0
        assert one["is_met"] in (True, False, None)
        assert (one["peer"] is None) == (one["ratio"] is None)
    for name in RATES[verb]:
        assert figures[name]["unit"] == "rows/s"
        assert len(figures[name]["repeats"]) == 2
        assert figures[name]["by_cpu_time"] > 0
    assert any(one["peer"] is not None for one in figures.values())
    if verb != "store":
        assert sum(name.startswith("peak memory") for name in figures) == 2
    # and nothing is left behind
    assert list(tmp_path.iterdir()) == []


def test_a_figure_compares_rates_and_durations_the_right_way_round() -> None:
    # given twice the peer's rate, and half its duration
    rate = Figure("r", "rows/s", Series([200.0]), Target(150.0), "peer", Series([100.0]))
    time = Figure(
        "t", "ms", Series([5.0]), Target(4.0, is_ceiling=True), "peer", Series([10.0]), Target(3.0)
    )

    # then both are twice as good, and only what reaches all its targets has met them
    assert (rate.ratio, time.ratio) == (2.0, 2.0)
    assert (rate.is_met, time.is_met) == (True, False)
    assert Figure("n", "ms", Series([1.0])).is_met is None
