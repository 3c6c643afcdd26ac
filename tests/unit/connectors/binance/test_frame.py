"""Frames of Binance: the recordings in full, the traps one by one, and damage of every kind."""

import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_frames import (
    agree,
    book_facts,
    by_symbol,
    candle_facts,
    damaged,
    expected_of,
    native_targets,
    parse_or_refuse,
    parse_recording,
    quote_facts,
    recorded_frames,
    some_frames,
    trade_facts,
)

from zvt_crypto.connectors.binance.frame import BinanceParser
from zvt_crypto.connectors.binance.parse import parse_agg_trades
from zvt_crypto.connectors.binance.ws import BinanceProtocol
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market, Status
from zvt_crypto.core.interval import US_PER_HOUR, Interval
from zvt_crypto.core.record import (
    Book,
    Candle,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.ports.stream import Ack, Ignored, Notice, Refused, Target

RECORDINGS = (
    "binance/ws/coinm_btcusd_perp_hft_20240808",
    "binance/ws/coinm_btcusd_perp_hft_20240809",
    "binance/ws/coinm_cryptofeed_20210722",
    "binance/ws/spot_btcusdt_hft_20240808",
    "binance/ws/spot_btcusdt_hft_20240809",
    "binance/ws/spot_cryptofeed_20211012",
    "binance/ws/spot_interleaved_cryptofeed_20210405",
    "binance/ws/spot_testnet_fastmm_20260913",
    "binance/ws/usdm_btcusdt_hft_20230404",
    "binance/ws/usdm_btcusdt_hft_20240718",
    "binance/ws/usdm_btcusdt_hft_20240719",
    "binance/ws/usdm_btcusdt_hft_20240808",
    "binance/ws/usdm_cryptofeed_20210722",
    "binance/ws/usdm_markprice_fastmm_20260930",
    "binance_us/ws/spot_cryptofeed_20211012",
)
FIXTURES = "binance/ws/fixtures_nautilus"

NOW = 1_767_225_600_500_000
MS = NOW // 1_000

TRADE: dict[str, Any] = {
    "e": "trade",
    "E": MS,
    "s": "BTCUSDT",
    "t": 4567,
    "p": "87650.10",
    "q": "0.012",
    "T": MS - 1,
    "m": True,
}
AGG: dict[str, Any] = {
    "e": "aggTrade",
    "E": MS,
    "s": "BTCUSDT",
    "a": 998,
    "p": "87650.10",
    "q": "0.5",
    "f": 4500,
    "l": 4507,
    "T": MS - 1,
    "m": False,
}
TICKER: dict[str, Any] = {
    "u": 40,
    "s": "BTCUSDT",
    "b": "87650.09",
    "B": "2.1",
    "a": "87650.10",
    "A": "0.7",
}
DEPTH: dict[str, Any] = {
    "e": "depthUpdate",
    "E": MS,
    "s": "BTCUSDT",
    "U": 157,
    "u": 160,
    "b": [["87650.09", "2.1"]],
    "a": [["87651.00", "0"]],
}
BAR: dict[str, Any] = {
    "t": 1_767_225_600_000,
    "T": 1_767_225_659_999,
    "s": "BTCUSDT",
    "i": "1m",
    "f": 4500,
    "L": 4600,
    "o": "10",
    "c": "11",
    "h": "12",
    "l": "9",
    "v": "12.3",
    "n": 101,
    "x": False,
    "q": "130.5",
    "V": "6.1",
    "Q": "60.5",
    "B": "0",
}
KLINE: dict[str, Any] = {"e": "kline", "E": MS, "s": "BTCUSDT", "k": BAR}
MARK: dict[str, Any] = {
    "e": "markPriceUpdate",
    "E": MS,
    "s": "BTCUSDT",
    "p": "87641.2",
    "i": "87630.5",
    "P": "87639.9",
    "r": "0.0001",
    "T": 1_767_254_400_000,
    "st": 1,
}
FORCE: dict[str, Any] = {
    "e": "forceOrder",
    "E": MS,
    "o": {
        "s": "BTCUSDT",
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "0.014",
        "p": "9910",
        "ap": "9912.5",
        "X": "FILLED",
        "l": "0.014",
        "z": "0.010",
        "T": MS,
    },
}
INFO: dict[str, Any] = {
    "e": "contractInfo",
    "E": MS,
    "s": "BTCUSDT",
    "ps": "BTCUSDT",
    "ct": "PERPETUAL",
    "dt": 4133404800000,
    "ot": 1569398400000,
    "cs": "SETTLING",
}


def frame_of(event: Any, channel: str = "", native: str = "btcusdt") -> bytes:
    """Return an event as a combined stream sends it, or raw without a channel."""
    if not channel:
        return json.dumps(event, separators=(",", ":")).encode()
    name = channel if channel.startswith("!") else f"{native}@{channel}"
    return json.dumps({"stream": name, "data": event}, separators=(",", ":")).encode()


SAMPLES = (
    frame_of(TRADE, "trade"),
    frame_of(AGG, "aggTrade"),
    frame_of(TICKER, "bookTicker"),
    frame_of({**TICKER, "e": "bookTicker", "T": MS, "E": MS}, "bookTicker"),
    frame_of(DEPTH, "depth@100ms"),
    frame_of({**DEPTH, "pu": 150, "T": MS}, "depth20@100ms"),
    frame_of({"lastUpdateId": 7, "bids": [["2", "1"]], "asks": [["3", "1"]]}, "depth5"),
    frame_of(KLINE, "kline_1m"),
    frame_of(MARK, "markPrice@1s"),
    frame_of([MARK, AGG, KLINE], "!markPrice@arr"),
    frame_of(FORCE, "forceOrder"),
    frame_of(INFO, "!contractInfo"),
    frame_of(TRADE),
    frame_of({"result": None, "id": 1}),
    frame_of({"code": 2, "msg": "Invalid request", "id": 3}),
    frame_of({"error": {"code": 2, "msg": "Invalid request"}, "id": 3}),
    frame_of({"e": "serverShutdown", "E": MS}, "!serverShutdown"),
)


def parser(
    market: Market = Market.LINEAR, *, contract: float = 1.0, exact: bool = False
) -> BinanceParser:
    return BinanceParser("route", native_targets(market, contract), exact=exact)


def only(event: Any, channel: str = "", market: Market = Market.LINEAR) -> Any:
    (message,) = parser(market).parse(frame_of(event, channel), NOW)
    return message


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_gives_exactly_what_was_counted_in_it(name: str, shared_data: Path) -> None:
    # given
    expected = expected_of(shared_data, name)

    # when
    messages = parse_recording(BinanceProtocol(), shared_data, name)

    # then every frame became a record, funding beside its mark price
    events = expected["messages_by_event"]
    assert Counter(type(m) for m in messages) == Counter(
        {
            Trade: events.get("trade", 0) + events.get("aggTrade", 0),
            Quote: events.get("bookTicker", 0),
            Book: events.get("depthUpdate", 0),
            Candle: events.get("kline", 0),
            MarkPrice: events.get("markPriceUpdate", 0),
            Funding: events.get("markPriceUpdate", 0),
        }
    )
    trades = by_symbol(m for m in messages if isinstance(m, Trade))
    counted = {**expected.get("trades", {}), **expected.get("agg_trades", {})}
    assert trades.keys() == counted.keys()
    for symbol, rows in trades.items():
        assert agree(trade_facts(rows), counted[symbol]), symbol
        fills = counted[symbol].get("underlying_trades")
        assert sum(row.fills or 0 for row in rows) == (fills or 0)
        assert all((row.fills is None) == (fills is None) for row in rows)

    quotes = by_symbol(m for m in messages if isinstance(m, Quote))
    assert quotes.keys() == expected.get("quotes", {}).keys()
    for symbol, rows in quotes.items():
        assert agree(quote_facts(rows), expected["quotes"][symbol]), symbol
        assert rows[0].sequence == expected["quotes"][symbol]["first_update_id"]
        assert rows[-1].sequence == expected["quotes"][symbol]["last_update_id"]

    books = by_symbol(m for m in messages if isinstance(m, Book))
    assert books.keys() == expected.get("book_updates", {}).keys()
    for symbol, rows in books.items():
        counted = expected["book_updates"][symbol]
        assert agree(book_facts(rows), counted), symbol
        assert rows[0].first_sequence == counted["first_U"]
        assert rows[-1].sequence == counted["last_u"]
        breaks = sum(a.sequence != b.prev_sequence for a, b in pairwise(rows))
        assert breaks == counted["continuity_breaks"]

    candles = by_symbol(m for m in messages if isinstance(m, Candle))
    assert {f"{symbol}@1m" for symbol in candles} == expected.get("candles", {}).keys()
    for symbol, rows in candles.items():
        assert agree(candle_facts(rows), expected["candles"][f"{symbol}@1m"]), symbol

    marks = by_symbol(m for m in messages if isinstance(m, MarkPrice))
    funding = by_symbol(m for m in messages if isinstance(m, Funding))
    assert marks.keys() == funding.keys() == expected.get("mark_price", {}).keys()
    for symbol, rows in marks.items():
        counted = expected["mark_price"][symbol]
        for mark, rate, told in (
            (rows[0], funding[symbol][0], counted["first"]),
            (rows[-1], funding[symbol][-1], counted["last"]),
        ):
            assert mark.mark_price == Decimal(told["mark"])
            assert mark.index_price == Decimal(told["index"])
            assert mark.predicted_rate == rate.predicted_rate == Decimal(told["rate"])
            assert mark.next_funding_time == told["next_funding_time"] * 1_000
            assert rate.next_funding_time == mark.next_funding_time
            assert rate.ts_event == mark.ts_event == told["event_time"] * 1_000


@pytest.mark.parametrize("name", [name for name in RECORDINGS if "cryptofeed" in name])
def test_float64_has_the_values_nearest_to_the_exact_ones(name: str, shared_data: Path) -> None:
    protocol = BinanceProtocol()
    exact = parse_recording(protocol, shared_data, name)
    live = parse_recording(protocol, shared_data, name, exact=False)
    assert len(live) == len(exact)
    for ours, theirs in zip(live, exact, strict=True):
        if isinstance(ours, Book):
            assert isinstance(theirs, Book)
            assert ours.bids == [(float(p), float(s)) for p, s in theirs.bids]
            assert ours.asks == [(float(p), float(s)) for p, s in theirs.asks]
            continue
        for field in ours.__struct_fields__:
            one, other = getattr(ours, field), getattr(theirs, field)
            assert one == (float(other) if isinstance(other, Decimal) else other), field


def test_single_messages_of_another_project_are_read_refused_or_ignored(
    shared_data: Path,
) -> None:
    messages = parse_recording(BinanceProtocol(), shared_data, FIXTURES)
    refused = Counter(m.reason for m in messages if isinstance(m, Refused))
    ignored = Counter(m.what for m in messages if isinstance(m, Ignored))
    # examples of the documentation, dated 1970, and a bar whose open is below its low
    assert refused == {
        "a row of time 123456785, received at 0 us": 2,
        "a row of time 123456788, received at 0 us": 1,
        "open or close lies outside low and high": 1,
    }
    assert sum(n for what, n in ignored.items() if what.startswith("private ")) == 25
    assert ignored["24hrTicker"] == 1
    kinds = Counter(type(m) for m in messages)
    assert {Quote, Candle, Liquidation, MarkPrice, Funding} <= kinds.keys()
    assert len(messages) - kinds[Funding] == 34


def test_a_live_trade_is_the_row_rest_gives(shared_data: Path) -> None:
    # given the aggregate trades of a recording, and the same rows as a page of REST
    name = "binance/ws/spot_interleaved_cryptofeed_20210405"
    rows = [
        json.loads(frame)["data"]
        for _, frame, _ in recorded_frames(shared_data, name)
        if b"@aggTrade" in frame
    ]
    page = parse_agg_trades(json.dumps(rows).encode()).columns

    # when
    live = parse_recording(BinanceProtocol(), shared_data, name, exact=False)
    trades = [m for m in live if isinstance(m, Trade)]

    # then
    assert [t.trade_id for t in trades] == list(page["trade_id"])
    assert [t.price for t in trades] == list(page["price"])
    assert [t.size for t in trades] == list(page["size"])
    assert [t.fills for t in trades] == list(page["fills"])
    assert [t.side for t in trades] == list(page["side"])
    assert [t.ts_event for t in trades] == [time * 1_000 for time in page["timestamp"]]


def test_aggregate_trades_have_fills_and_raw_trades_have_none() -> None:
    agg, raw = only(AGG, "aggTrade"), only(TRADE, "trade")
    assert (agg.trade_id, agg.fills, agg.side, agg.size) == (998, 8, Side.BUY, 0.5)
    assert (raw.trade_id, raw.fills, raw.side) == (4567, None, Side.SELL)
    assert agg.ts_event == raw.ts_event == (MS - 1) * 1_000
    assert only(AGG) == agg
    assert only(TRADE) == raw


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA"])
def test_futures_trades_outside_the_book_are_left_out(kind: str) -> None:
    assert only({**TRADE, "X": kind}, "trade") == Ignored("trade outside the order book")
    assert isinstance(only({**TRADE, "X": kind, "p": "0"}, "trade"), Ignored)
    assert isinstance(only({**TRADE, "X": "MARKET"}, "trade"), Trade)


def test_rows_of_coin_margined_contracts_in_merged_streams_are_left_out() -> None:
    mixed = [MARK, {**MARK, "s": "BTCUSD_PERP", "st": 2}]
    messages = parser().parse(frame_of(mixed, "!markPrice@arr@1s"), NOW)
    assert [type(m) for m in messages] == [MarkPrice, Funding, Ignored]
    for event, channel in ((AGG, "aggTrade"), (TRADE, "trade"), (TICKER, "bookTicker")):
        assert isinstance(only({**event, "st": 2}, channel), Ignored)
    for event, channel in ((DEPTH, "depth"), (KLINE, "kline_1m"), (FORCE, "forceOrder")):
        assert isinstance(only({**event, "st": 2}, channel), Ignored)
        assert not isinstance(only({**event, "st": 2}, channel, Market.INVERSE), Ignored)


def test_a_quote_of_spot_is_stamped_on_receipt_and_one_of_futures_by_the_exchange() -> None:
    spot = only(TICKER, "bookTicker")
    futures = only({**TICKER, "e": "bookTicker", "T": MS - 3, "E": MS}, "bookTicker")
    assert (spot.ts_event, futures.ts_event) == (NOW, (MS - 3) * 1_000)
    assert only(TICKER) == spot
    assert spot.sequence == 40


def test_an_empty_side_of_a_quote_is_none() -> None:
    quote = only({**TICKER, "b": "0.00", "B": "0.00"}, "bookTicker")
    assert (quote.bid_price, quote.bid_size, quote.ask_price) == (None, None, 87650.10)


def test_changes_of_a_book_name_the_number_before_them() -> None:
    spot = only(DEPTH, "depth@100ms")
    futures = only({**DEPTH, "pu": 149, "T": MS - 5}, "depth@100ms")
    assert (spot.first_sequence, spot.sequence, spot.prev_sequence) == (157, 160, 156)
    assert (futures.first_sequence, futures.sequence, futures.prev_sequence) == (157, 160, 149)
    assert (spot.ts_event, futures.ts_event) == (MS * 1_000, (MS - 5) * 1_000)
    assert spot.bids == [(87650.09, 2.1)]
    assert spot.asks == [(87651.0, 0.0)]
    assert not spot.is_snapshot


@pytest.mark.parametrize("channel", ["depth5", "depth10@100ms", "depth20@500ms"])
def test_partial_depth_is_told_by_the_streams_name(channel: str) -> None:
    # given a top of the book as spot and as futures send it
    spot = {"lastUpdateId": 160, "bids": [["2", "1"], ["1", "4"]], "asks": [["3", "1"]]}
    futures = {**DEPTH, "pu": 149, "T": MS}

    # when
    books = only(spot, channel), only(futures, channel)

    # then
    assert [b.is_snapshot for b in books] == [True, True]
    assert [b.symbol for b in books] == ["BTCUSDT", "BTCUSDT"]
    assert [b.sequence for b in books] == [160, 160]
    assert [b.prev_sequence for b in books] == [None, None]
    assert [b.ts_event for b in books] == [NOW, MS * 1_000]
    assert isinstance(only(spot), Refused)  # a raw socket mixes symbols up
    assert isinstance(only({**spot, "bids": [["1", "1"], ["2", "1"]]}, channel), Refused)


def test_the_book_for_retail_is_not_taken_for_the_book() -> None:
    assert isinstance(only(DEPTH, "rpiDepth@500ms"), Ignored)


def test_candles_of_all_widths_and_no_others() -> None:
    widths = {"1m": "1m", "5m": "5m", "1h": "1h", "4h": "4h", "1d": "1d", "1M": "1mon"}
    for native, ours in widths.items():
        candle = only({**KLINE, "k": {**BAR, "i": native}}, f"kline_{native}")
        assert candle.interval is Interval(ours)
        assert candle.ts_event == BAR["t"] * 1_000
    week = {**BAR, "i": "1w", "t": 1_766_966_400_000, "x": True}
    assert only({**KLINE, "k": week}, "kline_1w").is_closed
    assert isinstance(only({**KLINE, "k": {**BAR, "i": "3m"}}, "kline_3m"), Ignored)
    assert isinstance(only({**KLINE, "k": {**BAR, "t": BAR["t"] + 1}}, "kline_1m"), Refused)
    assert isinstance(only({**KLINE, "k": {**BAR, "h": "8"}}, "kline_1m"), Refused)


def test_volumes_of_coin_margined_candles_stand_elsewhere() -> None:
    linear = only(KLINE, "kline_1m")
    inverse = only(KLINE, "kline_1m", Market.INVERSE)
    assert (linear.volume, linear.quote_volume, linear.taker_buy_volume) == (12.3, 130.5, 6.1)
    assert (inverse.volume, inverse.quote_volume, inverse.taker_buy_volume) == (130.5, None, 60.5)


def test_sizes_of_coin_margined_contracts_become_base_units() -> None:
    read = parser(Market.INVERSE, contract=100.0).parse
    (trade,) = read(frame_of({**TRADE, "p": "50000", "q": "5"}, "trade"), NOW)
    (quote,) = read(frame_of({**TICKER, "b": "50000", "B": "5"}, "bookTicker"), NOW)
    (book,) = read(frame_of({**DEPTH, "b": [["50000", "5"]]}, "depth"), NOW)
    assert isinstance(trade, Trade)
    assert isinstance(quote, Quote)
    assert isinstance(book, Book)
    assert trade.size == quote.bid_size == book.bids[0][1] == 0.01
    assert book.asks[0][1] == 0


def test_a_dated_contract_has_a_mark_price_but_no_funding() -> None:
    mark = only({**MARK, "r": "", "T": 0}, "markPrice@1s")
    assert isinstance(mark, MarkPrice)
    assert (mark.predicted_rate, mark.next_funding_time) == (None, None)


def test_a_liquidation_is_what_was_filled_at_the_orders_price() -> None:
    liquidation = only(FORCE, "forceOrder")
    assert isinstance(liquidation, Liquidation)
    assert (liquidation.side, liquidation.price, liquidation.size) == (Side.SELL, 9910, 0.010)
    assert only([FORCE], "!forceOrder@arr") == liquidation
    odd = {**FORCE, "o": {**FORCE["o"], "S": "BOTH"}}
    assert only(odd, "forceOrder").symbol == "BTCUSDT"


def test_the_state_of_a_contract_is_announced_in_its_own_word() -> None:
    status = only(INFO, "!contractInfo")
    assert isinstance(status, InstrumentStatus)
    assert (status.status, status.detail) == (Status.SETTLING, "SETTLING")
    assert only({**INFO, "cs": "NEW_WORD"}, "!contractInfo").status is Status.UNKNOWN


def test_answers_errors_and_the_end_of_a_server() -> None:
    assert only({"result": None, "id": 1}) == Ack(ok=True, request="1")
    assert only({"result": ["a@trade"], "id": 3}) == Ack(ok=True, request="3", topics=("a@trade",))
    error = {"code": 2, "msg": "Invalid request"}
    refusal = Ack(ok=False, request="3", code="2", detail="Invalid request")
    assert only({**error, "id": 3}) == only({"error": error, "id": 3}) == refusal
    assert only({"error": error, "id": None}).request is None
    shutdown = {"e": "serverShutdown", "E": MS}
    assert only(shutdown) == only(shutdown, "!serverShutdown") == Notice("serverShutdown")
    assert only({"e": "24hrMiniTicker", "s": "X"}, "miniTicker") == Ignored("24hrMiniTicker")


@pytest.mark.parametrize(
    "value", ["NaN", "inf", "-1", "0", "1e400", "1e-400", "", "x", None, True, [], {}]
)
def test_a_trade_with_an_impossible_number_is_refused_with_its_symbol(value: Any) -> None:
    for exact in (False, True):
        for field in ("p", "q"):
            frame = frame_of({**AGG, field: value}, "aggTrade")
            (message,) = parser(exact=exact).parse(frame, NOW)
            assert isinstance(message, Refused), message
            assert message.symbol == "BTCUSDT"
            assert message.reason
            assert len(message.raw) <= 1_000


def test_times_that_cannot_be_are_refused() -> None:
    hour = US_PER_HOUR // 1_000
    assert isinstance(only({**AGG, "T": MS + hour - 1_000}, "aggTrade"), Trade)
    assert isinstance(only({**AGG, "T": MS + hour + 1_000}, "aggTrade"), Refused)
    assert isinstance(only({**AGG, "T": 123456785}, "aggTrade"), Refused)
    (trade,) = parser().parse(frame_of({**AGG, "T": MS + hour + 1_000}, "aggTrade"), 0)
    assert isinstance(trade, Trade)  # without a clock of ours nothing is too late


def test_times_in_microseconds_are_told_by_their_size() -> None:
    assert only({**AGG, "T": NOW}, "aggTrade").ts_event == NOW


def test_ids_beyond_int64_are_refused() -> None:
    assert isinstance(only({**AGG, "a": 2**63}, "aggTrade"), Refused)
    assert isinstance(only({**DEPTH, "u": 2**70}, "depth"), Refused)
    assert isinstance(only({**AGG, "f": 4508}, "aggTrade"), Refused)


def test_one_bad_row_does_not_take_the_others_of_its_frame_along() -> None:
    rows = [MARK, {**MARK, "p": "NaN"}, 5, {"e": "unheardOf"}, {**MARK, "s": "ETHUSDT"}]
    messages = parser().parse(frame_of(rows, "!markPrice@arr"), NOW)
    assert [type(m) for m in messages] == [
        *(MarkPrice, Funding),
        *(Refused, Refused, Refused),
        *(MarkPrice, Funding),
    ]


def test_an_id_nobody_knows_is_asked_for_again() -> None:
    # given an instrument that is listed between two frames
    listed: list[Target] = []
    read = BinanceParser("spot", lambda _route, _native: tuple(listed)).parse
    assert read(frame_of(AGG, "aggTrade"), NOW) == (Ignored("instrument not listed"),)

    # when
    listed += [Target("BTC-USDT", Market.SPOT), Target("XBT-USDT", Market.SPOT)]

    # then the frame is under both names
    trades = read(frame_of(AGG, "aggTrade"), NOW)
    assert [t.symbol for t in trades if isinstance(t, Trade)] == ["BTC-USDT", "XBT-USDT"]


def test_order_and_space_in_a_frame_do_not_matter() -> None:
    spaced = json.dumps({"data": AGG, "stream": "btcusdt@aggTrade"}, indent=1).encode()
    assert parser().parse(spaced, NOW) == parser().parse(frame_of(AGG, "aggTrade"), NOW)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"pong",
        b"5",
        b"{}",
        b'{"x":1}',
        b'{"e":"unheardOf"}',
        b'{"stream":"a@trade"}',
        b'{"stream":5,"data":{}}',
        b'{"stream":"a@trade","data":5}',
        b'{"e":"trade","s":"\xff"}',
        frame_of(AGG, "aggTrade")[:-1],
        frame_of(AGG, "aggTrade") + b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"stream":"a@trade","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_frame_nobody_can_read_is_malformed_and_the_parser_goes_on(frame: bytes) -> None:
    reader = parser()
    with pytest.raises(MalformedPayload):
        reader.parse(frame, NOW)
    assert isinstance(reader.parse(frame_of(AGG, "aggTrade"), NOW)[0], Trade)


_PARSERS = [
    parser(market, contract=contract, exact=exact)
    for market, contract in ((Market.LINEAR, 1.0), (Market.INVERSE, 100.0))
    for exact in (False, True)
]


@settings(max_examples=600)
@given(frame=damaged(SAMPLES), which=st.integers(0, 3), clock=st.sampled_from((0, NOW)))
def test_damage_raises_nothing_else_and_makes_no_impossible_number(
    frame: bytes, which: int, clock: int
) -> None:
    parse_or_refuse(_PARSERS[which], frame, clock)


@settings(max_examples=300)
@given(data=st.data(), which=st.integers(0, 3), clock=st.sampled_from((0, 2 * NOW)))
def test_damage_to_recorded_frames_does_no_more(
    shared_data: Path, data: st.DataObject, which: int, clock: int
) -> None:
    frames = some_frames(shared_data, (*RECORDINGS, FIXTURES))
    parse_or_refuse(_PARSERS[which], data.draw(damaged(frames)), clock)


@given(st.binary(max_size=200))
def test_noise_raises_nothing_else(frame: bytes) -> None:
    parse_or_refuse(_PARSERS[0], frame, NOW)


def test_the_samples_themselves_are_read() -> None:
    for sample in SAMPLES:
        messages = parse_or_refuse(parser(), sample, NOW)
        assert messages
        assert not any(isinstance(m, Refused) for m in messages)
