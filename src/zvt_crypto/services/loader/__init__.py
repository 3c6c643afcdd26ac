"""History: plan from the ledger, fetch, prove, store.

`CryptoDataLoader` is the face; `plan` decides what is owed and from where, `prove` asks again
until a hole is explained, `strategy` holds what differs between kinds, `work` runs one series.
"""

from zvt_crypto.services.loader.loader import CryptoDataLoader
from zvt_crypto.services.loader.report import (
    LoaderConfig,
    LoadReport,
    LoadRequest,
    SeriesPlan,
    SeriesProgress,
    SeriesReport,
)

__all__ = [
    "CryptoDataLoader",
    "LoadReport",
    "LoadRequest",
    "LoaderConfig",
    "SeriesPlan",
    "SeriesProgress",
    "SeriesReport",
]
