"""Data taken from one engine to another answers there as it did at home."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import book_rows
import msgspec
import pyarrow as pa
import pytest
from book_rows import DELTAS, SNAPSHOTS, stream, whole_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zvt_crypto.core.bar import Values
from zvt_crypto.core.digest import digest_table
from zvt_crypto.core.errors import CopyRefused, DataError
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.parcel import BLANK, Parcel, seal_of
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.reconcile import Agreement, Reconciled
from zvt_crypto.core.record import Book
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.ports.transfer import Transferable
from zvt_crypto.store.lake import LakeStore
from zvt_crypto.store.memory import MemoryStore
from zvt_crypto.store.timescale import TimescaleStore

EXAMPLES = int(os.environ.get("ZVTC_TEST_EXAMPLES", "3"))
M1 = 60_000_000
DAY = 86_400_000_000
T0 = 1_704_067_200_000_000  # 2024-01-01
BTC = candle_series("binance", "BTC-USDT", Interval.M1)
TRADES = Series("okx", "ETH-USDT-PERP", Kind.TRADES)
QUOTES = Series("okx", "ETH-USDT-PERP", Kind.QUOTES)


class Clock:
    """Moves on by a millisecond whenever it is asked for."""

    def __init__(self, now_us: int = T0) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        self.now_us += 1_000
        return self.now_us


async def opened(engine: str, folder: Path, clock: Clock, server: str = "") -> Any:
    if engine == "memory":
        return MemoryStore(clock)
    if engine in ("postgres", "files"):
        # A schema a folder, as long as names may be.
        mark = blake2b(str(folder).encode(), digest_size=8).hexdigest()
        segments = f"&segments={folder}" if engine == "files" else ""
        url = f"{server}?schema=move_{mark}{segments}"
        return await TimescaleStore.open(url, clock=clock, filed_rows=4)
    return await LakeStore.open(folder, clock=clock)


# Every engine, and every form of one, gives and takes; not each to each.
PAIRS = [
    "memory>lake",
    "lake>memory",
    "lake>lake",
    "lake>files",
    "files>postgres",
    "postgres>lake",
]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    """Return the URL of a server, where any of the engines needs one."""
    params = request.node.callspec.params
    if any(name in str(value) for value in params.values() for name in ("postgres", "files")):
        return request.getfixturevalue("postgres").url()
    return ""


@pytest.fixture(params=PAIRS)
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, server: str
) -> AsyncIterator[tuple[Any, Any]]:
    first, second = request.param.split(">")
    source = await opened(first, tmp_path / "source", Clock(), server)
    # A clock that is behind: what is copied is from its future.
    target = await opened(second, tmp_path / "target", Clock(T0 - DAY), server)
    yield source, target
    await source.close()
    await target.close()


def candles(times: Sequence[int], price: float = 100.0) -> pa.Table:
    closes = [price + at // M1 % 97 / 10 for at in times]
    return pa.table(
        {
            "timestamp": pa.array(times, pa.int64()).cast(TIMESTAMP),
            "open": closes,
            "high": [c + 1 for c in closes],
            "low": [c - 1 for c in closes],
            "close": closes,
            "volume": [1.5 for _ in closes],
            "quote_volume": [None if at // M1 % 3 else 2.5 for at in times],
            "trade_count": [None for _ in closes],
            "taker_buy_volume": [None for _ in closes],
        },
        schema=SCHEMAS[Kind.CANDLES],
    )


def trades(rows: Sequence[tuple[int, str, float]]) -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([r[0] for r in rows], pa.int64()).cast(TIMESTAMP),
            "trade_id": [r[1] for r in rows],
            "price": [r[2] for r in rows],
            "size": [0.25 for _ in rows],
            "side": ["buy" for _ in rows],
            "fills": [None for _ in rows],
        },
        schema=SCHEMAS[Kind.TRADES],
    )


def quotes(rows: Sequence[tuple[int, int, float]]) -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([r[0] for r in rows], pa.int64()).cast(TIMESTAMP),
            "bid_price": [r[2] for r in rows],
            "bid_size": [1.0 for _ in rows],
            "ask_price": [r[2] + 1 for r in rows],
            "ask_size": [None for _ in rows],
            "sequence": [r[1] for r in rows],
        },
        schema=SCHEMAS[Kind.QUOTES],
    )


def batch(
    series: Series,
    table: pa.Table,
    *findings: tuple[int, int, Verdict],
    source: Source = Source.REST,
    rejected: Sequence[Rejected] = (),
    reconciled: Sequence[Reconciled] = (),
) -> Batch:
    return Batch(
        series=series,
        table=table,
        findings=[Finding(*one) for one in findings],
        source=source,
        rejected=rejected,
        reconciled=reconciled,
    )


def minutes(first: int, last: int) -> list[int]:
    return [T0 + number * M1 for number in range(first, last)]


async def fill(store: Any, rows: int = 200) -> None:
    """Commit something of everything: three series, corrections, refusals, verdicts."""
    late = Rejected(T0 + 5 * M1, "bad_row", '{"x": 1}')
    timeless = Rejected(None, "unreadable", "garbage")
    built = Values(1.0, 2.0, 0.5, 1.5, 10.0)
    await store.commit(
        [
            batch(
                BTC,
                candles(minutes(0, rows)),
                (T0, T0 + rows * M1, Verdict.OBSERVED),
                source=Source.ARCHIVE,
                rejected=[late, timeless],
            ),
            batch(TRADES, trades([(T0 + n // 3, str(n), 1.0 + n) for n in range(300)])),
        ]
    )
    await store.commit(
        [
            batch(BTC, candles(minutes(10, 20), 55.0), source=Source.REPAIR),
            batch(
                BTC,
                candles(minutes(rows, rows + 10)),
                (T0 + rows * M1, T0 + (rows + 10) * M1, Verdict.OBSERVED),
                (T0 + (rows + 10) * M1, T0 + (rows + 100) * M1, Verdict.EMPTY),
                (T0 + (rows + 100) * M1, T0 + (rows + 200) * M1, Verdict.MISSING),
                source=Source.LIVE,
                reconciled=[
                    *[Reconciled(BTC, at, Agreement.MATCH, (), built, built) for at in
                      minutes(rows - 10, rows)],
                    Reconciled(BTC, T0 + rows * M1, Agreement.DIFFERS, ("high",), built, built),
                    Reconciled(BTC, T0 + (rows + 1) * M1, Agreement.UNCONFIRMED, (), built),
                ],
            ),
            batch(TRADES, trades([(T0 + 3, "9", 77.0)]), (T0, T0 + 50, Verdict.OBSERVED)),
            batch(QUOTES, quotes([(T0, n, 1.0 + n) for n in range(5)])),
        ]
    )  # fmt: skip
    await store.commit([batch(QUOTES, quotes([(T0, 3, 9.5)]))])
    books = stream(rows, 300)
    end = books[-1].ts_event
    await store.commit(
        [
            batch(DELTAS, book_rows.rows(books), (T0, end, Verdict.OBSERVED)),
            batch(SNAPSHOTS, whole_rows(books, 30), (T0, end, Verdict.OBSERVED)),
        ]
    )
    other = stream(rows + 1, 1)[0]
    await store.commit([batch(SNAPSHOTS, whole_rows([other])), batch(DELTAS, later(books))])
    await store.commit([batch(BTC, candles(minutes(12, 14), 56.0))])
    await store.discard(BTC, Range(T0 + 100 * M1, T0 + 110 * M1))


def later(books: Sequence[Book]) -> pa.Table:
    """Return a change told again with another size, and one that came since."""
    last = books[-1]
    again = msgspec.structs.replace(last, bids=((98.0, 3.5),))
    news = msgspec.structs.replace(again, ts_event=last.ts_event + 1, bids=())
    return book_rows.rows([again, news])


def plain(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


def unwritten(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return verdicts; matches that lie side by side may all bear the time of the last."""
    return [
        tuple(v for k, v in row.items() if k != "written" or row["verdict"] != "match")
        for row in table.to_pylist()
    ]


async def moments_of(store: Any, series: Sequence[Series]) -> list[int]:
    """Return every moment at which something became known, and those around."""
    found: set[int] = set()
    for one in series:
        parcel = await store.pack(one, ALWAYS, limit_rows=1 << 40)
        found |= set(parcel.table.column("known_us").to_pylist())
        found |= {c.corrected_us for c in parcel.corrections}
    return sorted({moment + step for moment in found for step in (-1, 0)})


async def kept(store: Any) -> list[Series]:
    """Return the series of which there is something, and not a name alone."""
    return [one for one in await store.keeping() if not (await store.seal(one, ALWAYS)).is_blank]


async def assert_same(source: Any, target: Any) -> None:
    """Every answer of the copy is that of the original."""
    held = await kept(source)
    assert await kept(target) == held
    infos = [[(i.series, i.rows, i.first_us, i.last_us) for i in await s.series()]
             for s in (source, target)]  # fmt: skip
    assert infos[0] == infos[1]
    for series in held:
        mine, theirs = await source.coverage(series), await target.coverage(series)
        assert theirs == mine
        assert await target.seal(series, ALWAYS) == await source.seal(series, ALWAYS)
        assert plain(await target.corrections(series)) == plain(await source.corrections(series))
        assert plain(await target.quarantine(series)) == plain(await source.quarantine(series))
        verdicts = [unwritten(await s.reconciliations(series)) for s in (source, target)]
        assert verdicts[0] == verdicts[1]
        for moment in [None, *await moments_of(source, [series])]:
            ours = await source.read(series, ALWAYS, as_of=moment)
            assert (await target.read(series, ALWAYS, as_of=moment)).equals(ours)
        assert (
            digest_table(await target.read(series, ALWAYS))
            == (await source.seal(series, ALWAYS)).digest
        )
    assert list((await target.verify()).faults) == []


async def carry(source: Any, target: Any, *, limit_rows: int = 1_000) -> None:
    for series in await source.keeping():
        rest = ALWAYS
        while not rest.is_empty:
            parcel = await source.pack(series, rest, limit_rows=limit_rows)
            await target.unpack(parcel)
            rest = Range(parcel.range.end, rest.end)


async def test_a_copy_answers_as_the_original_and_back_again(
    pair: tuple[Any, Any], tmp_path: Path
) -> None:
    # given a store with something of everything
    source, target = pair
    assert isinstance(source, Transferable)
    await fill(source, 5_200)

    # when it is copied in small parcels, and the copy into a third
    await carry(source, target)
    back = await opened("lake", tmp_path / "back", Clock())
    await carry(target, back, limit_rows=333)

    # then all answer alike
    await assert_same(source, target)
    await assert_same(source, back)
    await back.close()


async def test_a_parcel_a_second_time_changes_nothing(pair: tuple[Any, Any]) -> None:
    source, target = pair
    await fill(source)
    parcel = await source.pack(BTC, ALWAYS, limit_rows=1 << 40)

    first = await target.unpack(parcel)
    before = await target.pack(BTC, ALWAYS, limit_rows=1 << 40)
    second = await target.unpack(parcel)

    assert (first.rows, first.corrections, first.rejected, first.reconciled) == (200, 12, 2, 12)
    assert second.is_nothing
    assert await target.pack(BTC, ALWAYS, limit_rows=1 << 40) == before


async def test_a_parcel_ends_before_the_moment_that_is_too_much(pair: tuple[Any, Any]) -> None:
    # given three trades of every moment
    source, _ = pair
    await fill(source)

    # when parcels may hold ten, or two
    first = await source.pack(TRADES, ALWAYS, limit_rows=10)
    tight = await source.pack(TRADES, Range(T0 + 4, ALWAYS.end), limit_rows=2)

    # then moments are whole, and nothing is skipped
    assert (first.rows, first.range) == (9, Range(ALWAYS.start, T0 + 3))
    assert (tight.rows, tight.range) == (3, Range(T0 + 4, T0 + 5))
    assert seal_of(first) == await source.seal(TRADES, first.range)


async def test_commits_after_a_copy_are_later_than_it(pair: tuple[Any, Any]) -> None:
    # given a copy from a clock that is ahead
    source, target = pair
    await fill(source)
    await carry(source, target)
    before = await target.read(BTC, ALWAYS)
    known = max(await moments_of(source, [BTC]))

    # when the target corrects a row by itself
    await target.commit([batch(BTC, candles(minutes(0, 1), 1.0))])

    # then what was known before is still told
    assert (await target.read(BTC, ALWAYS, as_of=known)).equals(before)
    assert list((await target.verify()).faults) == []


async def test_what_the_source_learned_since_is_taken_over(pair: tuple[Any, Any]) -> None:
    # given a copy
    source, target = pair
    await fill(source)
    await carry(source, target)

    # when the source corrects, takes back, judges anew and goes on
    await source.commit([batch(BTC, candles(minutes(13, 16), 7.0))])
    await source.discard(BTC, Range(T0 + 30 * M1, T0 + 40 * M1))
    await source.commit(
        [
            batch(
                BTC,
                candles(minutes(210, 220)),
                (T0 + 210 * M1, T0 + 220 * M1, Verdict.OBSERVED),
                source=Source.LIVE,
                reconciled=[Reconciled(BTC, T0 + 200 * M1, Agreement.MATCH)],
            )
        ]
    )
    await carry(source, target)

    # then the copy knows all of it
    await assert_same(source, target)


async def test_a_ledger_written_anew_is_taken_over_without_rows(pair: tuple[Any, Any]) -> None:
    # given a copy, and a source whose one entry was written anew as it grew
    source, target = pair
    await source.commit([batch(BTC, candles(minutes(0, 9)), (T0, T0 + 9 * M1, Verdict.OBSERVED))])
    await carry(source, target)
    await source.commit(
        [batch(BTC, candles(minutes(9, 12)), (T0 + 9 * M1, T0 + 12 * M1, Verdict.OBSERVED))]
    )
    asked = Range(ALWAYS.start, T0 + 9 * M1)
    sent = await source.seal(BTC, asked)
    assert sent != await target.seal(BTC, asked)
    assert sent.says_as(await target.seal(BTC, asked))

    # when it is restated, and a ledger that says other things is, too
    done = await target.restate(BTC, asked, sent.ledger)
    refused = await target.restate(BTC, ALWAYS, (await source.seal(BTC, ALWAYS)).ledger)

    # then the one is taken over, and the other is not; the rest comes as rows
    assert (done, refused) == (True, False)
    assert await target.seal(BTC, asked) == sent
    await target.unpack(await source.pack(BTC, Range(T0 + 9 * M1, ALWAYS.end)))
    await assert_same(source, target)


async def test_other_data_is_refused_and_left_as_it_is(pair: tuple[Any, Any]) -> None:
    # given a target with other values, and one row more
    source, target = pair
    await source.commit([batch(BTC, candles(minutes(0, 10)), (T0, T0 + 20 * M1, Verdict.OBSERVED))])
    await target.commit([batch(BTC, candles([*minutes(5, 8)], 3.0))])
    await target.commit([batch(BTC, candles(minutes(15, 16)))])
    before = await target.seal(BTC, ALWAYS)
    parcel = await source.pack(BTC, ALWAYS)

    # when the source comes
    with pytest.raises(CopyRefused) as refused:
        await target.unpack(parcel)

    # then the error says what is there and where, and nothing has changed
    text = str(refused.value)
    assert "binance BTC-USDT candles 1m" in text
    assert "3 rows with other values" in text
    assert "1 rows the source does not have" in text
    assert "2024-01-01T00:00:00Z..2024-01-01T00:20:00Z" in text
    assert await target.seal(BTC, ALWAYS) == before

    # and the source wins if it is told to
    await target.unpack(parcel, replace=True)
    await assert_same(source, target)


async def test_corrections_of_its_own_are_refused_and_forgotten_only_on_demand(
    pair: tuple[Any, Any],
) -> None:
    source, target = pair
    for price in (1.0, 2.0):
        await target.commit([batch(BTC, candles(minutes(0, 3), price))])
    await source.commit([batch(BTC, candles(minutes(0, 3), 2.0))])
    parcel = await source.pack(BTC, ALWAYS)

    with pytest.raises(CopyRefused, match="3 corrections of its own"):
        await target.unpack(parcel)
    assert (await target.corrections(BTC)).num_rows == 3

    await target.unpack(parcel, replace=True)
    await assert_same(source, target)


async def test_data_beside_that_of_the_source_stays(pair: tuple[Any, Any]) -> None:
    # given a target that holds the days before and after, and equal rows of the day itself
    source, target = pair
    day = [T0 + DAY + at * M1 for at in range(200)]
    await source.commit([batch(BTC, candles(day), (T0 + DAY, T0 + 2 * DAY, Verdict.OBSERVED))])
    await target.commit(
        [
            batch(BTC, candles(minutes(0, 50)), (T0, T0 + DAY, Verdict.OBSERVED)),
            batch(BTC, candles(day[:10])),
            batch(
                BTC,
                candles([T0 + 2 * DAY]),
                (T0 + 2 * DAY, T0 + 3 * DAY, Verdict.OBSERVED),
                source=Source.ARCHIVE,
            ),
        ]
    )

    # when the source is copied
    await target.unpack(await source.pack(BTC, ALWAYS))

    # then both are there, and the ledger says whose is what
    ledger = await target.coverage(BTC)
    assert [(e.start, e.end, e.rows) for e in ledger] == [
        (T0, T0 + DAY, 50),
        (T0 + DAY, T0 + 2 * DAY, 200),
        (T0 + 2 * DAY, T0 + 3 * DAY, 1),
    ]
    assert await source.coverage(BTC) == ledger[1:2]
    assert (await target.read(BTC, ALWAYS)).num_rows == 251
    assert list((await target.verify()).faults) == []
    assert (await target.unpack(await source.pack(BTC, ALWAYS))).is_nothing


async def test_a_row_without_ledger_refutes_an_absence_of_the_target(
    pair: tuple[Any, Any],
) -> None:
    source, target = pair
    await source.commit([batch(BTC, candles(minutes(5, 6)))])
    await target.commit(
        [batch(BTC, candles([]), (T0, T0 + 10 * M1, Verdict.EMPTY), source=Source.REST)]
    )

    await target.unpack(await source.pack(BTC, ALWAYS))

    ledger = await target.coverage(BTC)
    assert [(e.start, e.end) for e in ledger] == [(T0, T0 + 5 * M1), (T0 + 6 * M1, T0 + 10 * M1)]
    assert list((await target.verify()).faults) == []


async def test_an_unsound_parcel_is_refused(pair: tuple[Any, Any]) -> None:
    source, target = pair
    await fill(source)
    parcel = await source.pack(BTC, Range(T0, T0 + 50 * M1))
    twice = pa.concat_tables([parcel.table, parcel.table])

    for broken in (
        msgspec.structs.replace(parcel, range=Range(T0, T0 + M1)),
        msgspec.structs.replace(parcel, table=twice),
        msgspec.structs.replace(parcel, table=parcel.table.drop_columns(["known_us"])),
        msgspec.structs.replace(parcel, series=TRADES),
    ):
        with pytest.raises(DataError):
            await target.unpack(broken)
    assert await target.keeping() == []


async def test_of_a_series_nobody_knows_there_is_nothing(pair: tuple[Any, Any]) -> None:
    source, target = pair

    parcel = await source.pack(BTC, ALWAYS)

    assert parcel.is_empty
    assert (await source.seal(BTC, ALWAYS)).is_blank
    assert seal_of(parcel) == BLANK
    assert (await target.unpack(parcel)).is_nothing
    assert await target.keeping() == []


def instrument(symbol: str, tick: float = 0.1) -> Instrument:
    base, quote = symbol.split("-")
    return Instrument(
        exchange="binance",
        symbol=symbol,
        native=base + quote,
        base=base,
        quote=quote,
        settle=None,
        market=Market.SPOT,
        tick_size=tick,
    )


async def test_versions_of_instruments_travel(pair: tuple[Any, Any]) -> None:
    # given instruments that changed and went, and one the target lists by itself
    source, target = pair
    btc, eth, sol = instrument("BTC-USDT"), instrument("ETH-USDT"), instrument("SOL-USDT")
    await target.write_instruments("binance", [sol])
    await source.write_instruments("binance", [btc, eth, instrument("SOL-USDT", 0.5)])
    await target.unpack_instruments(await source.pack_instruments())
    finer = instrument("BTC-USDT", 0.01)
    await source.write_instruments("binance", [finer])

    # when they are copied again
    changed = await target.unpack_instruments(await source.pack_instruments(["binance"]))

    # then all versions are there, and the target's own stayed
    assert changed == 2
    assert await target.instruments("binance") == [finer, sol]
    versions = await source.pack_instruments()
    for at in {v.valid_from for v in versions}:
        names = ("BTC-USDT", "ETH-USDT")
        ours = [i for i in await source.instruments(as_of=at) if i.symbol in names]
        assert [i for i in await target.instruments(as_of=at) if i.symbol in names] == ours
    assert await target.unpack_instruments(versions) == 0
    assert await source.pack_instruments(["okx"]) == []


async def test_lake_segments_hot_rows_and_retired_ones(tmp_path: Path) -> None:
    # given a lake whose rows lie in segments of several months, in chunks, and just arrived
    source = await LakeStore.open(tmp_path / "source", clock=Clock())
    target = await LakeStore.open(tmp_path / "target", clock=Clock())
    await fill(source, 5_200)
    await source.compact()
    months = [T0 + number * DAY for number in range(90)]
    await source.commit([batch(BTC, candles(months), (T0, T0 + 90 * DAY, Verdict.OBSERVED))])
    await source.commit([batch(BTC, candles(months[50:], 3.0))])

    # when it is copied month by month, out of order
    cuts = [T0 + 31 * DAY, T0 + 60 * DAY]
    for part in (
        Range(cuts[1], ALWAYS.end),
        Range(ALWAYS.start, cuts[0]),
        Range(cuts[0], cuts[1]),
    ):
        for series in await source.keeping():
            await target.unpack(await source.pack(series, part))

    # then the copy is the same, also after both have kept house
    await assert_same(source, target)
    await target.compact()
    await target.vacuum(older_than_s=0)
    await assert_same(source, target)
    await source.close()
    await target.close()


async def test_a_commit_meanwhile_is_never_lost(tmp_path: Path) -> None:
    """Two writers of one series, one with parcels: what either has written is there."""
    source = await LakeStore.open(tmp_path / "source", clock=Clock())
    target = await LakeStore.open(tmp_path / "target", clock=Clock())
    await source.commit([batch(BTC, candles(minutes(0, 6_000)), (T0, T0 + DAY, Verdict.OBSERVED))])

    async def write() -> None:
        for number in range(40):
            at = T0 + 10 * DAY + number * 100 * M1
            times = [at + n * M1 for n in range(100)]
            await target.commit([batch(BTC, candles(times))])

    async def copy() -> None:
        rest = ALWAYS
        while not rest.is_empty:
            parcel = await source.pack(BTC, rest, limit_rows=400)
            await target.unpack(parcel)
            rest = Range(parcel.range.end, rest.end)

    await asyncio.gather(write(), copy())

    assert (await target.read(BTC, ALWAYS)).num_rows == 10_000
    assert list((await target.verify()).faults) == []
    await source.close()
    await target.close()


# -- anything at all ------------------------------------------------------------------------------

MINUTE = st.integers(0, 40)
VERDICTS = st.sampled_from(list(Verdict))
SOURCES = st.sampled_from(list(Source))


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Return commits and discards, as arguments for `replay`."""
    found: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(1, 7))):
        first, last = sorted((draw(MINUTE), draw(MINUTE)))
        if draw(st.integers(0, 5)) == 0:
            found.append(("discard", draw(st.booleans()), first, last + 1))
            continue
        rows = draw(st.lists(st.tuples(MINUTE, st.integers(0, 2)), max_size=12))
        spans = draw(st.lists(st.tuples(MINUTE, st.integers(1, 15), VERDICTS), max_size=3))
        refused = draw(st.lists(st.one_of(st.none(), MINUTE), max_size=2))
        judged = draw(st.lists(st.tuples(MINUTE, st.sampled_from(list(Agreement))), max_size=4))
        found.append(("commit", draw(st.booleans()), rows, spans, draw(SOURCES), refused, judged))
    return found


async def replay(store: Any, script: Sequence[tuple[Any, ...]], *, claims: bool = False) -> None:
    """Do what is told; with `claims`, only what the ledger speaks of is taken back."""
    for kind, is_candles, *rest in script:
        series = BTC if is_candles else TRADES
        empty = candles([]) if is_candles else trades([])
        if kind == "discard":
            first, last = (T0 + minute * M1 for minute in rest)
            if claims:
                await store.commit([batch(series, empty, (first, last, Verdict.OBSERVED))])
            await store.discard(series, Range(first, last))
            continue
        rows, spans, source, refused, judged = rest
        if is_candles:
            prices = dict(rows)
            table = pa.concat_tables(
                [candles([]), *(candles([T0 + m * M1], float(p)) for m, p in prices.items())]
            )
        else:
            table = trades([(T0 + m * M1, str(p % 2), float(p)) for m, p in rows])
        values = Values(1.0, 2.0, 0.5, 1.5, 10.0)
        await store.commit(
            [
                batch(
                    series,
                    table,
                    *((T0 + m * M1, T0 + (m + n) * M1, v) for m, n, v in spans),
                    source=source,
                    rejected=[
                        Rejected(None if m is None else T0 + m * M1, "bad", str(m)) for m in refused
                    ],
                    reconciled=[
                        Reconciled(BTC, T0 + m * M1, verdict, (), values, values)
                        for m, verdict in judged
                        if is_candles
                    ],
                )
            ]
        )


@pytest.mark.parametrize("engines", PAIRS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=steps(), second=steps(), limit=st.integers(1, 30), seed=st.booleans())
def test_whatever_happened_a_copy_is_the_same(
    engines: str, server: str, *, first: Any, second: Any, limit: int, seed: bool
) -> None:
    async def check(folder: Path) -> None:
        here, there = engines.split(">")
        source = await opened(here, folder / "source", Clock(), server)
        target = await opened(there, folder / "target", Clock(), server)
        back = await opened(here, folder / "back", Clock(), server)
        try:
            await replay(source, first)
            if here == "lake" and seed:
                await source.compact()
            await carry(source, target, limit_rows=limit)
            await assert_same(source, target)
            await carry(target, back, limit_rows=7)
            await assert_same(source, back)
            # What is done since comes after it, unless rows were taken back and came anew.
            await replay(source, second, claims=True)
            try:
                await carry(source, target, limit_rows=limit)
            except CopyRefused:
                assert any(step[0] == "discard" for step in [*first, *second])
            else:
                await assert_same(source, target)
        finally:
            for store in (source, target, back):
                await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


def test_a_parcel_is_never_older_than_what_is_in_it() -> None:
    table = candles([T0]).append_column("known_us", pa.array([T0 + 7]))

    parcel = Parcel(series=BTC, range=Range(T0, T0 + M1), table=table)

    assert parcel.newest_us == T0 + 7
