"""The exchanges we speak to, by name."""

from collections.abc import Callable, Mapping
from typing import Final

from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.binance import ws as binance_ws
from zvt_crypto.connectors.binance.recorded import BinanceRecorded
from zvt_crypto.connectors.binance.rest import BinanceConnector
from zvt_crypto.connectors.bybit import ws as bybit_ws
from zvt_crypto.connectors.bybit.recorded import BybitRecorded
from zvt_crypto.connectors.bybit.rest import BybitConnector
from zvt_crypto.connectors.coinbase import ws as coinbase_ws
from zvt_crypto.connectors.coinbase.recorded import CoinbaseRecorded
from zvt_crypto.connectors.coinbase.rest import CoinbaseConnector
from zvt_crypto.connectors.okx import ws as okx_ws
from zvt_crypto.connectors.okx.recorded import OkxRecorded
from zvt_crypto.connectors.okx.rest import OkxConnector
from zvt_crypto.connectors.spec import ExchangeSpec
from zvt_crypto.core.errors import BadSetting
from zvt_crypto.ports.recording import RecordedExchange
from zvt_crypto.ports.stream import StreamProtocol

CONNECTORS: Final = {
    "binance": BinanceConnector,
    "okx": OkxConnector,
    "bybit": BybitConnector,
    "coinbase": CoinbaseConnector,
}


def specs() -> dict[str, ExchangeSpec]:
    """Return the facts of every exchange, by name."""
    return {name: cls.SPEC for name, cls in CONNECTORS.items()}


def build(name: str, tools: Tools) -> BaseCryptoConnector:
    """Return the connector of one exchange."""
    return CONNECTORS[name](tools)


MAINNET: Final = "mainnet"
"""The environment of an exchange's usual hosts."""

# The deepest book of Bybit that is not larger than it must be.
_BYBIT_DEPTHS: Final = (50, 200, 1_000)

_SOCKETS: Final = {
    "binance": binance_ws,
    "okx": okx_ws,
    "bybit": bybit_ws,
    "coinbase": coinbase_ws,
}


def protocol(
    name: str, base_url: str | None = None, depth: int = 50, environment: str = MAINNET
) -> StreamProtocol:
    """Return the stream side of one exchange.

    Args:
        name: the exchange.
        base_url: replaces the exchange's own sockets, `ws://` or `wss://`, whatever the
            environment.
        depth: levels a side of its books, at least, where the exchange has that many. Binance and
            Coinbase stream whole books, OKX 400 levels.
        environment: the set of hosts REST is asked at: its sockets are paired with it.

    Raises:
        BadSetting: the environment has no sockets for market data.
    """
    hosts = _stream_hosts(name, base_url, environment)
    match name:
        case "binance":
            return binance_ws.BinanceProtocol(hosts)
        case "okx":
            return okx_ws.OkxProtocol(hosts)
        case "bybit":
            fits = next((one for one in _BYBIT_DEPTHS if one >= depth), _BYBIT_DEPTHS[-1])
            return bybit_ws.BybitProtocol(hosts, fits)
        case _:
            return coinbase_ws.CoinbaseProtocol(hosts)


def _stream_hosts(name: str, base_url: str | None, environment: str) -> Mapping[str, str]:
    """Return what replaces the usual hosts of an exchange's sockets."""
    sockets = _SOCKETS[name]
    if base_url is not None:
        return dict.fromkeys(sockets.HOSTS, base_url)
    if environment == MAINNET:
        return {}
    if environment not in sockets.ENVIRONMENTS:
        known = ", ".join([MAINNET, *sockets.ENVIRONMENTS])
        raise BadSetting(
            f"exchanges.{name}.environment",
            "settings",
            f"{environment!r} has no sockets for market data; known here: {known}",
        )
    return sockets.ENVIRONMENTS[environment]


RECORDED: Final[Mapping[str, Callable[[], RecordedExchange]]] = {
    "binance": BinanceRecorded,
    "okx": OkxRecorded,
    "bybit": BybitRecorded,
    "coinbase": CoinbaseRecorded,
}


def recorded(name: str) -> RecordedExchange:
    """Return what replaying recordings of one exchange needs."""
    return RECORDED[name]()
