"""Pages of objects: good ones kept, bad ones refused one by one."""

import json
from operator import attrgetter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.wire import Int64, Page, decode_objects, struct_columns
from zvt_crypto.core.errors import MalformedPayload


class Row(msgspec.Struct):
    id: Int64
    price: str
    mark: str | None = None


def read(value: Any) -> Page:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    rows, rejected = decode_objects(body, Row, exchange="x", what="rows")
    return struct_columns(
        rows,
        numbers={"price": attrgetter("price"), "mark": attrgetter("mark")},
        plain={"id": attrgetter("id")},
        nullable={"mark"},
        rejected=rejected,
    )


def test_objects_become_columns() -> None:
    page = read([{"id": 1, "price": "1.5"}, {"id": 2, "price": "2.5", "mark": "3", "more": []}])
    assert page.columns["id"] == [1, 2]
    assert page.columns["price"].tolist() == [1.5, 2.5]
    assert str(page.columns["mark"].tolist()) == "[nan, 3.0]"
    assert page.rejected == []


@pytest.mark.parametrize(
    "bad",
    [
        {"id": 2, "price": ""},
        {"id": 2, "price": None},
        {"id": 2, "price": "x"},
        {"id": 2, "price": "NaN"},
        {"id": 2, "price": "1", "mark": "x"},
        {"id": "2", "price": "1"},
        {"id": 2**63, "price": "1"},
        {"price": "1"},
        [],
        7,
    ],
)
def test_a_bad_object_is_refused_alone(bad: Any) -> None:
    page = read([{"id": 1, "price": "1.5", "mark": ""}, bad, {"id": 3, "price": "3.5"}])
    assert page.columns["id"] == [1, 3]
    assert page.columns["price"].tolist() == [1.5, 3.5]
    assert len(page.rejected) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[{", b"<html>", b"null", b"[" * 3_000])
def test_another_shape_costs_the_page(body: bytes) -> None:
    with pytest.raises(MalformedPayload, match="rows"):
        read(body)


def test_lost_digits_are_counted() -> None:
    assert read([{"id": 1, "price": "12345678901234567.1"}]).precision_loss == 1


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["id", "price"]), x),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        read(value)
    except MalformedPayload:
        assert not isinstance(value, list)
