"""The exchanges we speak to, by name."""

from typing import Final

from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.binance.rest import BinanceConnector
from zvt_crypto.connectors.bybit.rest import BybitConnector
from zvt_crypto.connectors.coinbase.rest import CoinbaseConnector
from zvt_crypto.connectors.okx.rest import OkxConnector
from zvt_crypto.connectors.spec import ExchangeSpec

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
