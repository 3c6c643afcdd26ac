"""Every recorded reply of Binance and Binance.US that belongs to our calls, against its summary."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from binance_world import instrument, recorded

from zvt_crypto.connectors.binance.listing import instruments_of, parse_exchange_info, weight_limits
from zvt_crypto.connectors.binance.parse import (
    finish_funding,
    parse_agg_trades,
    parse_candles,
    parse_funding,
    parse_trades,
)
from zvt_crypto.connectors.binance.reading import (
    parse_book_tickers,
    parse_depth,
    parse_open_interest,
    parse_time,
)
from zvt_crypto.connectors.binance.refusal import Refused, refusal
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import RequestRejected
from zvt_crypto.core.instrument import Market, Status
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.connector import Fetched

ALWAYS = Range(0, 4_000_000_000_000_000)
LATER = 4_000_000_000_000_000
FILES = [
    "binance/rest/coinm_btcusd_perp_hft_20240808",
    "binance/rest/coinm_cryptofeed_20210722",
    "binance/rest/fixtures_nautilus",
    "binance/rest/gct_recorded",
    "binance/rest/spot_btcusdt_hft_20240808",
    "binance/rest/spot_cryptofeed_20211012",
    "binance/rest/spot_interleaved_cryptofeed_20210405",
    "binance/rest/spot_testnet_fastmm_20260913",
    "binance/rest/usdm_btcusdt_hft_20230404",
    "binance/rest/usdm_btcusdt_hft_20240718",
    "binance/rest/usdm_btcusdt_hft_20240808",
    "binance/rest/usdm_cryptofeed_20210722",
    "binance_us/rest/spot_cryptofeed_20211012",
]
_FIXTURES = {
    "depth_response": "depth",
    "exchange_info_response": "exchangeInfo",
    "klines_response": "klines",
    "server_time_response": "time",
    "trades_response": "trades",
    "book_ticker_response": "bookTicker",
}


def call_of(url: str) -> str:
    """Return the call a reply belongs to; empty if it is none of ours."""
    if url.startswith("fixture:"):
        return _FIXTURES.get(url.rpartition("/")[2].removesuffix(".json"), "")
    return urlsplit(url).path.rpartition("/")[2]


def market_of(url: str) -> Market:
    if "dapi." in url:
        return Market.INVERSE
    return Market.LINEAR if "fapi." in url or ":futures/" in url else Market.SPOT


def check_instruments(body: bytes, expected: dict[str, Any], market: Market) -> None:
    info = parse_exchange_info(body)
    assert len(info.symbols) == expected["symbols"]
    words = Counter(row.status or row.contract_status for row in info.symbols)
    assert dict(words) == expected["symbols_by_status"]
    found = instruments_of(info, market)
    wanted = [
        row for row in info.symbols if market is Market.SPOT or row.contract_type == "PERPETUAL"
    ]
    assert [one.native for one in found] == [row.symbol for row in wanted]
    assert len({one.symbol for one in found}) == len(found)
    active = sum((row.status or row.contract_status) == "TRADING" for row in wanted)
    assert sum(one.status is Status.ACTIVE for one in found) == active
    if market is Market.SPOT:
        assert len(found) == expected["symbols"]
    rows = {row["symbol"]: row for row in json.loads(body)["symbols"]}
    for one in found:
        filters = {f["filterType"]: f for f in rows[one.native]["filters"]}
        tick, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
        assert one.tick_size == (float(tick["tickSize"]) if tick else None)
        assert one.size_step == (float(lot["stepSize"]) if lot else None)
        assert one.is_perpetual is (market is not Market.SPOT)
    raw = [r for r in json.loads(body)["rateLimits"] if r["rateLimitType"] == "REQUEST_WEIGHT"]
    assert list(weight_limits(info).values()) == [r["limit"] for r in raw]


def check_book(body: bytes, expected: dict[str, Any], market: Market) -> None:
    book = parse_depth(body, instrument(market), ts_recv=LATER)
    raw = json.loads(body)
    assert book.sequence == expected["last_update_id"]
    assert (len(book.bids), len(book.asks)) == (expected["bids"], expected["asks"])
    assert book.bids == tuple((float(p), float(q)) for p, q in raw["bids"])
    assert book.asks == tuple((float(p), float(q)) for p, q in raw["asks"])
    assert [p for p, _ in book.bids] == sorted((p for p, _ in book.bids), reverse=True)
    assert [p for p, _ in book.asks] == sorted(p for p, _ in book.asks)
    assert book.ts_event == (raw["T"] * 1000 if "T" in raw else LATER)


def check_candles(body: bytes, expected: dict[str, Any], url: str) -> None:
    spelling = parse_qs(urlsplit(url).query).get("interval", ["1w"])[0]
    interval = Interval.parse(spelling)
    market = market_of(url)
    done = parse_candles(body, interval, ALWAYS, now_us=LATER, market=market)
    raw = json.loads(body)
    assert done.rejected == ()
    assert done.table.num_rows == len(raw) == expected["rows"]
    assert (times_of(done.table) // 1000).tolist() == [row[0] for row in raw]
    places = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7}
    places |= {"trade_count": 8, "taker_buy_volume": 9}
    if market is Market.INVERSE:
        places |= {"volume": 7, "taker_buy_volume": 10}
        del places["quote_volume"]
    for name, place in places.items():
        assert done.table[name].to_pylist() == [float(row[place]) for row in raw]
    decimals = [row[place] for row in raw for name, place in places.items() if name != "timestamp"]
    lost = sum(Decimal(repr(float(d))) != Decimal(d) for d in decimals)
    assert done.precision_loss == lost


def check_trades(body: bytes, expected: dict[str, Any], *, are_aggregate: bool) -> None:
    page = (parse_agg_trades if are_aggregate else parse_trades)(body)
    raw = json.loads(body)
    keys = ("a", "p", "q", "T", "m")
    if not are_aggregate:
        keys = ("id", "price", "qty", "time", "isBuyerMaker")
    assert page.rejected == []
    assert len(raw) == expected["rows"]
    assert page.columns["trade_id"] == [row[keys[0]] for row in raw]
    assert page.columns["price"].tolist() == [float(row[keys[1]]) for row in raw]
    assert page.columns["size"].tolist() == [float(row[keys[2]]) for row in raw]
    assert page.columns["timestamp"] == [row[keys[3]] for row in raw]
    assert page.columns["side"] == ["sell" if row[keys[4]] else "buy" for row in raw]


def check_funding(body: bytes, expected: dict[str, Any]) -> None:
    done: Fetched = finish_funding([parse_funding(body)], ALWAYS, requests=1, body_bytes=0)
    raw = {round(row["fundingTime"] / 1000) * 1_000_000: row for row in json.loads(body)}
    assert done.rejected == ()
    assert done.table.num_rows == len(raw) == expected["rows"]
    assert times_of(done.table).tolist() == sorted(raw)
    rates = [float(raw[time]["fundingRate"]) for time in sorted(raw)]
    assert done.table["funding_rate"].to_pylist() == rates


def check_one(body: bytes, url: str, expected: dict[str, Any]) -> None:
    match call_of(url):
        case "exchangeInfo":
            check_instruments(body, expected, market_of(url))
        case "depth":
            check_book(body, expected, market_of(url))
        case "aggTrades" | "trades" as call:
            check_trades(body, expected, are_aggregate=call == "aggTrades")
        case "fundingRate":
            check_funding(body, expected)
        case "time":
            assert parse_time(body) == json.loads(body)["serverTime"] * 1000
        case "openInterest":
            interest = parse_open_interest(body, instrument(Market.LINEAR), ts_recv=0)
            assert interest.open_interest == float(json.loads(body)["openInterest"])
            assert interest.ts_event == json.loads(body)["time"] * 1000
        case "bookTicker":
            check_quotes(body)
        case _:
            check_candles(body, expected, url)


def check_quotes(body: bytes) -> None:
    raw = json.loads(body)
    rows = raw if isinstance(raw, list) else [raw]
    known = [instrument(native=row["symbol"]) for row in rows]
    quotes = parse_book_tickers(body, known, ts_recv=7)
    assert [quote.bid_price for quote in quotes] == [float(row["bidPrice"]) or None for row in rows]
    assert [quote.ask_size for quote in quotes] == [
        float(row["askQty"]) if float(row["askPrice"]) else None for row in rows
    ]
    assert [quote.ts_event for quote in quotes] == [row.get("time", 0) * 1000 or 7 for row in rows]


OURS = {
    "exchangeInfo", "depth", "klines", "aggTrades", "trades", "fundingRate", "time", "openInterest",
    "bookTicker", "continuousKlines", "indexPriceKlines", "markPriceKlines",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_reply_of_our_calls_parses_to_its_summary(
    name: str, shared_data: Path
) -> None:
    checked = 0
    for said, expected in recorded(shared_data, name):
        body = said["body"].encode()
        assert said["url"] == expected["url"]
        assert len(body) == expected["body_bytes"]
        if call_of(said["url"]) not in OURS:
            continue
        checked += 1
        error = refusal(Refused(200, {}, body, "host", LATER))
        if "rows" not in expected and body.startswith(b'{"code"'):
            assert isinstance(error, RequestRejected)
            assert error.exchange_code == "-4088"
            continue
        assert error is None
        check_one(body, said["url"], expected)
    assert checked > 0


def test_no_recorded_file_of_our_calls_is_left_out(shared_data: Path) -> None:
    present = [
        f"{folder}/rest/{path.name.removesuffix('.jsonl.gz')}"
        for folder in ("binance", "binance_us")
        for path in sorted((shared_data / folder / "rest").glob("*.jsonl.gz"))
    ]
    # a private account reply belongs to none of our calls
    assert set(present) - set(FILES) == {"binance/rest/usdm_demo_account_fastmm_20260930"}
