import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.errors import UnknownInterval, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.services.copy import select
from zvt_crypto.services.copy.selection import Selection

BTC = candle_series("binance", "BTC-USDT", Interval.M1)
BTC_HOURS = candle_series("binance", "BTC-USDT", Interval.H1)
TRADES = Series("binance", "BTC-USDT", Kind.TRADES)
ETH = Series("okx", "ETH-USDT-PERP", Kind.TRADES)
HELD = [BTC, BTC_HOURS, TRADES, ETH]


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        ([], HELD),
        (["binance"], [BTC, BTC_HOURS, TRADES]),
        (["okx:ETH-USDT-PERP:trades"], [ETH]),
        (["OKX:eth-usdt-perp"], [ETH]),
        (["binance:*:candles:1m"], [BTC]),
        (["*:*-USDT"], [BTC, BTC_HOURS, TRADES]),
        (["*:*:trades"], [TRADES, ETH]),
        (["binance:BTC-USDT:*:1h"], [BTC_HOURS]),
        (["okx", "binance:BTC-USDT:trades", "okx"], [TRADES, ETH]),
    ],
)
def test_series_are_meant_by_parts_of_their_name(texts: list[str], meant: list[Series]) -> None:
    assert select(texts, HELD) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bybit", "holds nothing of 'bybit'.*binance:BTC-USDT, okx:ETH-USDT-PERP"),
        ("binance:BTC-USDT:candle", "unknown kind 'candle'"),
        ("binance::candles", "names no series"),
        ("", "names no series"),
        ("a:b:trades:*:x", "names no series"),
        ("binance:*:trades:1m", "only candles have an interval"),
    ],
)
def test_what_means_nothing_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        select([text], HELD)


def test_an_interval_that_does_not_exist_is_told() -> None:
    with pytest.raises(UnknownInterval):
        select(["binance:*:candles:2m"], HELD)


def test_an_empty_source_is_told() -> None:
    assert select([], []) == []
    with pytest.raises(UsageError, match="no series at all"):
        select(["binance"], [])


@given(st.text(max_size=30))
def test_any_text_is_a_selection_or_refused(text: str) -> None:
    try:
        found = Selection.parse(text)
    except UsageError:
        return
    assert isinstance(found.matches(BTC), bool)


@given(st.sampled_from(HELD))
def test_the_full_name_means_the_series_alone(series: Series) -> None:
    parts = [series.exchange, series.symbol, series.kind.value]
    if series.interval is not None:
        parts.append(series.interval.value)

    assert select([":".join(parts)], HELD) == [series]
