"""What every store engine promises, checked on all of them."""

import itertools
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from book_rows import DELTAS, SNAPSHOTS, rows, stream, whole_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zvt_crypto.core.bar import Values
from zvt_crypto.core.digest import EMPTY_DIGEST, digest_table
from zvt_crypto.core.errors import DataError
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement, Reconciled
from zvt_crypto.core.schema import RECONCILIATIONS, SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.ports.store import Batch, Finding, Store
from zvt_crypto.store.lake import LakeStore
from zvt_crypto.store.memory import MemoryStore
from zvt_crypto.store.timescale import TimescaleStore

M1 = 60_000_000
T0 = 1_704_067_200_000_000  # 2024-01-01
DAY = 86_400_000_000
ALL = Range(0, 1 << 60)
BTC = candle_series("binance", "BTC-USDT", Interval.M1)
TRADES = Series("okx", "ETH-USDT-PERP", Kind.TRADES)

Open = Callable[[], AsyncIterator[Store]]


class TickingClock:
    """Time that moves on by a millisecond whenever it is asked for."""

    def __init__(self, now_us: int = T0) -> None:
        self.now_us = now_us
        self._guard = threading.Lock()

    def __call__(self) -> int:
        with self._guard:
            self.now_us += 1_000
            return self.now_us


_NUMBERS = itertools.count()


@pytest.fixture(params=["tables", "files"])
async def server(
    request: pytest.FixtureRequest, postgres_url: Callable[[], str], tmp_path: Path
) -> AsyncIterator[TimescaleStore]:
    # A year later, so that `upkeep` finds months that are over.
    clock = TickingClock(T0 + 400 * DAY)
    segments = f"&segments={tmp_path}/segments" if request.param == "files" else ""
    opened = await TimescaleStore.open(postgres_url() + segments, clock=clock, filed_rows=8)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture(
    params=[
        "memory",
        "lake",
        "lake_s3",
        "postgres",
        "postgres_files",
        "timescale",
        "timescale_files",
    ]
)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: TickingClock
) -> AsyncIterator[Store]:
    if request.param == "memory":
        opened: Store = MemoryStore(clock)
    elif request.param == "lake":
        opened = await LakeStore.open(tmp_path / "lake", clock=clock)
    elif request.param in ("postgres", "timescale"):
        new_url = request.getfixturevalue(f"{request.param}_url")
        opened = await TimescaleStore.open(new_url(), clock=clock)
    elif request.param in ("postgres_files", "timescale_files"):
        new_url = request.getfixturevalue(request.param.replace("files", "url"))
        url = f"{new_url()}&segments={tmp_path}/segments"
        opened = await TimescaleStore.open(url, clock=clock, filed_rows=1)
    else:
        url = request.getfixturevalue("bucket_url")
        opened = await LakeStore.open(tmp_path / "lake", segments_url=url, clock=clock)
    yield opened
    await opened.close()


def candles(
    start: int, count: int, *, price: float = 100.0, step: int = M1, count_null: bool = False
) -> pa.Table:
    """Return plausible candles; the same arguments give the same rows."""
    numbers = np.arange(count)
    close = price + numbers % 97 / 10
    columns = {
        "timestamp": pa.array(start + numbers * step, pa.int64()).cast(TIMESTAMP),
        "open": close - 0.05,
        "high": close + 0.5,
        "low": close - 0.5,
        "close": close,
        "volume": 1.5 + numbers % 13,
        "quote_volume": pa.nulls(count, pa.float64()) if count_null else close * 1.5,
        "trade_count": pa.nulls(count, pa.int64()) if count_null else pa.array(numbers % 50),
        "taker_buy_volume": 0.5 + numbers % 7 / 10,
    }
    return pa.table(columns, schema=SCHEMAS[Kind.CANDLES])


def trades(rows: Sequence[tuple[int, str, float]]) -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([r[0] for r in rows], pa.int64()).cast(TIMESTAMP),
            "trade_id": [r[1] for r in rows],
            "price": [r[2] for r in rows],
            "size": [0.25 for _ in rows],
            "side": ["buy" if len(r[1]) % 2 else "sell" for r in rows],
            "fills": [None for _ in rows],
        },
        schema=SCHEMAS[Kind.TRADES],
    )


def batch(
    series: Series,
    table: pa.Table,
    *findings: tuple[int, int, Verdict],
    source: Source = Source.ARCHIVE,
    rejected: Sequence[Rejected] = (),
) -> Batch:
    return Batch(
        series=series,
        table=table,
        findings=[Finding(*one) for one in findings],
        source=source,
        rejected=rejected,
    )


async def assert_sound(store: Store, series: Series) -> None:
    """Every observed range holds what the ledger says, and the store agrees."""
    ledger = await store.coverage(series)
    for before, after in itertools.pairwise(ledger):
        assert before.end <= after.start
    for entry in ledger:
        rows = await store.read(series, entry.range)
        if entry.verdict is Verdict.OBSERVED:
            assert (rows.num_rows, digest_table(rows)) == (entry.rows, entry.digest)
        elif entry.verdict in (Verdict.EMPTY, Verdict.OUTAGE):
            assert rows.num_rows == 0
        if entry.verdict is not Verdict.OBSERVED:
            assert (entry.rows, entry.digest) == (0, EMPTY_DIGEST)
    assert list((await store.verify()).faults) == []


async def test_rows_written_are_read_back_in_order(store: Store) -> None:
    # given rows in no order
    table = candles(T0, 1_000)
    shuffled = table.take(np.random.default_rng(1).permutation(1_000))

    # when they are committed
    (done,) = await store.commit([batch(BTC, shuffled, (T0, T0 + 1_000 * M1, Verdict.OBSERVED))])

    # then they are read as they belong
    assert (done.inserted, done.corrected, done.unchanged) == (1_000, 0, 0)
    assert (await store.read(BTC, ALL)).equals(table)
    part = await store.read(BTC, Range(T0 + 10 * M1, T0 + 20 * M1))
    assert part.equals(table.slice(10, 10))
    assert (await store.read(BTC, Range(T0 + 10 * M1 + 1, T0 + 11 * M1))).num_rows == 0
    await assert_sound(store, BTC)


@pytest.mark.parametrize("rows", [100, 7_000])
async def test_committing_the_same_again_changes_nothing(store: Store, rows: int) -> None:
    one = batch(BTC, candles(T0, rows), (T0, T0 + rows * M1, Verdict.OBSERVED))
    await store.commit([one])
    before = await store.coverage(BTC)

    (done,) = await store.commit([one])

    assert (done.inserted, done.corrected, done.unchanged) == (0, 0, rows)
    assert await store.coverage(BTC) == before
    assert (await store.corrections()).num_rows == 0
    assert (await store.read(BTC, ALL)).equals(one.table)


def worthwhile(store: Store, rows: int) -> int:
    """Return how many rows to try: the reference keeps any number alike, only more slowly."""
    return min(rows, 7_000) if isinstance(store, MemoryStore) else rows


@pytest.mark.parametrize("rows", [50, 7_000, 60_000])
async def test_as_of_gives_the_values_known_then(
    store: Store, clock: TickingClock, rows: int
) -> None:
    # given rows, then other values for a few of them, then again, and later rows
    rows = worthwhile(store, rows)
    first = candles(T0, rows)
    await store.commit([batch(BTC, first, (T0, T0 + rows * M1, Verdict.OBSERVED))])
    early = clock.now_us
    (done,) = await store.commit([batch(BTC, candles(T0 + 5 * M1, 3, price=200.0))])
    assert (done.inserted, done.corrected, done.unchanged) == (0, 3, 0)
    middle = clock.now_us
    await store.commit([batch(BTC, candles(T0 + 6 * M1, 1, price=300.0))])
    await store.commit([batch(BTC, candles(T0 + rows * M1, 10))])

    # then each moment has its own truth
    assert (await store.read(BTC, ALL, as_of=T0)).num_rows == 0
    assert (await store.read(BTC, ALL, as_of=early)).equals(first)
    then = await store.read(BTC, Range(T0 + 5 * M1, T0 + 8 * M1), as_of=middle)
    assert then.equals(candles(T0 + 5 * M1, 3, price=200.0))
    now = await store.read(BTC, ALL)
    assert now.num_rows == rows + 10
    assert now.slice(6, 1).equals(candles(T0 + 6 * M1, 1, price=300.0))
    assert (await store.read(BTC, ALL, as_of=clock.now_us)).equals(now)

    # and what was replaced is listed, in order
    replaced = (await store.corrections(BTC)).to_pylist()
    assert len(replaced) == 4
    assert [r["corrected"] for r in replaced] == sorted(r["corrected"] for r in replaced)
    assert replaced[-1]["old"] == (await _payload(store, candles(T0 + 5 * M1, 3, price=200.0)))
    await assert_sound(store, BTC)


async def _payload(store: Store, table: pa.Table) -> str:
    """Return the JSON of the second row, by way of a correction in another store."""
    del store
    other = MemoryStore()
    await other.commit([batch(BTC, table.slice(1, 1))])
    await other.commit([batch(BTC, candles(T0 + 6 * M1, 1, price=1.0))])
    return (await other.corrections()).column("old")[0].as_py()


async def test_of_repeated_keys_the_last_wins(store: Store) -> None:
    both = pa.concat_tables([candles(T0, 10), candles(T0 + M1, 1, price=500.0)])

    (done,) = await store.commit([batch(BTC, both)])

    assert done.inserted == 10
    assert (await store.read(BTC, ALL)).column("close")[1].as_py() == 500.0


async def test_batches_of_one_series_are_taken_as_one(store: Store) -> None:
    done = await store.commit(
        [
            batch(BTC, candles(T0, 10), (T0, T0 + 10 * M1, Verdict.OBSERVED)),
            batch(TRADES, trades([(T0, "1", 5.0)])),
            batch(
                BTC,
                candles(T0 + 5 * M1, 10, price=7.0),
                (T0 + 5 * M1, T0 + 15 * M1, Verdict.OBSERVED),
                source=Source.REST,
            ),
        ]
    )

    assert [d.inserted for d in done] == [0, 1, 15]
    assert [(e.source, e.rows) for e in await store.coverage(BTC)] == [
        (Source.ARCHIVE, 5),
        (Source.REST, 10),
    ]
    await assert_sound(store, BTC)


@pytest.mark.parametrize("rows", [100, 12_000])
async def test_an_observed_range_that_is_cut_is_counted_again(store: Store, rows: int) -> None:
    end = T0 + rows * M1
    await store.commit([batch(BTC, candles(T0, rows), (T0, end, Verdict.OBSERVED))])

    # when the middle is observed again by another way
    middle = (T0 + 40 * M1, T0 + 60 * M1, Verdict.OBSERVED)
    await store.commit([batch(BTC, candles(T0, 0), middle, source=Source.REPAIR)])

    # then both ends are exact, and so is any part of them asked for
    assert [(e.source, e.rows) for e in await store.coverage(BTC)] == [
        (Source.ARCHIVE, 40),
        (Source.REPAIR, 20),
        (Source.ARCHIVE, rows - 60),
    ]
    part = await store.coverage(BTC, Range(T0 + 39 * M1, T0 + 61 * M1))
    assert [(e.source, e.rows) for e in part] == [
        (Source.ARCHIVE, 1),
        (Source.REPAIR, 20),
        (Source.ARCHIVE, 1),
    ]
    await assert_sound(store, BTC)

    # and where one way has seen all again, it is one range
    await store.commit([batch(BTC, candles(T0 + 40 * M1, 20, price=1.0), middle)])
    assert [(e.start, e.end, e.rows) for e in await store.coverage(BTC)] == [(T0, end, rows)]
    await assert_sound(store, BTC)


async def test_weaker_findings_yield_to_stronger_ones(store: Store) -> None:
    end = T0 + 10 * M1
    await store.commit([batch(BTC, candles(T0, 10), (T0, end, Verdict.OBSERVED))])
    before = await store.coverage(BTC)

    for verdict in (Verdict.MISSING, Verdict.EMPTY, Verdict.OUTAGE, Verdict.UNRECOVERABLE):
        await store.commit([batch(BTC, candles(T0, 0), (T0 - M1, end + M1, verdict))])

        ledger = await store.coverage(BTC)
        assert ledger[1] == before[0]
        assert len(ledger) == 3
    await assert_sound(store, BTC)


@pytest.mark.parametrize("rows", [100, 12_000])
async def test_discarded_rows_are_owed_again(store: Store, rows: int) -> None:
    table = candles(T0, rows)
    whole = batch(BTC, table, (T0, T0 + rows * M1, Verdict.OBSERVED))
    await store.commit([whole])
    asked = Range(T0 + 20 * M1, T0 + (rows + 10) * M1)

    assert await store.discard(BTC, asked) == asked

    assert [(e.verdict, e.end, e.rows) for e in await store.coverage(BTC)] == [
        (Verdict.OBSERVED, T0 + 20 * M1, 20),
        (Verdict.MISSING, T0 + rows * M1, 0),
    ]
    assert (await store.read(BTC, ALL)).equals(table.slice(0, 20))
    assert [(i.rows, i.last_us) for i in await store.series()] == [(20, T0 + 19 * M1)]
    await assert_sound(store, BTC)

    (done,) = await store.commit([whole])
    assert (done.inserted, done.unchanged) == (rows - 20, 20)
    assert (await store.read(BTC, ALL)).equals(table)
    await assert_sound(store, BTC)
    assert await store.discard(TRADES, asked) == asked


async def test_a_late_row_is_counted_in_the_range_observed_before(store: Store) -> None:
    table = candles(T0, 100)
    holed = pa.concat_tables([table.slice(0, 50), table.slice(51)])
    await store.commit([batch(BTC, holed, (T0, T0 + 100 * M1, Verdict.OBSERVED))])

    await store.commit([batch(BTC, table.slice(50, 1), source=Source.LIVE)])

    (entry,) = await store.coverage(BTC)
    assert (entry.rows, entry.source) == (100, Source.ARCHIVE)
    assert entry.digest == digest_table(table)


@pytest.mark.parametrize("verdict", [Verdict.EMPTY, Verdict.OUTAGE])
async def test_a_row_refutes_that_nothing_exists(store: Store, verdict: Verdict) -> None:
    await store.commit([batch(BTC, candles(T0, 0), (T0, T0 + 10 * M1, verdict))])
    assert [(e.verdict, e.rows) for e in await store.coverage(BTC)] == [(verdict, 0)]

    await store.commit([batch(BTC, candles(T0 + 4 * M1, 1), source=Source.LIVE)])

    assert [(e.start, e.end, e.verdict, e.source) for e in await store.coverage(BTC)] == [
        (T0, T0 + 4 * M1, verdict, Source.ARCHIVE),
        (T0 + 4 * M1, T0 + 5 * M1, Verdict.OBSERVED, Source.LIVE),
        (T0 + 5 * M1, T0 + 10 * M1, verdict, Source.ARCHIVE),
    ]
    # and saying so again does not unsay the row
    await store.commit([batch(BTC, candles(T0, 0), (T0, T0 + 10 * M1, verdict))])
    assert len(await store.coverage(BTC)) == 3
    await assert_sound(store, BTC)


@pytest.mark.parametrize("rows", [50, 7_000])
async def test_latest_gives_the_newest_row_of_each_series(store: Store, rows: int) -> None:
    # given series old and new, side by side; one that is only known to be empty; and one unknown
    many = [candle_series("okx", f"C{number}-USDT", Interval.M1) for number in range(8)]
    empty = candle_series("okx", "EMPTY-USDT", Interval.M1)
    quiet = Series("okx", "ETH-USDT-PERP", Kind.FUNDING)
    await store.commit([batch(BTC, candles(T0, rows))])
    for turn in range(3):
        new = [batch(one, candles(T0 + turn * M1, 1, price=float(n))) for n, one in enumerate(many)]
        moment = [batch(TRADES, trades([(T0 + 5, str(turn * 3 % 4), 1.0 + turn)]))]
        await store.commit(new + moment)
    await store.commit([batch(empty, candles(T0, 0), (T0, T0 + M1, Verdict.EMPTY))])

    async def assert_newest() -> None:
        asked = [many[5], TRADES, empty, BTC, *many, quiet, BTC]
        found = await store.latest(asked)
        for one, row in zip(asked, found, strict=True):
            assert row.equals(await store.read(one, ALL, last=1))
            assert row.num_rows == (one not in (empty, quiet))

    # then each has its newest row, of one moment the one with the last id
    await assert_newest()
    assert (await store.latest([TRADES]))[0].column("trade_id").to_pylist() == ["3"]
    assert (await store.latest([many[3]]))[0].equals(candles(T0 + 2 * M1, 1, price=3.0))

    # and so after a correction, after a late row, when some was taken back, and from segments
    await store.commit([batch(many[3], candles(T0 + 2 * M1, 1, price=9.0))])
    await store.commit([batch(many[4], candles(T0 - M1, 1))])
    await store.discard(many[6], Range(T0 + 2 * M1, T0 + 9 * M1))
    await store.discard(BTC, Range(T0 + (rows - 1) * M1, T0 + rows * M1))
    await assert_newest()
    if isinstance(store, LakeStore):
        await store.compact()
        await store.commit([batch(TRADES, trades([(T0 + 5, "1", 2.0)]))])
        await assert_newest()
    assert await store.latest([]) == []


@pytest.mark.parametrize("rows", [700, 50_000])
async def test_last_gives_the_newest_rows(store: Store, rows: int) -> None:
    rows = worthwhile(store, rows)
    table = candles(T0, rows)
    await store.commit([batch(BTC, table)])
    await store.commit([batch(BTC, candles(T0 + rows * M1, 20))])
    everything = await store.read(BTC, ALL)

    for last in (0, 1, 20, 500, rows + 100):
        expected = everything.slice(max(everything.num_rows - last, 0))
        assert (await store.read(BTC, ALL, last=last)).equals(expected)
    inside = Range(T0, T0 + 300 * M1)
    assert (await store.read(BTC, inside, last=7)).equals(table.slice(293, 7))


_VALUES: dict[str, Sequence[object]] = {
    "side": ["buy", "sell", "unknown"],
    "trade_id": ["9", "10", "00-ä"],
    "liquidation_id": ["buy-1.5-2.0-0", "sell-1.5-2.0-1", "ü"],
}


@pytest.mark.parametrize("kind", list(SCHEMAS))
@pytest.mark.parametrize("copies", [1, 4_000])
async def test_every_kind_survives_the_way_there_and_back(
    store: Store, kind: Kind, copies: int
) -> None:
    series = Series("bybit", "X-Y", kind, Interval.H1 if kind is Kind.CANDLES else None)
    rows = 3 * copies
    columns: list[pa.Array] = []
    for field in SCHEMAS[kind]:
        if field.name == "timestamp":
            column = pa.array(T0 + np.arange(rows) * 3_600_000_000).cast(TIMESTAMP)
        elif pa.types.is_list(field.type):
            column = pa.array([[0.1, 1e17], [], [1e-300]] * copies, field.type)
        elif field.name in _VALUES:
            column = pa.array(list(_VALUES[field.name]) * copies, field.type)
        elif pa.types.is_floating(field.type):
            column = pa.array([0.1, 1e-300 if not field.nullable else None, 1e17] * copies)
        elif pa.types.is_timestamp(field.type):
            column = pa.array([T0, None, T0 + 1] * copies, pa.int64()).cast(field.type)
        else:
            column = pa.array([1, None if field.nullable else 2, 1 << 53] * copies, field.type)
        columns.append(column)
    table = pa.table(columns, schema=SCHEMAS[kind])

    await store.commit([batch(series, table, (T0, T0 + rows * 3_600_000_000, Verdict.OBSERVED))])

    assert (await store.read(series, ALL)).equals(table)
    await assert_sound(store, series)


async def test_trades_of_one_moment_are_told_apart_by_their_id(store: Store) -> None:
    rows = [(T0, "9", 1.0), (T0, "10", 2.0), (T0 + 1, "11", 3.0)]
    await store.commit([batch(TRADES, trades(rows), (T0, T0 + 2, Verdict.OBSERVED))])

    (done,) = await store.commit([batch(TRADES, trades([(T0, "10", 2.5), (T0, "8", 4.0)]))])

    assert (done.inserted, done.corrected) == (1, 1)
    held = await store.read(TRADES, ALL)
    assert held.column("trade_id").to_pylist() == ["10", "8", "9", "11"]
    assert held.column("price").to_pylist() == [2.5, 4.0, 1.0, 3.0]
    await assert_sound(store, TRADES)


async def test_trades_in_segments_are_told_apart_by_their_id(store: Store) -> None:
    rows = [(T0 + n // 3, str(n), float(n)) for n in range(9_000)]
    await store.commit([batch(TRADES, trades(rows), (T0, T0 + 3_000, Verdict.OBSERVED))])

    news = [(T0 + 100, "300", 300.0), (T0 + 100, "301", 7.0), (T0 + 100, "new", 8.0)]
    (done,) = await store.commit([batch(TRADES, trades(news))])

    assert (done.inserted, done.corrected, done.unchanged) == (1, 1, 1)
    held = await store.read(TRADES, Range(T0 + 100, T0 + 101))
    assert held.column("price").to_pylist() == [300.0, 7.0, 302.0, 8.0]
    await assert_sound(store, TRADES)


QUOTES = Series("binance", "BTC-USDT-PERP", Kind.QUOTES)


def quotes(rows: Sequence[tuple[int, int, float]]) -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([r[0] for r in rows], pa.int64()).cast(TIMESTAMP),
            "bid_price": [r[2] for r in rows],
            "bid_size": [0.25 for _ in rows],
            "ask_price": [r[2] + 1 for r in rows],
            "ask_size": [None for _ in rows],
            "sequence": [r[1] for r in rows],
        },
        schema=SCHEMAS[Kind.QUOTES],
    )


@pytest.mark.parametrize("count", [9, 9_000])
async def test_quotes_of_one_moment_are_told_apart_by_their_sequence(
    store: Store, count: int
) -> None:
    # given several quotes a moment, as an exchange sends them within a millisecond
    rows = [(T0 + n // 3, n + 98, float(n)) for n in range(count)]
    end = T0 + count
    await store.commit([batch(QUOTES, quotes(rows), (T0, end, Verdict.OBSERVED))])
    assert (await store.read(QUOTES, ALL)).equals(quotes(rows))
    info = (await store.latest([QUOTES]))[0]
    assert info.column("sequence").to_pylist() == [count + 97]

    # when one is told again, one differently, and one is new
    news = [(T0, 98, 0.0), (T0, 100, 7.0), (T0 + 1, 5, 8.0)]
    (done,) = await store.commit([batch(QUOTES, quotes(news))])

    # then the new one is in its place by number, and the old value is kept
    assert (done.inserted, done.corrected, done.unchanged) == (1, 1, 1)
    held = await store.read(QUOTES, Range(T0, T0 + 2))
    assert held.column("sequence").to_pylist() == [98, 99, 100, 5, 101, 102, 103]
    assert held.column("bid_price").to_pylist() == [0.0, 1.0, 7.0, 8.0, 3.0, 4.0, 5.0]
    (correction,) = (await store.corrections(QUOTES)).to_pylist()
    assert correction["key"] == "100"
    before = to_us(correction["corrected"]) - 1
    was = await store.read(QUOTES, Range(T0, T0 + 1), as_of=before)
    assert was.equals(quotes(rows[:3]))
    await assert_sound(store, QUOTES)


@pytest.mark.parametrize("count", [40, 2_000])
async def test_books_are_stored_corrected_and_remembered(store: Store, count: int) -> None:
    # given changes of a book and the whole book now and then, in two commits of both
    messages = stream(count, count)
    tables = {DELTAS: rows(messages), SNAPSHOTS: whole_rows(messages, 20)}
    cuts = (T0, messages[count // 2].ts_event, messages[-1].ts_event + 1)
    for start, end in itertools.pairwise(cuts):
        await store.commit(
            [
                batch(series, between(table, start, end), (start, end, Verdict.OBSERVED))
                for series, table in tables.items()
            ]
        )
    for series, table in tables.items():
        assert (await store.read(series, ALL)).equals(table)
        (newest,) = await store.latest([series])
        assert newest.equals(table.slice(table.num_rows - 1))

    # when some rows are told again, and one of them differently
    told = tables[DELTAS].slice(5, 10).to_pylist()
    told[3] |= {"bid_prices": [97.0, 96.5], "bid_sizes": [0.0, 8.0]}
    news = pa.Table.from_pylist(told, schema=tables[DELTAS].schema)
    (done,) = await store.commit([batch(DELTAS, news)])

    # then it alone is changed, and what it was is remembered
    assert (done.inserted, done.corrected, done.unchanged) == (0, 1, 9)
    assert (await store.read(DELTAS, ALL)).slice(5, 10).equals(news)
    (correction,) = (await store.corrections(DELTAS)).to_pylist()
    assert correction["key"] == str(told[3]["sequence"])
    assert json.loads(correction["new"])["bid_sizes"] == [0.0, 8.0]
    before = to_us(correction["corrected"]) - 1
    assert (await store.read(DELTAS, ALL, as_of=before)).equals(tables[DELTAS])
    await assert_sound(store, DELTAS)
    await assert_sound(store, SNAPSHOTS)


def between(table: pa.Table, start: int, end: int) -> pa.Table:
    moments = np.asarray(table.column("timestamp").cast(pa.int64()))
    return table.filter(pa.array((moments >= start) & (moments < end)))


VALUES = Values(1.0, 2.0, 0.5, 1.5, 3.25, 4.5, 7, 1.25)
OTHERS = Values(1.0, 2.0, 0.5, 1.5, 3.5)


def verdict(at: int, kind: Agreement = Agreement.MATCH, **rest: Any) -> Reconciled:
    sides: dict[str, Any] = {"built": VALUES, "venue": VALUES}
    return Reconciled(BTC, T0 + at * M1, kind, **(sides | rest))


def compared(
    *verdicts: Reconciled, table: pa.Table | None = None, source: Source = Source.LIVE
) -> Batch:
    empty = SCHEMAS[Kind.CANDLES].empty_table()
    return Batch(series=BTC, table=table or empty, source=source, reconciled=verdicts)


async def told(store: Store, asked: Range | None = None) -> list[tuple[int, str]]:
    rows = (await store.reconciliations(BTC, asked)).to_pylist()
    return [((to_us(row["timestamp"]) - T0) // M1, row["verdict"]) for row in rows]


async def test_verdicts_are_kept_with_what_they_speak_of(store: Store) -> None:
    differs = verdict(
        2, Agreement.DIFFERS, differs=("high", "volume"), venue=OTHERS, source=Source.REST
    )
    unbuilt = verdict(4, Agreement.UNBUILT, built=None)
    await store.commit([compared(verdict(0), verdict(1), differs, unbuilt, table=candles(T0, 5))])

    found = await store.reconciliations(BTC)
    assert found.schema == RECONCILIATIONS
    rows = [{k: v for k, v in row.items() if k != "written"} for row in found.to_pylist()]
    named = {"exchange": "binance", "symbol": "BTC-USDT", "interval": "1m"}
    nothing = {"differs": None, "built": None, "venue": None, "source": "live"}
    full = json.loads(msgspec.json.encode(VALUES))
    assert [{**row, "timestamp": to_us(row["timestamp"])} for row in rows[:2]] == [
        {**named, **nothing, "timestamp": T0 + n * M1, "verdict": "match"} for n in range(2)
    ]
    assert rows[2]["differs"] == "high,volume"
    assert json.loads(rows[2]["built"]) == full
    assert json.loads(rows[2]["venue"])["volume"] == 3.5
    assert json.loads(rows[2]["venue"])["quote_volume"] is None
    assert rows[2]["source"] == "rest"
    assert (rows[3]["verdict"], rows[3]["built"]) == ("unbuilt", None)
    assert (await store.read(BTC, ALL)).num_rows == 5
    assert await told(store, Range(T0 + M1, T0 + 4 * M1)) == [(1, "match"), (2, "differs")]
    assert (await store.reconciliations(TRADES)).num_rows == 0
    assert (await store.reconciliations()).num_rows == 4


async def test_the_latest_verdict_on_a_bar_wins(store: Store) -> None:
    unconfirmed = [verdict(n, Agreement.UNCONFIRMED, venue=None) for n in range(6)]
    await store.commit([compared(*unconfirmed)])
    await store.commit([compared(*(verdict(n) for n in range(5)))])
    await store.commit([compared(verdict(2, Agreement.PARTIAL), verdict(2, Agreement.DIFFERS))])

    wanted = ["match", "match", "differs", "match", "match", "unconfirmed"]
    assert await told(store) == list(enumerate(wanted))
    assert await told(store, Range(T0 + 3 * M1 - 5, T0 + 4 * M1 + 1)) == [
        (3, "match"),
        (4, "match"),
    ]


@pytest.mark.parametrize(
    "one",
    [
        Reconciled(BTC, T0 + 1, Agreement.MATCH),
        Reconciled(candle_series("binance", "BTC-USDT", Interval.M5), T0, Agreement.MATCH),
    ],
)
async def test_a_verdict_on_no_bar_of_the_series_is_refused(store: Store, one: Reconciled) -> None:
    with pytest.raises(DataError):
        await store.commit([compared(one, table=candles(T0, 3))])
    assert (await store.read(BTC, ALL)).num_rows == 0


@pytest.mark.parametrize("symbol", ["币安人生-USDT", "X$(1).A-B_C", "a+b-USD", "1000SATS-USDT"])
@pytest.mark.parametrize("rows", [5, 6_000])
async def test_unusual_symbols_are_stored(store: Store, symbol: str, rows: int) -> None:
    series = candle_series("okx", symbol, Interval.M5)
    table = candles(T0, rows, step=5 * M1)

    await store.commit([batch(series, table)])

    assert (await store.read(series, ALL)).equals(table)
    assert [info.series for info in await store.series()] == [series]


async def test_a_nan_that_may_be_missing_is_missing(store: Store) -> None:
    table = candles(T0, 3)
    column = pa.array([1.0, float("nan"), None])
    table = table.set_column(6, table.schema.field(6), column)

    await store.commit([batch(BTC, table, (T0, T0 + 3 * M1, Verdict.OBSERVED))])

    assert (await store.read(BTC, ALL)).column("quote_volume").to_pylist() == [1.0, None, None]
    await assert_sound(store, BTC)


async def test_a_table_of_another_shape_is_refused_whole(store: Store) -> None:
    good = batch(BTC, candles(T0, 5))
    for bad in (
        candles(T0, 5).drop_columns(["close"]),
        pa.table({"timestamp": [1]}),
        pa.table(
            [pa.nulls(2, f.type) for f in SCHEMAS[Kind.CANDLES]], schema=SCHEMAS[Kind.CANDLES]
        ),
    ):
        with pytest.raises(DataError):
            await store.commit([good, batch(candle_series("okx", "A-B", Interval.M1), bad)])

    assert await store.series() == []


async def test_columns_in_another_order_are_understood(store: Store) -> None:
    table = candles(T0, 5)
    await store.commit([batch(BTC, table.select(table.column_names[::-1]))])
    assert (await store.read(BTC, ALL)).equals(table)


async def test_what_is_not_there_reads_as_nothing(store: Store) -> None:
    assert (await store.read(BTC, ALL)).equals(SCHEMAS[Kind.CANDLES].empty_table())
    assert await store.coverage(BTC) == []
    assert await store.series() == []
    assert (await store.quarantine()).num_rows == 0
    assert (await store.verify()).ranges == 0


async def test_series_are_listed_with_their_bounds(store: Store) -> None:
    await store.commit([batch(BTC, candles(T0, 10)), batch(TRADES, trades([(T0, "1", 1.0)]))])
    only_ledger = candle_series("okx", "A-B", Interval.D1)
    finding = (T0, T0 + DAY, Verdict.EMPTY)
    await store.commit([batch(only_ledger, candles(T0, 0), finding)])

    infos = await store.series()

    assert [(i.series, i.rows, i.first_us, i.last_us) for i in infos] == [
        (BTC, 10, T0, T0 + 9 * M1),
        (only_ledger, 0, None, None),
        (TRADES, 1, T0, T0),
    ]


async def test_quarantined_rows_are_kept_once(store: Store) -> None:
    rejected = [Rejected(T0, "high below low", '["1"]'), Rejected(None, "not a number", "x" * 9)]

    for _ in range(2):
        await store.commit([batch(BTC, candles(T0, 0), rejected=rejected)])

    rows = (await store.quarantine(BTC)).to_pylist()
    assert [(r["symbol"], r["interval"], r["reason"], r["raw"]) for r in rows] == [
        ("BTC-USDT", "1m", "high below low", '["1"]'),
        ("BTC-USDT", "1m", "not a number", "x" * 9),
    ]
    assert rows[1]["timestamp"] is None
    assert (await store.quarantine(TRADES)).num_rows == 0


def instrument(symbol: str, tick: float) -> Instrument:
    base, quote = symbol.split("-")
    return Instrument(
        exchange="okx",
        symbol=symbol,
        native=symbol,
        base=base,
        quote=quote,
        settle=None,
        market=Market.SPOT,
        tick_size=tick,
        aliases=("x",),
    )


async def test_instruments_have_versions(store: Store, clock: TickingClock) -> None:
    one, two = instrument("A-B", 0.1), instrument("C-D", 0.2)
    assert await store.write_instruments("okx", [one, two]) == 2
    assert await store.write_instruments("okx", [one, two]) == 0
    first = clock.now_us

    changed = instrument("A-B", 0.5)
    assert await store.write_instruments("okx", [changed]) == 2

    assert await store.instruments("okx") == [changed]
    assert await store.instruments("okx", as_of=first) == [one, two]
    assert await store.instruments(as_of=T0) == []
    assert await store.instruments("binance") == []
    assert await store.write_instruments("okx", [changed, two]) == 1
    assert await store.instruments() == [changed, two]


_MOMENTS = st.integers(0, 60)
_FINDINGS = st.lists(
    st.tuples(_MOMENTS, _MOMENTS, st.sampled_from(list(Verdict))), max_size=3, unique_by=lambda f: f
)
_STEP = st.tuples(
    _MOMENTS,  # where the rows begin
    st.integers(0, 25),  # how many
    st.sampled_from([100.0, 200.0]),  # which values
    _FINDINGS,
    st.sampled_from([Source.LIVE, Source.REST]),
    st.sampled_from([None, None, None, 4, 30]),  # how much to discard afterwards
)


@settings(
    max_examples=int(os.environ.get("ZVTC_TEST_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(_STEP, min_size=1, max_size=6),
    hot=st.sampled_from([0, 8, 1_000]),
    alone=st.sampled_from([0, 4]),
)
async def test_the_lake_does_what_the_reference_does(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[int, int, float, list[tuple[int, int, Verdict]], Source, int | None]],
    hot: int,
    alone: int,
) -> None:
    # given a limit that sends some commits, or all, into segments
    monkeypatch.setattr("zvt_crypto.store.lake.writer._HOT_COMMIT_ROWS", hot)
    monkeypatch.setattr("zvt_crypto.store.lake.apply._ALONE", alone)
    folder = tmp_path_factory.mktemp("lake")
    reference = MemoryStore(TickingClock())
    lake = await LakeStore.open(folder, clock=TickingClock())
    try:
        start = T0 + 31 * DAY - 30 * M1  # so that rows fall on both sides of a month's end
        for number, (at, count, price, findings, source, discarded) in enumerate(steps):
            one = batch(
                BTC,
                candles(start + at * M1, count, price=price),
                *((start + a * M1 - a % 3, start + b * M1, verdict) for a, b, verdict in findings),
                source=source,
            )
            # when both are told the same
            told = await reference.commit([one])
            assert await lake.commit([one]) == told
            if number % 2 and hot:
                await lake.compact([BTC])
            if discarded is not None:
                asked = Range(start + at * M1, start + (at + discarded) * M1)
                assert await lake.discard(BTC, asked) == await reference.discard(BTC, asked)

            # then both hold the same
            expected = await reference.coverage(BTC)
            found = await lake.coverage(BTC)
            assert [_plain(e) for e in found] == [_plain(e) for e in expected]
            assert (await lake.read(BTC, ALL)).equals(await reference.read(BTC, ALL))
            assert await lake.latest([BTC]) == await reference.latest([BTC])
        assert list((await lake.verify()).faults) == []
        replaced = (await lake.corrections()).drop_columns(["corrected"])
        assert replaced.equals((await reference.corrections()).drop_columns(["corrected"]))
    finally:
        await lake.close()


@settings(
    max_examples=int(os.environ.get("ZVTC_TEST_EXAMPLES", "60")) // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_STEP, min_size=1, max_size=6))
async def test_the_server_does_what_the_reference_does(
    server: TimescaleStore,
    steps: list[tuple[int, int, float, list[tuple[int, int, Verdict]], Source, int | None]],
) -> None:
    # given a series nobody has written to, with rows on both sides of a month's end
    series = candle_series("binance", f"X{next(_NUMBERS)}-USDT", Interval.M1)
    reference = MemoryStore(TickingClock())
    start = T0 + 31 * DAY - 30 * M1
    for number, (at, count, price, findings, source, discarded) in enumerate(steps):
        one = batch(
            series,
            candles(start + at * M1, count, price=price),
            *((start + a * M1 - a % 3, start + b * M1, verdict) for a, b, verdict in findings),
            source=source,
        )
        # when both are told the same
        told = await reference.commit([one])
        assert await server.commit([one]) == told
        if number % 2:
            await server.upkeep()
        if discarded is not None:
            asked = Range(start + at * M1, start + (at + discarded) * M1)
            assert await server.discard(series, asked) == await reference.discard(series, asked)

        # then both hold the same
        expected = await reference.coverage(series)
        assert [_plain(e) for e in await server.coverage(series)] == [_plain(e) for e in expected]
        assert (await server.read(series, ALL)).equals(await reference.read(series, ALL))
        assert await server.latest([series]) == await reference.latest([series])
    assert list((await server.verify([series])).faults) == []
    replaced = (await server.corrections(series)).drop_columns(["corrected"])
    assert replaced.equals((await reference.corrections()).drop_columns(["corrected"]))


async def test_a_server_store_may_keep_its_history_in_a_bucket(
    postgres_url: Callable[[], str], bucket_url: str
) -> None:
    # given months that are over, in small commits and a large one
    clock = TickingClock(T0 + 400 * DAY)
    url = f"{postgres_url()}&segments={bucket_url}"
    store = await TimescaleStore.open(url, clock=clock, filed_rows=1_000)
    await store.upkeep()  # which is not due again for a while
    whole = candles(T0, 6_000)
    for start, count in ((0, 900), (900, 100), (1_000, 5_000)):
        await store.commit([batch(BTC, whole.slice(start, count))])
    # when
    done = await store.upkeep()
    # then all of it is there, and is read as a whole
    assert done is not None
    assert done.filed_rows == 1_000
    (fact,) = [one for one in await store.describe() if one.name == "segments"]
    assert fact.value.startswith(f"{bucket_url}: 1 files, 6,000 rows")
    assert (await store.read(BTC, ALL)).equals(whole)
    assert await store.vacuum(older_than_s=0) > 0
    assert list((await store.verify()).faults) == []
    await store.close()


def _plain(entry: object) -> tuple[object, ...]:
    return tuple(
        getattr(entry, name) for name in ("start", "end", "verdict", "source", "rows", "digest")
    )
