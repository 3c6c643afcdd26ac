"""Rows from columns say the same as Python's own formatting."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.simulator.encode import Number, Text, decimal_text, encode_rows, encode_values

NUMBERS = st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=50)


@given(NUMBERS, st.integers(0, 12))
def test_fixed_numbers_have_all_their_digits(values: list[int], decimals: int):
    column = Number(np.array(values, dtype=np.int64), decimals)

    text, offsets = encode_rows([column, b";"], len(values))

    expected = [f"{Decimal(value).scaleb(-decimals):.{decimals}f}" for value in values]
    assert text.decode() == "".join(f"{row};" for row in expected)
    assert [text[a:b].decode() for a, b in pairwise(offsets)] == [f"{row};" for row in expected]


@given(NUMBERS, st.integers(0, 12))
def test_trimmed_numbers_have_no_zero_at_the_end_of_a_fraction(values: list[int], decimals: int):
    column = Number(np.array(values, dtype=np.int64), decimals).trimmed()

    text, _ = encode_rows([column, b"\n"], len(values))

    rows = text.decode().splitlines()
    assert rows == [decimal_text(value, decimals) for value in values]
    assert [Decimal(row) for row in rows] == [Decimal(v).scaleb(-decimals) for v in values]
    assert not any("." in row and row.endswith(("0", ".")) for row in rows)


def test_texts_are_written_as_they_are():
    column = Text.of(["", "0.10", "1e-05", "ü"])

    text, offsets = encode_rows([b"<", column, b">"], 4)

    assert text.decode() == "<><0.10><1e-05><ü>"
    assert offsets.tolist() == [0, 2, 8, 15, 19]


def test_no_rows_are_no_text():
    assert encode_rows([b"x", Number(np.zeros(0, dtype=np.int64))], 0)[0] == b""
    assert encode_values([])[0] == b""


def test_more_digits_than_asked_for_are_refused():
    with pytest.raises(ValueError, match="cannot hold"):
        Number(np.array([1]), 3).fixed(2)
