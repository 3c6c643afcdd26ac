"""What the loader promises, on a market it can check by hand."""

import random
from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from loader_world import (
    HOUR,
    START,
    Killed,
    MortalStore,
    World,
    candle_table,
    funding_table,
    make_world,
    trade_table,
)

from zvt_crypto.core.errors import BadRange, NetworkFault, UnknownExchange, UnknownSymbol
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, candle_series
from zvt_crypto.ports.store import Batch, Committed, Finding
from zvt_crypto.services.loader import LoaderConfig, LoadRequest
from zvt_crypto.store.memory.memory import MemoryStore

HOURS = candle_series("binance", "BTC-USDT", Interval.H1)


@pytest.fixture
def world() -> World:
    return make_world()


def hours(start: int = 0, end: int = 100, symbol: str = "BTC-USDT") -> LoadRequest:
    return LoadRequest(
        "binance", symbol, Kind.CANDLES, Interval.H1, START + start * HOUR, START + end * HOUR
    )


def drop(world: World, *indices: int) -> None:
    times = np.asarray(world.exchange.candles["timestamp"].cast(pa.int64()))
    gone = [START + i * HOUR for i in indices]
    world.exchange.candles = world.exchange.candles.filter(pa.array(~np.isin(times, gone)))


async def test_a_load_stores_every_row_and_a_second_one_asks_nothing(world: World) -> None:
    # when the range is loaded twice
    first = await world.loader.load([hours()])
    asked = len(world.exchange.asked)
    second = await world.loader.load([hours()])

    # then all rows are there once, the ledger is complete, and nothing was asked again
    stored = await world.store.read(HOURS, Range(START, START + 100 * HOUR))
    assert stored.equals(world.exchange.candles)
    assert first.is_complete
    assert second.is_complete
    assert first.series[0].rows_written == 100
    assert second.series[0].rows_written == 0
    assert len(world.exchange.asked) == asked


async def test_an_instrument_no_store_could_name_is_left_out_of_the_list(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given an exchange that lists one with a character no exchange has reason to send
    listed = await world.exchange.instruments()
    odd = msgspec.structs.replace(listed[0], symbol="A\0-USDT", native="A\0USDT")

    async def instruments() -> list[Instrument]:
        return [odd, *listed]

    monkeypatch.setattr(world.exchange, "instruments", instruments)
    # when the list is fetched
    table = await world.loader.instruments("binance")
    # then the others are there, and it is told what is not
    assert list(table) == listed
    assert await world.store.instruments("binance") == listed
    assert [record.message for record in caplog.records] == ["instruments_left_out"]


async def test_a_hole_the_exchange_confirms_is_empty_with_exactly_its_bounds(world: World) -> None:
    drop(world, 15, 16, 40, 99)

    report = (await world.loader.load([hours()])).series[0]

    empty = [e.range for e in report.coverage if e.verdict is Verdict.EMPTY]
    assert empty == [
        Range(START + 15 * HOUR, START + 17 * HOUR),
        Range(START + 40 * HOUR, START + 41 * HOUR),
        Range(START + 99 * HOUR, START + 100 * HOUR),
    ]
    assert report.is_complete


@pytest.mark.parametrize("seed", range(12))
async def test_truncated_pages_lose_no_row_and_prove_no_hole(world: World, seed: int) -> None:
    # given an exchange that cuts a third of its answers short, with real holes besides
    drop(world, 3, 50, 51, 52, 77)
    rng = random.Random(seed)

    def cut_short(_n: int, _w: Range, table: pa.Table) -> pa.Table:
        return table.slice(0, table.num_rows // 2) if rng.random() < 0.33 else table

    world.exchange.mangle = cut_short

    # when it is loaded
    report = (await world.loader.load([hours()])).series[0]

    # then what is settled is right: every row inside observed ranges, no row in an empty one
    stored = await world.store.read(HOURS, Range(START, START + 100 * HOUR))
    truth = {t.as_py() for t in world.exchange.candles["timestamp"]}
    held = {t.as_py() for t in stored["timestamp"]}
    assert held <= truth
    for entry in report.coverage:
        inside = [
            t
            for t in world.exchange.candles["timestamp"].cast(pa.int64()).to_pylist()
            if entry.range.holds(t)
        ]
        if entry.verdict is Verdict.EMPTY:
            assert not inside
        if entry.verdict is Verdict.OBSERVED:
            assert entry.rows == len(inside)
    if report.is_complete:
        assert held == truth


async def test_pages_without_a_hole_between_them_are_one_finding() -> None:
    # given a hole in the second of three pages, which are one commit, and none in the next three
    class Noting(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[list[Finding]] = []

        async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
            self.found.extend(list(batch.findings) for batch in batches if batch.table.num_rows)
            return await super().commit(batches)

    world = make_world(store := Noting())
    drop(world, 15)

    # when sixty hours are loaded
    await world.loader.load([hours(0, 60)])

    # then what touches is told as one, and what lies between keeps it apart
    def told(start: int, end: int, verdict: Verdict) -> Finding:
        return Finding(START + start * HOUR, START + end * HOUR, verdict)

    assert sorted(store.found, key=lambda found: found[0].start) == [
        [
            told(0, 15, Verdict.OBSERVED),
            told(16, 20, Verdict.OBSERVED),
            told(15, 16, Verdict.EMPTY),
            told(20, 30, Verdict.OBSERVED),
        ],
        [told(30, 60, Verdict.OBSERVED)],
    ]


async def test_candles_that_appear_on_the_second_question_are_stored(world: World) -> None:
    late = START + 20 * HOUR

    def hide_once(number: int, _: Range, table: pa.Table) -> pa.Table:
        times = np.asarray(table["timestamp"].cast(pa.int64()))
        return table.filter(pa.array(times != late)) if number < 3 else table

    world.exchange.mangle = hide_once
    report = (await world.loader.load([hours()])).series[0]

    stored = await world.store.read(HOURS, Range(late, late + HOUR))
    assert stored.num_rows == 1
    assert report.is_complete


async def test_an_exchange_that_goes_away_leaves_the_rest_missing_and_the_done_kept(
    world: World,
) -> None:
    world.exchange.error = lambda n: NetworkFault("binance", "reset") if n >= 4 else None

    report = (await world.loader.load([hours()])).series[0]

    assert isinstance(report.error, NetworkFault)
    assert not report.is_complete
    verdicts = {e.verdict for e in report.coverage}
    assert verdicts == {Verdict.OBSERVED, Verdict.MISSING}
    assert sum(e.end - e.start for e in report.coverage) == 100 * HOUR

    # and the next load asks only for what is left
    world.exchange.error = None
    world.exchange.asked.clear()
    done = [e.range for e in report.coverage if e.verdict is Verdict.OBSERVED]
    again = (await world.loader.load([hours()])).series[0]
    assert again.is_complete
    assert all(a.overlap(d).is_empty for a in world.exchange.asked for d in done)


async def test_only_closed_candles_are_asked_for(world: World) -> None:
    world.exchange.now_us = START + 50 * HOUR + HOUR // 2
    world.clock.at = world.exchange.now_us

    report = (
        await world.loader.load(
            [LoadRequest("binance", "BTC-USDT", Kind.CANDLES, Interval.H1, START)]
        )
    ).series[0]

    assert report.asked == Range(START, START + 50 * HOUR)


async def test_weeks_are_made_from_days_where_the_exchange_has_none(world: World) -> None:
    day = 24 * HOUR
    monday = Interval.W1.floor(START)
    world.exchange.native = (Interval.D1,)
    world.exchange.candles = candle_table([monday + i * day for i in range(28) if i != 9])
    world.exchange.now_us = monday + 40 * day
    world.clock.at = world.exchange.now_us

    report = await world.loader.load(
        [LoadRequest("binance", "BTC-USDT", Kind.CANDLES, Interval.W1, monday, monday + 28 * day)]
    )

    series = candle_series("binance", "BTC-USDT", Interval.W1)
    weeks = await world.store.read(series, Range(0, 1 << 60))
    assert weeks["volume"].to_pylist() == [14.0, 12.0, 14.0, 14.0]
    assert report.is_complete


async def test_lost_trades_show_as_a_jump_of_ids_and_are_asked_for_again(world: World) -> None:
    times = [START + i * HOUR // 4 for i in range(400)]
    world.exchange.trades = trade_table(times, range(1000, 1400))

    def lose(number: int, _: Range, table: pa.Table) -> pa.Table:
        return pa.concat_tables([table.slice(0, 5), table.slice(8)]) if number < 3 else table

    world.exchange.mangle = lose
    report = await world.loader.load(
        [LoadRequest("binance", "BTC-USDT", Kind.TRADES, None, START, START + 100 * HOUR)]
    )

    assert report.is_complete
    assert report.series[0].rows_total == 400


async def test_trades_lost_at_the_end_of_an_answer_are_found_at_the_seam(world: World) -> None:
    times = [START + i * HOUR // 4 for i in range(400)]
    world.exchange.trades = trade_table(times, range(1000, 1400))

    def lose_tail(number: int, _: Range, table: pa.Table) -> pa.Table:
        return table.slice(0, max(0, table.num_rows - 2)) if number == 2 else table

    world.exchange.mangle = lose_tail
    report = await world.loader.load(
        [LoadRequest("binance", "BTC-USDT", Kind.TRADES, None, START, START + 100 * HOUR)]
    )

    assert report.series[0].rows_total == 400
    assert report.is_complete


@pytest.mark.parametrize("page", [0, 4, 9])
@pytest.mark.parametrize("end", ["head", "tail"])
async def test_trades_lost_at_the_ends_of_an_answer_are_found_after_a_kill_too(
    world: World, page: int, end: str
) -> None:
    # given a market that trades on before and after what is loaded, and one page cut short
    times = [START + i * HOUR // 4 for i in range(-40, 440)]
    world.exchange.trades = trade_table(times, range(1000, 1480))
    cut_short = Range(START + page * 10 * HOUR, START + (page + 1) * 10 * HOUR)
    request = LoadRequest("binance", "BTC-USDT", Kind.TRADES, None, START, START + 100 * HOUR)

    def lose(_: int, window: Range, table: pa.Table) -> pa.Table:
        if window != cut_short:
            return table
        return table.slice(2) if end == "head" else table.slice(0, table.num_rows - 2)

    # when the load is killed after any number of its commits
    for commits in range(1, 13):
        store = MortalStore(commits)
        world.exchange.mangle = lose
        try:
            await world.loader_for(store, LoaderConfig(chunk_windows=1)).load([request])
        except* Killed:
            pass

        # then the next one, from an exchange that has recovered, ends with every trade
        store.commits_left = None
        world.exchange.mangle = None
        report = (await world.loader_for(store).load([request])).series[0]
        assert report.is_complete
        held = await store.read(report.series, report.asked)
        assert held["trade_id"].to_pylist() == [str(i) for i in range(1040, 1440)], commits


async def test_a_pause_in_funding_is_asked_about_again(world: World) -> None:
    times = [START + i * 8 * HOUR for i in range(30)]
    world.exchange.funding = funding_table(times)

    def lose(number: int, _: Range, table: pa.Table) -> pa.Table:
        return table.slice(0, 1) if number == 1 else table

    world.exchange.mangle = lose
    report = await world.loader.load(
        [LoadRequest("binance", "BTC-USDT-PERP", Kind.FUNDING, None, START, START + 200 * HOUR)]
    )

    assert report.series[0].rows_total == 25
    assert report.is_complete


async def test_bad_input_is_refused_before_anything_is_asked(world: World) -> None:
    with pytest.raises(UnknownExchange, match="binance"):
        await world.loader.load([LoadRequest("binanse", "BTC-USDT")])
    with pytest.raises(UnknownSymbol, match="BTC-USDT"):
        await world.loader.load([hours(symbol="BTC-UDST")])
    with pytest.raises(BadRange, match="reversed"):
        await world.loader.load([hours(5, 1)])
    with pytest.raises(BadRange, match="future"):
        await world.loader.load([hours(0, 1000)])
    assert world.exchange.asked == []


async def test_a_plan_counts_the_pages_that_are_owed(world: World) -> None:
    await world.loader.load([hours(0, 50)])

    plan = (await world.loader.plan([hours()]))[0]

    assert plan.owed == [Range(START + 50 * HOUR, START + 100 * HOUR)]
    assert plan.requests == 5
    assert plan.rows == 50


async def test_repair_loads_what_the_ledger_calls_missing(world: World) -> None:
    world.exchange.error = lambda n: NetworkFault("binance", "reset") if n in {3, 4} else None
    await world.loader.load([hours()])
    world.exchange.error = None

    _, report = await world.loader.repair()

    assert report.is_complete
    ledger = await world.store.coverage(HOURS)
    assert {e.verdict for e in ledger} == {Verdict.OBSERVED}


async def test_time_an_answer_does_not_speak_for_stays_missing(world: World) -> None:
    # given an exchange whose newest trades reach back six hours only
    times = [START + i * HOUR // 4 for i in range(400)]
    world.exchange.trades = trade_table(times, range(1000, 1400))
    world.exchange.answers_from = START + 94 * HOUR

    # when a day is loaded
    request = LoadRequest(
        "binance", "BTC-USDT", Kind.TRADES, None, START + 76 * HOUR, START + 100 * HOUR
    )
    report = (await world.loader.load([request])).series[0]

    # then what it did not answer for is missing, however empty the answer looked
    assert [(e.range, e.verdict) for e in report.coverage] == [
        (Range(START + 76 * HOUR, START + 94 * HOUR), Verdict.MISSING),
        (Range(START + 94 * HOUR, START + 100 * HOUR), Verdict.OBSERVED),
    ]
    assert not report.is_complete


async def test_a_full_chunk_is_committed_before_it_is_done(world: World) -> None:
    # given room for fifteen rows, and an exchange that fails on its fourth answer
    world.loader.config = LoaderConfig(chunk_windows=10, chunk_rows=15, concurrency={"binance": 1})
    world.exchange.error = lambda n: NetworkFault("binance", "reset") if n == 3 else None

    report = (await world.loader.load([hours()])).series[0]

    # then the three pages before it are kept
    assert sum(e.rows for e in report.coverage) == 30
