"""Flags that many commands share, spelled and explained alike, and what they turn into."""

import difflib
from typing import Annotated

import typer

from zvt_crypto.core.errors import BadRange, UnknownExchange, UnknownInterval, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us

EXCHANGES = ("binance", "okx", "bybit", "coinbase")

ExchangeArg = Annotated[
    str, typer.Argument(help="binance, okx, bybit or coinbase.", show_default=False)
]
SymbolArg = Annotated[
    str,
    typer.Argument(help="BTC-USDT, BTC/USDT:USDT or the exchange's own name.", show_default=False),
]
SymbolsArg = Annotated[
    list[str],
    typer.Argument(help="One or more symbols, in any spelling.", show_default=False),
]
StoreFlag = Annotated[
    str | None,
    typer.Option("--store", help="Folder or s3:// URL of the store.", show_default="./data"),
]
SimFlag = Annotated[
    str | None,
    typer.Option("--sim", help="Speak to a simulator at this URL.", show_default=False),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SinceFlag = Annotated[
    str | None,
    typer.Option("--since", help="Start, included: 2024-01-31, ISO or epoch.", show_default=False),
]
UntilFlag = Annotated[
    str | None,
    typer.Option("--until", help="End, excluded; default: now.", show_default=False),
]


def parse_exchange(text: str) -> str:
    """Return the exchange's name.

    Raises:
        UnknownExchange: there is none; the nearest is suggested.
    """
    name = text.strip().lower()
    if name not in EXCHANGES:
        near = difflib.get_close_matches(name, EXCHANGES, n=1, cutoff=0.4)
        raise UnknownExchange(text, EXCHANGES, near)
    return name


def parse_interval(text: str) -> Interval:
    """Return the interval.

    Raises:
        UnknownInterval: it is none of the nine.
    """
    try:
        return Interval.parse(text)
    except ValueError:
        raise UnknownInterval(text, list(Interval)) from None


def parse_kind(text: str) -> Kind:
    """Return the kind of data.

    Raises:
        UsageError: there is no such kind.
    """
    try:
        return Kind(text)
    except ValueError:
        raise UsageError(f"unknown kind {text!r}", remedy=f"Known: {', '.join(Kind)}") from None


def parse_bounds(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Return both bounds in microseconds.

    Raises:
        BadRange: one cannot be read, or they are reversed; the flag is named.
    """
    found: list[int | None] = []
    for flag, text in (("--since", since), ("--until", until)):
        try:
            found.append(None if text is None else to_us(text))
        except ValueError as e:
            raise BadRange(f"{flag}: {e}") from None
    start, end = found
    if start is not None and end is not None and end <= start:
        raise BadRange(
            f"the range is reversed: --since {since} is not before --until {until}",
            remedy="The start comes first; the end is excluded",
        )
    return start, end
