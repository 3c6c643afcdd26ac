"""`zvtc query`: rows out of the store, in the format another program wants."""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import pyarrow as pa
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
from zvt_crypto.core.record import Book
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us

query = typer.Typer(
    no_args_is_help=True, help="Read rows from the store: candles, trades, funding, books."
)

_LEVEL: Final = pa.struct([("price", pa.float64()), ("size", pa.float64())])

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


@query.command()
def book_deltas(
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
    """Write the changes of a book, a message a row; a size of zero removes its price."""
    name = parse_exchange(exchange)
    since_us, until_us = parse_bounds(since, until)

    async def work(door: Door) -> Result:
        return await door.book_deltas(name, symbol, since_us, until_us, as_of=as_of, last=last)

    _answer(work, Kind.BOOK_DELTAS, format, store, sim)


@query.command()
def book_snapshots(
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
    """Write whole books as they were stored, one a row, best levels first."""
    name = parse_exchange(exchange)
    since_us, until_us = parse_bounds(since, until)

    async def work(door: Door) -> Result:
        return await door.book_snapshots(name, symbol, since_us, until_us, as_of=as_of, last=last)

    _answer(work, Kind.BOOK_SNAPSHOTS, format, store, sim)


@query.command()
def book(
    exchange: ExchangeArg,
    symbol: SymbolArg,
    *,
    at: Annotated[str, typer.Option("--at", help="The moment, in the exchange's time.")],
    depth: Annotated[int, typer.Option("--depth", min=1, help="Levels a side.")] = 20,
    format: FormatFlag = Format.TABLE,  # noqa: A002 - the flag's name
    store: StoreFlag = None,
    sim: SimFlag = None,
) -> None:
    """Write a book as it stood: bid_size,bid_price,ask_price,ask_size, best levels first.

    Example: zvtc query book okx BTC-USDT --at 2024-01-01T12:00:00Z --depth 5
    """
    name = parse_exchange(exchange)

    async def ask(platform: Platform) -> Book:
        return await Door(platform).book_at(name, symbol, at, depth=depth)

    found = run(ask, settings_from(store, sim))
    bids, asks = (
        pa.array([*side, *[(None, None)] * (depth - len(side))][:depth], _LEVEL)
        for side in (found.bids, found.asks)
    )
    columns = {
        "bid_size": bids.field(1),
        "bid_price": bids.field(0),
        "ask_price": asks.field(0),
        "ask_size": asks.field(1),
    }
    rows = max(len(found.bids), len(found.asks))
    write_rows(pa.table(columns).slice(0, rows), Kind.BOOK, format, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    number = "" if found.sequence is None else f", number {found.sequence}"
    err().print(f"as of the change at {format_us(found.ts_event)}{number}")


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
