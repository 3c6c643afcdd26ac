"""Every recorded WebSocket session, replayed by the command, gives the values computed elsewhere.

`expected/` was made by a program that shares no line with this one. Every key it holds is compared
here or stands in `LEFT_OUT` with its reason; a key nobody thought of fails the test.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from cli_process import zvtc

EXCHANGE_FOLDERS: Final = ("binance", "binance_us", "okx", "bybit", "coinbase", "coinbase_exchange")
SESSIONS: Final = (
    "binance/coinm_btcusd_perp_hft_20240808",
    "binance/coinm_btcusd_perp_hft_20240809",
    "binance/coinm_cryptofeed_20210722",
    "binance/spot_btcusdt_hft_20240808",
    "binance/spot_btcusdt_hft_20240809",
    "binance/spot_cryptofeed_20211012",
    "binance/spot_interleaved_cryptofeed_20210405",
    "binance/spot_testnet_fastmm_20260913",
    "binance/usdm_btcusdt_hft_20230404",
    "binance/usdm_btcusdt_hft_20240718",
    "binance/usdm_btcusdt_hft_20240719",
    "binance/usdm_btcusdt_hft_20240808",
    "binance/usdm_cryptofeed_20210722",
    "binance/usdm_markprice_fastmm_20260930",
    "binance_us/spot_cryptofeed_20211012",
    "bybit/linear_tickers_fastmm_20260930_head",
    "bybit/spot_testnet_fastmm_20260913",
    "coinbase/advanced_fastmm_20260930_head",
    "coinbase_exchange/exchange_fastmm_20260930",
    "okx/public_cryptofeed_20210722_conn1",
    "okx/public_cryptofeed_20210722_conn2",
    "okx/public_cryptofeed_20220513",
    "okx/swap_fastmm_20260926",
    "okx/swap_funding_fastmm_20260930",
)
FIXTURES: Final = ("binance", "bybit", "coinbase", "okx")

# Sections of `expected`, and where the summary has them below a symbol.
TRADES: Final = {
    "trades": "trades",
    "agg_trades": "agg_trades",
    "trades_update": "trades",
    "trades_snapshot": "trades_snapshot",
    "last_match": "last_match",
}
QUOTES: Final = {"quotes": "quotes", "quotes_bbo_tbt": "quotes", "tickers": "tickers"}
SAME: Final = (
    "frames_in",
    "frames_out",
    "bytes_raw",
    "connections",
    "recv_time_goes_back",
    "messages_by_event",
    "messages_by_channel",
    "messages_by_topic",
    "messages_by_type",
    "first_sequence_num",
    "last_sequence_num",
    "sequence_breaks",
    "last_heartbeat_counter",
)
LEFT_OUT: Final = {
    "file": "the name it was given",
    "rest_file": "what the test passes with --rest",
    "note": "prose",
    "tickers.last": "no record has the last price of a ticker",
    "first_rows.index-tickers": "no record has an index alone",
}


class Comparison:
    """Collects what differs, so that one run shows all of it."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.compared = 0

    def same(self, what: str, found: Any, wanted: Any) -> None:
        self.compared += 1
        if _comparable(found) != _comparable(wanted):
            self.differences.append(f"{what}: found {found!r}, expected {wanted!r}")

    def keys(self, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        for key, value in wanted.items():
            self.same(f"{what}.{key}", found.get(key, "absent"), value)


def _comparable(value: Any) -> Any:
    """Return decimals for text that is one, all through a structure."""
    if isinstance(value, str):
        try:
            return Decimal(value)
        except ArithmeticError:
            return value
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    if isinstance(value, dict):
        return {key: _comparable(one) for key, one in value.items()}
    return value


def micros(time: int | str) -> int:
    if isinstance(time, int):
        return time * 1_000
    moment = datetime.fromisoformat(time)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def names(shared_data: Path, session: str) -> tuple[str, Path, Path, dict[str, Any]]:
    folder, name = session.split("/")
    file = f"{name}.jsonl.gz"
    wanted = json.loads((shared_data / f"expected/{folder}__ws__{name}.json").read_text())
    return folder, shared_data / folder / "ws" / file, shared_data / folder / "rest" / file, wanted


def test_all_recorded_sessions_are_listed(shared_data: Path):
    found = {
        f"{folder}/{path.name.removesuffix('.jsonl.gz')}"
        for folder in EXCHANGE_FOLDERS
        for path in (shared_data / folder / "ws").glob("*.jsonl.gz")
    }
    assert found == {*SESSIONS, *(f"{name}/fixtures_nautilus" for name in FIXTURES)}


@pytest.mark.slow
@pytest.mark.parametrize("session", SESSIONS)
def test_a_recorded_session_gives_the_expected_values(
    shared_data: Path, tmp_path: Path, session: str
):
    # given a recording, and the REST replies recorded with it
    folder, file, rest, wanted = names(shared_data, session)
    companion = ("--rest", str(rest)) if wanted["rest_file"] else ()
    assert rest.is_file() == bool(companion)
    # when it is summed up
    ended = zvtc(
        "replay", str(file), "--exchange", folder, *companion, "--summary", "--json", cwd=tmp_path
    )
    assert ended.code == 0, ended.err
    found = ended.json
    # then nothing is undecoded and every value is the one computed elsewhere
    assert found["undecoded"] == 0, (found["undecoded_reasons"], found["undecoded_samples"])
    assert found["frames"] == wanted["frames_in"]
    check = Comparison()
    for key, value in wanted.items():
        compare(check, key, value, found)
    assert not check.differences, "\n".join(check.differences)
    assert check.compared > 10


def compare(check: Comparison, key: str, wanted: Any, found: dict[str, Any]) -> None:
    if key in LEFT_OUT:
        return
    if key in SAME:
        # Coinbase's older feed has types where Advanced Trade has channels.
        ours = "messages_by_channel" if key == "messages_by_type" else key
        check.same(key, found.get(ours), wanted)
    elif key in {"recv_first", "recv_last"}:
        at = found[f"{key}_us"]
        close = at is None if wanted is None else abs(at / 1e6 - wanted) < 2e-6
        check.same(key, close, True)
    elif key in COMPARED:
        COMPARED[key](check, key, found["symbols"], wanted)
    else:
        check.differences.append(f"{key}: nobody compares it")


Symbols = dict[str, dict[str, Any]]


def compare_all_trades(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    for symbol, one in wanted.items():
        compare_trades(check, f"{symbol} {key}", symbols[symbol][TRADES[key]], one)


def compare_quotes(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    for symbol, one in wanted.items():
        if "merged_final_state" in one:
            compare_bybit_ticker(check, symbol, symbols[symbol], one)
            continue
        rest = {name: value for name, value in one.items() if f"{key}.{name}" not in LEFT_OUT}
        check.keys(f"{symbol} {key}", symbols[symbol][QUOTES[key]], rest)


def compare_books(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    books = {name: book for one in symbols.values() for name, book in one["books"].items()}
    check.same(key, sorted(books), sorted(wanted))
    for name, one in wanted.items():
        check.keys(name, books[name], one)


def compare_candles(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    for name, one in wanted.items():
        symbol, width = name.split("@")
        check.keys(name, symbols[symbol][key][width], one)


def compare_marks(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    for symbol, one in wanted.items():
        check.keys(f"{symbol} {key}", symbols[symbol]["mark_prices"], one)


def compare_trades(
    check: Comparison, what: str, found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    for key, value in wanted.items():
        if key in {"first_exchange_time", "last_exchange_time"}:
            ours = found[key.replace("exchange_time", "event_us")]
            check.same(f"{what}.{key}", ours, micros(value))
        else:
            check.same(f"{what}.{key}", found.get(key, "absent"), value)
    check.same(f"{what} sum", found["sum_size_native"], wanted["sum_quantity"])


def compare_bybit_ticker(
    check: Comparison, symbol: str, found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    ticker, state = found["tickers"], wanted["merged_final_state"]
    check.same(f"{symbol} snapshots", ticker["snapshots"], wanted["snapshots"])
    check.same(f"{symbol} deltas", ticker.get("deltas"), wanted["deltas"])
    funding, mark = found["funding"], found["mark_prices"]["last"]
    check.same(f"{symbol} rates", funding["funding_rates"], wanted["funding_rates"])
    times = [str(time) for time in funding["next_funding_times"]]
    check.same(f"{symbol} times", times, wanted["next_funding_times"])
    check.same(f"{symbol} mark", mark["mark"], state["markPrice"])
    check.same(f"{symbol} index", mark["index"], state["indexPrice"])
    check.same(f"{symbol} rate", funding["last"]["predicted_rate"], state["fundingRate"])
    # `openInterest` counts both sides of every contract.
    interest = found["open_interest"]["last"]["open_interest"]
    check.same(f"{symbol} interest", interest, state["singleOpenInterest"])
    top = [state[key] for key in ("bid1Price", "bid1Size", "ask1Price", "ask1Size")]
    check.same(f"{symbol} top", found["quotes"]["last_quote"], top)


def compare_funding(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    for symbol, one in wanted.items():
        compare_okx_funding(check, symbol, symbols[symbol][key], one)


def compare_okx_funding(
    check: Comparison, symbol: str, found: dict[str, Any], wanted: dict[str, Any]
) -> None:
    check.same(f"{symbol} funding count", found["count"], wanted["count"])
    for end in ("first", "last"):
        ours, theirs = found[end], wanted[end]
        check.same(f"{symbol} {end} rate", ours["predicted_rate"], theirs["fundingRate"])
        # OKX's `fundingTime` is when the running interval is settled.
        check.same(f"{symbol} {end} due", str(ours["next_funding_time"]), theirs["fundingTime"])
        check.same(f"{symbol} {end} time", str(ours["event_time"]), theirs["ts"])


def compare_first_rows(check: Comparison, key: str, symbols: Symbols, wanted: Symbols) -> None:
    places = {"mark-price": ("mark_prices", "mark", "markPx")}
    places["open-interest"] = ("open_interest", "open_interest", "oiCcy")
    for channel, rows in wanted.items():
        if f"{key}.{channel}" in LEFT_OUT:
            continue
        section, ours, theirs = places[channel]
        for symbol, first in rows.items():
            found = symbols[symbol][section]["first"]
            check.same(f"{symbol} {channel}", found[ours], first[0][theirs])
            check.same(f"{symbol} {channel} time", str(found["event_time"]), first[0]["ts"])


COMPARED: Final[dict[str, Callable[..., None]]] = {
    **dict.fromkeys(TRADES, compare_all_trades),
    **dict.fromkeys(QUOTES, compare_quotes),
    "book_updates": compare_books,
    "candles": compare_candles,
    "mark_price": compare_marks,
    "funding": compare_funding,
    "first_rows": compare_first_rows,
}

# Single messages that are refused, with the reason; all others decode.
UNDECODED: Final[Mapping[str, Mapping[str, str]]] = {
    # The documentation's own examples: their times are of 1973, and one bar closes above its high.
    "binance": {
        "fixture:futures/market_data_json/agg_trade_stream.json": "a row of time 123456785",
        "fixture:futures/market_data_json/depth_update_stream.json": "a row of time 123456788",
        "fixture:futures/market_data_json/kline_stream_open.json": "lies outside low and high",
        "fixture:futures/market_data_json/trade_stream.json": "a row of time 123456785",
    },
    # A list of another library's tests, and rows without the frame around them.
    "okx": {
        "fixture:common_optional_string_to_u64.json": "Expected `object`, got `array`",
        "fixture:ws_opt_summary.json": "Expected `object`, got `array`",
    },
    # A row without its frame, and a change to a book whose snapshot is on no connection.
    "bybit": {
        "fixture:ws_account_position_with_open_time.json": "no topic",
        "fixture:ws_orderbook_delta.json": "without what it changes",
    },
    "coinbase": {},
}


@pytest.mark.parametrize("exchange", FIXTURES)
def test_single_messages_decode_but_for_a_written_list(
    shared_data: Path, tmp_path: Path, exchange: str
):
    file = shared_data / exchange / "ws" / "fixtures_nautilus.jsonl.gz"
    with gzip.open(file, "rt") as lines:
        count = sum(1 for _ in lines)
    ended = zvtc("replay", str(file), "--exchange", exchange, "--summary", "--json", cwd=tmp_path)
    summary = ended.json
    found = {one["connection"]: one["reason"] for one in summary["undecoded_samples"]}
    assert summary["frames"] == count
    assert summary["undecoded"] == len(UNDECODED[exchange])
    assert found.keys() == UNDECODED[exchange].keys(), found
    for connection, reason in UNDECODED[exchange].items():
        assert reason in found[connection]
