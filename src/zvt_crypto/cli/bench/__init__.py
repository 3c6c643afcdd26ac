"""`zvtc bench`: how fast, how small, and beside what. Exit code 0 even where a target is missed."""

from typing import Annotated

import typer

from zvt_crypto.cli.bench import archive, history, store
from zvt_crypto.cli.bench.measure import publish
from zvt_crypto.cli.flags import JsonFlag

bench = typer.Typer(
    no_args_is_help=True,
    help="Measure this machine against the project's targets and a peer, in the same run.",
)

RepeatsFlag = Annotated[
    int | None,
    typer.Option("--repeats", min=1, help="Runs of each figure.", show_default="5, quick 2"),
]
RowsFlag = Annotated[
    int | None, typer.Option("--rows", min=2_000, help="Candles of one run.", show_default=False)
]
QuickFlag = Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes; rougher.")]

_REPEATS, _QUICK_REPEATS = 5, 2


@bench.command("history")
def bench_history(
    *,
    rows: RowsFlag = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    budget: Annotated[
        bool,
        typer.Option("--budget", help="Also use up real limits for two and a half minutes."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """REST pages to a frame and to a proven store, beside ccxt; 300,000 1m candles."""
    settings, figures = history.measure(
        rows or (20_000 if quick else 300_000),
        _repeats(repeats, is_quick=quick),
        is_quick=quick,
        has_budget=budget,
    )
    publish("history", settings, figures, as_json=json)


@bench.command("archive")
def bench_archive(
    *,
    rows: RowsFlag = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    json: JsonFlag = False,
) -> None:
    """Monthly zips of 1m candles to a proven store, beside pandas; 24 months."""
    settings, figures = archive.measure(
        rows or (80_000 if quick else 24 * archive.MONTH_ROWS),
        _repeats(repeats, is_quick=quick),
        is_quick=quick,
    )
    publish("archive", settings, figures, as_json=json)


@bench.command("store")
def bench_store(
    *,
    rows: RowsFlag = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    json: JsonFlag = False,
) -> None:
    """The lake: bulk writes, reloads, reads, durable live commits; 10,000,000 candles."""
    settings, figures = store.measure(
        rows or (200_000 if quick else 10_000_000),
        _repeats(repeats, is_quick=quick),
        is_quick=quick,
    )
    publish("store", settings, figures, as_json=json)


def _repeats(repeats: int | None, *, is_quick: bool) -> int:
    return repeats or (_QUICK_REPEATS if is_quick else _REPEATS)


__all__ = ["bench"]
