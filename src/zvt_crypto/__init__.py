"""Crypto market data with proof of completeness.

    import zvt_crypto as zc

    with zc.open("./data") as db:
        hours = db.candles("binance", "BTC-USDT", "1h", "2024-01-01", "2024-02-01", load=True)
        hours.frame, hours.coverage, hours.is_complete

Names are imported when first used, so that `import zvt_crypto` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zvt_crypto.bootstrap.door import AsyncCrypto, Crypto
    from zvt_crypto.bootstrap.door import open_crypto as open  # noqa: A004 - the public name
    from zvt_crypto.bootstrap.platform import Platform
    from zvt_crypto.bootstrap.result import Result
    from zvt_crypto.connectors.base import BaseCryptoConnector
    from zvt_crypto.core.errors import (
        CryptoError,
        DataError,
        FatalError,
        RetryableError,
        UsageError,
    )
    from zvt_crypto.core.instrument import Instrument
    from zvt_crypto.core.interval import Interval
    from zvt_crypto.core.ledger import Coverage, Source, Verdict
    from zvt_crypto.core.record import Book, ExchangeStatus, OpenInterest, Quote, Side
    from zvt_crypto.core.series import Kind, Series
    from zvt_crypto.services.loader import CryptoDataLoader, LoadReport, LoadRequest

__version__ = "0.1.0"

_HOMES = {
    "AsyncCrypto": "bootstrap.door",
    "BaseCryptoConnector": "connectors.base",
    "Book": "core.record",
    "Coverage": "core.ledger",
    "Crypto": "bootstrap.door",
    "CryptoDataLoader": "services.loader",
    "CryptoError": "core.errors",
    "DataError": "core.errors",
    "ExchangeStatus": "core.record",
    "FatalError": "core.errors",
    "Instrument": "core.instrument",
    "Interval": "core.interval",
    "Kind": "core.series",
    "LoadReport": "services.loader",
    "LoadRequest": "services.loader",
    "OpenInterest": "core.record",
    "Platform": "bootstrap.platform",
    "Quote": "core.record",
    "Result": "bootstrap.result",
    "RetryableError": "core.errors",
    "Series": "core.series",
    "Side": "core.record",
    "Source": "core.ledger",
    "UsageError": "core.errors",
    "Verdict": "core.ledger",
}

__all__ = [
    "AsyncCrypto",
    "BaseCryptoConnector",
    "Book",
    "Coverage",
    "Crypto",
    "CryptoDataLoader",
    "CryptoError",
    "DataError",
    "ExchangeStatus",
    "FatalError",
    "Instrument",
    "Interval",
    "Kind",
    "LoadReport",
    "LoadRequest",
    "OpenInterest",
    "Platform",
    "Quote",
    "Result",
    "RetryableError",
    "Series",
    "Side",
    "Source",
    "UsageError",
    "Verdict",
    "open",
]


def __getattr__(name: str) -> Any:
    if name == "open":
        return importlib.import_module("zvt_crypto.bootstrap.door").open_crypto
    if name in _HOMES:
        return getattr(importlib.import_module(f"zvt_crypto.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'zvt_crypto' has no attribute {name!r}")
