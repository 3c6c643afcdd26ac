"""Feeds of trades: order, gaps, what waits, and what the ledger is told."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_hub import BASE_US, INSTRUMENT, SERIES, StubHub, rows, seen, trade

from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Disconnected, Gap, GapRepaired, GapUnrecoverable, Trade
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Feed, OpenGap, Place
from zvt_crypto.services.stream.trades import CountedTradeFeed, UncountedTradeFeed


def counted(hub: StubHub) -> CountedTradeFeed:
    return CountedTradeFeed(SERIES, INSTRUMENT, Place("spot", "btcusdt@aggTrade"), hub)


def uncounted(hub: StubHub) -> UncountedTradeFeed:
    return UncountedTradeFeed(SERIES, INSTRUMENT, Place("spot", "publicTrade.BTCUSDT"), hub)


def shape(records: list[Any]) -> list[Any]:
    """Return ids of trades and names of control records, in order."""
    return [r.trade_id if isinstance(r, Trade) else type(r).__name__ for r in records]


def claims(feed: Feed) -> list[tuple[int, int, Verdict]]:
    batch = feed.drain()
    return [(f.start, f.end, f.verdict) for f in batch.findings] if batch else []


def test_trades_in_order_pass_and_are_claimed_up_to_the_newest() -> None:
    feed = counted(StubHub())
    got = seen(feed)
    for number in range(5):
        feed.take(trade(number))
    assert shape(got) == [0, 1, 2, 3, 4]
    batch = feed.drain()
    assert batch is not None
    assert batch.table.num_rows == 5
    # the moment of the first and of the newest may hold other trades
    assert [(f.start, f.end, f.verdict) for f in batch.findings] == [
        (BASE_US + 1, BASE_US + 4_000, Verdict.OBSERVED)
    ]
    assert feed.drain() is None


def test_what_comes_twice_is_given_once() -> None:
    feed = counted(StubHub())
    got = seen(feed)
    for number in (0, 1, 1, 0, 2, 2):
        feed.take(trade(number))
    assert shape(got) == [0, 1, 2]
    assert feed.counters.repeated == 3


def test_a_late_trade_is_put_in_order_and_is_no_gap() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    for number in (0, 2, 3, 1, 4):
        feed.take(trade(number))
    hub.advance(feed, 1)
    assert shape(got) == [0, 1, 2, 3, 4]
    assert not hub.gaps
    assert feed.counters.gaps == 0


def test_a_gap_is_announced_repaired_and_closed_in_order() -> None:
    # given trades 2 and 3 that did not come
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    for number in (0, 1, 4, 5):
        feed.take(trade(number))
    hub.advance(feed, 0.3)
    gap = hub.gaps[0]
    assert (gap.first_id, gap.last_id, gap.reason) == (2, 3, "ids")
    assert claims(feed) == [
        (BASE_US + 1, BASE_US + 1_000, Verdict.OBSERVED),
        (BASE_US + 1_000, BASE_US + 4_001, Verdict.MISSING),
    ]
    # when more come meanwhile, and the repair brings the range with what is around it
    feed.take(trade(6))
    assert shape(got) == [0, 1, "Gap"]
    feed.mended(gap, rows(*map(trade, range(1, 5))), is_whole=True, detail="")
    # then the consumer sees all, once, in order
    assert shape(got) == [0, 1, "Gap", 2, 3, "GapRepaired", 4, 5, 6]
    closed = got[5]
    assert isinstance(closed, GapRepaired)
    assert closed.rows == 2
    assert claims(feed) == [(BASE_US + 4_001, BASE_US + 6_000, Verdict.OBSERVED)]


def test_trades_that_come_late_on_the_socket_close_the_gap_themselves() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    feed.take(trade(0))
    feed.take(trade(3))
    hub.advance(feed, 0.3)
    feed.take(trade(2))
    feed.take(trade(1))
    assert shape(got) == [0, "Gap", 1, 2, "GapRepaired", 3]
    # the repair under way finds nothing left to do
    feed.mended(hub.gaps[0], rows(trade(1), trade(2)), is_whole=True, detail="")
    assert shape(got) == [0, "Gap", 1, 2, "GapRepaired", 3]


def test_a_gap_the_exchange_cannot_fill_is_said_so_and_the_rest_goes_on() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    for number in (0, 5, 6):
        feed.take(trade(number))
    hub.advance(feed, 0.3)
    feed.mended(hub.gaps[0], rows(trade(0), trade(2)), is_whole=False, detail="too old")
    feed.take(trade(7))
    assert shape(got) == [0, "Gap", 2, "GapUnrecoverable", 5, 6, 7]
    lost = got[3]
    assert isinstance(lost, GapUnrecoverable)
    assert lost.detail == "too old"


def test_two_holes_are_two_gaps_one_after_the_other() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    for number in (0, 2, 4):
        feed.take(trade(number))
    hub.advance(feed, 0.3)
    feed.mended(hub.gaps[0], rows(trade(1)), is_whole=True, detail="")
    hub.advance(feed, 0.3)
    feed.mended(hub.gaps[1], rows(trade(3)), is_whole=True, detail="")
    assert shape(got) == [0, "Gap", 1, "GapRepaired", 2, "Gap", 3, "GapRepaired", 4]


@pytest.mark.parametrize("by", ["time", "number"])
def test_what_waits_too_long_goes_on_and_the_repaired_come_late(by: str) -> None:
    hub = StubHub(StreamConfig(hold_s=5.0, hold_records=10))
    feed = counted(hub)
    got = seen(feed)
    for number in (0, 2, 3):
        feed.take(trade(number))
    hub.advance(feed, 0.3)
    gap = hub.gaps[0]
    if by == "number":
        for number in range(4, 14):
            feed.take(trade(number))
        hub.advance(feed, 0.1)
    else:
        hub.advance(feed, 6)
    assert shape(got)[:4] == [0, "Gap", 2, 3]
    feed.mended(gap, rows(trade(1)), is_whole=True, detail="")
    assert shape(got)[-2:] == [1, "GapRepaired"]
    # and trades that follow are claimed behind the gap, never over it
    feed.take(trade(int(shape(got)[-3]) + 1))
    assert all(
        end <= gap.start or start >= gap.end
        for start, end, verdict in claims(feed)
        if verdict is Verdict.OBSERVED
    )


def test_a_disconnect_that_lost_nothing_is_no_gap_one_that_did_is_named_so() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    feed.take(trade(0))
    feed.disconnected("cut")
    feed.take(trade(1))
    hub.advance(feed, 1)
    assert not hub.gaps
    feed.disconnected("cut")
    feed.take(trade(5))
    hub.advance(feed, 1)
    assert hub.gaps[0].reason == "disconnect"
    assert shape(got) == [0, "Disconnected", 1, "Disconnected", "Gap"]
    assert isinstance(got[1], Disconnected)


def test_a_restart_goes_on_where_the_store_ended() -> None:
    hub = StubHub()
    feed = counted(hub)
    feed.resume_at(trade(10), BASE_US + 10_000)
    feed.take(trade(11))
    assert claims(feed) == [(BASE_US + 10_000, BASE_US + 11_000, Verdict.OBSERVED)]
    other = counted(hub)
    other.resume_at(trade(10), BASE_US + 10_000)
    other.take(trade(20))
    hub.advance(other, 1)
    assert (hub.gaps[0].first_id, hub.gaps[0].last_id, hub.gaps[0].reason) == (11, 19, "restart")


def test_what_a_silent_feed_missed_is_a_gap_without_an_end_yet() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    feed.take(trade(0))
    feed.missed(BASE_US + 3_000, "stale")
    gap = hub.gaps[0]
    assert (gap.first_id, gap.last_id) == (1, None)
    assert (gap.start, gap.end) == (BASE_US, BASE_US + 3_001)
    # the feed comes back in the middle of the repair, two trades later
    feed.take(trade(6))
    feed.mended(gap, rows(*map(trade, range(4))), is_whole=True, detail="")
    assert shape(got) == [0, "Gap", 1, 2, 3, "GapRepaired"]
    hub.advance(feed, 0.3)
    feed.mended(hub.gaps[1], rows(trade(4), trade(5)), is_whole=True, detail="")
    assert shape(got)[6:] == ["Gap", 4, 5, "GapRepaired", 6]


@given(st.integers(0, 2**32), st.integers(5, 60))
def test_whatever_is_lost_repeated_or_late_the_consumer_sees_all_once_in_order(
    seed: int, count: int
) -> None:
    # given a stream that loses, repeats and shuffles
    chance = random.Random(seed)
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    sent = [n for n in range(count) if n in (0, count - 1) or chance.random() > 0.3]
    sent = [n for n in sent for _ in range(1 + (chance.random() < 0.2))]
    for at in range(1, len(sent) - 3):
        if chance.random() < 0.2:
            sent[at], sent[at + 1] = sent[at + 1], sent[at]
    # when all gaps are repaired, some at once, some later
    for number in sent:
        feed.take(trade(number))
        if chance.random() < 0.3:
            hub.advance(feed, 0.3)
        if hub.gaps and chance.random() < 0.5:
            mend(feed, hub.gaps.pop(0))
    for _ in range(2 * count):
        hub.advance(feed, 0.3)
        if hub.gaps:
            mend(feed, hub.gaps.pop(0))
    # then nothing is lost, nothing twice, and every gap was closed
    ids = [r.trade_id for r in got if isinstance(r, Trade)]
    assert ids == list(range(count))
    assert sum(isinstance(r, Gap) for r in got) == sum(isinstance(r, GapRepaired) for r in got)


def mend(feed: CountedTradeFeed, gap: OpenGap) -> None:
    first, last = gap.first_id, gap.last_id
    assert first is not None
    assert last is not None
    feed.mended(gap, rows(*map(trade, range(first - 1, last + 2))), is_whole=True, detail="")


def test_uncounted_trades_pass_once_and_a_break_is_always_a_gap() -> None:
    hub = StubHub()
    feed = uncounted(hub)
    got = seen(feed)
    for name in ("a", "b", "b", "c"):
        feed.take(trade(ord(name), trade_id=name))
    assert shape(got) == ["a", "b", "c"]
    feed.disconnected("cut")
    feed.take(trade(ord("f"), trade_id="f"))
    feed.take(trade(ord("g"), trade_id="g"))
    gap = hub.gaps[0]
    # no audit has looked at what came behind the first
    first_us = BASE_US + ord("a") * 1_000
    assert (gap.start, gap.end) == (first_us + 1, BASE_US + ord("f") * 1_000 + 1)
    assert shape(got) == ["a", "b", "c", "Disconnected", "Gap"]
    found = [trade(ord(name), trade_id=name) for name in "cdef"]
    feed.mended(gap, rows(*found), is_whole=True, detail="")
    assert shape(got)[5:] == ["d", "e", "f", "GapRepaired", "g"]
    closed = got[8]
    assert isinstance(closed, GapRepaired)
    assert closed.rows == 2


def test_uncounted_rows_behind_the_last_audit_are_asked_for_again_after_a_restart() -> None:
    # given a store with rows up to `c`, of which the ledger claims those before `b`
    hub = StubHub()
    feed = uncounted(hub)
    claimed_us = BASE_US + ord("b") * 1_000
    feed.resume_at(trade(ord("c"), trade_id="c"), claimed_us)

    # when the first trade comes
    feed.take(trade(ord("f"), trade_id="f"))

    # then the gap begins where the claims end, so that the ledger has no hole
    (gap,) = hub.gaps
    assert (gap.start, gap.end) == (claimed_us, BASE_US + ord("f") * 1_000 + 1)
    batch = feed.drain()
    assert batch is not None
    assert [one.start for one in batch.findings] == [claimed_us]


def test_a_doubt_about_uncounted_trades_brings_what_was_not_seen() -> None:
    hub = StubHub()
    feed = uncounted(hub)
    got = seen(feed)
    for name in "ad":
        feed.take(trade(ord(name), trade_id=name))
    feed.doubt(BASE_US + ord("a") * 1_000, BASE_US + ord("d") * 1_000 + 1, "candles")
    found = [trade(ord(name), trade_id=name) for name in "abcd"]
    feed.mended(hub.gaps[0], rows(*found), is_whole=True, detail="")
    assert shape(got) == ["a", "d", "Gap", "b", "c", "GapRepaired"]


def test_rows_the_store_never_took_become_a_gap() -> None:
    hub = StubHub()
    feed = counted(hub)
    got = seen(feed)
    for number in range(10):
        feed.take(trade(number))
    batch = feed.drain()
    assert batch is not None
    feed.put_back(batch)
    feed.take(trade(10))
    feed.drop_pending()
    assert feed.pending_rows == 0
    assert feed.counters.dropped_rows == 11
    assert shape(got)[-1] == "Gap"
    assert claims(feed) == [(BASE_US + 1, BASE_US + 10_001, Verdict.MISSING)]


def test_a_batch_put_back_goes_first() -> None:
    hub = StubHub()
    feed = counted(hub)
    for number in range(3):
        feed.take(trade(number))
    batch = feed.drain()
    assert batch is not None
    feed.put_back(batch)
    feed.take(trade(3))
    again = feed.drain()
    assert again is not None
    assert again.table.column("trade_id").to_pylist() == ["0", "1", "2", "3"]
    assert [f.start for f in again.findings] == [BASE_US + 1, BASE_US + 2_000]


def test_a_break_during_a_repair_is_a_gap_of_its_own() -> None:
    # given uncounted trades and a gap under repair
    hub = StubHub()
    feed = uncounted(hub)
    got = seen(feed)
    feed.take(trade(ord("a"), trade_id="a"))
    feed.disconnected("cut")
    feed.take(trade(ord("d"), trade_id="d"))
    # when the connection is lost again before it is closed
    feed.disconnected("cut")
    feed.take(trade(ord("g"), trade_id="g"))
    first = [trade(ord(name), trade_id=name) for name in "abcd"]
    feed.mended(hub.gaps[0], rows(*first), is_whole=True, detail="")
    # then the second break is not taken for whole
    second = hub.gaps[1]
    assert (second.start, second.end) == (
        BASE_US + ord("d") * 1_000,
        BASE_US + ord("d") * 1_000 + 1,
    )
    hub.gaps.clear()
    feed.mended(second, rows(first[3]), is_whole=True, detail="")
    assert [r for r in shape(got) if len(r) == 1] == ["a", "b", "c", "d", "g"]


def test_an_uncounted_trade_that_only_we_have_is_refused_once_two_audits_lack_it() -> None:
    # given a trade `x` that came instead of `b`
    hub = StubHub()
    feed = uncounted(hub)
    got = seen(feed)
    for name, trade_id in (("a", "a"), ("b", "x"), ("c", "c"), ("d", "d")):
        feed.take(trade(ord(name), trade_id=trade_id))
    moment = {name: BASE_US + ord(name) * 1_000 for name in "abcde"}
    asked = Range(moment["a"], moment["d"])
    found = rows(*(trade(ord(name), trade_id=name) for name in "abc"))

    # when an audit finds `b` lacking, it is repaired; `x` is doubted, and nothing behind it claimed
    feed.audited(asked, found)
    feed.mended(hub.gaps[0], found, is_whole=True, detail="")
    assert shape(got) == ["a", "x", "c", "d", "Gap", "b", "GapRepaired"]
    assert feed.audited_us == moment["b"]
    assert not hub.gaps[0].is_refuted

    # when the next does not know `x` either
    feed.audited(Range(moment["b"], moment["d"]), found)

    # then its moment is taken out and loaded anew, and `x` is in the quarantine
    refuted = hub.gaps[1]
    assert (refuted.start, refuted.end) == (moment["b"], moment["b"] + 1)
    assert refuted.is_refuted
    batch = feed.drain()
    assert batch is not None
    assert [(one.timestamp_us, one.reason, one.raw) for one in batch.rejected] == [
        (moment["b"], "unknown_id", "x")
    ]
    feed.mended(refuted, found.slice(1, 1), is_whole=True, detail="")

    # and a third audit finds nothing to do
    feed.audited(Range(moment["b"], moment["d"]), found)
    assert len(hub.gaps) == 2
    assert feed.audited_us == moment["d"]
    assert shape(got)[-2:] == ["Gap", "GapRepaired"]


def test_an_uncounted_trade_that_rest_has_a_moment_later_is_kept() -> None:
    hub = StubHub()
    feed = uncounted(hub)
    for name in "abc":
        feed.take(trade(ord(name), trade_id=name))
    asked = Range(BASE_US + ord("a") * 1_000, BASE_US + ord("c") * 1_000)
    feed.audited(asked, rows(trade(ord("a"), trade_id="a")))
    assert feed.audited_us == BASE_US + ord("b") * 1_000
    feed.audited(asked, rows(*(trade(ord(name), trade_id=name) for name in "ab")))
    assert not hub.gaps
    assert feed.audited_us == asked.end
