"""Levels of a book, and the numbers of a trade or a candle: whether they can be true. Pure.

Where a wire Struct bounds its numbers while it is decoded (`amount.decoder`), only the order of
levels is left to check; the others are for exchanges whose numbers are checked by the row.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from zvt_crypto.connectors.wire.amount import MOST
from zvt_crypto.connectors.wire.target import Number, ToBase
from zvt_crypto.core.record import Level


def base_levels(
    levels: Sequence[tuple[Number, Number]], convert: ToBase | None
) -> Sequence[tuple[Number, Number]]:
    """Return levels with sizes in base units; zero stays zero."""
    if convert is None:
        return levels
    return tuple((price, convert(size, price)) for price, size in levels)


def check_levels(levels: Iterable[tuple[Number, Number]]) -> None:
    """Raise ValueError unless all prices are above zero, all sizes at least zero, all finite."""
    for price, size in levels:
        if not (0 < price <= MOST and 0 <= size <= MOST):
            raise ValueError(f"level {price}, {size}")


def check_order(bids: Sequence[Level], asks: Sequence[Level]) -> None:
    """Check that a snapshot's bids descend and its asks ascend.

    Raises:
        ValueError: they do not, or a price stands there twice.
    """
    if not all(a[0] > b[0] for a, b in pairwise(bids)):
        raise ValueError("the bids of a snapshot do not descend")
    if not all(a[0] < b[0] for a, b in pairwise(asks)):
        raise ValueError("the asks of a snapshot do not ascend")


def is_bar(opened: Number, high: Number, low: Number, close: Number, volume: Number) -> bool:
    """Return whether the numbers of a candle can be true; False for NaN."""
    return 0 < low <= opened <= high <= MOST and low <= close <= high and 0 <= volume <= MOST


def is_sane(price: Number, size: Number) -> bool:
    """Return whether both are finite and above zero; False for NaN."""
    return 0 < price <= MOST and 0 < size <= MOST
