"""Which series a copy is about: `binance`, `okx:ETH-USDT-PERP:trades`, `binance:*:candles:1m`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from zvt_crypto.core.errors import UnknownInterval, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series

_FORM: Final = "exchange[:symbol[:kind[:interval]]]"
_ANY: Final = "*"
_PARTS: Final = 4


class Selection(msgspec.Struct, frozen=True):
    """Series by exchange and symbol, where `*` and `?` stand for others, kind and interval."""

    text: str
    exchange: str
    symbol: str = _ANY
    kind: Kind | None = None
    interval: Interval | None = None

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Return the selection spelled `text`; what is left out is any.

        Raises:
            UsageError: it is not of that form, or names no kind or no interval there is.
        """
        parts = text.strip().split(":")
        if len(parts) > _PARTS or not all(parts):
            raise UsageError(
                f"{text!r} names no series", remedy=f"Write {_FORM}, as in binance:BTC-USDT"
            )
        exchange, symbol, kind, interval = [*parts, *[_ANY] * (_PARTS - len(parts))]
        selection = cls(text, exchange.lower(), symbol.upper(), _kind(kind), _interval(interval))
        if selection.interval is not None and selection.kind not in (None, Kind.CANDLES):
            raise UsageError(
                f"{text!r} names no series: only candles have an interval",
                remedy=f"Leave {interval!r} out",
            )
        return selection

    def matches(self, series: Series) -> bool:
        """Return whether it means this series."""
        return (
            fnmatchcase(series.exchange, self.exchange)
            and fnmatchcase(series.symbol.upper(), self.symbol)
            and self.kind in (None, series.kind)
            and self.interval in (None, series.interval)
        )


def select(texts: Sequence[str], held: Sequence[Series]) -> list[Series]:
    """Return the series that any text means, in the order they are held; all without texts.

    Raises:
        UsageError: a text cannot be read, or means none of them.
    """
    selections = [Selection.parse(text) for text in texts]
    for one in selections:
        if not any(one.matches(series) for series in held):
            there = sorted({f"{s.exchange}:{s.symbol}" for s in held})
            shown = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")  # noqa: PLR2004
            raise UsageError(
                f"the source holds nothing of {one.text!r}",
                remedy=f"It holds {shown}; `zvtc coverage` lists all of it" if there else
                "It holds no series at all",
            )  # fmt: skip
    if not selections:
        return list(held)
    return [series for series in held if any(one.matches(series) for one in selections)]


def _kind(text: str) -> Kind | None:
    if text == _ANY:
        return None
    try:
        return Kind(text.lower())
    except ValueError:
        raise UsageError(f"unknown kind {text!r}", remedy=f"Known: {', '.join(Kind)}") from None


def _interval(text: str) -> Interval | None:
    if text == _ANY:
        return None
    try:
        return Interval.parse(text)
    except ValueError:
        raise UnknownInterval(text, list(Interval)) from None
