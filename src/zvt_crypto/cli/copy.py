"""`zvtc copy`: take data from one store to another, whichever their engines."""

from typing import Annotated, Any

import typer

from zvt_crypto.bootstrap.copying import store_to_copy_from, store_to_copy_to
from zvt_crypto.cli.display import LoadDisplay, out, print_json
from zvt_crypto.cli.flags import JsonFlag, SinceFlag, UntilFlag, parse_bounds
from zvt_crypto.cli.running import run_alone, settings_from
from zvt_crypto.cli.shape import series_fields, verified_fields
from zvt_crypto.core.errors import BadRange
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.services.copy import CopyConfig, CopyReport, SeriesCopy, StoreCopier, select

FAILED = 1


def copy(
    series: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERIES]...",
            help="exchange[:symbol[:kind[:interval]]], * for any; default: all.",
            show_default=False,
        ),
    ] = None,
    *,
    source: Annotated[str, typer.Option("--from", help="Store to copy from; it is left as it is.")],
    target: Annotated[str, typer.Option("--to", help="Store to copy to; made if it is not there.")],
    since: SinceFlag = None,
    until: UntilFlag = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Let the source win where the target holds other data."),
    ] = False,
    verify: Annotated[
        bool, typer.Option(help="Let the target recompute all of it from its rows at the end.")
    ] = True,
    json: JsonFlag = False,
) -> None:
    """Copy series with ledger, corrections and all they came with, and compare in the end.

    What the target holds already is not moved again, so the same command resumes. Ends with 1
    if the target does not hold the same.

    Example: zvtc copy --from ./data --to ./other binance:BTC-USDT okx:*:trades
    """
    settings = settings_from()
    start, end = parse_bounds(since, until)
    asked = Range(ALWAYS.start if start is None else start, ALWAYS.end if end is None else end)
    if asked.is_empty:
        raise BadRange("the range is empty")

    async def work() -> tuple[CopyReport, str, str]:
        async with store_to_copy_from(source, settings.state_dir) as first:
            # Before anything is made: what is asked for has to be there.
            wanted = select(series or [], await first.keeping())
            async with store_to_copy_to(target, settings.state_dir, first) as second:
                copier = StoreCopier(first, second, CopyConfig(replace=replace, verify=verify))
                with LoadDisplay(copier, quiet=json):
                    return await copier.copy(wanted, asked), first.url, second.url

    report, first, second = run_alone(work)
    if json:
        print_json({"from": first, "to": second, **report_fields(report)})
    else:
        _print(report)
    if not report.is_complete:
        raise typer.Exit(FAILED)


def report_fields(report: CopyReport) -> dict[str, Any]:
    """Return what a copy did."""
    return {
        "series": [_copy_fields(one) for one in report.series],
        "instruments": report.instruments,
        "verified": None if report.verified is None else verified_fields(report.verified),
        "seconds": round(report.seconds, 3),
        "status": "complete" if report.is_complete else "different",
    }


def _copy_fields(one: SeriesCopy) -> dict[str, Any]:
    fields: dict[str, Any] = {
        **series_fields(one.series),
        "rows": one.rows,
        "digest": str(one.digest),
        "ranges": one.ranges,
        "rows_moved": one.moved,
        "rows_changed": one.changed.rows,
        "corrections": one.changed.corrections,
        "rejected": one.changed.rejected,
        "reconciled": one.changed.reconciled,
        "parcels": one.parcels,
        "differences": [
            {**_range_fields(found.range), "detail": found.detail} for found in one.disagreements
        ],
        "status": _state(one),
    }
    if one.error is not None:
        fields["error"] = {
            "code": one.error.code,
            "message": one.error.message,
            "remedy": one.error.remedy,
        }
    return fields


def _range_fields(found: Range) -> dict[str, Any]:
    """Return both bounds; one that is open is null."""
    return {
        "start": None if found.start == ALWAYS.start else format_us(found.start),
        "end": None if found.end == ALWAYS.end else format_us(found.end),
    }


def _state(one: SeriesCopy) -> str:
    if one.error is not None:
        return "stopped"
    return "complete" if one.is_complete else "different"


def _print(report: CopyReport) -> None:
    console = out()
    for one in report.series:
        colour = "green" if one.is_complete else "red"
        console.print(
            f"[bold]{one.series}[/bold]  [{colour}]{_state(one)}[/{colour}]  "
            f"{one.rows:,} rows, {one.moved:,} moved, {one.changed.rows:,} changed"
        )
        for found in one.disagreements:
            fields = _range_fields(found.range)
            shown = f"{fields['start'] or ''}..{fields['end'] or ''}"
            console.print(f"  [red]different[/red] {shown}: {found.detail}")
        if one.error is not None:
            console.print(f"  [red]stopped:[/red] {one.error}")
    if not report.series:
        console.print("The source holds no series.")
    if report.verified is not None:
        for fault in report.verified.faults:
            console.print(
                f"[red]fault[/red] {fault.series} {format_us(fault.start)}.."
                f"{format_us(fault.end)}: {fault.detail}"
            )
        console.print(
            f"{report.verified.ranges:,} ranges with {report.verified.rows:,} rows recomputed "
            f"at the target, {len(report.verified.faults):,} faults"
        )
