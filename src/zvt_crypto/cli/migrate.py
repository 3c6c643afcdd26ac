"""`zvtc migrate`: bring the schema of a server store to this version, or back."""

import re
from typing import Annotated

import typer

from zvt_crypto.bootstrap.engine import migrate_store, migration_script
from zvt_crypto.cli.display import print_json
from zvt_crypto.cli.flags import JsonFlag, StoreFlag
from zvt_crypto.cli.running import settings_from
from zvt_crypto.core.errors import UsageError

_REVISION = re.compile(r"head|base|\d{4}")


def migrate(
    *,
    to: Annotated[
        str, typer.Option("--to", help="A revision (0001, 0002, ...), head or base.")
    ] = "head",
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the statements for this server; run none.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Go back, though that removes what came since.")
    ] = False,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """Bring the schema of a PostgreSQL store up to date; all of it happens, or nothing.

    Have a backup at hand, and no process of another version running. A new store needs no
    migration: it is made when it is first opened for writing.

    With --sql somebody who has the rights can run it: it is written for the store as it is now.

    Example: zvtc migrate --store postgresql://user@host/database
    """
    if not _REVISION.fullmatch(to):
        raise UsageError(f"{to!r} is no revision", remedy="Give four digits, head or base")
    if sql:
        typer.echo(migration_script(settings_from(store).store, to), nl=False)
        return
    if to != "head" and not yes:
        raise UsageError(
            "going back to an earlier revision removes what came since, data included",
            remedy="Make a backup, then run it again with --yes",
        )
    before, after = migrate_store(settings_from(store).store, to)
    if json:
        print_json({"before": before, "after": after})
    elif before == after:
        typer.echo(f"schema {after}: up to date")
    else:
        typer.echo(f"schema {before or 'empty'} -> {after or 'empty'}")
