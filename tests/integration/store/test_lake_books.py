"""Heavy rows: what is bounded in rows elsewhere is bounded by what they take."""

from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from book_rows import DELTAS, SNAPSHOTS, rows, stream, whole_rows

from zvt_crypto.core.ledger import Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.copy import CopyConfig, StoreCopier, copier
from zvt_crypto.store.lake import LakeStore, merge
from zvt_crypto.store.memory import MemoryStore
from zvt_crypto.store.segments import segment

ALL = Range(0, 1 << 60)
MESSAGES = stream(9, 1_200)
WHOLE = whole_rows(MESSAGES, 4)


@pytest.fixture
async def lake(tmp_path: Path) -> AsyncIterator[LakeStore]:
    store = await LakeStore.open(tmp_path / "lake")
    yield store
    await store.close()


def batches(first: int = 0, last: int = 1_200) -> list[Batch]:
    return [
        Batch(series=DELTAS, table=rows(MESSAGES).slice(first, last - first), source=Source.LIVE),
        Batch(series=SNAPSHOTS, table=WHOLE.slice(first // 4, (last - first) // 4 + 1),
              source=Source.LIVE),
    ]  # fmt: skip


async def test_segments_and_groups_of_heavy_rows_are_cut_by_their_size(
    lake: LakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given bounds of a few kilobytes
    monkeypatch.setattr(merge, "_LARGEST_BYTES", 40_000)
    monkeypatch.setattr(segment, "_GROUP_BYTES", 8_000)

    # when rows come in several commits, and chunks are compacted in between
    for first in range(0, 1_200, 300):
        await lake.commit(batches(first, first + 300))
        await lake.compact()

    # then no file and no group holds much more than that, and nothing is lost
    files = sorted((Path(lake.url) / "segments" / "book_snapshots").rglob("*.parquet"))
    assert len(files) > 2
    for file in files:
        read = pq.ParquetFile(file)
        assert read.read().nbytes < 60_000
        assert read.num_row_groups > 1
    assert (await lake.read(SNAPSHOTS, ALL)).equals(WHOLE)
    assert (await lake.read(DELTAS, ALL)).equals(rows(MESSAGES))
    assert list((await lake.verify()).faults) == []


async def test_heavy_rows_become_hot_rows_no_longer_than_their_weight_allows(
    lake: LakeStore,
) -> None:
    await lake.commit(batches(0, 24))
    assert not list((Path(lake.url) / "segments").rglob("*.parquet"))

    await lake.commit(batches(24, 1_200))

    assert list((Path(lake.url) / "segments" / "book_snapshots").rglob("*.parquet"))
    assert list((Path(lake.url) / "segments" / "book_deltas").rglob("*.parquet"))


async def test_a_parcel_of_heavy_rows_is_bounded_by_what_they_take(
    lake: LakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lake.commit(batches())
    await lake.compact()
    plain = await StoreCopier(lake, MemoryStore(), CopyConfig(parcel_rows=16_000)).copy([DELTAS])
    monkeypatch.setattr(copier, "_PARCEL_BYTES", 1_000)

    target = MemoryStore()
    tight = await StoreCopier(lake, target).copy([DELTAS, SNAPSHOTS])

    assert plain.series[0].parcels >= 2
    assert min(one.parcels for one in tight.series) > 10
    assert [one.error for one in tight.series] == [None, None]
    assert (await target.read(SNAPSHOTS, ALL)).equals(WHOLE)
