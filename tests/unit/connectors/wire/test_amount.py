"""Numbers of live frames, as float64 and exact."""

from decimal import Decimal
from typing import Any, Generic

import msgspec
import pytest

from zvt_crypto.connectors.wire.amount import P, Z, decoder, read_number, read_positive


class Row(msgspec.Struct, Generic[P, Z]):
    """One number of each kind."""

    price: P
    size: Z


def row_type(positive: Any, not_negative: Any) -> Any:
    return Row[positive, not_negative]


@pytest.mark.parametrize("exact", [False, True])
def test_numbers_are_read_from_text_and_from_json_numbers(exact: bool) -> None:
    row = decoder(row_type, exact=exact)(b'{"price":"1.10","size":0}')
    assert row.price == (Decimal("1.10") if exact else 1.1)
    assert type(row.price) is type(row.size) is (Decimal if exact else float)
    msgspec.json.encode(row)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        '"NaN"',
        '"sNaN"',
        '"inf"',
        '"-Infinity"',
        '"1e400"',
        '"1e-400"',
        '"-1"',
        '"0"',
        '""',
        '"1_0"',
        '" 1"',
        '"0x1"',
        "null",
        "true",
        "[]",
        "9" * 400,
        '"' + "9" * 5000 + '"',
    ],
)
def test_what_is_no_price_is_refused_in_both_ways_of_reading(exact: bool, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoder(row_type, exact=exact)(f'{{"price":{value},"size":"1"}}'.encode())


@pytest.mark.parametrize("exact", [False, True])
def test_texts_of_absent_numbers_are_none(exact: bool) -> None:
    assert read_number("", exact=exact) is None
    assert read_number("-0.5", exact=exact) == -0.5
    assert read_positive("0.00", exact=exact) is None
    for text in ("nan", "1e999", "one", "1e9999", "--1"):
        with pytest.raises(ValueError, match=r"is no number|is out of range"):
            read_number(text, exact=exact)
    with pytest.raises(ValueError, match="below zero"):
        read_positive("-1", exact=exact)
