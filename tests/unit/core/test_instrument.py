"""Instruments by any of their names."""

from typing import Any

import pytest

from zvt_crypto.core.errors import UnknownSymbol
from zvt_crypto.core.instrument import (
    Instrument,
    InstrumentTable,
    Market,
    Status,
    canonical_symbol,
)


def instrument(base: str, quote: str, native: str, settle: str | None = None, **more: Any):
    market = Market.SPOT if settle is None else Market.INVERSE if settle == base else Market.LINEAR
    return Instrument(
        exchange="bybit", symbol=canonical_symbol(base, quote, settle), native=native, base=base,
        quote=quote, settle=settle, market=market, **more,
    )  # fmt: skip


SPOT = instrument("BTC", "USDT", "BTCUSDT")
LINEAR = instrument("BTC", "USDT", "BTCUSDT", "USDT")
INVERSE = instrument("BTC", "USD", "BTCUSD", "BTC")
USDC = instrument("BTC", "USDC", "BTCPERP", "USDC", aliases=("XBTUSDC",))
ODD = instrument("BTC", "USD", "BTC-PERP-INTX", "USDC")
PEPE = instrument("1000PEPE", "USDT", "1000PEPEUSDT", "USDT")
CHINESE = instrument("币安人生", "USDT", "币安人生USDT")
ALL = [LINEAR, INVERSE, SPOT, USDC, ODD, PEPE, CHINESE]
TABLE = InstrumentTable("bybit", ALL)


@pytest.mark.parametrize(
    ("one", "symbol", "ccxt"),
    [
        (SPOT, "BTC-USDT", "BTC/USDT"),
        (LINEAR, "BTC-USDT-PERP", "BTC/USDT:USDT"),
        (INVERSE, "BTC-USD-PERP", "BTC/USD:BTC"),
        (USDC, "BTC-USDC-PERP", "BTC/USDC:USDC"),
        (ODD, "BTC-USD-USDC-PERP", "BTC/USD:USDC"),
        (PEPE, "1000PEPE-USDT-PERP", "1000PEPE/USDT:USDT"),
        (CHINESE, "币安人生-USDT", "币安人生/USDT"),
    ],
)
def test_every_spelling_names_the_instrument(one: Instrument, symbol: str, ccxt: str) -> None:
    assert (one.symbol, one.ccxt) == (symbol, ccxt)
    for name in (symbol, ccxt, symbol.lower(), f" {ccxt} "):
        assert TABLE.resolve(name) is one
    assert TABLE.get(symbol) is one
    assert one.is_perpetual == ("PERP" in symbol)


def test_an_id_that_spot_and_perpetual_share_names_spot() -> None:
    assert TABLE.resolve("BTCUSDT") is SPOT
    assert InstrumentTable("bybit", [SPOT, LINEAR]).resolve("btcusdt") is SPOT
    assert InstrumentTable("bybit", [LINEAR]).resolve("BTCUSDT") is LINEAR


def test_native_ids_and_aliases_name_their_instrument() -> None:
    natives = {one.native: TABLE.resolve(one.native) for one in ALL if one is not LINEAR}
    assert natives == {one.native: one for one in ALL if one is not LINEAR}
    assert TABLE.resolve("xbtusdc") is USDC


def test_our_own_name_wins_over_another_exchange_id() -> None:
    odd = instrument("X", "Y", "BTC-USD-PERP")
    assert InstrumentTable("okx", [odd, INVERSE]).resolve("BTC-USD-PERP") is INVERSE


def test_a_listed_instrument_wins_over_its_delisted_namesake() -> None:
    gone = instrument("LUNA", "USDT", "LUNAUSDT", status=Status.DELISTED)
    back = instrument("LUNA", "USDT", "LUNA2USDT")
    for order in ([gone, back], [back, gone]):
        table = InstrumentTable("bybit", order)
        assert table.resolve("LUNA-USDT") is back
        assert len(table) == len(list(table)) == 1
    again = instrument("LUNA", "USDT", "LUNA3USDT")
    assert InstrumentTable("bybit", [back, again]).get("LUNA-USDT") is back


@pytest.mark.parametrize("text", ["BTC-USTD", "BTCUSD T", "btc_usdt_", "BTC-USDT-SWAP"])
def test_an_unknown_symbol_suggests_the_three_nearest(text: str) -> None:
    with pytest.raises(UnknownSymbol) as caught:
        TABLE.resolve(text)
    error = caught.value
    assert error.exchange == "bybit"
    assert len(error.nearest) == 3
    assert error.nearest[0] in {"BTC-USDT", "BTC-USDT-PERP"}
    assert repr(text) in str(error)
    assert all(name in error.remedy for name in error.nearest)


def test_an_empty_table_has_nothing_to_suggest() -> None:
    empty = InstrumentTable("okx", [])
    assert empty.nearest("BTC-USDT") == []
    assert empty.get("BTC-USDT") is None
    with pytest.raises(UnknownSymbol, match="okx has no instrument ''"):
        empty.resolve("")
