"""Moments in and out: every spelling a person or an exchange uses, to UTC microseconds."""

import datetime as dt
import operator
from typing import Final, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

# Numpy's integers are no `int`, but have an index.
Moment: TypeAlias = str | SupportsIndex | dt.datetime | dt.date

# Upper ends of the magnitudes: year 5138 in each unit.
_SECONDS_BELOW: Final = 10**11
_MILLIS_BELOW: Final = 10**14
_MICROS_BELOW: Final = 10**17
_NANOS_BELOW: Final = 10**20

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ONE_US: Final = dt.timedelta(microseconds=1)


def to_us(moment: Moment) -> int:
    """Return `moment` in UTC microseconds; naive values mean UTC.

    Integers (and strings of digits, but for years of four and dates of eight) are read by
    magnitude as seconds, milliseconds, microseconds or nanoseconds. Strings are ISO 8601 with zero
    to nine fractional digits, or a date, a month (`2024-01`) or a year.

    Raises:
        ValueError: `moment` cannot be read as a time.
    """
    if isinstance(moment, bool):
        raise ValueError(f"not a time: {moment!r}")  # noqa: TRY004 - one error for bad input
    if isinstance(moment, int):
        return int_to_us(moment)
    if isinstance(moment, dt.datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return (aware - _EPOCH) // _ONE_US
    if isinstance(moment, dt.date):
        return to_us(dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC))
    if isinstance(moment, str):
        return _text_to_us(moment)
    try:
        return int_to_us(operator.index(moment))
    except TypeError:
        raise ValueError(f"not a time: {moment!r}") from None


def int_to_us(value: int) -> int:
    """Return an epoch number of any usual unit in microseconds, judged by its magnitude."""
    size = abs(value)
    if size < _SECONDS_BELOW:
        return value * 1_000_000
    if size < _MILLIS_BELOW:
        return value * 1_000
    if size < _MICROS_BELOW:
        return value
    if size < _NANOS_BELOW:
        return value // 1_000
    raise ValueError(f"not a time: {value!r}")


def ints_to_us(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return `int_to_us` of every element; units may be mixed in one array.

    Binance spot archives switch from milliseconds to microseconds on 2025-01-01, so one series
    holds both.
    """
    if len(values) == 0:
        return values
    low, high = int(values.min()), int(values.max())
    if low >= _SECONDS_BELOW and high < _MILLIS_BELOW:
        return values * 1_000
    if low >= _MILLIS_BELOW and high < _MICROS_BELOW:
        return values
    size = np.abs(values)
    return np.where(
        size < _SECONDS_BELOW,
        values * 1_000_000,
        np.where(
            size < _MILLIS_BELOW,
            values * 1_000,
            np.where(size < _MICROS_BELOW, values, values // 1_000),
        ),
    )


def format_us(time_us: int) -> str:
    """Return RFC 3339 in UTC, with a fraction only where there is one: `2018-04-07T15:00:00Z`."""
    moment = from_us(time_us)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def from_us(time_us: int) -> dt.datetime:
    """Return `time_us` as an aware datetime in UTC."""
    return _EPOCH + dt.timedelta(microseconds=time_us)


def _text_to_us(text: str) -> int:
    stripped = text.strip()
    try:
        if stripped.isdecimal() and len(stripped) not in (len("2024"), len("20240101")):
            return int_to_us(int(stripped))
        return to_us(dt.datetime.fromisoformat(_full_date(_six_digits(stripped))))
    except (ValueError, OverflowError):
        raise ValueError(
            f"not a time: {text!r}; write 2024-01-31, 2024-01-31T12:00:00Z or epoch milliseconds"
        ) from None


def _full_date(text: str) -> str:
    """Complete a year or a month to its first day."""
    if len(text) == len("2024"):
        return f"{text}-01-01"
    if len(text) == len("2024-01") and text[4] == "-":
        return f"{text}-01"
    return text


def _six_digits(text: str) -> str:
    """Cut or fill a fraction of a second to the six digits a datetime holds."""
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}"
