"""Books, quotes and open interest."""

from typing import Any

import pytest
from bybit_world import INVERSE, LINEAR, NOW_US, SPOT, as_bytes, wrap
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.bybit.parse import parse_book, parse_open_interest, parse_quotes
from zvt_crypto.core.errors import CryptoError, MalformedPayload, UnknownSymbol
from zvt_crypto.core.instrument import Instrument

BOOK: dict[str, Any] = {
    "s": "BTCUSDT",
    "b": [["50000", "1.5"], ["49999.5", "2"]],
    "a": [["50001", "1.2"], ["50001.5", "3"]],
    "ts": 1_709_891_679_000,
    "u": 1_234_567,
    "seq": 9_876_543,
    "cts": 1_709_891_678_998,
}
TICKER: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "bid1Price": "50000",
    "bid1Size": "1.5",
    "ask1Price": "50001",
    "ask1Size": "1.2",
    "markPrice": "50000",
    "openInterest": "52231.2",
    "singleOpenInterest": "26115.6",
}


def test_a_book_has_its_sides_in_order_and_the_matching_engines_time():
    shuffled = BOOK | {"b": BOOK["b"][::-1], "a": BOOK["a"][::-1]}
    book = parse_book(as_bytes(wrap(shuffled)), LINEAR, ts_recv=NOW_US)
    assert book.bids == ((50000.0, 1.5), (49999.5, 2.0))
    assert book.asks == ((50001.0, 1.2), (50001.5, 3.0))
    assert (book.ts_event, book.ts_recv) == (1_709_891_678_998_000, NOW_US)
    assert (book.sequence, book.is_snapshot) == (1_234_567, True)


def test_a_book_without_the_engines_time_has_the_servers():
    book = parse_book(as_bytes(wrap({**BOOK, "cts": None})), LINEAR, ts_recv=NOW_US)
    assert book.ts_event == 1_709_891_679_000_000


def test_levels_of_inverse_are_dollars_and_become_base():
    book = parse_book(
        as_bytes(wrap(BOOK | {"s": "BTCUSD", "b": [["50000", "1000"]]})), INVERSE, ts_recv=NOW_US
    )
    assert book.bids == ((50000.0, 0.02),)


def test_a_book_of_another_symbol_is_refused():
    with pytest.raises(MalformedPayload, match="ETHUSDT"):
        parse_book(as_bytes(wrap(BOOK | {"s": "ETHUSDT"})), LINEAR, ts_recv=NOW_US)


def quotes(rows: list[dict[str, Any]], *instruments: Instrument) -> list[Any]:
    body = as_bytes(wrap({"category": "linear", "list": rows}))
    return parse_quotes(body, instruments, instruments[0].market, ts_recv=NOW_US + 1)


def test_quotes_of_all_come_in_one_reply_and_its_time_is_theirs():
    found = quotes([TICKER, TICKER | {"symbol": "ETHUSDT"}], LINEAR)
    assert [q.symbol for q in found] == ["BTC-USDT-PERP"]
    assert (found[0].bid_price, found[0].bid_size) == (50000.0, 1.5)
    assert (found[0].ask_price, found[0].ask_size) == (50001.0, 1.2)
    assert (found[0].ts_event, found[0].ts_recv) == (NOW_US // 1_000 * 1_000, NOW_US + 1)


def test_the_same_symbol_of_another_product_gets_no_quote():
    body = as_bytes(wrap({"category": "spot", "list": [TICKER]}))
    assert parse_quotes(body, [LINEAR, SPOT], SPOT.market, ts_recv=1)[0].symbol == "BTC-USDT"
    assert len(parse_quotes(body, [LINEAR], SPOT.market, ts_recv=1)) == 0


@pytest.mark.parametrize("nothing", ["", "0"])
def test_an_empty_side_of_the_book_is_none_and_not_zero(nothing: str):
    found = quotes([TICKER | {"bid1Price": nothing, "bid1Size": ""}], LINEAR)
    assert (found[0].bid_price, found[0].bid_size) == (None, None)
    assert found[0].ask_price == 50001.0


def interest(instrument: Instrument, **more: Any) -> float:
    row = {"symbol": instrument.native}
    body = as_bytes(wrap({"list": [TICKER | row | more]}))
    return parse_open_interest(body, instrument, ts_recv=NOW_US).open_interest


def test_open_interest_counts_one_side_of_every_contract():
    assert interest(LINEAR) == 26115.6
    assert interest(LINEAR, singleOpenInterest="") == 52231.2 / 2


def test_open_interest_of_inverse_is_dollars_and_becomes_base():
    assert interest(INVERSE, singleOpenInterest="1000000") == 20.0


def test_open_interest_of_inverse_without_a_price_is_refused():
    with pytest.raises(MalformedPayload):
        interest(INVERSE, markPrice="")


def test_open_interest_of_a_symbol_that_is_not_there_is_an_unknown_symbol():
    with pytest.raises(UnknownSymbol):
        interest(LINEAR, symbol="ETHUSDT")


_VALUE = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)


@given(
    st.dictionaries(st.sampled_from(sorted(BOOK)), _VALUE, max_size=2),
    st.dictionaries(st.sampled_from(sorted(TICKER)), _VALUE, max_size=2),
    st.sampled_from([SPOT, LINEAR, INVERSE]),
)
def test_any_value_in_any_field_reads_or_is_refused(
    book: dict[str, Any], ticker: dict[str, Any], instrument: Instrument
):
    tickers = as_bytes(wrap({"list": [TICKER | ticker]}))
    for call in (
        lambda: parse_book(as_bytes(wrap(BOOK | book)), instrument, ts_recv=1),
        lambda: parse_quotes(tickers, [instrument], instrument.market, ts_recv=1),
        lambda: parse_open_interest(tickers, instrument, ts_recv=1),
    ):
        try:
            call()
        except CryptoError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes):
    with pytest.raises(CryptoError):
        parse_book(body, LINEAR, ts_recv=1)
    with pytest.raises(CryptoError):
        parse_quotes(body, [LINEAR], LINEAR.market, ts_recv=1)
