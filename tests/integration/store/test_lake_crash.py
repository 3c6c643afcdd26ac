# pyright: reportPrivateUsage=false
"""The lake is killed at every step of a commit, and holds all of it or nothing."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lake_writer import LARGE, M1, OTHER, SERIES, SMALL, T0, batches

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import times
from zvt_crypto.store.lake import LakeStore

_SUPPORT = Path(__file__).parents[2] / "support"


ALL = Range(0, 1 << 60)
# Where the process dies, on the how-manieth time it passes there.
_POINTS = [
    ("after_write", 1),
    ("after_fsync", 1),
    ("after_rename", 1),
    ("after_rename", 2),
    ("after_rename", 4),
    ("before_catalog_commit", 1),
    ("after_catalog_commit", 1),
]


def run_writer(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(_SUPPORT / "lake_writer.py"), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def assert_killed(folder: Path, rows: int, point: str, count: int) -> None:
    with run_writer(folder, "crash", rows, point, count) as process:
        assert process.wait(60) == -signal.SIGKILL


def files_in(folder: Path) -> set[str]:
    found = folder.rglob("*.parquet*")
    return {path.relative_to(folder).as_posix() for path in found}


async def manifest(store: LakeStore) -> set[str]:
    with store._catalog.snapshot() as connection:
        return {path for (path,) in connection.execute("SELECT path FROM segments")}


@pytest.mark.parametrize(
    ("rows", "point", "count"),
    [(LARGE, *point) for point in _POINTS]
    # A small commit writes no files; the compaction after it writes one a series.
    + [(SMALL, *point) for point in _POINTS if point[1] < 4],
)
async def test_a_killed_commit_is_there_as_a_whole_or_not_at_all(
    tmp_path: Path, rows: int, point: str, count: int
) -> None:
    # given a store with one commit in it
    folder = tmp_path / "lake"
    store = await LakeStore.open(folder)
    await store.commit(batches(0, rows))
    await store.close()

    # when a process is killed while it commits a second one
    assert_killed(folder, rows, point, count)

    # then both series hold it, or neither does, and the ledger agrees
    store = await LakeStore.open(folder)
    try:
        held = [(await store.read(series, ALL)).num_rows for series in (SERIES, OTHER)]
        assert held in ([rows, rows], [2 * rows, 2 * rows])
        expected = point == "after_catalog_commit" or (rows == SMALL and "catalog" not in point)
        assert (held[0] == 2 * rows) == expected
        verified = await store.verify()
        assert (list(verified.faults), verified.ranges) == ([], 2)

        # and no file is left that nobody names, and none named that is not there
        await store.vacuum()
        assert files_in(folder) == await manifest(store)

        # and the same commit again completes it
        await store.commit(batches(1, rows))
        (entry,) = await store.coverage(SERIES)
        assert (entry.rows, entry.end) == (2 * rows, T0 + 2 * rows * M1)
        assert list((await store.verify()).faults) == []
    finally:
        await store.close()


async def test_opening_sweeps_what_a_killed_process_left(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    assert_killed(folder, LARGE, "after_rename", 2)
    assert len(files_in(folder)) == 2
    assert len(list((folder / "writers").iterdir())) == 1

    store = await LakeStore.open(folder)
    await store.close()  # waits for the sweep

    assert files_in(folder) == set()
    assert list((folder / "writers").iterdir()) == []


async def test_a_file_being_written_by_a_live_process_is_left_alone(tmp_path: Path) -> None:
    # given a store whose writer stands still just before its commit becomes visible
    stores: list[LakeStore] = []
    counts: list[int] = []

    def meanwhile(point: str) -> None:
        if point == "before_catalog_commit" and not counts:
            # when another process' sweep runs
            from zvt_crypto.store.lake.upkeep import WriterMark, sweep_orphans

            other = WriterMark(tmp_path / "lake" / "writers")
            counts.append(sweep_orphans(stores[0]._catalog, stores[0]._storage, other))

    stores.append(await LakeStore.open(tmp_path / "lake"))
    writer = await LakeStore.open(tmp_path / "lake", crash_points=meanwhile)
    await writer.commit(batches(0, LARGE))

    # then it removed nothing
    assert counts == [0]
    assert list((await writer.verify()).faults) == []
    for store in (*stores, writer):
        await store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in (1, 2))]
)
async def test_processes_killed_at_random_lose_nothing_they_were_told_is_safe(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "lake"
    store = await LakeStore.open(folder)
    await store.close()

    # when three writers are killed at some moment, twice over
    safe = [T0 + number * 400_000 * M1 for number in range(3)]
    for _ in range(2):
        writers = [run_writer(folder, "endless", number) for number in range(3)]
        for number, writer in enumerate(writers):
            assert writer.stdout is not None
            told = await asyncio.to_thread(writer.stdout.readline)
            safe[number] = max(safe[number], int(told))
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        for number, writer in enumerate(writers):
            await asyncio.sleep(rng.uniform(0.0, 0.2))
            writer.kill()
            rest = (writer.communicate(timeout=60)[0] or "").split()
            safe[number] = max([safe[number], *map(int, rest)])

    # then everything acknowledged is there, and the store is sound
    assert all(end > T0 + number * 400_000 * M1 for number, end in enumerate(safe))
    store = await LakeStore.open(folder)
    try:
        assert list((await store.verify()).faults) == []
        for number, end in enumerate(safe):
            start = T0 + number * 400_000 * M1
            held = times(await store.read(SERIES, Range(start, end)))
            assert len(held) == (end - start) // M1
        await store.vacuum(older_than_s=0)
        assert files_in(folder) == await manifest(store)
        assert list((await store.verify()).faults) == []
    finally:
        await store.close()
