"""Schemas of the kinds."""

import pyarrow as pa
import pytest

from zvt_crypto.core.schema import KEYS, LATECOMERS, LEVELS, SCHEMAS, TIMESTAMP, empty_table
from zvt_crypto.core.series import Kind

BOOKS = (Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS)


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_every_kind_has_a_schema_a_key_and_an_empty_table(kind: Kind) -> None:
    schema = SCHEMAS[kind]
    assert schema.field(0) == pa.field("timestamp", TIMESTAMP, nullable=False)
    assert KEYS[kind][0] == "timestamp"
    for name in KEYS[kind]:
        assert not schema.field(name).nullable
    assert empty_table(kind).schema == schema
    assert empty_table(kind).num_rows == 0
    amounts = {field.type for field in schema} - {TIMESTAMP, pa.string(), pa.int64()}
    assert amounts == {LEVELS if kind in BOOKS else pa.float64()}


def test_only_streamed_books_and_announcements_have_no_table() -> None:
    assert set(SCHEMAS) == set(KEYS) == set(Kind) - {Kind.BOOK, Kind.STATUS}


def test_columns_that_came_late_stand_last_and_are_whole_numbers() -> None:
    for kind, names in LATECOMERS.items():
        last = list(SCHEMAS[kind])[-len(names) :]
        assert [field.name for field in last] == list(names)
        assert {field.type for field in last} == {pa.int64()}


def test_the_columns_of_candles_and_trades_are_those_of_the_data_dictionary() -> None:
    assert SCHEMAS[Kind.CANDLES].names == [
        "timestamp", "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
        "taker_buy_volume",
    ]  # fmt: skip
    assert SCHEMAS[Kind.TRADES].names == [
        "timestamp", "trade_id", "price", "size", "side", "fills"
    ]  # fmt: skip
