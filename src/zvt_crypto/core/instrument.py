"""Instruments and their names: canonical, ccxt and native spellings, one table per exchange.

Canonical: `BTC-USDT` spot, `BTC-USDT-PERP` linear perpetual, `BTC-USD-PERP` inverse perpetual.
A linear contract that settles in something else than its quote, or an inverse one beside a linear
one of the same pair, would collide; the settle currency then stands before PERP
(`BTC-USD-USDC-PERP`).
ccxt: `BTC/USDT`, `BTC/USDT:USDT`, `BTC/USD:BTC`. Native ids belong to each exchange and one
id may name a spot pair and a perpetual (`BTCUSDT` on Binance and Bybit): spot wins, the
perpetual is asked for by its canonical or ccxt name.
"""

import difflib
from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from zvt_crypto.core.errors import DataError, UnknownSymbol


class Market(StrEnum):
    """How an instrument settles."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


class Status(StrEnum):
    """Whether it trades. An exchange's unknown word becomes UNKNOWN, never an error."""

    ACTIVE = "active"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY = "post_only"
    LIMIT_ONLY = "limit_only"
    AUCTION = "auction"
    PRE_LISTING = "pre_listing"
    HALTED = "halted"
    SETTLING = "settling"
    DELISTED = "delisted"
    UNKNOWN = "unknown"


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One thing traded on one exchange.

    `contract_size` is the base (linear) or quote (inverse) worth of one contract where the
    exchange counts contracts, else 1. Increments and minimums are in base units for spot and
    in the exchange's own size unit for perpetuals. Times are UTC microseconds. `aliases` are
    further native ids, under which its live data may come: of what it shares an order book with.
    """

    exchange: str
    symbol: str
    native: str
    base: str
    quote: str
    settle: str | None
    market: Market
    status: Status = Status.ACTIVE
    tick_size: float | None = None
    size_step: float | None = None
    min_size: float | None = None
    min_notional: float | None = None
    contract_size: float = 1.0
    listed_us: int | None = None
    delisted_us: int | None = None
    aliases: tuple[str, ...] = ()

    @property
    def is_perpetual(self) -> bool:
        """Return whether it is a perpetual contract."""
        return self.market is not Market.SPOT

    @property
    def ccxt(self) -> str:
        """Return the unified name ccxt gives it."""
        pair = f"{self.base}/{self.quote}"
        return f"{pair}:{self.settle}" if self.is_perpetual else pair


def unkeepable(instruments: Iterable[Instrument]) -> list[Instrument]:
    """Return those with a text that not every store can keep: U+0000, or half a character."""
    return [one for one in instruments if not all(map(_is_keepable, _texts(one)))]


def check_keepable(instruments: Iterable[Instrument]) -> None:
    """Refuse a list with a text that not every store can keep.

    Raises:
        DataError: it names the first of them.
    """
    for one in unkeepable(instruments):
        raise DataError(
            f"the instrument {one.native!r} of {one.exchange} holds the character U+0000, or half "
            "of one, which not every store can keep",
            remedy="Leave it out",
        )


def _texts(one: Instrument) -> tuple[str, ...]:
    settle = one.settle or ""
    return (one.exchange, one.symbol, one.native, one.base, one.quote, settle, *one.aliases)


def _is_keepable(text: str) -> bool:
    if text.isascii():
        return "\0" not in text
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def canonical_symbol(base: str, quote: str, settle: str | None = None) -> str:
    """Return our name of a pair, or of the perpetual on it that settles in `settle`."""
    if settle is None:
        return f"{base}-{quote}"
    if settle in (quote, base):
        return f"{base}-{quote}-PERP"
    return f"{base}-{quote}-{settle}-PERP"


class InstrumentTable:
    """All instruments of one exchange, found by any spelling."""

    def __init__(self, exchange: str, instruments: Iterable[Instrument]) -> None:
        self.exchange = exchange
        self._by_symbol: dict[str, Instrument] = {}
        self._by_spelling: dict[str, Instrument] = {}
        for one in instruments:
            held = self._by_symbol.get(one.symbol)
            if held is None or (
                held.status is Status.DELISTED and one.status is not Status.DELISTED
            ):
                self._by_symbol[one.symbol] = one
        # Our own names are entered first, then spot before perpetuals, so that an id they share
        # names the spot pair.
        for one in self._by_symbol.values():
            self._by_spelling[one.symbol.upper()] = one
        for one in sorted(self._by_symbol.values(), key=lambda i: i.is_perpetual):
            for name in (one.ccxt, one.native, *one.aliases):
                self._by_spelling.setdefault(name.upper(), one)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def get(self, symbol: str) -> Instrument | None:
        """Return the instrument of exactly this canonical symbol."""
        return self._by_symbol.get(symbol)

    def resolve(self, text: str) -> Instrument:
        """Return the instrument that `text` names in any spelling, case ignored.

        Raises:
            UnknownSymbol: none does; the error suggests the three nearest canonical symbols.
        """
        wanted = text.strip().upper()
        found = self._by_spelling.get(wanted)
        if found is None:
            raise UnknownSymbol(self.exchange, text, self.nearest(text))
        return found

    def nearest(self, text: str, count: int = 3) -> list[str]:
        """Return the canonical symbols whose spelling looks most like `text`."""
        wanted = _letters(text)
        names = {_letters(symbol): symbol for symbol in self._by_symbol}
        near = difflib.get_close_matches(wanted, names, n=count, cutoff=0.0)
        return [names[name] for name in near]


def _letters(text: str) -> str:
    return "".join(c for c in text.upper() if c.isalnum())
