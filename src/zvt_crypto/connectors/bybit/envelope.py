"""The envelope around every answer of Bybit, and how it writes numbers and times; pure."""

import math
from typing import Annotated, Final, Generic, TypeAlias, TypeVar

import msgspec

from zvt_crypto.connectors.bybit.spec import NAME
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_MS

R = TypeVar("R")

_LARGEST: Final = 10**16

Digits: TypeAlias = (
    Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,16}$")]
    | Annotated[int, msgspec.Meta(ge=0, lt=_LARGEST)]
)
"""Milliseconds as the exchange writes them: a string in lists, a number elsewhere."""


class Reply(msgspec.Struct, Generic[R]):
    """An answer; `time` is the server's clock in milliseconds, 0 where it is left out."""

    result: R
    time: Digits = 0

    @property
    def time_us(self) -> int:
        """Return the server's clock in microseconds."""
        return int(self.time) * US_PER_MS


def decode(decoder: msgspec.json.Decoder[R], body: bytes, what: str) -> R:
    """Return `body` decoded.

    Raises:
        MalformedPayload: not of the documented shape.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise MalformedPayload(NAME, what, str(e)) from e


def number(text: str | None) -> float | None:
    """Return a decimal, None where the exchange says nothing or nothing that is one."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def positive(text: str | None) -> float | None:
    """Return a number that means something only above zero."""
    value = number(text)
    return value if value is not None and value > 0 else None


def base_size(size: str | None, price: str | None, instrument: Instrument) -> float | None:
    """Return a size in base coin: inverse counts US dollars, the others base coin.

    None where the size is absent or negative, or has no price to be converted by.
    """
    amount = number(size)
    if amount is None or amount < 0:
        return None
    if instrument.market is not Market.INVERSE:
        return amount
    worth = positive(price)
    return None if worth is None else amount / worth
