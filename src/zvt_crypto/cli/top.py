"""`zvtc top`: what running streams are doing, now."""

import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live as Screen
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from zvt_crypto.bootstrap.presence import read_all
from zvt_crypto.cli.console import out, print_json
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.settings import load_settings

_EVERY_S: Final = 1.0
# A process that has said nothing for so long hangs, or its disk is full.
_SILENT_S: Final = 5.0
_MOST_SHOWN: Final = 500
_WORST_FIRST: Final = ("dead", "stale", "repairing", "quiet", "live")
_COLOURS: Final = {
    "dead": "red",
    "stale": "red",
    "repairing": "yellow",
    "quiet": "cyan",
    "live": "green",
}
NOTHING_RUNS: Final = (
    "No stream is running here. Start one: zvtc stream binance BTC-USDT\n"
    "Processes are known by the files in the folder of the setting state_dir: "
    "streams and this command need the same one."
)


def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and end.")] = False,
) -> None:
    """Watch the streams running on this machine: rates, latency, verdicts, gaps; worst first.

    Latency is from the exchange's time to our receipt, over the last samples of each series.
    Ctrl-C ends it. With no stream running it says so and ends with 0.
    """
    folder = load_settings().settings.state_dir
    clock = SystemClock()
    found = read_all(folder, clock)
    if json:
        print_json({"processes": found})
        return
    console = out()
    if not found:
        console.print(NOTHING_RUNS)
        return
    if once or not console.is_terminal:
        console.print(picture(found))
        return
    with Screen(picture(found), console=console, screen=True, auto_refresh=False) as screen:
        while True:
            time.sleep(_EVERY_S)
            found = read_all(folder, clock)
            screen.update(picture(found) if found else Text(NOTHING_RUNS), refresh=True)


def worst_first(series: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return series in the order an operator should look at them."""

    def key(one: dict[str, Any]) -> tuple[Any, ...]:
        gaps = one["gaps"]
        return (
            _WORST_FIRST.index(one["verdict"]),
            -gaps["open"],
            -gaps["unrecoverable"],
            -one["messages_per_s"],
            one["exchange"],
            one["symbol"],
            one["kind"],
        )

    return sorted(series, key=key)


def picture(found: Sequence[dict[str, Any]]) -> RenderableType:
    """Return one frame: a block for every process."""
    return Group(*(part for one in found for part in _process(one)))


def _process(one: dict[str, Any]) -> list[RenderableType]:
    parts: list[RenderableType] = [Text.from_markup(headline(one))]
    if one["stage"] == "history":
        parts += [
            Text(f"  {load['series']}  {load['state']}  {load['fraction']:.0%}  {load['rows']:,}")
            for load in one.get("loading", ())[:_MOST_SHOWN]
        ]
        return parts
    parts += [Text.from_markup(f"[red]{escape(line)}[/red]") for line in troubles(one)]
    parts.append(_table(worst_first(one["series"])))
    return parts


def headline(one: dict[str, Any]) -> str:
    """Return a process in one line of markup."""
    who = f"[bold]zvtc {escape(one['command'])}[/bold]  pid {one['pid']}  since {one['started']}"
    if one["age_s"] > _SILENT_S:
        who += f"  [red]silent for {one['age_s']:.0f} s[/red]"
    if one["stage"] == "history":
        return f"{who}  loading history"
    totals, sink = one["totals"], one["sink"]
    return (
        f"{who}  {totals['messages_per_s']:,.0f} records/s  {totals['rows_stored']:,} rows stored, "
        f"{sink['pending_rows']:,} pending  gaps {totals['gaps_open']:,} open "
        f"{totals['gaps_repaired']:,} repaired {totals['gaps_unrecoverable']:,} unrecoverable  "
        f"{sum(c['is_open'] for c in one['connections'])}/{len(one['connections'])} connections, "
        f"{totals['reconnects']:,} reconnects{_share(one)}"
    )


def _share(one: dict[str, Any]) -> str:
    share = one.get("share")
    if share is None:
        return ""
    return (
        f"  {share['held']:,} of {share['units']:,} symbols, "
        f"shared by {share['members']:,} in group {escape(share['group'])}"
    )


def troubles(one: dict[str, Any]) -> list[str]:
    """Return what is wrong with a process beside its series, a line each."""
    found: list[str] = []
    if one["sink"]["failing"]:
        found.append(f"the store takes no rows: {one['sink']['failing']}")
    share = one.get("share")
    if share is not None and share["failing"]:
        found.append(f"sharing stands still: {share['failing']}")
    journal = one.get("journal")
    if journal is not None and journal["trouble"]:
        found.append(f"the journal takes no frames: {journal['trouble']}")
    if journal is not None and journal["dropped"]:
        found.append(f"the journal dropped {journal['dropped']:,} frames")
    for queue in one["handlers"]:
        if queue["is_full"]:
            found.append(f"handler {queue['handler']} is too slow: sockets wait for it")
        if queue["dropped"] or queue["failed"]:
            found.append(
                f"handler {queue['handler']}: {queue['dropped']:,} records dropped, "
                f"{queue['failed']:,} failed"
            )
    found += [
        f"{c['connection']} is not connected: {c['detail']}"
        for c in one["connections"]
        if not c["is_open"]
    ]
    return found


def _table(series: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    left = ("exchange", "symbol", "kind", "verdict")
    right = ("records/s", "p50 ms", "p99 ms", "last", "open", "repaired", "lost", "pending")
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, no_wrap=True, justify="right")
    for one in series[:_MOST_SHOWN]:
        kind = f"{one['kind']} {one['interval']}" if one["interval"] else one["kind"]
        colour = _COLOURS[one["verdict"]]
        latency, gaps = one["latency_ms"], one["gaps"]
        table.add_row(
            one["exchange"],
            one["symbol"],
            kind,
            f"[{colour}]{one['verdict']}[/{colour}]",
            f"{one['messages_per_s']:,.1f}",
            _shown(latency["p50"]),
            _shown(latency["p99"]),
            (one["last_record"] or "-")[11:19],
            _count(gaps["open"], "yellow"),
            f"{gaps['repaired']:,}",
            _count(gaps["unrecoverable"], "red"),
            f"{one['pending_rows']:,}",
        )
    if len(series) > _MOST_SHOWN:
        table.add_row("", f"and {len(series) - _MOST_SHOWN:,} more: --json lists them")
    return table


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _count(number: int, colour: str) -> str:
    return f"[{colour}]{number:,}[/{colour}]" if number else "0"


__all__ = ["NOTHING_RUNS", "headline", "picture", "top", "troubles", "worst_first"]
