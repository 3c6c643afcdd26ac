"""What is asked of OKX's sockets, and where."""

import json
from typing import Any

import pytest

from zvt_crypto.connectors.okx.frame import OkxParser
from zvt_crypto.connectors.okx.ws import ENVIRONMENTS, ROUTES, OkxProtocol
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.stream import Ack, Ignored, Pong, StreamProtocol

SPOT = Instrument(
    exchange="okx",
    symbol="BTC-USDT",
    native="BTC-USDT",
    base="BTC",
    quote="USDT",
    settle=None,
    market=Market.SPOT,
)
INVERSE = Instrument(
    exchange="okx",
    symbol="BTC-USD-PERP",
    native="BTC-USD-SWAP",
    base="BTC",
    quote="USD",
    settle="BTC",
    market=Market.INVERSE,
    contract_size=100.0,
)


def series_of(kind: Kind, instrument: Instrument) -> Series:
    interval = Interval.D1 if kind is Kind.CANDLES else None
    return Series("okx", instrument.symbol, kind, interval)


STREAMED = [kind for kind in Kind if kind not in (Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS)]


@pytest.mark.parametrize("kind", [Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS])
def test_what_a_book_is_stored_as_is_not_streamed(kind: Kind) -> None:
    with pytest.raises(NotSupported, match="made of the stream of the book") as refused:
        OkxProtocol().route(series_of(kind, INVERSE), INVERSE)
    assert "keep_books" in str(refused.value)


def test_each_kind_is_on_its_route_under_its_channel() -> None:
    protocol: StreamProtocol = OkxProtocol()
    told: dict[Kind, Any] = {}
    for kind in STREAMED:
        series = series_of(kind, INVERSE)
        told[kind] = protocol.route(series, INVERSE), protocol.topic(series, INVERSE)
    assert told == {
        Kind.TRADES: ("business", "trades-all:BTC-USD-SWAP"),
        Kind.CANDLES: ("business", "candle1Dutc:BTC-USD-SWAP"),
        Kind.QUOTES: ("public", "bbo-tbt:BTC-USD-SWAP"),
        Kind.BOOK: ("public", "books:BTC-USD-SWAP"),
        Kind.MARK_PRICE: ("public", "mark-price:BTC-USD-SWAP"),
        Kind.FUNDING: ("public", "funding-rate:BTC-USD-SWAP"),
        Kind.OPEN_INTEREST: ("public", "open-interest:BTC-USD-SWAP"),
        Kind.LIQUIDATIONS: ("public", "liquidation-orders:SWAP"),
        Kind.STATUS: ("public", "instruments:SWAP"),
    }


def test_spot_has_no_funding_and_its_statuses_are_a_topic_of_their_own() -> None:
    protocol = OkxProtocol()
    assert protocol.topic(series_of(Kind.STATUS, SPOT), SPOT) == "instruments:SPOT"
    for kind in (Kind.FUNDING, Kind.MARK_PRICE, Kind.OPEN_INTEREST, Kind.LIQUIDATIONS):
        with pytest.raises(NotSupported, match="only perpetuals"):
            protocol.topic(series_of(kind, SPOT), SPOT)


def test_candles_of_all_nine_widths_open_in_utc() -> None:
    names = [
        OkxProtocol().topic(candle_series("okx", SPOT.symbol, width), SPOT).partition(":")[0]
        for width in Interval
    ]
    minutes = ["candle1m", "candle5m", "candle15m", "candle30m"]
    assert names == [
        *minutes,
        *("candle1H", "candle4H", "candle1Dutc", "candle1Wutc", "candle1Mutc"),
    ]


def test_a_depth_streams_snapshots_instead_of_changes() -> None:
    assert OkxProtocol(depth=5).topic(series_of(Kind.BOOK, SPOT), SPOT) == "books5:BTC-USDT"
    with pytest.raises(NotSupported, match="0 \\(all 400\\) or 5"):
        OkxProtocol(depth=20)


def test_an_override_stands_for_all_paths() -> None:
    assert OkxProtocol().urls("public") == (
        "wss://ws.okx.com:8443/ws/v5/public",
        "wss://ws.okx.com/ws/v5/public",
    )
    protocol = OkxProtocol({"ws": "ws://127.0.0.1:9/okx/"})
    assert protocol.urls("public") == ("ws://127.0.0.1:9/okx/ws/v5/public",)
    assert protocol.urls("business") == ("ws://127.0.0.1:9/okx/ws/v5/business",)
    for hosts in (found for found in ENVIRONMENTS.values() if found):
        assert OkxProtocol(hosts).urls("business") == (f"{hosts['ws']}/ws/v5/business",)
    with pytest.raises(NotSupported, match="it has ws"):
        OkxProtocol({"public": "ws://x"})


def test_requests_name_at_most_100_channels_and_count_their_ids() -> None:
    topics = [f"trades-all:COIN{i}-USDT" for i in range(250)]
    requests = OkxProtocol().subscribe("business", [*topics, topics[0]], 5)
    sent = [json.loads(request.frame) for request in requests]
    assert [s["id"] for s in sent] == [r.id for r in requests] == ["5", "6", "7"]
    assert [len(s["args"]) for s in sent] == [100, 100, 50]
    assert {s["op"] for s in sent} == {"subscribe"}
    assert [t for r in requests for t in r.topics] == topics
    assert sent[0]["args"][0] == {"channel": "trades-all", "instId": "COIN0-USDT"}


def test_topics_by_type_are_asked_for_by_type() -> None:
    (request,) = OkxProtocol().unsubscribe("public", ["liquidation-orders:SWAP"], 1)
    assert json.loads(request.frame) == {
        "id": "1",
        "op": "unsubscribe",
        "args": [{"channel": "liquidation-orders", "instType": "SWAP"}],
    }


def test_a_request_stays_below_64_kilobytes_whatever_the_names() -> None:
    topics = [f"trades-all:{'币' * 400}{i}-USDT" for i in range(100)]
    requests = OkxProtocol().subscribe("business", topics, 1)
    assert len(requests) > 1
    assert all(len(request.frame) < 64_000 for request in requests)
    assert [t for r in requests for t in r.topics] == topics


def test_an_ack_names_the_topic_that_was_asked_for() -> None:
    # given every topic of two instruments
    protocol = OkxProtocol()
    topics = {
        protocol.topic(series_of(kind, INVERSE), INVERSE): protocol.route(
            series_of(kind, INVERSE), INVERSE
        )
        for kind in STREAMED
    }

    for topic, route in topics.items():
        # when OKX answers the request as it does
        (request,) = protocol.subscribe(route, [topic], 1)
        (arg,) = json.loads(request.frame)["args"]
        answer = json.dumps({"id": request.id, "event": "subscribe", "arg": arg}).encode()
        (ack,) = protocol.parser(route, lambda _route, _native: ()).parse(answer, 0)

        # then
        assert isinstance(ack, Ack)
        assert (ack.request, ack.topics) == (request.id, (topic,))


def test_limits_are_those_published() -> None:
    protocol = OkxProtocol()
    assert tuple(protocol.routes()) == ROUTES
    for route in ROUTES:
        limits = protocol.limits(route)
        assert limits.requests_per_hour == 480
        assert (limits.connections_per_window, limits.connections_window_s) == (3, 1)
        assert limits.topics_per_connection == 100
        assert limits.ping_every_s is not None
        # the server drops a link silent for 30 s; a ping and its answer fit in before
        assert limits.ping_every_s + 5 < limits.silence_s <= 30
        assert limits.subscribe_within_s == 30
        assert limits.lifetime_s is None
        assert protocol.ping(route) == b"ping"
        assert protocol.opening(route) == ()
        assert protocol.parser(route, lambda _route, _native: ()).parse(b"pong", 0) == (Pong(),)
    for ask in (protocol.urls, protocol.limits, protocol.ping, protocol.opening):
        with pytest.raises(NotSupported, match="public, business"):
            ask("private")


def test_parsers_ask_for_ids_under_their_route() -> None:
    asked: list[tuple[str, str]] = []
    parser = OkxProtocol().parser("public", lambda *ask: asked.append(ask) or ())
    assert isinstance(parser, OkxParser)
    frame = b'{"arg":{"channel":"bbo-tbt","instId":"A-B"},"data":[{"asks":[],"bids":[],"ts":"1"}]}'
    assert parser.parse(frame, 0) == (Ignored("instrument not listed"),)
    assert asked == [("public", "A-B")]


@pytest.mark.parametrize(
    ("connection", "route"),
    [
        ("wss://ws.okex.com:8443/ws/v5/public", "public"),
        ("wss://ws.okx.com:8443/ws/v5/business", "business"),
        ("fixture:ws_trades.json", "public"),
    ],
)
def test_recorded_connections_have_their_route(connection: str, route: str) -> None:
    assert OkxProtocol().recorded_route(connection) == route
