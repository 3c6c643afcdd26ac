"""Traps of exchangeInfo."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.binance.listing import instruments_of, parse_exchange_info, weight_limits
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, InstrumentTable, Market, Status


def spot(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00002000", "stepSize": "0.00001000"},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "stepSize": "0.00000000"},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
            {"filterType": "T_PLUS_SELL", "anything": [1]},
        ],
    } | changes


def perp(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "pair": "BTCUSDT",
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404802000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": "0.001"},
            {"filterType": "MIN_NOTIONAL", "notional": "100"},
        ],
    } | changes


def read(rows: list[dict[str, Any]], market: Market, **options: bool) -> list[Instrument]:
    return instruments_of(
        parse_exchange_info(json.dumps({"symbols": rows}).encode()), market, **options
    )


def test_tick_and_step_come_from_filters_of_both_dialects_not_from_precisions() -> None:
    (one,) = read([spot()], Market.SPOT)
    assert (one.tick_size, one.size_step, one.min_size, one.min_notional) == (0.01, 1e-5, 2e-5, 5.0)
    (one,) = read([perp()], Market.LINEAR)
    assert (one.tick_size, one.size_step, one.min_size, one.min_notional) == (0.1, 1e-3, 1e-3, 100)
    (one,) = read(
        [spot(filters=[{"filterType": "MIN_NOTIONAL", "minNotional": "10"}])], Market.SPOT
    )
    assert (one.tick_size, one.min_notional) == (None, 10)


def test_a_filter_of_zero_is_switched_off() -> None:
    (one,) = read([spot(filters=[{"filterType": "PRICE_FILTER", "tickSize": "0.0"}])], Market.SPOT)
    assert one.tick_size is None


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("TRADING", Status.ACTIVE),
        ("CANCEL_ONLY", Status.CANCEL_ONLY),
        ("BREAK", Status.HALTED),
        ("SETTLING", Status.SETTLING),
        ("PENDING_TRADING", Status.PRE_LISTING),
        ("CLOSE", Status.DELISTED),
        ("A_WORD_OF_2027", Status.HALTED),
    ],
)
def test_an_unknown_status_is_halted_and_no_error(word: str, status: Status) -> None:
    assert read([spot(status=word)], Market.SPOT)[0].status is status


def test_spot_and_perpetual_share_an_id_and_stay_apart() -> None:
    both = read([spot()], Market.SPOT) + read([perp()], Market.LINEAR)
    table = InstrumentTable("binance", both)
    assert table.resolve("BTCUSDT").symbol == "BTC-USDT"
    assert table.resolve("BTC/USDT:USDT").symbol == "BTC-USDT-PERP"


def test_only_perpetuals_are_listed_and_shares_and_metals_on_request() -> None:
    rows = [
        perp(),
        perp(symbol="BTCUSDT_260925", contractType="CURRENT_QUARTER"),
        perp(symbol="TSLAUSDT", baseAsset="TSLA", contractType="TRADIFI_PERPETUAL"),
    ]
    assert [one.symbol for one in read(rows, Market.LINEAR)] == ["BTC-USDT-PERP"]
    more = read(rows, Market.LINEAR, with_tradifi=True)
    assert [one.symbol for one in more] == ["BTC-USDT-PERP", "TSLA-USDT-PERP"]


def test_the_delivery_date_of_a_perpetual_is_a_sentinel_in_either_spelling() -> None:
    for never in (4133404800000, 4133404802000):
        assert read([perp(deliveryDate=never)], Market.LINEAR)[0].delisted_us is None
    ended = read([perp(deliveryDate=1700000000000, status="SETTLING")], Market.LINEAR)[0]
    assert ended.delisted_us == 1_700_000_000_000_000


def test_symbols_are_never_split_and_may_be_of_any_script() -> None:
    rows = [
        perp(symbol="1000PEPEUSDC", baseAsset="1000PEPE", quoteAsset="USDC", marginAsset="USDC"),
        perp(symbol="币安人生USDT", baseAsset="币安人生"),
    ]
    names = [(one.symbol, one.native) for one in read(rows, Market.LINEAR)]
    assert names == [("1000PEPE-USDC-PERP", "1000PEPEUSDC"), ("币安人生-USDT-PERP", "币安人生USDT")]


def test_the_weight_in_force_is_taken_and_other_limits_are_not() -> None:
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 7},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 9},
    ]
    body = json.dumps({"symbols": [], "rateLimits": limits}).encode()
    assert weight_limits(parse_exchange_info(body)) == {"weight": 1200}
    assert weight_limits(parse_exchange_info(b'{"symbols":[]}')) == {}


@given(
    st.dictionaries(
        st.sampled_from(sorted(perp())),
        st.one_of(st.none(), st.text(max_size=4), st.integers(), st.lists(st.booleans())),
    )
)
def test_any_listing_is_read_or_refused(changes: dict[str, Any]) -> None:
    body = json.dumps({"symbols": [perp(**changes)]}).encode()
    try:
        instruments_of(parse_exchange_info(body), Market.LINEAR)
    except MalformedPayload:
        assert changes


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(MalformedPayload):
        parse_exchange_info(body)
