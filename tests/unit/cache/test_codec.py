"""Values as bytes: whole, versioned, and comparable by every machine alike."""

import pytest
from cache_records import CANDLES, EVENTS, HELD, QUOTES, TRADES, candle, quote, trade
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.cache.codec import (
    VERSION,
    decode_message,
    decode_value,
    encode_message,
    encode_value,
    key_of,
    order_of,
    series_of_key,
)
from zvt_crypto.core.record import Quote, Side, Trade
from zvt_crypto.core.series import Series
from zvt_crypto.ports.cache import ABSENT, Event, Held

TIMES = st.integers(0, 2**62)
AMOUNTS = st.floats(allow_nan=False)
QUOTED = st.builds(
    Quote, st.just("binance"), st.just("BTC-USDT"), TIMES, TIMES, st.none() | AMOUNTS,
    st.none() | AMOUNTS, st.none() | AMOUNTS, st.none() | AMOUNTS,
    st.none() | st.integers(0, 2**63),
)  # fmt: skip
TRADED = st.builds(
    Trade, st.just("binance"), st.just("BTC-USDT"), TIMES, TIMES,
    st.integers(0, 2**63) | st.text(max_size=40), AMOUNTS, AMOUNTS, st.sampled_from(Side),
)  # fmt: skip


@pytest.mark.parametrize(("series", "record"), HELD, ids=lambda one: type(one).__name__)
def test_every_value_comes_back_as_it_was(series: Series, record: Held) -> None:
    data = encode_value(record)

    assert data[0] == VERSION
    assert decode_value(series, data) == record
    assert type(decode_value(series, data)) is type(record)


@pytest.mark.parametrize(("series", "record"), EVENTS, ids=lambda one: type(one).__name__)
def test_every_event_comes_back_as_it_was(series: Series, record: Event) -> None:
    assert decode_message(series, encode_message([record, record])) == [record, record]


@given(QUOTED, TRADED)
def test_any_numbers_survive(quoted: Quote, traded: Trade) -> None:
    assert decode_value(QUOTES, encode_value(quoted)) == quoted
    assert decode_value(TRADES, encode_value(traded)) == traded
    assert decode_message(TRADES, encode_message([traded])) == [traded]


def test_the_bytes_of_this_version_do_not_change() -> None:
    # A change here is a change of the format: it needs another VERSION.
    head = "01" + "8000000000000064" + "8000000000000003"
    body = "98" + "02" + "64" + "6b" + "cb3ff8000000000000" + "cb4000000000000000"
    assert encode_value(quote(100, 3)).hex() == head + body + "cb4004000000000000" + "c0" + "03"
    assert encode_value(ABSENT).hex() == "01" + "00" * 16 + "c0"


def test_another_version_or_another_record_is_a_miss() -> None:
    data = encode_value(quote(100, 3))

    assert decode_value(QUOTES, None) is None
    assert decode_value(QUOTES, bytes([VERSION + 1]) + data[1:]) is None
    assert decode_value(TRADES, data) is None
    assert decode_message(QUOTES, bytes([VERSION + 1]) + encode_message([quote(1)])[1:]) == []
    assert decode_value(QUOTES, encode_value(ABSENT)) is ABSENT


@given(st.binary(max_size=80), st.integers(0, 60), st.integers(0, 255))
def test_damage_is_a_miss_and_never_an_error(noise: bytes, at: int, byte: int) -> None:
    good = bytearray(encode_value(quote(100, 3)))
    good[at % len(good)] = byte
    for data in (noise, bytes([VERSION]) + noise, bytes(good), bytes(good[:at])):
        found = decode_value(QUOTES, data)
        assert found is None or found is ABSENT or isinstance(found, Quote)
        decode_message(QUOTES, data)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_the_later_record_is_the_greater(one: int, other: int) -> None:
    assert (order_of(quote(one)) < order_of(quote(other))) == (one < other)
    assert (order_of(quote(5, one)) < order_of(quote(5, other))) == (one < other)
    assert (order_of(trade(5, str(one))) < order_of(trade(5, other))) == (one < other)


def test_a_closed_candle_beats_a_running_one_of_the_same_open() -> None:
    running, late = candle(1, recv=50, closed=False), candle(1, recv=90, closed=False)
    closed, next_one = candle(1, recv=60), candle(2, recv=40, closed=False)

    orders = [order_of(one) for one in (running, late, closed, next_one)]
    assert orders == sorted(orders)
    assert len(set(orders)) == 4


@pytest.mark.parametrize("series", sorted({series for series, _ in [*HELD, *EVENTS]}, key=str))
def test_keys_lead_back_and_keep_an_instrument_on_one_slot(series: Series) -> None:
    key = key_of("zvtc", series)

    assert series_of_key("zvtc", key) == series
    assert key.startswith(f"zvtc:{{{series.exchange}:{series.symbol}}}:")
    assert key_of("zvtc", CANDLES) == "zvtc:{binance:BTC-USDT}:candles:1m"


@given(st.text(max_size=60))
def test_a_foreign_channel_is_no_series(text: str) -> None:
    assert series_of_key("zvtc", text) is None
    series_of_key("zvtc", "zvtc:{" + text)
    series_of_key("zvtc", "zvtc:{binance:BTC-USDT}:" + text)
