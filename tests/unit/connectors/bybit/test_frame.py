"""Frames of Bybit: every recording against its summary, every trap, and what nobody has sent."""

import json
import math
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_recorded import (
    as_native,
    book_after,
    expected,
    numbers_of,
    read_all,
    recorded,
    same,
    same_book,
    summary,
)

from zvt_crypto.connectors.bybit.frame import BybitParser
from zvt_crypto.connectors.bybit.ws import BybitProtocol
from zvt_crypto.connectors.wire.moment import FUTURE_US
from zvt_crypto.connectors.wire.refusal import MOST_REFUSALS
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import US_PER_MS, Interval
from zvt_crypto.core.record import (
    Book,
    Candle,
    Funding,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.ports.stream import Ack, Ignored, Message, Pong, Refused, Target

SPOT = "bybit/ws/spot_testnet_fastmm_20260913"
TICKERS = "bybit/ws/linear_tickers_fastmm_20260930_head"
SINGLE = "bybit/ws/fixtures_nautilus"

NOW_MS = 1_763_769_612_345
NOW = NOW_MS * US_PER_MS
TRADE = {
    "T": NOW_MS,
    "s": "BTCUSDT",
    "S": "Sell",
    "v": "0.012",
    "p": "86120.40",
    "L": "MinusTick",
    "i": "5b1f0c2e-8a51-5d0e-9a75-0d2c7a3e9f11",
    "BT": False,
    "RPI": False,
    "seq": 1783284617,
}
CANDLE = {
    "start": 1_763_769_600_000,
    "end": 1_763_769_659_999,
    "interval": "1",
    "open": "100",
    "close": "101",
    "high": "102",
    "low": "99",
    "volume": "15.5",
    "turnover": "1565",
    "confirm": False,
    "timestamp": NOW_MS,
}


def parser(route: str = "linear", *, exact: bool = False, contract: float = 1.0) -> Any:
    # A test knows which kind of message it gets, and reads its attributes.
    market = Market(route)
    return BybitParser(
        route, lambda _route, native: (Target(f"our-{native}", market, contract),), exact=exact
    )


def frame(topic: str, data: Any, *, type_: str = "snapshot", **more: Any) -> bytes:
    body = {"topic": topic, "type": type_, "ts": NOW_MS, "data": data, **more}
    return json.dumps(body, separators=(",", ":")).encode()


def trades(*rows: dict[str, Any]) -> bytes:
    return frame("publicTrade.BTCUSDT", list(rows))


def book(update: int, bids: Any = (), asks: Any = (), *, type_: str, depth: int = 50) -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": 7}
    return frame(f"orderbook.{depth}.BTCUSDT", data, type_=type_, cts=NOW_MS - 2)


def ticker(type_: str, **data: Any) -> bytes:
    return frame("tickers.BTCUSDT", {"symbol": "BTCUSDT", **data}, type_=type_)


def one(messages: Any) -> Any:
    (message,) = messages
    return message


# -- recordings -----------------------------------------------------------------------------------


def test_recorded_spot_trades_are_those_of_the_summary(shared_data: Path) -> None:
    messages = read_all(BybitProtocol(), recorded(shared_data, SPOT), as_native())
    wanted = expected(shared_data, SPOT)["trades"]["BTCUSDT"]

    found = [m for m in messages if isinstance(m, Trade)]

    same(summary(found), wanted)
    assert all(isinstance(trade.trade_id, str) for trade in found)
    assert found[0].ts_event == wanted["first_exchange_time"] * US_PER_MS
    assert found[-1].ts_event == wanted["last_exchange_time"] * US_PER_MS


def test_recorded_spot_books_end_as_the_summary_says(shared_data: Path) -> None:
    messages = read_all(BybitProtocol(), recorded(shared_data, SPOT), as_native())
    wanted = expected(shared_data, SPOT)["book_updates"]["orderbook.50.BTCUSDT"]

    books = [m for m in messages if isinstance(m, Book)]
    levels = [level for b in books for level in (*b.bids, *b.asks)]

    assert len(books) == wanted["count"]
    assert sum(b.is_snapshot for b in books) == wanted["snapshots"]
    assert len(levels) == wanted["levels"]
    assert sum(size == 0 for _, size in levels) == wanted["zero_quantity_levels"]
    assert (books[0].sequence, books[-1].sequence) == (wanted["first_u"], wanted["last_u"])
    breaks = sum(later.prev_sequence != earlier.sequence for earlier, later in pairwise(books))
    assert breaks == wanted["u_breaks"]
    same_book(*book_after(books), wanted["final_book"])


def test_recorded_quotes_are_the_level_one_snapshots(shared_data: Path) -> None:
    messages = read_all(BybitProtocol(), recorded(shared_data, SPOT), as_native())
    wanted = expected(shared_data, SPOT)["book_updates"]["orderbook.1.BTCUSDT"]

    quotes = [m for m in messages if isinstance(m, Quote)]

    assert len(quotes) == wanted["count"]
    assert (quotes[0].sequence, quotes[-1].sequence) == (wanted["first_u"], wanted["last_u"])
    last = quotes[-1]
    final = wanted["final_book"]
    assert [last.bid_price, last.bid_size] == [Decimal(t) for t in final["best_bid"]]
    assert [last.ask_price, last.ask_size] == [Decimal(t) for t in final["best_ask"]]
    # The exchange repeated itself in idle times.
    assert len({quote.sequence for quote in quotes}) < len(quotes)


def test_recorded_session_messages_are_counted(shared_data: Path) -> None:
    messages = read_all(BybitProtocol(), recorded(shared_data, SPOT), as_native())
    wanted = expected(shared_data, SPOT)["messages_by_topic"]

    acks = [m for m in messages if isinstance(m, Ack)]
    assert len(acks) == wanted["subscribe"]
    bad = "orderbook.50.NOSUCHSYM"
    assert acks == [
        Ack(ok=True, request="sub1", detail="subscribe"),
        # A refusal of spot does not echo the request; what is wrong stands in its text.
        Ack(ok=False, topics=(bad,), detail=f"Invalid symbol :[{bad}]", is_whole=True),
    ]
    assert sum(isinstance(m, Pong) for m in messages) == wanted["ping"]
    assert not [m for m in messages if isinstance(m, Refused | Ignored)]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_recorded_tickers_merge_to_the_summary(shared_data: Path, symbol: str) -> None:
    frames = recorded(shared_data, TICKERS)
    messages = read_all(BybitProtocol(), frames, as_native(Market.LINEAR))
    wanted = expected(shared_data, TICKERS)["tickers"][symbol]
    state = wanted["merged_final_state"]
    mine = [m for m in messages if getattr(m, "symbol", None) == symbol]

    def last(kind: type) -> Any:
        return [m for m in mine if isinstance(m, kind)][-1]

    rates = {str(m.predicted_rate) for m in mine if isinstance(m, Funding)}
    assert rates == set(wanted["funding_rates"])
    times = {m.next_funding_time for m in mine if isinstance(m, Funding)}
    assert times == {int(time) * US_PER_MS for time in wanted["next_funding_times"]}
    assert last(Funding).interval_hours == float(state["fundingIntervalHour"])
    assert last(MarkPrice).mark_price == Decimal(state["markPrice"])
    assert last(MarkPrice).index_price == Decimal(state["indexPrice"])
    assert last(MarkPrice).predicted_rate == Decimal(state["fundingRate"])
    assert last(OpenInterest).open_interest == Decimal(state["singleOpenInterest"])
    quote = last(Quote)
    assert [quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size] == [
        Decimal(state[key]) for key in ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
    ]
    assert quote.sequence is None


def test_recorded_ticker_records_come_when_their_keys_change(shared_data: Path) -> None:
    frames = recorded(shared_data, TICKERS)
    groups = {
        MarkPrice: ("markPrice", "indexPrice", "fundingRate", "nextFundingTime"),
        Funding: ("fundingRate", "nextFundingTime", "fundingIntervalHour"),
        OpenInterest: ("openInterest", "singleOpenInterest"),
        Quote: ("bid1Price", "bid1Size", "ask1Price", "ask1Size"),
    }
    states: dict[str, dict[str, Decimal]] = {}
    wanted: Counter[type] = Counter()
    for body in (one_.json for one_ in frames):
        if "topic" not in body:
            continue
        numeric = {key for keys in groups.values() for key in keys}
        data = {k: Decimal(v) for k, v in body["data"].items() if k in numeric}
        if body["type"] == "snapshot":
            states[body["topic"]] = {}
        held = states[body["topic"]]
        changed = {key for key, value in data.items() if held.get(key) != value}
        held.update(data)
        wanted.update(kind for kind, keys in groups.items() if changed & set(keys))

    messages = read_all(BybitProtocol(), frames, as_native(Market.LINEAR))

    assert Counter(type(m) for m in messages if not isinstance(m, Ack)) == wanted


# No topic and no answer: a row of REST that lies among the single messages.
NOT_FRAMES = {"fixture:ws_account_position_with_open_time.json"}
KINDS = {
    "fixture:ws_auth_success.json": [Ignored],
    "fixture:ws_kline.json": [Candle],
    "fixture:ws_order_response.json": [Ignored],
    # An old form: since 2025-03 level 1 has snapshots only. The file has the delta first.
    "fixture:ws_orderbook_delta.json": [Refused],
    "fixture:ws_orderbook_snapshot.json": [Quote],
    "fixture:ws_public_trade.json": [Trade],
    "fixture:ws_subscription_ack.json": [Ack],
    "fixture:ws_subscription_failure.json": [Ack],
    "fixture:ws_ticker_linear.json": [MarkPrice, Funding, OpenInterest, Quote],
    # Of an option, which no instrument of ours is.
    "fixture:ws_ticker_option.json": [Ignored],
}


def test_every_single_message_is_read(shared_data: Path) -> None:
    protocol = BybitProtocol()

    def resolve(_route: str, native: str) -> list[Target]:
        return [Target(native, Market.LINEAR)] if native == "BTCUSDT" else []

    for single in recorded(shared_data, SINGLE):
        mine = protocol.parser(protocol.recorded_route(single.connection), resolve)
        if single.connection in NOT_FRAMES:
            with pytest.raises(MalformedPayload):
                mine.parse(single.frame, 0)
            continue
        wanted = KINDS.get(single.connection, [Ignored])
        assert [type(m) for m in mine.parse(single.frame, 0)] == wanted, single.connection


def test_an_old_delta_of_level_one_changes_the_snapshot_before_it(shared_data: Path) -> None:
    singles = {s.connection: s.frame for s in recorded(shared_data, SINGLE)}
    mine = parser()
    mine.parse(singles["fixture:ws_orderbook_snapshot.json"], 0)

    quote = one(mine.parse(singles["fixture:ws_orderbook_delta.json"], 0))

    assert (quote.bid_price, quote.bid_size) == (27450.0, 0.4)
    assert (quote.ask_price, quote.ask_size) == (27451.5, 0.9)
    # and one that skips an update is refused
    later = json.loads(singles["fixture:ws_orderbook_delta.json"])
    later["data"]["u"] += 5
    assert isinstance(one(mine.parse(json.dumps(later).encode(), 0)), Refused)


# -- trades ---------------------------------------------------------------------------------------


def test_a_trade_keeps_its_id_as_text_and_the_takers_side() -> None:
    mine = parser()
    wanted = Trade(
        exchange="bybit",
        symbol="our-BTCUSDT",
        ts_event=NOW,
        ts_recv=NOW,
        trade_id="5b1f0c2e-8a51-5d0e-9a75-0d2c7a3e9f11",
        price=86120.4,
        size=0.012,
        side=Side.SELL,
    )

    # The first frame of a topic is read slowly, later ones fast.
    assert one(mine.parse(trades(TRADE), NOW)) == wanted
    assert one(mine.parse(trades(TRADE), NOW)) == wanted


def test_inverse_sizes_are_dollars_and_become_coins_by_the_price() -> None:
    row = {**TRADE, "v": "500", "p": "80000"}

    assert one(parser("inverse").parse(trades(row), NOW)).size == 500 / 80000
    exact = one(parser("inverse", exact=True).parse(trades(row), NOW))
    assert exact.size == Decimal(500) / Decimal(80000)


def test_a_thousand_trades_of_a_message_keep_their_order() -> None:
    rows = [{**TRADE, "i": str(n), "v": f"0.{n + 1:04d}"} for n in range(1_024)]

    found = parser().parse(trades(*rows), NOW)

    assert [trade.trade_id for trade in found] == [str(n) for n in range(1_024)]
    assert found[7].size == 0.0008


def test_every_order_of_keys_and_every_spacing_reads_alike() -> None:
    usual = parser().parse(trades(TRADE), NOW)
    body = json.loads(trades(TRADE))
    turned = {key: body[key] for key in reversed(body)}
    turned["data"] = [{key: TRADE[key] for key in reversed(TRADE)}]

    for text in (json.dumps(turned), json.dumps(body, indent=2), f"\n {json.dumps(body)} "):
        mine = parser()
        assert list(mine.parse(text.encode(), NOW)) == list(usual)
        assert list(mine.parse(text.encode(), NOW)) == list(usual)


@pytest.mark.parametrize(
    "change",
    [
        {"p": "0"},
        {"p": "-1"},
        {"p": "NaN"},
        {"p": "inf"},
        {"p": "1e999"},
        {"p": ""},
        {"p": None},
        {"v": "0"},
        {"v": "sNaN"},
        {"v": []},
        {"S": "buy"},
        {"S": "None"},
        {"s": "ETHUSDT"},
        {"i": ""},
        {"i": "9" * 65},
        {"i": "a\0b"},
        {"i": 7},
        {"T": 0},
        {"T": "soon"},
        {"T": 10**30},
        {"T": NOW_MS + FUTURE_US // US_PER_MS + 1},
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_bad_row_is_refused_and_the_others_count(change: dict[str, Any], exact: bool) -> None:
    good = [{**TRADE, "i": "a"}, {**TRADE, "i": "b"}]

    first, second, third = parser(exact=exact).parse(
        trades(good[0], {**TRADE, **change}, good[1]), NOW
    )

    assert (first.trade_id, third.trade_id) == ("a", "b")
    assert isinstance(second, Refused)
    assert second.symbol == "our-BTCUSDT"
    assert second.reason
    assert "MinusTick" in second.raw


@pytest.mark.parametrize("contract", [1.0, 10.0])
def test_an_id_with_a_zero_is_refused_alone(contract: float) -> None:
    found = one(parser(contract=contract).parse(trades({**TRADE, "i": "a\0b"}), NOW))

    assert isinstance(found, Refused)


def test_an_inverse_size_beyond_float64_is_refused() -> None:
    row = {**TRADE, "v": "1e300", "p": "1e-300"}

    assert isinstance(one(parser("inverse").parse(trades(row), NOW)), Refused)


def test_refusals_of_one_frame_are_bounded() -> None:
    found = parser().parse(frame("publicTrade.BTCUSDT", [0] * 5_000), NOW)

    assert len(found) == MOST_REFUSALS + 1
    assert found[-1].reason == f"{5_000 - MOST_REFUSALS} more rows of the same frame"


def test_ids_nobody_knows_are_ignored_and_asked_for_again() -> None:
    known: list[Target] = []
    mine: Any = BybitParser("linear", lambda _route, _native: known)
    assert mine.parse(trades(TRADE), NOW) == (Ignored("instrument not listed"),)

    known.append(Target("BTC-USDT-PERP", Market.LINEAR))

    assert one(mine.parse(trades(TRADE), NOW)).symbol == "BTC-USDT-PERP"


# -- books and quotes -----------------------------------------------------------------------------


def test_a_book_is_a_snapshot_then_changes_that_say_what_they_follow() -> None:
    mine = parser("spot")

    first = one(
        mine.parse(
            book(8, [["1", "2"], ["3", "4"]], [["9", "1"], ["5", "1"]], type_="snapshot"), NOW
        )
    )
    second = one(mine.parse(book(9, [["1", "0"]], type_="delta"), NOW))

    assert first.is_snapshot
    assert (first.sequence, first.prev_sequence) == (8, None)
    assert list(first.bids) == [(3.0, 4.0), (1.0, 2.0)]
    assert list(first.asks) == [(5.0, 1.0), (9.0, 1.0)]
    assert first.ts_event == NOW - 2 * US_PER_MS
    assert not second.is_snapshot
    assert (second.sequence, second.prev_sequence) == (9, 8)
    assert list(second.bids) == [(1.0, 0.0)]


def test_update_one_is_a_new_book_even_where_it_is_called_a_delta() -> None:
    found = one(parser().parse(book(1, [["1", "2"]], type_="delta"), NOW))

    assert found.is_snapshot
    assert found.prev_sequence is None


def test_inverse_levels_are_coins() -> None:
    found = one(
        parser("inverse").parse(book(2, [["50000", "100"], ["4", "0"]], type_="delta"), NOW)
    )

    assert list(found.bids) == [(50000.0, 0.002), (4.0, 0.0)]


@pytest.mark.parametrize("level", [["0", "1"], ["1", "-1"], ["NaN", "1"], ["1", "inf"], ["1"], 7])
@pytest.mark.parametrize("exact", [False, True])
def test_a_bad_level_refuses_the_whole_book(level: Any, exact: bool) -> None:
    found = one(parser(exact=exact).parse(book(5, [["1", "1"], level], type_="delta"), NOW))

    assert isinstance(found, Refused)
    assert found.symbol == "our-BTCUSDT"


def test_quotes_carry_the_update_number_and_an_empty_side_is_none() -> None:
    found = one(parser().parse(book(77, [["9", "2"]], [], type_="snapshot", depth=1), NOW))

    assert found == Quote("bybit", "our-BTCUSDT", NOW - 2_000, NOW, 9.0, 2.0, None, None, 77)


def test_depths_that_were_never_offered_are_malformed() -> None:
    with pytest.raises(MalformedPayload):
        parser().parse(book(5, type_="snapshot", depth=51), NOW)


# -- candles, liquidations ------------------------------------------------------------------------


def test_a_candle_says_whether_it_is_closed() -> None:
    mine = parser()
    running = one(mine.parse(frame("kline.1.BTCUSDT", [CANDLE]), NOW))
    closed = one(mine.parse(frame("kline.1.BTCUSDT", [{**CANDLE, "confirm": True}]), NOW))

    assert running == Candle(
        exchange="bybit",
        symbol="our-BTCUSDT",
        interval=Interval.M1,
        ts_event=1_763_769_600_000_000,
        ts_recv=NOW,
        open=100.0,
        high=102.0,
        low=99.0,
        close=101.0,
        volume=15.5,
        quote_volume=1565.0,
    )
    assert closed.is_closed


def test_inverse_candles_swap_volume_and_turnover() -> None:
    found = one(parser("inverse").parse(frame("kline.1.BTCUSDT", [CANDLE]), NOW))

    assert (found.volume, found.quote_volume) == (1565.0, 15.5)


@pytest.mark.parametrize(
    "change",
    [
        {"high": "100.5"},
        {"low": "100.5"},
        {"open": "NaN"},
        {"volume": "-1"},
        {"turnover": "NaN"},
        {"start": 1_763_769_600_001},
        {"interval": "5"},
        {"confirm": None},
    ],
)
def test_candles_that_cannot_be_true_are_refused(change: dict[str, Any]) -> None:
    found = parser().parse(frame("kline.1.BTCUSDT", [{**CANDLE, **change}, CANDLE]), NOW)

    assert [type(m) for m in found] == [Refused, Candle]


@pytest.mark.parametrize(("position", "order"), [("Buy", Side.SELL), ("Sell", Side.BUY)])
def test_a_liquidation_names_the_position_and_we_the_order(position: str, order: Side) -> None:
    row = {"T": NOW_MS, "s": "BTCUSDT", "S": position, "v": "120.5", "p": "131.22"}

    found = one(parser().parse(frame("allLiquidation.BTCUSDT", [row]), NOW))

    assert found == Liquidation("bybit", "our-BTCUSDT", NOW, NOW, 131.22, 120.5, order)


# -- tickers --------------------------------------------------------------------------------------

FULL = {
    "markPrice": "100",
    "indexPrice": "99",
    "openInterest": "50",
    "singleOpenInterest": "25.5",
    "nextFundingTime": "1763798400000",
    "fundingRate": "-0.0001",
    "fundingIntervalHour": "8",
    "bid1Price": "99.5",
    "bid1Size": "3",
    "ask1Price": "100.5",
    "ask1Size": "4",
}


def test_a_delta_changes_only_what_it_names() -> None:
    mine = parser()
    whole = mine.parse(ticker("snapshot", **FULL), NOW)
    assert [type(m) for m in whole] == [MarkPrice, Funding, OpenInterest, Quote]

    assert mine.parse(ticker("delta", lastPrice="7"), NOW) == ()
    assert mine.parse(ticker("delta", bid1Price="99.5"), NOW) == ()
    quote = one(mine.parse(ticker("delta", bid1Size="9"), NOW))
    mark = one(mine.parse(ticker("delta", markPrice="101"), NOW))

    assert (quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size) == (99.5, 9, 100.5, 4)
    assert (mark.mark_price, mark.index_price, mark.predicted_rate) == (101.0, 99.0, -0.0001)
    assert mark.next_funding_time == 1_763_798_400_000_000


def test_a_snapshot_replaces_everything() -> None:
    mine = parser()
    mine.parse(ticker("snapshot", **FULL), NOW)

    mark, quote = mine.parse(ticker("snapshot", markPrice="5"), NOW)

    assert (mark.mark_price, mark.index_price, mark.predicted_rate) == (5.0, None, None)
    assert (quote.bid_price, quote.ask_price) == (None, None)


def test_a_delta_before_its_snapshot_cannot_be_merged() -> None:
    assert one(parser().parse(ticker("delta", markPrice="5"), NOW)) == Ignored(
        "delta before snapshot"
    )


def test_symbols_are_merged_apart() -> None:
    mine = parser()
    mine.parse(ticker("snapshot", **FULL), NOW)
    other = {"symbol": "ETHUSDT", "markPrice": "7"}
    mine.parse(frame("tickers.ETHUSDT", other), NOW)

    mark = one(mine.parse(ticker("delta", indexPrice="98"), NOW))

    assert (mark.mark_price, mark.index_price) == (100.0, 98.0)


def test_dated_futures_have_no_funding_to_speak_of() -> None:
    empty = {"fundingRate": "", "nextFundingTime": "", "fundingIntervalHour": ""}

    found = parser().parse(ticker("snapshot", **{**FULL, **empty}), NOW)

    assert [type(m) for m in found] == [MarkPrice, OpenInterest, Quote]
    assert (found[0].predicted_rate, found[0].next_funding_time) == (None, None)


def test_open_interest_counts_one_side_and_inverse_dollars_at_the_mark() -> None:
    both = {key: value for key, value in FULL.items() if key != "singleOpenInterest"}

    def interest(route: str, data: dict[str, str]) -> float:
        found = parser(route).parse(ticker("snapshot", **data), NOW)
        return next(m.open_interest for m in found if isinstance(m, OpenInterest))

    assert interest("linear", FULL) == 25.5
    assert interest("linear", both) == 25.0
    assert interest("inverse", both) == 0.25


@pytest.mark.parametrize("word", ["NaN", "inf", "-1", "abc", [1], {"a": 1}, True])
@pytest.mark.parametrize("exact", [False, True])
def test_a_bad_word_is_refused_and_the_rest_of_the_ticker_counts(word: Any, exact: bool) -> None:
    mine = parser(exact=exact)
    mine.parse(ticker("snapshot", **FULL), NOW)

    bad, quote = mine.parse(ticker("delta", markPrice=word, bid1Size="8"), NOW)

    assert isinstance(bad, Refused)
    assert "mark_price" in bad.reason
    assert quote.bid_size == 8
    # and the state is untouched by it
    assert one(mine.parse(ticker("delta", indexPrice="97"), NOW)).mark_price == 100


def test_tickers_of_spot_hold_nothing_for_us() -> None:
    assert parser("spot").parse(ticker("snapshot", lastPrice="5"), NOW) == (Ignored("tickers"),)


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"success":true,"ret_msg":"pong","conn_id":"x","op":"ping"}', Pong()),
        ('{"op":"pong","args":["1672916271846"]}', Pong()),
        ('{"req_id":"t","op":"pong","args":[1672916271846],"conn_id":"x"}', Pong()),
        (
            '{"success":true,"ret_msg":"","conn_id":"x","req_id":"7","op":"subscribe"}',
            Ack(ok=True, request="7"),
        ),
        (
            '{"success":false,"ret_msg":"Invalid topic: a","req_id":"","op":"subscribe"}',
            Ack(ok=False, detail="Invalid topic: a", is_whole=True),
        ),
        (
            '{"success":false,"ret_msg":"already,topic:kline.1.A-B,p.X","req_id":"3","op":"x"}',
            Ack(
                ok=False,
                request="3",
                topics=("kline.1.A-B", "p.X"),
                detail="already,topic:kline.1.A-B,p.X",
                is_whole=True,
            ),
        ),
    ],
)
def test_answers(text: str, wanted: Message) -> None:
    assert parser().parse(text.encode(), NOW) == (wanted,)


@pytest.mark.parametrize(
    "topic",
    [
        "order",
        "execution.fast",
        "wallet",
        "priceLimit.BTCUSDT",
        "orderbook.rpi.BTCUSDT",
        "kline.3.BTCUSDT",
    ],
)
def test_documented_topics_without_use_are_ignored(topic: str) -> None:
    assert isinstance(one(parser().parse(frame(topic, []), NOW)), Ignored)


# -- hostile --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"op":"\xff"}',
        b'{"topic":"publicTrade.BTCUSDT","x":"\xff\xff","data":[]}',
        b'{"topic":7}',
        b'{"topic":"nonsense.BTCUSDT","data":[]}',
        b'{"topic":"trade.spot.BTCUSDT","data":[]}',
        b'{"topic":"kline.7.BTCUSDT","data":[]}',
        b'{"topic":"publicTrade.BTCUSDT"}',
        b'{"topic":"publicTrade.BTCUSDT","data":{}}',
        b'{"topic":"publicTrade.BTCUSDT","data":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"op":"subscribe","success":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_frame_is_malformed_and_the_parser_goes_on(text: bytes) -> None:
    mine = parser()
    mine.parse(trades(TRADE), NOW)

    with pytest.raises(MalformedPayload):
        mine.parse(text, NOW)

    assert isinstance(one(mine.parse(trades(TRADE), NOW)), Trade)


def test_a_native_id_may_stand_for_several_instruments() -> None:
    two = (Target("A", Market.LINEAR), Target("B", Market.LINEAR))
    mine: Any = BybitParser("linear", lambda _route, _native: two)

    found = mine.parse(trades(TRADE), NOW)

    assert [(t.symbol, t.size) for t in found] == [("A", 0.012), ("B", 0.012)]


SAMPLES = [
    trades(TRADE, {**TRADE, "i": "x"}),
    book(9, [["1", "2"]], [["3", "0"]], type_="delta"),
    book(9, [["1", "2"]], [["3", "1"]], type_="snapshot", depth=1),
    frame("kline.1.BTCUSDT", [CANDLE]),
    ticker("snapshot", **FULL),
    ticker("delta", markPrice="5"),
    frame(
        "allLiquidation.BTCUSDT", [{"T": NOW_MS, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2"}]
    ),
    b'{"success":true,"ret_msg":"pong","conn_id":"x","req_id":"p1","op":"ping"}',
]
WORDS = [
    b'"NaN"', b"NaN", b'"sNaN"', b'"-inf"', b"1e999", b'"1e-400"', b"null", b"true", b"{}", b"[]",
    b"9" * 400, b'"' + b"9" * 5_000 + b'"', b"-1", b'""', b"\xff", b"\\ud800", b'"', b"[" * 3_000,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        put = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4)))
        text = text[:start] + put + text[end:]
    return text


def finite(messages: Any) -> bool:
    return all(math.isfinite(number) for m in messages for number in numbers_of(m))


@given(st.lists(mutated(), min_size=1, max_size=4), st.sampled_from(list(Market)), st.booleans())
def test_whatever_comes_nothing_but_malformed_payload_is_raised(
    frames: list[bytes], market: Market, exact: bool
) -> None:
    mine = parser(str(market), exact=exact)
    for text in SAMPLES:  # so that topics have feeds, and the fast way is taken
        mine.parse(text, NOW)
    for text in frames:
        try:
            found = mine.parse(text, NOW)
        except MalformedPayload:
            continue
        assert finite(found)
        assert all(len(m.raw) <= 1_000 for m in found if isinstance(m, Refused))


@st.composite
def with_a_bad_value(draw: st.DrawFn) -> bytes:
    body = json.loads(draw(st.sampled_from(SAMPLES[:-1])))
    data = body["data"]
    row = draw(st.sampled_from(data)) if isinstance(data, list) else data
    key = draw(st.sampled_from(sorted(row)))
    row[key] = draw(
        st.one_of(
            st.sampled_from(["NaN", "sNaN", "Infinity", "-1", "1e308", "1e-308", "", None, [], {}]),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(max_size=5),
        )
    )
    return json.dumps(body).encode()


@given(with_a_bad_value(), st.sampled_from(list(Market)), st.booleans())
def test_a_bad_value_never_becomes_a_number_that_is_none(
    text: bytes, market: Market, exact: bool
) -> None:
    mine = parser(str(market), exact=exact)

    assert finite(mine.parse(text, NOW))
    assert finite(mine.parse(text.replace(b": ", b":"), NOW))


@given(
    price=st.decimals("0.00000001", "999999", places=8),
    size=st.decimals("0.00001", "99999", places=5),
)
def test_prices_and_sizes_are_read_to_the_nearest_float_and_exactly(
    price: Decimal, size: Decimal
) -> None:
    text = trades({**TRADE, "p": f"{price:f}", "v": f"{size:f}"})

    live = one(parser("spot").parse(text, NOW))
    exact = one(parser("spot", exact=True).parse(text, NOW))

    assert (live.price, live.size) == (float(price), float(size))
    assert (exact.price, exact.size) == (price, size)
    assert msgspec.to_builtins(live)["side"] == "sell"
