"""Records of streams become the same rows that REST parsing makes."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.binance.parse import parse_agg_trades
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.record import (
    Candle,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.core.schema import KEYS, SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind
from zvt_crypto.core.tabulate import to_table

T0 = 1_704_067_200_000_000

times = st.integers(0, 1 << 52)
amounts = st.floats(1e-300, 1e300)
maybe = st.none() | amounts
ids = st.one_of(
    st.integers(0, 1 << 62), st.integers(1 << 62, 1 << 70), st.uuids().map(str), st.text(min_size=1)
)
sides = st.sampled_from(list(Side))
fills = st.none() | st.integers(1, 1 << 40)
heads = (st.just("okx"), st.just("BTC-USDT"), times, times)

RECORDS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TRADES: st.builds(Trade, *heads, ids, amounts, amounts, sides, fills),
    Kind.QUOTES: st.builds(
        Quote, *heads, maybe, maybe, maybe, maybe, st.none() | st.integers(0, 1 << 60)
    ),
    Kind.CANDLES: st.builds(
        Candle, *heads[:2], st.just(Interval.M1), *heads[2:], *[amounts] * 5, maybe, fills, maybe
    ),
    Kind.MARK_PRICE: st.builds(MarkPrice, *heads, amounts, maybe, maybe, st.none() | times),
    Kind.OPEN_INTEREST: st.builds(OpenInterest, *heads, amounts),
    Kind.LIQUIDATIONS: st.builds(Liquidation, *heads, amounts, amounts, sides),
}


def plain(kind: Kind, record: Any) -> dict[str, Any]:
    """Return what the row of a record has to be, value by value."""
    row = {
        field.name: getattr(record, field.name)
        for field in SCHEMAS[kind]
        if field.name not in ("timestamp", "liquidation_id")
    }
    if kind is Kind.TRADES:
        row["trade_id"] = str(record.trade_id)
    if kind is Kind.QUOTES:
        row["sequence"] = record.sequence or 0
    if "side" in row:
        row["side"] = row["side"].value
    return row


@pytest.mark.parametrize("kind", list(RECORDS))
@given(data=st.data())
def test_every_value_arrives_in_its_column(kind: Kind, data: st.DataObject) -> None:
    records = data.draw(st.lists(RECORDS[kind], max_size=12))
    table = to_table(kind, records)
    table.validate(full=True)
    assert table.schema == SCHEMAS[kind]
    moments = table.column("timestamp").cast(pa.int64()).to_pylist()
    assert moments == [record.ts_event for record in records]
    rest = table.drop_columns(["timestamp"])
    if kind is Kind.MARK_PRICE:
        at = rest.schema.get_field_index("next_funding_time")
        rest = rest.set_column(
            at, "next_funding_time", rest.column("next_funding_time").cast(pa.int64())
        )
    if kind is Kind.LIQUIDATIONS:
        rest = rest.drop_columns(["liquidation_id"])
    assert rest.to_pylist() == [plain(kind, record) for record in records]


def test_kinds_without_a_table_are_refused() -> None:
    for kind in (Kind.BOOK, Kind.STATUS, Kind.FUNDING):
        with pytest.raises(ValueError, match="not rows"):
            to_table(kind, [])


def test_stored_kinds_that_streams_bring_are_all_here() -> None:
    # Settled funding is fetched, what streams foresee of it belongs to the mark price. Rows of
    # books are in test_book_rows.
    assert set(RECORDS) == set(SCHEMAS) - {Kind.FUNDING, Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS}


def test_recorded_trades_become_bit_for_bit_what_rest_parsing_makes(shared_data: Path) -> None:
    path = shared_data / "binance/archive/xrpeth_aggtrades_20191011.jsonl.gz"
    with gzip.open(path, "rb") as file:
        lines = file.read().splitlines()
    parsed = parse_agg_trades(b"[" + b",".join(lines) + b"]").columns
    records = [
        Trade(
            "binance", "XRP-ETH", row["T"] * 1_000, 0, row["a"], float(row["p"]), float(row["q"]),
            Side.SELL if row["m"] else Side.BUY, row["l"] - row["f"] + 1,
        )
        for row in map(json.loads, lines)
    ]  # fmt: skip
    table = to_table(Kind.TRADES, records)
    for name in ("price", "size"):
        bits = np.asarray(table.column(name)).view(np.int64)
        assert np.array_equal(bits, np.asarray(parsed[name]).view(np.int64))
    columns = [pa.array(parsed[field.name]).cast(field.type) for field in list(table.schema)[1:]]
    moments = pa.array(np.asarray(parsed["timestamp"], np.int64) * 1_000).cast(TIMESTAMP)
    assert pa.table([moments, *columns], schema=table.schema).equals(table)


def test_liquidations_of_one_moment_stay_apart_and_told_again_are_the_same() -> None:
    one = Liquidation("bybit", "X-USDT-PERP", T0, T0, 27_123.5, 0.02, Side.SELL)
    other = Liquidation("bybit", "X-USDT-PERP", T0, T0, 27_123.5, 0.02, Side.BUY)
    later = Liquidation("bybit", "X-USDT-PERP", T0 + 1, T0, 27_123.5, 0.02, Side.SELL)
    table = to_table(Kind.LIQUIDATIONS, [one, other, one, later])
    assert table.column("liquidation_id").to_pylist() == [
        "sell-27123.5-0.02-0", "buy-27123.5-0.02-0", "sell-27123.5-0.02-1", "sell-27123.5-0.02-0"
    ]  # fmt: skip
    keys = table.select(list(KEYS[Kind.LIQUIDATIONS])).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == 4
    assert to_table(Kind.LIQUIDATIONS, [one, other, one, later]).equals(table)


def test_a_large_lot_is_as_exact_as_a_small_one() -> None:
    random = Random(7)
    records = [
        Trade("okx", "X-Y", T0 + n, 0, 10**9 + n, random.random(), random.random(), Side.BUY)
        for n in range(50_000)
    ]
    whole = to_table(Kind.TRADES, records)
    parts = [to_table(Kind.TRADES, records[at : at + 777]) for at in range(0, 50_000, 777)]
    assert whole.equals(pa.concat_tables(parts))
