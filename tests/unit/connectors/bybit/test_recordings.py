"""Every recorded reply that belongs to these calls, against its raw text and its summary."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bybit_world import as_bytes, wrap

from zvt_crypto.connectors.bybit.parse import (
    parse_book,
    parse_candles,
    parse_funding,
    parse_instruments,
    parse_open_interest,
    parse_quotes,
    parse_time,
    parse_trades,
)
from zvt_crypto.connectors.bybit.refusal import check_reply
from zvt_crypto.core.instrument import Instrument, Market, canonical_symbol
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.ranges import Range

FILES = ["fixtures_nautilus", "gct_tickers_20230816", "spot_testnet_fastmm_20260913"]
ALL_TIME = Range(0, 4_000_000_000_000_000)


def lines(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def replies(shared_data: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return every reply of a file with its summary."""
    recorded = list(lines(shared_data / f"bybit/rest/{name}.jsonl.gz"))
    expected = json.loads((shared_data / f"expected/bybit__rest__{name}.json").read_text())
    assert expected["responses"] == len(recorded)
    return list(zip(recorded, expected["items"], strict=True))


def fixture(shared_data: Path, name: str) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    for reply, summary in replies(shared_data, "fixtures_nautilus"):
        if reply["url"] == f"fixture:http_get_{name}.json":
            body = reply["body"].encode()
            assert len(body) == summary["body_bytes"]
            return body, json.loads(body)["result"], summary
    pytest.fail(f"no fixture {name}")


def make(native: str, market: Market, base: str = "", quote: str = "USDT") -> Instrument:
    settle = None if market is Market.SPOT else quote
    base = base or native.removesuffix(quote)
    return Instrument(
        exchange="bybit",
        symbol=canonical_symbol(base, quote, settle),
        native=native,
        base=base,
        quote=quote,
        settle=settle,
        market=market,
    )


def number(text: str) -> float | None:
    return float(text) if text and float(text) > 0 else None


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_reply_passes_the_check(shared_data: Path, name: str):
    for reply, _ in replies(shared_data, name):
        check_reply(reply["status"], {}, reply["body"].encode(), now_ms=0)


@pytest.mark.parametrize(
    ("name", "market", "kept"),
    [
        ("instruments_spot", Market.SPOT, 2),
        ("instruments_spot_xstocks", Market.SPOT, 1),
        ("instruments_linear", Market.LINEAR, None),
        ("instruments_linear_symbol_type", Market.LINEAR, 0),
        ("instruments_inverse", Market.INVERSE, 1),
        ("instruments_inverse_symbol_type", Market.INVERSE, 0),
    ],
)
def test_recorded_instruments(shared_data: Path, name: str, market: Market, kept: int | None):
    body, result, summary = fixture(shared_data, name)
    page = parse_instruments(body, market)
    assert page.rows == summary["rows"]
    assert page.cursor == ""
    wanted = [r for r in result["list"] if not r.get("contractType", "").endswith("Futures")]
    assert len(page.instruments) == (len(wanted) if kept is None else kept)
    every = parse_instruments(body, market, only_crypto=False).instruments
    check_instruments(wanted, every, market)


def check_instruments(rows: list[dict[str, Any]], found: Any, market: Market) -> None:
    assert [i.native for i in found] == [r["symbol"] for r in rows]
    for raw, one in zip(rows, found, strict=True):
        lot = raw["lotSizeFilter"]
        assert (one.base, one.quote, one.market) == (raw["baseCoin"], raw["quoteCoin"], market)
        assert one.tick_size == float(raw["priceFilter"]["tickSize"])
        assert one.settle == (None if market is Market.SPOT else raw["settleCoin"])
        if market is Market.SPOT:
            assert one.size_step == float(lot["basePrecision"])
            assert one.min_notional == float(lot["minOrderAmt"])
        else:
            assert one.size_step == float(lot["qtyStep"])
            assert one.min_size == float(lot["minOrderQty"])
            assert one.listed_us == (int(raw["launchTime"]) * 1_000 or None)
            assert one.delisted_us == (int(raw["deliveryTime"]) * 1_000 or None)


@pytest.mark.parametrize(
    ("name", "market", "rows", "perpetuals"),
    [("linear", Market.LINEAR, 552, 530), ("spot", Market.SPOT, 653, 653)],
)
def test_the_full_list_of_a_production_day(
    shared_data: Path, name: str, market: Market, rows: int, perpetuals: int
):
    listed = list(lines(shared_data / f"bybit/archive/instruments_{name}_20250327.jsonl.gz"))
    page = parse_instruments(as_bytes(wrap({"list": listed})), market)
    assert (page.rows, len(page.instruments)) == (rows, perpetuals)
    wanted = [r for r in listed if r.get("contractType") in (None, "LinearPerpetual")]
    check_instruments(wanted, page.instruments, market)
    assert len({i.symbol for i in page.instruments}) == perpetuals


def test_recorded_instruments_of_the_testnet(shared_data: Path):
    (reply, summary), _ = replies(shared_data, "spot_testnet_fastmm_20260913")
    page = parse_instruments(reply["body"].encode(), Market.SPOT)
    assert page.rows == summary["rows"] == 1
    assert page.instruments[0].symbol == "BTC-USDT"
    assert page.instruments[0].size_step == 1e-6


def test_recorded_time(shared_data: Path):
    _, (reply, _) = replies(shared_data, "spot_testnet_fastmm_20260913")
    nanos = int(json.loads(reply["body"])["result"]["timeNano"])
    assert parse_time(reply["body"].encode()) == nanos // 1_000


def test_recorded_candles(shared_data: Path):
    body, result, summary = fixture(shared_data, "klines_linear")
    later = Range(0, ALL_TIME.end)
    # Its only bar opens in the minute of the reply: as a bar of seconds it would be over, as a
    # minute it is running.
    fetched = parse_candles(
        body, make("BTCUSDT", Market.LINEAR), Interval.M1, later, now_us=ALL_TIME.end
    )
    assert fetched.table.num_rows == 0
    # given the same reply an hour later
    reply = json.loads(body)
    reply["time"] += 3_600_000
    fetched = parse_candles(
        as_bytes(reply), make("BTCUSDT", Market.LINEAR), Interval.M1, later, now_us=0
    )
    assert fetched.table.num_rows == summary["rows"]
    raw = result["list"][0]
    row = fetched.table.to_pylist()[0]
    names = ("open", "high", "low", "close", "volume", "quote_volume")
    assert [row[n] for n in names] == [float(text) for text in raw[1:]]


def test_recorded_trades(shared_data: Path):
    body, result, summary = fixture(shared_data, "trades_recent")
    assert summary["rows"] == 1
    # A page of one trade vouches for nothing up to that trade's millisecond; one before it does.
    raw = result["list"][0]
    older = raw | {"execId": "older", "time": str(int(raw["time"]) - US_PER_DAY // 1_000)}
    reply = json.loads(body)
    reply["result"]["list"].append(older)
    fetched = parse_trades(
        as_bytes(reply), make("BTCUSDT", Market.LINEAR), ALL_TIME, now_us=0, settle_us=0
    )
    assert fetched is not None
    row = fetched.table.to_pylist()[0]
    assert (row["trade_id"], row["side"]) == (raw["execId"], "buy")
    assert (row["price"], row["size"]) == (float(raw["price"]), float(raw["size"]))
    assert fetched.table["timestamp"].cast("int64").to_pylist() == [int(raw["time"]) * 1_000]


def test_recorded_funding(shared_data: Path):
    body, result, summary = fixture(shared_data, "funding_history")
    table = parse_funding(body, make("BTCUSDT", Market.LINEAR), ALL_TIME).table
    assert table.num_rows == summary["rows"]
    raw = result["list"][::-1]
    assert table["funding_rate"].to_pylist() == [float(r["fundingRate"]) for r in raw]
    times = [int(r["fundingRateTimestamp"]) * 1_000 for r in raw]
    assert table["timestamp"].cast("int64").to_pylist() == times


def test_recorded_book(shared_data: Path):
    body, result, _ = fixture(shared_data, "orderbook")
    book = parse_book(body, make("BTCUSDT", Market.LINEAR), ts_recv=7)
    assert book.bids == tuple((float(p), float(q)) for p, q in result["b"])
    assert book.asks == tuple((float(p), float(q)) for p, q in result["a"])
    assert (book.sequence, book.ts_event) == (result["u"], result["cts"] * 1_000)


@pytest.mark.parametrize(("at", "market"), [(0, Market.SPOT), (1, Market.LINEAR)])
def test_recorded_tickers(shared_data: Path, at: int, market: Market):
    reply, summary = replies(shared_data, "gct_tickers_20230816")[at]
    raw = json.loads(reply["body"])
    rows = raw["result"]["list"]
    instruments = [make(r["symbol"], market, base=r["symbol"], quote="?") for r in rows]
    quotes = parse_quotes(reply["body"].encode(), instruments, market, ts_recv=7)
    assert len(quotes) == summary["rows"] == len(rows)
    for row, quote in zip(rows, quotes, strict=True):
        assert quote.bid_price == number(row["bid1Price"])
        assert quote.ask_price == number(row["ask1Price"])
        assert quote.bid_size == float(row["bid1Size"] or 0)
        assert quote.ask_size == float(row["ask1Size"] or 0)
        assert quote.ts_event == raw["time"] * 1_000


def test_recorded_open_interest(shared_data: Path):
    reply, _ = replies(shared_data, "gct_tickers_20230816")[1]
    for row in json.loads(reply["body"])["result"]["list"]:
        one = make(row["symbol"], Market.LINEAR, base=row["symbol"], quote="?")
        found = parse_open_interest(reply["body"].encode(), one, ts_recv=7)
        # Recorded before `singleOpenInterest`: both sides, halved.
        assert Decimal(repr(found.open_interest)) * 2 == Decimal(row["openInterest"])
