"""Traps of the bulk files: headers, units, booleans, order, repeats, precision."""

import contextlib
import gzip
import random
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.binance import bulk
from zvt_crypto.connectors.binance.bulk import (
    parse_agg_trade_block,
    parse_candle_block,
    parse_funding_block,
    parse_trade_block,
)
from zvt_crypto.connectors.binance.part import Disorder, PartCutter
from zvt_crypto.connectors.wire import Page, candle_page, trade_page
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.connector import Fetched

T0 = 1_735_689_540_000  # the last minute of 2024
ALWAYS = Range(0, 4_000_000_000_000_000)
LATER = 4_000_000_000_000_000
KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)


def kline(open_time: int, quote_volume: str = "15.5") -> str:
    return f"{open_time},1.0,2.0,0.5,1.5,10.25,{open_time + 59_999},{quote_volume},3,4.0,6.0,0"


def agg(ident: int, time: int, maker: str = "True", tail: str = ",True") -> str:
    return f"{ident},1.5,2.25,{ident * 10},{ident * 10 + 2},{time},{maker}{tail}"


def lines(*rows: str) -> bytes:
    return ("\n".join(rows) + "\n").encode()


def candles(data: bytes) -> Fetched:
    return candle_page(parse_candle_block(data), Interval.M1, ALWAYS, now_us=LATER)


def test_the_recorded_day_of_klines_is_read_exactly(shared_data: Path) -> None:
    path = shared_data / "binance/archive/ADABTC-1m-2021-11-27.csv.gz"
    data = gzip.decompress(path.read_bytes())
    rows = [line.split(",") for line in data.decode().splitlines()]
    done = candles(data)
    assert done.table.num_rows == len(rows) == 10
    assert (times_of(done.table) // 1000).tolist() == [int(row[0]) for row in rows]
    places = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7}
    for name, place in (places | {"trade_count": 8, "taker_buy_volume": 9}).items():
        assert done.table[name].to_pylist() == [float(row[place]) for row in rows]
    assert (done.rejected, done.precision_loss) == ((), 0)


def test_a_header_is_seen_by_its_first_field_and_its_absence_too() -> None:
    rows = (kline(T0), kline(T0 + 60_000))
    assert candles(lines(KLINE_HEADER, *rows)).table.equals(candles(lines(*rows)).table)
    assert candles(lines(KLINE_HEADER)).table.num_rows == 0
    assert candles(b"").table.num_rows == 0


def test_microseconds_from_2025_on_go_on_where_milliseconds_ended() -> None:
    done = candles(lines(kline(T0), kline((T0 + 60_000) * 1000)))
    assert times_of(done.table).tolist() == [T0 * 1000, (T0 + 60_000) * 1000]


def test_unsorted_and_repeated_rows_come_out_sorted_and_once() -> None:
    done = candles(lines(kline(T0 + 60_000), kline(T0, "1"), kline(T0, "2")))
    assert times_of(done.table).tolist() == [T0 * 1000, (T0 + 60_000) * 1000]
    assert done.table["quote_volume"].to_pylist() == [2.0, 15.5]


@pytest.mark.parametrize(("maker", "side"), [("True", "sell"), ("true", "sell"), ("False", "buy")])
@pytest.mark.parametrize("tail", [",True", ",true", ""])
def test_booleans_of_either_spelling_and_with_or_without_best_match(
    maker: str, side: str, tail: str
) -> None:
    page = parse_agg_trade_block(lines(agg(1, T0, maker, tail), agg(2, T0, "false", tail)))
    assert page.columns["side"].to_pylist() == [side, "buy"]
    assert page.columns["fills"].tolist() == [3, 3]


def test_files_of_single_trades_are_read_too() -> None:
    page = parse_trade_block(lines("7,1.5,2.0,3.0,1735689540000,False,True"))
    done = trade_page(page, ALWAYS)
    (row,) = done.table.to_pylist()
    assert (row["trade_id"], row["price"], row["size"], row["side"]) == ("7", 1.5, 2.0, "buy")


def test_funding_files_say_their_interval_and_lose_their_jitter() -> None:
    data = lines(
        "calc_time,funding_interval_hours,last_funding_rate",
        f"{T0 + 60_000 + 4},8,0.00010000",
        f"{T0 + 60_000 + 4 * 3_600_000 - 3},4,-0.00002",
    )
    page = parse_funding_block(data)
    first = (T0 + 60_000) * 1000
    assert page.columns["timestamp"].tolist() == [first, first + 4 * 3_600_000_000]
    assert page.columns["interval_hours"].tolist() == [8, 4]
    assert page.columns["funding_rate"].tolist() == [0.0001, -0.00002]


@pytest.mark.parametrize("cell", ["", "nan", "abc", "1e999", "1.2.3", "--1"])
def test_a_bad_line_is_refused_alone(cell: str) -> None:
    bad = kline(T0 + 60_000).replace("2.0", cell, 1)
    done = candles(lines(kline(T0), bad, kline(T0 + 120_000)))
    assert (times_of(done.table) // 1000).tolist() == [T0, T0 + 120_000]
    (refused,) = done.rejected
    assert refused.timestamp_us == (T0 + 60_000) * 1000
    assert refused.raw == bad


def test_a_line_cut_short_is_refused_alone() -> None:
    done = candles(lines(kline(T0), kline(T0 + 60_000)[:30]))
    assert done.table.num_rows == 1
    assert len(done.rejected) == 1


def test_an_unknown_boolean_is_refused_alone() -> None:
    page = parse_agg_trade_block(lines(agg(1, T0), agg(2, T0, "maybe")))
    assert page.columns["trade_id"].tolist() == [1]
    assert len(page.rejected) == 1


def test_a_file_of_another_kind_is_malformed() -> None:
    with pytest.raises(MalformedPayload, match="klines"):
        parse_candle_block(lines("1,2,3"))


def test_one_line_without_an_end_is_a_row() -> None:
    assert candles(kline(T0).encode()).table.num_rows == 1
    with pytest.raises(MalformedPayload, match="klines"):
        parse_candle_block(b"1,2,3")


def test_carriage_returns_and_blank_lines_are_harmless() -> None:
    data = lines(agg(1, T0, "True", ""), "", agg(2, T0, "False", "")).replace(b"\n", b"\r\n")
    page = parse_agg_trade_block(data)
    assert page.columns["side"].to_pylist() == ["sell", "buy"]
    assert page.rejected == []


def test_100_000_decimals_equal_pythons_float_and_the_lost_ones_are_counted() -> None:
    rng = random.Random(11)
    texts = [
        f"{rng.randint(0, 10 ** rng.randint(1, 11))}.{rng.randint(0, 99_999_999):08d}"
        for _ in range(100_000)
    ]
    data = lines(*(kline(T0 + i * 60_000, text) for i, text in enumerate(texts)))
    page = parse_candle_block(data)
    assert page.columns["quote_volume"].tolist() == [float(text) for text in texts]
    lost = sum(Decimal(repr(float(text))) != Decimal(text) for text in texts)
    assert lost > 100
    assert page.precision_loss == lost


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    for parse in (parse_candle_block, parse_agg_trade_block, parse_trade_block):
        with contextlib.suppress(MalformedPayload):
            parse(data)
    with contextlib.suppress(MalformedPayload):
        parse_funding_block(data)


@given(st.data())
def test_a_damaged_block_agrees_with_the_reading_line_by_line(data: st.DataObject) -> None:
    body = bytearray(lines(*(kline(T0 + i * 60_000) for i in range(3))))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    with contextlib.suppress(MalformedPayload):
        page = parse_candle_block(bytes(body))
        sizes = {len(column) for column in page.columns.values()}
        assert len(sizes) == 1
        for column in page.columns.values():
            assert np.isfinite(column).all()


# -- parts ---------------------------------------------------------------------------------------


def trades(*pairs: tuple[int, int]) -> Page:
    return parse_agg_trade_block(lines(*(agg(ident, T0 + at) for ident, at in pairs)))


COVERS = Range(T0 * 1000, (T0 + 1_000) * 1000)


def cut(*pages: Page, part_rows: int, held_back: int) -> list[Fetched]:
    cutter = PartCutter(
        Kind.TRADES,
        COVERS,
        lambda page: trade_page(page, COVERS),
        part_rows=part_rows,
        held_back=held_back,
    )
    parts = [part for page in pages for part in cutter.add(page)]
    return parts + list(cutter.end())


def check_parts(parts: list[Fetched], ids: list[int], part_rows: int) -> None:
    assert parts[0].asked.start == COVERS.start
    assert parts[-1].asked.end == COVERS.end
    for left, right in pairwise(parts):
        assert left.asked.end == right.asked.start
    for part in parts:
        times = times_of(part.table)
        assert part.table.num_rows <= part_rows
        assert all(part.asked.holds(time) for time in times.tolist())
    found = [int(i) for part in parts for i in part.table["trade_id"].to_pylist()]
    assert found == ids


def test_parts_tile_the_file_and_stay_small() -> None:
    pages = [trades(*((i, i) for i in range(at, at + 100))) for at in range(0, 1_000, 100)]
    parts = cut(*pages, part_rows=150, held_back=100)
    check_parts(parts, list(range(1_000)), 150)
    assert len(parts) > 5


def test_trades_of_one_millisecond_stay_in_one_part() -> None:
    pages = [trades(*((i, i // 40) for i in range(at, at + 100))) for at in range(0, 400, 100)]
    parts = cut(*pages, part_rows=100, held_back=10)
    check_parts(parts, list(range(400)), 100)
    assert all(part.table.num_rows % 40 == 0 for part in parts)


def test_more_trades_of_one_millisecond_than_a_part_holds_are_not_lost() -> None:
    parts = cut(trades(*((i, 5) for i in range(300))), part_rows=100, held_back=10)
    assert sum(part.table.num_rows for part in parts) == 300


def test_rows_late_by_less_than_is_held_back_find_their_place() -> None:
    order = list(range(200))
    order[90:110] = reversed(order[90:110])
    pages = [trades(*((i, i) for i in order[at : at + 100])) for at in (0, 100)]
    parts = cut(*pages, part_rows=100, held_back=50)
    check_parts(parts, list(range(200)), 100)


def test_repeats_across_blocks_come_once() -> None:
    parts = cut(trades((1, 1), (2, 2)), trades((2, 2), (3, 3)), part_rows=100, held_back=50)
    check_parts(parts, [1, 2, 3], 100)


def test_rows_late_by_more_are_reported() -> None:
    early, late = trades((1, 1)), trades(*((i, i) for i in range(10, 300)))
    with pytest.raises(Disorder):
        cut(late, early, part_rows=50, held_back=10)


def test_rows_of_another_day_are_left_out() -> None:
    parts = cut(trades((1, -5), (2, 5), (3, 2_000)), part_rows=50, held_back=10)
    check_parts(parts, [2], 50)


def test_an_empty_file_is_one_empty_part() -> None:
    check_parts(cut(part_rows=50, held_back=10), [], 50)


def test_what_was_refused_leaves_with_a_part() -> None:
    page = parse_agg_trade_block(lines(agg(1, T0), agg(2, T0, "maybe")))
    assert [len(part.rejected) for part in cut(page, part_rows=50, held_back=10)] == [1]


def test_the_fast_way_is_taken_for_good_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(bulk, "_strict")
    assert len(parse_agg_trade_block(lines(agg(1, T0))).columns["trade_id"]) == 1
