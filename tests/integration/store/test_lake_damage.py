# pyright: reportPrivateUsage=false
"""Damage, full disks, and folders that are not ours."""

import asyncio
import errno
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lake_writer import LARGE, M1, SERIES, T0, batches, candles

from zvt_crypto.core.errors import BadStore, StoreCorrupt, StoreFull
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.store.lake import LakeStore

_SUPPORT = Path(__file__).parents[2] / "support"


ALL = Range(0, 1 << 60)


def observed(start: int, rows: int, price: float = 100.0) -> Batch:
    found = Finding(start, start + rows * M1, Verdict.OBSERVED)
    return Batch(
        series=SERIES, table=candles(start, rows, price), findings=[found], source=Source.REST
    )


def segments(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def files_in(folder: Path) -> list[Path]:
    """Return the segments, half-written ones too."""
    return sorted(folder.rglob("*.parquet*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


async def filled(folder: Path) -> LakeStore:
    """Return a store with two segments and a few hot rows."""
    store = await LakeStore.open(folder)
    await store.commit([observed(T0, LARGE)])
    await store.commit([observed(T0 + LARGE * M1, 100)])
    assert len(segments(folder)) == 2
    return store


async def test_verify_names_a_segment_that_is_gone_and_repair_brings_it_back(folder: Path) -> None:
    store = await filled(folder)
    segments(folder)[0].unlink()

    verified = await store.verify()

    # only that segment is at fault: the rest of the range is as the ledger knows it
    (fault,) = verified.faults
    assert "cannot be read" in fault.detail
    assert fault.end - fault.start == 31 * 1_440 * M1
    with pytest.raises(StoreCorrupt):
        await store.read(SERIES, ALL)

    # when what is refuted is taken back and written again
    for fault in verified.faults:
        await store.discard(fault.series, Range(fault.start, fault.end))
    assert list((await store.verify()).faults) == []
    await store.commit([observed(T0, LARGE)])
    (entry,) = await store.coverage(SERIES)
    assert entry.rows == LARGE + 100
    assert (await store.read(SERIES, ALL)).equals(candles(T0, LARGE + 100, 100.0))
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_discarding_a_part_of_a_damaged_segment_takes_it_whole(folder: Path) -> None:
    store = await filled(folder)
    victim = segments(folder)[0]
    body = bytearray(victim.read_bytes())
    body[len(body) // 2 : len(body) // 2 + 64] = bytes(64)
    victim.write_bytes(body)
    assert (await store.verify()).faults

    taken = await store.discard(SERIES, Range(T0 + 10 * M1, T0 + 20 * M1))

    assert taken.start == T0
    assert taken.end > T0 + 40_000 * M1
    ledger = await store.coverage(SERIES)
    assert [(e.verdict, e.start, e.end) for e in ledger] == [
        (Verdict.MISSING, T0, taken.end),
        (Verdict.OBSERVED, taken.end, T0 + (LARGE + 100) * M1),
    ]
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_verify_finds_a_row_that_was_changed(folder: Path) -> None:
    store = await filled(folder)
    path = segments(folder)[0]
    table = pq.ParquetFile(path).read()
    close = table.column("close").to_numpy().copy()
    close[1_000] += 0.01
    pq.write_table(table.set_column(4, table.schema.field(4), [close]), path)

    details = [fault.detail for fault in (await store.verify()).faults]

    assert len(details) == 1
    assert "not what the manifest says" in details[0]
    await store.close()


async def test_verify_finds_hot_rows_and_ledger_entries_that_were_changed(folder: Path) -> None:
    store = await filled(folder)
    await store.close()
    catalog = sqlite3.connect(folder / "catalog.sqlite")
    with catalog:
        (fixed,) = catalog.execute("SELECT fixed FROM hot").fetchone()
        catalog.execute("UPDATE hot SET fixed = ?", (fixed[:16] + b"\x01" + fixed[17:],))
        catalog.execute("UPDATE series SET rows = rows + 1")
    store = await LakeStore.open(folder)
    details = [fault.detail for fault in (await store.verify()).faults]
    assert any("not those the ledger knows" in detail for detail in details)
    assert any("counts" in detail for detail in details)
    await store.close()

    with catalog:
        catalog.execute("UPDATE coverage SET verdict = 'empty'")
    catalog.close()
    store = await LakeStore.open(folder)
    details = [fault.detail for fault in (await store.verify()).faults]
    assert any("in a range called empty" in detail for detail in details)
    await store.close()


async def test_verify_finds_a_row_that_lies_in_two_places(folder: Path) -> None:
    store = await filled(folder)
    with store._catalog.write() as transaction:
        transaction.connection.execute(
            "UPDATE segments SET retired_us = 1 WHERE id = (SELECT MAX(id) FROM segments)"
        )
        transaction.connection.execute(
            "INSERT INTO segments (series_id, first_us, last_us, rows, digest, bytes, path, "
            "known_us) SELECT series_id, first_us, last_us, rows, digest, bytes, path || 'x', "
            "known_us FROM segments WHERE retired_us IS NULL"
        )
    details = [fault.detail for fault in (await store.verify()).faults]
    assert any("overlap" in detail for detail in details)
    await store.close()


@pytest.mark.parametrize("point", ["after_write", "after_fsync", "after_rename"])
async def test_a_full_disk_changes_nothing(folder: Path, point: str) -> None:
    is_full = False

    def full(reached: str) -> None:
        if is_full and reached == point:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = await LakeStore.open(folder, crash_points=full)
    await store.commit([observed(T0, 8_000)])
    before = files_in(folder)

    is_full = True
    with pytest.raises(StoreFull):
        await store.commit(batches(1, LARGE))

    assert files_in(folder) == before
    assert (await store.read(SERIES, ALL)).num_rows == 8_000
    assert list((await store.verify()).faults) == []

    is_full = False
    await store.commit(batches(1, LARGE))
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_a_full_catalog_changes_nothing(folder: Path) -> None:
    store = await LakeStore.open(folder)
    await store.commit([observed(T0, 4_000)])

    # every thread has a connection of its own, so the limit is set inside the transaction
    connection = store._catalog.connection

    def limited() -> sqlite3.Connection:
        found = connection()
        found.execute("PRAGMA max_page_count=1")  # SQLite takes it as the present size
        return found

    store._catalog.connection = limited  # type: ignore[method-assign]
    with pytest.raises(StoreFull):
        await _commit_many(store)
    store._catalog.connection = connection  # type: ignore[method-assign]

    (entry,) = await store.coverage(SERIES)
    assert (await store.read(SERIES, ALL)).num_rows == entry.rows
    assert list((await store.verify()).faults) == []
    await store.close()
    store = await LakeStore.open(folder)
    assert list((await store.verify()).faults) == []
    await store.close()


async def _commit_many(store: LakeStore) -> None:
    for number in range(1, 400):
        await store.commit([observed(T0 + number * 4_000 * M1, 4_000)])


_LIMITED = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[2])
from lake_writer import batches
from zvt_crypto.core.errors import StoreFull
from zvt_crypto.store.lake import LakeStore

async def main():
    store = await LakeStore.open(sys.argv[1])
    await store.commit(batches(0, 300))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, resource.RLIM_INFINITY))
    try:
        await store.commit(batches(1, 50_000))
    except StoreFull as e:
        print("full:", e.code)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("faults:", len((await store.verify()).faults))
    await store.close()

asyncio.run(main())
"""


async def test_a_file_that_may_not_grow_is_a_full_store(folder: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY

    command = [sys.executable, "-c", _LIMITED, str(folder), str(_SUPPORT)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.splitlines() == ["full: store_full", "faults: 0"]
    assert files_in(folder) == []


async def test_what_is_no_store_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("x")
    (tmp_path / "alien").mkdir()
    other = sqlite3.connect(tmp_path / "alien" / "catalog.sqlite")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "catalog.sqlite").write_bytes(b"not a database" * 500)

    for name in ("file", "full", "alien", "noise"):
        with pytest.raises(BadStore) as caught:
            await LakeStore.open(tmp_path / name)
        assert caught.value.remedy
        assert "\n" not in str(caught.value)
    with pytest.raises(BadStore):
        await LakeStore.open(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "full" / "thesis.doc").read_text() == "x"


async def test_a_store_of_a_newer_version_is_refused(folder: Path) -> None:
    await (await LakeStore.open(folder)).close()
    catalog = sqlite3.connect(folder / "catalog.sqlite")
    catalog.execute("PRAGMA user_version=99")
    catalog.close()

    with pytest.raises(BadStore, match="newer"):
        await LakeStore.open(folder)


async def test_an_empty_folder_and_a_half_made_catalog_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty" / "lost+found").mkdir(parents=True)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "catalog.sqlite").touch()
    for name in ("empty", "half"):
        store = await LakeStore.open(tmp_path / name)
        await store.commit([observed(T0, 3)])
        await store.close()


async def test_a_store_opened_for_reading_refuses_to_write(folder: Path) -> None:
    store = await filled(folder)
    reader = await LakeStore.open(folder, read_only=True)

    assert (await reader.read(SERIES, ALL)).num_rows == LARGE + 100
    with pytest.raises(BadStore):
        await reader.commit([observed(T0, 1)])
    with pytest.raises(BadStore):
        await LakeStore.open(folder.parent / "nowhere", read_only=True)
    await reader.close()
    await store.close()


async def test_segments_may_lie_in_another_folder_which_the_store_remembers(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "lake", tmp_path / "big disk"
    store = await LakeStore.open(folder, segments_url=str(elsewhere))
    await store.commit([observed(T0, LARGE)])
    await store.close()

    store = await LakeStore.open(folder)
    assert (await store.read(SERIES, ALL)).num_rows == LARGE
    assert len(segments(elsewhere)) == 2
    assert str(elsewhere) in store.url
    await store.close()
    with pytest.raises(BadStore):
        await LakeStore.open(folder, segments_url=str(tmp_path / "third"))


async def test_vacuum_removes_what_was_replaced_and_as_of_still_answers(folder: Path) -> None:
    now = T0

    def clock() -> int:
        return now

    store = await LakeStore.open(folder, clock=clock)
    await store.commit([observed(T0, LARGE)])
    then = now = T0 + 60_000_000
    now += 1
    await store.commit([observed(T0 + 5 * M1, 6_000, price=7.0)])
    assert len(segments(folder)) == 3
    now += 3_600_000_000

    assert await store.vacuum() == 0
    freed = await store.vacuum(older_than_s=60)

    assert freed > 1_000
    assert len(segments(folder)) == 2
    assert (await store.read(SERIES, ALL, as_of=then)).equals(candles(T0, LARGE, 100.0))
    assert list((await store.verify()).faults) == []
    await store.close()
