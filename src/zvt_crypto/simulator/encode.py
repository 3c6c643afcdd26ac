"""Columns of integers to text rows, without a Python loop.

A page of a thousand candles has twelve thousand numbers. Here the rows are one matrix of bytes,
constants broadcast into it and every number written as digits, four at a time from a table.
Leading (and, if wished, trailing) zeros become NUL, which no text of ours holds, and one
`translate` deletes them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_DIGITS: Final[Bytes] = np.frombuffer(
    b"".join(b"%04d" % n for n in range(10_000)), dtype=np.uint8
).reshape(10_000, 4)
_GROUP: Final = 10_000
_ZERO: Final = ord("0")


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A column of decimals: integers of the unit `10 ** -decimals`.

    Attributes:
        trim: drop trailing zeros of the fraction, and the point with them.
    """

    values: Ints
    decimals: int = 0
    trim: bool = False

    def fixed(self, decimals: int) -> "Number":
        """Return the same numbers written with exactly `decimals` digits of fraction."""
        if decimals < self.decimals:
            raise ValueError(f"{decimals} digits cannot hold {self.decimals}")
        return Number(self.values * 10 ** (decimals - self.decimals), decimals)

    def trimmed(self) -> "Number":
        """Return the same numbers written without trailing zeros."""
        return Number(self.values, self.decimals, trim=True)

    def take(self, index: slice | Ints | Mask) -> "Number":
        """Return the chosen rows."""
        return Number(self.values[index], self.decimals, trim=self.trim)

    def texts(self) -> list[str]:
        """Return every number as text without trailing zeros."""
        return [decimal_text(int(value), self.decimals) for value in self.values]


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A column of texts served exactly as they are; ASCII or UTF-8, without NUL."""

    values: npt.NDArray[np.bytes_]

    @classmethod
    def of(cls, values: Sequence[str]) -> "Text":
        """Return the column of `values`."""
        return cls(np.array([value.encode() for value in values] or [b""], dtype=np.bytes_))

    def fixed(self, decimals: int) -> "Text":
        """Return itself: a text has the digits it came with."""
        del decimals
        return self

    def trimmed(self) -> "Text":
        """Return itself: a text has the digits it came with."""
        return self

    def take(self, index: slice | Ints | Mask) -> "Text":
        """Return the chosen rows."""
        return Text(self.values[index])

    def texts(self) -> list[str]:
        """Return the values."""
        return [value.decode() for value in self.values.tolist()]


Column: TypeAlias = Number | Text
Field: TypeAlias = bytes | Number | Text


def encode_rows(fields: Sequence[Field], count: int) -> tuple[bytes, Ints]:
    """Write `count` rows, each the `fields` in order; constants are given as bytes.

    Returns:
        The text of all rows, and `count + 1` offsets: row i is `text[offsets[i]:offsets[i + 1]]`.
    """
    if count == 0:
        return b"", np.zeros(1, dtype=np.int64)
    widths = [_width(field) for field in fields]
    matrix = np.empty((count, sum(widths)), dtype=np.uint8)
    dropped = np.zeros(count, dtype=np.int64)
    at = 0
    for field, width in zip(fields, widths, strict=True):
        cells = matrix[:, at : at + width]
        at += width
        if isinstance(field, bytes):
            cells[:] = np.frombuffer(field, dtype=np.uint8)
        elif isinstance(field, Text):
            cells[:] = np.ascontiguousarray(field.values).view(np.uint8).reshape(count, width)
            dropped += (cells == 0).sum(axis=1)
        else:
            _write(field, cells, dropped)
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(at - dropped, out=offsets[1:])
    return matrix.tobytes().translate(None, b"\0"), offsets


def decimal_text(value: int, decimals: int, *, trim: bool = True) -> str:
    """Return `value * 10 ** -decimals` in plain notation."""
    sign = "-" if value < 0 else ""
    digits = f"{abs(value):0{decimals + 1}d}"
    if not decimals:
        return sign + digits
    whole, fraction = digits[:-decimals], digits[-decimals:]
    if trim:
        fraction = fraction.rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _width(field: Field) -> int:
    if isinstance(field, bytes):
        return len(field)
    if isinstance(field, Text):
        return field.values.dtype.itemsize
    highest, lowest = int(field.values.max()), int(field.values.min())
    digits = max(len(str(max(highest, -lowest))), field.decimals + 1)
    return (lowest < 0) + digits + (field.decimals > 0)


def _write(number: Number, cells: Bytes, dropped: Ints) -> None:
    """Write a column of numbers; NUL where a digit is dropped, counted in `dropped`."""
    values, decimals = number.values, number.decimals
    negative = values < 0
    if negative.any():
        cells[:, 0] = np.where(negative, ord("-"), 0)
        dropped += ~negative
        values, cells = np.abs(values), cells[:, 1:]
    total = cells.shape[1] - (decimals > 0)
    digits = _digits(values, total)
    whole = total - decimals
    cells[:, :whole] = digits[:, :whole]
    power = 10 ** (total - 1)
    for column in range(whole - 1):
        leading = values < power
        if not leading.any():
            break
        cells[leading, column] = 0
        dropped += leading
        power //= 10
    if decimals:
        cells[:, whole] = ord(".")
        cells[:, whole + 1 :] = digits[:, whole:]
        if number.trim:
            _trim(values, decimals, cells[:, whole:], dropped)


def _trim(values: Ints, decimals: int, fraction: Bytes, dropped: Ints) -> None:
    """Drop the zeros at the end of fractions, and the points nothing is left behind."""
    trailing = np.ones(len(values), dtype=np.bool_)
    for column in range(decimals, 0, -1):
        trailing &= fraction[:, column] == _ZERO
        if not trailing.any():
            return
        fraction[trailing, column] = 0
        dropped += trailing
    fraction[trailing, 0] = 0
    dropped += trailing


def _digits(values: Ints, total: int) -> Bytes:
    groups = -(-total // 4)
    digits = np.empty((len(values), 4 * groups), dtype=np.uint8)
    rest = values
    for group in range(groups - 1, -1, -1):
        if group:
            high = rest // _GROUP
            digits[:, 4 * group : 4 * group + 4] = _DIGITS[rest - high * _GROUP]
            rest = high
        else:
            digits[:, :4] = _DIGITS[rest]
    return digits[:, 4 * groups - total :]


def encode_values(values: Sequence[object]) -> tuple[bytes, Ints]:
    """Write JSON values as rows; for the few rows that are not worth a matrix."""
    texts = [msgspec.json.encode(value) + b"," for value in values]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return b"".join(texts), offsets
