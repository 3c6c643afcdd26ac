"""The governor's file: shared by processes, killed at any moment, full of garbage."""

import asyncio
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import pytest

from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_state import FileState
from zvt_crypto.net.quota import Quota

WORKER = Path(__file__).with_name("governor_worker.py")
WEIGHT_PER_500_MS = 400
REQUESTS_PER_400_MS = 300


def add(amount: float) -> "Callable[[array[float], bool], float]":
    def change(cells: "array[float]", intact: bool) -> float:
        assert intact
        if not cells:
            cells.append(0.0)
        cells[0] += amount
        return cells[0]

    return change


def look(cells: "array[float]", intact: bool) -> tuple[list[float], bool]:
    return list(cells), intact


def test_processes_that_share_a_file_keep_the_limit_while_some_are_killed(tmp_path: Path):
    # given four processes that send all they may
    state = tmp_path / "run" / "binance.governor"
    end = time.monotonic() + 8
    notes: list[Path] = []

    def start() -> subprocess.Popen[bytes]:
        notes.append(tmp_path / f"{len(notes)}.notes")
        return subprocess.Popen([sys.executable, str(WORKER), str(state), str(notes[-1]), str(end)])

    running = [start() for _ in range(4)]

    # when one after the other of them is killed at work, and replaced
    for number in range(4):
        while not notes[number].is_file() or not notes[number].stat().st_size:
            assert time.monotonic() < end, "a worker did not start in time"
            time.sleep(0.01)
        time.sleep(0.7)
        running[number].send_signal(signal.SIGKILL)
        running[number].wait()
        running.append(start())
    for process in running[4:]:
        assert process.wait(timeout=30) == 0

    # then no window of the calendar and no span of time held more than the limit
    lines = [line.split() for note in notes for line in _text(note).splitlines()]
    wall = sorted(int(line[0]) for line in lines)
    steady = sorted(int(line[1]) for line in lines)
    windows = Counter(us // 500_000 for us in wall)
    assert max(windows.values()) <= WEIGHT_PER_500_MS
    recent: deque[int] = deque()
    for us in steady:
        recent.append(us)
        while recent[0] <= us - 400_000:
            recent.popleft()
        assert len(recent) <= REQUESTS_PER_400_MS

    # and together they used most of what 300 in 420 ms allow, start and end left out
    middle = sorted(windows)[2:-2]
    possible = len(middle) * 0.5 * 300 / 0.42
    assert sum(windows[window] for window in middle) > 0.8 * possible


def _text(note: Path) -> str:
    return note.read_text() if note.is_file() else ""


async def test_cells_survive_the_process_and_are_seen_by_all(tmp_path: Path):
    first, second = (FileState(tmp_path / "sub" / "state") for _ in range(2))
    assert await first.update(add(1)) == 1
    assert await second.update(add(2)) == 3
    second.post(lambda cells, _: cells.append(9.0))
    assert await first.update(look) == ([3.0, 9.0], True)
    second.post(lambda cells, _: cells.__delitem__(1))
    assert await first.update(look) == ([3.0], True)
    first.close()
    second.close()
    assert await FileState(tmp_path / "sub" / "state").update(look) == ([3.0], True)


@pytest.mark.parametrize("damage", ["one bit", "cut", "text", "longer"])
async def test_damage_is_noticed_and_counts_as_all_used(tmp_path: Path, damage: str):
    # given a governor's file that something went wrong with
    path = tmp_path / "state"
    governor = Governor("test", [Quota("ip", 100, 0.3, "rolling")], FileState(path))
    await governor.acquire({"ip": 1})
    good = path.read_bytes()
    bad = {
        "one bit": good[:40] + bytes([good[40] ^ 1]) + good[41:],
        "cut": good[: len(good) // 2],
        "text": b"not what it was",
        "longer": good + b"12345678",
    }[damage]
    path.write_bytes(bad)

    # when the next request comes, in this process or a new one
    started = time.monotonic()
    await governor.acquire({"ip": 1})

    # then a whole span of time is waited out first, and the file is good again
    assert 0.25 < time.monotonic() - started < 3
    fresh = Governor("test", [Quota("ip", 100, 0.3, "rolling")], FileState(path))
    started = time.monotonic()
    await fresh.acquire({"ip": 1})
    assert time.monotonic() - started < 0.25


async def test_a_held_lock_is_waited_for_without_blocking_the_loop(tmp_path: Path):
    # given somebody who holds the lock and has been stopped
    path = tmp_path / "state"
    state = FileState(path)
    await state.update(add(1))
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)

    # when we want to change and to post something
    waiting = asyncio.create_task(state.update(add(10)))
    ticks = 0
    for _ in range(20):
        await asyncio.sleep(0.001)
        ticks += 1
    started = time.monotonic()
    state.post(lambda cells, _: cells.append(7.0))
    assert time.monotonic() - started < 2
    assert not waiting.done()
    assert ticks == 20

    # then both happen once the lock is free, what was posted first
    os.close(holder)
    await asyncio.wait_for(waiting, 5)
    assert await state.update(look) == ([11.0, 7.0], True)


async def test_a_file_swept_away_is_made_anew_and_shared_again(tmp_path: Path):
    first, second = (FileState(tmp_path / "state") for _ in range(2))
    await first.update(add(1))
    await second.update(add(1))
    (tmp_path / "state").unlink()
    assert await first.update(add(5)) == 5
    assert await second.update(add(5)) == 10


async def test_a_failing_change_changes_nothing_and_frees_the_lock(tmp_path: Path):
    first, second = (FileState(tmp_path / "state") for _ in range(2))
    await first.update(add(1))

    def fail(cells: "array[float]", intact: bool) -> None:
        cells[0] = 99.0 if intact else 0.0
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await first.update(fail)
    assert await second.update(look) == ([1.0], True)


def test_the_descriptor_is_not_inherited(tmp_path: Path):
    state = FileState(tmp_path / "state")
    asyncio.run(state.update(add(1)))
    program = (
        "import os\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    path = f'/proc/self/fd/{name}'\n"
        "    print(os.readlink(path) if os.path.exists(path) else '')"
    )
    command = [sys.executable, "-c", program]
    seen = subprocess.run(command, close_fds=False, capture_output=True, check=True, text=True)
    assert seen.stdout
    assert str(tmp_path / "state") not in seen.stdout


def _in_a_fork(state: FileState) -> None:
    asyncio.run(state.update(add(100)))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_locks_for_itself(tmp_path: Path):
    # given a child forked from a process that has the file open, and somebody else's lock
    state = FileState(tmp_path / "state")
    asyncio.run(state.update(add(1)))
    child = multiprocessing.get_context("fork").Process(target=_in_a_fork, args=(state,))
    holder = state._file  # pyright: ignore[reportPrivateUsage] - the very descriptor is the point
    fcntl.flock(holder, fcntl.LOCK_EX)

    # when both want to change it, then the child waits for its parent
    child.start()
    child.join(0.3)
    assert child.is_alive()
    fcntl.flock(holder, fcntl.LOCK_UN)
    child.join(10)
    assert child.exitcode == 0
    assert asyncio.run(state.update(look)) == ([101.0], True)
