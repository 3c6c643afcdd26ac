"""Traps of candles, trades, funding and readings."""

import contextlib
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from binance_world import as_bytes, instrument
from hypothesis import given
from hypothesis import strategies as st
from recorded import read_candle_file

from zvt_crypto.connectors.binance.parse import (
    finish_funding,
    parse_agg_trades,
    parse_candles,
    parse_first_open,
    parse_funding,
    parse_trades,
)
from zvt_crypto.connectors.binance.reading import (
    parse_book_tickers,
    parse_depth,
    parse_open_interest,
    parse_time,
)
from zvt_crypto.connectors.wire import trade_page
from zvt_crypto.core.candle import candles_from_trades
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import US_PER_HOUR, Interval
from zvt_crypto.core.ranges import Range

T0 = 1_767_225_600_000
ALWAYS = Range(0, 4_000_000_000_000_000)
LATER = 4_000_000_000_000_000


def kline(open_ms: int, **changes: Any) -> list[Any]:
    row = {
        "t": open_ms, "o": "1.0", "h": "2.0", "l": "0.5", "c": "1.5", "v": "10.00000000",
        "T": open_ms + 59_999, "q": "15.00000000", "n": 3, "V": "4.0", "Q": "6.0", "B": "0",
    } | changes  # fmt: skip
    return list(row.values())


def test_the_running_candle_at_the_end_of_a_page_is_never_kept() -> None:
    body = as_bytes([kline(T0), kline(T0 + 60_000)])
    now_us = (T0 + 119_999) * 1000
    done = parse_candles(body, Interval.M1, ALWAYS, now_us=now_us)
    assert (times_of(done.table) // 1000).tolist() == [T0]


def test_flat_candles_without_volume_are_data() -> None:
    flat = kline(T0, o="1", h="1", l="1", c="1", v="0.00000000", q="0.00000000", n=0, V="0")
    done = parse_candles(as_bytes([flat]), Interval.M1, ALWAYS, now_us=LATER)
    assert done.table["trade_count"].to_pylist() == [0]
    assert done.rejected == ()


def test_rows_with_more_columns_than_today_are_read() -> None:
    body = as_bytes([[*kline(T0), "new"], [*kline(T0 + 60_000), "new"]])
    assert parse_candles(body, Interval.M1, ALWAYS, now_us=LATER).table.num_rows == 2


def test_coin_margined_candles_count_contracts_where_others_have_volume() -> None:
    body = as_bytes([kline(T0, v="24567358", q="262451.70462988", V="12313153", Q="131599.18")])
    done = parse_candles(body, Interval.M1, ALWAYS, now_us=LATER, market=Market.INVERSE)
    (row,) = done.table.to_pylist()
    assert (row["volume"], row["taker_buy_volume"]) == (262451.70462988, 131599.18)
    assert row["quote_volume"] is None


def test_tiny_prices_and_huge_quantities_are_exact() -> None:
    body = as_bytes([kline(T0, l="0.00000123", v="9123456789012.00000000")])
    (row,) = parse_candles(body, Interval.M1, ALWAYS, now_us=LATER).table.to_pylist()
    assert (row["low"], row["volume"]) == (0.00000123, 9123456789012.0)


def test_quote_volumes_that_float64_cannot_hold_are_counted() -> None:
    body = as_bytes([kline(T0, q="928047313.48896665"), kline(T0 + 60_000, q="281893.08800082")])
    assert parse_candles(body, Interval.M1, ALWAYS, now_us=LATER).precision_loss == 1


def test_the_first_open_is_that_of_the_candles_and_none_without_any() -> None:
    assert parse_first_open(as_bytes([kline(1_502_942_400_000)])) == 1_502_942_400_000_000
    assert parse_first_open(b"[]") is None


def agg(ident: int, time_ms: int, **changes: Any) -> dict[str, Any]:
    return {
        "a": ident, "p": "1.5", "q": "2.0", "f": 10, "l": 12, "T": time_ms, "m": True, "M": True,
    } | changes  # fmt: skip


def test_a_buyer_who_is_the_maker_means_that_the_taker_sold() -> None:
    page = parse_agg_trades(as_bytes([agg(1, T0, m=True), agg(2, T0, m=False)]))
    assert page.columns["side"] == ["sell", "buy"]
    page = parse_trades(
        as_bytes(
            [
                {"id": i, "price": "1", "qty": "2", "time": T0, "isBuyerMaker": i == 1}
                for i in (1, 2)
            ]
        )
    )
    assert page.columns["side"] == ["sell", "buy"]


def test_an_aggregate_trade_says_how_many_fills_it_folds() -> None:
    page = parse_agg_trades(as_bytes([agg(1, T0, f=10, l=10), agg(2, T0, f=11, l=20)]))
    assert page.columns["fills"] == [1, 10]


def test_recorded_aggregate_trades_equal_their_summary_and_make_the_recorded_candles(
    shared_data: Path,
) -> None:
    # given 12,477 rows of GET /api/v3/aggTrades
    path = shared_data / "binance/archive/xrpeth_aggtrades_20191011.jsonl.gz"
    with gzip.open(path, "rt") as file:
        lines = file.read().split("\n")[:-1]
    summary = "binance__archive__xrpeth_aggtrades_20191011.json"
    expected = json.loads((shared_data / "expected" / summary).read_text())["agg_trades"]["XRPETH"]
    # when they are parsed as pages of a thousand, in reverse, two overlapping
    pages = [
        trade_page(parse_agg_trades(f"[{','.join(lines[at : at + 1_010])}]".encode()), ALWAYS)
        for at in range(0, len(lines), 1_000)
    ]
    page = parse_agg_trades(f"[{','.join(reversed(lines))}]".encode())
    done = trade_page(page, ALWAYS)
    # then nothing is lost, doubled or changed
    assert sum(one.table.num_rows for one in pages) >= expected["count"]
    table = done.table
    assert table.num_rows == expected["count"]
    ids = table["trade_id"].to_pylist()
    assert (ids[0], ids[-1]) == (expected["first_id"], expected["last_id"])
    times = times_of(table)
    assert int(times[0]) == expected["first_exchange_time"] * 1000
    assert int(times[-1]) == expected["last_exchange_time"] * 1000
    prices = [Decimal(repr(p)) for p in table["price"].to_pylist()]
    sizes = [Decimal(repr(s)) for s in table["size"].to_pylist()]
    assert sum(sizes) == Decimal(expected["sum_quantity"])
    notional = sum((p * s for p, s in zip(prices, sizes, strict=True)), Decimal(0))
    assert notional == Decimal(expected["sum_price_times_quantity"])
    assert min(prices) == Decimal(expected["min_price"])
    assert max(prices) == Decimal(expected["max_price"])
    sides = table["side"].to_pylist()
    assert (sides.count("buy"), sides.count("sell")) == (
        expected["taker_buy"],
        expected["taker_sell"],
    )
    assert done.precision_loss == 0
    # and the one-minute candles made of them are those recorded
    file = read_candle_file(shared_data, "binance_XRPETH_1m_20191011")
    built = candles_from_trades(table, Interval.M1, file.asked)
    assert times_of(built).tolist() == list(file.times_us)
    for name in ("open", "high", "low", "close"):
        assert built[name].to_pylist() == file.columns[name].tolist()
    assert built["volume"].to_pylist() == pytest.approx(file.columns["volume"].tolist())


def settled(time_ms: int, **changes: Any) -> dict[str, Any]:
    row = {"symbol": "BTCUSDT", "fundingTime": time_ms, "fundingRate": "0.0001"}
    return row | {"markPrice": "87650.10"} | changes


def finish(rows: list[dict[str, Any]], window: Range = ALWAYS) -> Any:
    return finish_funding([parse_funding(as_bytes(rows))], window, requests=1, body_bytes=0)


def test_funding_times_lose_their_jitter() -> None:
    done = finish([settled(T0 + 3), settled(T0 + 8 * 3_600_000 - 2)])
    assert times_of(done.table).tolist() == [T0 * 1000, T0 * 1000 + 8 * US_PER_HOUR]


def test_a_mark_price_that_is_absent_or_empty_is_null() -> None:
    row = settled(T0)
    del row["markPrice"]
    done = finish([row, settled(T0 + 3_600_000, markPrice="")])
    assert done.table["mark_price"].to_pylist() == [None, None]
    assert done.rejected == ()


def test_funding_intervals_follow_the_times_and_are_null_where_not_certain() -> None:
    hour = 3_600_000
    at = [0, 8, 12, 16, 17, 40, 43]
    done = finish([settled(T0 + h * hour + i) for i, h in enumerate(at)])
    assert done.table["interval_hours"].to_pylist() == [None, 8, 4, 4, 1, None, None]


def test_the_row_before_the_window_gives_the_first_interval_and_is_left_out() -> None:
    window = Range((T0 + 8 * 3_600_000) * 1000, ALWAYS.end)
    done = finish([settled(T0), settled(T0 + 8 * 3_600_000)], window)
    assert done.table["interval_hours"].to_pylist() == [8]


def test_spot_quotes_have_no_time_and_are_stamped_on_receipt() -> None:
    row = {"symbol": "BTCUSDT", "bidPrice": "1", "bidQty": "2", "askPrice": "3", "askQty": "4"}
    (quote,) = parse_book_tickers(as_bytes(row), [instrument()], ts_recv=99)
    assert (quote.ts_event, quote.ts_recv) == (99, 99)
    (quote,) = parse_book_tickers(as_bytes([row | {"time": T0}]), [instrument()], ts_recv=99)
    assert quote.ts_event == T0 * 1000


def test_an_empty_side_of_the_book_is_none_not_zero() -> None:
    row = {"symbol": "BTCUSDT", "bidPrice": "0.0", "bidQty": "0.0", "askPrice": "3", "askQty": "4"}
    (quote,) = parse_book_tickers(as_bytes(row), [instrument()], ts_recv=0)
    assert (quote.bid_price, quote.bid_size, quote.ask_price) == (None, None, 3.0)


PARSERS: list[Callable[[bytes], Any]] = [
    lambda b: parse_candles(b, Interval.M1, ALWAYS, now_us=LATER),
    parse_first_open,
    lambda b: trade_page(parse_agg_trades(b), ALWAYS),
    lambda b: trade_page(parse_trades(b), ALWAYS),
    lambda b: finish_funding([parse_funding(b)], ALWAYS, requests=1, body_bytes=0),
    lambda b: parse_depth(b, instrument(), ts_recv=0),
    lambda b: parse_book_tickers(b, [instrument()], ts_recv=0),
    lambda b: parse_open_interest(b, instrument(Market.LINEAR), ts_recv=0),
    parse_time,
]
GOOD: list[Any] = [
    [kline(T0), kline(T0 + 60_000)],
    [agg(1, T0), agg(2, T0 + 1, p="0.1")],
    [{"id": 1, "price": "1", "qty": "2", "time": T0, "isBuyerMaker": True}],
    [settled(T0), settled(T0 + 28_800_000)],
    {"lastUpdateId": 7, "E": T0, "T": T0, "bids": [["1.0", "2.0"]], "asks": [["3.0", "4.0"]]},
    {"symbol": "BTCUSDT", "bidPrice": "1", "bidQty": "2", "askPrice": "3", "askQty": "4"},
    {"openInterest": "10659.509", "symbol": "BTCUSDT", "time": T0},
    {"serverTime": T0},
]

KEYS = ["a", "p", "q", "f", "l", "T", "m", "id", "price", "qty", "time"]
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(["1.5", "", "NaN", "-1", "1e400", "0"]),
    ),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.sampled_from(KEYS), x, max_size=7),
    max_leaves=24,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(value=json_values)
def test_any_json_is_read_or_malformed(parse: Callable[[bytes], Any], value: Any) -> None:
    with contextlib.suppress(MalformedPayload):
        parse(json.dumps(value).encode())


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.data())
def test_a_damaged_reply_is_read_or_malformed(
    parse: Callable[[bytes], Any], data: st.DataObject
) -> None:
    body = bytearray(as_bytes(data.draw(st.sampled_from(GOOD))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(MalformedPayload):
        parse(bytes(body))


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[[1,", b'{"code":-1121,"msg":"x"}', b"[" * 4_000]
)
def test_what_is_none_of_it_is_malformed(parse: Callable[[bytes], Any], body: bytes) -> None:
    with pytest.raises(MalformedPayload):
        parse(body)
