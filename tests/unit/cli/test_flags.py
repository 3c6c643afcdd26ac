import pytest

from zvt_crypto.cli.flags import parse_bounds, parse_exchange, parse_interval, parse_kind
from zvt_crypto.core.errors import BadRange, UnknownExchange, UnknownInterval, UsageError
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.series import Kind

NEW_YEAR = 1_704_067_200_000_000


@pytest.mark.parametrize("text", ["binance", "Binance", " BINANCE "])
def test_an_exchange_is_known_in_any_case(text: str) -> None:
    assert parse_exchange(text) == "binance"


@pytest.mark.parametrize(
    ("text", "near"), [("binanse", "binance"), ("ok", "okx"), ("coin base", "coinbase")]
)
def test_an_unknown_exchange_suggests_the_nearest(text: str, near: str) -> None:
    with pytest.raises(UnknownExchange, match=f"Did you mean {near}"):
        parse_exchange(text)


def test_an_exchange_like_none_of_ours_lists_them() -> None:
    with pytest.raises(UnknownExchange) as caught:
        parse_exchange("xyz")

    assert caught.value.remedy == "Known: binance, okx, bybit, coinbase"


@pytest.mark.parametrize(
    ("text", "interval"), [("1m", Interval.M1), ("1M", Interval.MON1), ("1w", Interval.W1)]
)
def test_intervals_are_read_with_their_case(text: str, interval: Interval) -> None:
    assert parse_interval(text) is interval


@pytest.mark.parametrize("text", ["", "2m", "minute", "1 m"])
def test_an_unknown_interval_lists_the_nine(text: str) -> None:
    with pytest.raises(UnknownInterval, match="1m 5m 15m 30m 1h 4h 1d 1wk 1mon"):
        parse_interval(text)


def test_kinds() -> None:
    assert parse_kind("funding") is Kind.FUNDING
    with pytest.raises(UsageError, match="candles"):
        parse_kind("candle")


@pytest.mark.parametrize("text", ["2024-01-01", "2024-01-01T00:00:00Z", "2024", "1704067200000"])
def test_bounds_are_read_in_every_spelling(text: str) -> None:
    assert parse_bounds(text, "2024-01-02") == (NEW_YEAR, NEW_YEAR + US_PER_DAY)


def test_bounds_that_are_not_given_stay_open() -> None:
    assert parse_bounds(None, None) == (None, None)
    assert parse_bounds("2024-01-01", None) == (NEW_YEAR, None)


@pytest.mark.parametrize(
    ("since", "until", "word"),
    [
        ("soon", None, "--since"),
        (None, "2024-13-01", "--until"),
        ("2024-01-02", "2024-01-01", "reversed"),
        ("2024-01-01", "2024-01-01", "reversed"),
    ],
)
def test_wrong_bounds_name_the_flag(since: str | None, until: str | None, word: str) -> None:
    with pytest.raises(BadRange) as caught:
        parse_bounds(since, until)

    assert word in caught.value.message
    assert caught.value.remedy
