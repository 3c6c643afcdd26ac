"""Instruments: what is taken, what is left out, what each field means."""

import json
from typing import Any

import pytest
from bybit_world import as_bytes, wrap
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.bybit.parse import parse_instruments
from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.instrument import InstrumentTable, Market, Status

PERP: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "priceFilter": {"tickSize": "0.10", "minPrice": "0.10", "maxPrice": "1999999.80"},
    "lotSizeFilter": {"qtyStep": "0.001", "minOrderQty": "0.001", "minNotionalValue": "5"},
    "fundingInterval": 480,
    "somethingNew": {"of": ["tomorrow"]},
}
PAIR: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "status": "Trading",
    "lotSizeFilter": {
        "basePrecision": "0.000001",
        "quotePrecision": "0.00000001",
        "minOrderQty": "0.000048",
        "minOrderAmt": "5",
    },
    "priceFilter": {"tickSize": "0.01"},
}


def parse(rows: list[dict[str, Any]], market: Market, cursor: str | None = "") -> Any:
    result = {"category": str(market), "list": rows, "nextPageCursor": cursor}
    return parse_instruments(as_bytes(wrap(result)), market)


def test_the_same_id_in_spot_and_linear_names_two_instruments():
    pair = parse([PAIR], Market.SPOT).instruments[0]
    perp = parse([PERP], Market.LINEAR).instruments[0]
    assert (pair.native, pair.symbol) == ("BTCUSDT", "BTC-USDT")
    assert (perp.native, perp.symbol) == ("BTCUSDT", "BTC-USDT-PERP")
    table = InstrumentTable("bybit", [perp, pair])
    assert table.resolve("BTCUSDT") == pair
    assert table.resolve("BTC/USDT:USDT") == perp


def test_a_perpetual_has_the_fields_of_contracts():
    perp = parse([PERP], Market.LINEAR).instruments[0]
    assert (perp.base, perp.quote, perp.settle, perp.market) == ("BTC", "USDT", "USDT", "linear")
    assert (perp.tick_size, perp.size_step, perp.min_size, perp.min_notional) == (
        0.1,
        0.001,
        0.001,
        5,
    )
    assert perp.listed_us == 1_585_526_400_000_000
    assert perp.contract_size == 1.0


def test_a_delivery_time_of_zero_is_no_time():
    assert parse([PERP], Market.LINEAR).instruments[0].delisted_us is None
    gone = PERP | {"deliveryTime": "1702592000000", "status": "Delivering"}
    perp = parse([gone], Market.LINEAR).instruments[0]
    assert perp.delisted_us == 1_702_592_000_000_000
    assert perp.status is Status.SETTLING


def test_the_minimum_quantity_of_spot_is_deprecated_and_its_amount_counts():
    pair = parse([PAIR], Market.SPOT).instruments[0]
    assert pair.min_size is None
    assert pair.min_notional == 5
    assert pair.size_step == 1e-6


def test_btcperp_settles_in_usdc():
    usdc = PERP | {"symbol": "BTCPERP", "quoteCoin": "USDC", "settleCoin": "USDC"}
    perp = parse([usdc], Market.LINEAR).instruments[0]
    assert (perp.symbol, perp.ccxt) == ("BTC-USDC-PERP", "BTC/USDC:USDC")


def test_a_linear_perpetual_that_says_it_settles_in_usd_settles_in_usdc():
    usd = PERP | {"symbol": "BTCPERP", "quoteCoin": "USD", "settleCoin": "USD"}
    perp = parse([usd], Market.LINEAR).instruments[0]
    assert (perp.settle, perp.ccxt) == ("USDC", "BTC/USD:USDC")


def test_an_inverse_perpetual_settles_in_its_base():
    row = PERP | {
        "symbol": "BTCUSD",
        "contractType": "InversePerpetual",
        "quoteCoin": "USD",
        "settleCoin": "BTC",
    }
    perp = parse([row], Market.INVERSE).instruments[0]
    assert (perp.symbol, perp.ccxt, perp.market) == ("BTC-USD-PERP", "BTC/USD:BTC", "inverse")


def test_dated_futures_are_left_out():
    dated = PERP | {"symbol": "BTC-26DEC25", "contractType": "LinearFutures"}
    found = parse([PERP, dated], Market.LINEAR)
    assert [i.native for i in found.instruments] == ["BTCUSDT"]
    assert found.rows == 2


@pytest.mark.parametrize("kind", ["stock", "commodity", "forex"])
def test_perpetuals_on_other_things_than_coins_are_left_out(kind: str):
    row = PERP | {"symbol": "TSLAUSDT", "baseCoin": "TSLA", "symbolType": kind}
    assert parse([row], Market.LINEAR).instruments == []
    body = as_bytes(wrap({"list": [row]}))
    assert len(parse_instruments(body, Market.LINEAR, only_crypto=False).instruments) == 1


@pytest.mark.parametrize("kind", ["", "innovation", "adventure", None])
def test_risk_labels_of_coins_are_no_reason_to_leave_them_out(kind: str | None):
    assert len(parse([PERP | {"symbolType": kind}], Market.LINEAR).instruments) == 1


def test_multiplied_bases_are_kept_as_they_are():
    row = PERP | {"symbol": "1000PEPEUSDT", "baseCoin": "1000PEPE"}
    perp = parse([row], Market.LINEAR).instruments[0]
    assert (perp.symbol, perp.ccxt) == ("1000PEPE-USDT-PERP", "1000PEPE/USDT:USDT")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Trading", "active"),
        ("PreLaunch", "pre_listing"),
        ("Closed", "delisted"),
        ("New?", "unknown"),
    ],
)
def test_an_unknown_status_is_unknown_and_no_error(word: str, status: str):
    assert parse([PERP | {"status": word}], Market.LINEAR).instruments[0].status == status


def test_the_cursor_is_decoded_so_that_it_is_encoded_exactly_once():
    assert parse([], Market.LINEAR, "first%3DBTC%26last%3DETH").cursor == "first=BTC&last=ETH"


@pytest.mark.parametrize("cursor", ["", None])
def test_an_empty_or_absent_cursor_ends_the_list(cursor: str | None):
    assert parse([PERP], Market.LINEAR, cursor).cursor == ""
    assert parse_instruments(as_bytes(wrap({"list": []})), Market.LINEAR).cursor == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(PERP)), _JSON, st.sampled_from(list(Market)))
def test_any_value_in_any_field_parses_or_is_malformed(name: str, value: Any, market: Market):
    body = json.dumps(wrap({"list": [PERP | {name: value}, PAIR | {name: value}]})).encode()
    try:
        found = parse_instruments(body, market)
    except CryptoError:
        return
    assert found.rows == 2


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_malformed(body: bytes):
    with pytest.raises(CryptoError):
        parse_instruments(body, Market.SPOT)
