"""Decimal text as float64: what may stand there, and what does not come back the same."""

import re
from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

# Every decimal of up to 15 significant digits survives float64 and back.
SAFE_DIGITS: Final = 15

# Columns that count something: read as float64 like the others, exact below 2**53.
WHOLE: Final = frozenset({"timestamp", "trade_count", "fills", "trade_id"})

_EXACT_INT: Final = 2**53
# Spacings of digits after the point, down to none that float64 holds; looked up six times as fast
# as they are computed.
_TENTHS: Final = 10.0 ** -np.arange(330)
_NUMBER: Final = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def number(text: str, name: str) -> float:
    """Return `text` as float64.

    Raises:
        ValueError: no decimal number, beyond float64, or not whole where `name` is of `WHOLE`.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{name} is no number: {text[:40]!r}")
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{name} is beyond float64: {text[:40]!r}")
    if name in WHOLE and not (value.is_integer() and abs(value) < _EXACT_INT):
        raise ValueError(f"{name} is no whole number: {text[:40]!r}")
    return value


def all_whole(values: Floats) -> bool:
    """Return whether all are integers that float64 holds exactly."""
    if len(values) == 0:
        return True
    bounded = float(values.min()) > -_EXACT_INT and float(values.max()) < _EXACT_INT
    return bounded and bool((values.astype(np.int64) == values).all())


def count_precision_loss(values: Floats, texts: Sequence[str | None]) -> int:
    """Return how many texts do not come back from float64 as the same decimal.

    Exact: counts `Decimal(repr(float(text))) != Decimal(text)`. Cheap, because only those are
    looked at that have more than 15 characters and whose last digit is finer than the spacing of
    float64 at their size.

    Args:
        values: the texts as float64.
        texts: decimal texts; None and empty count as kept.
    """
    lengths = np.fromiter((len(t) if t else 0 for t in texts), np.int64, len(texts))
    long = np.flatnonzero(lengths > SAFE_DIGITS)
    small = set(long[suspects(values[long], lengths[long])].tolist())
    # A small exponent may underflow whatever the number of digits.
    odd = {i for i, t in enumerate(texts) if t and ("e" in t or "E" in t)}
    return sum(is_lost(texts[i] or "0") for i in small | odd)


def suspects(values: Floats, lengths: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.bool_]:
    """Mark numbers, written without exponent, whose last digit may be lost in float64.

    Two decimals of one spacing cannot share a float64 whose own spacing is smaller, so such a
    float64 leads back to its decimal. Worth asking of texts longer than `SAFE_DIGITS` only.
    """
    size = np.abs(values)
    with np.errstate(all="ignore"):  # zero has no logarithm, the largest float64 no neighbour
        # The bias keeps a value just under a power of ten from gaining a digit.
        whole = np.maximum(np.floor(np.log10(size) - 1e-9) + 1, 0)
        decimals = np.clip(lengths - whole - 1, 0, len(_TENTHS) - 1)
        return np.spacing(size) >= _TENTHS[decimals.astype(np.intp)]


def is_lost(text: str) -> bool:
    """Return whether float64 does not lead back to the decimal `text`."""
    return Decimal(repr(float(text))) != Decimal(text)
