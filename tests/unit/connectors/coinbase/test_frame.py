"""Frames of Coinbase: every recording against its summary, every trap, and what nobody has sent."""

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

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

from zvt_crypto.connectors.coinbase.moment import Moments
from zvt_crypto.connectors.coinbase.ws import CoinbaseProtocol
from zvt_crypto.connectors.wire.moment import FUTURE_US
from zvt_crypto.connectors.wire.refusal import MOST_REFUSALS
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market, Status
from zvt_crypto.core.interval import US_PER_S, Interval
from zvt_crypto.core.record import Book, Candle, InstrumentStatus, Side, Trade
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.ports.stream import (
    Ack,
    Ignored,
    Message,
    Pong,
    Refused,
    SequenceBreak,
    Target,
)

ADVANCED = "coinbase/ws/advanced_fastmm_20260930_head"
SINGLE = "coinbase/ws/fixtures_nautilus"
EXCHANGE = "coinbase_exchange/ws/exchange_fastmm_20260930"
PRODUCTS = ["BTC-USD", "ETH-USD"]

TIME = "2026-09-30T02:39:53.977543Z"
NOW = to_us(TIME)
TRADE = {
    "product_id": "BTC-USD",
    "trade_id": "1100253488",
    "price": "83277.26",
    "size": "0.00058346",
    "time": TIME,
    "side": "SELL",
}
CANDLE = {
    "start": "1790735700",
    "high": "102",
    "low": "99",
    "open": "100",
    "close": "101",
    "volume": "4.5",
    "product_id": "BTC-USD",
}


def parser(route: str = "market", *, exact: bool = False, contract: float = 1.0) -> Any:
    # A test knows which kind of message it gets, and reads its attributes.
    def resolve(_route: str, native: str) -> Sequence[Target]:
        return (Target(f"our-{native}", Market.SPOT, contract),)

    return CoinbaseProtocol().parser(route, resolve, exact=exact)


def frame(channel: str, *events: Any, number: int = 0, timestamp: str = TIME) -> bytes:
    body = {
        "channel": channel,
        "timestamp": timestamp,
        "sequence_num": number,
        "events": events,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def trades(*rows: dict[str, Any], type_: str = "update", number: int = 0) -> bytes:
    return frame("market_trades", {"type": type_, "trades": rows}, number=number)


def level(side: str, price: str, size: str, time: str = TIME) -> dict[str, str]:
    return {"side": side, "event_time": time, "price_level": price, "new_quantity": size}


def levels(*rows: Any, type_: str = "update", number: int = 0) -> bytes:
    event = {"type": type_, "product_id": "BTC-USD", "updates": rows}
    return frame("l2_data", event, number=number)


def heartbeat(number: int, count: int | str = 5) -> bytes:
    return frame("heartbeats", {"current_time": "x", "heartbeat_counter": count}, number=number)


def one(messages: Any) -> Any:
    (message,) = messages
    return message


# -- recordings -----------------------------------------------------------------------------------


def of_product(messages: list[Message], kind: type, product: str) -> list[Any]:
    return [m for m in messages if isinstance(m, kind) and getattr(m, "symbol", "") == product]


@pytest.mark.parametrize("product", PRODUCTS)
def test_recorded_trades_are_those_of_the_summary(shared_data: Path, product: str) -> None:
    messages = read_all(CoinbaseProtocol(), recorded(shared_data, ADVANCED), as_native())
    wanted = expected(shared_data, ADVANCED)

    found: list[Trade] = of_product(messages, Trade, product)

    same(summary(t for t in found if not t.is_recap), wanted["trades_update"][product])
    recap = [t for t in found if t.is_recap]
    facts = {**wanted["trades_snapshot"][product]}
    # The summary names the oldest and the newest id, the wire has the newest first.
    facts["first_id"], facts["last_id"] = facts["max_id"], facts["min_id"]
    same(summary(recap), facts)
    times = [t.ts_event for t in found if not t.is_recap]
    update = wanted["trades_update"][product]
    assert min(times) == to_us(update["first_exchange_time"])
    assert max(times) == to_us(update["last_exchange_time"])


@pytest.mark.parametrize("product", PRODUCTS)
def test_recorded_books_end_as_the_summary_says(shared_data: Path, product: str) -> None:
    messages = read_all(CoinbaseProtocol(), recorded(shared_data, ADVANCED), as_native())
    wanted = expected(shared_data, ADVANCED)["book_updates"][product]

    books: list[Book] = of_product(messages, Book, product)
    rows = [row for b in books for row in (*b.bids, *b.asks)]

    assert len(books) == wanted["events"]
    assert sum(b.is_snapshot for b in books) == wanted["snapshots"]
    assert len(rows) == wanted["levels"]
    assert sum(size == 0 for _, size in rows) == wanted["zero_quantity_levels"]
    same_book(*book_after(books), wanted["final_book"])
    assert all(b.prev_sequence is None for b in books)


def test_recorded_numbers_run_over_the_whole_connection(shared_data: Path) -> None:
    messages = read_all(CoinbaseProtocol(), recorded(shared_data, ADVANCED), as_native())
    wanted = expected(shared_data, ADVANCED)

    assert sum(isinstance(m, SequenceBreak) for m in messages) == wanted["sequence_breaks"]
    assert not [m for m in messages if isinstance(m, Refused | Ignored)]
    numbers = [m.sequence for m in messages if isinstance(m, Book)]
    assert all(a < b for a, b in pairwise(n for n in numbers if n is not None))
    pongs = [m for m in messages if isinstance(m, Pong)]
    assert len(pongs) == wanted["messages_by_channel"]["heartbeats"]
    assert pongs[-1].counter == wanted["last_heartbeat_counter"]
    acks = [m for m in messages if isinstance(m, Ack)]
    assert len(acks) == wanted["messages_by_channel"]["subscriptions"]
    assert set(acks[-1].topics) == {
        "heartbeats:heartbeats",
        *(f"{c}:{p}" for c in ("level2", "market_trades") for p in PRODUCTS),
    }


def test_a_lost_recorded_frame_is_told_before_the_records_of_the_next(shared_data: Path) -> None:
    frames = recorded(shared_data, ADVANCED)
    del frames[40:43]

    messages = read_all(CoinbaseProtocol(), frames, as_native())

    breaks = [m for m in messages if isinstance(m, SequenceBreak)]
    assert breaks == [SequenceBreak(expected=40, received=43)]


def test_a_doubled_recording_gives_every_record_once(shared_data: Path) -> None:
    frames = recorded(shared_data, ADVANCED)
    once = read_all(CoinbaseProtocol(), frames, as_native())

    twice = read_all(CoinbaseProtocol(), [f for one_ in frames for f in (one_, one_)], as_native())

    assert [m for m in twice if m != Ignored("repeated")] == once
    assert twice.count(Ignored("repeated")) == len(frames)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_recorded_exchange_feed_is_as_the_summary_says(shared_data: Path, product: str) -> None:
    messages = read_all(CoinbaseProtocol(), recorded(shared_data, EXCHANGE), as_native())
    wanted = expected(shared_data, EXCHANGE)

    found: list[Trade] = of_product(messages, Trade, product)
    books: list[Book] = of_product(messages, Book, product)

    same(summary(t for t in found if not t.is_recap), wanted["trades"][product])
    same(summary(t for t in found if t.is_recap), wanted["last_match"][product])
    # The summary counts changes and their levels; the snapshot is apart.
    rows = [row for b in books if not b.is_snapshot for row in (*b.bids, *b.asks)]
    facts = wanted["book_updates"][product]
    assert sum(not b.is_snapshot for b in books) == facts["count"]
    assert sum(b.is_snapshot for b in books) == facts["snapshots"]
    assert len(rows) == facts["levels"]
    assert sum(size == 0 for _, size in rows) == facts["zero_quantity_levels"]
    same_book(*book_after(books), facts["final_book"])


def test_the_recorded_exchange_session_is_counted(shared_data: Path) -> None:
    messages = read_all(CoinbaseProtocol(), recorded(shared_data, EXCHANGE), as_native())
    wanted = expected(shared_data, EXCHANGE)["messages_by_type"]

    assert sum(isinstance(m, Pong) for m in messages) == wanted["heartbeat"]
    assert sum(isinstance(m, Ack) for m in messages) == wanted["subscriptions"]
    assert not [m for m in messages if isinstance(m, Refused | Ignored)]


KINDS = {
    "fixture:ws_candles.json": [Candle],
    "fixture:ws_heartbeats.json": [Pong],
    "fixture:ws_l2_data_snapshot.json": [Book],
    "fixture:ws_l2_data_update.json": [Book],
    "fixture:ws_market_trades.json": [Trade, Trade],
    "fixture:ws_subscriptions.json": [Ack],
    "fixture:ws_ticker.json": [Ignored],
    "fixture:ws_user.json": [Ignored],
}


def test_every_single_message_is_read(shared_data: Path) -> None:
    singles = recorded(shared_data, SINGLE)
    assert {single.connection for single in singles} == set(KINDS)

    for single in singles:
        found = parser().parse(single.frame, 0)

        assert [type(m) for m in found] == KINDS[single.connection], single.connection


# -- trades ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maker", "taker"), [("SELL", Side.BUY), ("BUY", Side.SELL), ("", Side.UNKNOWN)]
)
def test_the_side_is_the_makers_and_ids_are_numbers(maker: str, taker: Side) -> None:
    found = one(parser().parse(trades({**TRADE, "side": maker}), NOW))

    assert found == Trade(
        exchange="coinbase",
        symbol="our-BTC-USD",
        ts_event=NOW,
        ts_recv=NOW,
        trade_id=1100253488,
        price=83277.26,
        size=0.00058346,
        side=taker,
    )


def test_trades_before_the_subscription_are_marked() -> None:
    assert one(parser().parse(trades(TRADE, type_="snapshot"), NOW)).is_recap
    assert not one(parser().parse(trades(TRADE), NOW)).is_recap


def test_alias_pairs_share_what_comes_under_one_id() -> None:
    pair = (Target("BTC-USD", Market.SPOT), Target("BTC-USDC", Market.SPOT))
    mine: Any = CoinbaseProtocol().parser("market", lambda _r, _n: pair)

    for text, count in ((trades(TRADE), 2), (levels(level("bid", "1", "2"), number=1), 2)):
        assert [m.symbol for m in mine.parse(text, NOW)] == ["BTC-USD", "BTC-USDC"]
        assert count == len(pair)
    found = mine.parse(frame("candles", {"type": "update", "candles": [CANDLE]}, number=2), NOW)
    assert [m.symbol for m in found] == ["BTC-USD", "BTC-USDC"]


def test_futures_count_contracts() -> None:
    mine = parser(contract=0.01)

    assert one(mine.parse(trades({**TRADE, "size": "7"}), NOW)).size == 0.07
    book = one(mine.parse(levels(level("bid", "1", "7"), level("bid", "2", "0"), number=1), NOW))
    assert list(book.bids) == [(1.0, 0.07), (2.0, 0.0)]
    candle = frame("candles", {"type": "update", "candles": [CANDLE]}, number=2)
    assert one(mine.parse(candle, NOW)).volume == 0.045


@pytest.mark.parametrize(
    "change",
    [
        {"price": "0"},
        {"price": "NaN"},
        {"price": "1e999"},
        {"price": ""},
        {"price": None},
        {"size": "0"},
        {"size": "-1"},
        {"size": "sNaN"},
        {"trade_id": "x1"},
        {"trade_id": -1},
        {"trade_id": "9" * 30},
        {"time": ""},
        {"time": "1970-01-01T00:00:00Z"},
        {"time": "0001-01-01T00:00:00Z"},
        {"time": format_us(NOW + FUTURE_US + 1)},
        {"time": "2026-09-30 02:39:53"},
        {"time": 7},
        {"side": 1},
        {"product_id": None},
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_bad_row_is_refused_and_the_others_count(change: dict[str, Any], exact: bool) -> None:
    rows = ({**TRADE, "trade_id": "1"}, {**TRADE, **change}, {**TRADE, "trade_id": "3"})

    first, second, third = parser(exact=exact).parse(trades(*rows), NOW)

    assert (first.trade_id, third.trade_id) == (1, 3)
    assert isinstance(second, Refused)
    assert second.reason


def test_refusals_of_one_frame_are_bounded() -> None:
    text = frame("market_trades", {"type": "update", "trades": [0] * 5_000})

    assert len(parser().parse(text, NOW)) == MOST_REFUSALS + 1


def test_ids_nobody_knows_are_ignored_and_the_number_still_counts() -> None:
    mine: Any = CoinbaseProtocol().parser("market", lambda _r, _n: ())

    assert one(mine.parse(trades(TRADE), NOW)) == Ignored("instrument not listed")
    assert one(mine.parse(levels(number=1), NOW)) == Ignored("instrument not listed")
    assert list(mine.parse(heartbeat(2), NOW)) == [Pong(5)]


# -- books ----------------------------------------------------------------------------------------


def test_a_book_is_a_snapshot_in_order_then_changes() -> None:
    mine = parser()
    rows = (level("bid", "1", "5"), level("bid", "2", "6"), level("offer", "9", "1"))

    first = one(mine.parse(levels(*rows, level("offer", "3", "2"), type_="snapshot"), NOW))
    second = one(mine.parse(levels(level("offer", "3", "0.00000000"), number=1), NOW))

    assert first == Book(
        exchange="coinbase",
        symbol="our-BTC-USD",
        ts_event=NOW,
        ts_recv=NOW,
        is_snapshot=True,
        bids=[(2.0, 6.0), (1.0, 5.0)],
        asks=[(3.0, 2.0), (9.0, 1.0)],
        sequence=0,
    )
    assert (second.is_snapshot, list(second.asks), second.sequence) == (False, [(3.0, 0.0)], 1)


@pytest.mark.parametrize("nothing", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", ""])
def test_a_snapshot_without_a_time_has_that_of_its_message(nothing: str) -> None:
    text = levels(level("bid", "1", "2", time=nothing), type_="snapshot")

    assert one(parser().parse(text, NOW)).ts_event == NOW


def test_several_events_of_a_message_keep_their_order() -> None:
    def event(product: str) -> dict[str, Any]:
        rows = [level("bid", "1", "2")]
        return {"type": "update", "product_id": product, "updates": rows}

    found = parser().parse(frame("l2_data", event("A-USD"), event("B-USD"), number=4), NOW)

    assert [(b.symbol, b.sequence) for b in found if isinstance(b, Book)] == [
        ("our-A-USD", 4),
        ("our-B-USD", 4),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        level("ask", "1", "2"),
        level("bid", "0", "2"),
        level("bid", "1", "-2"),
        level("bid", "NaN", "2"),
        level("bid", "1", "1e999"),
        level("bid", "1", "2", time="soon"),
        level("bid", "1", "2", time=format_us(NOW + FUTURE_US + 1)),
        7,
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_bad_level_refuses_the_whole_event(bad: Any, exact: bool) -> None:
    good = {"type": "update", "product_id": "ETH-USD", "updates": [level("bid", "1", "2")]}
    event = {"type": "update", "product_id": "BTC-USD", "updates": [level("bid", "3", "4"), bad]}

    first, second = parser(exact=exact).parse(frame("l2_data", event, good), NOW)

    assert isinstance(first, Refused)
    assert first.symbol == "our-BTC-USD"
    assert isinstance(second, Book)


# -- the number of the connection -----------------------------------------------------------------


def test_a_jump_is_told_first_and_a_number_met_before_is_a_repetition() -> None:
    mine = parser()
    assert list(mine.parse(heartbeat(7), NOW)) == [Pong(5)]

    broken = mine.parse(trades(TRADE, number=11), NOW)

    assert broken[0] == SequenceBreak(expected=8, received=11)
    assert isinstance(broken[1], Trade)
    assert list(mine.parse(trades(TRADE, number=10), NOW)) == [Ignored("repeated")]
    assert list(mine.parse(heartbeat(11), NOW)) == [Ignored("repeated")]
    assert list(mine.parse(heartbeat(12), NOW)) == [Pong(5)]


@pytest.mark.parametrize("channel", ["ticker", "ticker_batch", "user", "brand_new"])
def test_messages_without_use_are_counted_too(channel: str) -> None:
    mine = parser()
    mine.parse(heartbeat(0), NOW)

    assert isinstance(one(mine.parse(frame(channel, {}, number=1), NOW)), Ignored)
    assert list(mine.parse(heartbeat(2), NOW)) == [Pong(5)]


def test_a_frame_with_a_bad_row_is_counted_once() -> None:
    mine = parser()
    mine.parse(heartbeat(0), NOW)

    bad = one(mine.parse(trades({**TRADE, "price": "0"}, number=1), NOW))

    assert isinstance(bad, Refused)
    assert list(mine.parse(heartbeat(2), NOW)) == [Pong(5)]


def test_an_absurd_number_does_not_deafen_the_parser() -> None:
    mine = parser()
    mine.parse(heartbeat(0), NOW)

    with pytest.raises(MalformedPayload):
        mine.parse(heartbeat(1 << 40), NOW)

    assert list(mine.parse(heartbeat(1), NOW)) == [Pong(5)]


# -- the other channels ---------------------------------------------------------------------------


def test_candles_are_of_five_minutes_and_never_said_to_be_closed() -> None:
    text = frame("candles", {"type": "update", "candles": [CANDLE]})

    assert one(parser().parse(text, NOW)) == Candle(
        exchange="coinbase",
        symbol="our-BTC-USD",
        interval=Interval.M5,
        ts_event=1_790_735_700 * US_PER_S,
        ts_recv=NOW,
        open=100.0,
        high=102.0,
        low=99.0,
        close=101.0,
        volume=4.5,
    )


@pytest.mark.parametrize(
    "change", [{"high": "100"}, {"low": "NaN"}, {"volume": "-1"}, {"start": "1790735701"}]
)
def test_candles_that_cannot_be_true_are_refused(change: dict[str, str]) -> None:
    text = frame("candles", {"type": "update", "candles": [{**CANDLE, **change}, CANDLE]})

    assert [type(m) for m in parser().parse(text, NOW)] == [Refused, Candle]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("online", Status.ACTIVE),
        ("offline", Status.HALTED),
        ("delisted", Status.DELISTED),
        ("sleepy", Status.UNKNOWN),
    ],
)
def test_a_status_keeps_the_exchanges_word(word: str, status: Status) -> None:
    row = {"id": "BTC-USD", "status": word, "status_message": "", "min_market_funds": "1"}
    text = frame("status", {"type": "snapshot", "products": [row, 7]})

    found, bad = parser().parse(text, NOW)

    assert found == InstrumentStatus("coinbase", "our-BTC-USD", NOW, NOW, status, word)
    assert isinstance(bad, Refused)


@pytest.mark.parametrize("count", [3049, "3049"])
def test_heartbeats_carry_their_counter(count: int | str) -> None:
    assert list(parser().parse(heartbeat(0, count), NOW)) == [Pong(3049)]


def test_an_error_is_an_answer_that_names_nothing() -> None:
    text = b'{"type":"error","message":"too many subscriptions"}'

    assert list(parser().parse(text, NOW)) == [Ack(ok=False, detail="too many subscriptions")]


# -- times ----------------------------------------------------------------------------------------


@given(
    st.integers(to_us("0001-01-02"), to_us("9999-01-01")),
    st.integers(0, 9),
    st.integers(0, 999),
    st.lists(st.integers(-70_000_000, 70_000_000), max_size=5),
)
def test_times_of_any_number_of_digits_are_read_exactly(
    time: int, digits: int, nanos: int, steps: list[int]
) -> None:
    moments = Moments()
    for moment in (time, *(time + step for step in steps)):
        whole, fraction = divmod(moment, US_PER_S)
        text = f"{fraction:06d}{nanos:03d}"[:digits]
        cut = int(f"{text:0<6}"[:6]) if text else 0
        written = format_us(whole * US_PER_S).removesuffix("Z")
        written = written.rjust(len("2026-09-30T02:39:53"), "0")

        assert moments.read(f"{written}.{text}Z" if text else f"{written}Z") == (
            whole * US_PER_S + cut
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2026-09-30T02:39:53",
        "2026-09-30T02:39:53.Z",
        "2026-09-30T02:39:53.1234567890Z",
        "2026-09-30T02:39:53.-12345Z",
        "2026-09-30T02:39:53.12 45Z",
        "2026-09-30T02:39:53.\u0661\u0662Z",
        "2026-09-30T02:39:60.5Z",
        "2026-09-30T02:39:5\u0663.5Z",
        "2026-13-30T02:39:53Z",
        "1790735700",
    ],
)
def test_what_is_no_time_is_refused_even_within_a_known_second(text: str) -> None:
    moments = Moments()
    assert moments.read("2026-09-30T02:39:53.5Z") == to_us("2026-09-30T02:39:53.5Z")
    assert moments.read("2026-09-30T02:39:53.25Z") == to_us("2026-09-30T02:39:53.25Z")

    with pytest.raises(ValueError, match="not a time"):
        moments.read(text)


def test_an_offset_from_utc_is_applied() -> None:
    assert Moments().read("2026-09-30T04:39:53.5+02:00") == to_us("2026-09-30T02:39:53.5Z")


# -- hostile --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"{}",
        b'{"type":"hello"}',
        b"\xff",
        b'{"channel":"l2_data","x":"\xff","events":[]}',
        b'{"channel":7}',
        b'{"channel":"l2_data","events":{}}',
        b'{"channel":"l2_data","sequence_num":-1,"events":[]}',
        b'{"channel":"l2_data","events":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
@pytest.mark.parametrize("route", ["market", "exchange"])
def test_what_is_no_frame_is_malformed_and_the_parser_goes_on(text: bytes, route: str) -> None:
    mine = parser(route)

    with pytest.raises(MalformedPayload):
        mine.parse(text, NOW)

    good = MATCH if route == "exchange" else trades(TRADE)
    assert isinstance(one(mine.parse(good, NOW)), Trade)


MATCH = json.dumps(
    {
        "type": "match",
        "trade_id": 846151671,
        "side": "sell",
        "size": "0.5",
        "price": "2671.33",
        "product_id": "ETH-USD",
        "time": TIME,
    }
).encode()
CHANGES = json.dumps(
    {
        "type": "l2update",
        "product_id": "ETH-USD",
        "changes": [["buy", "1.5", "2"], ["sell", "3", "0"]],
        "time": TIME,
    }
).encode()
SAMPLES = [
    trades(TRADE, {**TRADE, "trade_id": "9"}, number=0),
    levels(level("bid", "1", "2"), level("offer", "3", "0"), number=1),
    frame("candles", {"type": "update", "candles": [CANDLE]}, number=2),
    frame("status", {"products": [{"id": "BTC-USD", "status": "online"}]}, number=3),
    heartbeat(4),
    frame("subscriptions", {"subscriptions": {"level2": ["BTC-USD"]}}, number=5),
]
WORDS = [
    b'"NaN"', b"NaN", b'"sNaN"', b'"-inf"', b"1e999", b'"1e-400"', b"null", b"true", b"{}", b"[]",
    b"9" * 400, b'"' + b"9" * 5_000 + b'"', b"-1", b'""', b"\xff", b"\\ud800", b'"', b"[" * 3_000,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        put = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4)))
        text = text[:start] + put + text[end:]
    return text


@given(
    st.one_of(
        st.tuples(st.just("market"), st.lists(mutated(SAMPLES), min_size=1, max_size=4)),
        st.tuples(st.just("exchange"), st.lists(mutated([MATCH, CHANGES]), min_size=1, max_size=4)),
    ),
    st.booleans(),
    st.sampled_from([1.0, 0.01]),
)
def test_whatever_comes_nothing_but_malformed_payload_is_raised(
    sent: tuple[str, list[bytes]], exact: bool, contract: float
) -> None:
    route, frames = sent
    mine = parser(route, exact=exact, contract=contract)
    for text in frames:
        try:
            found = mine.parse(text, NOW)
        except MalformedPayload:
            continue
        assert all(math.isfinite(number) for m in found for number in numbers_of(m))
        assert all(len(m.raw) <= 1_000 for m in found if isinstance(m, Refused))


@given(
    price=st.decimals("0.00000001", "999999", places=8),
    size=st.decimals("0.00000001", "99999", places=8),
)
def test_prices_and_sizes_are_read_to_the_nearest_float_and_exactly(
    price: Decimal, size: Decimal
) -> None:
    text = trades({**TRADE, "price": f"{price:f}", "size": f"{size:f}"})

    live = one(parser().parse(text, NOW))
    exact = one(parser(exact=True).parse(text, NOW))

    assert (live.price, live.size) == (float(price), float(size))
    assert (exact.price, exact.size) == (price, size)
