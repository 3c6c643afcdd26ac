"""The small parts of the lake, each on its own."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_writer import M1, T0, candles

from zvt_crypto.core.digest import digest_table
from zvt_crypto.core.errors import DataError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rowindex import RowIndex
from zvt_crypto.core.rows import arrange, conform, match, payloads, restored, times
from zvt_crypto.core.schema import KNOWN, SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.store.lake.chunk import pack, unpack
from zvt_crypto.store.segments.segment import partition, segment_path

_TRADES = SCHEMAS[Kind.TRADES]
_IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def trades(rows: list[tuple[int, str]]) -> pa.Table:
    count = len(rows)
    columns = [
        pa.array([row[0] for row in rows], pa.int64()).cast(TIMESTAMP),
        pa.array([row[1] for row in rows], pa.string()),
        pa.array([0.1 * n for n in range(count)], pa.float64()),
        pa.array([1.0] * count, pa.float64()),
        pa.array(["buy"] * count, pa.string()),
        pa.array([None if n % 2 else n for n in range(count)], pa.int64()),
    ]
    return pa.table(columns, schema=_TRADES)


def arranged(rows: list[tuple[int, str]]) -> pa.Table:
    return arrange(Kind.TRADES, trades(rows), np.zeros(len(rows), dtype=np.int64))[0]


_ROWS = st.lists(st.tuples(st.integers(0, 5), _IDS), max_size=20)


@given(rows=_ROWS)
def test_arranged_rows_are_sorted_and_the_last_of_a_key_stays(
    rows: list[tuple[int, str]],
) -> None:
    table = arranged(rows)

    last = {key: 0.1 * number for number, key in enumerate(rows)}
    expected = sorted(last, key=lambda key: (key[0], key[1].encode()))
    keys = zip(times(table).tolist(), table.column("trade_id").to_pylist(), strict=True)
    assert list(keys) == expected
    assert table.column("price").to_pylist() == [last[key] for key in expected]


@given(held=_ROWS, incoming=_ROWS)
def test_match_finds_the_row_of_the_same_key(
    held: list[tuple[int, str]], incoming: list[tuple[int, str]]
) -> None:
    there, here = arranged(held), arranged(incoming)
    known = list(zip(times(there).tolist(), there.column("trade_id").to_pylist(), strict=True))
    wanted = zip(times(here).tolist(), here.column("trade_id").to_pylist(), strict=True)

    assert match(Kind.TRADES, there, here).tolist() == [
        known.index(key) if key in known else -1 for key in wanted
    ]


@settings(deadline=None)
@given(rows=_ROWS, cuts=st.lists(st.integers(0, 20), max_size=3))
def test_rows_survive_being_packed_and_joined(rows: list[tuple[int, str]], cuts: list[int]) -> None:
    table = arranged(rows).combine_chunks()
    packed = pack(Kind.TRADES, table, 77)
    bounds = sorted({0, table.num_rows, *(cut for cut in cuts if cut < table.num_rows)})

    chunks = [packed.chunk(1, a, b) for a, b in itertools.pairwise(bounds)]

    back = unpack(Kind.TRADES, chunks)
    assert back.drop_columns([KNOWN.name]).equals(table)
    assert set(back.column(KNOWN.name).to_pylist()) <= {77}
    again = pack(Kind.TRADES, back.combine_chunks())
    assert again.fixed.tobytes() == packed.fixed.tobytes()


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_no_rows_are_packed_too(kind: Kind) -> None:
    empty = SCHEMAS[kind].empty_table()
    assert len(pack(kind, empty, 1).moments) == 0
    assert unpack(kind, []).drop_columns([KNOWN.name]).equals(empty)


def test_payloads_restore_the_rows() -> None:
    table = arranged([(1, "a"), (2, "b")])
    keys = [(1, "a"), (2, "b")]
    assert restored(Kind.TRADES, keys, payloads(Kind.TRADES, table)).equals(table)


def test_conform_refuses_what_has_to_have_a_value() -> None:
    broken = candles(T0, 3, 1.0).set_column(4, "close", [[1.0, None, 2.0]])
    with pytest.raises(DataError, match="close"):
        conform(Kind.CANDLES, [broken])
    with pytest.raises(DataError, match="book"):
        conform(Kind.BOOK, [broken])


@given(start=st.integers(-2, 60), length=st.integers(0, 60))
def test_an_index_measures_as_a_digest_does(start: int, length: int) -> None:
    table = candles(T0, 50, 3.0)
    asked = Range(T0 + start * M1 - 1, T0 + (start + length) * M1)
    inside = [n for n in range(50) if asked.holds(T0 + n * M1)]

    rows, digest = RowIndex.of(table).measure(*asked)

    part = table.take(pa.array(inside, pa.int64()))
    assert (rows, digest) == (part.num_rows, digest_table(part))


def test_partitions_are_months_or_years() -> None:
    minute = candle_series("okx", "A-B", Interval.M1)
    day = candle_series("okx", "A-B", Interval.D1)
    funding = Series("okx", "A-B-PERP", Kind.FUNDING)

    month = partition(minute, T0 + 31 * 1_440 * M1 - 1)
    assert month == Range(T0, T0 + 31 * 1_440 * M1)
    assert partition(day, T0 + 1).end == T0 + 366 * 1_440 * M1
    assert partition(funding, T0) == partition(day, T0)
    assert partition(minute, -1).end == 0
    assert segment_path(minute, month, "u-1") == (
        "segments/candles/p_exchange=okx/p_symbol=A-B/p_interval=1m/2024-01.u-1.parquet"
    )
    assert segment_path(funding, partition(funding, T0), "u-2").endswith(
        "p_symbol=A-B-PERP/2024.u-2.parquet"
    )
