"""Loaders that share a store share the work, a unit at a time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loader_world import HOUR, FakeClock, FakeExchange, candle_table, trade_table
from stream_world import eventually

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.ranges import Range, split, total, union
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.connector import Fetched
from zvt_crypto.services.loader import CryptoDataLoader, LoaderConfig, LoadRequest
from zvt_crypto.services.loader.sharing import PREFIX, units_of
from zvt_crypto.store.memory.memory import MemoryStore

MINUTE = 60_000_000
START, END = to_us("2020-01-01"), to_us("2024-01-01")
ASKED = Range(START, END)
YEARS = 4
PAGE = 1_000
HALVES = candle_series("binance", "BTC-USDT", Interval.M30)
TRADES = Series("binance", "BTC-USDT", Kind.TRADES)


@dataclass
class LongExchange(FakeExchange):
    """Years of half hours in pages of weeks, each of which takes a while."""

    delay_s: float = 0.002

    def windows(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[Range]:
        del instrument, kind
        return list(split(asked, PAGE * (interval.nominal_us if interval else 10 * MINUTE)))

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        await asyncio.sleep(self.delay_s)
        return await super().fetch_candles(instrument, interval, window)


def exchange() -> LongExchange:
    return LongExchange(candles=candle_table(range(START, END, 30 * MINUTE)), now_us=END + HOUR)


def loader(
    store: MemoryStore, market: FakeExchange, config: LoaderConfig | None = None
) -> CryptoDataLoader:
    return CryptoDataLoader(
        store, {"binance": market}, FakeClock(END + HOUR), config or LoaderConfig(chunk_windows=3)
    )


def request(symbol: str = "BTC-USDT") -> LoadRequest:
    return LoadRequest("binance", symbol, Kind.CANDLES, Interval.M30, START, END)


moments = st.integers(to_us("2015-01-01"), to_us("2030-01-01"))


@given(
    bounds=st.lists(st.tuples(moments, moments), max_size=6),
    series=st.sampled_from(
        [HALVES, TRADES, *(candle_series("okx", "X-Y", one) for one in Interval)]
    ),
)
def test_units_hold_each_moment_once_and_are_the_same_for_all(
    bounds: list[tuple[int, int]], series: Series
) -> None:
    ranges = union(Range(min(pair), max(pair)) for pair in bounds)

    found = units_of(series, ranges)

    assert union(part for unit in found for part in unit.parts) == ranges
    assert sum(total(unit.parts) for unit in found) == total(ranges)
    assert len({unit.name for unit in found}) == len(found)
    assert all(unit.name.startswith(PREFIX) for unit in found)
    # whoever asks for more finds the same moment in a unit of the same name
    for unit in found:
        for part in unit.parts:
            wide = Range(part.start - 400 * US_PER_DAY, part.end + 400 * US_PER_DAY)
            others = {u.name: u.parts for u in units_of(series, [wide])}
            assert any(p.start <= part.start and part.end <= p.end for p in others[unit.name])


def test_units_have_names_people_can_read() -> None:
    def names(interval: Interval) -> list[str]:
        series = candle_series("okx", "BTC-USDT-PERP", interval)
        whole = Range(to_us("2023-12-31T23:00"), to_us("2024-02-01"))
        return [unit.name for unit in units_of(series, [whole])]

    base = "load/okx/BTC-USDT-PERP/candles"
    assert names(Interval.M1) == [f"{base}/1m/{m}" for m in ("2023-12", "2024-01")]
    assert names(Interval.M5) == [f"{base}/5m/{y}" for y in ("2023", "2024")]
    assert names(Interval.D1) == [f"{base}/1d/all"]
    (trades,) = units_of(Series("okx", "X-Y", Kind.TRADES), [Range(START, START + 1)])
    assert trades.name == "load/okx/X-Y/trades/2020-01"


async def alone() -> int:
    """Return how many questions one loader has when nothing is shared."""
    market = exchange()
    await loader(MemoryStore(), market, LoaderConfig(chunk_windows=3, share=False)).load(
        [request()]
    )
    return len(market.asked)


async def test_sharing_costs_one_loader_a_page_a_unit_at_most() -> None:
    market, store = exchange(), MemoryStore()

    report = await loader(store, market).load([request()])

    assert report.is_complete
    assert len(market.asked) <= await alone() + YEARS
    assert await store.held() == []


async def test_several_loaders_share_one_series() -> None:
    # given three loaders over one store
    market, store = exchange(), MemoryStore()
    workers = [loader(store, market) for _ in range(3)]

    # when all are asked for the same
    reports = await asyncio.gather(*(one.load([request()]) for one in workers))

    # then nothing was asked twice, each did its part, and each reports on all
    assert max(Counter(market.asked).values()) == 1
    assert len(market.asked) <= await alone() + YEARS
    assert (await store.read(HALVES, ASKED)).equals(market.candles)
    rows = [report.series[0].rows_written for report in reports]
    assert sum(rows) == market.candles.num_rows
    assert sum(bool(one) for one in rows) > 1  # each takes a unit more than it is at
    assert all(report.is_complete for report in reports)
    assert {report.series[0].rows_total for report in reports} == {market.candles.num_rows}
    assert {one.progress[0].state for one in workers} == {"done"}
    assert await store.held() == []


async def test_a_loader_goes_on_with_what_is_free_and_waits_for_the_rest() -> None:
    # given a year of one symbol that another worker is at
    market, store = exchange(), MemoryStore()
    year = Range(to_us("2021-01-01"), to_us("2022-01-01"))
    (held,) = units_of(HALVES, [year])
    await store.acquire([held.name], "other", 60.0)
    worker = loader(store, market, LoaderConfig(chunk_windows=3, parallel_series=1))

    # when a loader is asked for it and more
    loading = asyncio.create_task(worker.load([request(), request("BTC-USDT-PERP")]))
    expected = ["held by another worker", "done"]
    await eventually(lambda: [one.state for one in worker.progress] == expected)

    # then the rest is done meanwhile, and what is held is not asked for
    perpetual = candle_series("binance", "BTC-USDT-PERP", Interval.M30)
    assert (await store.read(perpetual, ASKED)).num_rows == market.candles.num_rows
    assert (await store.read(HALVES, year)).num_rows == 0
    assert (await store.read(HALVES, ASKED)).num_rows == market.candles.num_rows - 365 * 48
    assert worker.progress[0].fraction == pytest.approx(1_096 / 1_461)

    # and once it is free again and still owed, it is taken over
    await store.release([held.name], "other")
    async with asyncio.timeout(10):
        report = await loading
    assert report.is_complete
    assert (await store.read(HALVES, ASKED)).equals(market.candles)


async def test_a_lease_that_expired_is_taken_over() -> None:
    market, store = exchange(), MemoryStore()
    held = units_of(HALVES, [ASKED])
    await store.acquire([unit.name for unit in held], "killed", 0.5)

    async with asyncio.timeout(10):
        report = await loader(store, market).load([request()])

    assert report.is_complete


async def test_with_everything_settled_nothing_is_asked_and_no_lease_is_waited_for() -> None:
    market, store = exchange(), MemoryStore()
    await loader(store, market).load([request()])
    await store.acquire([unit.name for unit in units_of(HALVES, [ASKED])], "other", 60.0)
    asked = len(market.asked)

    async with asyncio.timeout(5):
        report = await loader(store, market).load([request()])

    assert report.is_complete
    assert len(market.asked) == asked


async def test_fills_reads_and_rechecks_wait_for_nobody() -> None:
    market, store = exchange(), MemoryStore()
    await store.acquire([unit.name for unit in units_of(HALVES, [ASKED])], "other", 60.0)
    worker = loader(store, market)
    day = Range(START, START + US_PER_DAY)
    next_day = LoadRequest(
        "binance", "BTC-USDT", Kind.CANDLES, Interval.M30, day.end, day.end + US_PER_DAY
    )

    async with asyncio.timeout(5):
        await worker.fill(HALVES, day)
        assert (await worker.load([next_day], share=False)).is_complete
        assert (await worker.load([next_day], refetch=True)).is_complete

    assert (await store.read(HALVES, ASKED)).num_rows == 2 * 48


class Losing(MemoryStore):
    """A store whose first lease of 2021 is another's as soon as it was given."""

    stolen = False

    async def acquire(
        self, names: Sequence[str], holder: str, for_s: float, note: str = ""
    ) -> set[str]:
        got = await super().acquire(names, holder, for_s, note)
        if not self.stolen and any(name.endswith("2021") for name in got):
            self.stolen = True
            await super().release(names, holder)
            await super().acquire(names, "thief", 0.5)
        return got


async def test_a_lost_lease_stops_its_unit_and_the_ledger_decides_what_is_left() -> None:
    # given a worker whose lease of a year goes to another, who does nothing with it
    market, store = exchange(), Losing()
    market.delay_s = 0.03
    config = LoaderConfig(chunk_windows=1, concurrency={"binance": 1}, lease_s=0.3)
    worker = loader(store, market, config)

    # when it loads
    async with asyncio.timeout(30):
        report = await worker.load([request()])

    # then it takes the year again once it is free, and all is there
    assert store.stolen
    assert report.is_complete
    assert (await store.read(HALVES, ASKED)).equals(market.candles)
    assert max(Counter(market.asked).values()) <= 2


async def test_trades_join_across_units_of_different_workers() -> None:
    # given trades of which the exchange leaves out the last of each page now and then
    start, end = to_us("2023-07-01"), END
    times = list(range(start, end + HOUR, 40 * MINUTE))
    market = exchange()
    market.trades = trade_table(times, range(1, len(times) + 1))
    market.mangle = lambda number, _, rows: rows.slice(0, max(0, rows.num_rows - (number % 5 == 2)))
    store = MemoryStore()

    # when three load them
    wanted = LoadRequest("binance", "BTC-USDT", Kind.TRADES, None, start, end)
    workers = [loader(store, market) for _ in range(3)]
    reports = await asyncio.gather(*(one.load([wanted]) for one in workers))

    # then no trade is missing, at the bounds of units neither
    assert all(report.is_complete for report in reports)
    assert sum(report.series[0].rows_written > 0 for report in reports) > 1
    ids = (await store.read(TRADES, Range(start, end))).column("trade_id").to_pylist()
    inside = [one for one, at in enumerate(times, 1) if at < end]
    assert sorted(map(int, ids)) == inside


async def test_two_series_made_of_one_finer_share_it_too() -> None:
    market = exchange()
    market.native = (Interval.M30,)
    store = MemoryStore()
    both = [
        LoadRequest("binance", "BTC-USDT", Kind.CANDLES, one, START, END)
        for one in (Interval.H4, Interval.H1)
    ]

    async with asyncio.timeout(20):
        report = await loader(store, market).load(both)

    assert report.is_complete
    assert max(Counter(market.asked).values()) == 1
