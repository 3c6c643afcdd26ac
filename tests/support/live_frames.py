"""Recorded frames through a parser, and what their records sum up to in `expected/`."""

import gzip
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import Book, Candle, Quote, Side, Trade
from zvt_crypto.ports.stream import FrameParser, Message, Resolve, StreamProtocol, Target

_SHORT = 2_000
_FEW = 3


def native_targets(market: Market, contract: float = 1.0) -> Resolve:
    """Return a resolver under which every native id is an instrument of its own name."""
    return lambda _route, native: (Target(native, market, contract),) if native else ()


def recorded_frames(shared_data: Path, name: str) -> Iterator[tuple[str, bytes, int]]:
    """Yield connection, frame and receive time (0 if none) of what a recording received."""
    with gzip.open(shared_data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for text in lines:
            line = json.loads(text, parse_float=Decimal)
            if line["dir"] == "in":
                time = line["t"]
                yield line["conn"], line["raw"].encode(), int(time * 10**6) if time else 0


@cache
def some_frames(shared_data: Path, names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return short frames of recordings, a few of each beginning."""
    kinds: dict[bytes, list[bytes]] = {}
    for name in names:
        for _, frame, _ in islice(recorded_frames(shared_data, name), 1_000):
            kept = kinds.setdefault(frame[:60], [])
            if len(frame) < _SHORT and len(kept) < _FEW:
                kept.append(frame)
    return tuple(frame for kept in kinds.values() for frame in kept)


def expected_of(shared_data: Path, name: str) -> dict[str, Any]:
    """Return the summary of a recording."""
    path = shared_data / "expected" / f"{name.replace('/', '__')}.json"
    return json.loads(path.read_text())


def parse_recording(
    protocol: StreamProtocol, shared_data: Path, name: str, *, exact: bool = True
) -> list[Message]:
    """Return all messages of a recording, read as contracts of one unit."""
    parsers: dict[str, FrameParser] = {}
    messages: list[Message] = []
    for connection, frame, ts_recv in recorded_frames(shared_data, name):
        if connection not in parsers:
            route = protocol.recorded_route(connection)
            resolve = native_targets(Market.SPOT if route == "spot" else Market.LINEAR)
            parsers[connection] = protocol.parser(route, resolve, exact=exact)
        messages += parsers[connection].parse(frame, ts_recv)
    return messages


def by_symbol(records: Iterable[Any]) -> dict[str, list[Any]]:
    """Return records per symbol, in order."""
    found: dict[str, list[Any]] = {}
    for record in records:
        found.setdefault(record.symbol, []).append(record)
    return found


def trade_facts(trades: Sequence[Trade]) -> dict[str, Any]:
    """Return what `expected` says of trades, but for what it counts of their order."""
    ids = [int(trade.trade_id) for trade in trades]
    prices: list[Any] = [trade.price for trade in trades]
    sizes: list[Any] = [trade.size for trade in trades]
    return {
        "count": len(trades),
        "first_id": ids[0],
        "last_id": ids[-1],
        "sum_quantity": sum(sizes),
        "sum_price_times_quantity": sum(p * s for p, s in zip(prices, sizes, strict=True)),
        "min_price": min(prices),
        "max_price": max(prices),
        "taker_buy": sum(trade.side is Side.BUY for trade in trades),
        "taker_sell": sum(trade.side is Side.SELL for trade in trades),
        "first_exchange_time": trades[0].ts_event // 1_000,
        "last_exchange_time": trades[-1].ts_event // 1_000,
        "min_id": min(ids),
        "max_id": max(ids),
        "ids_absent_between_min_and_max": max(ids) - min(ids) + 1 - len(set(ids)),
    }


def quote_facts(quotes: Sequence[Quote]) -> dict[str, Any]:
    """Return what `expected` says of quotes."""
    bids: list[Any] = [quote.bid_price for quote in quotes]
    asks: list[Any] = [quote.ask_price for quote in quotes]
    last = quotes[-1]
    return {
        "count": len(quotes),
        "bid_min": min(bids),
        "bid_max": max(bids),
        "ask_min": min(asks),
        "ask_max": max(asks),
        "sum_bid_quantity": sum(quote.bid_size or 0 for quote in quotes),
        "sum_ask_quantity": sum(quote.ask_size or 0 for quote in quotes),
        "crossed": sum(bid >= ask for bid, ask in zip(bids, asks, strict=True)),
        "last_quote": [last.bid_price, last.bid_size, last.ask_price, last.ask_size],
    }


def book_facts(books: Sequence[Book]) -> dict[str, Any]:
    """Return what `expected` says of book messages."""
    levels = [level for book in books for level in (*book.bids, *book.asks)]
    return {
        "count": len(books),
        "levels": len(levels),
        "zero_quantity_levels": sum(size == 0 for _, size in levels),
    }


def book_at_the_end(books: Sequence[Book]) -> dict[str, Any]:
    """Return the book that messages make, as `expected` tells it."""
    bids: dict[Any, Any] = {}
    asks: dict[Any, Any] = {}
    for book in books:
        for side, levels in ((bids, book.bids), (asks, book.asks)):
            if book.is_snapshot:
                side.clear()
            for price, size in levels:
                side[price] = size
                if size == 0:
                    del side[price]
    return {
        "bid_levels": len(bids),
        "ask_levels": len(asks),
        "best_bid": [max(bids), bids[max(bids)]],
        "best_ask": [min(asks), asks[min(asks)]],
        "bid_quantity_total": sum(bids.values()),
        "ask_quantity_total": sum(asks.values()),
        "crossed": max(bids) >= min(asks),
    }


def candle_facts(candles: Sequence[Candle]) -> dict[str, Any]:
    """Return what `expected` says of candle messages."""
    last = {candle.ts_event // 1_000: candle for candle in candles}
    return {
        "messages": len(candles),
        "closed": sum(candle.is_closed for candle in candles),
        "distinct_open_times": len(last),
        "last_state": {
            str(opened): [c.open, c.high, c.low, c.close, c.volume, c.trade_count, c.is_closed]
            for opened, c in last.items()
        },
    }


def agree(ours: Any, theirs: Any) -> bool:
    """Return whether a summary is the expected one, where that speaks; numbers as decimals."""
    if isinstance(ours, dict):
        return all(agree(ours[key], theirs[key]) for key in ours if key in theirs)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(agree, ours, theirs))
    if isinstance(ours, bool):
        return ours is theirs
    return Decimal(ours) == Decimal(theirs)


def check_finite(messages: Sequence[Message]) -> None:
    """Check that no record holds a number that is not finite, and no trade one of zero."""
    for message in messages:
        for field in message.__struct_fields__:
            for number in _numbers(getattr(message, field)):
                assert math.isfinite(number), message
        if isinstance(message, Trade):
            assert message.price > 0, message
            assert message.size > 0, message
        if isinstance(message, Book):
            for price, size in (*message.bids, *message.asks):
                assert price > 0, message
                assert size >= 0, message


def parse_or_refuse(parser: FrameParser, frame: bytes, ts_recv: int) -> Sequence[Message]:
    """Return a frame's messages, checked; nothing for a frame that cannot be read."""
    try:
        messages = parser.parse(frame, ts_recv)
    except MalformedPayload:
        return ()
    check_finite(messages)
    # What leaves the parser can be stored: ids and times fit their columns, texts are UTF-8.
    msgspec.json.encode([m for m in messages if not isinstance(m, Book)])
    return messages


_TOKEN = re.compile(rb'"[^"]*"|-?[\d.]+|true|false|null')

NASTY = (
    b"null",
    b"true",
    b"-1",
    b'"-1"',
    b"0",
    b'"0"',
    b'"NaN"',
    b'"sNaN"',
    b'"-Infinity"',
    b'"inf"',
    b'"1e400"',
    b"1e999999999",
    b'"1E-400"',
    b'""',
    b'" 1"',
    b'"1_0"',
    b"9" * 30,
    b'"' + b"9" * 30 + b'"',
    b"9" * 5_000,
    b'"' + b"9" * 5_000 + b'"',
    b"9223372036854775808",
    b"[]",
    b"{}",
    b'[["1"]]',
    b'"\\ud800"',
    b'"\xff"',
    b"[" * 3_000,
)
"""What may stand in a frame instead of one of its values, or of its names."""


@st.composite
def damaged(draw: st.DrawFn, frames: Sequence[bytes]) -> bytes:
    """Return a recorded frame with tokens exchanged, bytes changed or its end cut off."""
    frame = draw(st.sampled_from(frames))
    tokens = list(_TOKEN.finditer(frame))
    how = draw(st.sampled_from(("token", "token", "swap", "byte", "cut")))
    if how == "cut" or not tokens:
        return frame[: draw(st.integers(0, len(frame)))]
    if how == "byte":
        array = bytearray(frame)
        for _ in range(draw(st.integers(1, 3))):
            array[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
        return bytes(array)
    token = draw(st.sampled_from(tokens))
    new = draw(st.sampled_from(tokens))[0] if how == "swap" else draw(st.sampled_from(NASTY))
    return frame[: token.start()] + new + frame[token.end() :]


def _numbers(value: Any) -> Iterator[float | Decimal]:
    if isinstance(value, (float, Decimal)):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _numbers(one)
