"""Stores of earlier formats: opened, brought up to date, and sound."""

import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zvt_crypto.core.errors import BadStore
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.store.lake import LakeStore

T0 = 1_704_067_200_000_000
SECOND = 1_000_000
ALL = Range(0, 1 << 60)
# Bytes of a row of quotes in format 1: five numbers, when it was known, and two bytes of nulls.
FORMER_BYTES = 8 * 5 + 8 + 2


def series(number: int) -> Series:
    return Series("binance", f"COIN{number}-USDT", Kind.QUOTES)


def quotes(start: int, count: int) -> pa.Table:
    times = start + np.arange(count) * SECOND
    moments = pa.array(times, pa.int64()).cast(TIMESTAMP)
    bid = pa.array(100 + times // SECOND % 7 / 10)
    ask = pa.array([None if t % 5 == 0 else 101.5 for t in times // SECOND], pa.float64())
    zeros = pa.array(np.zeros(count, dtype=np.int64))
    return pa.table([moments, bid, bid, ask, bid, zeros], schema=SCHEMAS[Kind.QUOTES])


def observed(number: int, start: int, count: int) -> Batch:
    table = quotes(start, count)
    finding = Finding(start, start + count * SECOND, Verdict.OBSERVED)
    return Batch(series=series(number), table=table, findings=[finding], source=Source.LIVE)


def narrowed(fixed: bytes) -> bytes:
    """Return a block of rows without the number that format 1 did not have."""
    rows = np.frombuffer(fixed, np.uint8).reshape(-1, FORMER_BYTES + 8)
    return np.delete(rows, np.s_[40:48], axis=1).tobytes()


def take_back(folder: Path) -> None:
    """Make a store of today one of format 1, as the version before this column wrote it."""
    catalog = sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)
    catalog.execute("DROP TABLE lease")
    catalog.execute("DROP TABLE agreement")
    for table in ("hot", "arrival"):
        key = "id" if table == "arrival" else "series_id, first_us, known_us"
        for fixed, *names in catalog.execute(f"SELECT fixed, {key} FROM {table}").fetchall():
            where = " AND ".join(f"{name.strip()} = ?" for name in key.split(","))
            values = (narrowed(fixed), *names)
            catalog.execute(f"UPDATE {table} SET fixed = ? WHERE {where}", values)
    catalog.execute("PRAGMA user_version=1")
    catalog.close()
    for path in (folder / "segments").rglob("*.parquet"):
        pq.write_table(pq.ParquetFile(path).read().drop_columns(["sequence"]), path)


@pytest.fixture
async def old(tmp_path: Path) -> Path:
    """Return a store of format 1 with quotes in segments, in chunks and just arrived."""
    folder = tmp_path / "lake"
    store = await LakeStore.open(folder)
    await store.commit([observed(0, T0, 6_000)])
    await store.commit([observed(0, T0 + 6_000 * SECOND, 10), observed(1, T0, 3)])
    await store.commit([observed(number, T0 + 9_000 * SECOND, 2) for number in range(8)])
    await store.close()
    take_back(folder)
    return folder


async def test_an_old_store_opens_and_everything_in_it_is_sound(old: Path) -> None:
    with pytest.raises(BadStore, match="older") as caught:
        await LakeStore.open(old, read_only=True)
    assert "writing" in str(caught.value.remedy)

    store = await LakeStore.open(old)
    parts = [quotes(T0, 6_010), quotes(T0 + 9_000 * SECOND, 2)]
    assert (await store.read(series(0), ALL)).equals(pa.concat_tables(parts).combine_chunks())
    assert (await store.verify()).faults == []
    assert (await store.reconciliations()).num_rows == 0

    # and goes on: what is told again is known, what is new is added beside what was there
    (again,) = await store.commit([observed(0, T0, 6_010)])
    assert (again.inserted, again.corrected, again.unchanged) == (0, 0, 6_010)
    second = quotes(T0, 1).set_column(5, SCHEMAS[Kind.QUOTES].field(5), pa.array([7]))
    (done,) = await store.commit([Batch(series=series(0), table=second, source=Source.LIVE)])
    assert (done.inserted, done.corrected) == (1, 0)
    await store.compact()
    held = await store.read(series(0), Range(T0, T0 + 1))
    assert held.column("sequence").to_pylist() == [0, 7]
    assert (await store.verify()).faults == []
    await store.close()

    reader = await LakeStore.open(old, read_only=True)
    assert (await reader.read(series(1), ALL)).num_rows == 5
    await reader.close()


async def test_a_store_without_leases_gets_them(tmp_path: Path) -> None:
    # given a store of format 2
    folder = tmp_path / "lake"
    store = await LakeStore.open(folder)
    await store.commit([observed(0, T0, 10)])
    await store.close()
    catalog = sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)
    catalog.execute("DROP TABLE lease")
    catalog.execute("PRAGMA user_version=2")
    catalog.close()

    # when it is opened, then leases work, and what was there is sound
    store = await LakeStore.open(folder)
    assert await store.acquire(["a"], "one", 60.0) == {"a"}
    assert [one.name for one in await store.held()] == ["a"]
    assert (await store.read(series(0), ALL)).equals(quotes(T0, 10))
    assert (await store.verify()).faults == []
    await store.close()
