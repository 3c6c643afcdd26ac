"""Finishing pages: sorted, unique, inside the window, closed."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.wire import Page, candle_page, funding_page, trade_page
from zvt_crypto.core.column import times_of
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import CANDLES, FUNDING, TRADES
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.core.validation import Reason
from zvt_crypto.ports.connector import Rejected

T0 = 1_704_067_200_000
MINUTE = 60_000
US = 1_000
LATER = 2_000_000_000_000_000


def candles(times_ms: list[int], closes: list[float] | None = None) -> Page:
    n = len(times_ms)
    return Page(
        {
            "timestamp": np.array(times_ms, np.float64),
            **{name: np.full(n, 2.0) for name in ("open", "high", "low", "volume")},
            "close": np.array(closes or [2.0] * n),
            "trade_count": np.full(n, 3.0),
        }
    )


def minutes(table: pa.Table) -> list[int]:
    return ((times_of(table) // US - T0) // MINUTE).tolist()


def test_a_page_becomes_the_schema_with_nulls_for_what_is_not_said() -> None:
    window = Range(T0 * US, (T0 + 2 * MINUTE) * US)
    done = candle_page(candles([T0, T0 + MINUTE]), Interval.M1, window, now_us=LATER)
    assert done.table.schema == CANDLES
    done.table.validate(full=True)
    assert done.asked == window
    assert done.table["trade_count"].to_pylist() == [3, 3]
    assert done.table["quote_volume"].null_count == 2


def test_shuffled_repeated_and_foreign_rows_are_harmless_and_the_last_one_wins() -> None:
    times = [T0 + 2 * MINUTE, T0, T0 + MINUTE, T0, T0 - MINUTE, T0 + 3 * MINUTE]
    page = candles(times, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    window = Range(T0 * US, (T0 + 3 * MINUTE) * US)
    done = candle_page(page, Interval.M1, window, now_us=LATER)
    assert minutes(done.table) == [0, 1, 2]
    assert done.table["close"].to_pylist() == [4.0, 3.0, 1.0]
    # One note says that rows came which nobody asked for.
    assert [bad.reason for bad in done.rejected] == [Reason.OUTSIDE_WINDOW]


def test_the_running_candle_is_left_out_and_not_claimed() -> None:
    window = Range(T0 * US, (T0 + 3 * MINUTE) * US)
    now_us = (T0 + 2 * MINUTE) * US + 59_999_999
    page = candles([T0, T0 + MINUTE, T0 + 2 * MINUTE])
    done = candle_page(page, Interval.M1, window, now_us=now_us)
    assert minutes(done.table) == [0, 1]
    assert done.asked == Range(window.start, (T0 + 2 * MINUTE) * US)
    # and closed from its last microsecond on
    done = candle_page(page, Interval.M1, window, now_us=now_us + 1)
    assert minutes(done.table) == [0, 1, 2]
    assert done.asked == window


def test_the_running_month_is_left_out() -> None:
    months = [to_us(f"2024-0{m}") // US for m in (1, 2, 3)]
    window = Range(to_us("2024-01"), to_us("2024-04"))
    done = candle_page(candles(months), Interval.MON1, window, now_us=to_us("2024-03-31"))
    assert done.table.num_rows == 2
    assert done.asked.end == to_us("2024-03")


def test_a_switch_of_units_inside_a_page_shifts_nothing() -> None:
    mixed = [T0, (T0 + MINUTE) * US, T0 + 2 * MINUTE, (T0 // 1000 + 180)]
    window = Range(T0 * US, (T0 + 4 * MINUTE) * US)
    done = candle_page(candles(mixed), Interval.M1, window, now_us=LATER)
    assert minutes(done.table) == [0, 1, 2, 3]


def test_rejected_rows_and_counts_go_along() -> None:
    page = candles([T0])
    page.rejected.append(Rejected(None, "bad", "[]"))
    page.precision_loss = 7
    window = Range(T0 * US, (T0 + MINUTE) * US)
    done = candle_page(page, Interval.M1, window, now_us=LATER, requests=2, body_bytes=9)
    assert (len(done.rejected), done.precision_loss) == (1, 7)
    assert (done.requests, done.body_bytes) == (2, 9)


def trades(times_ms: list[int], ids: list[int] | list[str]) -> Page:
    n = len(ids)
    return Page(
        {
            "timestamp": times_ms,
            "trade_id": ids,
            "price": np.arange(n, dtype=np.float64) + 1,
            "size": np.ones(n),
            "side": ["buy"] * n,
        }
    )


def test_trades_of_one_time_are_in_the_order_of_their_numbers() -> None:
    window = Range(T0 * US, (T0 + 1) * US)
    done = trade_page(trades([T0] * 3, [10, 9, 10]), window)
    assert done.table.schema == TRADES
    done.table.validate(full=True)
    assert done.table["trade_id"].to_pylist() == ["9", "10"]
    assert done.table["price"].to_pylist() == [2.0, 3.0]
    assert done.table["fills"].null_count == 2


def test_trades_with_textual_ids_are_unique_by_time_and_id() -> None:
    window = Range(T0 * US, (T0 + 5) * US)
    done = trade_page(trades([T0 + 1, T0, T0 + 1, T0 + 9], ["b", "b", "b", "z"]), window)
    assert done.table["trade_id"].to_pylist() == ["b", "b"]
    assert done.table["price"].to_pylist() == [2.0, 3.0]


def test_finishing_a_page_leaves_the_page_as_it_was() -> None:
    page = trades([T0], [5])
    trade_page(page, Range(0, LATER))
    assert page.columns["trade_id"] == [5]


def test_funding_keeps_absent_marks_as_null() -> None:
    page = Page(
        {
            "timestamp": [T0 * US],
            "funding_rate": np.array([0.0001]),
            "mark_price": np.array([np.nan]),
        }
    )
    done = funding_page(page, Range(T0 * US, T0 * US + 1))
    assert done.table.schema == FUNDING
    assert done.table["mark_price"].to_pylist() == [None]
    assert done.table["interval_hours"].to_pylist() == [None]


@given(st.lists(st.integers(-3, 12), max_size=30))
def test_any_order_gives_each_open_of_the_window_once(steps: list[int]) -> None:
    page = candles([T0 + step * MINUTE for step in steps], [float(i) for i in range(len(steps))])
    window = Range(T0 * US, (T0 + 10 * MINUTE) * US)
    done = candle_page(page, Interval.M1, window, now_us=LATER)
    wanted = {step: float(i) for i, step in enumerate(steps) if 0 <= step < 10}
    assert dict(zip(minutes(done.table), done.table["close"].to_pylist(), strict=True)) == wanted
    assert minutes(done.table) == sorted(wanted)
