"""What native ids on a socket stand for, and how their sizes become base units. Pure."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from zvt_crypto.connectors.wire.amount import MOST
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import DataRecord
from zvt_crypto.ports.stream import Ignored, Message, Resolve, Target

_SIZE_PLACES: Final = 4
"""How many decimals sizes in contracts may have to be converted by arithmetic."""

_ROUNDER: Final = 1.5 * 2**52
"""Added and taken away again, it rounds a float64 below 2**51 to a whole number."""

_ROUNDING: Final = 1e-15
_WHOLE_BELOW: Final = 1e14

Number = Any
"""A price or size: float64 in live use, Decimal when exact sums are wanted."""

ToBase = Callable[[Number, Number], Number]
"""From size and price on the wire to base units; ValueError where float64 cannot tell them."""

R = TypeVar("R", bound=DataRecord)

UNLISTED: Final[Sequence[Message]] = (Ignored("instrument not listed"),)
"""What becomes of a row whose native id nobody knows."""


def to_base(target: Target, *, exact: bool) -> ToBase | None:
    """Return how sizes of `target` become base units; None where they are already.

    The result has the value REST parsing gives the same trade: the float64 nearest to the decimal
    product. It raises ValueError where that is too large or too small for a float64.
    """
    if target.market is Market.INVERSE:
        return _inverse(Decimal(repr(target.contract)) if exact else target.contract)
    if target.contract == 1:
        return None
    if exact:
        factor = Decimal(repr(target.contract))
        return lambda size, _price: _in_bounds(size * factor, size)
    return _linear(target.contract)


def _inverse(worth: Number) -> ToBase:
    # The contract of an inverse market is worth quote units.
    return lambda size, price: _in_bounds(size * worth / price, size)


def _linear(contract: float) -> ToBase:
    """Return a product as if read from decimal text, like `decimal_product` but of one value.

    A book is hundreds of them: a short decimal is found by arithmetic, in a third of the time that
    printing and reading the product takes.
    """
    _, _, fraction = f"{contract:.12f}".rstrip("0").partition(".")
    scale = 10.0 ** (_SIZE_PLACES + len(fraction))

    def convert(size: Number, _price: Number) -> Number:
        product = size * contract
        whole = product * scale
        nearest = whole + _ROUNDER - _ROUNDER
        # Both are whole numbers that float64 holds exactly, so their quotient is rounded once.
        # One that came to zero is left to the check of bounds, unless the size is.
        if (
            (nearest or not size)
            and abs(whole - nearest) <= whole * _ROUNDING
            and whole < _WHOLE_BELOW
        ):
            return nearest / scale
        return _in_bounds(float(f"{product:.15g}"), size)

    return convert


def _in_bounds(value: Number, size: Number) -> Number:
    if value <= MOST and (value > 0 or size == 0):
        return value
    raise ValueError(f"a size of {size} contracts cannot be told in base units")


class Contract(NamedTuple):
    """Whose rows a native id names; instruments that share one share its contract too.

    Attributes:
        symbol: ours.
        convert: how sizes become base units; None where they are.
        market: how it settles.
        others: further symbols of the same contract, see `fan_out`.
    """

    symbol: str
    convert: ToBase | None
    market: Market
    others: tuple[str, ...]


class Known(dict[str, Contract | None]):
    """What a parser needs of each native id, worked out once; None for an id nobody knows.

    A dict, because it is asked with every row. It holds known ids only, so it cannot outgrow the
    exchange's list.
    """

    def __init__(self, route: str, resolve: Resolve, *, exact: bool) -> None:
        super().__init__()
        self.exact = exact
        self.route = route
        self._resolve = resolve

    def __missing__(self, native: str) -> Contract | None:
        targets = self._resolve(self.route, native)
        if not targets:  # an id nobody knows yet may be listed in a moment
            return None
        first = targets[0]
        others = tuple(target.symbol for target in targets[1:])
        convert = to_base(first, exact=self.exact)
        found = Contract(first.symbol, convert, first.market, others)
        self[native] = found
        return found


def fan_out(records: Sequence[R], others: Sequence[str]) -> Sequence[R]:
    """Return records, and copies of them under each other symbol of their contract."""
    if not others:
        return records
    copies = [
        msgspec.structs.replace(record, symbol=symbol) for symbol in others for record in records
    ]
    return (*records, *copies)
