"""Pages of rows: equal to Python's own reading, or refused."""

import contextlib
import json
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.wire import row as rows
from zvt_crypto.connectors.wire import rows_to_columns
from zvt_crypto.core.errors import MalformedPayload

NAMES = ("timestamp", "open", None, "close")


def encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def read(body: bytes, names: tuple[str | None, ...] = NAMES) -> Any:
    return rows_to_columns(body, names, exchange="binance", what="klines")


def random_decimal(rng: random.Random) -> str:
    whole = str(rng.randint(0, 10 ** rng.randint(1, 12)))
    places = rng.randint(0, 18)
    fraction = "".join(rng.choice("0123456789") for _ in range(places))
    sign = rng.choice(("", "", "", "-"))
    return f"{sign}{whole}.{fraction}" if places else f"{sign}{whole}"


def test_every_of_100_000_random_decimals_equals_pythons_float() -> None:
    # given decimals of all lengths, quoted and not
    rng = random.Random(7)
    texts = [random_decimal(rng) for _ in range(100_000)]
    quoted = b"[" + b",".join(f'[{i},"{t}"]'.encode() for i, t in enumerate(texts)) + b"]"
    bare = b"[" + b",".join(f"[{i},{t}]".encode() for i, t in enumerate(texts)) + b"]"
    wanted = [float(t) for t in texts]
    for body in (quoted, bare):
        # when they are read the fast way
        page = rows.fast_rows(body, ("timestamp", "value"))
        # then not one differs in its last bit, and the lost ones are counted exactly
        assert page is not None
        assert page.columns["value"].tolist() == wanted
        lost = sum(Decimal(repr(float(t))) != Decimal(t) for t in texts)
        assert page.precision_loss == lost
        assert page.columns["timestamp"].tolist() == list(range(100_000))


def test_columns_beyond_the_names_and_between_them_are_skipped() -> None:
    page = read(b'[[1,"2.5",3,"4.5","x",null],[2,"3.5",3,"5.5","y",null]]')
    assert {k: v.tolist() for k, v in page.columns.items()} == {
        "timestamp": [1.0, 2.0],
        "open": [2.5, 3.5],
        "close": [4.5, 5.5],
    }
    assert page.rejected == []


def test_an_empty_page_has_empty_columns() -> None:
    page = read(b"[]")
    assert [len(v) for v in page.columns.values()] == [0, 0, 0]
    assert page.rejected == []


def test_blanks_between_cells_are_read_too() -> None:
    page = read(b' [ [ 1 , "2.5" , 3 , "4.5" ] ,\n [ 2, "3.5", 3, "5.5" ] ] ')
    assert page.columns["open"].tolist() == [2.5, 3.5]


@pytest.mark.parametrize(
    "cell",
    ['""', "null", '"abc"', '"1.2.3"', '"--1"', '"NaN"', '"1e999"', "true", '"1,5"', '"1 2"'],
)
def test_a_bad_cell_costs_its_row_and_no_other(cell: str) -> None:
    body = b'[[1,"2.5",3,"4.5"],[2,' + cell.encode() + b',3,"5.5"],[3,"6.5",3,"7.5"]]'
    page = read(body)
    assert page.columns["timestamp"].tolist() == [1, 3]
    assert page.columns["close"].tolist() == [4.5, 7.5]
    (bad,) = page.rejected
    assert bad.timestamp_us == 2_000_000
    assert "open" in bad.reason
    assert cell in bad.raw


@pytest.mark.parametrize(
    "cell", ['"5"12"', '5"12"', "1-2", "[5]", '{"a":5}', "NaN", "Infinity", "'1'"]
)
def test_what_is_no_json_or_nested_costs_the_page(cell: str) -> None:
    for bad in (
        f'[[1,"2.5",3,{cell}]]',
        f'[[1,{cell},3,"4"]]',
        f'[[1,"2",3,"4"],[{cell},"2",3,"4"]]',
    ):
        with pytest.raises(MalformedPayload, match="klines"):
            read(bad.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"[1,2,3,4]",
        b"[[1,2,3,4],5]",
        b"[[1,2,3,4],[",
        b"[[1,2,3,4]",
        b"[[1,2,3,4]]]",
        b"[[[1,2,3,4]]]",
        b'[[1,"2",3,"4"]][[5,"6",7,"8"]]',
        b"[[1,2,3]]",
        b"<html><body>Bad Gateway</body></html>",
        b'{"code":-1121,"msg":"Invalid symbol."}',
        b"[[1,2,3,4],[5,6,7,8],]",
        b"[" * 5_000,
    ],
)
def test_any_other_shape_costs_the_page(body: bytes) -> None:
    with pytest.raises(MalformedPayload):
        read(body)


def test_a_row_that_is_too_short_is_refused_alone() -> None:
    page = read(b'[[1,"2.5",3,"4.5"],[2,"3.5"],[3,"6.5",3,"7.5"]]')
    assert page.columns["timestamp"].tolist() == [1, 3]
    assert [bad.timestamp_us for bad in page.rejected] == [2_000_000]


def test_a_time_must_be_whole_and_exact() -> None:
    page = read(b'[[1,"2",3,"4"],[1.5,"2",3,"4"],[9007199254740993,"2",3,"4"]]')
    assert page.columns["timestamp"].tolist() == [1]
    assert len(page.rejected) == 2


def test_numbers_with_an_exponent_are_read_and_judged_exactly() -> None:
    page = read(b'[[1,"1e-7",3,1.5E+3],[2,"1e-400",3,"4"]]')
    assert page.columns["open"].tolist() == [1e-7, 0.0]
    assert page.columns["close"].tolist() == [1500.0, 4.0]
    assert page.precision_loss == 1


scalars = st.one_of(
    st.integers(-(10**15), 10**15),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str),
    st.text(max_size=5),
    st.none(),
    st.booleans(),
)


@given(st.lists(st.lists(scalars, min_size=3, max_size=6), max_size=8))
def test_fast_and_strict_agree_on_any_page_of_scalars(value: list[list[Any]]) -> None:
    body = encode(value)
    fast = rows.fast_rows(body, NAMES)
    try:
        strict = rows.strict_rows(body, NAMES, "binance", "klines")
    except MalformedPayload:
        assert fast is None
        return
    if fast is not None:
        assert strict.rejected == []
        assert fast.precision_loss == strict.precision_loss
        for name, column in fast.columns.items():
            assert np.array_equal(column, strict.columns[name])


decimals = st.from_regex(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,18})?", fullmatch=True)


@given(st.lists(st.booleans(), min_size=4, max_size=7), st.integers(1, 9), st.data())
def test_a_page_of_numbers_goes_the_fast_way_and_equals_the_strict_one(
    quoted: list[bool], height: int, data: st.DataObject
) -> None:
    # given a page of any size, whose columns are quoted or bare, the first and the last too
    page: list[str] = []
    for at in range(height):
        texts = [str(at), *(data.draw(decimals) for _ in quoted[1:])]
        cells = [f'"{t}"' if q else t for t, q in zip(texts, quoted, strict=True)]
        page.append(f"[{','.join(cells)}]")
    body = f"[{','.join(page)}]".encode()
    # when it is read both ways
    fast = rows.fast_rows(body, NAMES)
    strict = rows.strict_rows(body, NAMES, "binance", "klines")
    # then they agree to the last bit, and on what float64 cannot hold
    assert fast is not None
    assert strict.rejected == []
    assert fast.precision_loss == strict.precision_loss
    for name, column in fast.columns.items():
        assert column.tobytes() == strict.columns[name].tobytes()


@pytest.mark.parametrize("mark", ["x", "[", "]", "{", "e5", "E5", "\\"])
def test_the_fast_way_takes_no_letter_and_no_bracket_even_where_nobody_looks(mark: str) -> None:
    for row in (f'[3,"4",5{mark},"6"]', f'[3,"4",5,"6","{mark}"]', f'[3,"4",{mark},"6"]'):
        assert rows.fast_rows(f'[[1,"2",3,"4"],{row}]'.encode(), NAMES) is None


@pytest.mark.parametrize("cell", ["", '"', '""', '5"', '"5', "5"])
def test_the_fast_way_takes_no_broken_cell_even_where_nobody_looks(cell: str) -> None:
    assert rows.fast_rows(b'[[1,"2","3","4"],[5,"6","7","8"]]', NAMES) is not None
    assert rows.fast_rows(f'[[1,"2","3","4"],[5,"6",{cell},"8"]]'.encode(), NAMES) is None


def test_a_number_beyond_float64_is_refused_with_its_row() -> None:
    page = read(f'[[1,"2.5",3,"4.5"],[2,"{"9" * 400}",3,"5.5"]]'.encode())
    assert page.columns["timestamp"].tolist() == [1]
    (bad,) = page.rejected
    assert "beyond float64" in bad.reason


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(MalformedPayload):
        read(body)


@given(st.data())
def test_a_damaged_page_never_yields_a_number_that_is_not_in_it(data: st.DataObject) -> None:
    # given a good page with one byte changed, dropped or repeated
    body = bytearray(encode([[i, f"{i}.25", 3, f"{i}.5"] for i in range(4)]))
    at = data.draw(st.integers(0, len(body) - 1))
    match data.draw(st.sampled_from(("change", "drop", "repeat", "cut"))):
        case "change":
            body[at] = data.draw(st.integers(0, 255))
        case "drop":
            del body[at]
        case "repeat":
            body[at:at] = body[at : at + 1]
        case _:
            del body[at:]
    # when the fast way reads it
    fast = rows.fast_rows(bytes(body), NAMES)
    # then it says what a plain split of the text says, or nothing
    if fast is not None:
        cells = [line.split(b",") for line in bytes(body).strip(b"[]").split(b"],[")]
        for name, at in (("timestamp", 0), ("open", 1), ("close", 3)):
            assert fast.columns[name].tolist() == [float(row[at].strip(b'"')) for row in cells]


@pytest.mark.parametrize("text", ["007", "1.", ".5", "-.5"])
def test_spellings_json_does_not_know_are_read_as_python_does(text: str) -> None:
    page = rows.fast_rows(f"[[1,{text},3,4]]".encode(), NAMES)
    assert page is not None
    assert page.columns["open"].tolist() == [float(text)]
