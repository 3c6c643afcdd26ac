"""Exact counting: ids against a naive count, sums without rounding, books by the procedures."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import Book, Side, Trade
from zvt_crypto.ports.recording import BASE_UNITS, Contract, RestBook
from zvt_crypto.services.journal.tally.book import BookTally, ExactBook
from zvt_crypto.services.journal.tally.ident import Ids
from zvt_crypto.services.journal.tally.number import plain
from zvt_crypto.services.journal.tally.trade import TradeTally


def D(text: str) -> Any:  # noqa: N802 - a decimal in a record, as an exact parser makes it
    return Decimal(text)


@given(st.lists(st.integers(0, 60), max_size=80))
def test_ids_are_counted_as_a_naive_count_does(numbers: list[int]):
    ids = Ids()
    gaps = missing = late = 0
    high: int | None = None
    for number in numbers:
        ids.add(str(number))
        if high is not None and number > high + 1:
            gaps += 1
            missing += number - high - 1
        late += high is not None and number < high
        high = number if high is None else max(high, number)
    assert (ids.count, ids.duplicates) == (len(numbers), len(numbers) - len(set(numbers)))
    assert (ids.gaps, ids.missing, ids.out_of_order) == (gaps, missing, late)
    assert (ids.first, ids.last) == ((numbers[0], high) if numbers else (None, None))
    if numbers:
        assert (ids.low, ids.high) == (min(numbers), max(numbers))
        assert ids.absent == max(numbers) - min(numbers) + 1 - len(set(numbers))


def test_ids_that_are_no_numbers_are_counted_too():
    ids = Ids()
    for one in ("b-1", "a-1", "b-1"):
        ids.add(one)
    assert (ids.first, ids.last, ids.duplicates) == ("b-1", "b-1", 1)
    assert ids.low is ids.high is ids.absent is None


def trade(price: str, size: str, number: int, side: Side = Side.BUY) -> Trade:
    return Trade("x", "A", number, 0, number, D(price), D(size), side)


@given(st.lists(st.tuples(st.integers(1, 10**14), st.integers(1, 10**14)), min_size=1, max_size=50))
def test_sums_are_exact_and_shown_plain(rows: list[tuple[int, int]]):
    tally = TradeTally()
    for number, (price, size) in enumerate(rows):
        tally.add(trade(f"{price}E-10", f"{size}E-8", number))
    found = tally.result(BASE_UNITS)
    assert Fraction(found["sum_size"]) * 10**8 == sum(size for _, size in rows)
    value = sum(price * size for price, size in rows)
    assert Fraction(found["sum_price_times_quantity"]) * 10**18 == value
    assert "E" not in found["sum_size"] + found["sum_price_times_quantity"]


def test_sizes_become_base_units_by_what_a_contract_is_worth():
    tally = TradeTally()
    tally.add(trade("50000", "3", 1))
    tally.add(trade("25000", "1", 2, Side.SELL))
    assert tally.result(Contract(Decimal("0.01")))["sum_size"] == "0.04"
    assert tally.result(Contract(Decimal(100), is_inverse=True))["sum_size"] == "0.01"
    unknown = tally.result(None)
    assert unknown["sum_size"] is None
    assert "contracts" in unknown["sum_size_reason"]
    assert unknown["sum_size_native"] == "4"


@pytest.mark.parametrize("text", ["0.00000045", "61685.99000000", "100", "0.10", "1000000000000"])
def test_numbers_are_shown_as_the_wire_spells_them(text: str):
    assert plain(Decimal(text)) == text


def book(
    *, last: int | None = None, first: int | None = None, prev: int | None = None, **more: Any
) -> Book:
    levels: dict[str, Any] = {"bids": (), "asks": (), "is_snapshot": False} | more
    return Book(
        exchange="x",
        symbol="A",
        ts_event=1,
        ts_recv=1,
        sequence=last,
        first_sequence=first,
        prev_sequence=prev,
        **levels,
    )


def levels(*pairs: tuple[str, str]) -> tuple[tuple[Any, Any], ...]:
    return tuple((D(price), D(size)) for price, size in pairs)


# Test vectors of the exchange's documentation and of its own recordings.
@pytest.mark.parametrize(
    ("bids", "asks", "checksum"),
    [
        (
            levels(("3366.1", "7"), ("3366", "6")),
            levels(("3366.8", "9"), ("3368", "8")),
            -1881014294,
        ),
        (levels(("3366.1", "7")), levels(("3366.8", "9"), ("3368", "8"), ("3372", "8")), 831078360),
    ],
)
def test_the_checksum_of_okx(bids: Any, asks: Any, checksum: int):
    held = ExactBook()
    held.replace(bids, asks)
    assert held.checksum() == checksum


def test_checksums_are_verified_failed_or_zero():
    tally = BookTally()
    sides: dict[str, Any] = {
        "bids": levels(("3366.1", "7"), ("3366", "6")),
        "asks": levels(("3366.8", "9"), ("3368", "8")),
    }
    tally.add(book(is_snapshot=True, **sides), -1881014294)
    tally.add(book(), -1881014294)
    tally.add(book(), 1)
    tally.add(book(), 0)
    found = tally.result()
    assert found["checksums_verified"] == 2
    assert found["checksums_failed"] == found["checksums_zero"] == 1


def test_changes_without_a_snapshot_have_no_book_and_say_why():
    tally = BookTally()
    tally.add(book(last=5, first=3, prev=2, bids=levels(("1", "1"))))
    tally.add(book(last=9, first=7, prev=6))
    found = tally.result()
    assert found["final_book"] is None
    assert "no REST reply" in found["final_book_reason"]
    assert (found["continuity_breaks"], found["first_sequence"], found["last_sequence"]) == (
        1,
        3,
        9,
    )


def test_a_reset_of_the_count_that_follows_is_neither_break_nor_disorder():
    tally = BookTally()
    tally.add(book(is_snapshot=True, last=100))
    tally.add(book(last=100, prev=100))  # nothing changed, the exchange says so
    tally.add(book(last=3, prev=100))  # maintenance
    tally.add(book(last=4, prev=3))
    found = tally.result()
    assert (found["continuity_breaks"], found["out_of_order"], found["last_sequence"]) == (0, 0, 4)


def rest(market: Market, update: int) -> RestBook:
    return RestBook(market, "A", update, levels(("10", "1"), ("9", "1")), levels(("11", "1")))


def test_spot_changes_join_a_snapshot_by_the_published_procedure():
    tally = BookTally([rest(Market.SPOT, 100)])
    tally.add(book(first=95, last=100, prev=94, bids=levels(("10", "5"))))  # older: dropped
    tally.add(book(first=101, last=103, prev=100, bids=levels(("10", "0"))))
    tally.add(book(first=104, last=104, prev=103, asks=levels(("10.5", "2"))))
    found = tally.result()
    joined = found["replay_on_rest_snapshot"]
    assert (joined["dropped_before_snapshot"], joined["applied"]) == (1, 2)
    assert joined["first_event_bridges_snapshot"] is True
    assert joined["gaps_while_applying"] == 0
    assert found["final_book"]["best_bid"] == ["9", "1"]
    assert found["final_book"]["best_ask"] == ["10.5", "2"]
    assert (found["final_book"]["bid_levels"], found["final_book"]["ask_levels"]) == (1, 2)


def test_futures_keep_the_change_that_ends_at_the_snapshot():
    tally = BookTally([rest(Market.LINEAR, 100)])
    tally.add(book(first=90, last=99, prev=89))
    tally.add(book(first=95, last=100, prev=99, bids=levels(("10", "5"))))
    tally.add(book(first=140, last=150, prev=120))
    joined = tally.result()["replay_on_rest_snapshot"]
    assert (joined["dropped_before_snapshot"], joined["applied"]) == (1, 2)
    assert joined["first_event_bridges_snapshot"] is True
    assert joined["gaps_while_applying"] == 1
    assert joined["final_book"]["best_bid"] == ["10", "5"]


def test_of_several_snapshots_the_first_that_is_late_enough_is_joined():
    old, new = rest(Market.SPOT, 50), rest(Market.SPOT, 101)
    tally = BookTally([new, old])
    tally.add(book(first=90, last=99, prev=89))
    tally.add(book(first=100, last=104, prev=99))
    joined = tally.result()["replay_on_rest_snapshot"]
    assert joined["snapshot_last_update_id"] == 101
    assert joined["first_event_bridges_snapshot"] is True


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=60
    )
)
def test_a_book_is_what_a_naive_one_is(changes: list[tuple[bool, int, int]]):
    tally = BookTally()
    tally.add(book(is_snapshot=True))
    naive: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for is_bid, price, size in changes:
        side = ((D(f"{price}.0"), D(str(size))),)
        tally.add(book(bids=side if is_bid else (), asks=() if is_bid else side))
        naive[not is_bid][price] = size
    bids, asks = ({p: s for p, s in side.items() if s} for side in naive)
    found = tally.result()["final_book"]
    assert (found["bid_levels"], found["ask_levels"]) == (len(bids), len(asks))
    assert found["best_bid"] == ([f"{max(bids)}.0", str(bids[max(bids)])] if bids else None)
    assert found["best_ask"] == ([f"{min(asks)}.0", str(asks[min(asks)])] if asks else None)
    assert Decimal(found["bid_quantity_total"]) == sum(bids.values())
