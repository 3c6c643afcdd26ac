"""What is asked of Binance's streams, and where."""

import json
from collections.abc import Iterator

import pytest

from zvt_crypto.connectors.binance.frame import BinanceParser
from zvt_crypto.connectors.binance.ws import ENVIRONMENTS, HOSTS, ROUTES, BinanceProtocol
from zvt_crypto.core.errors import NotSupported
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.stream import Ignored, StreamProtocol


def instrument_of(market: Market) -> Instrument:
    return Instrument(
        exchange="binance",
        symbol="BTC-USDT" if market is Market.SPOT else "BTC-USDT-PERP",
        native="BTCUSDT",
        base="BTC",
        quote="USDT",
        settle=None if market is Market.SPOT else "USDT",
        market=market,
    )


SPOT, LINEAR, INVERSE = map(instrument_of, (Market.SPOT, Market.LINEAR, Market.INVERSE))


def series_of(kind: Kind, instrument: Instrument) -> Series:
    interval = Interval.M1 if kind is Kind.CANDLES else None
    return Series("binance", instrument.symbol, kind, interval)


def test_each_kind_is_on_its_route_under_its_stream_name() -> None:
    protocol: StreamProtocol = BinanceProtocol()
    told = {
        (instrument.market, kind): (
            protocol.route(series_of(kind, instrument), instrument),
            protocol.topic(series_of(kind, instrument), instrument),
        )
        for instrument, kind in _streamed()
    }
    assert told == {
        (Market.SPOT, Kind.TRADES): ("spot", "btcusdt@aggTrade"),
        (Market.SPOT, Kind.QUOTES): ("spot", "btcusdt@bookTicker"),
        (Market.SPOT, Kind.BOOK): ("spot", "btcusdt@depth@100ms"),
        (Market.SPOT, Kind.CANDLES): ("spot", "btcusdt@kline_1m"),
        (Market.LINEAR, Kind.TRADES): ("linear_market", "btcusdt@aggTrade"),
        (Market.LINEAR, Kind.QUOTES): ("linear_public", "btcusdt@bookTicker"),
        (Market.LINEAR, Kind.BOOK): ("linear_public", "btcusdt@depth@100ms"),
        (Market.LINEAR, Kind.CANDLES): ("linear_market", "btcusdt@kline_1m"),
        (Market.LINEAR, Kind.MARK_PRICE): ("linear_market", "btcusdt@markPrice@1s"),
        (Market.LINEAR, Kind.FUNDING): ("linear_market", "btcusdt@markPrice@1s"),
        (Market.LINEAR, Kind.LIQUIDATIONS): ("linear_market", "btcusdt@forceOrder"),
        (Market.LINEAR, Kind.STATUS): ("linear_market", "!contractInfo"),
    }


def _streamed() -> Iterator[tuple[Instrument, Kind]]:
    protocol = BinanceProtocol()
    for instrument in (SPOT, LINEAR, INVERSE):
        for kind in Kind:
            try:
                protocol.route(series_of(kind, instrument), instrument)
            except NotSupported:
                # whoever may not stream it may not name it either, and hears why
                with pytest.raises(NotSupported, match=r"offers no .+: \w.{10}"):
                    protocol.topic(series_of(kind, instrument), instrument)
            else:
                yield instrument, kind


def test_open_interest_is_polled_and_coin_margined_contracts_are_left_out() -> None:
    with pytest.raises(NotSupported, match="polled"):
        BinanceProtocol().route(series_of(Kind.OPEN_INTEREST, LINEAR), LINEAR)
    for kind in Kind:
        with pytest.raises(NotSupported):
            BinanceProtocol().route(series_of(kind, INVERSE), INVERSE)


def test_candles_of_all_nine_widths_and_a_minute_is_no_month() -> None:
    names = [
        BinanceProtocol().topic(candle_series("binance", SPOT.symbol, width), SPOT).split("_")[1]
        for width in Interval
    ]
    assert names == ["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1M"]


def test_a_depth_streams_snapshots_instead_of_changes() -> None:
    series = series_of(Kind.BOOK, SPOT)
    assert BinanceProtocol(depth=20).topic(series, SPOT) == "btcusdt@depth20@100ms"
    with pytest.raises(NotSupported, match="0 \\(all\\), 5, 10 or 20"):
        BinanceProtocol(depth=50)


def test_futures_have_two_paths_and_spot_has_hosts_to_fail_over_to() -> None:
    protocol = BinanceProtocol()
    assert protocol.urls("linear_public") == ("wss://fstream.binance.com/public/stream",)
    assert protocol.urls("linear_market") == ("wss://fstream.binance.com/market/stream",)
    assert protocol.urls("inverse") == ("wss://dstream.binance.com/stream",)
    assert protocol.urls("spot")[0] == "wss://stream.binance.com:9443/stream"
    assert len(protocol.urls("spot")) == len(HOSTS["spot"])


def test_an_override_stands_for_all_routes_of_its_host() -> None:
    protocol = BinanceProtocol({"linear": "ws://127.0.0.1:9/binance/"})
    assert protocol.urls("linear_public") == ("ws://127.0.0.1:9/binance/public/stream",)
    assert protocol.urls("linear_market") == ("ws://127.0.0.1:9/binance/market/stream",)
    assert protocol.urls("spot")[0].startswith("wss://stream.binance.com")
    for hosts in ENVIRONMENTS.values():
        assert BinanceProtocol(hosts).urls("spot") == (f"{hosts['spot']}/stream",)
    with pytest.raises(NotSupported, match="spot, linear, inverse"):
        BinanceProtocol({"futures": "ws://x"})


def test_requests_name_at_most_200_streams_once_each_and_count_their_ids() -> None:
    topics = [f"coin{i}usdt@aggTrade" for i in range(450)]
    requests = BinanceProtocol().subscribe("spot", [*topics, *topics], 7)
    sent = [json.loads(request.frame) for request in requests]
    assert [s["id"] for s in sent] == [7, 8, 9]
    assert [r.id for r in requests] == ["7", "8", "9"]
    assert [len(s["params"]) for s in sent] == [200, 200, 50]
    assert [t for s in sent for t in s["params"]] == topics
    assert [tuple(s["params"]) for s in sent] == [r.topics for r in requests]
    assert {s["method"] for s in sent} == {"SUBSCRIBE"}
    (ending,) = BinanceProtocol().unsubscribe("spot", topics[:2], 1)
    assert json.loads(ending.frame) == {"method": "UNSUBSCRIBE", "params": topics[:2], "id": 1}
    assert BinanceProtocol().subscribe("spot", [], 1) == ()


def test_limits_are_those_published() -> None:
    protocol = BinanceProtocol()
    assert tuple(protocol.routes()) == ROUTES
    for route in ROUTES:
        limits = protocol.limits(route)
        assert limits.topics_per_connection == 200
        assert limits.lifetime_s == 24 * 3_600
        assert (limits.connections_per_window, limits.connections_window_s) == (300, 300)
        assert limits.messages_per_s < (5 if route == "spot" else 10)
        # a ping of the server comes in time: every 20 s on spot, every 3 min on futures
        assert limits.silence_s > (2 * 20 if route == "spot" else 180)
        assert limits.ping_every_s is None
        assert protocol.ping(route) is None
        assert protocol.opening(route) == ()


def test_a_route_that_is_none_is_refused_by_name() -> None:
    protocol = BinanceProtocol()
    for ask in (protocol.urls, protocol.limits, protocol.ping, protocol.opening):
        with pytest.raises(NotSupported, match="linear_market"):
            ask("linear")


def test_parsers_ask_for_ids_under_their_route() -> None:
    asked: list[tuple[str, str]] = []
    protocol: StreamProtocol = BinanceProtocol()
    parser = protocol.parser("spot", lambda route, native: asked.append((route, native)) or ())
    assert isinstance(parser, BinanceParser)
    frame = b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}'
    assert parser.parse(frame, 0) == (Ignored("instrument not listed"),)
    assert asked == [("spot", "BTCUSDT")]


@pytest.mark.parametrize(
    ("connection", "route"),
    [
        ("wss://stream.binance.com:9443/stream", "spot"),
        ("wss://stream.binance.us:9443/stream", "spot"),
        ("wss://stream.testnet.binance.vision/stream", "spot"),
        ("wss://fstream.binance.com/stream", "linear_public"),
        ("wss://fstream.binance.com/public/stream", "linear_public"),
        ("wss://fstream.binance.com/market/stream", "linear_market"),
        ("wss://fstream.binancefuture.com/ws", "linear_public"),
        ("wss://dstream.binance.com/stream", "inverse"),
        ("fixture:spot/user_data_json/balance_update.json", "spot"),
        ("fixture:futures/market_data_json/trade_stream.json", "linear_public"),
    ],
)
def test_recorded_connections_have_their_route(connection: str, route: str) -> None:
    assert BinanceProtocol().recorded_route(connection) == route
