"""Columns as arrays."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.column import (
    arrays_of,
    as_array,
    equals_text,
    floats_of,
    holds_zero,
    nulls_of,
    numeric_ids,
    text_lengths,
    times_of,
    trade_order,
)
from zvt_crypto.core.schema import TIMESTAMP


def test_a_full_column_is_not_copied() -> None:
    values = np.arange(5.0)
    table = pa.table({"a": values})
    assert np.shares_memory(floats_of(table, "a"), values)


def test_pieces_and_nulls_are_read() -> None:
    table = pa.concat_tables([pa.table({"a": [1, None]}), pa.table({"a": [3]})])
    assert floats_of(table, "a")[[0, 2]].tolist() == [1.0, 3.0]
    assert np.isnan(floats_of(table, "a")[1])
    assert nulls_of(table, "a").tolist() == [False, True, False]
    assert len(as_array(table.column("a"))) == 3


@pytest.mark.parametrize("pieces", [[], [[1, None]], [[1, None], [3]]])
def test_all_columns_come_in_one_piece_each(pieces: list[list[int | None]]) -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.float64())])
    parts = [pa.table({"a": p, "b": p}, schema=schema) for p in pieces]
    columns = arrays_of(pa.concat_tables([schema.empty_table(), *parts]))
    rows = [value for piece in pieces for value in piece]
    assert {name: column.to_pylist() for name, column in columns.items()} == {"a": rows, "b": rows}


def test_times_are_microseconds_and_a_null_the_smallest() -> None:
    table = pa.table({"timestamp": pa.array([5, None], pa.int64()).cast(TIMESTAMP)})
    assert times_of(table).tolist() == [5, np.iinfo(np.int64).min]


def test_ids_are_numbers_if_all_are() -> None:
    assert numeric_ids(pa.array(["1", "22"])) is not None
    for ids in (["1", "b"], ["1", None], ["9" * 19, "1"], [""]):
        assert numeric_ids(pa.array(ids, pa.string())) is None


def test_texts_are_compared_and_measured_null_or_not() -> None:
    for kind in (pa.string(), pa.large_string()):
        column = pa.array(["buy", None, "", "sell"], kind)
        assert equals_text(column, "buy").tolist() == [True, False, False, False]
        assert text_lengths(column).tolist() == [3, 0, 0, 4]


@given(
    st.lists(st.none() | st.text(st.sampled_from("\0a\u0100\u3000"), max_size=3), max_size=8),
    st.integers(0, 8),
    st.integers(0, 8),
    st.sampled_from([pa.string(), pa.large_string()]),
)
def test_zeros_in_texts_are_found_in_any_part_of_a_column(
    texts: list[str | None], first: int, count: int, kind: pa.DataType
) -> None:
    column = pa.array(texts, kind).slice(first, count)
    wanted = [text is not None and "\0" in text for text in column.to_pylist()]
    found = holds_zero(column)
    assert (found is not None) == any(wanted)
    assert found is None or found.tolist() == wanted


def test_trades_are_ordered_by_time_then_number() -> None:
    def order(times: list[int], ids: list[str]) -> list[int] | None:
        stamps = pa.array(times, pa.int64()).cast(TIMESTAMP)
        rows = trade_order(pa.table({"timestamp": stamps, "trade_id": ids}))
        return None if rows is None else rows.tolist()

    assert order([1, 1, 2], ["9", "10", "3"]) is None
    assert order([1, 1, 0], ["10", "9", "3"]) == [2, 1, 0]
    assert order([1, 1, 2], ["b", "a", "c"]) is None
    assert order([1, 1, 0], ["b", "a", "c"]) == [2, 0, 1]
