"""The live part of `zvtc demo`: a stream from all four exchanges, damaged and repaired."""

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table

from zvt_crypto.bootstrap.live import Live
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.warm import warm_up
from zvt_crypto.core.ledger import SETTLED
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream.feed import Feed

_CALM_S: Final = 3.0
_DAMAGED_S: Final = 5.0
_HEALED_WITHIN_S: Final = 40.0
_LOOK_S: Final = 0.2
_FAULTS: Final[tuple[dict[str, object], ...]] = (
    {"kind": "ws_drop", "channel": "trades", "probability": 0.2},
    {"kind": "ws_disconnect", "every": 60},
)


async def show_live(
    platform: Platform, console: Console, sim: str, symbols: Mapping[str, str]
) -> bool:
    """Stream for some seconds, damage it, wait until it is whole; return whether it is.

    Args:
        platform: open on a store and the simulator.
        console: where to show it.
        sim: the simulator's address, to ask it for faults.
        symbols: what to stream, by exchange.
    """
    series = [
        Series(exchange, symbol, kind)
        for exchange, symbol in symbols.items()
        for kind in (Kind.TRADES, Kind.QUOTES, Kind.BOOK)
    ]
    trades = [one for one in series if one.kind is Kind.TRADES]
    warm_up()
    async with Live(platform, "demo") as live:
        await live.service.add(series)
        feeds = {feed.series: feed for feed in live.service.feeds()}
        await asyncio.sleep(_CALM_S)
        for fault in _FAULTS:
            await asyncio.to_thread(_ask, sim, "POST", fault)
        console.print(
            f"for {_DAMAGED_S:.0f} s every fifth message of trades is lost, "
            "and lines are cut again and again ..."
        )
        await asyncio.sleep(_DAMAGED_S)
        await asyncio.to_thread(_ask, sim, "DELETE")
        await asyncio.sleep(_CALM_S)
        await _healed([feeds[one] for one in trades])
        reconnects = _reconnects(live)
    owed = 0
    table = Table("exchange", "symbol")
    for name in ("trades", "quotes", "book messages", "reconnects", "gaps", "repaired"):
        table.add_column(name, justify="right")
    for one in trades:
        entries = await platform.store.coverage(one)
        owed += sum(entry.verdict not in SETTLED for entry in entries)
        counters = feeds[one].counters
        counts = [
            feeds[Series(one.exchange, one.symbol, kind)].counters.messages
            for kind in (Kind.TRADES, Kind.QUOTES, Kind.BOOK)
        ]
        cells = [*counts, reconnects.get(one.exchange, 0), counters.gaps, counters.repaired]
        table.add_row(one.exchange, one.symbol, *(f"{cell:,}" for cell in cells))
    console.print(table)
    state = "[red]trades are owed[/red]" if owed else "[green]no trade is owed[/green]"
    console.print(f"the ledger, from the first to the last: {state}")
    return not owed


async def _healed(feeds: list[Feed]) -> None:
    try:
        async with asyncio.timeout(_HEALED_WITHIN_S):
            while any(feed.open_gaps for feed in feeds):
                await asyncio.sleep(_LOOK_S)
                for feed in feeds:
                    await feed.whole.wait()
    except TimeoutError:
        return  # the ledger says so


def _reconnects(live: Live) -> dict[str, int]:
    return {
        name: sum(one.stats.reconnects for one in venue.pool.connections)
        for name, venue in live.service.venues.items()
    }


def _ask(sim: str, method: str, fault: dict[str, object] | None = None) -> None:
    body = None if fault is None else json.dumps(fault).encode()
    request = urllib.request.Request(f"{sim}/_faults", data=body, method=method)  # noqa: S310
    with urllib.request.urlopen(request) as reply:  # noqa: S310 - our own simulator
        reply.read()


__all__ = ["show_live"]
