"""`zvtc stream`: live data to the screen and into the store, gaps noticed and repaired."""

import time
from pathlib import Path
from typing import Annotated

import typer

from zvt_crypto.bootstrap.live import Live
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.subscription import DEFAULT_KINDS, check_requests, resolve
from zvt_crypto.bootstrap.warm import warm_up
from zvt_crypto.cli.flags import SimFlag, StoreFlag
from zvt_crypto.cli.live import (
    ForFlag,
    LinesFlag,
    LiveIntervalFlag,
    LiveKindFlag,
    MetricsFlag,
    QuietFlag,
    Watcher,
    WordsArg,
    from_settings,
    greet,
    print_summary,
    stay,
    until_stopped,
    wanted_from,
)
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.cli.telling import Teller
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.series import Kind
from zvt_crypto.settings import load_settings

FAILED = 1


def stream(
    words: WordsArg = None,
    *,
    kind: LiveKindFlag = None,
    interval: LiveIntervalFlag = None,
    json: LinesFlag = False,
    quiet: QuietFlag = False,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", help="Keep every raw frame in this folder too."),
    ] = None,
    keep_books: Annotated[
        bool | None,
        typer.Option(
            "--keep-books/--no-keep-books",
            help="Store books too: each change, and the whole book now and then.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            "--share",
            metavar="GROUP",
            help="Share the work with streams of the same group and store.",
            show_default=False,
        ),
    ] = None,
    metrics_port: MetricsFlag = None,
    seconds: ForFlag = None,
    store: StoreFlag = None,
    sim: SimFlag = None,
) -> None:
    """Stream live data: print it, store it, notice what is lost and load it again.

    Without --kind trades and 1m candles are streamed. Control records (gap, gap_repaired,
    gap_unrecoverable, stale, disconnected, book_reset) stand between the data, in order. Ctrl-C or
    SIGTERM stores what came and ends with 0. Without words the setting stream.subscriptions holds,
    and a change of it in zvtc.toml is followed while the stream runs. With --share several
    processes divide the same list, and those that are left take over from one that dies. With
    --keep-books the books that are streamed are stored, for `zvtc query book`.

    Examples:
      zvtc stream binance BTC-USDT ETH-USDT --kind trades --kind book

      zvtc stream binance:BTC-USDT okx:BTC-USDT-PERP:candles:5m --json
    """
    if not words and (kind or interval):
        raise UsageError(
            "--kind and --interval need symbols",
            remedy="Write: zvtc stream binance BTC-USDT --kind trades",
        )
    overrides: dict[str, object] = {
        "store": store,
        "sim": sim,
        "stream.metrics_port": metrics_port,
        "stream.share": share,
        "stream.keep_books": keep_books,
        "stream.journal": None if journal is None else str(journal),
    }
    settings = settings_from(**overrides)
    wanted = (
        wanted_from(words, kind, interval, DEFAULT_KINDS)
        if words
        else from_settings(settings, DEFAULT_KINDS)
    )
    if keep_books and not any(Kind.BOOK in one.kinds for one in wanted):
        raise UsageError(
            "--keep-books keeps nothing: no book is streamed",
            remedy="Write: zvtc stream binance BTC-USDT --kind book --keep-books",
        )
    file = None if words else load_settings(overrides).file

    async def work(platform: Platform) -> bool:
        series = await resolve(platform, wanted)
        began_s = time.monotonic()
        mine = settings.stream
        live = Live(platform, "stream", journal=mine.journal, share=mine.share)
        with until_stopped() as stop:
            teller = Teller(as_json=json, is_quiet=quiet, ended=stop)
            warm_up()
            async with live:
                live.service.on(teller)
                await live.set(series)
                greet(platform, series, live)
                if file is not None:
                    watcher = Watcher(live, series, file, overrides, DEFAULT_KINDS)
                    live.service.spawn(watcher.run(), name="settings")
                await stay(stop, seconds)
            await teller.close()
            return print_summary(live, time.monotonic() - began_s)

    if not run(work, settings, create=True, check=check_requests(wanted)):
        raise typer.Exit(FAILED)


__all__ = ["stream"]
