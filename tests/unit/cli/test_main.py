import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from zvt_crypto import __version__
from zvt_crypto.cli import main as entry
from zvt_crypto.core.errors import NetworkFault, StoreFull, UnknownExchange

Run = Callable[..., Any]
Raise = Callable[[BaseException], None]


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Raise:
    """Let any command end with an exception, as its work might."""

    def arm(error: BaseException) -> None:
        def app(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(entry, "app_for", lambda _: app)

    return arm


def test_version(zvtc: Run) -> None:
    ended = zvtc("--version")

    assert (ended.code, ended.out, ended.err) == (0, f"zvtc {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["load", "--help"], ["query", "-h"]])
def test_help_ends_well(zvtc: Run, arguments: list[str]) -> None:
    ended = zvtc(*arguments)

    assert ended.code == 0
    assert "Usage" in ended.out


def test_exit_codes_are_told_by_the_help(zvtc: Run) -> None:
    assert "0 done, 1 failed, 2 wrong usage, 3 done but incomplete" in zvtc("--help").out


@pytest.mark.parametrize("arguments", [[], ["config"], ["query"], ["bench"]])
def test_no_command_shows_the_help_and_is_wrong_usage(zvtc: Run, arguments: list[str]) -> None:
    ended = zvtc(*arguments)

    assert ended.code == 2
    assert "Usage" in ended.out + ended.err
    assert "error:" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], ["No such command 'nope'"]),
        (["load"], ["Missing argument"]),
        (["load", "binance", "BTC-USDT", "--nope"], ["No such option", "--nope"]),
        (["sim", "--port", "x"], ["--port", "valid integer"]),
        (["sim", "--port", "70000"], ["--port", "65535"]),
        (["load", "binanse", "BTC-USDT"], ["'binanse'", "Did you mean binance?"]),
        (["load", "binance", "BTC-USDT", "-i", "7m"], ["'7m'", "1m 5m 15m"]),
        (["load", "binance", "BTC-USDT", "-k", "candels"], ["'candels'", "candles"]),
        (
            ["load", "binance", "BTC-USDT", "--since", "2024-02-01", "--until", "2024-01-01"],
            ["reversed", "--since 2024-02-01"],
        ),
        (["query", "candles", "okx", "BTC-USDT", "1h", "--since", "soon"], ["--since", "'soon'"]),
        (["load", "binance", "BTC-USDT", "--archive", "maybe"], ["load.archive", "flag"]),
        (["coverage", "--store", "nowhere"], ["no store at nowhere"]),
        (["sim", "--candles", "x=y"], ["FILE=EXCHANGE:SYMBOL:INTERVAL"]),
        (["sim", "--limits", "abc"], ["limits is real, off or a factor above 0", "'abc'"]),
        (["sim", "--limits", "0"], ["limits is real, off or a factor above 0"]),
        (["sync", "--since", "2024-01-01"], ["need an exchange and symbols"]),
        (["stream", "okx", "BTC-USDT", "--keep-books"], ["no book is streamed", "--kind book"]),
        (["query", "book", "okx", "BTC-USDT"], ["Missing option", "--at"]),
    ],
)
def test_bad_input_is_one_line_with_code_2(
    zvtc: Run, arguments: list[str], words: list[str]
) -> None:
    ended = zvtc(*arguments)

    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err


def test_a_wrong_level_of_the_log_is_one_line_too(zvtc: Run) -> None:
    ended = zvtc("coverage", ZVTC_LOG_LEVEL="loud")

    assert ended.code == 2
    assert "log_level" in ended.err
    assert "ZVTC_LOG_LEVEL" in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownExchange("x", ["binance"]), 2),
        (StoreFull("here"), 1),
        (ExceptionGroup("tasks", [ValueError("first"), StoreFull("here")]), 1),
        (ExceptionGroup("a", [ExceptionGroup("b", [UnknownExchange("x", ["okx"])])]), 2),
        (NetworkFault("okx", "reset"), 1),
    ],
)
def test_our_errors_decide_the_code_also_inside_a_group_of_tasks(
    zvtc: Run, ends_with: Raise, error: BaseException, code: int
) -> None:
    ends_with(error)

    ended = zvtc("status")

    assert ended.code == code
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "first" not in ended.err


def test_an_error_nobody_foresaw_is_one_line_that_says_how_to_report_it(
    zvtc: Run, ends_with: Raise
) -> None:
    ends_with(RuntimeError("two\nlines [red]and a colour"))

    ended = zvtc("status")

    assert ended.code == 1
    assert ended.err == (
        "error: unexpected RuntimeError: two lines [red]and a colour. "
        "Run it again with ZVTC_DEBUG=1 and report what it prints\n"
    )


def test_debug_shows_where_an_error_comes_from(
    zvtc: Run, ends_with: Raise, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(StoreFull("here"))
    monkeypatch.setenv("ZVTC_DEBUG", "1")

    with pytest.raises(StoreFull):
        entry.main(["status"])
    del zvtc


def test_an_interrupt_ends_with_130_and_says_what_is_kept(zvtc: Run, ends_with: Raise) -> None:
    ends_with(KeyboardInterrupt())

    ended = zvtc("status")

    assert ended.code == 130
    assert ended.err == "stopped; what was done is kept, the same command resumes\n"


def test_starting_up_imports_no_engine() -> None:
    code = (
        "import sys, zvt_crypto.cli.main; print({'polars', 'pyarrow', 'aiohttp'} & {*sys.modules})"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert ended.stdout == "set()\n"
