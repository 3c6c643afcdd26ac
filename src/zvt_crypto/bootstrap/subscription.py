"""What to stream, as people write it: `binance:BTC-USDT:trades`, `okx:BTC-USDT:candles:5m`."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.connectors.registry import CONNECTORS
from zvt_crypto.core.errors import UnknownExchange, UnknownInterval, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.loader import LoadRequest

DEFAULT_KINDS: Final = (Kind.TRADES, Kind.CANDLES)
DEFAULT_INTERVALS: Final = (Interval.M1,)

_FORM: Final = "Write EXCHANGE:SYMBOL, EXCHANGE:SYMBOL:trades or EXCHANGE:SYMBOL:candles:1m"


class Subscription(msgspec.Struct, frozen=True):
    """What is wanted of one instrument, its symbol in any spelling."""

    exchange: str
    symbol: str
    kinds: tuple[Kind, ...]
    intervals: tuple[Interval, ...]


def parse_words(
    words: Sequence[str],
    kinds: Sequence[Kind] = DEFAULT_KINDS,
    intervals: Sequence[Interval] = DEFAULT_INTERVALS,
) -> list[Subscription]:
    """Read `binance BTC-USDT ETH-USDT` and `binance:BTC-USDT okx:BTC-USDT:trades`, also mixed.

    Args:
        words: an exchange's name holds for the symbols after it.
        kinds: of words that name none.
        intervals: of candles of words that name none.

    Raises:
        UsageError: a word cannot be read.
    """
    found: list[Subscription] = []
    current, count = "", 0
    for word in words:
        head, colon, tail = word.partition(":")
        if not colon and head.lower() in CONNECTORS:
            _check_named(current, count)
            current, count = head.lower(), 0
        elif colon and head.lower() in CONNECTORS:
            found.append(_parse_tail(word, head.lower(), tail, kinds, intervals))
        elif current:
            count += 1
            found.append(_parse_tail(word, current, word, kinds, intervals))
        else:
            near = difflib.get_close_matches(head.lower(), CONNECTORS, n=1, cutoff=0.4)
            raise UnknownExchange(head, tuple(CONNECTORS), near)
    _check_named(current, count)
    return found


def _check_named(exchange: str, count: int) -> None:
    if exchange and not count:
        raise UsageError(f"no symbol of {exchange} is named", remedy=f"Write: {exchange} BTC-USDT")


def _parse_tail(
    word: str,
    exchange: str,
    tail: str,
    kinds: Sequence[Kind],
    intervals: Sequence[Interval],
) -> Subscription:
    """Read what follows the exchange; a symbol may hold a colon itself (`BTC/USDT:USDT`)."""
    parts = tail.split(":")
    if len(parts) > 2 and parts[-2] == Kind.CANDLES:  # noqa: PLR2004 - symbol, kind, interval
        try:
            intervals = (Interval.parse(parts[-1]),)
        except ValueError:
            raise UnknownInterval(parts[-1], list(Interval)) from None
        parts.pop()
    if len(parts) > 1:
        last = parts[-1]
        if last in Kind.__members__.values():
            kinds = (Kind(parts.pop()),)
        elif last.islower():
            raise UsageError(
                f"unknown kind {last!r} in {word!r}", remedy=f"Known: {', '.join(Kind)}"
            )
    symbol = ":".join(parts).strip()
    if not symbol:
        raise UsageError(f"no symbol in {word!r}", remedy=_FORM)
    return Subscription(exchange, symbol, tuple(kinds), tuple(intervals))


def check_requests(wanted: Iterable[Subscription]) -> list[LoadRequest]:
    """Return requests that name the same instruments, for checks before a store is made."""
    return [
        LoadRequest(one.exchange, one.symbol, Kind.CANDLES, Interval.M1, None, None)
        for one in wanted
    ]


async def resolve(platform: Platform, wanted: Iterable[Subscription]) -> list[Series]:
    """Return the series, symbols in our spelling, each once.

    Raises:
        UnknownSymbol: an exchange lists no such instrument.
        CryptoError: an exchange could not be asked.
    """
    found: dict[Series, None] = {}
    for one in wanted:
        instrument = await platform.loader.instrument(one.exchange, one.symbol)
        for kind in one.kinds:
            for interval in one.intervals if kind is Kind.CANDLES else (None,):
                found[Series(one.exchange, instrument.symbol, kind, interval)] = None
    return list(found)


def spelled(series: Series) -> str:
    """Return a series as `parse_words` reads it."""
    tail = "" if series.interval is None else f":{series.interval}"
    return f"{series.exchange}:{series.symbol}:{series.kind}{tail}"


__all__ = [
    "DEFAULT_INTERVALS",
    "DEFAULT_KINDS",
    "Subscription",
    "check_requests",
    "parse_words",
    "resolve",
    "spelled",
]
