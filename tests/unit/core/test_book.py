"""Order books against a naive reference, and the procedures of the four exchanges."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.book import CROSSED_US, BookRule, BookSync, OrderBook, Step
from zvt_crypto.core.record import Book, Level

levels = st.lists(
    st.tuples(st.integers(1, 40).map(lambda n: n / 4), st.integers(0, 5).map(lambda n: n / 2)),
    max_size=12,
)


def message(
    before: int | None,
    after: int | None,
    *,
    bids: Iterable[Level] = (),
    asks: Iterable[Level] = (),
    snapshot: bool = False,
    at: int = 0,
) -> Book:
    return Book(
        exchange="okx",
        symbol="BTC-USDT",
        ts_event=at,
        ts_recv=at,
        is_snapshot=snapshot,
        bids=tuple(bids),
        asks=tuple(asks),
        sequence=after,
        prev_sequence=before,
    )


@given(st.lists(st.tuples(levels, levels), max_size=20))
def test_a_book_is_what_a_dictionary_sorted_each_time_says(
    changes: list[tuple[list[Level], list[Level]]],
) -> None:
    # given a naive reference
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    book = OrderBook()
    for new_bids, new_asks in changes:
        # when both take the same changes
        book.apply(new_bids, new_asks)
        for side, news in ((bids, new_bids), (asks, new_asks)):
            for price, size in news:
                side[price] = size
                if not size:
                    del side[price]
        # then they agree, top and depth
        assert book.bids() == sorted(bids.items(), reverse=True)
        assert book.asks() == sorted(asks.items())
        assert book.bids(3) == sorted(bids.items(), reverse=True)[:3]
        assert book.asks(3) == sorted(asks.items())[:3]
        assert book.best_bid == max(bids.items(), default=None)
        assert book.best_ask == min(asks.items(), default=None)
        assert len(book) == len(bids) + len(asks)
        assert book.is_crossed == bool(bids and asks and max(bids) >= min(asks))


@given(levels, levels)
def test_a_replaced_book_has_nothing_of_before(before: list[Level], after: list[Level]) -> None:
    book = OrderBook()
    book.apply(before, before)
    book.replace(after, after)
    fresh = OrderBook()
    fresh.replace(after, after)
    assert (book.bids(), book.asks()) == (fresh.bids(), fresh.asks())


@given(st.integers(0, 2**32))
def test_a_deep_book_is_right_near_the_top_and_far_from_it(seed: int) -> None:
    # given a book of a thousand levels a side, whose top is eaten away and grows again
    chance = random.Random(seed)
    bids = {1_000.0 - n: 1.0 for n in range(1_000)}
    asks = {1_001.0 + n: 1.0 for n in range(1_000)}
    book = OrderBook()
    book.replace(bids.items(), asks.items())
    for _ in range(60):
        # when changes come, most of them far away, some in runs from the top
        middle = chance.choice((0, 0, 5, 300, 900))
        news = [(1_000.0 - middle - n, chance.choice((0.0, 0.0, 2.0))) for n in range(40)]
        others = [(1_001.0 + middle + n, chance.choice((0.0, 3.0))) for n in range(40)]
        book.apply(news, others)
        for side, changes in ((bids, news), (asks, others)):
            for price, size in changes:
                side[price] = size
                if not size:
                    del side[price]
        # then the top and any depth are those of the naive reference
        assert book.best_bid == max(bids.items(), default=None)
        assert book.best_ask == min(asks.items(), default=None)
        assert book.bids(50) == sorted(bids.items(), reverse=True)[:50]
        assert book.asks(200) == sorted(asks.items())[:200]
    assert book.bids() == sorted(bids.items(), reverse=True)
    assert book.asks() == sorted(asks.items())


def test_a_book_is_bounded_and_keeps_the_top() -> None:
    book = OrderBook(max_levels=10)
    book.apply([(float(n), 1.0) for n in range(1, 101)], [(float(n), 1.0) for n in range(101, 201)])
    assert [price for price, _ in book.bids()] == [float(n) for n in range(100, 90, -1)]
    assert [price for price, _ in book.asks()] == [float(n) for n in range(101, 111)]


def test_a_chain_is_followed_a_keep_alive_and_a_reset_are_no_gaps() -> None:
    # given a book of a snapshot, as OKX sends it
    sync = BookSync()
    assert sync.take(message(None, 100, snapshot=True, bids=[(5.0, 1.0)])) is Step.REPLACED
    # when updates follow, one without change, one that restarts the count
    assert sync.take(message(100, 112, asks=[(6.0, 1.0)])) is Step.APPLIED
    assert sync.take(message(112, 112)) is Step.APPLIED
    assert sync.take(message(112, 3, bids=[(4.0, 1.0)])) is Step.APPLIED
    assert sync.take(message(3, 7)) is Step.APPLIED
    # then all were applied
    assert sync.sequence == 7
    assert sync.book.bids() == [(5.0, 1.0), (4.0, 1.0)]


def test_a_lost_message_voids_the_book_until_a_snapshot() -> None:
    sync = BookSync()
    sync.take(message(None, 100, snapshot=True, bids=[(5.0, 1.0)]))
    assert sync.take(message(101, 102, bids=[(5.5, 1.0)])) is Step.GAP
    assert not sync.is_synced
    assert len(sync.book) == 0
    assert sync.take(message(102, 103)) is Step.WAITING
    # a snapshot at 102 joins the message kept after it
    assert sync.join(message(None, 102, snapshot=True, bids=[(7.0, 1.0)])) is Step.REPLACED
    assert sync.sequence == 103
    assert sync.book.best_bid == (7.0, 1.0)


def test_a_message_from_before_the_book_is_ignored() -> None:
    sync = BookSync()
    sync.take(message(None, 100, snapshot=True))
    assert sync.take(message(98, 99, bids=[(5.0, 1.0)])) is Step.STALE
    assert sync.take(message(99, 100, bids=[(5.0, 1.0)])) is Step.STALE
    assert len(sync.book) == 0


@pytest.mark.parametrize("overlaps", [True, False])
def test_joining_a_rest_snapshot_drops_what_it_has_and_bridges_the_first(overlaps: bool) -> None:
    # given updates kept while the snapshot was fetched, as on both of Binance's markets
    sync = BookSync(BookRule(overlaps=overlaps))
    for before, after in ((10, 20), (20, 30), (30, 40)):
        assert sync.take(message(before, after, bids=[(float(after), 1.0)])) is Step.WAITING
    # when the snapshot is from the middle of the second
    assert sync.join(message(None, 25, snapshot=True, bids=[(25.0, 1.0)])) is Step.REPLACED
    # then the first is dropped, the others applied
    assert [price for price, _ in sync.book.bids()] == [40.0, 30.0, 25.0]
    assert sync.sequence == 40


def test_a_snapshot_older_than_what_was_kept_is_refused() -> None:
    sync = BookSync()
    sync.take(message(10, 20))
    assert sync.join(message(None, 5, snapshot=True)) is Step.TOO_OLD
    assert not sync.is_synced
    assert sync.join(message(None, 10, snapshot=True)) is Step.REPLACED
    assert sync.sequence == 20


def test_kept_messages_that_do_not_follow_one_another_are_a_gap() -> None:
    sync = BookSync()
    sync.take(message(10, 20))
    sync.take(message(25, 30))
    assert sync.join(message(None, 15, snapshot=True)) is Step.GAP
    assert not sync.is_synced
    # what was kept from the gap on waits for a newer snapshot
    assert sync.join(message(None, 26, snapshot=True)) is Step.REPLACED
    assert sync.sequence == 30


def test_after_a_join_the_first_message_may_begin_before_the_snapshot_the_next_may_not() -> None:
    sync = BookSync()
    assert sync.join(message(None, 25, snapshot=True)) is Step.REPLACED
    assert sync.take(message(20, 30)) is Step.APPLIED
    assert sync.take(message(29, 40)) is Step.GAP


def test_spot_updates_may_overlap() -> None:
    sync = BookSync(BookRule(overlaps=True))
    sync.take(message(None, 25, snapshot=True))
    assert sync.take(message(20, 30)) is Step.APPLIED
    assert sync.take(message(28, 40)) is Step.APPLIED
    assert sync.take(message(41, 50)) is Step.GAP


def test_a_book_without_numbers_takes_all() -> None:
    sync = BookSync()
    sync.take(message(None, None, snapshot=True))
    assert sync.take(message(None, None, bids=[(1.0, 1.0)])) is Step.APPLIED


def test_a_book_crossed_for_long_is_void_a_moment_is_no_harm() -> None:
    sync = BookSync()
    sync.take(message(None, 1, snapshot=True, bids=[(5.0, 1.0)], asks=[(6.0, 1.0)]))
    assert sync.take(message(1, 2, bids=[(7.0, 1.0)], at=10)) is Step.APPLIED
    assert sync.take(message(2, 3, bids=[(7.0, 0.0)], at=20)) is Step.APPLIED
    assert sync.take(message(3, 4, bids=[(7.0, 1.0)], at=30)) is Step.APPLIED
    assert sync.take(message(4, 5, at=30 + CROSSED_US)) is Step.CROSSED
    assert not sync.is_synced


def test_what_waits_is_bounded_and_a_snapshot_must_then_be_newer() -> None:
    sync = BookSync(BookRule(keeps=3))
    for at in range(10):
        sync.take(message(at, at + 1))
    assert sync.kept == 3
    assert sync.join(message(None, 5, snapshot=True)) is Step.TOO_OLD
    assert sync.join(message(None, 8, snapshot=True)) is Step.REPLACED
    assert sync.sequence == 10
