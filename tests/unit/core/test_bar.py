"""Bars built from trades: equal to the decimal truth, and never silent about what they lack."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zvt_crypto.core.bar import Bar, BarBuilder, Values
from zvt_crypto.core.candle import candles_from_trades
from zvt_crypto.core.interval import US_PER_DAY, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side, Trade
from zvt_crypto.core.schema import CANDLES, SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind

T0 = 1_709_164_800_000_000  # 2024-02-29, a Thursday: day, week and month end apart
M1 = US_PER_MINUTE
FOREVER = 1 << 51  # 2041

Key = tuple[Interval, int]


def trade(
    time: int,
    price: float = 100.0,
    size: float = 1.0,
    *,
    number: int | str = 0,
    side: Side = Side.BUY,
    fills: int | None = None,
) -> Trade:
    return Trade("binance", "BTC-USDT", time, time, number, price, size, side, fills)


def reference(trades: Sequence[Trade]) -> dict[Key, Values]:
    """Return the candles of all intervals, one decimal after the other."""
    groups: dict[Key, list[Trade]] = {}
    for one in sorted(trades, key=lambda t: (t.ts_event, t.trade_id)):
        for interval in Interval:
            groups.setdefault((interval, interval.floor(one.ts_event)), []).append(one)
    with localcontext(prec=400):
        return {key: _candle(group) for key, group in groups.items()}


def _candle(group: Sequence[Trade]) -> Values:
    prices = [t.price for t in group]
    sizes = [Decimal(repr(t.size)) for t in group]
    values = [Decimal(repr(t.price)) * size for t, size in zip(group, sizes, strict=True)]
    bought = [size for t, size in zip(group, sizes, strict=True) if t.side is Side.BUY]
    return Values(
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        float(sum(sizes)),
        float(sum(values)),
        sum(1 if t.fills is None else t.fills for t in group),
        None if any(t.side is Side.UNKNOWN for t in group) else float(sum(bought)),
    )


def final(bars: Iterable[Bar]) -> dict[Key, Bar]:
    """Return the last word on every bar; a first word is never a revision, a second always."""
    known: dict[Key, Bar] = {}
    for bar in bars:
        key = (bar.interval, bar.timestamp)
        assert key not in known or bar.is_revised
        known[key] = bar
    return known


def values(bars: dict[Key, Bar]) -> dict[Key, Values]:
    return {key: bar.values for key, bar in bars.items()}


amounts = st.one_of(
    st.integers(1, 10**9).map(lambda n: n / 1e5),
    st.integers(1, 10**12).map(lambda n: n / 1e8),
    st.integers(1, 10**9).map(lambda n: n / 1e11),
    st.floats(1e-12, 1e9),
)


@st.composite
def trade_lists(draw: st.DrawFn, *, span: int = 75 * US_PER_DAY) -> list[Trade]:
    """Return trades with ids as their exchange counts them, most of them close to each other."""
    gaps = st.one_of(st.just(0), st.integers(0, 3 * M1), st.integers(0, span // 20))
    count = draw(st.integers(1, 40))
    time = T0
    made: list[Trade] = []
    for number in range(count):
        time += draw(gaps)
        side = draw(st.sampled_from([Side.BUY, Side.SELL, Side.BUY, Side.SELL, Side.UNKNOWN]))
        fills = draw(st.one_of(st.none(), st.integers(1, 9)))
        price, size = draw(amounts), draw(amounts)
        made.append(trade(time, price, size, number=number, side=side, fills=fills))
    return made


@settings(max_examples=40)
@given(trade_lists(), st.integers(1, 7))
def test_bars_of_all_intervals_equal_the_decimal_sums(trades: list[Trade], lot: int) -> None:
    builder = BarBuilder(began_us=Interval.MON1.floor(T0))
    bars: list[Bar] = []
    for at in range(0, len(trades), lot):
        bars += builder.feed(trades[at : at + lot])
    bars += builder.advance(FOREVER)

    built = final(bars)
    assert not any(bar.is_revised for bar in bars)
    weeks = {k for k in built if k[0] is Interval.W1 and k[1] < Interval.MON1.floor(T0)}
    assert all(bar.is_whole for key, bar in built.items() if key not in weeks)
    assert values(built) == reference(trades)


@settings(max_examples=40)
@given(trade_lists(span=M1 * 600), st.randoms())
def test_trades_in_any_order_end_in_the_same_bars_or_say_what_is_wrong(
    trades: list[Trade], random: Random
) -> None:
    shuffled = list(trades)
    random.shuffle(shuffled)
    builder = BarBuilder(began_us=T0 - 60 * US_PER_DAY)
    bars: list[Bar] = []
    for one in shuffled:
        bars += builder.add(one)
    bars += builder.advance(FOREVER)

    truth, built = reference(trades), final(bars)
    outdated = builder.outdated
    for key, values_ in truth.items():
        told = any(key[0].floor(minute) == key[1] for minute in outdated)
        assert told or built[key].values == values_
        assert told or built[key].is_whole


@settings(max_examples=40)
@given(trade_lists(span=M1 * 600), st.randoms())
def test_a_builder_that_keeps_everything_forgets_nothing(
    trades: list[Trade], random: Random
) -> None:
    shuffled = list(trades)
    random.shuffle(shuffled)
    builder = BarBuilder(began_us=T0 - 60 * US_PER_DAY, keep_us=90 * US_PER_DAY)
    bars = [*builder.feed(shuffled), *builder.advance(T0 + 80 * US_PER_DAY)]
    for one in trades[:3]:
        late = trade(one.ts_event, one.price * 2, number=len(trades) + one.trade_id)  # type: ignore[operator]
        trades = [*trades, late]
        bars += builder.add(late)

    assert builder.outdated == []
    assert values(final(bars)) == reference(trades)


def candles(rows: Sequence[tuple[int, Values]]) -> pa.Table:
    times = pa.array([at for at, _ in rows], pa.int64()).cast(TIMESTAMP)
    columns = [
        pa.array([getattr(one, field.name) for _, one in rows], field.type)
        for field in list(CANDLES)[1:]
    ]
    return pa.table([times, *columns], schema=CANDLES)


def trade_table(trades: Sequence[Trade]) -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([t.ts_event for t in trades], pa.int64()).cast(TIMESTAMP),
            "trade_id": [str(t.trade_id) for t in trades],
            "price": [t.price for t in trades],
            "size": [t.size for t in trades],
            "side": [t.side.value for t in trades],
            "fills": pa.array([t.fills for t in trades], pa.int64()),
        },
        schema=SCHEMAS[Kind.TRADES],
    )


MANY = [trade(T0 + n * 7_000_000, 100 + n % 13, 0.1 + n % 3, number=n) for n in range(200)]
SOME = [Interval.M1, Interval.M5, Interval.H1]


def test_the_bar_running_at_the_beginning_is_partial_until_what_was_before_is_filled_in() -> None:
    # given a builder that begins in the middle of a minute, an hour and all the rest
    began = T0 + 10 * M1 + 30_000_000
    before = [t for t in MANY if t.ts_event < began]
    after = [t for t in MANY if t.ts_event >= began]
    builder = BarBuilder(SOME, began_us=began)
    bars = builder.feed(after)

    # then exactly the bars that opened before are partial
    partial = {(b.interval, b.timestamp) for b in bars if b.is_partial}
    assert partial == {(Interval.M1, T0 + 10 * M1), (Interval.M5, T0 + 10 * M1)}

    # when stored candles and the trades since the last of them are given
    truth = reference(before)
    minutes = [(at, v) for (i, at), v in sorted(truth.items()) if i is Interval.M1]
    bars += builder.seed(candles(minutes[:-1]), covered=Range(T0, T0 + 10 * M1))
    rest = [t for t in before if t.ts_event >= T0 + 10 * M1]
    bars += builder.fill(rest, T0 + 10 * M1, began)
    bars += builder.advance(T0 + 60 * M1)

    # then every bar is whole and true, and none of before the beginning was given
    built = final(bars)
    assert all(bar.is_whole for bar in built.values())
    wanted = {
        key: one
        for key, one in reference(MANY).items()
        if key[0] in SOME and key[0].shift(key[1], 1) > began
    }
    assert values(built) == wanted


def test_a_builder_seeded_before_its_first_trade_knows_the_running_week_and_month() -> None:
    began = T0 + 10 * M1
    earlier = [trade(T0 - day * US_PER_DAY, 50.0 + day, number=-day) for day in range(40, 0, -1)]
    days = [(at, v) for (i, at), v in sorted(reference(earlier).items()) if i is Interval.D1]
    before = [t for t in MANY if t.ts_event < began]
    minutes = [(at, v) for (i, at), v in sorted(reference(before).items()) if i is Interval.M1]
    builder = BarBuilder(began_us=began)
    assert builder.seed(candles(days), Interval.D1) == []
    assert builder.seed(candles(minutes), covered=Range(T0, began)) == []

    bars = builder.feed([t for t in MANY if t.ts_event >= began])
    bars += builder.advance(FOREVER)

    truth = reference([*earlier, *MANY])
    built = final(bars)
    assert {i for i, _ in built} == set(Interval)
    for key, bar in built.items():
        assert bar.is_whole
        assert bar.values == truth[key]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_gap_leaves_bars_incomplete_until_it_is_filled(when: str) -> None:
    gap = Range(T0 + 4 * M1 + 10_000_000, T0 + 6 * M1 + 10_000_000)
    lost = [t for t in MANY if gap.holds(t.ts_event)]
    builder = BarBuilder(SOME, began_us=T0)
    bars = builder.feed([t for t in MANY if t.ts_event < gap.start])
    if when == "before":
        bars += builder.mark_gap(*gap)
    bars += builder.feed([t for t in MANY if t.ts_event >= gap.end])
    if when == "after":
        bars += builder.mark_gap(*gap)
        assert builder.mark_gap(*gap) == []

    lacking = {(b.interval, b.timestamp) for b in final(bars).values() if b.is_incomplete}
    assert lacking == {
        *((Interval.M1, T0 + n * M1) for n in (4, 6)),
        *((Interval.M5, T0 + n * M1) for n in (0, 5)),
    }

    # when the gap is repaired, and nothing more happens in the hour
    bars += builder.fill(lost, *gap)
    bars += builder.advance(T0 + 60 * M1)
    built = final(bars)
    assert all(bar.is_whole for bar in built.values())
    assert values(built) == {k: v for k, v in reference(MANY).items() if k[0] in SOME}


def test_a_gap_in_which_nothing_happened_is_closed_without_a_trade() -> None:
    builder = BarBuilder([Interval.M1], began_us=T0)
    bars = builder.feed([trade(T0 + 1), trade(T0 + M1)])
    bars += builder.mark_gap(T0 + 5, T0 + 10)
    assert [(b.is_incomplete, b.is_revised) for b in bars] == [(False, False), (True, True)]
    (healed,) = builder.fill([], T0 + 5, T0 + 10)
    assert healed.is_whole
    assert healed.is_revised


def test_a_trade_later_than_anything_is_kept_is_reported_and_spoils_the_running_hour() -> None:
    builder = BarBuilder(SOME, began_us=T0, keep_us=2 * M1)
    bars = builder.feed(MANY)
    late = trade(T0 + 3 * M1 + 5, 500.0, number=10**6)
    assert builder.feed([late]) == []
    assert builder.outdated == [T0 + 3 * M1]

    # when the minute is made anew of what the store has, then it alone is true
    whole = sorted([*MANY, late], key=lambda t: t.ts_event)
    (minute,) = builder.rebuild(T0 + 3 * M1, trade_table(whole))
    assert minute.values == reference(whole)[Interval.M1, T0 + 3 * M1]
    assert minute.is_revised
    assert builder.outdated == []
    bars += builder.advance(T0 + 60 * M1)
    hour = final(bars)[Interval.H1, T0]
    assert hour.is_incomplete


def test_a_minute_made_anew_corrects_all_bars_around_it() -> None:
    # given a minute that was built of the wrong trades
    wrong = [*MANY, trade(T0 + 22 * M1 + 5, 900.0, number=10**6)]
    wrong.sort(key=lambda t: t.ts_event)
    builder = BarBuilder(SOME, began_us=T0)
    bars = builder.feed(wrong)

    # when it is made anew
    revised = builder.rebuild(T0 + 22 * M1, trade_table(MANY))

    # then bars that are finished are given again, and the running hour is right too
    assert [b.interval for b in revised] == [Interval.M1]
    bars += [*revised, *builder.advance(T0 + 60 * M1)]
    assert values(final(bars)) == {k: v for k, v in reference(MANY).items() if k[0] in SOME}
    with pytest.raises(ValueError, match="no finished minute"):
        builder.rebuild(T0 + 61 * M1, trade_table([]))


@settings(max_examples=40)
@given(trade_lists(span=M1 * 600))
def test_bars_agree_with_candles_made_of_tables(trades: list[Trade]) -> None:
    builder = BarBuilder([Interval.M5], began_us=T0)
    bars = [*builder.feed(trades), *builder.advance(FOREVER)]
    table = candles_from_trades(trade_table(trades), Interval.M5)
    for bar, row in zip(bars, table.to_pylist(), strict=True):
        for name in ("open", "high", "low", "close", "trade_count"):
            assert getattr(bar.values, name) == row[name]
        assert bar.values.volume == pytest.approx(row["volume"], rel=1e-12)
