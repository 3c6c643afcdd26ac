"""Digests that add up."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest, digest_table, row_hashes
from zvt_crypto.core.schema import CANDLES, FUNDING, TIMESTAMP, TRADES

TIME = 1_700_000_000_000_000


def candles(rows: int, first: int = 0) -> pa.Table:
    step = np.arange(first, first + rows)
    price = 100.0 + step % 97 / 8
    arrays = [
        pa.array(TIME + step * 60_000_000).cast(TIMESTAMP),
        *(pa.array(price + n) for n in range(5)),
        pa.array(price * 3),
        pa.array(step % 11),
        pa.array(price / 2, mask=step % 5 == 0),
    ]
    return pa.Table.from_arrays(arrays, schema=CANDLES)


def trade(**change: Any) -> pa.Table:
    row = {"timestamp": TIME, "trade_id": "42", "price": 1.5, "size": 2.0, "side": "buy",
           "fills": 1} | change  # fmt: skip
    arrays = [pa.array([row[field.name]], field.type) for field in list(TRADES)[1:]]
    return pa.Table.from_arrays(
        [pa.array([row["timestamp"]], pa.int64()).cast(TIMESTAMP), *arrays], schema=TRADES
    )


def test_the_digest_of_stored_rows_stays_what_it_is() -> None:
    # Ledgers hold these numbers: a change here makes every store of every user fail its check.
    assert str(digest_table(candles(1_000))) == "3967d1c74c996d18dcc5e9e9b1a248b4"
    assert str(digest_table(trade(fills=None))) == "6a8e4b64111305a8a68b37cd29573a23"
    assert digest_table(CANDLES.empty_table()) == EMPTY_DIGEST


def test_order_and_pieces_do_not_matter() -> None:
    # given rows over more than one block, shuffled and cut
    table = candles(150_000)
    order = np.random.default_rng(3).permutation(table.num_rows)
    shuffled = table.take(pa.array(order))
    parts = [shuffled.slice(0, 1), shuffled.slice(1, 99_998), shuffled.slice(99_999)]

    # then the whole is the sum of the parts, and a part is the whole less the rest
    whole = digest_table(table)
    digests = [digest_table(part) for part in parts]
    assert digest_table(shuffled) == whole
    assert digest_table(pa.concat_tables(parts[::-1])) == whole
    assert digests[0] + digests[1] + digests[2] == whole
    assert whole - digests[1] == digests[0] + digests[2]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_digest_survives_its_text(low: int, high: int) -> None:
    digest = Digest(low, high)
    assert len(str(digest)) == 32
    assert Digest.parse(str(digest)) == digest
    assert digest + digest - digest == digest
    assert EMPTY_DIGEST - digest + digest == EMPTY_DIGEST


@given(st.integers(0, 63), st.integers(0, 7), st.integers(0, 2**64 - 1))
def test_every_bit_of_every_column_counts(bit: int, column: int, bits: int) -> None:
    # given eight number columns, one bit of one of them flipped
    names = list("abcdefgh")
    values = np.full((8, 1), bits, dtype=np.uint64).view(np.int64)
    changed = values.view(np.uint64).copy()
    changed[column] ^= np.uint64(1 << bit)
    before = pa.table({name: values[n] for n, name in enumerate(names)})
    after = pa.table({name: changed.view(np.int64)[n] for n, name in enumerate(names)})

    # then both lanes of the digest differ, so neither hides what the other may miss
    assert row_hashes(before)[0] != row_hashes(after)[0]
    assert row_hashes(before)[1] != row_hashes(after)[1]


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": TIME + 1}, {"trade_id": "43"}, {"trade_id": "420"}, {"trade_id": "042"},
        {"price": 1.5000000000000002}, {"price": -1.5}, {"size": 0.0}, {"side": "sell"},
        {"fills": 2}, {"fills": 0}, {"fills": None}, {"price": 2.0, "size": 1.5},
    ],
)  # fmt: skip
def test_any_change_of_a_row_changes_the_digest(change: dict[str, Any]) -> None:
    assert digest_table(trade(**change)) != digest_table(trade())


def test_equal_changes_in_two_columns_do_not_cancel() -> None:
    before = pa.table({"a": [1.0, 1.0], "b": [2.0, 3.0]})
    crossed = pa.table({"a": [1.0, 1.0], "b": [3.0, 2.0]})
    swapped = pa.table({"a": [2.0, 3.0], "b": [1.0, 1.0]})
    moved = pa.table({"a": [2.0, 1.0], "b": [1.0, 3.0]})
    assert digest_table(before) == digest_table(crossed)  # the same rows in another order
    assert digest_table(before) != digest_table(swapped)
    assert digest_table(before) != digest_table(moved)
    assert digest_table(before) != digest_table(before.rename_columns(["a", "c"]))


def test_the_sign_of_a_funding_rate_counts() -> None:
    def rate(value: float) -> pa.Table:
        time = pa.array([TIME], pa.int64()).cast(TIMESTAMP)
        nothing = pa.nulls(1, pa.float64())
        return pa.Table.from_arrays([time, pa.array([value]), nothing, nothing], schema=FUNDING)

    assert digest_table(rate(0.0001)) != digest_table(rate(-0.0001))
    assert digest_table(rate(0.0)) == digest_table(rate(-0.0))


def test_null_is_neither_zero_nor_empty() -> None:
    for kind, value in ((pa.float64(), 0.0), (pa.int64(), 0), (pa.string(), "")):
        null, zero = pa.table({"a": pa.nulls(1, kind)}), pa.table({"a": pa.array([value], kind)})
        assert digest_table(null) != digest_table(zero)


def test_a_row_of_zeros_counts() -> None:
    one = pa.table({"a": [0.0], "b": [0]})
    assert digest_table(one) != EMPTY_DIGEST
    assert digest_table(pa.concat_tables([one, one])) != digest_table(one)


def _dictionary(column: pa.Array) -> pa.Array:
    return column.dictionary_encode()


def _cast(kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return lambda column: column.cast(kind)


@pytest.mark.parametrize(
    "convert", [_cast(pa.large_string()), _cast(pa.string_view()), _dictionary]
)
@pytest.mark.parametrize("cut", [0, 3])
def test_texts_are_equal_in_every_layout(convert: Callable[[pa.Array], pa.Array], cut: int) -> None:
    # given texts shorter, as long as and longer than a word, of other scripts, empty and null
    texts = ["", "a", "b" * 7, "c" * 8, "d" * 9, "e" * 64, "交易", None, "f" * 17, "a\x00", "a"]
    plain = pa.array(texts, pa.string()).slice(cut)

    # then the layout makes no difference, a slice is read from its own start
    wanted = digest_table(pa.table({"a": plain}))
    assert digest_table(pa.table({"a": convert(plain)})) == wanted
    assert digest_table(pa.table({"a": pa.array(texts[cut:])})) == wanted
    hashes = row_hashes(pa.table({"a": plain}))[0]
    assert len(set(hashes.tolist())) == len(set(texts[cut:]))


@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=10))
def test_texts_hash_alike_if_and_only_if_they_are_alike(texts: list[str | None]) -> None:
    low, high = row_hashes(pa.table({"a": pa.array(texts, pa.string())}))
    assert len(set(zip(low.tolist(), high.tolist(), strict=True))) == len(set(texts))


def test_units_and_widths_of_a_type_make_no_difference() -> None:
    times = pa.array([TIME, TIME + 1_000], pa.int64()).cast(TIMESTAMP)
    for unit in ("us", "ns"):
        other = pa.table({"a": times.cast(pa.timestamp(unit, tz="UTC"))})
        assert digest_table(other) == digest_table(pa.table({"a": times}))
    whole = pa.table({"a": pa.array([1, 2], pa.int64())})
    assert digest_table(pa.table({"a": pa.array([1, 2], pa.int32())})) == digest_table(whole)


def test_hashes_of_neighbouring_rows_do_not_collide() -> None:
    low, high = row_hashes(candles(200_000))
    assert len(np.unique(low)) == len(np.unique(high)) == 200_000
