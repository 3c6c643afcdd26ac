"""Other engines read the lake where it lies."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest
from book_rows import DELTAS, SNAPSHOTS, rows, stream, whole_rows
from lake_writer import M1, T0, candles

from zvt_crypto.core.errors import MissingExtra, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.store import Batch
from zvt_crypto.store.lake import LakeStore

BTC = candle_series("binance", "BTC-USDT", Interval.M1)
ODD = candle_series("okx", "币安+$(X)-USDT", Interval.M1)


def batch(series: Series, start: int, rows: int, price: float = 5.0) -> Batch:
    return Batch(series=series, table=candles(start, rows, price), source=Source.REST)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LakeStore]:
    opened = await LakeStore.open(tmp_path / "lake")
    await opened.commit([batch(BTC, T0, 60_000), batch(ODD, T0, 100)])
    yield opened
    await opened.close()


def files_of(store: LakeStore) -> set[str]:
    return {path.name for path in Path(store.url).rglob("segments/**/2*.parquet")}


async def test_delta_readers_see_every_row(store: LakeStore) -> None:
    (published,) = await store.publish("delta")

    # then the rows are those of the store, told apart by the partitions
    assert (published.kind, published.rows) == (Kind.CANDLES, 60_100)
    frame = pl.read_delta(published.url)
    assert frame.height == 60_100
    mine = frame.filter(pl.col("p_symbol") == "BTC-USDT").sort("timestamp")
    names = SCHEMAS[Kind.CANDLES].names
    rows = mine.select(names).to_arrow().cast(SCHEMAS[Kind.CANDLES])
    assert rows.equals(candles(T0, 60_000, 5.0))
    assert set(frame["p_interval"]) == {"1m"}
    assert set(frame.filter(pl.col("p_exchange") == "okx")["p_symbol"]) == {ODD.symbol}

    # and publishing again writes nothing, until something has changed
    log = Path(published.url) / "_delta_log"
    assert await store.publish("delta") == [published]
    assert len(list(log.glob("*.json"))) == 1
    await store.commit([batch(BTC, T0 + 100 * M1, 10_000, 9.0), batch(ODD, T0 + 100 * M1, 50)])
    (again,) = await store.publish("delta")
    assert again.rows == 60_150
    await store.vacuum(older_than_s=-60)
    frame = pl.read_delta(published.url)
    assert frame.height == 60_150
    assert frame.filter(pl.col("close") >= 9.0).height >= 10_000
    assert len(files_of(store)) == again.files
    assert list((await store.verify()).faults) == []


async def test_iceberg_readers_see_every_row(store: LakeStore, tmp_path: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    target = tmp_path / "ice berg"
    (published,) = await store.publish("iceberg", target)
    assert published.rows == 60_100

    def read() -> pl.DataFrame:
        catalog = SqlCatalog("zvt_crypto", uri=f"sqlite:///{target / 'iceberg.sqlite'}")
        try:
            table = catalog.load_table("zvt_crypto.candles").scan().to_arrow()
        finally:
            catalog.close()
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame

    frame = read()
    assert frame.height == 60_100
    mine = frame.filter(pl.col("p_symbol") == "BTC-USDT").sort("timestamp")
    expected = pl.from_arrow(candles(T0, 60_000, 5.0))
    assert isinstance(expected, pl.DataFrame)
    assert mine.select(expected.columns).equals(expected)
    assert set(frame.filter(pl.col("p_exchange") == "okx")["p_symbol"]) == {ODD.symbol}

    await store.commit([batch(BTC, T0 + 100 * M1, 10_000, 9.0), batch(ODD, T0 + 100 * M1, 50)])
    await store.publish("iceberg", target)
    await store.vacuum(older_than_s=-60)
    frame = read()
    assert frame.height == 60_150
    assert frame.filter(pl.col("close") >= 9.0).height >= 10_000


async def test_duckdb_reads_the_segments_by_their_folders(store: LakeStore) -> None:
    import duckdb

    await store.compact()
    pattern = f"{store.url}/segments/candles/**/*.parquet"
    found = duckdb.sql(
        f"SELECT p_symbol, count(*) FROM read_parquet('{pattern}', "
        "hive_partitioning = true) GROUP BY p_symbol ORDER BY 2"
    )
    assert found is not None
    assert found.fetchall() == [(ODD.symbol, 100), ("BTC-USDT", 60_000)]


async def test_what_is_missing_is_said(
    store: LakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError):
        await store.publish("delta", tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        await store.publish("iceberg")
    monkeypatch.setitem(sys.modules, "deltalake", None)
    monkeypatch.setitem(sys.modules, "pyiceberg.catalog.sql", None)
    with pytest.raises(MissingExtra):
        await store.publish("delta")
    with pytest.raises(MissingExtra):
        await store.publish("iceberg", tmp_path / "x")


async def test_books_are_readable_as_lists_in_both_forms(tmp_path: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    # given a lake with books in segments
    store = await LakeStore.open(tmp_path / "lake")
    messages = stream(3, 2_000)
    deltas = rows(messages)
    tables = ((DELTAS, deltas), (SNAPSHOTS, whole_rows(messages, 50)))
    await store.commit([Batch(series=s, table=t, source=Source.LIVE) for s, t in tables])
    await store.compact()

    # when it is published
    delta = await store.publish("delta")
    await store.publish("iceberg", tmp_path / "berg")

    # then others read the levels that were stored
    assert {one.kind for one in delta} == {Kind.BOOK_DELTAS, Kind.BOOK_SNAPSHOTS}
    url = next(one.url for one in delta if one.kind is Kind.BOOK_DELTAS)
    uri = f"sqlite:///{tmp_path / 'berg' / 'iceberg.sqlite'}"
    catalog = SqlCatalog("zvt_crypto", uri=uri)
    try:
        iceberg = catalog.load_table("zvt_crypto.book_deltas").scan().to_arrow()
    finally:
        catalog.close()
    expected = pl.from_arrow(deltas)
    assert isinstance(expected, pl.DataFrame)
    for found in (pl.read_delta(url), pl.from_arrow(iceberg)):
        assert isinstance(found, pl.DataFrame)
        ordered = found.sort("timestamp", "sequence").select(expected.columns)
        assert ordered.equals(expected)
    await store.close()
