"""Every recorded reply of OKX that belongs to these calls, against its own text."""

import gzip
import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from okx_world import LINEAR, SPOT

from zvt_crypto.connectors.okx import parse, reading
from zvt_crypto.connectors.okx.listing import parse_instruments
from zvt_crypto.core.column import floats_of, times_of
from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.instrument import InstrumentTable, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range

EVER = Range(0, 4_000_000_000_000_000)


def replies(shared_data: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(shared_data / "okx" / "rest" / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def expected_rows(shared_data: Path, name: str) -> list[int | None]:
    text = (shared_data / "expected" / f"okx__rest__{name}.json").read_text()
    return [item.get("rows") for item in json.loads(text)["items"]]


def fixture(shared_data: Path, name: str) -> bytes:
    for reply in replies(shared_data, "fixtures_nautilus"):
        if reply["url"] == f"fixture:{name}.json":
            return reply["body"].encode()
    raise AssertionError(name)


def raw(body: bytes) -> list[Any]:
    return json.loads(body)["data"]


def test_the_instruments_of_2022_are_all_read(shared_data: Path):
    name = "instruments_cryptofeed_20220513"
    counts = expected_rows(shared_data, name)
    listed = [parse_instruments(r["body"].encode()) for r in replies(shared_data, name)]

    # spot and swaps in full; futures and options are not ours
    assert counts == [513, 166, 104, 346, 350]
    assert [len(one) for one in listed] == [513, 166, 0, 0, 0]
    spot, swaps = listed[0], listed[1]
    assert all(i.market is Market.SPOT and i.status == "active" for i in spot)
    assert sum(i.market is Market.INVERSE for i in swaps) == 40
    table = InstrumentTable("okx", [*spot, *swaps])
    assert len(table) == 513 + 166
    assert all(table.resolve(i.native) == i for i in table)
    wire = {row["instId"]: row for r in replies(shared_data, name)[:2] for row in raw(r["body"])}
    for one in table:
        row = wire[one.native]
        assert Decimal(str(one.tick_size)) == Decimal(row["tickSz"])
        assert Decimal(str(one.size_step)) == Decimal(row["lotSz"])
        assert one.listed_us == int(row["listTime"]) * 1_000
        if one.is_perpetual:
            size = Decimal(row["ctVal"]) * Decimal(row["ctMult"])
            assert Decimal(str(one.contract_size)) == size
            assert one.settle == row["settleCcy"]


def test_the_swaps_of_2026_are_read(shared_data: Path):
    recorded = replies(shared_data, "swap_fastmm_20260926")
    linear = parse_instruments(recorded[0]["body"].encode())
    inverse = parse_instruments(recorded[1]["body"].encode())

    assert [(i.symbol, i.contract_size, i.tick_size) for i in linear] == [
        ("BTC-USDT-PERP", 0.01, 0.1)
    ]
    assert [(i.symbol, i.contract_size, i.settle) for i in inverse] == [
        ("BTC-USD-PERP", 100.0, "BTC")
    ]
    assert linear[0].listed_us == 1_611_916_860_000_000  # contTdSwTime, not listTime
    assert reading.parse_time(recorded[2]["body"].encode()) == 1_790_439_440_699_000


@pytest.mark.parametrize(("kind", "count"), [("spot", 5), ("swap", 3)])
def test_the_kept_instruments_are_read(shared_data: Path, kind: str, count: int):
    body = fixture(shared_data, f"http_get_instruments_{kind}")

    found = parse_instruments(body)

    assert [i.native for i in found] == [row["instId"] for row in raw(body)]
    assert len(found) == count


@pytest.mark.parametrize("kind", ["futures", "margin", "option"])
def test_the_kept_instruments_of_other_types_are_left_out(shared_data: Path, kind: str):
    assert parse_instruments(fixture(shared_data, f"http_get_instruments_{kind}")) == []


def test_the_kept_candles_equal_their_text(shared_data: Path):
    body = fixture(shared_data, "http_get_candlesticks_full")
    page = parse.parse_candles(body, Market.LINEAR)
    table = parse.finish_candles(
        [page], Interval.M1, EVER, now_us=EVER.end, requests=1, body_bytes=len(body)
    ).table

    rows = raw(body)[::-1]  # newest first on the wire
    assert times_of(table).tolist() == [int(row[0]) * 1_000 for row in rows]
    wire = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 6, "quote_volume": 7}
    for name, at in wire.items():
        assert floats_of(table, name).tolist() == [float(row[at]) for row in rows]
    assert page.precision_loss == 0


def test_kept_candles_that_say_they_are_running_are_dropped(shared_data: Path):
    body = fixture(shared_data, "http_get_candlesticks")

    assert len(raw(body)) == 2
    assert len(parse.parse_candles(body, Market.SPOT).columns["timestamp"]) == 0
    assert parse.parse_opens(body) == [int(row[0]) * 1_000 for row in raw(body)]


def test_the_kept_trades_equal_their_text(shared_data: Path):
    body = fixture(shared_data, "http_get_trades")
    got = parse.parse_trades(body, SPOT)
    table = parse.finish_trades([got.page], EVER, requests=1, body_bytes=0).table

    rows = raw(body)[::-1]
    assert table["trade_id"].to_pylist() == [row["tradeId"] for row in rows]
    assert table["side"].to_pylist() == [row["side"] for row in rows]
    assert floats_of(table, "size").tolist() == [float(row["sz"]) for row in rows]
    assert floats_of(table, "price").tolist() == [float(row["px"]) for row in rows]
    assert times_of(table).tolist() == [int(row["ts"]) * 1_000 for row in rows]
    assert (got.rows, got.oldest_id) == (2, 734864332)
    assert got.oldest_us == times_of(table)[0]


def test_the_kept_funding_is_the_realized_rate(shared_data: Path):
    body = fixture(shared_data, "http_get_funding_rate_history")
    table = parse.finish_funding([parse.parse_funding(body)], EVER, requests=1, body_bytes=0).table

    rows = raw(body)[::-1]
    assert floats_of(table, "funding_rate").tolist() == [float(r["realizedRate"]) for r in rows]
    assert floats_of(table, "funding_rate").tolist() == [-0.00002, 0.00015]
    assert times_of(table).tolist() == [int(r["fundingTime"]) * 1_000 for r in rows]


def test_the_kept_book_equals_its_text(shared_data: Path):
    body = fixture(shared_data, "http_get_order_book")
    book = reading.parse_book(body, SPOT, ts_recv=0)

    (wire,) = raw(body)
    for side, levels in (("bids", book.bids), ("asks", book.asks)):
        assert levels == tuple((float(row[0]), float(row[1])) for row in wire[side])
    assert book.ts_event == int(wire["ts"]) * 1_000


def test_every_recorded_reply_parses_or_is_refused_by_every_parser(shared_data: Path):
    parsers = (
        parse_instruments,
        partial(parse.parse_candles, market=Market.LINEAR),
        partial(parse.parse_trades, instrument=LINEAR),
        parse.parse_funding,
        parse.parse_opens,
        partial(reading.parse_book, instrument=LINEAR, ts_recv=0),
        partial(reading.parse_quotes, instruments={}, ts_recv=0),
        partial(reading.parse_open_interest, instrument=LINEAR, ts_recv=0),
        reading.parse_time,
        reading.parse_maintenance,
    )
    for name in ("fixtures_nautilus", "swap_fastmm_20260926"):
        for reply in replies(shared_data, name):
            for parser in parsers:
                try:
                    parser(reply["body"].encode())
                except CryptoError:
                    continue


def test_recorded_row_counts_are_those_of_the_summaries(shared_data: Path):
    for name in ("fixtures_nautilus", "swap_fastmm_20260926", "instruments_cryptofeed_20220513"):
        for reply, rows in zip(
            replies(shared_data, name), expected_rows(shared_data, name), strict=True
        ):
            if rows is not None:
                assert len(raw(reply["body"])) == rows
