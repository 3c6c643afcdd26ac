"""The copier over stores in memory, which are the reference of what a store does."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from zvt_crypto.core.errors import StoreFull
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.parcel import Parcel, Unpacked
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.services.copy import CopyConfig, StoreCopier
from zvt_crypto.store.memory import MemoryStore

HOUR = 3_600_000_000
DAY = 24 * HOUR
T0 = 1_704_067_200_000_000  # 2024-01-01
BTC = candle_series("binance", "BTC-USDT", Interval.H1)
ETH = candle_series("binance", "ETH-USDT", Interval.H1)


class Watched(MemoryStore):
    """Notes what it is asked, and may fail on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.packed: list[Parcel] = []
        self.taken: list[Parcel] = []
        self.fails_after = 1 << 30

    def lose(self, series: Series, moment: int) -> None:
        self._held[series].rows.pop((moment, None))

    async def pack(self, series: Series, asked: Range, *, limit_rows: int = 1_000) -> Parcel:
        parcel = await super().pack(series, asked, limit_rows=limit_rows)
        self.packed.append(parcel)
        return parcel

    async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
        if len(self.taken) == self.fails_after:
            raise StoreFull("the target")
        self.taken.append(parcel)
        return await super().unpack(parcel, replace=replace)


def candles(start: int, count: int, price: float = 10.0) -> pa.Table:
    times = start + np.arange(count) * HOUR
    close = price + np.arange(count) % 7
    columns = [pa.array(times).cast(TIMESTAMP), close, close, close, close, close]
    nulls = [pa.nulls(count, field.type) for field in list(SCHEMAS[Kind.CANDLES])[6:]]
    return pa.table([*columns, *nulls], schema=SCHEMAS[Kind.CANDLES])


def hours(series: Series, start: int, count: int, price: float = 10.0) -> Batch:
    return Batch(
        series=series,
        table=candles(start, count, price),
        findings=[Finding(start, start + count * HOUR, Verdict.OBSERVED)],
        source=Source.REST,
    )


@pytest.fixture
async def source() -> Watched:
    """Return a store with months of hours of one series, and a day of another."""
    store = Watched()
    await store.commit([hours(BTC, T0, 5_000), hours(ETH, T0, 24)])
    return store


async def same(source: MemoryStore, target: MemoryStore) -> bool:
    return all(
        [
            await source.seal(series, ALWAYS) == await target.seal(series, ALWAYS)
            for series in await source.keeping()
        ]
    )


async def test_a_copy_in_bounded_parcels_and_a_second_that_moves_nothing(source: Watched) -> None:
    target = Watched()
    config = CopyConfig(parcel_rows=600)

    first = await StoreCopier(source, target, config).copy([BTC, ETH])
    source.packed.clear()
    second = await StoreCopier(source, target, config).copy([BTC, ETH])

    assert first.is_complete
    assert [(one.rows, one.moved, one.changed.rows) for one in first.series] == [
        (5_000, 5_000, 5_000),
        (24, 24, 24),
    ]
    assert all(parcel.rows <= 600 for parcel in target.taken)
    assert first.verified is not None
    assert first.verified.rows == 5_024
    assert await same(source, target)
    assert source.packed == []
    assert [(one.rows, one.moved) for one in second.series] == [(5_000, 0), (24, 0)]


async def test_a_copy_that_broke_off_goes_on_where_it_was(source: Watched) -> None:
    # given a target that fails after 1,500 rows
    target = Watched()
    target.fails_after = 5
    config = CopyConfig(parcel_rows=300)
    with pytest.raises(ExceptionGroup):
        await StoreCopier(source, target, config).copy([BTC])
    source.packed.clear()

    # when it is run again
    target.fails_after = 1 << 30
    report = await StoreCopier(source, target, config).copy([BTC])

    # then no more than a parcel is read a second time
    assert report.is_complete
    assert report.series[0].moved <= 3_500 + 300
    assert (await target.seal(BTC, ALWAYS)) == (await source.seal(BTC, ALWAYS))


async def test_only_the_range_asked_for_is_copied(source: Watched) -> None:
    target = Watched()
    asked = Range(T0 + 10 * DAY, T0 + 20 * DAY)

    report = await StoreCopier(source, target).copy([BTC], asked)

    assert report.is_complete
    assert report.series[0].rows == 240
    assert await target.coverage(BTC) == await source.coverage(BTC, asked)
    assert (await target.read(BTC, ALWAYS)).equals(await source.read(BTC, asked))


async def test_a_change_of_one_hour_changes_one_row(source: Watched) -> None:
    target = Watched()
    config = CopyConfig(parcel_rows=100)
    await StoreCopier(source, target, config).copy([BTC])
    await source.commit(
        [Batch(series=BTC, table=candles(T0 + 50 * DAY, 1, 99.0), source=Source.REPAIR)]
    )

    report = await StoreCopier(source, target, config).copy([BTC])

    # its ledger entry was written anew, for months: only its day is sent
    assert report.is_complete
    assert report.series[0].moved == 24
    assert report.series[0].changed.rows == 1
    assert report.series[0].changed.corrections == 1
    assert await target.seal(BTC, ALWAYS) == await source.seal(BTC, ALWAYS)


async def test_a_series_that_goes_on_sends_what_is_new(source: Watched) -> None:
    # given a copy of a series whose one ledger entry grows
    target = Watched()
    await StoreCopier(source, target).copy([BTC])
    await source.commit([hours(BTC, T0 + 5_000 * HOUR, 1)])

    report = await StoreCopier(source, target, CopyConfig(parcel_rows=100)).copy([BTC])

    assert report.is_complete
    assert report.series[0].moved <= 24
    assert await target.coverage(BTC) == await source.coverage(BTC)


async def test_what_the_source_learns_meanwhile_is_taken_along(source: Watched) -> None:
    # given a source that is written to while it is copied
    target = Watched()

    class Busy(Watched):
        async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
            done = await super().unpack(parcel, replace=replace)
            if len(self.taken) == 3:
                await source.commit([hours(BTC, T0 + 5_000 * HOUR, 48)])
                await source.commit([Batch(series=BTC, table=candles(T0, 3, 5.0),
                                           source=Source.LIVE)])  # fmt: skip
            return done

    target = Busy()

    report = await StoreCopier(source, target, CopyConfig(parcel_rows=300)).copy([BTC])

    assert report.is_complete
    assert report.series[0].rows == 5_048
    assert await target.seal(BTC, ALWAYS) == await source.seal(BTC, ALWAYS)


async def test_other_data_at_the_target_stops_its_series_alone(source: Watched) -> None:
    target = Watched()
    await target.commit([hours(BTC, T0, 5, 77.0)])

    report = await StoreCopier(source, target).copy([BTC, ETH])
    replaced = await StoreCopier(source, target, CopyConfig(replace=True)).copy([BTC, ETH])

    stopped, copied = report.series
    assert not report.is_complete
    assert stopped.error is not None
    assert stopped.error.code == "copy_refused"
    assert copied.is_complete
    assert replaced.is_complete
    assert await same(source, target)


async def test_a_target_that_loses_what_it_took_is_told(source: Watched) -> None:
    # given a target that keeps no corrections, whatever it says
    await source.commit([Batch(series=ETH, table=candles(T0, 2, 3.0), source=Source.REPAIR)])

    class Forgetful(MemoryStore):
        async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
            return await super().unpack(
                msgspec.structs.replace(parcel, corrections=()), replace=replace
            )

    report = await StoreCopier(source, Forgetful()).copy([ETH])

    found = report.series[0].disagreements
    assert not report.is_complete
    assert [one.range for one in found] == [ALWAYS]
    assert "2 corrections were sent" in found[0].detail


async def test_a_fault_the_target_finds_in_itself_is_told(source: Watched) -> None:
    class Broken(MemoryStore):
        async def verify(self, series: Any = None) -> Any:
            for held in self._held.values():
                held.rows.pop(min(held.rows))
            return await super().verify(series)

    report = await StoreCopier(source, Broken()).copy([ETH])

    assert not report.is_complete
    assert report.verified is not None
    assert [fault.series for fault in report.verified.faults] == [ETH]


async def test_damage_at_the_source_is_not_passed_on(source: Watched) -> None:
    # given a source that lost a row without noticing
    source.lose(ETH, T0)
    target = Watched()

    report = await StoreCopier(source, target).copy([ETH])

    assert report.series[0].error is not None
    assert report.series[0].error.code == "store_corrupt"
    assert await target.keeping() == []


async def test_progress_tells_what_is_done(source: Watched) -> None:
    seen: list[float] = []

    class Seen(Watched):
        async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
            seen.append(copier.progress[0].fraction)
            return await super().unpack(parcel, replace=replace)

    copier = StoreCopier(source, Seen(), CopyConfig(parcel_rows=300))

    await copier.copy([BTC])

    assert seen == pytest.approx([number * 300 / 5_000 for number in range(17)])
    assert copier.progress[0].fraction == 1.0
    assert copier.progress[0].rows == 5_000
