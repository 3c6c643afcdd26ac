"""`zvtc retain`: let old rows go, and with them what the ledger says of their time."""

import re
import time
from typing import Annotated, Final

import typer

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.display import print_json
from zvt_crypto.cli.flags import JsonFlag, StoreFlag, parse_kind
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.core.errors import BadRange, UsageError
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.ports.store import Retainer

_AGE: Final = re.compile(r"(\d{1,6})([hdwy])")
_SECONDS: Final = {"h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def retain(
    kind: Annotated[str, typer.Argument(help="candles, trades, quotes, ...", show_default=False)],
    *,
    older_than: Annotated[
        str,
        typer.Option("--older-than", help="An age (90d, 12w, 2y) or a date.", show_default=False),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; nobody can take it back.")] = False,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """Remove the rows of a kind that are older, in whole chunks of a server store.

    The ledger forgets their time, so nothing is owed and nothing is vouched for. To keep a kind
    short, run it every day.

    Example: zvtc retain trades --older-than 90d --yes
    """
    what = parse_kind(kind)
    before_us = moment_of(older_than, time.time_ns() // 1_000)
    if not yes:
        raise UsageError(
            f"{what} before {format_us(before_us)} would be gone for good",
            remedy="Run it again with --yes",
        )

    async def work(platform: Platform) -> int:
        if not isinstance(platform.store, Retainer):
            raise UsageError(
                f"the store {platform.store.url} keeps all it has",
                remedy="Only a store in PostgreSQL lets old rows go",
            )
        return await platform.store.retain(what, before_us)

    kept_from = run(work, settings_from(store))
    if json:
        print_json({"kind": what.value, "asked": before_us, "kept_from": kept_from})
    else:
        typer.echo(f"{what} are kept from {format_us(kept_from)} on")


def moment_of(text: str, now_us: int) -> int:
    """Return the moment an age or a date means.

    Raises:
        BadRange: it is neither, or in the future.
    """
    if found := _AGE.fullmatch(text.strip().lower()):
        return now_us - int(found[1]) * _SECONDS[found[2]] * 1_000_000
    try:
        moment = to_us(text)
    except ValueError as e:
        raise BadRange(
            f"{text!r} is no age and no date", remedy="Give 90d, 12w, 2y or a date"
        ) from e
    if moment > now_us:
        raise BadRange(f"{text!r} is in the future", remedy="Give 90d, 12w, 2y or a date gone by")
    return moment
