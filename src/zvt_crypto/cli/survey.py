"""`zvtc status` and `zvtc instruments`: what is there, here and at the exchanges."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.presence import read_all
from zvt_crypto.cli.display import out, print_json, print_rows
from zvt_crypto.cli.flags import (
    EXCHANGES,
    ExchangeArg,
    JsonFlag,
    SimFlag,
    StoreFlag,
    parse_exchange,
)
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.cli.shape import info_fields, instrument_fields
from zvt_crypto.cli.top import headline, troubles
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.record import ExchangeStatus
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.net.keeper import told
from zvt_crypto.ports.lease import Lease, Leases
from zvt_crypto.ports.store import Described, Fact, SeriesInfo

FAILED = 1
_SHOWN = 4


def status(
    exchanges: Annotated[
        list[str] | None, typer.Argument(help="Ask these exchanges.", show_default="all")
    ] = None,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no exchange.")] = False,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show what the store holds, who works on it, what runs here, and whether exchanges answer.

    Of an exchange it tells how far clocks differ, of a running stream how its series are. Ends
    with 1 if an exchange that was asked does not answer.
    """
    names = [] if offline else [parse_exchange(name) for name in exchanges or EXCHANGES]
    # A status is asked by someone who waits: a dead exchange is reported, not insisted on.
    settings = settings_from(store, sim, **{"net.retry_for_s": 3.0})

    async def work(
        platform: Platform,
    ) -> tuple[str, list[Fact], list[SeriesInfo], list[Lease], list[ExchangeStatus]]:
        kept = platform.store
        held = await kept.series()
        facts = await kept.describe() if isinstance(kept, Described) else []
        leases = await kept.held() if isinstance(kept, Leases) else []
        found = await asyncio.gather(*(platform.connectors[name].status() for name in names))
        return kept.url, facts, held, leases, list(found)

    url, facts, held, leases, found = run(work, settings)
    running = read_all(settings.state_dir, SystemClock())
    if json:
        print_json(
            {
                "store": {
                    "url": url,
                    "facts": [
                        {"name": one.name, "value": one.value, "remedy": one.remedy or None}
                        for one in facts
                    ],
                    "series": [info_fields(info) for info in held],
                },
                "exchanges": [
                    {
                        "exchange": one.exchange,
                        "up": one.is_up,
                        "skew_ms": one.skew_us / 1000,
                        "detail": one.detail,
                    }
                    for one in found
                ],
                "leases": [
                    {"name": one.name, "holder": one.holder, "left_s": round(one.left_s, 1)}
                    for one in leases
                ],
                "processes": running,
                "simulator": settings.sim,
            }
        )
    else:
        if settings.sim:
            out().print(f"[yellow]simulated exchanges at {settings.sim}[/yellow]")
        columns = ("exchange", "symbol", "kind", "interval", "rows", "first", "last", "bytes")
        rows = [[info_fields(info)[c] for c in columns] for info in held]
        print_rows(f"store {url}: {len(held)} series", columns, rows)
        _show_facts(facts)
        for line in holders(leases):
            out().print(escape(line))
        for one in running:
            _show_process(one)
        for one in found:
            state = "[green]up[/green]" if one.is_up else "[red]down[/red]"
            skew = f"clock {one.skew_us / 1000:+.0f} ms" if one.is_up else one.detail
            out().print(f"{one.exchange:<9} {state}  {skew}")
    if not all(one.is_up for one in found):
        raise typer.Exit(FAILED)


def _show_facts(facts: Sequence[Fact]) -> None:
    for fact in facts:
        out().print(f"  [bold]{fact.name}[/bold] {escape(fact.value)}")
        if fact.remedy:
            out().print(f"    [yellow]{escape(fact.remedy)}[/yellow]")


def _show_process(one: dict[str, Any]) -> None:
    out().print(headline(one))
    for trouble in troubles(one) if one["stage"] == "live" else ():
        out().print(f"  [red]{escape(trouble)}[/red]")
    verdicts = Counter(series["verdict"] for series in one["series"])
    if verdicts:
        told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        out().print(f"  {len(one['series'])} series: {told}; `zvtc top` shows each")


def holders(leases: Sequence[Lease]) -> list[str]:
    """Return who holds what, a line each: on which machine it runs, and the first of its leases."""
    by_holder: dict[str, list[str]] = {}
    for one in leases:
        if "/member/" not in one.name:
            by_holder.setdefault(one.holder, []).append(one.name)
    lines: list[str] = []
    for holder, names in by_holder.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lines.append(f"{told(holder)} works on {', '.join(names[:_SHOWN])}{more}")
    return lines


def instruments(
    exchange: ExchangeArg,
    search: Annotated[
        str | None, typer.Argument(help="Only names that contain this.", show_default=False)
    ] = None,
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the exchange even if the store knows.")
    ] = False,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """List an exchange's instruments with every spelling; the store keeps their history.

    Example: zvtc instruments okx BTC
    """
    name = parse_exchange(exchange)

    async def work(platform: Platform) -> list[Instrument]:
        return list(await platform.loader.instruments(name, refresh=refresh))

    found = run(work, settings_from(store, sim), create=True)
    wanted = (search or "").upper()
    fields = [
        instrument_fields(one)
        for one in sorted(found, key=lambda i: i.symbol)
        if any(wanted in text.upper() for text in (one.symbol, one.native, one.ccxt))
    ]
    if json:
        print_json({"instruments": fields})
        return
    columns = ("symbol", "native", "ccxt", "market", "status", "tick_size", "size_step")
    print_rows(
        f"{name}: {len(fields):,} instruments", columns, [[f[c] for c in columns] for f in fields]
    )
