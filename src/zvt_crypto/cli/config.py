"""`zvtc config`: every setting, its value, and where the value came from."""

import typer

from zvt_crypto.cli.display import print_json, print_rows
from zvt_crypto.cli.flags import JsonFlag
from zvt_crypto.core.errors import UsageError
from zvt_crypto.settings import Resolved, default_settings, load_settings

config = typer.Typer(no_args_is_help=True, help="Show settings and where they come from.")


@config.command()
def show(*, json: JsonFlag = False) -> None:
    """Print every setting with its value and origin; secrets are masked.

    Flags beat the environment, which beats zvtc.toml, which beats the defaults. If one of them is
    wrong, the defaults are shown, and the error.
    """
    try:
        resolved = load_settings()
    except UsageError:
        _print(default_settings(), json=json)
        raise
    _print(resolved, json=json)


def _print(resolved: Resolved, *, json: bool) -> None:
    rows = resolved.rows()
    if json:
        print_json(
            {
                "settings": [
                    {"key": r.key, "value": _plain(r.value), "origin": r.origin,
                     "variable": r.variable, "description": r.description}
                    for r in rows
                ]
            }
        )  # fmt: skip
        return
    print_rows(
        "", ("setting", "value", "from", "variable"),
        [(r.key, r.value, r.origin, r.variable) for r in rows],
    )  # fmt: skip


@config.command()
def path() -> None:
    """Print the settings file in use, or that there is none."""
    found = load_settings().file
    typer.echo(str(found) if found else "no settings file; zvtc.toml in this folder would be read")


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
