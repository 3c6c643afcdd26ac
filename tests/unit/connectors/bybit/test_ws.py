"""What Bybit is asked for: topics, sockets, requests and their limits."""

import json
import re

import pytest

from zvt_crypto.connectors.bybit.frame import BybitParser
from zvt_crypto.connectors.bybit.spec import ARGS_CHARS, TOPICS, TOPICS_PER_CONNECTION
from zvt_crypto.connectors.bybit.ws import BybitProtocol
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.stream import Refused, StreamProtocol, Target


def instrument(market: Market, native: str = "BTCUSDT") -> Instrument:
    return Instrument(
        exchange="bybit",
        symbol="BTC-USDT" if market is Market.SPOT else "BTC-USDT-PERP",
        native=native,
        base="BTC",
        quote="USDT",
        settle=None if market is Market.SPOT else "USDT",
        market=market,
    )


def series(kind: Kind, interval: Interval | None = None) -> Series:
    return Series("bybit", "BTC-USDT-PERP", kind, interval)


def test_it_is_a_stream_protocol() -> None:
    protocol: StreamProtocol = BybitProtocol()

    assert (protocol.exchange, protocol.quotes_from_book) == ("bybit", False)
    assert protocol.routes() == ("spot", "linear", "inverse")


@pytest.mark.parametrize("market", list(Market))
def test_a_socket_serves_one_category(market: Market) -> None:
    protocol = BybitProtocol()
    route = protocol.route(series(Kind.TRADES), instrument(market))

    assert route == str(market)
    assert protocol.urls(route) == (f"wss://stream.bybit.com/v5/public/{market}",)


@pytest.mark.parametrize(
    ("kind", "topic"),
    [
        (Kind.TRADES, "publicTrade.BTCUSDT"),
        (Kind.QUOTES, "orderbook.1.BTCUSDT"),
        (Kind.BOOK, "orderbook.1000.BTCUSDT"),
        (Kind.MARK_PRICE, "tickers.BTCUSDT"),
        (Kind.FUNDING, "tickers.BTCUSDT"),
        (Kind.OPEN_INTEREST, "tickers.BTCUSDT"),
        (Kind.LIQUIDATIONS, "allLiquidation.BTCUSDT"),
    ],
)
def test_topics(kind: Kind, topic: str) -> None:
    protocol = BybitProtocol(depth=1000)

    assert protocol.topic(series(kind), instrument(Market.LINEAR)) == topic


@pytest.mark.parametrize(
    ("interval", "native"),
    list(zip(Interval, ["1", "5", "15", "30", "60", "240", "D", "W", "M"], strict=True)),
)
def test_all_nine_intervals_are_streamed(interval: Interval, native: str) -> None:
    topic = BybitProtocol().topic(series(Kind.CANDLES, interval), instrument(Market.SPOT))

    assert topic == f"kline.{native}.BTCUSDT"


@pytest.mark.parametrize(
    ("kind", "market"),
    [
        (Kind.STATUS, Market.LINEAR),
        (Kind.MARK_PRICE, Market.SPOT),
        (Kind.FUNDING, Market.SPOT),
        (Kind.OPEN_INTEREST, Market.SPOT),
        (Kind.LIQUIDATIONS, Market.SPOT),
    ],
)
def test_what_is_not_streamed_says_why(kind: Kind, market: Market) -> None:
    for ask in (BybitProtocol().route, BybitProtocol().topic):
        with pytest.raises(NotSupported, match="bybit offers no stream of"):
            ask(series(kind), instrument(market))


@pytest.mark.parametrize("depth", [0, 1, 500])
def test_a_depth_that_is_not_offered_is_refused(depth: int) -> None:
    with pytest.raises(NotSupported, match="50, 200, 1000"):
        BybitProtocol(depth=depth)


def test_requests_hold_ten_topics_and_count_on() -> None:
    topics = [f"publicTrade.COIN{n}USDT" for n in range(23)]

    requests = BybitProtocol().subscribe("spot", topics, first_id=40)

    assert [request.id for request in requests] == ["40", "41", "42"]
    assert [len(request.topics) for request in requests] == [10, 10, 3]
    assert [topic for request in requests for topic in request.topics] == topics
    body = json.loads(requests[2].frame)
    assert body == {"req_id": "42", "op": "subscribe", "args": topics[20:]}
    ended = BybitProtocol().unsubscribe("spot", topics[:1], first_id=1)
    assert json.loads(ended[0].frame)["op"] == "unsubscribe"
    assert BybitProtocol().subscribe("spot", [], first_id=1) == []


def test_arguments_stay_below_their_length() -> None:
    topics = [f"orderbook.1000.{n}" + "X" * 5_000 for n in range(9)]

    requests = BybitProtocol().subscribe("linear", topics, first_id=1)

    assert len(requests) == 3
    assert all(len("".join(r.topics)) <= ARGS_CHARS for r in requests)


def test_a_full_socket_stays_below_the_length_of_all_its_arguments() -> None:
    # Ids have up to 20 characters; twice that is allowed for.
    longest = len('"orderbook.1000.",') + 40

    assert BybitProtocol().limits("spot").topics_per_connection == TOPICS_PER_CONNECTION
    assert longest * TOPICS_PER_CONNECTION <= ARGS_CHARS


def test_the_heartbeat_is_sent_every_twenty_seconds() -> None:
    protocol = BybitProtocol()

    assert protocol.ping("linear") == b'{"op":"ping"}'
    assert protocol.limits("linear").ping_every_s == 20
    assert protocol.opening("linear") == ()


def test_an_override_stands_for_all_categories() -> None:
    protocol = BybitProtocol({"stream": "ws://sim:1/bybit/"})

    assert protocol.urls("linear") == ("ws://sim:1/bybit/v5/public/linear",)
    assert protocol.urls("spot") == ("ws://sim:1/bybit/v5/public/spot",)
    with pytest.raises(NotSupported, match="it has stream"):
        BybitProtocol({"spot": "ws://other"})


@pytest.mark.parametrize(
    ("connection", "route"),
    [
        ("wss://stream-testnet.bybit.com/v5/public/spot", "spot"),
        ("wss://stream.bybit.com/v5/public/linear", "linear"),
        ("wss://stream.bybit.com/v5/public/inverse/", "inverse"),
        ("fixture:ws_ticker_linear.json", "linear"),
        ("fixture:ws_ticker_inverse.json", "inverse"),
        ("fixture:ws_kline.json", "linear"),
    ],
)
def test_recorded_addresses_name_their_route(connection: str, route: str) -> None:
    assert BybitProtocol().recorded_route(connection) == route


def test_every_topic_asked_for_is_one_the_parser_reads() -> None:
    protocol = BybitProtocol()
    parser = BybitParser("linear", lambda _r, n: (Target(n, Market.LINEAR),))
    for kind in TOPICS:
        interval = Interval.H1 if kind is Kind.CANDLES else None
        topic = protocol.topic(series(kind, interval), instrument(Market.LINEAR))
        frame = json.dumps({"topic": topic, "data": [0]}).encode()

        # An unread topic would be Ignored or malformed; a read one complains of its row.
        (message,) = parser.parse(frame, 0)
        assert isinstance(message, Refused)
        assert message.symbol == "BTCUSDT"
        assert re.fullmatch(r"[A-Za-z]+(\.\w+)?\.BTCUSDT", topic)
