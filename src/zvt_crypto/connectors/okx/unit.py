"""Contracts to base units. Pure.

OKX counts contracts on swaps: a linear one is worth `contract_size` of the base, an inverse one
`contract_size` of the quote.
"""

import numpy as np
import numpy.typing as npt

from zvt_crypto.connectors.wire import decimal_product
from zvt_crypto.core.instrument import Instrument, Market

Floats = npt.NDArray[np.float64]


def base_sizes(instrument: Instrument, sizes: Floats, prices: Floats) -> Floats:
    """Return sizes of trades or levels in base units; not finite where the price is zero."""
    if instrument.market is Market.SPOT:
        return sizes
    if instrument.market is Market.INVERSE:
        with np.errstate(all="ignore"):
            return sizes * instrument.contract_size / prices
    return decimal_product(sizes, instrument.contract_size)


def base_size(instrument: Instrument, size: float, price: float) -> float:
    """Return one size in base units; see `base_sizes`.

    Raises:
        ValueError: the price of an inverse contract is zero.
    """
    if instrument.market is Market.SPOT:
        return size
    if instrument.market is Market.INVERSE:
        if price == 0:
            raise ValueError("a price of zero")
        return size * instrument.contract_size / price
    return float(f"{size * instrument.contract_size:.15g}")
