# pyright: reportPrivateUsage=false
"""Several writers and readers on one lake: nothing is lost, nobody waits for long."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from lake_writer import M1, OTHER, SERIES, T0, candles

from zvt_crypto.core.digest import digest_table
from zvt_crypto.core.errors import DataError, StoreBusy
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.store.lake import LakeStore
from zvt_crypto.store.lake.merge import Compaction

_SUPPORT = Path(__file__).parents[2] / "support"


ALL = Range(0, 1 << 60)


def live(start: int, rows: int, price: float = 5.0) -> Batch:
    found = Finding(T0 + start * M1, T0 + (start + rows) * M1, Verdict.OBSERVED)
    table = candles(T0 + start * M1, rows, price)
    return Batch(series=SERIES, table=table, findings=[found], source=Source.LIVE)


async def test_processes_that_write_one_series_lose_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    command = [sys.executable, str(_SUPPORT / "lake_writer.py"), str(folder), "steady"]

    # when three processes open a new folder at once, and write every third row each
    writers = [
        await asyncio.create_subprocess_exec(*command, str(number), "3") for number in range(3)
    ]
    assert [await writer.wait() for writer in writers] == [0, 0, 0]

    # then all rows are there
    store = await LakeStore.open(folder)
    try:
        assert (await store.read(SERIES, ALL)).equals(candles(T0, 60_000, 5.0))
        assert [info.rows for info in await store.series()] == [60_000]
        assert list((await store.verify()).faults) == []
    finally:
        await store.close()


async def test_commits_of_one_process_at_once_lose_nothing(tmp_path: Path) -> None:
    store = await LakeStore.open(tmp_path / "lake")
    table = candles(T0, 40_000, 5.0)
    sizes = [7_000, 100, 6_500, 1, 900, 12_000]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]

    async def write(start: int, size: int) -> None:
        found = Finding(T0 + start * M1, T0 + (start + size) * M1, Verdict.OBSERVED)
        rows = table.slice(start, size)
        for _ in range(3):
            await store.commit(
                [Batch(series=SERIES, table=rows, findings=[found], source=Source.REST)]
            )

    await asyncio.gather(*(write(*one) for one in zip(starts, sizes, strict=True)))

    count = sum(sizes)
    assert (await store.read(SERIES, ALL)).equals(table.slice(0, count))
    (entry,) = await store.coverage(SERIES)
    assert (entry.rows, entry.digest) == (count, digest_table(table.slice(0, count)))
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_a_series_that_never_rests_is_compacted_all_the_same(tmp_path: Path) -> None:
    # given a store that gets rows from another while it makes a segment of those it has
    store = await LakeStore.open(tmp_path / "lake")
    stream = await LakeStore.open(tmp_path / "lake")
    plan = store._merger.plan_compaction

    def commit(start: int, rows: int, price: float = 5.0) -> None:
        stream._writer.commit([live(start, rows, price)])

    def interrupted(meanwhile: Callable[[], None]) -> Callable[..., Compaction]:
        def planned(*args: Any) -> Compaction:
            made = plan(*args)
            meanwhile()
            return made

        return planned

    def hot_rows() -> int:
        with store._catalog.snapshot() as connection:
            return connection.execute("SELECT hot_rows FROM series").fetchone()[0]

    commit(0, 500)

    # when it is compacted, then the rows that came meanwhile stay hot
    store._merger.plan_compaction = interrupted(lambda: commit(500, 40))
    assert store._writer.compact(SERIES)
    assert hot_rows() == 40
    assert (await store.read(SERIES, ALL)).num_rows == 540

    # and when a row it takes in is corrected meanwhile, then the plan is thrown away
    store._merger.plan_compaction = interrupted(lambda: commit(520, 1, 9.0))
    assert not store._writer.compact(SERIES)
    assert hot_rows() == 40
    store._merger.plan_compaction = plan
    assert store._writer.compact(SERIES)

    # and all of it is there
    assert hot_rows() == 0
    table = await store.read(SERIES, ALL)
    assert table.slice(520, 1).equals(candles(T0 + 520 * M1, 1, 9.0))
    assert (table.num_rows, (await store.corrections()).num_rows) == (540, 1)
    assert list((await store.verify()).faults) == []
    assert len(list((tmp_path / "lake" / "segments").rglob("*.parquet"))) == 2
    await store.close()
    await stream.close()


async def test_what_a_writer_remembers_of_a_series_yields_to_what_others_wrote(
    tmp_path: Path,
) -> None:
    # given two writers who take turns at the end of one series
    store = await LakeStore.open(tmp_path / "lake")
    other = await LakeStore.open(tmp_path / "lake")
    await store.commit([live(0, 10)])
    await other.commit([live(10, 10)])

    # when the first goes on, then its rows join those of the other
    await store.commit([live(20, 10)])
    (entry,) = await store.coverage(SERIES)
    assert (entry.start, entry.end, entry.rows) == (T0, T0 + 30 * M1, 30)

    # and a row of the other that it brings with other values is a correction, not a new one
    await other.commit([live(30, 1)])
    (done,) = await store.commit([live(30, 1, 9.0)])
    assert (done.inserted, done.corrected) == (0, 1)

    # and what was taken back by one is written anew by the other
    await other.discard(SERIES, Range(T0 + 25 * M1, T0 + 31 * M1))
    (done,) = await store.commit([live(25, 6)])
    assert done.inserted == 6
    assert [e.verdict for e in await store.coverage(SERIES)] == [Verdict.OBSERVED]
    assert (await store.read(SERIES, ALL)).num_rows == 31
    assert list((await store.verify()).faults) == []
    await store.close()
    await other.close()


async def test_a_commit_that_follows_its_own_looks_nothing_up(tmp_path: Path) -> None:
    # given a writer that nobody else has come between
    store = await LakeStore.open(tmp_path / "lake")
    store._writer.commit([live(0, 10)])
    asked: list[str] = []
    store._catalog.connection().set_trace_callback(asked.append)

    # when a commit fails, and the same is tried again and goes through
    with pytest.raises(DataError):
        store._writer.commit([msgspec.structs.replace(live(10, 10), table=pa.table({}))])
    store._writer.commit([live(10, 10)])

    # then it knew where the series ended
    assert [one for one in asked if one.startswith("SELECT")] == ["SELECT now_us FROM clock"]
    (entry,) = await store.coverage(SERIES)
    assert entry.rows == 20
    await store.close()


async def test_the_log_starts_anew_though_commits_never_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zvt_crypto.store.lake.catalog._LONG_LOG_PAGES", 20)
    store = await LakeStore.open(tmp_path / "lake")
    log = tmp_path / "lake" / "catalog.sqlite-wal"
    ended = asyncio.Event()

    async def write() -> None:
        for turn in range(200):
            await store.commit([live(turn, 1)])
        ended.set()

    async def checkpoint() -> None:
        while not ended.is_set():
            await asyncio.to_thread(store._catalog.checkpoint)

    await asyncio.gather(write(), checkpoint())

    # every commit takes about ten pages, and they lie over one another
    assert log.stat().st_size < 100 * 4_096
    assert (await store.read(SERIES, ALL)).num_rows == 200
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_readers_see_whole_commits_while_rows_move_into_segments(tmp_path: Path) -> None:
    # given a writer that always adds ten rows to two series at once, compacts and vacuums
    store = await LakeStore.open(tmp_path / "lake")
    reader = await LakeStore.open(tmp_path / "lake", read_only=True)
    ended = asyncio.Event()

    async def write() -> None:
        for turn in range(120):
            start = T0 + turn * 10 * M1
            await store.commit(
                [
                    Batch(
                        series=series,
                        table=candles(start, 10, 3.0),
                        findings=[Finding(start, start + 10 * M1, Verdict.OBSERVED)],
                        source=Source.LIVE,
                    )
                    for series in (SERIES, OTHER)
                ]
            )
            if turn % 10 == 9:
                await store.compact()
                await store.vacuum(older_than_s=-60)
        ended.set()

    # when another store reads all the time
    async def read() -> int:
        seen = 0
        while not ended.is_set():
            rows = (await reader.read(SERIES, ALL)).num_rows
            # then it never sees less than before, or part of a commit
            assert rows >= seen
            assert rows % 10 == 0
            (entry,) = await reader.coverage(SERIES) or [None]
            assert entry is None or entry.rows >= rows
            seen = rows
        return seen

    _, *counts = await asyncio.gather(write(), read(), read())
    assert max(counts) > 0
    assert (await reader.read(OTHER, ALL)).equals(candles(T0, 1_200, 3.0))
    pieces = list(reader.read_batches(OTHER, ALL))
    assert sum(piece.num_rows for piece in pieces) == 1_200
    await reader.close()
    await store.close()


async def test_a_store_locked_for_too_long_is_busy_and_unchanged(tmp_path: Path) -> None:
    store = await LakeStore.open(tmp_path / "lake", busy_s=0.2)
    other = await LakeStore.open(tmp_path / "lake")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with other._catalog.write():
            entered.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(30)
    batch = Batch(series=SERIES, table=candles(T0, 5, 1.0), source=Source.LIVE)
    try:
        with pytest.raises(StoreBusy):
            await store.commit([batch])
        # readers do not wait
        began = time.monotonic()
        assert (await store.read(SERIES, ALL)).num_rows == 0
        assert time.monotonic() - began < 1.0
    finally:
        leave.set()
        holder.join()

    (done,) = await store.commit([batch])
    assert done.inserted == 5
    await store.close()
    await other.close()


async def test_many_series_of_one_commit_are_read_back(tmp_path: Path) -> None:
    # given commits of a row for each of many series, as a live stream makes them
    from zvt_crypto.core.interval import Interval
    from zvt_crypto.core.series import Kind, Series, candle_series

    many = [candle_series("okx", f"C{number}-USDT", Interval.M1) for number in range(60)]
    quiet = Series("okx", "C1-USDT", Kind.FUNDING)
    store = await LakeStore.open(tmp_path / "lake")
    for turn in range(200):  # more than are left to gather
        start = T0 + turn * M1
        batches = [
            Batch(
                series=series,
                table=candles(start, 1, float(number)),
                findings=[Finding(start, start + M1, Verdict.OBSERVED)],
                source=Source.LIVE,
            )
            for number, series in enumerate(many)
        ]
        await store.commit(batches)
        if turn in (70, 71, 150):  # some of them in chunks of each series, some not yet
            store._writer.settle()

    # then each series has its own
    for number in (0, 57, 59):
        assert (await store.read(many[number], ALL)).equals(candles(T0, 200, float(number)))
        newest = await store.read(many[number], ALL, last=3)
        assert newest.equals(candles(T0 + 197 * M1, 3, float(number)))
        (entry,) = await store.coverage(many[number])
        assert entry.rows == 200
    assert (await store.coverage(quiet)) == []
    assert list((await store.verify()).faults) == []

    # and a correction finds its row among them
    await store.commit(
        [Batch(series=many[57], table=candles(T0 + 195 * M1, 1, 9.0), source=Source.REPAIR)]
    )
    assert (await store.read(many[57], ALL)).slice(195, 1).equals(candles(T0 + 195 * M1, 1, 9.0))
    assert (await store.corrections()).num_rows == 1
    await store.compact()
    assert list((await store.verify()).faults) == []
    assert (await store.read(many[59], ALL)).equals(candles(T0, 200, 59.0))
    await store.close()
