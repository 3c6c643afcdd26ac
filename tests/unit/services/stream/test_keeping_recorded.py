"""Recorded books of the exchanges: kept, stored, and rebuilt as the frames said, one by one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from stream_hub import INSTRUMENT, StubHub
from stream_recorded import as_native, book_after, read_all, recorded

from zvt_crypto.bootstrap.books import book_at
from zvt_crypto.connectors.registry import protocol
from zvt_crypto.core.book import BookRule
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.feed import Place
from zvt_crypto.store.memory import MemoryStore

# Recordings that begin with a whole book, by exchange: with numbers, with those of the connection,
# and without any.
RECORDINGS = {
    "okx/ws/public_cryptofeed_20220513": "okx",
    "bybit/ws/spot_testnet_fastmm_20260913": "bybit",
    "coinbase/ws/advanced_fastmm_20260930_head": "coinbase",
    "coinbase_exchange/ws/exchange_fastmm_20260930": "coinbase",
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_book_is_rebuilt_as_its_frames_say(shared_data: Path, name: str) -> None:
    # given the books of a recording, each on a connection of its own
    by_connection: dict[str, list[Book]] = {}
    frames = recorded(shared_data, name)
    for connection in dict.fromkeys(one.connection for one in frames):
        mine = [one for one in frames if one.connection == connection]
        read = read_all(protocol(RECORDINGS[name]), mine, as_native(), exact=False)
        for one in read:
            if isinstance(one, Book):
                by_connection.setdefault(f"{connection} {one.symbol}", []).append(one)
    kept = [books for books in by_connection.values() if books[0].is_snapshot and len(books) > 9]
    assert kept

    # then each is rebuilt
    assert sum(asyncio.run(rebuilt(books)) for books in kept) > 15


async def rebuilt(books: Sequence[Book]) -> int:
    """Keep and store a book; return how many moments were compared with its frames."""
    first = books[0]
    feed = BookFeed(
        Series(first.exchange, first.symbol, Kind.BOOK), INSTRUMENT, Place("", ""), StubHub(),
        rule=BookRule(), from_rest=False, renew=lambda _: None, is_kept=True,
    )  # fmt: skip
    assert feed.keeper is not None
    store = MemoryStore()
    for at, one in enumerate(books):
        feed.take_from("a socket", msgspec.structs.replace(one, ts_recv=one.ts_event))
        if at % 7 == 0 or at + 1 == len(books):
            drained = [rows.drain() for rows in feed.keeper.feeds]
            await store.commit([batch for batch in drained if batch is not None])
    deltas = feed.keeper.deltas.series
    (claim,) = [entry.range for entry in await store.coverage(deltas)]
    rows = await store.read(deltas, Range(0, 1 << 60))
    assert rows.num_rows == len(books) - 1
    assert list((await store.verify()).faults) == []
    count = 0
    for at in range(0, len(books) - 1, max(1, len(books) // 20)):
        moment, after = books[at].ts_event, books[at + 1].ts_event
        if not claim.holds(moment) or after <= moment:
            continue
        found = await book_at(store, first.exchange, first.symbol, after - 1)
        bids, asks = book_after(books[: at + 1])
        assert (found.bids, found.asks) == (
            sorted(bids.items(), reverse=True),
            sorted(asks.items()),
        )
        count += 1
    return count
