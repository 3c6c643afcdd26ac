# pyright: reportPrivateUsage=false
"""Books that are kept: every key once and in order, claims only where a book can be rebuilt."""

import asyncio
import itertools
from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_hub import BASE_US, INSTRUMENT, StubHub

from zvt_crypto.bootstrap.books import book_at
from zvt_crypto.core.book import BookRule
from zvt_crypto.core.errors import BookUnknown
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, Level
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.validation import validate_books
from zvt_crypto.ports.store import Batch
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.feed import Place
from zvt_crypto.services.stream.keeping import SNAPSHOT_EVERY_US, BookKeeper
from zvt_crypto.store.memory import MemoryStore

SERIES = Series("okx", "BTC-USDT", Kind.BOOK)
DELTAS = Series("okx", "BTC-USDT", Kind.BOOK_DELTAS)
SNAPSHOTS = Series("okx", "BTC-USDT", Kind.BOOK_SNAPSHOTS)
ALL = Range(0, 1 << 60)
SOCKET = "a socket"
MS = 1_000


class Kept:
    """A kept book, what its rows are drained into, and how the book stood after each message."""

    def __init__(self, *, from_rest: bool = False, overlaps: bool = False) -> None:
        self.feed = BookFeed(
            SERIES, INSTRUMENT, Place("public", "books:BTC-USDT"), StubHub(),
            rule=BookRule(overlaps=overlaps), from_rest=from_rest, renew=lambda _: None,
            is_kept=True,
        )  # fmt: skip
        self.store = MemoryStore()
        self.stood: list[tuple[int, list[Level], list[Level]]] = []

    @property
    def keeper(self) -> BookKeeper:
        assert self.feed.keeper is not None
        return self.feed.keeper

    def take(self, *messages: Book) -> None:
        for one in messages:
            self.feed.take_from(SOCKET, one)
            if self.feed.sync.is_synced:
                book = self.feed.sync.book
                # A time may be moved on to keep the order of keys: the book stood so from there.
                self.stood.append((self.keeper._key[0], book.bids(), book.asks()))

    async def commit(self) -> list[Batch]:
        drained = [one.drain() for one in self.keeper.feeds]
        batches = [one for one in drained if one is not None]
        await self.store.commit(batches)
        return batches

    async def claims(self, series: Series = DELTAS) -> list[tuple[int, int]]:
        ledger = await self.store.coverage(series)
        assert {one.verdict for one in ledger} <= {Verdict.OBSERVED}
        return [(one.start - BASE_US, one.end - BASE_US) for one in ledger]

    async def at(self, offset: int) -> tuple[list[Level], list[Level]]:
        found = await book_at(self.store, "okx", "BTC-USDT", BASE_US + offset)
        return list(found.bids), list(found.asks)


def message(
    offset: int,
    number: int | None,
    *,
    bids: Sequence[Level] = (),
    asks: Sequence[Level] = (),
    before: int | None = None,
    whole: bool = False,
) -> Book:
    return Book(
        exchange="okx", symbol="BTC-USDT", ts_event=BASE_US + offset, ts_recv=BASE_US + offset,
        is_snapshot=whole, bids=tuple(bids), asks=tuple(asks), sequence=number,
        prev_sequence=before,
    )  # fmt: skip


def whole(offset: int, number: int | None, price: float = 100.0) -> Book:
    return message(offset, number, bids=[(price, 1.0)], asks=[(price + 50, 1.0)], whole=True)


def change(offset: int, number: int | None, before: int | None, price: float = 100.0) -> Book:
    return message(offset, number, bids=[(price, 2.0)], before=before)


async def test_changes_are_claimed_from_the_whole_book_to_the_last_and_not_over_a_gap() -> None:
    kept = Kept()
    kept.take(whole(0, 1), change(5 * MS, 2, 1), change(9 * MS, 3, 2, 101.0))
    await kept.commit()
    # a message is lost, and a whole book comes
    kept.take(change(20 * MS, 5, 4), whole(30 * MS, 9, 90.0), change(40 * MS, 10, 9))
    await kept.commit()

    assert await kept.claims() == [(0, 9 * MS), (30 * MS, 40 * MS)]
    assert await kept.claims(SNAPSHOTS) == [(0, 9 * MS), (30 * MS, 40 * MS)]
    assert await kept.at(8 * MS) == ([(100.0, 2.0)], [(150.0, 1.0)])
    assert await kept.at(35 * MS) == ([(90.0, 1.0)], [(140.0, 1.0)])
    for hole in (-1, 9 * MS, 20 * MS, 40 * MS):
        with pytest.raises(BookUnknown, match="is unknown") as refused:
            await kept.at(hole)
        assert "zvtc gaps" in str(refused.value)


async def test_a_book_voided_by_a_disconnect_claims_nothing_until_it_is_whole() -> None:
    kept = Kept()
    kept.take(whole(0, 1), change(5 * MS, 2, 1))
    kept.feed.disconnected("cut")
    kept.take(change(7 * MS, 3, 2), whole(9 * MS, 4), change(12 * MS, 5, 4))
    await kept.commit()
    assert await kept.claims() == [(0, 5 * MS), (9 * MS, 12 * MS)]


async def test_a_book_that_comes_whole_again_ends_the_claim_on_its_changes_alone() -> None:
    kept = Kept()
    kept.take(*(whole(n * MS, n, 100.0 + n) for n in range(1, 5)), change(6 * MS, 5, 4))
    await kept.commit()

    assert await kept.claims(SNAPSHOTS) == [(MS, 6 * MS)]
    assert await kept.claims() == [(4 * MS, 6 * MS)]
    assert (await kept.at(3 * MS))[0] == [(103.0, 1.0)]
    with pytest.raises(BookUnknown, match="changes are not known from"):
        await kept.at(3 * MS + 1)


async def test_a_book_from_rest_is_stored_at_the_time_of_the_exchange() -> None:
    # given a snapshot of our clock, a minute ahead, and messages from before and after it
    kept = Kept(from_rest=True, overlaps=True)
    kept.take(change(MS, 11, 9), change(2 * MS, 14, 11))
    kept.feed.joined(whole(60_000 * MS, 12))
    await kept.commit()
    assert (await kept.store.series()) == []

    kept.take(change(3 * MS, 17, 14, 101.0), change(4 * MS, 18, 17, 102.0))
    await kept.commit()

    assert await kept.claims() == [(3 * MS, 4 * MS)]
    assert (await kept.at(3 * MS))[0] == [(101.0, 2.0), (100.0, 2.0)]


async def test_a_sign_of_life_proves_time_and_is_no_row() -> None:
    kept = Kept()
    kept.take(whole(0, 7), change(MS, 9, 7), message(60_000 * MS, 9, before=9))
    kept.take(message(120_000 * MS, 9, before=9))
    await kept.commit()

    assert (await kept.store.read(DELTAS, ALL)).num_rows == 1
    assert await kept.claims() == [(0, 120_000 * MS)]
    assert (await kept.at(119_999 * MS))[0] == [(100.0, 2.0)]


async def test_numbers_that_go_back_start_anew_or_are_lacking_never_share_a_key() -> None:
    # given messages of one millisecond whose numbers go back, repeat, and a clock that steps back
    kept = Kept()
    kept.take(
        whole(0, 500), change(MS, 501, 500, 99.0), change(MS, 7, 501, 98.0),
        change(MS, 8, 7, 97.0), change(0, 9, 8, 96.0), whole(MS, 1, 70.0),
        change(MS, 2, 1, 69.0), change(9 * MS, 3, 2, 68.0),
    )  # fmt: skip
    await kept.commit()

    rows = await kept.store.read(DELTAS, ALL)
    assert [one - BASE_US for one in times(rows).tolist()] == [
        MS, MS + 1, MS + 1, MS + 1, MS + 2, 9 * MS,
    ]  # fmt: skip
    assert rows.column("sequence").to_pylist() == [501, 7, 8, 9, 2, 3]
    assert rows.column("prev_sequence").to_pylist() == [500, 501, 7, 8, 1, 2]
    assert (await kept.at(MS))[0] == [(100.0, 1.0), (99.0, 2.0)]
    assert (await kept.at(5 * MS))[0] == [(70.0, 1.0), (69.0, 2.0)]


async def test_without_numbers_time_alone_keeps_the_order() -> None:
    kept = Kept()
    sizes = [(100.0, float(n)) for n in range(1, 6)]
    kept.take(whole(0, None), *(message(MS, None, bids=[one]) for one in sizes))
    kept.take(message(2 * MS, None, bids=[(99.0, 1.0)]))
    await kept.commit()

    rows = await kept.store.read(DELTAS, ALL)
    assert rows.num_rows == 6
    assert set(rows.column("sequence").to_pylist()) == {0}
    assert (await kept.at(MS + 4))[0] == [(100.0, 5.0)]


async def test_where_an_exchange_names_no_number_before_it_is_what_the_book_stood_at() -> None:
    # as Coinbase does, whose numbers are of the connection
    kept = Kept()
    kept.take(whole(0, 3), message(MS, 9, bids=[(99.0, 1.0)]), message(MS, 9, bids=[(98.0, 1.0)]))
    kept.take(message(2 * MS, 15, asks=[(151.0, 1.0)]))
    await kept.commit()

    rows = await kept.store.read(DELTAS, ALL)
    assert rows.column("prev_sequence").to_pylist() == [3, 9, 9]
    assert (await kept.at(MS + 1))[0] == [(100.0, 1.0), (99.0, 1.0), (98.0, 1.0)]


async def test_the_whole_book_is_stored_every_few_minutes_while_messages_come() -> None:
    kept = Kept()
    minute = 60 * US_PER_S
    kept.take(whole(0, 0), *(change(n * minute, n, n - 1, 90.0 + n / 8) for n in range(1, 36)))
    await kept.commit()

    rows = await kept.store.read(SNAPSHOTS, ALL)
    offsets = [one - BASE_US for one in times(rows).tolist()]
    assert offsets == [n * SNAPSHOT_EVERY_US for n in range(4)]
    assert [len(one) for one in rows.column("bid_prices").to_pylist()] == [1, 11, 21, 31]
    assert len((await kept.at(34 * minute))[0]) == 35


async def test_a_crossed_book_is_stored_once_it_is_apart() -> None:
    kept = Kept()
    crossed = message(0, 1, bids=[(100.0, 1.0)], asks=[(99.0, 1.0)], whole=True)
    kept.take(crossed, message(MS, 2, bids=[(98.0, 1.0)], before=1))
    kept.take(message(2 * MS, 3, asks=[(99.0, 0.0), (101.0, 1.0)], before=2))
    kept.take(message(3 * MS, 4, bids=[(97.0, 1.0)], before=3))
    await kept.commit()
    rows = await kept.store.read(SNAPSHOTS, ALL)
    assert [one - BASE_US for one in times(rows).tolist()] == [2 * MS]
    assert await kept.claims() == [(2 * MS, 3 * MS)]


async def test_rows_given_up_are_claimed_by_nobody_and_a_whole_book_begins_anew() -> None:
    # given a store that takes nothing, and a bound that is reached
    kept = Kept()
    kept.take(whole(0, 1), change(MS, 2, 1))
    await kept.commit()
    kept.take(change(2 * MS, 3, 2), change(3 * MS, 4, 3))
    assert kept.keeper.deltas.pending_rows == 2 * 16
    assert kept.feed.pending_rows == 2
    kept.keeper.deltas.drop_pending()
    assert (kept.keeper.deltas.pending_rows, kept.feed.counters.dropped_rows) == (0, 2)

    # when it takes rows again
    kept.take(change(4 * MS, 5, 4, 101.0), change(5 * MS, 6, 5))
    await kept.commit()

    # then the ledger has a hole where rows are lacking
    assert await kept.claims() == [(0, MS), (4 * MS, 5 * MS)]
    assert (await kept.at(4 * MS))[0] == [(101.0, 2.0), (100.0, 2.0)]
    with pytest.raises(BookUnknown):
        await kept.at(2 * MS)


async def test_rows_put_back_are_committed_with_those_that_came_since() -> None:
    kept = Kept()
    kept.take(whole(0, 1), change(MS, 2, 1))
    for feed in kept.keeper.feeds:
        batch = feed.drain()
        assert batch is not None
        feed.put_back(batch)
    kept.take(change(2 * MS, 3, 2))
    await kept.commit()
    assert await kept.claims() == [(0, 2 * MS)]
    assert (await kept.store.read(DELTAS, ALL)).num_rows == 2


async def test_a_chain_with_a_link_missing_is_refused_whatever_the_ledger_says() -> None:
    # given rows of an unbroken book, of which one is lacking in another store
    kept = Kept()
    kept.take(whole(0, 1), *(change(n * MS, n + 1, n, 90.0 + n / 8) for n in range(1, 20)))
    batches = await kept.commit()
    other = MemoryStore()
    for one in batches:
        table = one.table
        if one.series == DELTAS:
            table = table.take([n for n in range(table.num_rows) if n != 7])
        await other.commit([msgspec.structs.replace(one, table=table)])

    assert (await book_at(other, "okx", "BTC-USDT", BASE_US + 7 * MS)).sequence == 8
    with pytest.raises(BookUnknown, match="follows number 9, the book stands at 8"):
        await book_at(other, "okx", "BTC-USDT", BASE_US + 9 * MS)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), numbers=st.sampled_from(["counted", "chained", "none"]))
def test_a_rebuilt_book_is_the_one_that_was_kept_at_every_moment(seed: int, numbers: str) -> None:
    # given a stream with lost messages, cuts, whole books at any time, and commits in between
    chance = Random(seed)
    kept = Kept()

    async def run() -> None:
        offset, number, prices = 0, 10, [50.0 + n / 2 for n in range(40)]
        kept.take(whole(offset, _told(numbers, number)))
        for _ in range(60):
            offset += chance.choice((0, 0, 1, MS, 50 * MS))
            event = chance.random()
            before, number = (
                number,
                number + (1 if numbers == "counted" else chance.randrange(1, 9)),
            )
            if event < 0.04:
                kept.feed.disconnected("cut")
                continue
            if event < 0.08 and numbers != "none":
                number += 20  # messages are lost
                before += 20
            if event < 0.16:
                kept.take(whole(offset, _told(numbers, number), chance.choice(prices)))
                continue
            sides = [
                [
                    (price + shift, chance.choice((0.0, 1.0, 2.5)))
                    for price in chance.sample(prices, chance.randrange(4))
                ]
                for shift in (0.0, 60.0)
            ]
            told = _told(numbers, before) if numbers == "counted" else None
            one = message(offset, _told(numbers, number), bids=sides[0], asks=sides[1], before=told)
            kept.take(one)
            if event > 0.9:
                await kept.commit()
        await kept.commit()
        await judge(kept)

    asyncio.run(run())


def _told(numbers: str, number: int) -> int | None:
    return None if numbers == "none" else number


async def judge(kept: Kept) -> None:
    """Check keys, rows, and the book of every moment the ledger claims."""
    tables = {series: await kept.store.read(series, ALL) for series in (DELTAS, SNAPSHOTS)}
    for series, table in tables.items():
        assert validate_books(table, series.kind, None).table is table
    claims = await kept.claims()
    stood = {moment: (bids, asks) for moment, bids, asks in kept.stood}
    moments = sorted(stood)
    for start, end in claims:
        for moment, later in itertools.pairwise([*moments, moments[-1] + 1]):
            offset = moment - BASE_US
            if start <= offset < end:
                # of several messages of one moment the last counts, until the next one comes
                assert await kept.at(offset) == stood[moment]
                assert await kept.at(min(later - BASE_US, end) - 1) == stood[moment]
    assert claims
    # A whole book is known at its own moment, whatever comes after it.
    lone = times(tables[SNAPSHOTS]).tolist()
    for offset in {claims[0][0] - 1, claims[-1][1]} - {one - BASE_US for one in lone}:
        with pytest.raises(BookUnknown):
            await kept.at(offset)
