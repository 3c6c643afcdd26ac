"""Rows that may be stored and rows that may not."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import CANDLES, FUNDING, TIMESTAMP, TRADES
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.core.validation import (
    FUTURE_TOLERANCE_US,
    RAW_LIMIT,
    Checked,
    Reason,
    Rejected,
    validate_candles,
    validate_funding,
    validate_trades,
)
from zvt_crypto.ports.connector import Rejected as RejectedOfPort

MINUTE = US_PER_MINUTE
GOOD: dict[str, Any] = {
    "timestamp": 0, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 10.0,
    "quote_volume": 20.0, "trade_count": 4, "taker_buy_volume": 5.0,
}  # fmt: skip
TRADE: dict[str, Any] = {
    "timestamp": 0, "trade_id": "1", "price": 2.0, "size": 1.0, "side": "buy", "fills": 1,
}  # fmt: skip
RATE: dict[str, Any] = {
    "timestamp": 0, "funding_rate": -0.0001, "interval_hours": 8.0, "mark_price": 100.0,
}  # fmt: skip
WINDOW = Range(0, 100 * MINUTE)


def table_of(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> pa.Table:
    arrays = [
        pa.array([row[field.name] for row in rows], pa.int64()).cast(TIMESTAMP)
        if field.type == TIMESTAMP
        else pa.array([row[field.name] for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def candles(*changes: dict[str, Any]) -> pa.Table:
    return table_of(CANDLES, [GOOD | change for change in changes])


def trades(*changes: dict[str, Any]) -> pa.Table:
    return table_of(TRADES, [TRADE | change for change in changes])


def times(checked: Checked) -> list[int]:
    return checked.table.column("timestamp").cast(pa.int64()).to_pylist()


def reasons(checked: Checked) -> list[tuple[int | None, str]]:
    return [(one.timestamp_us, one.reason) for one in checked.rejected]


def test_a_clean_table_comes_back_as_it_is() -> None:
    table = candles(*({"timestamp": n * MINUTE} for n in (0, 1, 2, 5, 99)))
    checked = validate_candles(table, Interval.M1, WINDOW, now_us=100 * MINUTE)
    assert checked.table is table
    assert checked.rejected == ()
    empty = CANDLES.empty_table()
    assert validate_candles(empty, Interval.M1, WINDOW).table is empty


@pytest.mark.parametrize(
    "missing", [{"quote_volume": None}, {"trade_count": None}, {"taker_buy_volume": None}]
)
def test_what_an_exchange_does_not_say_may_be_null(missing: dict[str, Any]) -> None:
    table = candles({}, missing | {"timestamp": MINUTE})
    assert validate_candles(table, Interval.M1, None).table is table
    table = candles(missing)
    assert validate_candles(table, Interval.M1, None).table is table


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"open": None}, Reason.NULL),
        ({"timestamp": 100 * MINUTE}, Reason.OUTSIDE_WINDOW),
        ({"timestamp": -MINUTE}, Reason.OUTSIDE_WINDOW),
        ({"timestamp": 90 * MINUTE}, Reason.FAR_FUTURE),
        ({"timestamp": 5 * MINUTE + 1}, Reason.OFF_GRID),
        ({"timestamp": 5 * MINUTE + MINUTE // 2}, Reason.OFF_GRID),
        ({"close": math.nan}, Reason.NOT_FINITE),
        ({"high": math.inf}, Reason.NOT_FINITE),
        ({"volume": math.inf}, Reason.NOT_FINITE),
        ({"quote_volume": math.nan}, Reason.NOT_FINITE),
        ({"quote_volume": math.inf}, Reason.NOT_FINITE),
        ({"taker_buy_volume": math.nan}, Reason.NOT_FINITE),
        ({"low": 0.0}, Reason.NOT_POSITIVE),
        ({"low": -1.0}, Reason.NOT_POSITIVE),
        ({"volume": -0.5}, Reason.NEGATIVE),
        ({"quote_volume": -0.5}, Reason.NEGATIVE),
        ({"trade_count": -1}, Reason.NEGATIVE),
        ({"taker_buy_volume": -1.0}, Reason.NEGATIVE),
        ({"low": 2.25}, Reason.OHLC),
        ({"low": 2.75, "open": 2.9}, Reason.OHLC),
        ({"high": 2.25}, Reason.OHLC),
        ({"open": 4.0}, Reason.OHLC),
        ({"taker_buy_volume": 10.5}, Reason.TAKER_VOLUME),
    ],
)
def test_a_wrong_candle_is_refused_with_its_reason(change: dict[str, Any], reason: Reason) -> None:
    # given one wrong row between two good ones
    wrong = {"timestamp": 5 * MINUTE} | change
    table = candles({"timestamp": MINUTE}, wrong, {"timestamp": 7 * MINUTE})

    # when the table is checked
    checked = validate_candles(table, Interval.M1, WINDOW, now_us=80 * MINUTE)

    # then the good ones stay and the wrong one is told with its reason and values
    assert times(checked) == [MINUTE, 7 * MINUTE]
    assert reasons(checked) == [(wrong["timestamp"], reason)]
    for name, value in change.items():
        assert f"{name}={value}" in checked.rejected[0].raw
    assert len(checked.rejected[0].raw) <= RAW_LIMIT


def test_rounding_apart_is_no_taker_excess() -> None:
    table = candles({"volume": 10.0, "taker_buy_volume": math.nextafter(10.0, 11.0)})
    assert validate_candles(table, Interval.M1, None).table is table


def test_times_are_judged_by_the_calendar_of_the_interval() -> None:
    # given the first of three months and a Monday
    months = candles(*({"timestamp": to_us(f"2024-0{n}-01")} for n in (1, 2, 4)))
    monday, tuesday = to_us("2024-01-08"), to_us("2024-01-09")
    assert validate_candles(months, Interval.MON1, None).table is months
    assert reasons(validate_candles(months, Interval.W1, None)) == [
        (to_us("2024-02-01"), Reason.OFF_GRID)
    ]
    week = validate_candles(
        candles({"timestamp": monday}, {"timestamp": tuesday}), Interval.W1, None
    )
    assert (times(week), reasons(week)) == ([monday], [(tuesday, Reason.OFF_GRID)])


def test_the_future_begins_where_clocks_cannot_differ() -> None:
    now = 50 * MINUTE
    edge = now + FUTURE_TOLERANCE_US
    table = candles({"timestamp": edge - MINUTE}, {"timestamp": edge})
    checked = validate_candles(table, Interval.M1, None, now_us=now)
    assert (times(checked), reasons(checked)) == ([edge - MINUTE], [(edge, Reason.FAR_FUTURE)])
    nanoseconds = candles({"timestamp": to_us("2024-01-01") * 1_000})
    assert reasons(validate_candles(nanoseconds, Interval.M1, None))[0][1] == Reason.FAR_FUTURE


def test_exact_repeats_are_merged_without_a_word() -> None:
    table = candles({}, {"timestamp": MINUTE}, {}, {"timestamp": MINUTE}, {"timestamp": MINUTE})
    checked = validate_candles(table, Interval.M1, WINDOW)
    assert (times(checked), checked.rejected) == ([0, MINUTE], ())


def test_of_two_versions_the_last_stays_and_the_other_is_told() -> None:
    # given a candle in three versions, the second sent twice, among others out of order
    table = candles(
        {"timestamp": 2 * MINUTE}, {"volume": 6.0}, {"volume": 7.0}, {"timestamp": MINUTE},
        {"volume": 7.0}, {"volume": 8.0}, {"timestamp": MINUTE},
    )  # fmt: skip
    checked = validate_candles(table, Interval.M1, WINDOW)
    assert times(checked) == [0, MINUTE, 2 * MINUTE]
    assert checked.table.column("volume").to_pylist() == [8.0, 10.0, 10.0]
    assert reasons(checked) == [(0, Reason.DUPLICATE)] * 3
    assert ["volume=6.0" in one.raw for one in checked.rejected] == [True, False, False]


def test_an_invalid_version_does_not_replace_a_valid_one() -> None:
    checked = validate_candles(candles({}, {"high": 0.5}), Interval.M1, WINDOW)
    assert checked.table.num_rows == 1
    assert checked.table.column("high").to_pylist() == [3.0]
    assert reasons(checked) == [(0, Reason.OHLC)]


def test_rows_newest_first_are_sorted() -> None:
    table = candles(*({"timestamp": n * MINUTE} for n in (3, 2, 1, 0)))
    checked = validate_candles(table, Interval.M1, WINDOW)
    assert times(checked) == [0, MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert checked.rejected == ()


def test_a_table_in_pieces_is_judged_as_one() -> None:
    table = pa.concat_tables([candles({}), candles({"timestamp": MINUTE, "low": 9.0}), candles({})])
    checked = validate_candles(table, Interval.M1, WINDOW)
    assert (times(checked), reasons(checked)) == ([0], [(MINUTE, Reason.OHLC)])


def test_clean_trades_come_back_as_they_are() -> None:
    # given trades of one time whose ids grow as numbers, not as texts
    table = trades({"trade_id": "9"}, {"trade_id": "10"}, {"timestamp": 5, "trade_id": "11"})
    assert validate_trades(table, WINDOW).table is table
    uuids = trades({"trade_id": "b-1"}, {"trade_id": "a-2"}, {"timestamp": 1, "trade_id": "0-3"})
    assert validate_trades(uuids, WINDOW).table is uuids


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": 0.0}, Reason.NOT_POSITIVE),
        ({"price": math.nan}, Reason.NOT_FINITE),
        ({"size": -1.0}, Reason.NEGATIVE),
        ({"size": math.inf}, Reason.NOT_FINITE),
        ({"fills": -2}, Reason.NEGATIVE),
        ({"side": "Buy"}, Reason.BAD_SIDE),
        ({"side": ""}, Reason.BAD_SIDE),
        ({"trade_id": ""}, Reason.NO_ID),
        ({"trade_id": "\0"}, Reason.BAD_ID),
        ({"trade_id": "5\0"}, Reason.BAD_ID),
        ({"trade_id": None}, Reason.NULL),
        ({"side": None}, Reason.NULL),
        ({"timestamp": 100 * MINUTE}, Reason.OUTSIDE_WINDOW),
        ({"timestamp": 99 * MINUTE}, Reason.FAR_FUTURE),
    ],
)
def test_a_wrong_trade_is_refused_with_its_reason(change: dict[str, Any], reason: Reason) -> None:
    wrong = {"trade_id": "2", "timestamp": 1} | change
    checked = validate_trades(
        trades({}, wrong, {"trade_id": "3", "timestamp": 2}), WINDOW, now_us=80 * MINUTE
    )
    assert checked.table.column("trade_id").to_pylist() == ["1", "3"]
    assert reasons(checked) == [(wrong["timestamp"], reason)]


@pytest.mark.parametrize("ids", [("7", "8"), ("x7", "x8"), ("07", "7")])
def test_trades_are_one_if_time_and_id_are(ids: tuple[str, str]) -> None:
    # given a trade sent three times, once with another size, and a neighbour of the same time
    first, second = ids
    table = trades(
        {"trade_id": first, "size": 4.0}, {"trade_id": second}, {"trade_id": first},
        {"trade_id": second}, {"trade_id": first, "timestamp": 9},
    )  # fmt: skip
    checked = validate_trades(table, WINDOW)

    # then the neighbour and the one of another time stay, the older version is told
    assert checked.table.num_rows == 3
    assert times(checked) == [0, 0, 9]
    assert reasons(checked) == [(0, Reason.DUPLICATE)]
    assert "size=4.0" in checked.rejected[0].raw


def test_funding_may_be_negative_and_say_little() -> None:
    table = table_of(FUNDING, [RATE, RATE | {"timestamp": 7, "interval_hours": None}])
    assert validate_funding(table, None).table.equals(table)
    bad = table_of(
        FUNDING,
        [
            RATE | {"timestamp": 1, "funding_rate": math.nan},
            RATE | {"timestamp": 2, "interval_hours": 0.0},
            RATE | {"timestamp": 3, "mark_price": -1.0},
            RATE,
        ],
    )
    checked = validate_funding(bad, WINDOW)
    assert times(checked) == [0]
    assert [reason for _, reason in reasons(checked)] == [
        Reason.NOT_FINITE, Reason.NOT_POSITIVE, Reason.NOT_POSITIVE
    ]  # fmt: skip


def test_a_row_without_a_time_is_told_without_one() -> None:
    checked = validate_candles(candles({}, {"timestamp": None}), Interval.M1, WINDOW)
    assert (times(checked), reasons(checked)) == ([0], [(None, Reason.NULL)])


def test_a_long_row_is_cut_and_the_port_shares_the_struct() -> None:
    checked = validate_trades(trades({"trade_id": "9" * 2_000, "price": -1.0}), WINDOW)
    assert len(checked.rejected[0].raw) == RAW_LIMIT
    assert RejectedOfPort is Rejected


def test_every_reason_is_documented() -> None:
    assert len(set(Reason)) == 16
    assert all(str(one) == one.name.lower() for one in Reason)
