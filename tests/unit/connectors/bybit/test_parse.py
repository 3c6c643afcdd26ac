"""Candles, trades, funding and the time."""

from typing import Any

import pytest
from bybit_world import INVERSE, LINEAR, NOW_US, SPOT, as_bytes, page, wrap
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.bybit.parse import (
    parse_candles,
    parse_first_open,
    parse_funding,
    parse_time,
    parse_trades,
)
from zvt_crypto.core.errors import CryptoError, MalformedPayload
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import CANDLES, FUNDING, TRADES
from zvt_crypto.ports.connector import Fetched

OPEN_US = NOW_US - 30_000_000  # of the running minute
SETTLE_US = 5_000_000


def row(open_us: int, volume: str = "15.234", turnover: str = "1312170.33") -> list[str]:
    return [str(open_us // 1_000), "86110.2", "86140.0", "86100.1", "86120.4", volume, turnover]


def minutes(*ago: int) -> list[int]:
    return [OPEN_US - n * US_PER_MINUTE for n in ago]


def candles(rows: list[Any], instrument: Instrument = LINEAR, **more: Any) -> Fetched:
    window = Range(OPEN_US - US_PER_DAY, OPEN_US + US_PER_DAY)
    body = as_bytes(page(rows, instrument, **more))
    return parse_candles(body, instrument, Interval.M1, window, now_us=NOW_US)


def opens(fetched: Fetched) -> list[int]:
    return fetched.table["timestamp"].cast("int64").to_pylist()


def test_candles_come_newest_first_and_leave_ascending():
    fetched = candles([row(t) for t in minutes(1, 2, 3)])
    assert opens(fetched) == minutes(3, 2, 1)
    assert fetched.table.schema.equals(CANDLES)


def test_the_running_bar_is_dropped_though_nothing_marks_it():
    fetched = candles([row(t) for t in minutes(0, 1, 2)])
    assert opens(fetched) == minutes(2, 1)
    assert fetched.asked.end == OPEN_US


def test_a_bar_is_closed_at_the_very_moment_its_interval_has_passed():
    rows = [row(t) for t in minutes(1, 2)]
    assert opens(candles(rows, at_us=OPEN_US)) == minutes(2, 1)
    assert opens(candles(rows, at_us=OPEN_US - 1_000)) == minutes(2)


def test_the_clock_of_the_reply_decides_not_ours():
    body = as_bytes(page([row(t) for t in minutes(1, 2)], at_us=OPEN_US - 1_000))
    window = Range(OPEN_US - US_PER_DAY, OPEN_US + US_PER_DAY)
    late = NOW_US + US_PER_HOUR
    assert opens(parse_candles(body, LINEAR, Interval.M1, window, now_us=late)) == minutes(2)


@pytest.mark.parametrize("instrument", [SPOT, LINEAR])
def test_volume_of_spot_and_linear_is_base_and_turnover_quote(instrument: Instrument):
    table = candles([row(minutes(1)[0])], instrument).table
    assert table["volume"].to_pylist() == [15.234]
    assert table["quote_volume"].to_pylist() == [1312170.33]


def test_inverse_candles_swap_the_meaning_of_volume_and_turnover():
    rows = [row(minutes(1)[0], volume="1312170", turnover="15.23701")]
    table = candles(rows, INVERSE).table
    assert table["volume"].to_pylist() == [15.23701]
    assert table["quote_volume"].to_pylist() == [1312170.0]


def test_what_bybit_does_not_say_is_null():
    table = candles([row(minutes(1)[0])]).table
    assert table["trade_count"].to_pylist() == [None]
    assert table["taker_buy_volume"].to_pylist() == [None]


def test_a_bar_without_trades_is_served_flat_and_kept():
    flat = [str(minutes(1)[0] // 1_000), *["86110.2"] * 4, "0", "0"]
    assert candles([flat]).table["volume"].to_pylist() == [0.0]


def test_a_bar_before_the_window_is_another_question():
    body = as_bytes(page([row(t) for t in minutes(1, 2)]))
    window = Range(minutes(1)[0], OPEN_US)
    fetched = parse_candles(body, LINEAR, Interval.M1, window, now_us=NOW_US)
    assert opens(fetched) == minutes(1)


def test_the_same_symbol_of_another_category_is_refused():
    body = as_bytes(page([row(minutes(1)[0])], SPOT))
    with pytest.raises(MalformedPayload, match="category"):
        parse_candles(body, LINEAR, Interval.M1, Range(0, NOW_US), now_us=NOW_US)


def test_another_symbol_is_refused():
    body = as_bytes(wrap({"category": "linear", "symbol": "ETHUSDT", "list": []}))
    with pytest.raises(MalformedPayload, match="ETHUSDT"):
        parse_candles(body, LINEAR, Interval.M1, Range(0, NOW_US), now_us=NOW_US)


def test_an_unreadable_row_costs_itself_only():
    broken = row(minutes(2)[0])
    broken[4] = "NaN"
    fetched = candles([row(minutes(1)[0]), broken, row(minutes(3)[0])])
    assert opens(fetched) == minutes(3, 1)
    assert [r.timestamp_us for r in fetched.rejected] == minutes(2)


def test_a_number_with_more_digits_than_float64_keeps_is_counted():
    assert candles([row(minutes(1)[0], turnover="1234567890123.45678")]).precision_loss == 1


def test_an_empty_page_is_an_answer():
    fetched = candles([])
    assert fetched.table.num_rows == 0
    assert fetched.table.schema.equals(CANDLES)


def test_the_first_open_is_the_earliest_of_the_page():
    assert (
        parse_first_open(as_bytes(page([row(t) for t in minutes(1, 5, 3)])), LINEAR)
        == minutes(5)[0]
    )
    assert parse_first_open(as_bytes(page([])), LINEAR) is None


# -- trades -------------------------------------------------------------------------------------


def trade(ms_ago: int, **more: Any) -> dict[str, Any]:
    return {
        "execId": f"id-{ms_ago}",
        "symbol": "BTCUSDT",
        "price": "50000",
        "size": "0.5",
        "side": "Sell",
        "time": str(NOW_US // 1_000 - ms_ago),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": "987654321",
    } | more


def trades(
    rows: list[Any], window: Range | None = None, instrument: Instrument = LINEAR
) -> Fetched | None:
    return parse_trades(
        as_bytes(page(rows, instrument)),
        instrument,
        window or Range(NOW_US - US_PER_HOUR, NOW_US + US_PER_HOUR),
        now_us=NOW_US,
        settle_us=SETTLE_US,
    )


def ago(ms: int) -> int:
    return NOW_US // 1_000 * 1_000 - ms * 1_000


def test_the_recent_page_answers_only_for_what_it_covers():
    fetched = trades([trade(7_000), trade(20_000), trade(60_000)])
    assert fetched is not None
    # The oldest millisecond may be cut in the middle: it is not vouched for.
    assert fetched.asked == Range(ago(60_000) + 1_000, ago(5_000))
    assert fetched.table["trade_id"].to_pylist() == ["id-20000", "id-7000"]
    assert fetched.table.schema.equals(TRADES)


def test_a_trade_newer_than_the_settled_clock_moves_the_end_to_its_millisecond():
    fetched = trades([trade(100), trade(100, execId="b"), trade(3_000), trade(60_000)])
    assert fetched is not None
    assert fetched.asked.end == ago(100)
    assert fetched.table["trade_id"].to_pylist() == ["id-3000"]


def test_a_window_inside_the_page_is_answered_whole():
    window = Range(ago(30_000), ago(10_000))
    fetched = trades([trade(7_000), trade(20_000), trade(60_000)], window)
    assert fetched is not None
    assert fetched.asked == window
    assert fetched.table["trade_id"].to_pylist() == ["id-20000"]


def test_a_window_before_the_page_is_not_answered():
    assert trades([trade(7_000), trade(60_000)], Range(ago(90_000), ago(70_000))) is None


def test_an_empty_page_of_trades_vouches_for_nothing():
    assert trades([]) is None


def test_the_side_of_a_trade_is_the_takers():
    fetched = trades([trade(7_000, side="Buy"), trade(8_000), trade(9_000)])
    assert fetched is not None
    assert fetched.table["side"].to_pylist() == ["sell", "buy"]


def test_sizes_of_inverse_are_dollars_and_become_base():
    rows = [trade(ms, symbol="BTCUSD", size="1000") for ms in (7_000, 8_000)]
    fetched = trades(rows, instrument=INVERSE)
    assert fetched is not None
    assert fetched.table["size"].to_pylist() == [0.02]


def test_ids_are_strings_whether_numbers_or_uuids():
    ids = ["2290000001234567890", "5b1f0c2e-8a51-5d0e-9a75-0d2c7a3e9f11"]
    rows = [trade(7_000 + n, execId=one) for n, one in enumerate([*ids, "oldest"])]
    fetched = trades(rows)
    assert fetched is not None
    assert sorted(fetched.table["trade_id"].to_pylist()) == sorted(ids)


@pytest.mark.parametrize("time", [1, "1"])
def test_times_may_be_strings_or_numbers(time: int | str):
    ms = NOW_US // 1_000 - 7_000
    rows = [trade(0, time=type(time)(ms)), trade(60_000)]
    fetched = trades(rows)
    assert fetched is not None
    assert opens(fetched) == [ms * 1_000]


def test_a_side_that_is_none_is_rejected_and_not_guessed():
    fetched = trades([trade(7_000), trade(8_000, side="Both"), trade(60_000)])
    assert fetched is not None
    assert fetched.table.num_rows == 1
    assert len(fetched.rejected) == 1


# -- funding ------------------------------------------------------------------------------------


def rate(time_us: int, value: str = "0.0001") -> dict[str, str]:
    return {
        "symbol": "BTCUSDT",
        "fundingRate": value,
        "fundingRateTimestamp": str(time_us // 1_000),
    }


def test_funding_comes_newest_first_and_says_nothing_of_its_interval():
    hours = [OPEN_US // US_PER_HOUR * US_PER_HOUR - n * 8 * US_PER_HOUR for n in (0, 1, 2)]
    window = Range(hours[-1], hours[0])
    body = as_bytes(page([rate(hours[0]), rate(hours[1], "-0.00015"), rate(hours[2])]))
    fetched = parse_funding(body, LINEAR, window)
    assert fetched.table.schema.equals(FUNDING)
    assert opens(fetched) == [hours[2], hours[1]]
    assert fetched.table["funding_rate"].to_pylist() == [0.0001, -0.00015]
    assert fetched.table["interval_hours"].to_pylist() == [None, None]
    assert fetched.asked == window


def test_the_time_has_nanoseconds_in_a_string():
    body = as_bytes(wrap({"timeSecond": "1789299611", "timeNano": "1789299611107028610"}))
    assert parse_time(body) == 1_789_299_611_107_028


# -- anything -----------------------------------------------------------------------------------

_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.from_regex(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
_WINDOW = Range(0, NOW_US + US_PER_DAY)


def parse_all(body: bytes, instrument: Instrument) -> None:
    for call in (
        lambda: parse_candles(body, instrument, Interval.M1, _WINDOW, now_us=NOW_US),
        lambda: parse_candles(body, instrument, Interval.MON1, _WINDOW, now_us=NOW_US),
        lambda: parse_trades(body, instrument, _WINDOW, now_us=NOW_US, settle_us=0),
        lambda: parse_funding(body, instrument, _WINDOW),
        lambda: parse_first_open(body, instrument),
        lambda: parse_time(body),
    ):
        try:
            found = call()
        except CryptoError:
            continue
        if isinstance(found, Fetched):
            times = opens(found)
            assert times == sorted(times)
            assert all(found.asked.holds(t) for t in times)


@given(
    st.lists(st.lists(_SCALAR, min_size=5, max_size=9), max_size=4),
    st.sampled_from([SPOT, LINEAR, INVERSE]),
)
def test_any_rows_parse_or_are_refused(rows: list[list[Any]], instrument: Instrument):
    parse_all(as_bytes(page(rows, instrument)), instrument)


@given(
    st.lists(
        st.fixed_dictionaries(dict.fromkeys(("execId", "price", "size", "side", "time"), _SCALAR))
        | st.fixed_dictionaries({"fundingRate": _SCALAR, "fundingRateTimestamp": _SCALAR})
        | st.builds(
            lambda name, value: trade(5_000) | {name: value},
            st.sampled_from(["execId", "price", "size", "side", "time"]),
            _SCALAR,
        ),
        max_size=4,
    ),
    st.sampled_from([SPOT, LINEAR, INVERSE]),
)
def test_any_objects_parse_or_are_refused(rows: list[dict[str, Any]], instrument: Instrument):
    parse_all(as_bytes(page(rows, instrument)), instrument)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes):
    parse_all(body, LINEAR)


@given(st.data())
def test_a_page_cut_anywhere_is_refused(data: st.DataObject):
    whole = as_bytes(page([row(t) for t in minutes(1, 2, 3)]))
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedPayload):
        parse_candles(whole[:at], LINEAR, Interval.M1, _WINDOW, now_us=NOW_US)
