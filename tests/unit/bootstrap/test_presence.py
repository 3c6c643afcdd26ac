"""Status files: whole, honest about who lives, and swept when nobody does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zvt_crypto.bootstrap.presence import FOLDER, Presence, is_alive, read_all
from zvt_crypto.net.clock import SystemClock

CLOCK = SystemClock()


@pytest.fixture
def gone() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def write(folder: Path, name: str, **fields: Any) -> Path:
    file = folder / FOLDER / name
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "pid": os.getpid(), "host": os.uname().nodename, "born": None, "command": "stream",
        "started": "2026-11-22T10:00:00Z", "updated_us": CLOCK.now_us(), **fields,
    }  # fmt: skip
    file.write_text(json.dumps(said), encoding="utf-8")
    return file


async def test_a_process_is_seen_while_it_runs_and_not_after(tmp_path: Path) -> None:
    said = {"command": "stream", "stage": "live"}

    async with Presence(tmp_path, lambda: said, CLOCK):
        (one,) = read_all(tmp_path, CLOCK)

    assert one["pid"] == os.getpid()
    assert one["stage"] == "live"
    assert 0 <= one["age_s"] < 10
    assert read_all(tmp_path, CLOCK) == []
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_the_file_of_a_dead_process_is_swept(tmp_path: Path, gone: int) -> None:
    dead = write(tmp_path, f"{gone}.json", pid=gone)
    draft = dead.with_suffix(".draft")
    draft.write_text("{", encoding="utf-8")

    assert read_all(tmp_path, CLOCK) == []
    assert not dead.exists()
    assert not draft.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the birth of a process is read from /proc")
def test_a_number_that_another_process_has_now_is_not_the_same_process(tmp_path: Path) -> None:
    write(tmp_path, "1.json", born=1)

    assert read_all(tmp_path, CLOCK) == []


def test_another_machine_is_believed_while_its_file_is_fresh(tmp_path: Path, gone: int) -> None:
    old = CLOCK.now_us() - 60_000_000
    write(tmp_path, "1.json", host="elsewhere", pid=gone)
    stale = write(tmp_path, "2.json", host="elsewhere", updated_us=old)

    assert [one["pid"] for one in read_all(tmp_path, CLOCK)] == [gone]
    assert stale.exists()  # not ours to remove


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x"}', "[" * 100_000, "\x00", "1e999"]
)
def test_what_is_no_status_file_is_passed_over(tmp_path: Path, text: str) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "1.json").write_text(text, encoding="utf-8")

    assert read_all(tmp_path, CLOCK) == []


async def test_a_disk_that_takes_nothing_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given a folder that cannot be made
    (tmp_path / FOLDER).write_text("in the way", encoding="utf-8")

    async with Presence(tmp_path, lambda: {"command": "stream"}, CLOCK):
        pass

    assert "stream_status_unwritten" in caplog.text


def test_of_a_living_process_its_birth_decides(gone: int) -> None:
    assert is_alive(os.getpid(), None)
    assert not is_alive(gone, None)
    assert not is_alive(2**70, None)
