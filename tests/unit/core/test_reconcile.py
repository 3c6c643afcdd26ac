"""Bars beside the candles of the exchange."""

import csv
import gzip
import json
from pathlib import Path

import msgspec
import pytest

from zvt_crypto.core.bar import Bar, BarBuilder, Values
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.reconcile import Agreement, Tolerance, differing, reconcile, values_of
from zvt_crypto.core.record import Candle, Side, Trade
from zvt_crypto.core.series import candle_series

SERIES = candle_series("coinbase", "BTC-USD", Interval.M1)
T0 = 1_704_067_200_000_000
VALUES = Values(100.0, 101.5, 99.0, 100.5, 12.25, 1_230.5, 42, 7.5)
BAR = Bar(Interval.M1, T0, VALUES)


def changed(**fields: float | None) -> Values:
    return msgspec.structs.replace(VALUES, **fields)


def test_equal_values_match() -> None:
    found = reconcile(SERIES, T0, BAR, VALUES, source=Source.REST)
    assert (found.verdict, found.differs, found.source) == (Agreement.MATCH, (), Source.REST)
    assert found.built == found.venue == VALUES


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Values)])
def test_every_field_is_compared(name: str) -> None:
    venue = changed(**{name: getattr(VALUES, name) + 1})
    found = reconcile(SERIES, T0, BAR, venue)
    assert (found.verdict, found.differs) == (Agreement.DIFFERS, (name,))


def test_what_a_side_does_not_give_is_not_compared() -> None:
    nothing = {"quote_volume": None, "trade_count": None, "taker_buy_volume": None}
    assert reconcile(SERIES, T0, BAR, changed(**nothing)).verdict is Agreement.MATCH
    bar = msgspec.structs.replace(BAR, values=changed(**nothing))
    assert reconcile(SERIES, T0, bar, VALUES).verdict is Agreement.MATCH


def test_prices_are_compared_exactly_and_sums_to_the_last_place_written() -> None:
    assert differing(VALUES, changed(close=100.5 + 2e-14)) == ("close",)
    assert differing(VALUES, changed(volume=12.25 + 4e-9, quote_volume=1_230.5 + 1e-8)) == ()
    assert differing(VALUES, changed(volume=12.25 + 2e-8, quote_volume=1_230.5 + 2e-6)) == (
        "volume", "quote_volume"
    )  # fmt: skip
    # a large sum may differ by a part of itself, and an exchange that rounds by as much as it does
    large = changed(volume=5e12)
    assert differing(large, changed(volume=5e12 + 4_000)) == ()
    assert differing(VALUES, changed(volume=12.2), Tolerance(volume=0.06)) == ()


def test_bars_that_lack_trades_are_partial_whatever_the_exchange_says() -> None:
    for flag in ("is_partial", "is_incomplete"):
        bar = msgspec.structs.replace(BAR, **{flag: True})
        found = reconcile(SERIES, T0, bar, changed(volume=13.0))
        assert (found.verdict, found.differs) == (Agreement.PARTIAL, ("volume",))
        assert reconcile(SERIES, T0, bar, None).verdict is Agreement.PARTIAL


def test_a_side_that_is_absent_has_a_verdict_of_its_own() -> None:
    assert reconcile(SERIES, T0, None, VALUES).verdict is Agreement.UNBUILT
    assert reconcile(SERIES, T0, BAR, None).verdict is Agreement.UNCONFIRMED
    with pytest.raises(ValueError, match="nothing to compare"):
        reconcile(SERIES, T0, None, None)
    with pytest.raises(ValueError, match="is not"):
        reconcile(SERIES, T0 + 60_000_000, BAR, VALUES)


def test_the_candle_of_a_stream_says_the_same_values() -> None:
    fields = msgspec.structs.asdict(VALUES)
    candle = Candle("binance", "X", Interval.M1, T0, T0, **fields, is_closed=True)
    assert values_of(candle) == VALUES


def test_recorded_trades_make_the_recorded_candles(shared_data: Path) -> None:
    # given a day of aggregate trades, and what the exchange reported of its minutes
    path = shared_data / "binance/archive/xrpeth_aggtrades_20191011.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    trades = [
        Trade(
            "binance", "XRP-ETH", row["T"] * 1_000, 0, row["a"], float(row["p"]), float(row["q"]),
            Side.SELL if row["m"] else Side.BUY, row["l"] - row["f"] + 1,
        )
        for row in rows
    ]  # fmt: skip
    served: dict[tuple[Interval, int], Values] = {}
    for interval in (Interval.M1, Interval.M5):
        name = f"ohlcv/binance_XRPETH_{interval}_20191011.csv.gz"
        with gzip.open(shared_data / name, "rt") as lines:
            for row in csv.DictReader(lines):
                served[interval, int(row["open_time_ms"]) * 1_000] = Values(
                    float(row["open"]),
                    float(row["high"]),
                    float(row["low"]),
                    float(row["close"]),
                    float(row["volume"]),
                )

    # when they are built
    builder = BarBuilder((Interval.M1, Interval.M5), began_us=1_570_752_000_000_000)
    bars = {(b.interval, b.timestamp): b for b in builder.feed(trades)}
    last = trades[-1].ts_event
    bars |= {(b.interval, b.timestamp): b for b in builder.advance(last + 300_000_000)}

    # then each minute and each five minutes match, and there is a bar for every candle
    assert bars.keys() == served.keys()
    for (interval, at), venue in served.items():
        series = candle_series("binance", "XRP-ETH", interval)
        found = reconcile(series, at, bars[interval, at], venue, source=Source.REST)
        assert found.verdict is Agreement.MATCH, (found.differs, at)
    assert [interval for interval, _ in bars].count(Interval.M1) == 2_469
