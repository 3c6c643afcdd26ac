"""What the live commands refuse before they ask anybody, in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stream", "binanse", "BTC-USDT"), "Did you mean binance?"),
        (("stream", "binanse:BTC-USDT"), "Did you mean binance?"),
        (("stream", "binance", "BTC-USDT", "-k", "trade"), "unknown kind 'trade'"),
        (("stream", "binance", "BTC-USDT", "-i", "7m"), "'7m'"),
        (("stream", "binance:BTC-USDT:tradez"), "unknown kind 'tradez'"),
        (("stream", "binance:BTC-USDT:candles:7m"), "'7m'"),
        (("stream", "binance:"), "no symbol in 'binance:'"),
        (("stream", "binance"), "no symbol of binance"),
        (("stream", "binance", "okx", "BTC-USDT"), "no symbol of binance"),
        (("stream",), "nothing to stream is named"),
        (("stream", "--kind", "trades"), "--kind and --interval need symbols"),
        (("stream", "binance", "BTC-USDT", "--for", "0"), "--for"),
        (("record", "binance", "BTC-USDT"), "no folder for the frames"),
        (("record", "binance", "BTC-USDT", "--into", "x", "--store", "y"), "--with-store"),
        (("sync", "binance", "BTC-USDT", "--for", "3"), "need --live"),
        (("sync", "binance", "BTC-USDT", "--metrics-port", "3"), "need --live"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    zvtc: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    ended = zvtc(*words)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["binance:BTC-USDT:tradez", "nowhere:BTC-USDT", "BTC-USDT"])
def test_bad_subscriptions_in_the_settings_are_refused(zvtc: Run, words: str) -> None:
    ended = zvtc("stream", ZVTC_STREAM__SUBSCRIPTIONS=words)

    assert (ended.code, ended.out) == (2, "")
    assert "unknown" in ended.err


def test_top_with_nothing_running_says_how_to_start(zvtc: Run) -> None:
    for form in ((), ("--once",)):
        ended = zvtc("top", *form)
        assert ended.code == 0
        assert "zvtc stream binance BTC-USDT" in ended.out
    assert zvtc("top", "--json").out == '{"processes": []}\n'
