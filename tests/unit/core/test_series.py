"""What a series is."""

import pytest

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series, candle_series


@pytest.mark.parametrize(
    "symbol",
    ["BTC-USDT", "1000PEPE-USDT-PERP", "币安人生-USDT", "BTC-USD-USDC-PERP", "a", "A(B)-USDT",
     "$X".removeprefix("$"), "USD$-USDT", "B.C-USDT"],
)  # fmt: skip
def test_symbols_of_exchanges_are_accepted(symbol: str) -> None:
    assert Series("binance", symbol, Kind.TRADES).symbol == symbol


@pytest.mark.parametrize(
    "symbol",
    ["", ".", "..", "../etc", "A/B", "A\\B", ".hidden", "-rf", "_x", "A..B", "A B", "A\x00B",
     "BTC-USDT\n", "A\tB", "A=B", "A:B", "A*", "A" * 81, "~x", "A?", "A%2FB", "A'B"],
)  # fmt: skip
def test_a_symbol_that_could_leave_its_folder_is_refused(symbol: str) -> None:
    with pytest.raises(ValueError, match="unsafe symbol"):
        Series("binance", symbol, Kind.TRADES)


def test_candles_have_an_interval_and_nothing_else_has() -> None:
    for kind in Kind:
        interval = Interval.M1 if kind is Kind.CANDLES else None
        assert Series("okx", "BTC-USDT", kind, interval).interval is interval
        with pytest.raises(ValueError, match="candles have an interval"):
            Series("okx", "BTC-USDT", kind, None if interval else Interval.M1)


def test_a_series_is_a_key_with_a_name_and_an_order() -> None:
    one = candle_series("okx", "BTC-USDT", Interval.H1)
    assert one == Series("okx", "BTC-USDT", Kind.CANDLES, Interval.H1)
    assert len({one, candle_series("okx", "BTC-USDT", Interval.H1)}) == 1
    assert str(one) == "okx BTC-USDT candles 1h"
    assert str(Series("okx", "BTC-USDT", Kind.TRADES)) == "okx BTC-USDT trades"
    assert one < Series("okx", "ETH-USDT", Kind.CANDLES, Interval.M1)
