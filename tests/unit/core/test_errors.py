"""Every error has a code, a remedy and a place in the printed tree."""

import inspect
import re
from typing import Any

import pytest

from zvt_crypto.core import errors
from zvt_crypto.core.errors import (
    CryptoError,
    DataError,
    FatalError,
    NotSupported,
    RetryableError,
    UsageError,
)

CLASSES = [
    one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, CryptoError)
]
VALUES: dict[str, Any] = {
    "status": 503, "retry_after_s": 2.5, "waited_s": 2.5, "limit_bytes": 1_000_000,
    "known": ("binance", "okx"), "nearest": ("binance",),
}  # fmt: skip


def example(kind: type[CryptoError]) -> CryptoError:
    """Return an error of `kind` as its raiser words it, optional words left out."""
    needed = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    return kind(**{name: VALUES.get(name, f"the {name}") for name in needed})


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_says_what_happened_and_what_to_do(kind: type[CryptoError]) -> None:
    error = example(kind)
    assert error.message
    assert error.remedy
    assert str(error) == f"{error.message}. {error.remedy}"
    assert "code" in vars(kind), "a code of its own"
    assert re.fullmatch(r"[a-z_]+", kind.code)
    assert kind.__doc__
    assert "\n" not in str(error)


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in CLASSES}) == len(CLASSES) >= 25


def test_every_error_belongs_to_one_recovery() -> None:
    bases = (RetryableError, FatalError, DataError)
    for kind in CLASSES:
        assert kind is CryptoError or sum(issubclass(kind, base) for base in bases) == 1


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    # given the printed tree as pairs of a class and the class it hangs under
    printed: dict[str, str | None] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"[│├└─ ]*([A-Z]\w+)(?:\s|$)", line)
        if not found or not (line[0] in "│├└ " or line.startswith("CryptoError")):
            continue
        depth, name = found.start(1), found.group(1)
        while stack and stack[-1][0] >= depth:
            stack.pop()
        printed[name] = stack[-1][1] if stack else None
        stack.append((depth, name))

    # then it is the one of the code
    real = {k.__name__: None if k is CryptoError else k.__bases__[0].__name__ for k in CLASSES}
    assert printed == real


def test_a_long_or_many_lined_detail_is_cut_to_one_line() -> None:
    error = errors.ServerFault("okx", 502, "<html>\n" + "x" * 5_000)
    assert len(str(error)) < 400
    assert "\n" not in str(error)


def test_the_server_s_own_wish_is_kept() -> None:
    assert errors.RateLimited("okx", "candles", 2.5).retry_after_s == 2.5
    assert "Wait 2.5 s" in str(errors.RateLimited("okx", "candles", 2.5))
    assert errors.RateLimited("okx", "candles").retry_after_s is None
    assert errors.Banned("binance", 120).retry_after_s == 120
    assert errors.ServerFault("okx", 503, "", retry_after_s=9).retry_after_s == 9
    assert errors.NetworkFault("okx", "reset").retry_after_s is None


def test_a_remedy_that_is_given_wins_over_the_usual_one() -> None:
    assert UsageError("x", remedy="do this").remedy == "do this"
    assert NotSupported("okx", "ticks", "none", remedy="use trades").remedy == "use trades"
    assert NotSupported("okx", "ticks", "none").remedy == NotSupported.usual_remedy


def test_suggestions_are_named() -> None:
    unknown = errors.UnknownExchange("binnance", ["binance", "okx"], ["binance"])
    assert "Did you mean binance?" in unknown.remedy
    assert "Known: binance, okx" in unknown.remedy
    assert "BTC-USDT, ETH-USDT" in errors.UnknownSymbol("okx", "X", ["BTC-USDT", "ETH-USDT"]).remedy
    setting = errors.UnknownSetting("stor", "zvtc.toml", ["store"])
    assert "zvtc.toml" in setting.message
    assert "Did you mean store?" in setting.remedy
