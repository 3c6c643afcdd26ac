"""Exact numbers: sums that never round, shown as plain decimals."""

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any, Final

EXACT: Final = Context(prec=200)
"""Wide enough that sums and products of an exchange's numbers are exact for any recording."""

_QUOTIENT: Final = Context(prec=50)
_SHOWN_PLACES: Final = Decimal(1).scaleb(-18)

Number = Any
"""A record's number: a parser that was asked to be exact gives `Decimal`."""


def exact(value: Number) -> Decimal:
    """Return a number as the decimal it stands for."""
    return value if isinstance(value, Decimal) else Decimal(repr(value))


def quotient(value: Decimal, by: Decimal) -> Decimal:
    """Return a quotient of 50 digits."""
    return _QUOTIENT.divide(value, by)


def plain(value: Number | None) -> str | None:
    """Return a number without exponent, with the digits it came with; None for None."""
    return None if value is None else format(exact(value), "f")


def shown_quotient(value: Decimal) -> str:
    """Return a sum of quotients rounded to 18 places, without zeros at its end."""
    rounded = EXACT.quantize(value, _SHOWN_PLACES)
    text = format(rounded, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def total(values: Iterable[Decimal]) -> Decimal:
    """Return the exact sum."""
    found = Decimal(0)
    for value in values:
        found = EXACT.add(found, value)
    return found
