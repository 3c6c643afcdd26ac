"""`zvtc load` and `zvtc sync`: fetch history into the store, provably complete."""

from collections.abc import Sequence
from typing import Annotated

import typer

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.display import LoadDisplay, print_json, print_report
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
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.cli.shape import load_fields
from zvt_crypto.core.series import Kind
from zvt_crypto.services.loader import LoadReport, LoadRequest

INCOMPLETE = 3
"""Exit code: done as far as possible; the ledger says what is missing."""

IntervalFlag = Annotated[
    list[str] | None,
    typer.Option("--interval", "-i", help="1m 5m 15m 30m 1h 4h 1d 1wk 1mon; may be repeated."),
]
KindFlag = Annotated[
    list[str] | None,
    typer.Option("--kind", "-k", help="candles, trades or funding; may be repeated."),
]
ArchiveFlag = Annotated[
    str | None,
    typer.Option("--archive", help="Bulk files: auto, always or never.", show_default="auto"),
]
ConfirmFlag = Annotated[
    str | None,
    typer.Option(
        "--confirm", help="Ask twice for: holes, or every one of the rows.", show_default="holes"
    ),
]


def load(
    exchange: ExchangeArg,
    symbols: SymbolsArg,
    *,
    interval: IntervalFlag = None,
    kind: KindFlag = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    archive: ArchiveFlag = None,
    confirm: ConfirmFlag = None,
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Ask again for what is held, and correct it.")
    ] = False,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """Load history into the store; what the ledger holds already is not fetched again.

    Ends with 0 when complete, 3 when something is missing: `zvtc gaps` says what.

    Examples:
      zvtc load binance BTC-USDT ETH-USDT --interval 1m --since 2024-01-01 --until 2024-02-01

      zvtc load okx BTC-USDT-PERP --kind funding --kind candles -i 1h --since 2024-01-01
    """
    requests = load_requests(
        exchange, symbols, intervals=interval, kinds=kind, since=since, until=until
    )
    settings = settings_from(store, sim, **{"load.archive": archive, "load.confirm": confirm})

    async def work(platform: Platform) -> LoadReport:
        with LoadDisplay(platform.loader, quiet=json, sim=settings.sim):
            return await platform.loader.load(requests, refetch=recheck)

    finish(run(work, settings, create=True, check=requests), as_json=json, sim=settings.sim)


def load_requests(
    exchange: str,
    symbols: Sequence[str],
    *,
    intervals: Sequence[str] | None,
    kinds: Sequence[str] | None,
    since: str | None,
    until: str | None,
) -> list[LoadRequest]:
    """Return one request per symbol, kind and interval.

    Raises:
        UsageError: an argument is wrong; nothing was done.
    """
    name = parse_exchange(exchange)
    start, end = parse_bounds(since, until)
    widths = [parse_interval(text) for text in intervals or ["1m"]]
    wanted = [parse_kind(text) for text in kinds or ["candles"]]
    made: list[LoadRequest] = []
    for symbol in symbols:
        for one in wanted:
            spans = widths if one is Kind.CANDLES else [None]
            made += [LoadRequest(name, symbol, one, width, start, end) for width in spans]
    return made


def show(report: LoadReport, *, as_json: bool, sim: str | None) -> None:
    """Print what a load did."""
    if as_json:
        print_json({**load_fields(report), "simulator": sim})
    else:
        print_report(report, sim)


def finish(report: LoadReport, *, as_json: bool, sim: str | None) -> None:
    """Print what a load did and end with 0 or 3; a simulated market is named as such."""
    show(report, as_json=as_json, sim=sim)
    if not report.is_complete:
        raise typer.Exit(INCOMPLETE)


__all__ = ["INCOMPLETE", "finish", "load", "load_requests", "show"]
