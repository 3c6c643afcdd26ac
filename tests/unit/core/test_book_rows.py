"""Rows of books: made from messages, hashed, conformed, checked."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from book_rows import T0, message, rows, stream, whole_rows
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.digest import digest_table, row_hashes
from zvt_crypto.core.errors import DataError
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import arrange, conform, match, payloads, restored
from zvt_crypto.core.schema import BOOK_DELTAS, BOOK_SNAPSHOTS, LEVELS, TIMESTAMP, weight
from zvt_crypto.core.series import Kind
from zvt_crypto.core.validation import Checked, Reason, validate_books

NUMBERS = st.floats(allow_nan=False)
LISTS = st.lists(st.lists(NUMBERS, max_size=5), min_size=1, max_size=8)
SIDES = [name for name in BOOK_DELTAS.names if name.endswith(("prices", "sizes"))]


def levels(values: Sequence[Sequence[float] | None]) -> pa.Table:
    return pa.table({"bid_prices": pa.array(values, LEVELS)})


def hashes(table: pa.Table) -> list[tuple[int, int]]:
    return list(zip(*(lane.tolist() for lane in row_hashes(table)), strict=True))


# -- digests ---------------------------------------------------------------------------------------


def test_the_digest_of_stored_books_stays_what_it_is() -> None:
    # Ledgers hold these numbers: a change here makes every store of every user fail its check.
    messages = stream(7, 500)
    assert str(digest_table(rows(messages))) == "a0d13805f72f22ad3bf5df7ed622950c"
    assert str(digest_table(whole_rows(messages, 50))) == "22d123de26997e422804ab474b57c8af"


@given(LISTS)
def test_lists_hash_alike_if_and_only_if_they_are_alike(values: list[list[float]]) -> None:
    # -0.0 is 0.0, as everywhere
    plain = [tuple(number + 0.0 for number in one) for one in values]
    found = hashes(levels(values))
    for mine, its in zip(plain, found, strict=True):
        for other, theirs in zip(plain, found, strict=True):
            assert (mine == other) == (its == theirs)


@given(LISTS, st.integers(0, 7), st.integers(0, 3))
def test_lists_hash_alike_in_every_layout(values: list[list[float]], cut: int, spare: int) -> None:
    # given lists with others before and after them in the same buffers, cut anywhere
    whole = hashes(levels(values))
    wider = levels([[1.0]] * spare + values + [[2.0, 3.0]]).slice(spare, len(values))
    parts = pa.concat_tables([wider.slice(0, cut), wider.slice(cut)])
    large = wider.cast(pa.schema([("bid_prices", pa.large_list(pa.float64()))]))

    assert hashes(wider) == whole
    assert hashes(wider.slice(cut)) == whole[cut:]
    assert hashes(parts) == whole
    assert hashes(large) == whole


def test_more_elements_than_fit_at_once_hash_as_few_do() -> None:
    # given lists of which one alone is more than a portion, and some that end with one
    sizes = [0, 3, 300_000, 1, 0, 262_144, 262_143, 1, 5]
    values = np.arange(sum(sizes)) / 7
    ends = np.cumsum([0, *sizes])
    table = levels([values[a:b].tolist() for a, b in itertools.pairwise(ends)])

    alone = [hashes(table.slice(number, 1))[0] for number in range(len(sizes))]

    assert hashes(table) == alone


@pytest.mark.parametrize("name", BOOK_DELTAS.names)
def test_every_column_of_a_row_counts(name: str) -> None:
    table = rows([message(T0, 5, [(1.0, 2.0), (3.0, 4.0)], [(5.0, 6.0)], before=4)])
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    if field.type == LEVELS:
        (old,) = table.column(at).to_pylist()
        others: list[Any] = [old[::-1] if len(old) > 1 else [], [*old, 0.0], old[:-1], [9.0, *old]]
    else:
        (old,) = table.column(at).cast(pa.int64()).to_pylist()
        others = [17, None] if field.nullable and old is not None else [17]

    for other in others:
        value = pa.array([other], pa.int64() if field.type == TIMESTAMP else field.type)
        changed = table.set_column(at, field, value.cast(field.type))
        assert digest_table(changed) != digest_table(table)


def test_levels_that_change_sides_count() -> None:
    one = rows([message(T0, 1, [(1.0, 2.0)], [(3.0, 4.0)])])
    other = rows([message(T0, 1, [(3.0, 4.0)], [(1.0, 2.0)])])
    assert digest_table(one) != digest_table(other)
    assert digest_table(levels([None])) != digest_table(levels([[]]))


# -- rows ------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 32), st.integers(0, 40))
def test_rows_are_what_the_messages_say(seed: int, count: int) -> None:
    messages = stream(seed, count)

    table = rows(messages)

    table.validate(full=True)
    assert table.schema == BOOK_DELTAS
    for row, one in zip(table.to_pylist(), messages[1:], strict=True):
        assert list(zip(row["bid_prices"], row["bid_sizes"], strict=True)) == list(one.bids)
        assert list(zip(row["ask_prices"], row["ask_sizes"], strict=True)) == list(one.asks)
        assert (row["sequence"], row["prev_sequence"]) == (one.sequence, one.prev_sequence)
        assert row["first_sequence"] is None
    whole = whole_rows(messages, 3)
    assert whole.schema == BOOK_SNAPSHOTS
    assert validate_books(whole, Kind.BOOK_SNAPSHOTS, None).table is whole
    assert validate_books(table, Kind.BOOK_DELTAS, None).table is table


@given(st.integers(0, 1 << 32))
def test_rows_in_any_order_are_put_in_order_found_and_restored(seed: int) -> None:
    table = rows(stream(seed, 30))
    order = np.random.default_rng(seed).permutation(table.num_rows)
    shuffled = conform(Kind.BOOK_DELTAS, [table.take(pa.array(order))])

    again, _ = arrange(Kind.BOOK_DELTAS, shuffled, np.zeros(30, dtype=np.int64))

    assert again.equals(table)
    assert match(Kind.BOOK_DELTAS, table, again).tolist() == list(range(30))
    at = table.column("timestamp").cast(pa.int64()).to_pylist()
    keys = list(zip(at, table.column("sequence").to_pylist(), strict=True))
    assert restored(Kind.BOOK_DELTAS, keys, payloads(Kind.BOOK_DELTAS, table)).equals(table)


@pytest.mark.parametrize("hole", [None, math.nan])
@pytest.mark.parametrize("name", SIDES)
def test_a_level_without_a_value_is_refused(name: str, hole: float | None) -> None:
    table = rows(stream(1, 3))
    at = table.schema.get_field_index(name)
    broken = table.set_column(at, BOOK_DELTAS.field(at), pa.array([[1.0], [hole], []], LEVELS))

    with pytest.raises(DataError, match=f"without a value in {name}"):
        conform(Kind.BOOK_DELTAS, [broken])


def test_books_weigh_more_than_other_rows() -> None:
    assert weight(Kind.CANDLES) == 1 < weight(Kind.BOOK_DELTAS) < weight(Kind.BOOK_SNAPSHOTS)


# -- what may be stored ----------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "timestamp": T0, "sequence": 7, "bid_prices": [3.0, 2.0], "bid_sizes": [1.0, 1.0],
    "ask_prices": [4.0, 5.0], "ask_sizes": [1.0, 2.0], "prev_sequence": 6, "first_sequence": None,
}  # fmt: skip


def table_of(kind: Kind, *changes: dict[str, Any]) -> pa.Table:
    schema = BOOK_SNAPSHOTS if kind is Kind.BOOK_SNAPSHOTS else BOOK_DELTAS
    columns = [
        pa.array([(GOOD | change)[field.name] for change in changes],
                 pa.int64() if field.type == TIMESTAMP else field.type).cast(field.type)
        for field in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=schema)


def reasons(checked: Checked) -> list[str]:
    return [one.reason for one in checked.rejected]


@pytest.mark.parametrize("kind", [Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bid_prices": None}, Reason.NULL),
        ({"ask_sizes": None}, Reason.NULL),
        ({"timestamp": T0 + 10}, Reason.OUTSIDE_WINDOW),
        ({"bid_prices": [3.0]}, Reason.UNEVEN),
        ({"ask_sizes": [1.0, 2.0, 3.0]}, Reason.UNEVEN),
        ({"ask_sizes": [1.0, None]}, Reason.UNEVEN),
        ({"bid_prices": [3.0, math.inf]}, Reason.NOT_FINITE),
        ({"bid_prices": [math.inf, math.inf]}, Reason.NOT_FINITE),
        ({"ask_sizes": [math.nan, 1.0]}, Reason.NOT_FINITE),
        ({"ask_prices": [0.0, 5.0]}, Reason.NOT_POSITIVE),
        ({"ask_sizes": [1.0, -1.0]}, Reason.NEGATIVE),
        ({"sequence": -1}, Reason.NEGATIVE),
    ],
)
def test_a_wrong_row_is_refused_and_its_neighbours_are_not(
    kind: Kind, change: dict[str, Any], reason: Reason
) -> None:
    around = [GOOD | {"timestamp": T0 + 1}, GOOD | {"timestamp": T0 + 3}]
    table = table_of(kind, around[0], {"timestamp": T0 + 2} | change, around[1])

    checked = validate_books(table, kind, Range(T0, T0 + 9))

    assert reasons(checked) == [reason]
    assert checked.table.equals(table_of(kind, *around))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bid_prices": [2.0, 3.0]}, Reason.UNSORTED),
        ({"ask_prices": [4.0, 4.0]}, Reason.UNSORTED),
        ({"bid_sizes": [1.0, 0.0]}, Reason.NEGATIVE),
        ({"bid_prices": [4.0, 2.0]}, Reason.CROSSED),
    ],
)
def test_only_a_whole_book_is_sorted_and_apart(change: dict[str, Any], reason: Reason) -> None:
    whole = table_of(Kind.BOOK_SNAPSHOTS, change)
    change_of_it = table_of(Kind.BOOK_DELTAS, change)

    assert reasons(validate_books(whole, Kind.BOOK_SNAPSHOTS, None)) == [reason]
    assert validate_books(change_of_it, Kind.BOOK_DELTAS, None).table is change_of_it


def test_an_empty_side_is_a_book_too() -> None:
    nothing = {name: [] for name in SIDES}
    one_sided = {"bid_prices": [], "bid_sizes": [], "timestamp": T0 + 1}
    for kind in (Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS):
        table = table_of(kind, nothing, one_sided)
        assert validate_books(table, kind, None).table is table


def test_of_one_key_the_later_row_stays_and_rows_are_put_in_order() -> None:
    kind = Kind.BOOK_DELTAS
    table = table_of(
        kind, {"sequence": 9}, {"sequence": 7}, {"sequence": 9, "bid_sizes": [5.0, 6.0]}
    )

    checked = validate_books(table, kind, None)

    assert reasons(checked) == [Reason.DUPLICATE]
    assert checked.table.column("sequence").to_pylist() == [7, 9]
    assert checked.table.column("bid_sizes").to_pylist() == [[1.0, 1.0], [5.0, 6.0]]
