"""`zvtc publish`: show the store to Spark, Trino, DuckDB and Polars, without copying a row."""

from pathlib import Path
from typing import Annotated

import typer

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.display import print_json, print_rows
from zvt_crypto.cli.flags import JsonFlag, StoreFlag
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.core.errors import UsageError
from zvt_crypto.ports.store import Published, Publisher, TableFormat


def publish(
    form: Annotated[str, typer.Argument(metavar="delta|iceberg", show_default=False)],
    *,
    target: Annotated[
        Path | None, typer.Option("--target", help="Folder of the Iceberg catalog.")
    ] = None,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """Register the stored files as Delta or Iceberg tables, one for each kind.

    No row is copied. Publish again after loading: a table shows what was held at that moment.

    Example: zvtc publish delta
    """
    known: dict[str, TableFormat] = {"delta": "delta", "iceberg": "iceberg"}
    wanted = known.get(form.lower())
    if wanted is None:
        raise UsageError(f"unknown table format {form!r}", remedy="Known: delta, iceberg")

    async def work(platform: Platform) -> list[Published]:
        if not isinstance(platform.store, Publisher):
            raise UsageError(
                f"the store {platform.store.url} has no files to publish",
                remedy="Publish from a folder or an s3:// store",
            )
        return await platform.store.publish(wanted, target)

    made = run(work, settings_from(store))
    if json:
        print_json(
            {
                "tables": [
                    {"kind": str(one.kind), "url": one.url, "files": one.files, "rows": one.rows}
                    for one in made
                ]
            }
        )
        return
    rows = [(one.kind, f"{one.files:,}", f"{one.rows:,}", one.url) for one in made]
    print_rows(f"{len(made)} {wanted} tables", ("kind", "files", "rows", "url"), rows)
