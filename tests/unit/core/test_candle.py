"""Candles from candles and from trades."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.candle import aggregate, candles_from_trades
from zvt_crypto.core.interval import US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import CANDLES, TIMESTAMP, TRADES
from zvt_crypto.core.timestamp import to_us

MINUTE, HOUR = US_PER_MINUTE, US_PER_HOUR
Row = tuple[Any, ...]


def candles(rows: Sequence[Row]) -> pa.Table:
    """Return rows of (time, o, h, l, c, volume[, quote, count, taker]) as a table."""
    columns = list(zip(*[(*row, None, None, None)[:9] for row in rows], strict=True))
    times = pa.array(columns[0], pa.int64()).cast(TIMESTAMP)
    arrays = [
        times,
        *(pa.array(c, f.type) for c, f in zip(columns[1:], list(CANDLES)[1:], strict=True)),
    ]
    return pa.Table.from_arrays(arrays, schema=CANDLES)


def trades(rows: Sequence[Row]) -> pa.Table:
    """Return rows of (time, id, price, size, side[, fills]) as a table."""
    columns = list(zip(*[(*row, None)[:6] for row in rows], strict=True))
    times = pa.array(columns[0], pa.int64()).cast(TIMESTAMP)
    arrays = [
        times,
        *(pa.array(c, f.type) for c, f in zip(columns[1:], list(TRADES)[1:], strict=True)),
    ]
    return pa.Table.from_arrays(arrays, schema=TRADES)


def rows_of(table: pa.Table) -> list[Row]:
    plain = table.set_column(0, "timestamp", table.column("timestamp").cast(pa.int64()))
    return [tuple(row.values()) for row in plain.to_pylist()]


def flat(times: Sequence[int], price: float = 1.0) -> pa.Table:
    return candles([(t, price, price, price, price, 1.0, 1.0, 1, 1.0) for t in times])


def read_ohlcv(path: Path) -> pa.Table:
    with gzip.open(path, "rt") as lines:
        rows = list(csv.DictReader(lines))
    return candles(
        [
            (
                int(row["open_time_ms"]) * 1_000,
                *(float(row[name]) for name in ("open", "high", "low", "close", "volume")),
                *(
                    (float(row["quote_volume"]), int(row["trades"]), float(row["taker_buy_base"]))
                    if "trades" in row
                    else ()
                ),
            )
            for row in rows
        ]
    )


def test_an_hour_is_made_of_its_minutes() -> None:
    # given three candles of one hour and one of the next, the hour's own covered
    table = candles(
        [
            (0, 5.0, 9.0, 4.0, 6.0, 1.0, 10.0, 3, 0.5),
            (MINUTE, 6.0, 7.0, 1.0, 2.0, 2.0, 20.0, 4, 0.25),
            (30 * MINUTE, 2.0, 3.0, 2.0, 3.0, 4.0, 40.0, 5, 0.0),
            (HOUR, 8.0, 8.0, 8.0, 8.0, 1.0, 1.0, 1, 1.0),
        ]
    )
    made = aggregate(table, Interval.M1, Interval.H1, [Range(0, HOUR)])

    # then the first is folded and the second, known in part, is a hole
    assert rows_of(made.table) == [(0, 5.0, 9.0, 1.0, 3.0, 7.0, 70.0, 12, 0.75)]
    assert made.holes == [Range(HOUR, 2 * HOUR)]
    assert made.table.schema == CANDLES


def test_without_a_word_on_coverage_every_row_counts() -> None:
    made = aggregate(flat([0, HOUR, 5 * HOUR]), Interval.M1, Interval.H1, None)
    assert [row[0] for row in rows_of(made.table)] == [0, HOUR, 5 * HOUR]
    assert made.holes == []


def test_a_covered_span_without_trades_is_neither_candle_nor_hole() -> None:
    made = aggregate(flat([0, 2 * HOUR]), Interval.M1, Interval.H1, [Range(0, 3 * HOUR)])
    assert [row[0] for row in rows_of(made.table)] == [0, 2 * HOUR]
    assert made.holes == []


def test_what_lies_between_two_covered_stretches_is_a_hole() -> None:
    # given two stretches, each with a part of an hour at its inner end
    covered = [Range(0, 2 * HOUR + MINUTE), Range(5 * HOUR - MINUTE, 7 * HOUR)]
    made = aggregate(flat([0, 6 * HOUR]), Interval.M1, Interval.H1, covered)
    assert [row[0] for row in rows_of(made.table)] == [0, 6 * HOUR]
    assert made.holes == [Range(2 * HOUR, 5 * HOUR)]


def test_a_row_out_of_the_covered_time_makes_its_span_a_hole() -> None:
    made = aggregate(flat([0, 9 * HOUR]), Interval.M1, Interval.H1, [])
    assert made.table.num_rows == 0
    assert made.holes == [Range(0, 10 * HOUR)]
    nothing = aggregate(CANDLES.empty_table(), Interval.M1, Interval.H1, [])
    assert (nothing.table.num_rows, nothing.holes) == (0, [])


def test_a_null_makes_the_sum_null_and_only_that_one() -> None:
    table = candles(
        [(0, 1, 1, 1, 1, 1, 5.0, None, 0.5), (MINUTE, 1, 1, 1, 1, 1, None, None, 0.5),
         (HOUR, 1, 1, 1, 1, 1, 7.0, None, 1.0)]
    )  # fmt: skip
    made = rows_of(aggregate(table, Interval.M1, Interval.H1, None).table)
    assert [row[6:] for row in made] == [(None, None, 1.0), (7.0, None, 1.0)]


def test_weeks_open_on_monday_and_months_follow_the_calendar() -> None:
    # given every day of 2024, a leap year that opens on a Monday
    days = Interval.D1.grid(to_us("2024-01-01"), to_us("2025-01-01"))
    covered = [Range(to_us("2024-01-01"), to_us("2025-01-01"))]
    weeks = aggregate(flat(days.tolist()), Interval.D1, Interval.W1, covered)
    months = aggregate(flat(days.tolist()), Interval.D1, Interval.MON1, covered)

    # then weeks hold seven days, the last week reaches out of the year, and February has its 29
    assert {row[5] for row in rows_of(weeks.table)} == {7.0}
    assert weeks.holes == [Range(to_us("2024-12-30"), to_us("2025-01-06"))]
    assert [row[5] for row in rows_of(months.table)] == [
        31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    ]  # fmt: skip
    assert months.holes == []


@pytest.mark.parametrize(
    ("source", "target"),
    [(Interval.H1, Interval.M1), (Interval.W1, Interval.MON1), (Interval.MON1, Interval.W1)],
)
def test_what_does_not_tile_is_refused(source: Interval, target: Interval) -> None:
    with pytest.raises(ValueError, match="do not tile"):
        aggregate(CANDLES.empty_table(), source, target, None)


def test_rows_in_any_order_and_in_pieces_make_the_same_candles() -> None:
    table = flat(list(range(0, 5 * HOUR, MINUTE)))
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
    pieces = pa.concat_tables([shuffled.slice(0, 7), shuffled.slice(7)])
    wanted = aggregate(table, Interval.M1, Interval.H1, None).table
    assert aggregate(pieces, Interval.M1, Interval.H1, None).table.equals(wanted)


@given(
    st.sets(st.integers(0, 59), max_size=60),
    st.lists(st.builds(Range, st.integers(0, 60), st.integers(0, 60)), max_size=4),
    st.sampled_from([Interval.M5, Interval.M15, Interval.M30]),
)
def test_every_touched_span_is_a_candle_a_hole_or_quiet(
    minutes: set[int], covered: list[Range], target: Interval
) -> None:
    # given some minutes of an hour, and some of them known to be complete
    known = {minute for part in covered for minute in range(part.start, part.end)}
    parts = [Range(part.start * MINUTE, part.end * MINUTE) for part in covered]
    table = flat([minute * MINUTE for minute in sorted(minutes)]) if minutes else None
    made = aggregate(table or CANDLES.empty_table(), Interval.M1, target, parts)

    # then each span from the first to the last touched is what an oracle by minutes says
    width = target.nominal_us // MINUTE
    touched = known | minutes
    got = {row[0] // MINUTE: row[5] for row in rows_of(made.table)}
    holes = {m for hole in made.holes for m in range(hole.start // MINUTE, hole.end // MINUTE)}
    for opened in range(0, 60, width):
        span = set(range(opened, opened + width))
        if not touched or max(touched) < opened or min(touched) >= opened + width:
            assert opened not in got and not span & holes  # noqa: PT018 - one fact
        elif span <= known:
            assert got.get(opened, 0) == len(span & minutes)
            assert not span & holes
        else:
            assert opened not in got
            assert span <= holes


@pytest.mark.parametrize(
    ("fine", "coarse", "source", "target"),
    [
        ("binance_XRPETH_1m_20191011", "binance_XRPETH_5m_20191011", Interval.M1, Interval.M5),
        ("binance_BTCUSDT_1d_20170817", "binance_BTCUSDT_1wk_20170814", Interval.D1, Interval.W1),
        (
            "binance_BTCUSDT_1d_20170817",
            "binance_BTCUSDT_1mon_20170801",
            Interval.D1,
            Interval.MON1,
        ),
    ],
)
def test_recorded_candles_fold_into_the_exchange_s_own(
    shared_data: Path, fine: str, coarse: str, source: Interval, target: Interval
) -> None:
    # given one history in two intervals
    rows = read_ohlcv(shared_data / "ohlcv" / f"{fine}.csv.gz")
    theirs = {
        row[0]: row for row in rows_of(read_ohlcv(shared_data / "ohlcv" / f"{coarse}.csv.gz"))
    }
    times = rows.column("timestamp").cast(pa.int64()).to_pylist()
    covered = [Range(times[0], source.shift(times[-1], 1))]

    # when the fine one is folded
    made = rows_of(aggregate(rows, source, target, covered).table)

    # then every whole candle is the exchange's, its volume to the last digit of a float
    assert len(made) >= min(len(theirs) - 2, 8)
    for row in made:
        assert row[:5] == theirs[row[0]][:5]
        assert row[5] == pytest.approx(theirs[row[0]][5], rel=1e-12)


def read_agg_trades(path: Path) -> pa.Table:
    with gzip.open(path) as lines:
        rows = [json.loads(line) for line in lines]
    return trades(
        [
            (r["T"] * 1_000, str(r["a"]), float(r["p"]), float(r["q"]),
             "sell" if r["m"] else "buy", r["l"] - r["f"] + 1)
            for r in rows
        ]
    )  # fmt: skip


def test_recorded_trades_make_the_exchange_s_own_candles(shared_data: Path) -> None:
    # given the aggregated trades of two and a half days
    source = read_agg_trades(shared_data / "binance/archive/xrpeth_aggtrades_20191011.jsonl.gz")
    wanted = rows_of(read_ohlcv(shared_data / "ohlcv/binance_XRPETH_1m_20191011.csv.gz"))
    summary = json.loads(
        (shared_data / "expected/binance__archive__xrpeth_aggtrades_20191011.json").read_text()
    )["agg_trades"]["XRPETH"]

    # when candles are built of them, in whatever order they come
    shuffled = source.take(pa.array(np.random.default_rng(7).permutation(source.num_rows)))
    made = candles_from_trades(shuffled, Interval.M1)

    # then all 2,469 minutes are the exchange's, and the sums are those of the trades
    assert [row[:6] for row in rows_of(made)] == [row[:6] for row in wanted]
    assert made.num_rows == 2_469
    assert made.equals(candles_from_trades(source, Interval.M1))
    sums = {name: sum(made.column(name).to_pylist()) for name in CANDLES.names[5:]}
    assert sums["volume"] == float(summary["sum_quantity"])
    assert sums["quote_volume"] == pytest.approx(
        float(summary["sum_price_times_quantity"]), rel=1e-12
    )
    assert sums["trade_count"] == sum(source.column("fills").to_pylist())


def test_first_and_last_price_follow_time_then_number_not_text() -> None:
    # given trades of one microsecond, ids of different lengths, out of order
    table = trades([(5, "10", 3.0, 1, "buy"), (5, "9", 2.0, 1, "sell"), (4, "11", 1.0, 1, "buy")])
    assert rows_of(candles_from_trades(table, Interval.M1)) == [
        (0, 1.0, 3.0, 1.0, 3.0, 3.0, 6.0, 3, 2.0)
    ]


def test_trades_without_numbers_keep_their_order_within_a_time() -> None:
    table = trades([(5, "b", 3.0, 1, "buy"), (5, "a", 2.0, 1, "buy"), (4, "c", 1.0, 1, "buy")])
    assert rows_of(candles_from_trades(table, Interval.M1))[0][1:5] == (1.0, 3.0, 1.0, 2.0)


def test_an_unknown_side_leaves_the_taker_volume_open() -> None:
    table = trades([(0, "1", 1, 2, "buy"), (1, "2", 1, 4, "unknown"), (MINUTE, "3", 1, 8, "sell")])
    made = rows_of(candles_from_trades(table, Interval.M1))
    assert [row[8] for row in made] == [None, 0.0]


def test_a_row_without_fills_counts_as_one_trade() -> None:
    table = trades([(0, "1", 1, 2, "buy", 5), (1, "2", 1, 4, "buy"), (2, "3", 1, 4, "buy", 2)])
    assert rows_of(candles_from_trades(table, Interval.M1))[0][7] == 8


def test_candles_that_reach_out_of_the_window_are_left_out() -> None:
    table = trades([(n * MINUTE // 2, str(n), 1, 1, "buy") for n in range(10)])
    made = candles_from_trades(table, Interval.M1, Range(1, 4 * MINUTE + 1))
    assert [row[0] for row in rows_of(made)] == [MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert candles_from_trades(table, Interval.M1, Range(1, MINUTE)).num_rows == 0
    assert candles_from_trades(TRADES.empty_table(), Interval.M1).schema == CANDLES
