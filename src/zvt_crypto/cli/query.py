"""`zvtc query`: rows out of the store, in the format another program wants."""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from zvt_crypto.bootstrap.door import Door
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.result import Result
from zvt_crypto.cli.display import err
from zvt_crypto.cli.export import Format, write_rows
from zvt_crypto.cli.flags import (
    ExchangeArg,
    SimFlag,
    SinceFlag,
    StoreFlag,
    SymbolArg,
    UntilFlag,
    parse_bounds,
    parse_exchange,
    parse_interval,
)
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us

query = typer.Typer(
    no_args_is_help=True, help="Read rows from the store: candles, trades, funding."
)

FormatFlag = Annotated[Format, typer.Option("--format", "-f", help="How rows are written.")]
AsOfFlag = Annotated[
    str | None,
    typer.Option("--as-of", help="Values as they were known at this moment.", show_default=False),
]
LastFlag = Annotated[
    int | None, typer.Option("--last", min=1, help="Only so many newest rows.", show_default=False)
]


@query.command()
def candles(
    exchange: ExchangeArg,
    symbol: SymbolArg,
    interval: Annotated[str, typer.Argument(help="1m 5m 15m 30m 1h 4h 1d 1wk 1mon")],
    *,
    since: SinceFlag = None,
    until: UntilFlag = None,
    last: LastFlag = None,
    as_of: AsOfFlag = None,
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="Whether each candle agrees with its trades.")
    ] = False,
    format: FormatFlag = Format.TABLE,  # noqa: A002 - the flag's name
    store: StoreFlag = None,
    sim: SimFlag = None,
) -> None:
    """Write candles; `timestamp` is the open, `volume` base units, `quote_volume` quote units.

    Example: zvtc query candles binance BTC-USDT 1h --since 2024-01-01 --format csv
    """
    width = parse_interval(interval)
    name = parse_exchange(exchange)
    since_us, until_us = parse_bounds(since, until)

    async def work(door: Door) -> Result:
        return await door.candles(
            name, symbol, width, since_us, until_us, as_of=as_of, last=last, verdicts=verdicts
        )

    _answer(work, Kind.CANDLES, format, store, sim)


@query.command()
def trades(
    exchange: ExchangeArg,
    symbol: SymbolArg,
    *,
    since: SinceFlag = None,
    until: UntilFlag = None,
    last: LastFlag = None,
    as_of: AsOfFlag = None,
    format: FormatFlag = Format.TABLE,  # noqa: A002 - the flag's name
    store: StoreFlag = None,
    sim: SimFlag = None,
) -> None:
    """Write trades: timestamp,trade_id,price,size,side,fills; the side is the taker's."""
    name = parse_exchange(exchange)
    since_us, until_us = parse_bounds(since, until)

    async def work(door: Door) -> Result:
        return await door.trades(name, symbol, since_us, until_us, as_of=as_of, last=last)

    _answer(work, Kind.TRADES, format, store, sim)


@query.command()
def funding(
    exchange: ExchangeArg,
    symbol: SymbolArg,
    *,
    since: SinceFlag = None,
    until: UntilFlag = None,
    last: LastFlag = None,
    as_of: AsOfFlag = None,
    format: FormatFlag = Format.TABLE,  # noqa: A002 - the flag's name
    store: StoreFlag = None,
    sim: SimFlag = None,
) -> None:
    """Write settled funding: timestamp,funding_rate,interval_hours,mark_price."""
    name = parse_exchange(exchange)
    since_us, until_us = parse_bounds(since, until)

    async def work(door: Door) -> Result:
        return await door.funding(name, symbol, since_us, until_us, as_of=as_of, last=last)

    _answer(work, Kind.FUNDING, format, store, sim)


def _answer(
    work: Callable[[Door], Awaitable[Result]],
    kind: Kind,
    style: Format,
    store: str | None,
    sim: str | None,
) -> None:
    async def ask(platform: Platform) -> Result:
        return await work(Door(platform))

    result = run(ask, settings_from(store, sim))
    write_rows(result.table, kind, style, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    console = err()
    if result.made_from is not None:
        console.print(f"aggregated from stored {result.made_from} candles, never across a hole")
    if not result.is_complete and console.is_terminal:
        owed = ", ".join(f"{format_us(r.start)}..{format_us(r.end)}" for r in result.missing[:3])
        more = "" if len(result.missing) <= 3 else f" and {len(result.missing) - 3} more"  # noqa: PLR2004
        console.print(f"[yellow]incomplete:[/yellow] nothing is known of {owed}{more}")
