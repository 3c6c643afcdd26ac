"""Books that are kept: streamed, broken on purpose, stored, and rebuilt as they stood."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sim_process import Sim, simulator
from store_place import store_at
from stream_recorded import book_after
from stream_world import EXCHANGES, LEVELS, QUICK, SYMBOL, Streamed, eventually, streaming

import zvt_crypto as zc
from zvt_crypto.core.errors import BookUnknown
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, BookReset
from zvt_crypto.core.series import Kind, Series

ALL = Range(0, 1 << 60)
# What breaks the book of each exchange: numbers that jump, and sockets that are cut.
BREAKS = {
    "binance": "ws_sequence_jump",
    "okx": "ws_sequence_jump",
    "bybit": "ws_disconnect",
    "coinbase": "ws_disconnect",
}
# Whose numbers the market itself counts; the others count messages of a socket.
COUNTED = ("binance", "okx")
KEEPING = replace(QUICK, keep_books=True)


@dataclass
class Watched:
    """What a handler saw of one book: all its messages, and where it was void."""

    records: list[Any] = field(default_factory=list[Any])

    @property
    def resets(self) -> int:
        return sum(isinstance(one, BookReset) for one in self.records)

    @property
    def messages(self) -> list[Book]:
        return [one for one in self.records if isinstance(one, Book)]

    def spans(self) -> list[list[Book]]:
        """Return the messages between resets."""
        found: list[list[Book]] = [[]]
        for one in self.records:
            if isinstance(one, BookReset):
                found.append([])
            elif isinstance(one, Book):
                found[-1].append(one)
        return [one for one in found if one]


async def test_a_book_is_rebuilt_as_it_stood_and_a_break_is_told(tmp_path: Path) -> None:
    place = store_at(tmp_path / "store")
    with simulator("--trades-per-day", "1000000") as sim:
        # given books of all exchanges that are kept, and broken once
        watched = await stream(sim, place)
        async with zc.AsyncCrypto(place, sim=sim.url) as db:
            # then each is told as it stood, and its hole is
            for exchange in EXCHANGES:
                await judge(db, sim, exchange, watched[exchange])
            assert list((await db.verify()).faults) == []


async def stream(sim: Sim, place: str) -> dict[str, Watched]:
    watched = {exchange: Watched() for exchange in EXCHANGES}
    books = [Series(exchange, SYMBOL[exchange], Kind.BOOK) for exchange in EXCHANGES]
    async with streaming(sim, books, store=place, config=KEEPING) as streamed:
        listen(streamed, watched)
        await eventually(lambda: all(len(w.messages) > 15 for w in watched.values()), 30)
        for exchange, kind in BREAKS.items():
            channel = {"channel": "book"} if kind == "ws_sequence_jump" else {}
            await asyncio.to_thread(
                sim.fault, kind, exchange=exchange, probability=1, count=1, **channel
            )
        await eventually(lambda: all(w.resets for w in watched.values()), 30)
        await asyncio.to_thread(sim.heal)
        counts = {exchange: len(w.messages) for exchange, w in watched.items()}
        await eventually(
            lambda: all(len(w.messages) > counts[e] + 25 for e, w in watched.items()), 30
        )
    return watched


def listen(streamed: Streamed, watched: dict[str, Watched]) -> None:
    for exchange, mine in watched.items():
        streamed.service.on(
            mine.records.append, kinds=[Kind.BOOK], exchanges=[exchange], policy="inline"
        )


async def judge(db: zc.AsyncCrypto, sim: Sim, exchange: str, watched: Watched) -> None:
    symbol = SYMBOL[exchange]
    store = db.platform.store
    ledger = await store.coverage(Series(exchange, symbol, Kind.BOOK_DELTAS))
    assert {one.verdict for one in ledger} == {Verdict.OBSERVED}
    claims = [one.range for one in ledger]
    assert len(claims) > 1, f"{exchange}: the break is not told by {claims}"

    # each claim lies between two resets, and is nearly all the time between them
    spans = watched.spans()
    rebuilt = 0
    for span in spans:
        seen = Range(span[0].ts_event, span[-1].ts_event)
        mine = [one for one in claims if not one.overlap(seen).is_empty]
        if len(span) < 10:
            continue
        assert len(mine) == 1, f"{exchange}: {mine} of {span[0].ts_event}..{span[-1].ts_event}"
        rebuilt += await compare(db, sim, exchange, span, mine[0])
    assert rebuilt > 20

    # nothing is known in the holes
    for before, after in pairwise(claims):
        middle = (before.end + after.start) // 2
        with pytest.raises(BookUnknown, match="not known from"):
            await db.book_at(exchange, symbol, middle)


async def compare(
    db: zc.AsyncCrypto, sim: Sim, exchange: str, span: Sequence[Book], claim: Range
) -> int:
    """Compare books of a claim with the messages folded one by one, and with the market's."""
    symbol, count = SYMBOL[exchange], 0
    for at, (one, after) in enumerate(pairwise(span)):
        if not claim.holds(one.ts_event) or after.ts_event <= one.ts_event:
            continue
        found = await db.book_at(exchange, symbol, one.ts_event)
        bids, asks = book_after(span[: at + 1])
        assert list(found.bids) == sorted(bids.items(), reverse=True)
        assert list(found.asks) == sorted(asks.items())
        assert found.sequence == one.sequence
        count += 1
        if count % 10 == 0 and exchange in COUNTED:
            await check_truth(sim, found)
    return count


async def check_truth(sim: Sim, found: Book) -> None:
    query = f"exchange={found.exchange}&symbol={found.symbol}&sequence={found.sequence}"
    told = await asyncio.to_thread(sim.get, f"/_truth/book?{query}")
    for side, mine in (("bids", found.bids), ("asks", found.asks)):
        wanted = [(float(price), float(size)) for price, size in told[side][:LEVELS]]
        assert list(mine)[:LEVELS] == wanted
