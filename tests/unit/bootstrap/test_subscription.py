"""Words that name what to stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.bootstrap.subscription import Subscription, parse_words, spelled
from zvt_crypto.core.errors import CryptoError, UnknownExchange, UsageError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series

USUAL = ((Kind.TRADES, Kind.CANDLES), (Interval.M1,))
EXCHANGES = ("binance", "okx", "bybit", "coinbase")


def one(exchange: str, symbol: str, *usual: object) -> Subscription:
    return Subscription(exchange, symbol, *(usual or USUAL))  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["binance", "A-B", "C-D"], [one("binance", "A-B"), one("binance", "C-D")]),
        (["Binance", "BTC-USDT", "okx", "X-Y"], [one("binance", "BTC-USDT"), one("okx", "X-Y")]),
        (["binance:A-B", "okx:X-Y-PERP"], [one("binance", "A-B"), one("okx", "X-Y-PERP")]),
        (["okx:BTC-USDT:book"], [one("okx", "BTC-USDT", (Kind.BOOK,), USUAL[1])]),
        (["okx:BTC-USDT:candles"], [one("okx", "BTC-USDT", (Kind.CANDLES,), USUAL[1])]),
        (["okx:BTC-USDT:candles:1h"], [one("okx", "BTC-USDT", (Kind.CANDLES,), (Interval.H1,))]),
        # a symbol may hold a colon itself
        (["okx:BTC/USDT:USDT"], [one("okx", "BTC/USDT:USDT")]),
        (["okx", "BTC/USDT:USDT"], [one("okx", "BTC/USDT:USDT")]),
        (["okx:BTC/USDT:USDT:trades"], [one("okx", "BTC/USDT:USDT", (Kind.TRADES,), USUAL[1])]),
        # the long form beside the short one
        (
            ["okx", "A-B", "bybit:C-D", "E-F"],
            [one("okx", "A-B"), one("bybit", "C-D"), one("okx", "E-F")],
        ),
        ([], []),
    ],
)  # fmt: skip
def test_words_are_read(words: list[str], meant: list[Subscription]) -> None:
    assert parse_words(words, *USUAL) == meant


@pytest.mark.parametrize(
    "words",
    [["binance"], ["okx", "binance", "BTC-USDT"], ["binance:"], ["binance::trades"],
     ["binance:BTC-USDT:quote"], ["binance:BTC-USDT:candles:2m"]],
)  # fmt: skip
def test_words_that_say_too_little_or_nonsense_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_words(words)


def test_an_unknown_exchange_suggests_the_nearest() -> None:
    with pytest.raises(UnknownExchange, match="Did you mean bybit"):
        parse_words(["bibyt:BTC-USDT"])


@given(
    st.sampled_from(EXCHANGES),
    st.sampled_from(["BTC-USDT", "BTC-USDT-PERP", "1000PEPE-USDT"]),
    st.sampled_from(Kind),
    st.sampled_from(Interval),
)
def test_a_series_survives_being_spelled(
    exchange: str, symbol: str, kind: Kind, interval: Interval
) -> None:
    series = Series(exchange, symbol, kind, interval if kind is Kind.CANDLES else None)

    (read,) = parse_words([spelled(series)])

    assert (read.exchange, read.symbol, read.kinds) == (exchange, symbol, (kind,))
    if kind is Kind.CANDLES:
        assert read.intervals == (interval,)


@given(st.lists(st.text(alphabet="ab:BinaceokxT-/1m ", max_size=24), max_size=4))
def test_no_words_lead_to_anything_but_subscriptions_or_an_error_of_ours(words: list[str]) -> None:
    try:
        found = parse_words(words)
    except CryptoError:
        return
    assert all(each.exchange in EXCHANGES and each.symbol for each in found)
