"""Contracts to base units, without the noise of binary products."""

from typing import Final

import numpy as np

from zvt_crypto.connectors.wire.number import Floats

# Whole numbers last: of a million units a contract, two places more are too long for a float64.
_PLACES: Final = (2, 5, 8, 0)
_ROUNDING: Final = 1e-15
_WHOLE_BELOW: Final = 1e14


def decimal_product(values: Floats, factor: float) -> Floats:
    """Return `values * factor` as if each product had been read from decimal text.

    0.07 contracts of 0.01 are 0.0007, while the float64 product is 0.0007000000000000001. Values
    of more than eight decimals, and products too long for them, are multiplied as they are.
    """
    if factor == 1:
        return values
    product = values * factor
    _, _, fraction = f"{factor:.12f}".rstrip("0").partition(".")
    is_open = np.ones(len(product), dtype=np.bool_)
    # A product of two short decimals is a short decimal: it is looked for with few places first.
    for places in _PLACES:
        scale = 10.0 ** (places + len(fraction))
        with np.errstate(all="ignore"):
            whole = product * scale
            nearest = np.rint(whole)
            found = is_open & (np.abs(whole - nearest) <= np.abs(whole) * _ROUNDING)
            found &= np.abs(whole) < _WHOLE_BELOW
        # Both are whole numbers that float64 holds exactly, so their quotient is rounded once.
        product[found] = nearest[found] / scale
        is_open &= ~found
        if not is_open.any():
            break
    return product
