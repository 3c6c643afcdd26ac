"""`zvtc retain` and `zvtc upkeep`: what a store lets go, and how it is kept in order."""

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
from zvt_crypto.ports.store import Housekeeper, Retainer, Upkept

_AGE: Final = re.compile(r"(\d{1,6})([hdwy])")
_SECONDS: Final = {"h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def retain(
    kind: Annotated[str, typer.Argument(help="candles, trades, quotes, ...", show_default=False)],
    *,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", help="An age (90d, 12w, 2y) or a date.", show_default=False),
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help="From now on, too: the store remembers the age.")
    ] = False,
    forever: Annotated[
        bool, typer.Option("--forever", help="Remember no age any more: keep what there is.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; nobody can take it back.")] = False,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """Remove the rows of a kind that are older, in whole chunks of a server store.

    The ledger forgets their time, so nothing is owed and nothing is vouched for. A rule made with
    --always is applied every ten minutes while somebody writes to the store, and by `zvtc upkeep`;
    `zvtc status` shows it.

    Example: zvtc retain trades --older-than 90d --always --yes
    """
    what = parse_kind(kind)
    if forever == (older_than is not None) or (forever and always):
        raise UsageError("say one of --older-than and --forever", remedy="See zvtc retain --help")
    if older_than is None:
        run(lambda platform: _retainer(platform).set_retention(what, None), settings_from(store))
        typer.echo(f"{what} are kept for ever")
        return
    age_s = age_of(older_than) if always else None
    before_us = moment_of(older_than, time.time_ns() // 1_000)
    if not yes:
        raise UsageError(
            f"{what} before {format_us(before_us)} would be gone for good",
            remedy="Run it again with --yes",
        )

    async def work(platform: Platform) -> int:
        kept = _retainer(platform)
        if age_s is not None:
            await kept.set_retention(what, age_s)
        return await kept.retain(what, before_us)

    kept_from = run(work, settings_from(store))
    if json:
        print_json(
            {"kind": what.value, "asked": before_us, "kept_from": kept_from, "always": always}
        )
    else:
        rule = ", and so every day to come" if always else ""
        typer.echo(f"{what} are kept from {format_us(kept_from)} on{rule}")


def upkeep(*, store: StoreFlag = None, json: JsonFlag = False) -> None:
    """Do now what a store does by itself every ten minutes while it is written to.

    Rules of `zvtc retain --always` are applied, rows that hardly change any more go into files, and
    files nobody needs are removed. One process of all that share a store does so at a time.

    Example: zvtc upkeep --store 'postgresql://host/market?segments=s3://bucket/market'
    """

    async def work(platform: Platform) -> Upkept | None:
        if not isinstance(platform.store, Housekeeper):
            raise UsageError(
                f"the store {platform.store.url} needs no upkeep",
                remedy="Name a folder or a store in PostgreSQL with --store",
            )
        return await platform.store.upkeep()

    done = run(work, settings_from(store))
    if json:
        print_json(
            None
            if done is None
            else {
                "kept_from": {kind.value: at for kind, at in done.kept_from.items()},
                "filed_rows": done.filed_rows,
                "freed_bytes": done.freed_bytes,
            }
        )
    elif done is None:
        typer.echo("another process is at it")
    else:
        for kind, kept_from in done.kept_from.items():
            typer.echo(f"{kind} are kept from {format_us(kept_from)} on")
        typer.echo(f"{done.filed_rows:,} rows moved into files, {done.freed_bytes:,} bytes freed")


def _retainer(platform: Platform) -> Retainer:
    if not isinstance(platform.store, Retainer):
        raise UsageError(
            f"the store {platform.store.url} keeps all it has",
            remedy="Only a store in PostgreSQL lets old rows go",
        )
    return platform.store


def age_of(text: str) -> int:
    """Return how many seconds an age like 90d means."""
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise BadRange(f"{text!r} is no age", remedy="Give 90d, 12w or 2y")
    return int(found[1]) * _SECONDS[found[2]]


def moment_of(text: str, now_us: int) -> int:
    """Return the moment an age or a date means.

    Raises:
        BadRange: it is neither, or in the future.
    """
    if _AGE.fullmatch(text.strip().lower()):
        return now_us - age_of(text) * 1_000_000
    try:
        moment = to_us(text)
    except ValueError as e:
        raise BadRange(
            f"{text!r} is no age and no date", remedy="Give 90d, 12w, 2y or a date"
        ) from e
    if moment > now_us:
        raise BadRange(f"{text!r} is in the future", remedy="Give 90d, 12w, 2y or a date gone by")
    return moment
