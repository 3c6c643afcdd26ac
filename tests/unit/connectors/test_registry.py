"""Which sockets belong to which REST hosts."""

from urllib.parse import urlsplit

import pytest

from zvt_crypto.bootstrap.stream import protocols
from zvt_crypto.connectors.registry import CONNECTORS, MAINNET, protocol
from zvt_crypto.core.errors import BadSetting
from zvt_crypto.settings import Settings

# Sockets for market data are documented for none of these.
WITHOUT_SOCKETS = {("bybit", "jp-testnet")}

ENVIRONMENTS = [
    (name, environment)
    for name, connector in CONNECTORS.items()
    for environment in connector.SPEC.environments
]


@pytest.mark.parametrize(
    ("name", "environment", "route", "host"),
    [
        ("binance", "testnet", "spot", "stream.testnet.binance.vision"),
        ("binance", "testnet", "linear_market", "fstream.binancefuture.com"),
        ("binance", "demo", "linear_public", "demo-fstream.binance.com"),
        ("binance", "mirror", "spot", "data-stream.binance.vision"),
        ("binance", "mirror", "linear_public", "fstream.binance.com"),
        ("okx", "eea", "public", "wseea.okx.com:8443"),
        ("okx", "us", "business", "wsus.okx.com:8443"),
        ("bybit", "testnet", "linear", "stream-testnet.bybit.com"),
        ("bybit", "nl", "spot", "stream.bybit.com"),
        ("coinbase", MAINNET, "book", "advanced-trade-ws.coinbase.com"),
    ],
)
def test_sockets_are_those_of_the_environment(
    name: str, environment: str, route: str, host: str
) -> None:
    urls = protocol(name, environment=environment).urls(route)

    assert urlsplit(urls[0]).netloc == host
    assert urls[0].startswith("wss://")


@pytest.mark.parametrize(("name", "environment"), ENVIRONMENTS)
def test_every_environment_of_rest_has_sockets_or_says_that_it_has_none(
    name: str, environment: str
) -> None:
    if (name, environment) in WITHOUT_SOCKETS:
        with pytest.raises(BadSetting, match="no sockets for market data; known here: mainnet"):
            protocol(name, environment=environment)
    else:
        found = protocol(name, environment=environment)
        assert all(found.urls(route) for route in found.routes())


@pytest.mark.parametrize("name", CONNECTORS)
def test_an_unknown_environment_is_refused_by_the_name_of_its_setting(name: str) -> None:
    with pytest.raises(BadSetting, match=f"exchanges.{name}.environment"):
        protocol(name, environment="moon")


@pytest.mark.parametrize("name", CONNECTORS)
def test_a_base_url_beats_the_environment(name: str) -> None:
    found = protocol(name, "ws://127.0.0.1:9/box", environment="moon")

    for route in found.routes():
        assert all(url.startswith("ws://127.0.0.1:9/box") for url in found.urls(route))


def test_settings_pair_rest_with_its_sockets() -> None:
    settings = Settings.model_validate({"exchanges": {"bybit": {"environment": "testnet"}}})

    assert "stream-testnet" in protocols(settings)["bybit"].urls("spot")[0]
    assert "testnet" not in protocols(settings)["binance"].urls("spot")[0]


def test_the_simulator_and_a_url_of_sockets_beat_the_environment() -> None:
    given = {"environment": "testnet", "ws_url": "wss://here:1"}
    settings = Settings.model_validate(
        {"sim": "http://sim:2", "exchanges": {"okx": given, "bybit": {"environment": "testnet"}}}
    )

    assert protocols(settings)["okx"].urls("public") == ("wss://here:1/ws/v5/public",)
    assert protocols(settings)["bybit"].urls("spot") == ("ws://sim:2/bybit/v5/public/spot",)
