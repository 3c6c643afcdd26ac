"""Feeds of books: whose messages count while two sockets carry one book."""

import pytest
from stream_hub import BASE_US, INSTRUMENT, StubHub, seen

from zvt_crypto.core.book import BookRule
from zvt_crypto.core.record import Book, BookReset
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.feed import Place

OLD, FRESH = "the old socket", "the fresh socket"
SERIES = Series("okx", "BTC-USDT", Kind.BOOK)


def feed_of(asked: list[BookFeed]) -> BookFeed:
    return BookFeed(
        SERIES, INSTRUMENT, Place("public", "books:BTC-USDT"), StubHub(),
        rule=BookRule(), from_rest=False, renew=asked.append,
    )  # fmt: skip


def message(number: int, price: float, *, is_snapshot: bool = False) -> Book:
    moment = BASE_US + number * 1_000
    asks = [(price + 50, 1.0)] if is_snapshot else []
    return Book(
        exchange="okx", symbol="BTC-USDT", ts_event=moment, ts_recv=moment,
        is_snapshot=is_snapshot, bids=[(price, 1.0)], asks=asks,
        sequence=number, prev_sequence=None if is_snapshot else number - 1,
    )  # fmt: skip


@pytest.mark.parametrize("last", [2, 3], ids=["the same place", "one message further"])
def test_a_book_goes_on_when_the_socket_of_its_last_snapshot_is_gone(last: int) -> None:
    # given two sockets of a rotation, and a snapshot of the old one that came last
    asked: list[BookFeed] = []
    feed = feed_of(asked)
    got = seen(feed)
    feed.take_from(FRESH, message(1, 100.0, is_snapshot=True))
    feed.take_from(OLD, message(1, 100.0, is_snapshot=True))
    feed.take_from(FRESH, message(2, 101.0))
    assert feed.counters.repeated == 1
    for number in range(2, last + 1):
        feed.take_from(OLD, message(number, 99.0 + number))

    # when the old one is gone
    feed.left(OLD)
    for number in range(3, 6):
        feed.take_from(FRESH, message(number, 99.0 + number))

    # then the fresh one's messages count, as far as they follow
    assert feed.sync.sequence == 5
    assert feed.sync.book.best_bid == (104.0, 1.0)
    assert not any(isinstance(one, BookReset) for one in got)
    assert asked == []


def test_a_book_begins_anew_when_the_socket_that_is_left_does_not_follow() -> None:
    asked: list[BookFeed] = []
    feed = feed_of(asked)
    got = seen(feed)
    feed.take_from(OLD, message(1, 100.0, is_snapshot=True))
    feed.left(OLD)
    feed.take_from(FRESH, message(5, 101.0))
    assert asked == [feed]
    assert isinstance(got[-1], BookReset)
    feed.take_from(FRESH, message(6, 102.0, is_snapshot=True))
    assert feed.sync.book.best_bid == (102.0, 1.0)
