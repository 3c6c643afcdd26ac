# pyright: reportPrivateUsage=false
"""The journal on a real disk: torn ends, rotation, retention, two writers, a full disk, kill -9."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.errors import StoreFull, UsageError
from zvt_crypto.services.journal import (
    Direction,
    JournalConfig,
    JournalReader,
    JournalWriter,
    RawFrame,
    retention,
)
from zvt_crypto.services.journal.retention import adopt_orphans, segment_paths

IN, OUT = Direction.IN, Direction.OUT
SUPPORT = Path(__file__).parents[2] / "support"
NEVER = JournalConfig(flush_s=3600.0)


def fill(journal: JournalWriter, count: int, *, start: int = 0, name: str = "a") -> None:
    for number in range(start, start + count):
        journal.append(f"wss://{name}", IN, number, f"{name}{number}".encode())


def texts(path: Path) -> list[str]:
    return [raw.frame.decode() for raw in JournalReader(path)]


FRAMES = st.lists(
    st.builds(
        RawFrame,
        st.none() | st.integers(0, 1 << 52),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from([IN, OUT]),
        st.binary(max_size=300),
    ),
    max_size=60,
)


@given(FRAMES, st.integers(1, 500), st.integers(1, 900))
def test_all_that_is_appended_is_read_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    frames: list[RawFrame],
    block_bytes: int,
    segment_bytes: int,
):
    folder = tmp_path_factory.mktemp("journal")
    config = JournalConfig(block_bytes=block_bytes, segment_bytes=segment_bytes, flush_s=0.001)
    with JournalWriter(folder, config) as journal:
        for raw in frames:
            journal.append(raw.connection, raw.direction, raw.ts_recv, raw.frame)
    if not frames:
        assert not list(folder.iterdir())
        return
    reader = JournalReader(folder)
    assert list(reader) == frames
    assert reader.report.unclosed == reader.report.cut_bytes == reader.report.damaged_bytes == 0
    assert journal.counts.durable == reader.report.frames == len(frames)


@pytest.fixture
def two_blocks(tmp_path: Path) -> Path:
    """Return a segment of 40 frames in two blocks and a closing mark."""
    with JournalWriter(tmp_path / "j", NEVER) as journal:
        fill(journal, 20)
        journal.request_flush().result(10)
        fill(journal, 20, start=20)
    (segment,) = segment_paths(tmp_path / "j")
    return segment


def test_a_segment_cut_at_any_byte_gives_its_whole_blocks(two_blocks: Path):
    whole = two_blocks.read_bytes()
    second = whole.index(b"ZVB1", whole.index(b"ZVB1") + 1)
    tail = whole.index(b"ZVTE")
    all_frames = [f"a{n}" for n in range(40)]
    for cut in range(len(whole)):
        two_blocks.write_bytes(whole[:cut])
        reader = JournalReader(two_blocks)
        found = [raw.frame.decode() for raw in reader]
        first = whole.index(b"ZVB1")
        good = tail if cut >= tail else second if cut >= second else min(first, cut)
        assert found == (all_frames if cut >= tail else all_frames[:20] if cut >= second else [])
        assert reader.report.unclosed == 1
        assert reader.report.cut_bytes == (cut if cut < first else cut - good)
        assert reader.report.damaged_bytes == 0


def test_damage_in_one_block_costs_that_block(two_blocks: Path):
    whole = bytearray(two_blocks.read_bytes())
    second = whole.index(b"ZVB1", whole.index(b"ZVB1") + 1)
    whole[whole.index(b"ZVB1") + 60] ^= 0xFF
    two_blocks.write_bytes(whole)
    reader = JournalReader(two_blocks)
    assert [raw.frame.decode() for raw in reader] == [f"a{n}" for n in range(20, 40)]
    assert reader.report.damaged_bytes == second - whole.index(b"ZVB1")
    assert reader.report.unclosed == reader.report.cut_bytes == 0


def test_another_file_under_our_name_is_refused(tmp_path: Path):
    (tmp_path / "x.zvtj").write_bytes(b"something else entirely, and long enough")
    with pytest.raises(UsageError, match="no journal segment"):
        list(JournalReader(tmp_path))


def test_segments_are_closed_by_size_and_by_age_and_sort_by_time(tmp_path: Path):
    config = JournalConfig(segment_bytes=1, segment_s=3600, flush_s=0.001)
    with JournalWriter(tmp_path / "size", config) as journal:
        for number in range(5):
            fill(journal, 1, start=number)
            journal.request_flush().result(10)
    assert len(segment_paths(tmp_path / "size")) == 5
    assert texts(tmp_path / "size") == [f"a{n}" for n in range(5)]

    config = JournalConfig(segment_s=0.02, flush_s=0.001)
    with JournalWriter(tmp_path / "age", config) as journal:
        fill(journal, 1)
        journal.request_flush().result(10)
        within(lambda: not list((tmp_path / "age").glob("*.open")))
        fill(journal, 1, start=1)
    names = [path.name for path in segment_paths(tmp_path / "age")]
    assert len(names) == 2
    assert names == sorted(names)
    assert texts(tmp_path / "age") == ["a0", "a1"]


def within(condition: object, *, s: float = 10.0) -> None:
    end = time.monotonic() + s
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_the_oldest_closed_segments_go_and_the_open_one_stays(tmp_path: Path):
    config = JournalConfig(segment_bytes=1, flush_s=0.001, retention_bytes=700)
    with JournalWriter(tmp_path, config) as journal:
        for number in range(30):
            fill(journal, 1, start=number)
            journal.request_flush().result(10)
        left = texts(tmp_path)
    assert left == [f"a{n}" for n in range(30 - len(left), 30)]
    assert 2 <= len(left) < 10
    assert sum(p.stat().st_size for p in segment_paths(tmp_path)) <= 700
    assert journal.counts.retired == 30 - len(left)


def test_segments_age_out_but_never_an_open_one(tmp_path: Path):
    held = JournalWriter(tmp_path, NEVER).open()
    fill(held, 1, name="held")
    held.request_flush().result(10)
    with JournalWriter(tmp_path, NEVER) as journal:
        fill(journal, 1)
    for path in segment_paths(tmp_path):
        os.utime(path, (1, 1))
    with JournalWriter(tmp_path, JournalConfig(retention_s=60.0)):
        pass
    assert texts(tmp_path) == ["held0"]
    held.close()


def test_two_writers_share_a_folder_and_are_merged_by_time(tmp_path: Path):
    config = JournalConfig(segment_bytes=300, block_bytes=50, flush_s=0.001)
    with JournalWriter(tmp_path, config) as one, JournalWriter(tmp_path, config) as other:
        for number in range(0, 400, 2):
            one.append("wss://one", IN, number, b"%d" % number)
            other.append("wss://other", OUT, number + 1, b"%d" % (number + 1))
    reader = JournalReader(tmp_path)
    assert [int(raw.frame) for raw in reader] == list(range(400))
    assert reader.report.segments > 4


def test_a_clock_set_back_does_not_reorder_a_writers_frames(tmp_path: Path):
    with JournalWriter(tmp_path, JournalConfig(segment_bytes=1, flush_s=0.001)) as journal:
        for number, ts in enumerate([100, 50, 60, None, 70, 200]):
            journal.append("wss://a", IN, ts, b"%d" % number)
            journal.request_flush().result(10)
    assert texts(tmp_path) == list("012345")


async def test_flush_answers_when_all_before_it_is_on_disk(tmp_path: Path):
    async with JournalWriter(tmp_path, NEVER) as journal:
        fill(journal, 10)
        assert texts_or_none(tmp_path) == []
        await journal.flush()
        assert texts(tmp_path) == [f"a{n}" for n in range(10)]
        await asyncio.gather(*(journal.flush() for _ in range(5)))  # nothing new: answers at once


def texts_or_none(folder: Path) -> list[str]:
    return texts(folder) if segment_paths(folder) else []


def test_a_queue_that_is_full_forgets_the_oldest_and_counts(tmp_path: Path):
    config = JournalConfig(flush_s=3600, queue_frames=10)
    journal = JournalWriter(tmp_path, config)  # its thread does not run yet: the disk is slow
    fill(journal, 25)
    assert journal.counts.dropped == 15
    with journal:
        pass
    assert texts(tmp_path) == [f"a{n}" for n in range(15, 25)]


def test_a_queue_is_bounded_in_bytes_too(tmp_path: Path):
    journal = JournalWriter(tmp_path, JournalConfig(flush_s=3600, queue_bytes=100))
    for number in range(10):
        journal.append("wss://a", IN, number, bytes([48 + number]) * 30)
    journal.append("wss://a", IN, 11, b"x" * 101)  # never fits
    with journal:
        pass
    assert [text[0] for text in texts(tmp_path)] == ["7", "8", "9"]
    assert journal.counts.dropped == 8


def test_the_policy_block_waits_for_the_disk_and_loses_nothing(tmp_path: Path):
    config = JournalConfig(queue_frames=5, policy="block", flush_s=0.001)
    with JournalWriter(tmp_path, config) as journal:
        fill(journal, 500)
    assert texts(tmp_path) == [f"a{n}" for n in range(500)]
    assert journal.counts.dropped == 0


@pytest.fixture
def small_files() -> Iterator[int]:
    """Let this process write no file beyond 4,000 bytes: what a full disk looks like."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    yield 4_000
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_refuses_is_told_once_and_nothing_is_written_twice(
    tmp_path: Path, small_files: int
):
    # given a block larger than the disk will take
    told: list[str] = []
    config = JournalConfig(flush_s=0.001, retry_s=0.01)
    noise = os.urandom(2 * small_files)
    with JournalWriter(tmp_path, config, on_trouble=told.append) as journal:
        fill(journal, 3)
        journal.request_flush().result(10)
        journal.append("wss://a", IN, 3, noise)
        # when it is refused again and again
        for _ in range(3):
            with pytest.raises(StoreFull):
                journal.request_flush().result(10)
        # then that is said once, appending goes on, and the whole blocks are there
        assert len(told) == 1
        assert journal.trouble is not None
        assert journal.counts.failures >= 3
        fill(journal, 2, start=4)
        assert texts(tmp_path) == ["a0", "a1", "a2"]
        # and when there is space again, all is written in order, once
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        within(lambda: journal.trouble is None)
        journal.request_flush().result(10)
    frames = [raw.frame for raw in JournalReader(tmp_path)]
    assert frames == [b"a0", b"a1", b"a2", noise, b"a4", b"a5"]
    assert journal.counts.dropped == 0


def test_a_journal_on_a_full_disk_closes_and_counts_what_it_lost(tmp_path: Path, small_files: int):
    with JournalWriter(tmp_path, JournalConfig(flush_s=0.001)) as journal:
        journal.append("wss://a", IN, 0, os.urandom(2 * small_files))
    assert journal.counts.dropped == 1
    assert not segment_paths(tmp_path)


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.4])
def test_what_flush_answered_for_survives_kill_9_and_nothing_comes_twice(
    tmp_path: Path, after_s: float
):
    # given two processes that append to one folder and say what was promised to them
    writers = {
        name: subprocess.Popen(
            [sys.executable, str(SUPPORT / "journal_writer.py"), str(tmp_path), name, "37"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    }
    # when both are killed in the middle of it
    promised: dict[str, int] = {}
    for name, process in writers.items():
        assert process.stdout is not None
        promised[name] = int(process.stdout.readline())
    time.sleep(after_s)
    for name, process in writers.items():
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        promised[name] = max([promised[name], *map(int, rest.split("\n")[:-1])])
    # then all that was promised is there, in order, once; and the next writer tidies up
    with JournalWriter(tmp_path, NEVER):
        pass
    assert not list(tmp_path.glob("*.open"))
    found = texts(tmp_path)
    for name, count in promised.items():
        own = [int(text.split("-")[1]) for text in found if text.startswith(name)]
        assert own == list(range(len(own)))
        assert len(own) >= count > 0


def test_a_segment_whose_writer_died_before_its_first_byte_goes_at_once(tmp_path: Path):
    # given what a kill between making a file and writing its head leaves, and one that is held
    (tmp_path / "2026-11-22T10-15-00.000000Z-1-000000.zvtj.open").touch()
    held = JournalWriter(tmp_path / "other", NEVER).open()
    fill(held, 1)
    held.request_flush().result(10)
    # when the next writer comes
    for folder in (tmp_path, tmp_path / "other"):
        with JournalWriter(folder, NEVER):
            pass
    # then only the living writer's file is there
    assert not list(tmp_path.glob("*.open"))
    assert len(list((tmp_path / "other").glob("*.open"))) == 1
    held.close()


def test_tidying_up_takes_no_file_from_a_writer_that_is_about_to_lock_it(tmp_path: Path):
    # given others that tidy up all the time
    over = threading.Event()

    def tidy() -> None:
        while not over.is_set():
            adopt_orphans(tmp_path)

    others = [threading.Thread(target=tidy) for _ in range(2)]
    for one in others:
        one.start()
    # when a writer begins segment after segment
    try:
        with JournalWriter(tmp_path, JournalConfig(segment_bytes=1, flush_s=0.001)) as journal:
            for number in range(300):
                fill(journal, 1, start=number)
                journal.request_flush().result(10)
    finally:
        over.set()
        for one in others:
            one.join()
    # then none of them is lost
    assert texts(tmp_path) == [f"a{n}" for n in range(300)]
    assert journal.counts.failures == 0


def test_a_file_made_anew_while_another_tidies_up_is_left_alone(tmp_path: Path):
    # given one that has opened an empty file, and a writer that makes it again after a third one
    path = tmp_path / "2026-11-22T10-15-00.000000Z-1-000000.zvtj.open"
    path.touch()
    with path.open("rb") as seen:
        path.unlink()
        path.touch()
        # when the first goes on
        assert not retention._adopt(path, os.fstat(seen.fileno()))
    # then the new file is still there
    assert path.exists()


def test_names_tell_the_time_and_the_process(tmp_path: Path):
    with JournalWriter(tmp_path, NEVER, clock=lambda: 1_795_342_500_123_456) as journal:
        fill(journal, 1)
        journal.request_flush().result(10)
        (path,) = segment_paths(tmp_path)
        assert path.name == f"2026-11-22T10-15-00.123456Z-{os.getpid()}-000000.zvtj.open"
    (path,) = segment_paths(tmp_path)
    assert path.name == f"2026-11-22T10-15-00.123456Z-{os.getpid()}-000000.zvtj"


def test_reading_while_writing_gives_a_growing_prefix(tmp_path: Path):
    config = JournalConfig(segment_bytes=400, block_bytes=100, flush_s=0.001)
    lengths: list[int] = []
    with JournalWriter(tmp_path, config) as journal:
        for start in range(0, 2_000, 100):
            fill(journal, 100, start=start)
            journal.request_flush().result(10)
            found = texts(tmp_path)
            assert found == [f"a{n}" for n in range(len(found))]
            lengths.append(len(found))
    assert all(a < b for a, b in pairwise(lengths))
    assert lengths[-1] == 2_000
