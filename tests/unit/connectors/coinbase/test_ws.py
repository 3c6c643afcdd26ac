"""What Coinbase is asked for: topics, sockets, requests and their limits."""

import json

import pytest

from zvt_crypto.connectors.coinbase.ws import CoinbaseProtocol
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.stream import Ack, StreamProtocol

BTC = Instrument(
    exchange="coinbase",
    symbol="BTC-USD",
    native="BTC-USD",
    base="BTC",
    quote="USD",
    settle=None,
    market=Market.SPOT,
)


def series(kind: Kind, interval: Interval | None = None) -> Series:
    return Series("coinbase", "BTC-USD", kind, interval)


def test_it_is_a_stream_protocol_that_makes_quotes_of_books() -> None:
    protocol: StreamProtocol = CoinbaseProtocol()

    assert (protocol.exchange, protocol.quotes_from_book) == ("coinbase", True)
    assert protocol.routes() == ("market", "book", "exchange")
    quotes, book = series(Kind.QUOTES), series(Kind.BOOK)
    assert protocol.topic(quotes, BTC) == protocol.topic(book, BTC)
    assert protocol.route(quotes, BTC) == protocol.route(book, BTC) == "book"


@pytest.mark.parametrize(
    ("kind", "interval", "route", "topic"),
    [
        (Kind.TRADES, None, "market", "market_trades:BTC-USD"),
        (Kind.BOOK, None, "book", "level2:BTC-USD"),
        (Kind.CANDLES, Interval.M5, "market", "candles:BTC-USD"),
        (Kind.STATUS, None, "market", "status:BTC-USD"),
    ],
)
def test_topics(kind: Kind, interval: Interval | None, route: str, topic: str) -> None:
    protocol = CoinbaseProtocol()

    assert protocol.route(series(kind, interval), BTC) == route
    assert protocol.topic(series(kind, interval), BTC) == topic


@pytest.mark.parametrize(
    ("kind", "interval", "reason"),
    [
        (Kind.FUNDING, None, "no channel"),
        (Kind.OPEN_INTEREST, None, "no channel"),
        (Kind.MARK_PRICE, None, "no channel"),
        (Kind.LIQUIDATIONS, None, "no channel"),
        *((Kind.CANDLES, one, "buckets of 5m") for one in Interval if one is not Interval.M5),
    ],
)
def test_what_is_not_streamed_says_why(kind: Kind, interval: Interval | None, reason: str) -> None:
    for ask in (CoinbaseProtocol().route, CoinbaseProtocol().topic):
        with pytest.raises(NotSupported, match=reason):
            ask(series(kind, interval), BTC)


def test_one_channel_a_request() -> None:
    topics = ["market_trades:BTC-USD", "candles:BTC-USD", "market_trades:ETH-USD"]

    first, second = CoinbaseProtocol().subscribe("market", topics, first_id=7)

    assert json.loads(first.frame) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD", "ETH-USD"],
        "channel": "market_trades",
    }
    assert first.topics == ("market_trades:BTC-USD", "market_trades:ETH-USD")
    assert (first.id, second.id) == ("7", "8")
    assert second.topics == ("candles:BTC-USD",)
    ended = CoinbaseProtocol().unsubscribe("market", topics[:1], first_id=1)
    assert json.loads(ended[0].frame)["type"] == "unsubscribe"


def test_the_answer_names_topics_as_the_request_does() -> None:
    protocol = CoinbaseProtocol()
    (request,) = protocol.subscribe("book", ["level2:BTC-USD"], first_id=1)
    answer = {
        "channel": "subscriptions",
        "sequence_num": 0,
        "events": [{"subscriptions": {"level2": ["BTC-USD"], "heartbeats": ["heartbeats"]}}],
    }

    (ack,) = protocol.parser("book", lambda _r, _n: ()).parse(json.dumps(answer).encode(), 0)

    assert isinstance(ack, Ack)
    assert set(request.topics) < set(ack.topics)


@pytest.mark.parametrize("route", ["market", "book"])
def test_heartbeats_open_every_connection_in_time(route: str) -> None:
    protocol = CoinbaseProtocol()

    (opening,) = protocol.opening(route)

    assert json.loads(opening) == {"type": "subscribe", "channel": "heartbeats"}
    assert protocol.limits(route).subscribe_within_s == 5
    assert protocol.ping(route) is None


def test_the_limits_of_an_address_hold_while_sockets_open() -> None:
    limits = CoinbaseProtocol().limits("market")

    # 8 connections and 8 messages a second: each new socket sends its greeting and a request.
    assert limits.connections_per_window / limits.connections_window_s <= 8
    assert limits.connections_per_window * 2 <= 8
    assert limits.max_frame_bytes >= 16 << 20


def test_books_have_fewer_to_a_socket() -> None:
    protocol = CoinbaseProtocol()

    assert protocol.limits("market").topics_per_connection == 100
    assert protocol.limits("book").topics_per_connection == 25


def test_an_override_stands_for_all_routes_of_its_host() -> None:
    assert CoinbaseProtocol().urls("book") == ("wss://advanced-trade-ws.coinbase.com",)
    protocol = CoinbaseProtocol({"stream": "ws://sim:1/coinbase", "exchange": "ws://other"})

    assert protocol.urls("market") == protocol.urls("book") == ("ws://sim:1/coinbase",)
    assert protocol.urls("exchange") == ("ws://other",)
    with pytest.raises(NotSupported, match="it has stream, exchange"):
        CoinbaseProtocol({"market": "ws://other"})


def test_no_depth_is_to_be_chosen() -> None:
    with pytest.raises(NotSupported, match="book of 50 levels"):
        CoinbaseProtocol(depth=50)


@pytest.mark.parametrize(
    ("connection", "route"),
    [
        ("wss://advanced-trade-ws.coinbase.com", "market"),
        ("wss://ws-feed.exchange.coinbase.com", "exchange"),
        ("fixture:ws_candles.json", "market"),
    ],
)
def test_recorded_addresses_name_their_route(connection: str, route: str) -> None:
    assert CoinbaseProtocol().recorded_route(connection) == route
