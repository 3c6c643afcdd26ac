"""The ticker of a Bybit perpetual: marks, funding, open interest and quotes in one topic. Pure.

A snapshot comes first, then deltas that carry only what changed: a key that is missing is
unchanged, never empty. The feed merges them, and gives a record when something in it changed.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal

import msgspec

from zvt_crypto.connectors.bybit.feed import D, Millis, N, decoder
from zvt_crypto.connectors.bybit.spec import NAME
from zvt_crypto.connectors.wire.amount import MOST
from zvt_crypto.connectors.wire.moment import EARLIEST_US, LATEST_US, latest_us
from zvt_crypto.connectors.wire.refusal import UNREADABLE, refused
from zvt_crypto.connectors.wire.target import Contract, Number, ToBase, fan_out
from zvt_crypto.core.interval import US_PER_MS
from zvt_crypto.core.record import DataRecord, Funding, MarkPrice, OpenInterest, Quote
from zvt_crypto.ports.stream import Ignored, Message

_UNSET: Final = msgspec.UNSET


class TickerFrame(msgspec.Struct, Generic[D], gc=False):
    """A frame of the ticker; it has no time of the matching engine."""

    type: Literal["snapshot", "delta"]
    ts: Millis
    data: D


class TickerData(msgspec.Struct, Generic[N], gc=False, rename="camel"):
    """The keys we use; UNSET where a delta leaves one out."""

    mark_price: N | msgspec.UnsetType | None = _UNSET
    index_price: N | msgspec.UnsetType | None = _UNSET
    funding_rate: N | msgspec.UnsetType | None = _UNSET
    next_funding_time: N | msgspec.UnsetType | None = _UNSET
    funding_interval_hour: N | msgspec.UnsetType | None = _UNSET
    open_interest: N | msgspec.UnsetType | None = _UNSET
    single_open_interest: N | msgspec.UnsetType | None = _UNSET
    bid1_price: N | msgspec.UnsetType | None = _UNSET
    bid1_size: N | msgspec.UnsetType | None = _UNSET
    ask1_price: N | msgspec.UnsetType | None = _UNSET
    ask1_size: N | msgspec.UnsetType | None = _UNSET
    symbol: str = ""


_KEYS: Final = TickerData.__struct_fields__[:-1]
_BLANK: Final = (None,) * len(_KEYS)

# What a change of a key makes new.
_MARK, _FUNDING, _INTEREST, _QUOTE = 1, 2, 4, 8
_EVERYTHING: Final = _MARK | _FUNDING | _INTEREST | _QUOTE
_MAKES_NEW: Final = {
    "mark_price": _MARK,
    "index_price": _MARK,
    "funding_rate": _MARK | _FUNDING,
    "next_funding_time": _MARK | _FUNDING,
    "funding_interval_hour": _FUNDING,
    "open_interest": _INTEREST,
    "single_open_interest": _INTEREST,
}
_NEWS: Final = tuple(_MAKES_NEW.get(key, _QUOTE) for key in _KEYS)
_LEAST: Final = tuple(-1e6 if key == "funding_rate" else 0 for key in _KEYS)
# Zero where there is none: an empty side of the book, no next funding.
_NONE_IF_ZERO: Final = tuple(key.endswith(("price", "time")) for key in _KEYS)
_MOST: Final = tuple(LATEST_US // US_PER_MS if key.endswith("time") else MOST for key in _KEYS)

_DECODE: Final = {
    number: decoder(TickerFrame[TickerData[number]]).decode for number in (float, Decimal)
}
_decode_words: Final = decoder(TickerFrame[TickerData[Any]]).decode


class TickerFeed:
    """Reads `tickers` of one perpetual.

    Quotes made here have no `sequence`, those of `orderbook.1` always have one: a consumer that
    subscribed both tells them apart by it.
    """

    def __init__(self, native: str, contract: Contract, number: type) -> None:
        self._native = native
        self._contract = contract
        self._number = number
        self._decode = _DECODE[number]
        self._state: Sequence[Number] | None = None

    def read(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Merge a frame and return what changed."""
        wire = self._decode(frame)
        return self._take(wire, msgspec.structs.astuple(wire.data), ts_recv)

    def read_slowly(self, frame: bytes, ts_recv: int) -> Sequence[Message]:
        """Merge what can be read of a frame; dated futures leave words of funding empty."""
        try:
            wire = _decode_words(frame)
            words = msgspec.structs.astuple(wire.data)
            values, bad = self._read_words(words[:-1])
            records = self._take(wire, (*values, words[-1]), ts_recv)
        except UNREADABLE as e:
            return (refused(frame, e, self._contract.symbol),)
        return [*(refused(frame, reason, self._contract.symbol) for reason in bad), *records]

    def _read_words(self, words: Sequence[Any]) -> tuple[list[Number], list[str]]:
        values: list[Number] = []
        bad: list[str] = []
        for index, word in enumerate(words):
            try:
                values.append(self._read_word(index, word))
            except UNREADABLE:
                values.append(_UNSET)
                bad.append(f"{_KEYS[index]} is {str(word)[:40]!r}")
        return values, bad

    def _read_word(self, index: int, word: Any) -> Number:
        if word is None or word is _UNSET:
            return word
        if word == "":
            return None
        if isinstance(word, bool | list | dict):
            raise ValueError  # noqa: TRY004 - one error for bad input
        # Through text, so that a number and a string give the same decimal.
        return _checked(index, msgspec.convert(str(word), self._number, strict=False))

    def _take(
        self, wire: TickerFrame[Any], values: Sequence[Any], ts_recv: int
    ) -> Sequence[Message]:
        """Merge values into the state, all or none of them."""
        time = wire.ts * US_PER_MS
        if not EARLIEST_US <= time <= latest_us(ts_recv) or values[-1] != self._native:
            raise ValueError(f"not a ticker of {self._native} at {time}")
        if wire.type == "snapshot":
            state, news = list[Number](_BLANK), _EVERYTHING
        elif self._state is None:
            return (Ignored("delta before snapshot"),)
        else:
            state, news = list(self._state), 0
        for index, held in enumerate(state):
            value = values[index]
            if value is not _UNSET and value != held:
                state[index] = None if value is None else _checked(index, value)
                news |= _NEWS[index]
        self._state = state
        return self._records(state, news, time, ts_recv) if news else ()

    def _records(
        self, state: Sequence[Number], news: int, time: int, ts_recv: int
    ) -> Sequence[Message]:
        mark, index, rate, next_ms, hours, both, one, *top = state
        next_us = None if next_ms is None else int(next_ms) * US_PER_MS
        symbol, convert, _, others = self._contract
        records: list[DataRecord] = []
        if news & _MARK and mark is not None:
            records.append(MarkPrice(NAME, symbol, time, ts_recv, mark, index, rate, next_us))
        if news & _FUNDING and rate is not None:
            hours = None if hours is None else float(hours)
            records.append(
                Funding(NAME, symbol, time, ts_recv, rate, next_us, interval_hours=hours)
            )
        if news & _INTEREST:
            # One side of all contracts, as REST: both are halved where that is not said.
            amount = both / 2 if one is None and both is not None else one
            base = _base(amount, mark, convert)
            if base is not None:
                records.append(OpenInterest(NAME, symbol, time, ts_recv, base))
        if news & _QUOTE:
            records.append(_quote(symbol, time, ts_recv, top, convert))
        return fan_out(records, others)


def _checked(index: int, value: Number) -> Number:
    if not _LEAST[index] <= value <= _MOST[index]:
        raise ValueError(f"{_KEYS[index]} is {value}")
    if _KEYS[index] == "next_funding_time" and 0 < value < EARLIEST_US // US_PER_MS:
        raise ValueError(f"{_KEYS[index]} is {value}")
    return None if value == 0 and _NONE_IF_ZERO[index] else value


def _quote(
    symbol: str, time: int, ts_recv: int, top: Sequence[Number], convert: ToBase | None
) -> Quote:
    bid, bid_size, ask, ask_size = top
    if convert is not None:
        bid_size, ask_size = _base(bid_size, bid, convert), _base(ask_size, ask, convert)
    return Quote(NAME, symbol, time, ts_recv, bid, bid_size, ask, ask_size)


def _base(amount: Number, price: Number, convert: ToBase | None) -> Number:
    """Return an amount in base units; None where it is not known or has no price to go by."""
    if amount is None or convert is None:
        return amount
    if price is None:
        return None
    return convert(amount, price)
