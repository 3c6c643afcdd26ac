"""A server store that keeps its history in files: what goes there, comes back, and is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, LiteralString

import deltalake
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_writer import M1, OTHER, SERIES, T0, candles
from psycopg import sql

from zvt_crypto.core.errors import BadStore, StoreCorrupt, UsageError
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.store import Batch, Finding, Upkept
from zvt_crypto.store.timescale import TimescaleStore, upkeep
from zvt_crypto.store.timescale.place import parse_place

ALL = Range(0, 1 << 60)
DAY = 1_440 * M1
MONTH = 31 * DAY  # January 2024, where T0 begins
LATER = T0 + 400 * DAY


def observed(start: int, rows: int, price: float = 100.0) -> Batch:
    return Batch(
        series=SERIES,
        table=candles(start, rows, price),
        findings=[Finding(start, start + rows * M1, Verdict.OBSERVED)],
        source=Source.REST,
    )


@pytest.fixture
def url(postgres_url: Callable[[], str], tmp_path: Path) -> str:
    return f"{postgres_url()}&segments={tmp_path / 'files'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[TimescaleStore]:
    opened = await TimescaleStore.open(url, clock=lambda: LATER, filed_rows=5_000)
    await opened.upkeep()  # which is not due again for a while
    yield opened
    await opened.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("files/**/*.parquet"))


def run(url: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    """Run a statement in the schema of a store."""
    place = parse_place(url)
    with psycopg.connect(place.conninfo, autocommit=True) as connection:
        schema = sql.Identifier(place.schema)
        connection.execute(sql.SQL("SET search_path = {}, public").format(schema))
        found = connection.execute(statement)
        return found.fetchall() if found.description else []


def in_table(url: str) -> int:
    """Return how many candles lie in the table itself."""
    return run(url, "SELECT count(*) FROM candles")[0][0]


async def facts(store: TimescaleStore) -> dict[str, str]:
    return {fact.name: fact.value for fact in await store.describe()}


async def test_large_commits_are_filed_and_small_ones_once_their_month_is_over(
    store: TimescaleStore, url: str, tmp_path: Path
) -> None:
    # given pages of January and February, and a commit as large as those of bulk files
    whole = candles(T0, 50_000, 100.0)
    for at in range(0, 40_000, 4_000):
        await store.commit([observed(T0 + at * M1, 4_000)])
    await store.commit([observed(T0 + 40_000 * M1, 10_000)])
    assert (in_table(url), len(files(tmp_path))) == (40_000, 2)
    # when
    done = await store.upkeep()
    # then each month is a file; the smaller ones that came before wait for `vacuum`
    assert done == Upkept({}, 40_000, 0)
    assert in_table(url) == 0
    assert (await facts(store))["segments"].startswith(f"{tmp_path}/files: 2 files, 50,000 rows")
    assert await store.vacuum(older_than_s=0) > 0
    assert [pq.read_metadata(one).num_rows for one in files(tmp_path)] == [44_640, 5_360]
    assert (await store.read(SERIES, ALL)).equals(whole)
    assert (await store.read(SERIES, ALL, last=7)).equals(whole.slice(49_993))
    assert list((await store.verify()).faults) == []


async def test_a_late_row_lies_in_the_table_until_its_file_is_made_anew(
    store: TimescaleStore, url: str, tmp_path: Path
) -> None:
    # given a filed month, and a correction of one bar of it
    await store.commit([observed(T0, 10_000)])
    before = LATER + 1_000_000
    await store.commit([observed(T0 + 500 * M1, 1, price=7.0)])
    assert (in_table(url), len(files(tmp_path))) == (1, 2)
    expected = pa.concat_tables(
        [
            candles(T0, 500, 100.0),
            candles(T0 + 500 * M1, 1, 7.0),
            candles(T0 + 501 * M1, 9_499, 100.0),
        ]
    ).combine_chunks()
    assert (await store.read(SERIES, ALL)).equals(expected)
    # when
    assert await store.upkeep() == Upkept({}, 1, 0)
    # then
    assert in_table(url) == 0
    assert (await store.read(SERIES, ALL)).equals(expected)
    assert (await store.read(SERIES, ALL, as_of=LATER)).equals(candles(T0, 10_000, 100.0))
    assert (await store.read(SERIES, ALL, as_of=before)).equals(expected)
    assert list((await store.verify()).faults) == []


async def test_housekeeping_is_done_along_the_way_by_those_that_write(
    store: TimescaleStore, url: str
) -> None:
    # given a store that has kept house not long ago, and rows to be filed
    await store.commit([observed(T0, 1_000)])
    # when another process comes to it ten minutes later, and writes
    run(url, "UPDATE setting SET value = value::bigint - 600000000 WHERE name = 'upkeep_us'")
    other = await TimescaleStore.open(url, clock=lambda: LATER)
    await other.commit([observed(T0 + 1_000 * M1, 1_000)])
    # then it keeps house behind its commits
    async with asyncio.timeout(20):
        while in_table(url):  # noqa: ASYNC110 - the other tells nobody when it is done
            await asyncio.sleep(0.05)
    await other.close()
    # and those that come soon after do not
    another = await TimescaleStore.open(url, clock=lambda: LATER)
    await another.commit([observed(T0 + 2_000 * M1, 1_000)])
    await asyncio.sleep(0.5)
    assert in_table(url) == 1_000
    await another.close()


async def test_what_is_not_over_stays_in_its_table(url: str) -> None:
    store = await TimescaleStore.open(url, clock=lambda: T0 + MONTH + 6 * DAY, filed_rows=10**9)
    try:
        await store.commit([observed(T0, 2_000)])
        assert (await store.upkeep(), in_table(url)) == (Upkept({}, 0, 0), 2_000)
    finally:
        await store.close()


async def test_rows_that_change_while_they_are_filed_stay_where_they_are(
    store: TimescaleStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a writer that corrects a row after the file was written, and before it counts
    await store.commit([observed(T0, 1_000)])
    other = await TimescaleStore.open(url, clock=lambda: LATER)
    loop = asyncio.get_running_loop()
    settle = vars(upkeep)["_settle"]

    def late(*details: object) -> bool:
        while corrections:
            asyncio.run_coroutine_threadsafe(corrections.pop(), loop).result(20)
        return settle(*details)

    corrections = [other.commit([observed(T0 + 5 * M1, 1, price=9.0)])]
    monkeypatch.setattr(upkeep, "_settle", late)
    # when
    assert await store.upkeep() == Upkept({}, 0, 0)
    # then nothing moved, and the next time it does
    assert (in_table(url), files(tmp_path)) == (1_000, [])
    assert await store.upkeep() == Upkept({}, 1_000, 0)
    assert (await store.read(SERIES, ALL)).column("open")[5].as_py() == pytest.approx(
        candles(T0 + 5 * M1, 1, 9.0).column("open")[0].as_py()
    )
    assert list((await store.verify()).faults) == []
    await other.close()


async def test_a_damaged_file_is_named_taken_back_whole_and_loaded_again(
    store: TimescaleStore, tmp_path: Path
) -> None:
    # given two months in files, and pages in the table; the first file is no Parquet any more
    await store.commit([observed(T0, 50_000)])
    await store.commit([observed(T0 + 50_000 * M1, 100)])
    january, _ = files(tmp_path)
    january.write_bytes(b"nothing")
    # when it is read
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        await store.read(SERIES, ALL)
    (fault,) = (await store.verify()).faults
    assert (fault.start, fault.end) == (T0, T0 + MONTH)
    assert january.name in fault.detail
    # and an hour of it is taken back
    taken = await store.discard(SERIES, Range(T0 + DAY, T0 + DAY + 60 * M1))
    # then all of the file is owed, and the rest stands
    assert taken == Range(T0, T0 + MONTH)
    assert [(e.range, e.verdict) for e in await store.coverage(SERIES)] == [
        (Range(T0, T0 + MONTH), Verdict.MISSING),
        (Range(T0 + MONTH, T0 + 50_100 * M1), Verdict.OBSERVED),
    ]
    await store.commit([observed(T0, 44_640)])
    assert (await store.read(SERIES, ALL)).equals(candles(T0, 50_100, 100.0))
    assert list((await store.verify()).faults) == []


async def test_a_changed_row_of_a_file_is_found(store: TimescaleStore, tmp_path: Path) -> None:
    await store.commit([observed(T0, 6_000)])
    (one,) = files(tmp_path)
    table = pq.ParquetFile(one).read()
    closes = table.column("close").to_pylist()
    closes[3_000] += 0.5
    place = table.column_names.index("close")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(closes)), one)
    faults = list((await store.verify()).faults)
    assert {fault.detail for fault in faults} == {
        "rows of the block are not those that were committed",
        "6000 rows, but not those the ledger knows",
    }


async def test_old_rows_go_from_files_by_a_rule_that_housekeeping_applies(
    store: TimescaleStore,
) -> None:
    # given January and February in files, another series in the table
    await store.commit([observed(T0, 60_000)])
    await store.commit([Batch(series=OTHER, table=candles(T0, 10, 1.0), source=Source.REST)])
    # when candles are kept for 365 days, counted from the middle of February 2025
    assert await store.retention() == {}
    await store.set_retention(Kind.CANDLES, 365 * 86_400)
    done = await store.upkeep()
    # then January has gone, and the ledger does not speak of it
    kept_from = T0 + MONTH
    assert done == Upkept({Kind.CANDLES: kept_from}, 0, 0)
    assert (await store.read(SERIES, ALL)).equals(candles(kept_from, 15_360, 100.0))
    assert [e.range for e in await store.coverage(SERIES)] == [Range(kept_from, T0 + 60_000 * M1)]
    assert (await store.read(OTHER, ALL)).num_rows == 0
    assert (await facts(store))["retention"] == "candles are kept for 365 days"
    assert list((await store.verify()).faults) == []
    await store.set_retention(Kind.CANDLES, None)
    assert await store.retention() == {}


async def test_the_place_of_the_files_is_remembered_and_not_changed(
    store: TimescaleStore, url: str, tmp_path: Path
) -> None:
    await store.commit([observed(T0, 6_000)])
    bare = url.partition("&segments=")[0]
    again = await TimescaleStore.open(bare)
    assert (await again.read(SERIES, ALL)).num_rows == 6_000
    await again.close()
    with pytest.raises(BadStore, match=f"at {tmp_path}/files, not at {tmp_path}/elsewhere"):
        await TimescaleStore.open(f"{bare}&segments={tmp_path}/elsewhere")


async def test_a_store_begun_in_tables_stays_there(
    postgres_url: Callable[[], str], tmp_path: Path
) -> None:
    bare = postgres_url()
    # given one that only reads what is not there yet, and one that begins it
    await (await TimescaleStore.open(bare)).close()
    with pytest.raises(BadStore, match=f"its history in its tables, not at {tmp_path}"):
        await TimescaleStore.open(f"{bare}&segments={tmp_path}")


async def test_files_are_published_where_they_lie(
    store: TimescaleStore, postgres_url: Callable[[], str]
) -> None:

    await store.commit([observed(T0, 6_000)])
    (one,) = await store.publish("delta")
    assert (one.files, one.rows) == (1, 6_000)
    shown = deltalake.DeltaTable(one.url).to_pyarrow_table().sort_by("timestamp")
    assert shown.column("close").to_pylist() == candles(T0, 6_000, 100.0)["close"].to_pylist()
    bare = await TimescaleStore.open(postgres_url())
    with pytest.raises(UsageError, match="keeps its history in tables"):
        await bare.publish("delta")
    await bare.close()


async def test_a_file_of_a_commit_that_failed_is_swept(
    store: TimescaleStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a commit that fails after its file was written
    monkeypatch.setattr(
        "zvt_crypto.store.timescale.coverage.put", lambda *_: (_ for _ in ()).throw(OSError("no"))
    )
    with pytest.raises(StoreCorrupt):
        await store.commit([observed(T0, 6_000)])
    monkeypatch.undo()
    assert len(files(tmp_path)) == 1
    assert (await store.read(SERIES, ALL)).num_rows == 0
    # when it is a day old
    await store.vacuum(older_than_s=0)
    assert len(files(tmp_path)) == 1
    run(url, "UPDATE drafts SET written_us = written_us - 86401000000")
    await store.vacuum(older_than_s=0)
    # then
    assert files(tmp_path) == []
    await store.commit([observed(T0, 6_000)])
    assert list((await store.verify()).faults) == []
