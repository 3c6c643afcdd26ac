"""Frames of OKX: the recordings in full, the traps one by one, and damage of every kind."""

import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from live_frames import (
    agree,
    book_at_the_end,
    book_facts,
    by_symbol,
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

from zvt_crypto.connectors.okx.frame import OkxParser
from zvt_crypto.connectors.okx.parse import parse_trades
from zvt_crypto.connectors.okx.unit import base_size
from zvt_crypto.connectors.okx.ws import OkxProtocol
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market, Status
from zvt_crypto.core.interval import US_PER_HOUR, Interval
from zvt_crypto.core.record import (
    Book,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.ports.stream import Ack, Ignored, Notice, Pong, Refused, Target

RECORDINGS = (
    "okx/ws/public_cryptofeed_20210722_conn1",
    "okx/ws/public_cryptofeed_20210722_conn2",
    "okx/ws/public_cryptofeed_20220513",
    "okx/ws/swap_fastmm_20260926",
    "okx/ws/swap_funding_fastmm_20260930",
)
FIXTURES = "okx/ws/fixtures_nautilus"
UNREADABLE = {
    "fixture:common_optional_string_to_u64.json": "a test value of that project, no frame",
    "fixture:ws_opt_summary.json": "the rows of a push without its arg",
}

NOW = 1_763_769_612_500_000
MS = NOW // 1_000
SWAP = "BTC-USDT-SWAP"

TRADE: dict[str, Any] = {
    "instId": SWAP,
    "tradeId": "802113377",
    "px": "86120.4",
    "sz": "3.2",
    "side": "sell",
    "ts": str(MS - 5),
    "source": "0",
}
BOOK: dict[str, Any] = {
    "asks": [["86120.5", "310", "0", "9"], ["86121", "2", "0", "1"]],
    "bids": [["86120.4", "121", "0", "4"]],
    "ts": str(MS),
    "checksum": 0,
    "prevSeqId": -1,
    "seqId": 100,
}
TICKER: dict[str, Any] = {
    "instType": "SWAP",
    "instId": SWAP,
    "last": "86120.4",
    "askPx": "86120.5",
    "askSz": "8",
    "bidPx": "86120.4",
    "bidSz": "12",
    "ts": str(MS),
}
CANDLE = ["1763769600000", "10", "12", "9", "11", "1523.41", "15.2341", "131217.33", "0"]
FUNDING: dict[str, Any] = {
    "instType": "SWAP",
    "instId": SWAP,
    "fundingRate": "0.0000512",
    "nextFundingRate": "",
    "fundingTime": "1763798400000",
    "nextFundingTime": "1763812800000",
    "settState": "settled",
    "settFundingRate": "-0.0000433",
    "ts": str(MS),
}
INTEREST: dict[str, Any] = {
    "instId": SWAP,
    "oi": "2216113.01",
    "oiCcy": "22161.1301",
    "oiUsd": "1",
    "ts": str(MS),
}
MARK: dict[str, Any] = {"instType": "SWAP", "instId": SWAP, "markPx": "86118.7", "ts": str(MS)}
DETAIL: dict[str, Any] = {
    "side": "sell",
    "posSide": "long",
    "bkPx": "131.22",
    "sz": "14",
    "ts": str(MS),
}
LIQUIDATION: dict[str, Any] = {"instType": "SWAP", "instId": SWAP, "details": [DETAIL]}


def frame_of(channel: str, *rows: Any, inst: str = SWAP, action: str | None = None) -> bytes:
    """Return a push as OKX writes it."""
    by_type = channel in ("liquidation-orders", "instruments")
    push: dict[str, Any] = {"arg": {"channel": channel, "instType" if by_type else "instId": inst}}
    if action is not None:
        push["action"] = action
    push["data"] = rows
    return json.dumps(push, separators=(",", ":")).encode()


def event_of(event: str, **others: Any) -> bytes:
    """Return an event as OKX writes it."""
    return json.dumps({"event": event, **others}, separators=(",", ":")).encode()


SAMPLES = (
    frame_of("trades-all", TRADE),
    frame_of("trades", {**TRADE, "count": "3", "seqId": 7}, TRADE),
    frame_of("bbo-tbt", BOOK),
    frame_of("books", BOOK, action="snapshot"),
    frame_of("books", {**BOOK, "prevSeqId": 100, "seqId": 112}, action="update"),
    frame_of("books5", BOOK),
    frame_of("tickers", TICKER),
    frame_of("candle1m", CANDLE),
    frame_of("mark-price", MARK),
    frame_of("funding-rate", FUNDING),
    frame_of("open-interest", INTEREST),
    frame_of("liquidation-orders", {**LIQUIDATION, "details": [DETAIL, DETAIL]}, inst="SWAP"),
    frame_of("instruments", {"instId": SWAP, "state": "suspend"}, inst="SWAP"),
    frame_of("index-tickers", {"instId": "BTC-USDT", "idxPx": "1", "ts": "1"}),
    event_of("subscribe", id="1", arg={"channel": "trades", "instId": SWAP}, connId="a"),
    event_of("error", code="60018", msg="Wrong URL or channel:trades,instId:NO-NE doesn't exist."),
    event_of("notice", code="64008", msg="The connection will soon be closed"),
    event_of("channel-conn-count", channel="orders", connCount="2"),
    b"pong",
)


def parser(
    market: Market = Market.LINEAR, *, contract: float = 1.0, exact: bool = False
) -> OkxParser:
    return OkxParser("public", native_targets(market, contract), exact=exact)


def only(frame: bytes, market: Market = Market.LINEAR, contract: float = 1.0) -> Any:
    (message,) = parser(market, contract=contract).parse(frame, NOW)
    return message


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_gives_exactly_what_was_counted_in_it(name: str, shared_data: Path) -> None:
    # given
    expected = expected_of(shared_data, name)
    channels: dict[str, int] = expected["messages_by_channel"]
    books_of = {key.partition("@")[0]: key for key in expected.get("book_updates", {})}

    # when
    messages = parse_recording(OkxProtocol(), shared_data, name)

    # then nothing was refused
    counts = Counter(type(m) for m in messages)
    acks = sum(n for channel, n in channels.items() if channel.startswith("subscribe:"))
    assert counts[Refused] == 0
    assert counts[Ack] == acks
    assert counts[Trade] == channels.get("trades", 0)
    assert counts[MarkPrice] == channels.get("mark-price", 0)
    assert counts[OpenInterest] == channels.get("open-interest", 0)
    assert counts[Funding] == channels.get("funding-rate", 0)
    assert counts[Ignored] == channels.get("index-tickers", 0)
    trades = by_symbol(m for m in messages if isinstance(m, Trade))
    assert trades.keys() == expected.get("trades", {}).keys()
    for symbol, rows in trades.items():
        assert agree(trade_facts(rows), expected["trades"][symbol]), symbol

    # a quote of bbo-tbt has a sequence, one of tickers has none
    quotes = [m for m in messages if isinstance(m, Quote)]
    for key, rows in (
        ("quotes_bbo_tbt", [q for q in quotes if q.sequence is not None]),
        ("tickers", [q for q in quotes if q.sequence is None]),
    ):
        found = by_symbol(rows)
        assert found.keys() == expected.get(key, {}).keys()
        for symbol, ours in found.items():
            assert agree(_whole_quotes(ours), expected[key][symbol]), symbol
            if key == "quotes_bbo_tbt":
                assert ours[0].sequence == expected[key][symbol]["first_update_id"]
                assert ours[-1].sequence == expected[key][symbol]["last_update_id"]

    books = by_symbol(m for m in messages if isinstance(m, Book))
    assert books.keys() == books_of.keys()
    for symbol, rows in books.items():
        counted = expected["book_updates"][books_of[symbol]]
        assert agree(book_facts(rows), counted), symbol
        assert sum(book.is_snapshot for book in rows) == counted["snapshots"]
        if "best_bid" in counted["final_book"] and counted["final_book"]["best_bid"]:
            assert agree(book_at_the_end(rows), counted["final_book"]), symbol
        if "seq_breaks" in counted:
            assert (
                sum(a.sequence != b.prev_sequence for a, b in pairwise(rows))
                == counted["seq_breaks"]
            )
            assert rows[-1].sequence == counted["last_seq_id"]


def _whole_quotes(quotes: list[Quote]) -> dict[str, Any]:
    if all(q.bid_price is not None and q.ask_price is not None for q in quotes):
        return quote_facts(quotes)
    return {"count": len(quotes)}


def test_funding_marks_and_open_interest_are_as_recorded(shared_data: Path) -> None:
    name = "okx/ws/swap_funding_fastmm_20260930"
    expected = expected_of(shared_data, name)
    messages = parse_recording(OkxProtocol(), shared_data, name)

    funding = by_symbol(m for m in messages if isinstance(m, Funding))
    for symbol, rows in funding.items():
        told = expected["funding"][symbol]
        assert len(rows) == told["count"]
        for row, want in ((rows[0], told["first"]), (rows[-1], told["last"])):
            assert row.predicted_rate == Decimal(want["fundingRate"])
            assert row.next_funding_time == int(want["fundingTime"]) * 1_000
            assert row.ts_event == int(want["ts"]) * 1_000
            assert row.interval_hours == 8

    first = expected["first_rows"]
    for kind, channel, field, ours in (
        (MarkPrice, "mark-price", "markPx", "mark_price"),
        (OpenInterest, "open-interest", "oiCcy", "open_interest"),
    ):
        for symbol, rows in by_symbol(m for m in messages if isinstance(m, kind)).items():
            for row, want in zip(rows, first[channel][symbol], strict=False):
                assert getattr(row, ours) == Decimal(want[field])
                assert row.ts_event == int(want["ts"]) * 1_000


def test_single_messages_of_another_project_are_read_but_for_two(shared_data: Path) -> None:
    reader = parser()
    kinds: Counter[str] = Counter()
    for connection, frame, ts_recv in recorded_frames(shared_data, FIXTURES):
        if connection in UNREADABLE:
            with pytest.raises(MalformedPayload):
                reader.parse(frame, ts_recv)
            continue
        for message in reader.parse(frame, ts_recv):
            what = message.what if isinstance(message, Ignored) else ""
            kinds[what or type(message).__name__] += 1
    assert kinds == {
        "private account": 2,
        "private orders": 8,
        "private orders-algo": 1,
        "private sprd-orders": 1,
        "candle of another width or price": 1,  # candle1D opens at 16:00 UTC
        "Quote": 2,
        "Book": 2,
        "Funding": 1,
        "InstrumentStatus": 1,
        "Trade": 1,
    }


def test_each_match_is_a_trade_and_folded_ones_say_how_many() -> None:
    single = only(frame_of("trades-all", TRADE))
    folded = only(frame_of("trades", {**TRADE, "count": "3"}))
    assert (single.trade_id, single.fills, single.side) == (802113377, None, Side.SELL)
    assert (folded.trade_id, folded.fills) == (802113377, 3)
    assert single.ts_event == (MS - 5) * 1_000
    assert isinstance(only(frame_of("trades", {**TRADE, "count": "0"})), Refused)


def test_a_book_is_told_from_changes_by_its_action() -> None:
    snapshot = only(frame_of("books", BOOK, action="snapshot"))
    update = only(frame_of("books", {**BOOK, "prevSeqId": 100, "seqId": 112}, action="update"))
    alive = {**BOOK, "asks": [], "bids": [], "prevSeqId": 112, "seqId": 112}
    keep_alive = only(frame_of("books", alive, action="update"))
    reset = only(frame_of("books", {**alive, "seqId": 3}, action="update"))
    assert (snapshot.is_snapshot, snapshot.sequence, snapshot.prev_sequence) == (True, 100, None)
    assert (update.is_snapshot, update.sequence, update.prev_sequence) == (False, 112, 100)
    assert (keep_alive.bids, keep_alive.sequence, keep_alive.prev_sequence) == ([], 112, 112)
    assert (reset.sequence, reset.prev_sequence) == (3, 112)
    assert isinstance(only(frame_of("books", BOOK)), Refused)
    assert isinstance(only(frame_of("books", BOOK, action="other")), Refused)
    unordered = {**BOOK, "asks": BOOK["asks"][::-1]}
    assert isinstance(only(frame_of("books", unordered, action="snapshot")), Refused)


def test_five_levels_are_always_the_whole_top() -> None:
    book = only(frame_of("books5", BOOK))
    assert (book.is_snapshot, book.sequence, len(book.asks)) == (True, 100, 2)


def test_the_third_element_of_a_level_is_nobodys_size() -> None:
    # given a level whose orders are all of retail: zero is not its size
    rows = {**BOOK, "bids": [["86120.4", "121", "0", "4"], ["86120.3", "7", "0", "0"]]}
    for channel in ("books-rpi", "books-l2-tbt", "books50-l2-tbt", "books-elp"):
        book = only(frame_of(channel, rows, action="snapshot"))
        assert book.bids == [(86120.4, 121.0), (86120.3, 7.0)]
    three = {**BOOK, "bids": [["86120.4", "121", "4"]], "asks": [["86120.5", "1"]]}
    assert only(frame_of("books", three, action="snapshot")).bids == [(86120.4, 121.0)]


def test_a_side_of_the_top_may_be_empty() -> None:
    quote = only(frame_of("bbo-tbt", {**BOOK, "bids": []}))
    assert (quote.bid_price, quote.bid_size) == (None, None)
    assert (quote.ask_price, quote.ask_size, quote.sequence) == (86120.5, 310.0, 100)
    ticker = only(frame_of("tickers", {**TICKER, "askPx": "", "askSz": ""}))
    assert (ticker.bid_price, ticker.ask_price, ticker.ask_size) == (86120.4, None, None)
    assert ticker.sequence is None


def test_candles_in_utc_and_no_others() -> None:
    for channel, width in (("candle1m", "1m"), ("candle1H", "1h"), ("candle1Dutc", "1d")):
        candle = only(frame_of(channel, CANDLE))
        assert (candle.interval, candle.is_closed) == (Interval(width), False)
    assert isinstance(only(frame_of("candle1Wutc", CANDLE)), Refused)  # it was a Saturday
    assert only(frame_of("candle1Dutc", [*CANDLE[:8], "1"])).is_closed
    for channel in ("candle1D", "candle3m", "candle1s", "mark-price-candle1m", "index-candle1m"):
        assert isinstance(only(frame_of(channel, CANDLE)), Ignored)
    assert isinstance(only(frame_of("candle1m", [*CANDLE[:8], "2"])), Refused)
    assert isinstance(only(frame_of("candle1m", CANDLE[:5])), Refused)


def test_volumes_of_candles_stand_where_the_market_puts_them() -> None:
    spot = only(frame_of("candle1m", CANDLE), Market.SPOT)
    swap = only(frame_of("candle1m", CANDLE), Market.LINEAR, 0.01)
    inverse = only(frame_of("candle1m", CANDLE), Market.INVERSE, 100.0)
    old = only(frame_of("candle1m", CANDLE[:7]), Market.SPOT)
    assert (spot.volume, spot.quote_volume) == (1523.41, 131217.33)
    assert (swap.volume, swap.quote_volume) == (15.2341, 131217.33)
    assert (inverse.volume, inverse.quote_volume) == (15.2341, 131217.33)
    assert (old.volume, old.quote_volume) == (1523.41, 15.2341)


def test_funding_says_what_is_foreseen_and_what_was_settled() -> None:
    funding = only(frame_of("funding-rate", FUNDING))
    assert (funding.predicted_rate, funding.funding_rate) == (0.0000512, -0.0000433)
    assert (funding.interval_hours, funding.funding_time) == (4, None)
    running = only(frame_of("funding-rate", {**FUNDING, "settState": "processing"}))
    assert running.funding_rate is None


def test_open_interest_is_told_in_the_coin() -> None:
    for market, contract in ((Market.LINEAR, 0.01), (Market.INVERSE, 100.0)):
        interest = only(frame_of("open-interest", INTEREST), market, contract)
        assert interest.open_interest == 22161.1301


def test_liquidations_of_all_instruments_come_on_one_topic() -> None:
    other = {**LIQUIDATION, "instId": "ETH-USDT-SWAP", "details": [{**DETAIL, "side": "buy"}]}
    frame = frame_of("liquidation-orders", LIQUIDATION, other, inst="SWAP")
    one, two = parser(contract=0.1).parse(frame, NOW)
    assert isinstance(one, Liquidation)
    assert isinstance(two, Liquidation)
    assert (one.symbol, one.side, one.price, one.size) == (SWAP, Side.SELL, 131.22, 1.4)
    assert (two.symbol, two.side) == ("ETH-USDT-SWAP", Side.BUY)
    bad = {**LIQUIDATION, "details": [DETAIL, {**DETAIL, "bkPx": ""}, DETAIL]}
    kinds = [type(m) for m in parser().parse(frame_of("liquidation-orders", bad, inst="SWAP"), NOW)]
    assert kinds == [Liquidation, Refused, Liquidation]


def test_the_state_of_an_instrument_is_announced_in_its_own_word() -> None:
    status = only(frame_of("instruments", {"instId": SWAP, "state": "suspend"}, inst="SWAP"))
    assert isinstance(status, InstrumentStatus)
    assert (status.status, status.detail, status.ts_event) == (Status.HALTED, "suspend", NOW)
    new = only(frame_of("instruments", {"instId": SWAP, "state": "new"}, inst="SWAP"))
    assert new.status is Status.UNKNOWN


def test_answers_errors_and_the_end_of_a_server() -> None:
    arg = {"channel": "trades-all", "instId": "BTC-USDT"}
    ack = Ack(ok=True, request="a1", topics=("trades-all:BTC-USDT",), detail="subscribe")
    assert only(event_of("subscribe", id="a1", arg=arg, connId="x")) == ack
    swaps = {"channel": "liquidation-orders", "instType": "SWAP"}
    assert only(event_of("unsubscribe", arg=swaps)).topics == ("liquidation-orders:SWAP",)
    wrong = "Wrong URL or channel:trades,instId:NO-NE doesn't exist. Please use the correct URL"
    error = only(event_of("error", id="a1", code="60018", msg=wrong, connId="x"))
    assert (error.ok, error.request, error.code) == (False, "a1", "60018")
    assert error.topics == ("trades:NO-NE",)
    assert only(event_of("error", code="60012", msg="Invalid request", arg=arg)).topics == (
        "trades-all:BTC-USDT",
    )
    assert isinstance(only(event_of("notice", code="64008", msg="upgrade")), Notice)
    assert only(b"pong") == Pong()
    for event in ("channel-conn-count", "channel-conn-count-error", "login", "not-heard-of"):
        assert isinstance(only(event_of(event)), Ignored)


@pytest.mark.parametrize(
    "value", ["NaN", "inf", "-1", "0", "1e400", "1e-400", "", "x", None, True, [], {}]
)
def test_a_trade_with_an_impossible_number_is_refused_and_the_others_stay(value: Any) -> None:
    for exact in (False, True):
        for field in ("px", "sz"):
            frame = frame_of("trades", TRADE, {**TRADE, field: value}, TRADE)
            messages = parser(exact=exact).parse(frame, NOW)
            assert [type(m) for m in messages] == [Trade, Refused, Trade]
            assert [m.symbol for m in messages if isinstance(m, Refused)] == [SWAP]


def test_times_and_ids_that_cannot_be_are_refused() -> None:
    late = str(MS + US_PER_HOUR // 1_000 + 1_000)
    for odd in ({"ts": late}, {"ts": "123456785"}, {"tradeId": str(2**63)}, {"side": "unknown"}):
        assert isinstance(only(frame_of("trades-all", {**TRADE, **odd})), Refused)
    (trade,) = parser().parse(frame_of("trades-all", {**TRADE, "ts": late}), 0)
    assert isinstance(trade, Trade)  # without a clock of ours nothing is too late


def test_an_id_nobody_knows_is_asked_for_again() -> None:
    listed: list[Target] = []
    read = OkxParser("public", lambda _route, _native: tuple(listed)).parse
    assert read(frame_of("trades-all", TRADE), NOW) == (Ignored("instrument not listed"),)
    listed += [Target("BTC-USDT-PERP", Market.LINEAR, 0.01), Target("B", Market.LINEAR, 0.01)]
    trades = read(frame_of("trades-all", TRADE), NOW)
    assert [t.symbol for t in trades if isinstance(t, Trade)] == ["BTC-USDT-PERP", "B"]


def test_order_and_space_in_a_frame_do_not_matter() -> None:
    push = json.loads(frame_of("trades-all", TRADE))
    spaced = json.dumps({"data": push["data"], "arg": push["arg"]}, indent=1).encode()
    assert parser().parse(spaced, NOW) == list(parser().parse(frame_of("trades-all", TRADE), NOW))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"5",
        b"{}",
        b"[]",
        b'{"arg":{"channel":"unheard-of"},"data":[]}',
        b'{"arg":5,"data":[]}',
        b'{"arg":{"channel":"trades"},"data":{}}',
        b'{"event":5}',
        b'{"event":"subscribe","id":"\xff"}',
        frame_of("trades-all", TRADE)[:-1],
        frame_of("trades-all", TRADE) + b"{",
        b'{"arg":' * 100_000,
        b'{"arg":{"channel":"trades","instId":"X"},"data":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}",
    ],
)
def test_a_frame_nobody_can_read_is_malformed_and_the_parser_goes_on(frame: bytes) -> None:
    reader = parser()
    with pytest.raises(MalformedPayload):
        reader.parse(frame, NOW)
    assert isinstance(reader.parse(frame_of("trades-all", TRADE), NOW)[0], Trade)


@st.composite
def amounts(draw: st.DrawFn) -> str:
    """Return the text of a size or price of at most twelve digits."""
    digits = draw(st.integers(1, 10 ** draw(st.integers(1, 12)) - 1))
    return f"{Decimal(digits).scaleb(-draw(st.integers(0, 8))):f}"


@settings(max_examples=400)
@given(
    size=amounts(),
    price=amounts(),
    market=st.sampled_from(Market),
    contract=st.sampled_from((1.0, 0.01, 0.1, 0.001, 10.0, 100.0, 1_000.0, 1e6, 1e-8, 0.5)),
)
def test_a_live_trade_is_to_the_last_bit_the_row_rest_gives(
    size: str, price: str, market: Market, contract: float
) -> None:
    # given one trade, as a push and as a page of history-trades
    contract = 1.0 if market is Market.SPOT else contract
    assume(float(size) * contract < 1e14)  # beyond, REST leaves the binary product as it is
    instrument = Instrument(
        exchange="okx",
        symbol="BTC-USDT-PERP",
        native=SWAP,
        base="BTC",
        quote="USDT",
        settle="USDT",
        market=market,
        contract_size=contract,
    )
    row = {**TRADE, "sz": size, "px": price}
    page = parse_trades(json.dumps({"data": [row]}).encode(), instrument).page.columns

    # when
    (trade,) = parser(market, contract=contract).parse(frame_of("trades-all", row), NOW)

    # then
    assert isinstance(trade, Trade)
    assert trade.size == page["size"][0] == base_size(instrument, float(size), float(price))
    assert (trade.price, trade.trade_id) == (page["price"][0], page["trade_id"][0])
    assert trade.ts_event == page["timestamp"][0] * 1_000
    assert trade.side == page["side"][0]


_PARSERS = [
    parser(market, contract=contract, exact=exact)
    for market, contract in ((Market.LINEAR, 1.0), (Market.LINEAR, 0.01), (Market.INVERSE, 100.0))
    for exact in (False, True)
]


@settings(max_examples=600)
@given(frame=damaged(SAMPLES), which=st.integers(0, 5), clock=st.sampled_from((0, NOW)))
def test_damage_raises_nothing_else_and_makes_no_impossible_number(
    frame: bytes, which: int, clock: int
) -> None:
    parse_or_refuse(_PARSERS[which], frame, clock)


@settings(max_examples=300)
@given(data=st.data(), which=st.integers(0, 5), clock=st.sampled_from((0, 2 * NOW)))
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
