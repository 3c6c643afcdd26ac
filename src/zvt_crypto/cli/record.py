"""`zvtc record`: raw frames to a journal, byte for byte."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from zvt_crypto.bootstrap.live import Live
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.stream import protocols
from zvt_crypto.bootstrap.subscription import check_requests, resolve
from zvt_crypto.bootstrap.warm import warm_up
from zvt_crypto.cli.display import print_json
from zvt_crypto.cli.flags import SimFlag, StoreFlag
from zvt_crypto.cli.live import (
    ForFlag,
    LiveIntervalFlag,
    LiveKindFlag,
    MetricsFlag,
    Watcher,
    WordsArg,
    from_settings,
    greet,
    print_summary,
    say,
    stay,
    summary_fields,
    until_stopped,
    wanted_from,
)
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.services.stream import streamable
from zvt_crypto.settings import load_settings

FAILED = 1
USUAL: Final = (Kind.TRADES, Kind.BOOK)


def record(
    words: WordsArg = None,
    *,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            help="Folder of the journal; default: the setting stream.journal.",
            show_default=False,
        ),
    ] = None,
    with_store: Annotated[
        bool, typer.Option("--with-store", help="Store the rows too, and repair gaps.")
    ] = False,
    kind: LiveKindFlag = None,
    interval: LiveIntervalFlag = None,
    metrics_port: MetricsFlag = None,
    seconds: ForFlag = None,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
) -> None:
    """Keep every frame the exchange sends, byte for byte, for `zvtc replay`.

    Without --kind trades and books are asked for. Files are closed at the size and age the settings
    stream.journal_... say, and the oldest removed beyond their bounds. Without --with-store gaps
    are noticed and not repaired. Ctrl-C or SIGTERM writes what waits and ends with 0.

    Example: zvtc record binance BTC-USDT --into ./frames --for 3600
    """
    overrides: dict[str, object] = {
        "store": store if with_store else "memory://",
        "sim": sim,
        "stream.metrics_port": metrics_port,
        "stream.journal": None if into is None else str(into),
    }
    if store is not None and not with_store:
        raise UsageError("--store is of no use without --with-store")
    settings = settings_from(**overrides)
    folder = settings.stream.journal
    if folder is None:
        raise UsageError(
            "no folder for the frames is named",
            remedy="Write: zvtc record binance BTC-USDT --into ./frames",
        )
    wanted = wanted_from(words, kind, interval, USUAL) if words else from_settings(settings, USUAL)
    file = None if words else load_settings(overrides).file

    async def work(platform: Platform) -> bool:
        series = await resolve(platform, wanted)
        if not with_store:
            series = await _sent(platform, series)
        began_s = time.monotonic()
        live = Live(platform, "record", journal=folder, is_stored=with_store)
        with until_stopped() as stop:
            warm_up()
            async with live:
                await live.service.add(series)
                greet(platform, series, live)
                if file is not None:
                    watcher = Watcher(live, series, file, overrides, USUAL)
                    live.service.spawn(watcher.run(), name="settings")
                await stay(stop, seconds)
        is_whole = print_summary(live, time.monotonic() - began_s)
        if json:
            print_json(summary_fields(live, time.monotonic() - began_s))
        return is_whole and not (live.journal and live.journal.trouble)

    if not run(work, settings, create=True, check=check_requests(wanted)):
        raise typer.Exit(FAILED)


async def _sent(platform: Platform, series: Sequence[Series]) -> list[Series]:
    """Return the series that come as frames; others would be loaded over REST, for nothing."""
    known = protocols(platform.settings)
    sent: list[Series] = []
    for one in series:
        instrument = await platform.loader.instrument(one.exchange, one.symbol)
        if streamable(known[one.exchange], instrument, [one]):
            sent.append(one)
        else:
            say(f"{one} is left out: {one.exchange} sends no such frames")
    if not sent:
        raise UsageError("nothing of it comes as frames", remedy="Ask for trades or books")
    return sent


__all__ = ["record"]
