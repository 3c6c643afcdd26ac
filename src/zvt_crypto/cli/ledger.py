"""`zvtc coverage gaps verify repair plan`: what is held, what is owed, and healing it."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from zvt_crypto.bootstrap.door import Door
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.display import (
    LoadDisplay,
    coverage_bar,
    legend,
    out,
    print_json,
    print_report,
    print_rows,
)
from zvt_crypto.cli.flags import (
    ExchangeArg,
    JsonFlag,
    SimFlag,
    SinceFlag,
    StoreFlag,
    SymbolsArg,
    UntilFlag,
    parse_bounds,
    parse_exchange,
    parse_interval,
    parse_kind,
)
from zvt_crypto.cli.load import INCOMPLETE, ArchiveFlag, IntervalFlag, KindFlag, load_requests
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.cli.shape import (
    coverage_fields,
    info_fields,
    load_fields,
    plan_fields,
    series_fields,
    verified_fields,
)
from zvt_crypto.core.ledger import Coverage, Source, Verdict, join, unknown
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.store import SeriesInfo, Verified
from zvt_crypto.services.loader import LoadReport, SeriesPlan

FAILED = 1

ExchangeFilter = Annotated[
    str | None, typer.Argument(help="Only this exchange.", show_default=False)
]
SymbolFilter = Annotated[str | None, typer.Argument(help="Only this symbol.", show_default=False)]
IntervalFilter = Annotated[
    str | None, typer.Argument(help="Only candles of this interval.", show_default=False)
]
KindFilter = Annotated[
    str | None, typer.Option("--kind", "-k", help="Only this kind.", show_default=False)
]

Held = list[tuple[SeriesInfo, Range, list[Coverage]]]


def coverage(
    exchange: ExchangeFilter = None,
    symbol: SymbolFilter = None,
    interval: IntervalFilter = None,
    *,
    kind: KindFilter = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show what the ledger says of every series: complete, empty, outage, missing or lost.

    Example: zvtc coverage binance BTC-USDT 1m --since 2024-01-01 --json
    """
    held = _held(exchange, symbol, interval, kind, since=since, until=until, store=store)
    if json:
        print_json(
            {
                "series": [
                    {**info_fields(info), "ranges": [coverage_fields(e) for e in ledger]}
                    for info, _, ledger in held
                ],
                "ranges": [
                    {**series_fields(info.series), **coverage_fields(entry)}
                    for info, _, ledger in held
                    for entry in ledger
                ],
            }
        )
        return
    console = out()
    for info, asked, ledger in held:
        console.print(f"[bold]{info.series}[/bold]  {info.rows:,} rows")
        picture = coverage_bar(asked, ledger)
        console.print(f"  {format_us(asked.start)} {picture} {format_us(asked.end)}")
    console.print(legend() if held else "The store holds nothing that matches.")


def gaps(
    exchange: ExchangeFilter = None,
    symbol: SymbolFilter = None,
    interval: IntervalFilter = None,
    *,
    kind: KindFilter = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """List every range without data, with its verdict: why there is none, or that it is owed.

    Time inside a series that was never asked for is listed as `unknown`.
    """
    held = _held(exchange, symbol, interval, kind, since=since, until=until, store=store)
    found = [
        {**series_fields(info.series), **fields}
        for info, asked, ledger in held
        for fields in _gaps(asked, ledger)
    ]
    if json:
        print_json({"ranges": found})
        return
    columns = ("exchange", "symbol", "kind", "interval", "start", "end", "verdict", "source")
    print_rows(
        f"{len(found):,} ranges without data", columns, [[g[c] for c in columns] for g in found]
    )


def verify(
    exchange: ExchangeFilter = None,
    symbol: SymbolFilter = None,
    interval: IntervalFilter = None,
    *,
    kind: KindFilter = None,
    store: StoreFlag = None,
    json: JsonFlag = False,
) -> None:
    """Recompute rows and digests from the stored data; they must agree with the ledger.

    Ends with 1 if they do not: `zvtc repair` throws the damaged rows away and loads them again.
    """

    async def work(platform: Platform) -> Verified:
        wanted = await _matching(platform, exchange, symbol, interval, kind)
        return await platform.store.verify([info.series for info in wanted])

    found = run(work, settings_from(store))
    if json:
        print_json(verified_fields(found))
    else:
        out().print(f"{found.ranges:,} ranges with {found.rows:,} rows recomputed")
        for fault in found.faults:
            out().print(
                f"[red]fault[/red] {fault.series} {format_us(fault.start)}.."
                f"{format_us(fault.end)}: {fault.detail}"
            )
        out().print("[red]faulty[/red]" if found.faults else "[green]verified[/green]")
    if found.faults:
        raise typer.Exit(FAILED)


def repair(
    exchange: ExchangeFilter = None,
    symbol: SymbolFilter = None,
    interval: IntervalFilter = None,
    *,
    kind: KindFilter = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Only load what is missing; trust the rest.")
    ] = False,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """Heal the store: throw away rows that `verify` refutes, and load everything missing."""
    settings = settings_from(store, sim)

    async def work(platform: Platform) -> tuple[Verified, LoadReport]:
        wanted = await _matching(platform, exchange, symbol, interval, kind)
        with LoadDisplay(platform.loader, quiet=json, sim=settings.sim):
            return await platform.loader.repair(
                [info.series for info in wanted], verify=not no_verify
            )

    found, report = run(work, settings)
    if json:
        print_json(
            {**load_fields(report), "verified": verified_fields(found), "simulator": settings.sim}
        )
    else:
        for fault in found.faults:
            out().print(f"threw away {fault.series}: {fault.detail}")
        if not report.series:
            out().print("[green]nothing is missing[/green]")
        print_report(report, settings.sim)
    if not report.is_complete:
        raise typer.Exit(INCOMPLETE)


def plan(
    exchange: ExchangeArg,
    symbols: SymbolsArg,
    *,
    interval: IntervalFlag = None,
    kind: KindFlag = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    archive: ArchiveFlag = None,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """Show what a load would take, before it starts: requests, weight, minutes, bytes.

    Example: zvtc plan binance BTC-USDT --interval 1m --since 2024-01-01 --until 2025-01-01
    """
    requests = load_requests(
        exchange, symbols, intervals=interval, kinds=kind, since=since, until=until
    )
    settings = settings_from(store, sim, **{"load.archive": archive})

    async def work(platform: Platform) -> list[SeriesPlan]:
        return await platform.loader.plan(requests)

    plans = [plan_fields(one) for one in run(work, settings, create=True, check=requests)]
    if json:
        print_json({"plan": plans, "simulator": settings.sim})
        return
    columns = ("exchange", "symbol", "kind", "interval", "rows", "archive_files", "requests",
               "weight", "minutes", "bytes")  # fmt: skip
    print_rows("", columns, [[_human(one[c]) for c in columns] for one in plans])


def _held(
    exchange: str | None,
    symbol: str | None,
    interval: str | None,
    kind: str | None,
    *,
    since: str | None,
    until: str | None,
    store: str | None,
) -> Held:
    start, end = parse_bounds(since, until)

    async def work(platform: Platform) -> Held:
        found: Held = []
        for info in await _matching(platform, exchange, symbol, interval, kind):
            ledger = await platform.store.coverage(info.series)
            if not ledger:
                continue
            asked = Range(
                ledger[0].start if start is None else start, ledger[-1].end if end is None else end
            )
            found.append((info, asked, await platform.store.coverage(info.series, asked)))
        return found

    return run(work, settings_from(store))


async def _matching(
    platform: Platform,
    exchange: str | None,
    symbol: str | None,
    interval: str | None,
    kind: str | None,
) -> list[SeriesInfo]:
    """Return the stored series that all given filters allow."""
    name = None if exchange is None else parse_exchange(exchange)
    width = None if interval is None else parse_interval(interval)
    what = None if kind is None else parse_kind(kind)
    canonical = None
    if symbol is not None and name is not None:
        canonical = await Door(platform).resolve(name, symbol)

    def allowed(series: Series) -> bool:
        return (
            (name is None or series.exchange == name)
            and (canonical is None or series.symbol == canonical)
            and (width is None or series.interval is width)
            and (what is None or series.kind is what)
        )

    return [info for info in await platform.store.series() if allowed(info.series)]


def _gaps(asked: Range, ledger: Sequence[Coverage]) -> list[dict[str, Any]]:
    """Return what of `asked` holds no data; neighbours of one verdict are one gap."""
    holes = [
        Coverage(e.start, e.end, e.verdict, Source.REST)
        for e in ledger
        if e.verdict is not Verdict.OBSERVED
    ]
    sources = {e.start: str(e.source) for e in ledger}
    found = [
        {**coverage_fields(hole), "source": sources.get(hole.start, "")} for hole in join(holes)
    ]
    found += [
        {**coverage_fields(Coverage(r.start, r.end, Verdict.MISSING, Source.REST)),
         "verdict": "unknown", "source": ""}
        for r in unknown(asked, ledger)
    ]  # fmt: skip
    return sorted(found, key=lambda gap: gap["start"])


def _human(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value or "")
