"""Recorded WebSocket frames, and what an independent program found in them."""

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import Book, Side, Trade
from zvt_crypto.ports.stream import Message, Resolve, StreamProtocol, Target


@dataclass(frozen=True)
class Recorded:
    """One frame as it came."""

    connection: str
    frame: bytes

    @property
    def json(self) -> Any:
        """Return what Python's own decoder reads in it."""
        return json.loads(self.frame)


def recorded(shared_data: Path, name: str) -> list[Recorded]:
    """Return the frames received in a recording named `exchange/ws/file`."""
    with gzip.open(shared_data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Recorded(row["conn"], row["raw"].encode()) for row in rows if row["dir"] == "in"]


def expected(shared_data: Path, name: str) -> dict[str, Any]:
    """Return the summary of a recording."""
    path = shared_data / "expected" / f"{name.replace('/', '__')}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def as_native(market: Market = Market.SPOT) -> Resolve:
    """Return a resolver that calls every instrument by its native id."""
    return lambda _route, native: (Target(native, market),)


def read_all(
    protocol: StreamProtocol, frames: Sequence[Recorded], resolve: Resolve, *, exact: bool = True
) -> list[Message]:
    """Return the messages of one recorded connection."""
    parser = protocol.parser(protocol.recorded_route(frames[0].connection), resolve, exact=exact)
    return [message for one in frames for message in parser.parse(one.frame, 0)]


def summary(trades: Iterable[Trade]) -> dict[str, Any]:
    """Return what `expected` says about trades, from records in the order they came."""
    rows = list(trades)
    prices = [Decimal(row.price) for row in rows]
    sizes = [Decimal(row.size) for row in rows]
    ids = [int(row.trade_id) for row in rows]
    return {
        "count": len(rows),
        "first_id": str(rows[0].trade_id),
        "last_id": str(rows[-1].trade_id),
        "sum_quantity": sum(sizes),
        "sum_price_times_quantity": sum(p * s for p, s in zip(prices, sizes, strict=True)),
        "min_price": min(prices),
        "max_price": max(prices),
        "taker_buy": sum(row.side is Side.BUY for row in rows),
        "taker_sell": sum(row.side is Side.SELL for row in rows),
        "duplicate_ids": len(ids) - len(set(ids)),
        "min_id": str(min(ids)),
        "max_id": str(max(ids)),
        "out_of_order_ids": sum(b < a for a, b in pairwise(ids)),
    }


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Assert that every fact found is the expected one; amounts as decimals."""
    for key, value in found.items():
        right = Decimal(wanted[key]) if isinstance(value, Decimal) else wanted[key]
        assert value == right, key


def book_after(books: Iterable[Book]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return both sides after applying snapshots and changes one by one."""
    bids: dict[Any, Any] = {}
    asks: dict[Any, Any] = {}
    for book in books:
        if book.is_snapshot:
            bids.clear()
            asks.clear()
        for held, levels in ((bids, book.bids), (asks, book.asks)):
            for price, size in levels:
                if size == 0:
                    held.pop(price, None)
                else:
                    held[price] = size
    return bids, asks


def same_book(bids: dict[Any, Any], asks: dict[Any, Any], wanted: dict[str, Any]) -> None:
    """Assert that a book is the expected final one."""
    best_bid, best_ask = max(bids), min(asks)
    assert (len(bids), len(asks)) == (wanted["bid_levels"], wanted["ask_levels"])
    assert [best_bid, bids[best_bid]] == [Decimal(text) for text in wanted["best_bid"]]
    assert [best_ask, asks[best_ask]] == [Decimal(text) for text in wanted["best_ask"]]
    assert sum(bids.values()) == Decimal(wanted["bid_quantity_total"])
    assert sum(asks.values()) == Decimal(wanted["ask_quantity_total"])
    assert (best_bid >= best_ask) is wanted["crossed"]


def numbers_of(message: Message) -> list[Any]:
    """Return every number a record holds."""
    found: list[Any] = []
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, float | Decimal | int):
            found.append(value)
        elif isinstance(message, Book) and name in ("bids", "asks"):
            found += [number for level in value for number in level]
    return found
