"""What a server can do: migrations, levels, packed chunks, coarser candles, retention."""

from collections.abc import AsyncIterator, Callable

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from book_rows import DELTAS, SNAPSHOTS, rows, stream, whole_rows
from lake_writer import M1, SERIES, T0, candles
from postgres_shape import shape_of
from psycopg import sql

from zvt_crypto.core.candle import aggregate
from zvt_crypto.core.errors import BadStore
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.store.timescale import TimescaleStore
from zvt_crypto.store.timescale.level import COARSER
from zvt_crypto.store.timescale.place import parse_place
from zvt_crypto.store.timescale.schema import HEAD, migrate, revisions

ALL = Range(0, 1 << 60)
DAY = 1440 * M1
REVISIONS = revisions()

Url = Callable[[], str]


@pytest.fixture(params=["postgres", "timescale"])
def new_url(request: pytest.FixtureRequest) -> Url:
    return request.getfixturevalue(f"{request.param}_url")


def observed(count: int, start: int = 0, price: float = 5.0, *, is_filled: bool = False) -> Batch:
    found = Finding(T0 + start * M1, T0 + (start + count) * M1, Verdict.OBSERVED)
    table = candles(T0 + start * M1, count, price)
    if is_filled:
        numbers = np.arange(start, start + count)
        # A quote volume is lacking on some days.
        quoted = pa.array(numbers * 1.5, mask=numbers // 1440 % 7 == 3)
        filled = {"quote_volume": quoted, "trade_count": numbers % 9, "taker_buy_volume": quoted}
        for name, column in filled.items():
            at = SCHEMAS[Kind.CANDLES].get_field_index(name)
            table = table.set_column(at, SCHEMAS[Kind.CANDLES].field(at), pa.array(column))
    return Batch(series=SERIES, table=table, findings=[found], source=Source.REST)


def test_the_head_is_the_last_revision() -> None:
    assert REVISIONS[-1] == HEAD
    assert sorted(set(REVISIONS)) == REVISIONS


@pytest.mark.parametrize("since", REVISIONS[:-1])
def test_every_revision_leads_to_the_same_schema(new_url: Url, since: str) -> None:
    # given a schema made in one go
    whole, stepped = new_url(), new_url()
    assert migrate(parse_place(whole)) == (None, HEAD)

    # when another is made from an earlier revision, taken back there, and brought up again
    assert migrate(parse_place(stepped), since) == (None, since)
    before = shape_of(stepped)
    assert migrate(parse_place(stepped)) == (since, HEAD)
    assert shape_of(stepped) == shape_of(whole)
    assert migrate(parse_place(stepped), since) == (HEAD, since)

    # then each step is what it was, and all of it can go
    assert shape_of(stepped) == before
    assert migrate(parse_place(stepped)) == (since, HEAD)
    assert shape_of(stepped) == shape_of(whole)
    assert migrate(parse_place(stepped), "base") == (HEAD, None)
    assert [row for row in shape_of(stepped) if "alembic_version" not in row[1]] == []


def test_a_revision_nobody_made_is_refused(new_url: Url) -> None:
    url = new_url()
    migrate(parse_place(url))
    with pytest.raises(BadStore, match="no revision '0815'"):
        migrate(parse_place(url), "0815")


async def test_rows_outlive_going_back_as_far_as_their_tables(new_url: Url) -> None:
    url = new_url()
    store = await TimescaleStore.open(url)
    await store.commit([observed(500)])
    await store.close()
    migrate(parse_place(url), "0002")
    migrate(parse_place(url))
    store = await TimescaleStore.open(url)
    assert (await store.read(SERIES, ALL)).equals(candles(T0, 500, 5.0))
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_a_store_on_plain_postgresql_names_what_is_missing(postgres_url: Url) -> None:
    store = await TimescaleStore.open(postgres_url())
    facts = {one.name: one for one in await store.describe()}
    await store.close()
    assert facts["level"].value == "plain PostgreSQL"
    assert "no compression" in facts["missing"].value
    assert "TimescaleDB" in facts["missing"].remedy
    # the server of the tests keeps nothing for long, and that is told, too
    assert "a crash loses commits" in facts["durability"].value


async def test_names_stand_beside_rows_for_people(new_url: Url) -> None:
    url = new_url()
    store = await TimescaleStore.open(url)
    await store.commit([observed(3)])
    await store.close()
    view = sql.Identifier(parse_place(url).schema, "named_candles")
    with psycopg.connect(url.partition("?")[0]) as connection:
        rows = connection.execute(
            sql.SQL("SELECT exchange, symbol, interval, close FROM {} ORDER BY 4").format(view)
        ).fetchall()
    closes = sorted(candles(T0, 3, 5.0).column("close").to_pylist())
    assert rows == [("binance", "BTC-USDT", "1m", close) for close in closes]


@pytest.mark.parametrize("kind", [Kind.CANDLES, Kind.TRADES])
async def test_old_rows_go_with_what_is_said_of_them(new_url: Url, kind: Kind) -> None:
    # given five months of rows, of which the ledger knows all
    series = SERIES if kind is Kind.CANDLES else Series("okx", "ETH-USDT", Kind.TRADES)
    step, count = (10 * M1, 22_000) if kind is Kind.CANDLES else (60 * M1, 3_650)
    end = T0 + count * step
    url = new_url()
    store = await TimescaleStore.open(url)
    table = rows_of(kind, count, step)
    found = [Finding(T0, end, Verdict.OBSERVED)]
    await store.commit([Batch(series=series, table=table, findings=found, source=Source.REST)])
    changed = table.slice(10, 1).set_column(
        SCHEMAS[kind].get_field_index("volume" if kind is Kind.CANDLES else "size"),
        "volume" if kind is Kind.CANDLES else "size",
        pa.array([99.0]),
    )
    await store.commit([Batch(series=series, table=changed, source=Source.REST)])

    # when what is older than some day in the third month is let go
    before = T0 + 77 * DAY
    kept_from = await store.retain(kind, before)

    # then whole chunks are gone, ledger and blocks agree with what is left, and nothing is owed
    assert before - 32 * DAY < kept_from <= before
    left = await store.read(series, ALL)
    times = np.asarray(left.column("timestamp").cast(pa.int64()))
    assert times[0] == -(-(kept_from - T0) // step) * step + T0
    (entry,) = await store.coverage(series)
    assert entry.range == Range(kept_from, end)
    assert entry.rows == left.num_rows
    assert list((await store.verify()).faults) == []
    assert (await store.corrections(series)).num_rows == 0
    (info,) = await store.series()
    assert (info.rows, info.first_us) == (left.num_rows, int(times[0]))

    # and old rows may come again
    again = Batch(series=series, table=table.slice(0, 50), source=Source.REST)
    (done,) = await store.commit([again])
    assert done.inserted == 50
    assert list((await store.verify()).faults) == []
    assert await store.retain(kind, T0 - DAY) == T0 - DAY
    await store.close()


async def test_a_store_of_the_revision_before_books_is_brought_up(new_url: Url) -> None:
    # given a store of then, with rows
    url = new_url()
    store = await TimescaleStore.open(url)
    await store.commit([observed(500)])
    await store.close()
    migrate(parse_place(url), "0005")
    with pytest.raises(BadStore, match=r"0005, older than .*`zvtc migrate`"):
        await TimescaleStore.open(url)

    # when it is migrated
    migrate(parse_place(url))
    store = await TimescaleStore.open(url)
    messages = stream(1, 300)
    table, whole = rows(messages), whole_rows(messages, 50)
    claim = [Finding(T0, messages[-1].ts_event, Verdict.OBSERVED)]
    books = [(DELTAS, table), (SNAPSHOTS, whole)]
    await store.commit(
        [Batch(series=s, table=t, findings=claim, source=Source.LIVE) for s, t in books]
    )

    # then it takes books and has the rest, people can read them, and their days can go
    assert (await store.read(SERIES, ALL)).equals(candles(T0, 500, 5.0))
    assert (await store.read(DELTAS, ALL)).equals(table)
    view = sql.Identifier(parse_place(url).schema, "named_book_snapshots")
    with psycopg.connect(url.partition("?")[0]) as connection:
        named = connection.execute(
            sql.SQL('SELECT symbol, sequence, bid_prices FROM {} ORDER BY "timestamp"').format(view)
        ).fetchall()
    wanted = [(DELTAS.symbol, row["sequence"], row["bid_prices"]) for row in whole.to_pylist()]
    assert named == wanted
    await store.retain(Kind.BOOK_DELTAS, T0 + 60 * DAY)
    assert (await store.read(DELTAS, ALL)).num_rows == 0
    assert (await store.read(SNAPSHOTS, ALL)).equals(whole)
    assert list((await store.verify()).faults) == []
    await store.close()

    # and going back takes nothing but books
    migrate(parse_place(url), "0005")
    migrate(parse_place(url))
    store = await TimescaleStore.open(url)
    assert [one.series for one in await store.series()] == [SERIES]
    assert await store.keeping() == [SERIES]
    assert list((await store.verify()).faults) == []
    await store.close()


async def test_a_writer_learns_that_another_process_let_rows_go(new_url: Url) -> None:
    # given two processes that know the partitions of a series
    url = new_url()
    writer, other = await TimescaleStore.open(url), await TimescaleStore.open(url)
    await writer.commit([observed(90 * 1440)])

    # when one lets old rows go, and the other brings some again
    await other.retain(Kind.CANDLES, T0 + 80 * DAY)
    (done,) = await writer.commit([observed(100)])

    # then they are there
    assert done.inserted == 100
    assert (await other.read(SERIES, Range(T0, T0 + DAY))).num_rows == 100
    assert list((await other.verify()).faults) == []
    await writer.close()
    await other.close()


def rows_of(kind: Kind, count: int, step: int) -> pa.Table:
    at = pa.array(T0 + np.arange(count) * step, pa.int64()).cast(TIMESTAMP)
    if kind is Kind.CANDLES:
        table = candles(T0, count, 5.0)
        return table.set_column(0, SCHEMAS[kind].field(0), at)
    ids = [str(number) for number in range(count)]
    ones = np.ones(count)
    columns = [
        at,
        pa.array(ids),
        ones,
        ones,
        pa.array(["buy"] * count),
        pa.nulls(count, pa.int64()),
    ]
    return pa.table(columns, schema=SCHEMAS[kind])


# -- with the extension --------------------------------------------------------------------------


@pytest.fixture
async def full(timescale_url: Url) -> AsyncIterator[tuple[TimescaleStore, str]]:
    url = timescale_url()
    store = await TimescaleStore.open(url)
    level = {one.name: one.value for one in await store.describe()}["level"]
    if level != "TimescaleDB community":
        pytest.skip(f"not run: the server is at level {level!r}")
    yield store, url
    await store.close()


def run(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute(
            sql.SQL("SET search_path = {}, public").format(sql.Identifier(parse_place(url).schema))
        )
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(query.encode()).fetchall()


async def check_views(store: TimescaleStore, url: str) -> None:
    """Every view holds what the platform makes of the same candles."""
    held = await store.read(SERIES, ALL)
    for name in COARSER:
        width = Interval(name.removeprefix("candles_"))
        made = aggregate(held, Interval.M1, width, None).table
        found = run(
            url,
            'SELECT us_at("timestamp"), open, high, low, close, volume, quote_volume, '
            f'trade_count, taker_buy_volume FROM {name} ORDER BY "timestamp"',
        )
        expected = list(
            zip(
                made.column("timestamp").cast(pa.int64()).to_pylist(),
                *(made.column(field).to_pylist() for field in made.schema.names[1:]),
                strict=True,
            )
        )
        assert len(found) == len(expected), name
        for mine, theirs in zip(found, expected, strict=True):
            assert mine[:5] == theirs[:5], name
            for one, other in zip(mine[5:], theirs[5:], strict=True):
                # Sums of floats in another order; null wherever any part is.
                assert one == (None if other is None else pytest.approx(other, rel=1e-12)), name


async def test_coarser_candles_agree_also_after_late_corrections(
    full: tuple[TimescaleStore, str],
) -> None:
    # given sixty days of candles, some without a quote volume, and views brought up to date
    store, url = full
    await store.commit([observed(60 * 1440, is_filled=True)])
    assert await store.refresh() == list(COARSER)
    await check_views(store, url)

    # when an early hour is corrected, a day comes late, and newer rows come
    await store.commit([observed(60, start=3 * 1440, price=9.0, is_filled=True)])
    await store.commit([observed(1440, start=-40 * 1440)])
    await store.commit([observed(3_000, start=60 * 1440, is_filled=True)])
    await store.refresh()

    # then every view follows
    await check_views(store, url)


async def test_packed_chunks_are_written_to_like_any_other(
    full: tuple[TimescaleStore, str],
) -> None:
    # given packed chunks
    store, url = full
    days = 60
    await store.commit([observed(days * 1440)])
    (size,) = [info.stored_bytes for info in await store.series()]
    run(url, "SELECT compress_chunk(c) FROM show_chunks('candles') AS c")
    (packed,) = [info.stored_bytes for info in await store.series()]
    assert packed < size

    # when the same comes again, a large part is corrected, rows are taken back, and others come
    (again,) = await store.commit([observed(days * 1440)])
    assert (again.inserted, again.corrected, again.unchanged) == (0, 0, days * 1440)
    (changed,) = await store.commit([observed(40_000, start=100, price=6.0)])
    assert (changed.inserted, changed.corrected) == (0, 40_000)
    asked = Range(T0 + 50_000 * M1, T0 + 51_000 * M1)
    await store.discard(SERIES, asked)
    await store.commit([observed(1_000, start=50_000)])
    await store.commit([observed(500, start=-500)])

    # then all of it is as it would be anywhere
    whole = candles(T0 - 500 * M1, days * 1440 + 500, 5.0)
    expected = pa.concat_tables(
        [whole.slice(0, 600), candles(T0 + 100 * M1, 40_000, 6.0), whole.slice(40_600)]
    )
    assert (await store.read(SERIES, ALL)).equals(expected.combine_chunks())
    assert list((await store.verify()).faults) == []
    assert (await store.corrections(SERIES)).num_rows == 40_000


async def test_packed_books_are_read_and_written_to_like_any_other(
    full: tuple[TimescaleStore, str],
) -> None:
    # given packed chunks of books
    store, url = full
    messages = stream(5, 3_000)
    table = rows(messages)
    claim = [Finding(T0, messages[-1].ts_event + 1, Verdict.OBSERVED)]
    batch = Batch(series=DELTAS, table=table, findings=claim, source=Source.LIVE)
    await store.commit([batch])
    asked = "SELECT hypertable_size('book_deltas')::float"
    ((size,),) = run(url, asked)
    policies = run(
        url,
        "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_schema = "
        "current_schema() AND hypertable_name LIKE 'book%' AND proc_name LIKE '%compression'",
    )
    assert policies == [(2,)]
    run(url, "SELECT compress_chunk(c) FROM show_chunks('book_deltas') AS c")
    ((packed,),) = run(url, asked)
    assert float(str(packed)) < float(str(size)) / 2

    # when the same comes again, and one row otherwise
    (again,) = await store.commit([batch])
    told = table.slice(700, 1).to_pylist()
    told[0] |= {"ask_prices": [987.5], "ask_sizes": [1.0]}
    news = pa.Table.from_pylist(told, schema=table.schema)
    (done,) = await store.commit([Batch(series=DELTAS, table=news, source=Source.LIVE)])

    # then only that row is another
    assert (again.unchanged, done.corrected) == (3_000, 1)
    held = await store.read(DELTAS, ALL)
    assert held.slice(700, 1).equals(news)
    assert held.slice(0, 700).equals(table.slice(0, 700))
    assert list((await store.verify()).faults) == []
