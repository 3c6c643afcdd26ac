"""The market is one and the same from wherever one looks at it."""

import numpy as np
import pytest

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.instrument import Instrument, Kind, make_instrument
from zvt_crypto.simulator.market import Market, Trades

DAY = to_us("2024-03-01") // US_PER_DAY
NOON = DAY * US_PER_DAY + 12 * US_PER_HOUR + 34 * US_PER_MINUTE + 5_600_000


def instrument(base: str = "BTC", kind: Kind = Kind.SPOT, trades: int = 1_000) -> Instrument:
    inverse = kind is Kind.INVERSE
    return make_instrument(
        "binance", base, "USD" if inverse else "USDT", kind, base, trades_per_day=trades,
        earliest="2017-08-17T04:00:00Z", contract="100" if inverse else "1",
        size_step="0.1" if inverse else "",
    )  # fmt: skip


def brute_candle(trades: Trades, start_us: int, end_us: int) -> tuple[int, ...] | None:
    """Return open, high, low, close, base, quote, count, taker-bought base, in plain Python."""
    rows = [
        (int(p), int(b), int(q), bool(t))
        for p, b, q, t, at in zip(
            trades.price, trades.base, trades.quote, trades.buy, trades.time_us, strict=True
        )
        if start_us <= at < end_us
    ]
    if not rows:
        return None
    prices = [row[0] for row in rows]
    bought = sum(row[1] for row in rows if row[3])
    return (
        prices[0], max(prices), min(prices), prices[-1],
        sum(row[1] for row in rows), sum(row[2] for row in rows), len(rows), bought,
    )  # fmt: skip


def candle_at(market: Market, own: Instrument, bar: Bar, start_us: int) -> tuple[int, ...]:
    rows = market.candles(own, bar, start_us, bar.next(start_us))
    assert rows.open_us.tolist() == [start_us]
    names = ("open", "high", "low", "close", "base", "quote", "count", "buy_base")
    return tuple(int(getattr(rows, name)[0]) for name in names)


@pytest.mark.parametrize("kind", list(Kind))
def test_candles_are_exactly_their_trades(kind: Kind):
    market, own = Market(1), instrument(kind=kind)
    trades = market.trades(own, DAY)

    for minute in range(0, 1_440, 97):
        start = DAY * US_PER_DAY + minute * US_PER_MINUTE
        expected = brute_candle(trades, start, start + US_PER_MINUTE)
        if expected is not None:
            assert candle_at(market, own, bars.MINUTE, start) == expected
    for width in (15, 60, 240):
        start = bars.MINUTES[width].floor(NOON)
        expected = brute_candle(trades, start, start + width * US_PER_MINUTE)
        assert candle_at(market, own, bars.MINUTES[width], start) == expected
    assert candle_at(market, own, bars.DAY, DAY * US_PER_DAY) == brute_candle(
        trades, DAY * US_PER_DAY, (DAY + 1) * US_PER_DAY
    )


@pytest.mark.parametrize("bar", [bars.WEEK, bars.MONTH, bars.DAY_UTC8], ids=["1w", "1M", "1D+8"])
def test_wide_candles_are_exactly_their_minutes(bar: Bar):
    market, own = Market(1), instrument()
    start = bar.floor(NOON)
    minutes = market.candles(own, bars.MINUTE, start, bar.next(start))

    wide = market.candles(own, bar, start, bar.next(start))

    minutes = minutes.take(minutes.count > 0)
    assert wide.open[0] == minutes.open[0]
    assert wide.close[0] == minutes.close[-1]
    assert wide.high[0] == minutes.high.max()
    assert wide.low[0] == minutes.low.min()
    for name in ("base", "quote", "count", "buy_base", "buy_quote"):
        assert getattr(wide, name)[0] == getattr(minutes, name).sum()


def test_any_day_is_the_same_whoever_asks_and_in_whatever_order():
    own, forward, backward = instrument(), Market(3), Market(3)
    days = range(DAY, DAY + 5)
    first = [forward.trades(own, day) for day in days]
    second = [backward.trades(own, day) for day in reversed(days)][::-1]

    for a, b in zip(first, second, strict=True):
        assert a.first_id == b.first_id
        assert np.array_equal(a.price, b.price)
        assert np.array_equal(a.time_us, b.time_us)
    assert not np.array_equal(first[0].price, Market(4).trades(own, DAY).price)


def test_ids_are_consecutive_and_times_ascend_over_days():
    market, own = Market(1), instrument()
    listing = market.first_day(own)
    days = [market.trades(own, day) for day in range(listing, listing + 3)]

    ids = np.concatenate([day.id for day in days])
    times = np.concatenate([day.time_us for day in days])

    assert ids.tolist() == list(range(1, len(ids) + 1))
    assert (np.diff(times) >= 0).all()
    assert times[0] >= own.listed_us
    assert len(market.trades(own, listing - 1)) == 0


def test_prices_and_sizes_are_multiples_of_their_steps():
    market = Market(1)
    own = make_instrument(
        "x", "BTC", "USD", Kind.LINEAR, "X", trades_per_day=500, earliest="2020-01-01",
        price_step="5", size_step="1", contract="0.01",
    )  # fmt: skip
    trades = market.trades(own, DAY)

    assert (trades.price % 5 == 0).all()
    assert (trades.size > 0).all()
    assert np.array_equal(trades.base, trades.size)  # in units of 0.01
    assert own.base_decimals == 2


def test_the_running_candle_holds_the_trades_until_now():
    market, own = Market(1), instrument()
    trades = market.trades(own, DAY)
    for bar in (bars.MINUTE, bars.MINUTES[60], bars.DAY):
        rows = market.running(own, bar, NOON)
        expected = brute_candle(trades, bar.floor(NOON), NOON + 1)
        if expected is not None:
            assert (int(rows.base[0]), int(rows.count[0])) == (expected[4], expected[6])
            assert int(rows.close[0]) == expected[3]
    month = market.running(own, bars.MONTH, NOON)
    assert month.open_us.tolist() == [bars.MONTH.floor(NOON)]


def test_minutes_without_trades_are_flat_at_the_last_price():
    market, own = Market(1), instrument("LSK")
    minutes = market.minutes(own, DAY)

    quiet = minutes.count == 0
    assert 0.5 < quiet.mean() < 1.0
    assert len(minutes) == 1_440
    assert np.array_equal(minutes.open[quiet], minutes.close[quiet])
    places = np.flatnonzero(quiet[1:]) + 1
    assert np.array_equal(minutes.open[places], minutes.close[places - 1])
    assert minutes.base[quiet].sum() == 0


def test_an_outage_has_no_trades_and_no_candles_but_ids_go_on():
    start = DAY * US_PER_DAY + 3 * US_PER_HOUR
    end = start + 2 * US_PER_HOUR
    market, own = Market(1), instrument()
    market.add_outage("binance", start, end)

    trades = market.trades(own, DAY)
    inside = (trades.time_us >= start) & (trades.time_us < end)
    hours = market.candles(own, bars.MINUTES[60], DAY * US_PER_DAY, (DAY + 1) * US_PER_DAY)

    assert not inside.any()
    assert len(trades) == own.trades_per_day
    assert len(market.minutes(own, DAY)) == 1_440 - 120
    assert len(hours) == 22
    assert (np.diff(trades.time_us) >= 0).all()


def test_an_outage_changes_days_already_produced_and_leaves_the_others():
    # given a market whose days were all seen
    seen, own, days = Market(1), instrument("LSK", trades=50), range(DAY - 2, DAY + 5)
    before = {day: (seen.trades(own, day), seen.day_candle(own, day)) for day in days}

    # when an outage over midnight is declared
    start = DAY * US_PER_DAY + 20 * US_PER_HOUR
    end = start + 8 * US_PER_HOUR
    seen.add_outage("binance", start, end)
    seen.add_outage("okx", *((DAY - 2) * US_PER_DAY, (DAY - 1) * US_PER_DAY))

    # then all is as in a market that had it from the start
    fresh = Market(1, {"binance": [(start, end)]})
    for day in days:
        assert np.array_equal(seen.trades(own, day).time_us, fresh.trades(own, day).time_us)
        for name in ("open_us", "open", "high", "low", "close", "count"):
            mine, wanted = (getattr(one.minutes(own, day), name) for one in (seen, fresh))
            assert np.array_equal(mine, wanted), (day - DAY, name)
            mine, wanted = (getattr(one.day_candle(own, day), name) for one in (seen, fresh))
            assert np.array_equal(mine, wanted), (day - DAY, name)
    # and what it does not touch was not made anew
    kept = [day - DAY for day in days if seen.day_candle(own, day) is before[day][1]]
    assert kept == [-2, -1, 3, 4]


def test_funding_keeps_its_interval():
    market, own = Market(1), instrument("SOL", Kind.LINEAR)
    now = to_us("2024-03-01T09:00:00Z")
    count = market.funding_count(own, now)
    rows = market.funding(own, 0, count)

    assert set(np.diff(rows.time_us)) == {4 * US_PER_HOUR}
    assert rows.time_us[0] > own.listed_us
    assert rows.time_us[-1] <= now < rows.time_us[-1] + 4 * US_PER_HOUR
