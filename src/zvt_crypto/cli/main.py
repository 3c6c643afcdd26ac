"""`zvtc`: every command, and what its exit codes mean.

0 done, 1 failed, 2 wrong usage, 3 done but incomplete, 130 stopped by the user.
"""

import logging
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from zvt_crypto import __version__
from zvt_crypto.cli import config, demo, ledger, load, publish, query, sim, survey, sync
from zvt_crypto.cli.bench import bench
from zvt_crypto.cli.display import written_whole
from zvt_crypto.core.errors import CryptoError, UsageError

FAILED, USAGE, STOPPED = 1, 2, 130

_SHOWN_CHARS = 300

app = typer.Typer(
    name="zvtc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Crypto market data with proof of completeness.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but incomplete.",
)
app.command()(demo.demo)
app.command()(load.load)
app.command()(sync.sync)
app.add_typer(query.query, name="query")
app.command()(ledger.coverage)
app.command()(ledger.gaps)
app.command()(ledger.verify)
app.command()(ledger.repair)
app.command()(ledger.plan)
app.command()(survey.status)
app.command()(survey.instruments)
app.add_typer(bench, name="bench")
app.command()(sim.sim)
app.command()(publish.publish)
app.add_typer(config.config, name="config")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(f"zvtc {__version__}")
        raise typer.Exit


@app.callback()
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
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    sys.stdout = written_whole(sys.stdout)
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        code: Any = app(arguments, standalone_mode=False)
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
