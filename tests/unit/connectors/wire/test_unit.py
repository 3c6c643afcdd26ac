"""Contracts to base units."""

import numpy as np

from zvt_crypto.connectors.wire import decimal_product


def test_contracts_of_a_million_units_give_whole_numbers() -> None:
    # given sizes whose binary products miss the decimal ones
    sizes = np.array([8748027.31, 2117520.95, 2160255.76])
    assert list(sizes * 1e6) != [8748027310000.0, 2117520950000.0, 2160255760000.0]

    # then
    assert list(decimal_product(sizes, 1e6)) == [8748027310000.0, 2117520950000.0, 2160255760000.0]


def test_small_contracts_give_short_decimals() -> None:
    assert list(decimal_product(np.array([0.07, 3.2]), 0.01)) == [0.0007, 0.032]
