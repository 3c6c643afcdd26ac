"""Messages of books as an exchange would send them, and the rows they make."""

from collections.abc import Sequence
from random import Random

import msgspec
import pyarrow as pa

from zvt_crypto.core.book import OrderBook
from zvt_crypto.core.record import Book, Level
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.tabulate import to_table

T0 = 1_704_067_200_000_000
EXCHANGE, SYMBOL = "okx", "ETH-USDT-PERP"
DELTAS = Series(EXCHANGE, SYMBOL, Kind.BOOK_DELTAS)
SNAPSHOTS = Series(EXCHANGE, SYMBOL, Kind.BOOK_SNAPSHOTS)


def message(
    at: int,
    number: int | None,
    bids: Sequence[Level] = (),
    asks: Sequence[Level] = (),
    *,
    before: int | None = None,
    whole: bool = False,
) -> Book:
    return Book(
        exchange=EXCHANGE,
        symbol=SYMBOL,
        ts_event=at,
        ts_recv=at,
        is_snapshot=whole,
        bids=tuple(bids),
        asks=tuple(asks),
        sequence=number,
        prev_sequence=before,
    )


def stream(seed: int, count: int, *, start: int = T0, step: int = 1_000) -> list[Book]:
    """Return a snapshot and changes that follow it, some of one moment; the book never crosses."""
    chance = Random(seed)
    number = chance.randrange(1, 1 << 40)
    bids = [(99.5 - n / 2, 1.0 + n) for n in range(8)]
    asks = [(100.5 + n / 2, 2.0 + n) for n in range(8)]
    found = [message(start, number, bids, asks, whole=True)]
    at = start
    for _ in range(count):
        at += chance.choice((0, 1, step))
        before, number = number, number + chance.randrange(1, 50)
        news = [
            [
                (100.0 + side * chance.randrange(1, 40) / 2, chance.choice((0.0, 0.25, 7.5)))
                for _ in range(chance.randrange(4))
            ]
            for side in (-1, 1)
        ]
        found.append(message(at, number, *news, before=before))
    return found


def rows(messages: Sequence[Book]) -> pa.Table:
    """Return changes as rows; of snapshots there is another table."""
    return to_table(Kind.BOOK_DELTAS, [one for one in messages if not one.is_snapshot])


def whole_rows(messages: Sequence[Book], every: int = 1) -> pa.Table:
    """Return the book after every so many messages, as rows."""
    book = OrderBook()
    found: list[Book] = []
    for place, one in enumerate(messages):
        (book.replace if one.is_snapshot else book.apply)(one.bids, one.asks)
        if place % every == 0:
            whole = msgspec.structs.replace(
                one, is_snapshot=True, bids=book.bids(), asks=book.asks()
            )
            found.append(whole)
    return to_table(Kind.BOOK_SNAPSHOTS, found)
