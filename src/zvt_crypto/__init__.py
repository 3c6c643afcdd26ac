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
    from zvt_crypto.bootstrap.door import AsyncCrypto
    from zvt_crypto.bootstrap.plain import Crypto
    from zvt_crypto.bootstrap.plain import open_crypto as open  # noqa: A004 - the public name
    from zvt_crypto.bootstrap.platform import Platform
    from zvt_crypto.bootstrap.result import Result
    from zvt_crypto.bootstrap.stream import stream_service
    from zvt_crypto.bootstrap.streaming import LiveStream, PlainStream
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
    from zvt_crypto.core.record import (
        Book,
        BookReset,
        Candle,
        Disconnected,
        ExchangeStatus,
        Funding,
        Gap,
        GapRepaired,
        GapUnrecoverable,
        InstrumentStatus,
        Liquidation,
        MarkPrice,
        OpenInterest,
        Quote,
        Side,
        Stale,
        Trade,
    )
    from zvt_crypto.core.series import Kind, Series
    from zvt_crypto.services.loader import CryptoDataLoader, LoadReport, LoadRequest
    from zvt_crypto.services.stream import CryptoStreamService

__version__ = "0.1.0"

_HOMES = {
    "AsyncCrypto": "bootstrap.door",
    "BaseCryptoConnector": "connectors.base",
    "Book": "core.record",
    "BookReset": "core.record",
    "Candle": "core.record",
    "Coverage": "core.ledger",
    "Crypto": "bootstrap.plain",
    "CryptoDataLoader": "services.loader",
    "CryptoError": "core.errors",
    "CryptoStreamService": "services.stream",
    "DataError": "core.errors",
    "Disconnected": "core.record",
    "ExchangeStatus": "core.record",
    "FatalError": "core.errors",
    "Funding": "core.record",
    "Gap": "core.record",
    "GapRepaired": "core.record",
    "GapUnrecoverable": "core.record",
    "Instrument": "core.instrument",
    "InstrumentStatus": "core.record",
    "Interval": "core.interval",
    "Kind": "core.series",
    "Liquidation": "core.record",
    "LiveStream": "bootstrap.streaming",
    "LoadReport": "services.loader",
    "LoadRequest": "services.loader",
    "MarkPrice": "core.record",
    "OpenInterest": "core.record",
    "PlainStream": "bootstrap.streaming",
    "Platform": "bootstrap.platform",
    "Quote": "core.record",
    "Result": "bootstrap.result",
    "RetryableError": "core.errors",
    "Series": "core.series",
    "Side": "core.record",
    "Source": "core.ledger",
    "Stale": "core.record",
    "Trade": "core.record",
    "UsageError": "core.errors",
    "Verdict": "core.ledger",
    "stream_service": "bootstrap.stream",
}

__all__ = [
    "AsyncCrypto",
    "BaseCryptoConnector",
    "Book",
    "BookReset",
    "Candle",
    "Coverage",
    "Crypto",
    "CryptoDataLoader",
    "CryptoError",
    "CryptoStreamService",
    "DataError",
    "Disconnected",
    "ExchangeStatus",
    "FatalError",
    "Funding",
    "Gap",
    "GapRepaired",
    "GapUnrecoverable",
    "Instrument",
    "InstrumentStatus",
    "Interval",
    "Kind",
    "Liquidation",
    "LiveStream",
    "LoadReport",
    "LoadRequest",
    "MarkPrice",
    "OpenInterest",
    "PlainStream",
    "Platform",
    "Quote",
    "Result",
    "RetryableError",
    "Series",
    "Side",
    "Source",
    "Stale",
    "Trade",
    "UsageError",
    "Verdict",
    "open",
    "stream_service",
]


def __getattr__(name: str) -> Any:
    if name == "open":
        return importlib.import_module("zvt_crypto.bootstrap.plain").open_crypto
    if name in _HOMES:
        return getattr(importlib.import_module(f"zvt_crypto.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'zvt_crypto' has no attribute {name!r}")
