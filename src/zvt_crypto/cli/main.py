"""`zvtc`: every command, and what its exit codes mean.

0 done, 1 failed, 2 wrong usage, 3 done but incomplete, 130 stopped by the user.
"""

import io
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated, Any, Final, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from zvt_crypto import __version__
from zvt_crypto.cli.log import EventFormatter
from zvt_crypto.core.errors import CryptoError, UsageError

FAILED, USAGE, STOPPED = 1, 2, 130

_SHOWN_CHARS = 300

# Where each command is defined, in the order of the help. Its module is imported when it is called
# for: all of them together take over a second.
COMMANDS: Final = {
    "demo": "demo",
    "load": "load",
    "sync": "sync",
    "stream": "stream",
    "record": "record",
    "query": "query",
    "coverage": "ledger",
    "gaps": "ledger",
    "verify": "ledger",
    "repair": "ledger",
    "plan": "ledger",
    "status": "survey",
    "top": "top",
    "instruments": "survey",
    "bench": "bench",
    "sim": "sim",
    "replay": "replay",
    "copy": "copy",
    "publish": "publish",
    "migrate": "migrate",
    "retain": "retain",
    "upkeep": "retain",
    "config": "config",
}


def app_for(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the command these arguments name; all of them, if they name none."""
    made = typer.Typer(
        name="zvtc",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Crypto market data with proof of completeness.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but incomplete.",
    )
    made.callback()(options)
    for name in _needed(arguments):
        found = getattr(import_module(f"zvt_crypto.cli.{COMMANDS[name]}"), name)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def _needed(arguments: Sequence[str]) -> Iterable[str]:
    """Return the commands to import: the one that is named, or all for the help."""
    named = next((word for word in arguments if not word.startswith("-")), None)
    if named in COMMANDS:
        return [named]
    return [] if "--version" in arguments else COMMANDS


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"zvtc {__version__}")
        raise typer.Exit


def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Crypto market data with proof of completeness."""
    del version


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    # The level is a setting, which a command reads: see `running.settings_from`.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    sys.stdout = _written_whole(sys.stdout)
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _written_whole(stream: TextIO) -> TextIO:
    """Return `stream` so that a write is never cut short.

    With `PYTHONUNBUFFERED` set, as in most containers, Python hands text to the operating system
    in one call and forgets what that did not take: after Ctrl-Z and `fg`, say, with a full pipe.
    A buffer writes on until all is gone.
    """
    raw: object = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def _run(arguments: Sequence[str]) -> int:
    try:
        code: Any = app_for(arguments)(arguments, standalone_mode=False)
    except CryptoError as e:
        return _complain(e)
    except typer.Exit as e:
        return e.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except BrokenPipeError:
        # The reader of our output has left; what is buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as e:  # noqa: BLE001 - a traceback is shown to who asks for it
        # Typer brings its own copy of click, so its errors are known by their face only.
        explain = getattr(e, "format_message", None)
        if explain is None:
            return _complain(_unexpected(e))
        if not (message := explain().rstrip(".")):
            return USAGE  # no arguments at all: the help has been shown
        return _complain(UsageError(message))
    if code == STOPPED:  # Typer makes the code of an interrupt, some versions of it an exception
        sys.stderr.write("stopped; what was done is kept, the same command resumes\n")
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception) -> CryptoError:
    """Return the error of ours inside a group of tasks, or one that asks for a report."""
    if isinstance(error, ExceptionGroup):
        inner = error.subgroup(CryptoError)
        found: Any = inner if inner is not None else error
        while isinstance(found, ExceptionGroup):
            found = found.exceptions[0]
        error = found
    if isinstance(error, CryptoError):
        return error
    detail = " ".join(str(error).split())[:_SHOWN_CHARS]
    made = CryptoError(
        f"unexpected {type(error).__name__}: {detail}",
        remedy="Run it again with ZVTC_DEBUG=1 and report what it prints",
    )
    made.__cause__ = error
    return made


def _complain(error: CryptoError) -> int:
    if os.environ.get("ZVTC_DEBUG") == "1":
        raise error
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[red]error:[/red] {escape(str(error))}"
    )
    return USAGE if isinstance(error, UsageError) else FAILED


if __name__ == "__main__":
    main()
