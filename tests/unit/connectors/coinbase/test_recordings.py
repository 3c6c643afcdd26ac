"""Every recorded reply of Coinbase that belongs to these calls, against its own text."""

import gzip
import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from coinbase_world import PERP, SPOT

from zvt_crypto.connectors.coinbase import listing, parse, reading
from zvt_crypto.core.column import floats_of, times_of
from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.timestamp import to_us

EVER = Range(0, 4_000_000_000_000_000)
NAMES = ("fixtures_nautilus", "advanced_fastmm_20260930")


def replies(shared_data: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(shared_data / "coinbase" / "rest" / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def fixture(shared_data: Path, name: str) -> bytes:
    for reply in replies(shared_data, "fixtures_nautilus"):
        if reply["url"] == f"fixture:{name}.json":
            return reply["body"].encode()
    raise AssertionError(name)


def same(one: Instrument, wire: dict[str, Any]) -> None:
    assert one.native == wire["product_id"]
    assert Decimal(str(one.tick_size)) == Decimal(wire["price_increment"])
    assert Decimal(str(one.size_step)) == Decimal(wire["base_increment"])
    assert Decimal(str(one.min_size)) == Decimal(wire["base_min_size"])


def test_the_products_of_spot_are_read(shared_data: Path):
    body = fixture(shared_data, "http_products")
    page = listing.parse_products(body)

    wire = json.loads(body)["products"]
    assert (page.rows, page.has_next) == (len(wire), False)
    assert [one.symbol for one in page.instruments] == ["BTC-USD", "BTC-USDC"]
    for one, row in zip(page.instruments, wire, strict=True):
        same(one, row)
        assert one.status == "active"
        assert one.min_notional == 1.0


def test_a_pair_of_one_book_names_the_product_its_live_data_comes_under(shared_data: Path):
    page = listing.parse_products(fixture(shared_data, "http_products"))

    assert {one.symbol: one.aliases for one in page.instruments} == {
        "BTC-USD": (),
        "BTC-USDC": ("BTC-USD",),
    }


def test_the_recorded_futures_are_one_perpetual_and_one_dated_contract(shared_data: Path):
    body = fixture(shared_data, "http_products_future")
    page = listing.parse_products(body)

    assert page.rows == 2
    (perp,) = page.instruments
    same(perp, json.loads(body)["products"][0])
    assert (perp.symbol, perp.native, perp.contract_size) == (
        "BTC-USD-PERP",
        "BIP-20DEC30-CDE",
        0.01,
    )
    assert (perp.tick_size, perp.status) == (5.0, "active")


def test_the_recorded_product_of_2026_is_read(shared_data: Path):
    body = replies(shared_data, "advanced_fastmm_20260930")[0]["body"].encode()
    one = listing.parse_product(body)

    assert one is not None
    same(one, json.loads(body))
    assert listing.parse_open_interest(body) is None


def test_the_open_interest_of_the_recorded_perpetual_is_in_coins(shared_data: Path):
    rows = json.loads(fixture(shared_data, "http_products_future"))["products"]

    assert listing.parse_open_interest(json.dumps(rows[0]).encode()) == 183283 * 0.01


def test_the_recorded_times_are_read(shared_data: Path):
    body = replies(shared_data, "advanced_fastmm_20260930")[1]["body"].encode()

    assert reading.parse_time(body) == 1_790_735_849_298_000


def test_the_recorded_candles_equal_their_text(shared_data: Path):
    body = fixture(shared_data, "http_candles")
    fetched = parse.parse_candles(body, SPOT, Interval.H1, EVER, now_us=EVER.end)

    rows = json.loads(body)["candles"][::-1]  # newest first on the wire
    assert times_of(fetched.table).tolist() == [int(row["start"]) * 1_000_000 for row in rows]
    for name in ("open", "high", "low", "close", "volume"):
        assert floats_of(fetched.table, name).tolist() == [float(row[name]) for row in rows]
    assert fetched.precision_loss == 0


def test_the_recorded_trades_equal_their_text_but_for_the_side(shared_data: Path):
    body = fixture(shared_data, "http_ticker")
    got = parse.parse_trades(body, SPOT)
    table = parse.finish_trades(got.page, EVER, requests=1, body_bytes=0).table

    wire = json.loads(body)
    rows = wire["trades"][::-1]
    assert got.rows == 3
    assert table["trade_id"].to_pylist() == [row["trade_id"] for row in rows]
    assert times_of(table).tolist() == [to_us(row["time"]) for row in rows]
    assert floats_of(table, "price").tolist() == [float(row["price"]) for row in rows]
    assert floats_of(table, "size").tolist() == [float(row["size"]) for row in rows]
    assert [row["side"] for row in rows] == ["BUY", "SELL", "SELL"]
    assert table["side"].to_pylist() == ["sell", "buy", "buy"]
    # what proves it: the last print is at the best ask, so its taker bought
    assert rows[-1]["price"] == wire["best_ask"]


def test_the_recorded_book_equals_its_text(shared_data: Path):
    body = fixture(shared_data, "http_product_book")
    book = reading.parse_book(body, SPOT, ts_recv=5)

    wire = json.loads(body)["pricebook"]
    for side, levels in (("bids", book.bids), ("asks", book.asks)):
        assert levels == tuple((float(row["price"]), float(row["size"])) for row in wire[side])
    assert book.ts_event == to_us("2026-04-07T00:28:59.662782Z")
    quote = reading.parse_quote(body, SPOT, ts_recv=5)
    assert (quote.bid_price, quote.ask_price) == (68923.66, 68923.67)


def test_the_number_of_recorded_replies_is_that_of_the_summaries(shared_data: Path):
    for name in NAMES:
        text = (shared_data / "expected" / f"coinbase__rest__{name}.json").read_text()
        items = json.loads(text)["items"]
        recorded = replies(shared_data, name)
        assert [len(r["body"].encode()) for r in recorded] == [i["body_bytes"] for i in items]


def test_every_recorded_reply_parses_or_is_refused_by_every_parser(shared_data: Path):
    parsers = (
        listing.parse_products,
        listing.parse_product,
        listing.parse_open_interest,
        partial(
            parse.parse_candles,
            instrument=PERP,
            interval=Interval.M1,
            window=EVER,
            now_us=EVER.end,
        ),
        partial(parse.parse_trades, instrument=PERP),
        partial(reading.parse_book, instrument=PERP, ts_recv=0),
        reading.parse_time,
    )
    for name in NAMES:
        for reply in replies(shared_data, name):
            for parser in parsers:
                try:
                    parser(reply["body"].encode())
                except CryptoError:
                    continue
