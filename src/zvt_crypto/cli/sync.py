"""`zvtc sync`: bring series up to now, in one command, with proven seams."""

import json as json_text
import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from zvt_crypto.bootstrap.live import Live, history_presence
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.seam import Seams
from zvt_crypto.bootstrap.warm import warm_up
from zvt_crypto.cli.display import LoadDisplay
from zvt_crypto.cli.flags import JsonFlag, SimFlag, SinceFlag, StoreFlag, parse_exchange
from zvt_crypto.cli.live import (
    ForFlag,
    MetricsFlag,
    greet,
    print_summary,
    say,
    stay,
    until_stopped,
)
from zvt_crypto.cli.load import (
    INCOMPLETE,
    ArchiveFlag,
    IntervalFlag,
    KindFlag,
    finish,
    load_requests,
    show,
)
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.cli.shape import series_fields
from zvt_crypto.cli.telling import Teller, clock_of
from zvt_crypto.core.errors import NotSupported, UsageError
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.services.loader import LoadReport, LoadRequest

FAILED = 1

# While a long load runs, time goes on: the second pass loads what closed meanwhile.
_PASSES: Final = 2
_WITH_HISTORY: Final = frozenset((Kind.CANDLES, Kind.TRADES, Kind.FUNDING))


def sync(
    exchange: Annotated[
        str | None, typer.Argument(help="Exchange; none: all series held.", show_default=False)
    ] = None,
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Symbols; none: all held.", show_default=False)
    ] = None,
    *,
    interval: IntervalFlag = None,
    kind: KindFlag = None,
    since: SinceFlag = None,
    archive: ArchiveFlag = None,
    live: Annotated[
        bool,
        typer.Option("--live/--no-live", help="Go on with the live stream, until stopped."),
    ] = False,
    metrics_port: MetricsFlag = None,
    seconds: ForFlag = None,
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """Bring series up to now: bulk files first, then REST, each seam proven by the ledger.

    Without symbols every series the store holds is extended to now, and its gaps are asked for
    again. With --live it then goes on with the live stream until Ctrl-C or SIGTERM, and says of
    each series when the ledger proves that nothing is lacking between history and live.

    Examples:
      zvtc sync binance BTC-USDT ETH-USDT --interval 1m --since 2024-01-01

      zvtc sync binance BTC-USDT --kind trades --kind candles --since 2026-11-01 --live

      zvtc sync
    """
    if not live and (metrics_port is not None or seconds is not None):
        raise UsageError("--metrics-port and --for need --live")
    settings = settings_from(
        store, sim, **{"load.archive": archive, "stream.metrics_port": metrics_port}
    )
    name = None if exchange is None else parse_exchange(exchange)
    given: list[LoadRequest] = []
    if name is not None and symbols:
        given = load_requests(
            name, symbols, intervals=interval, kinds=kind, since=since, until=None
        )
    elif interval or kind or since:
        raise UsageError(
            "--interval, --kind and --since need an exchange and symbols",
            remedy="Write: zvtc sync binance BTC-USDT --interval 1m --since 2024-01-01",
        )

    async def work(platform: Platform) -> tuple[LoadReport, bool]:
        requests = given or await _held(platform, name)
        # Quotes and the like begin with the stream: with it, they are not asked for before.
        past = [one for one in requests if one.kind in _WITH_HISTORY or (given and not live)]
        async with history_presence(platform, "sync"):
            report = await _load(platform, past, quiet=json)
        if not live:
            return report, True
        show(report, as_json=json, sim=settings.sim)
        only_live = [await _series(platform, one) for one in requests if one not in past]
        return report, await _go_live(platform, report, only_live, seconds, as_json=json)

    report, is_stored = run(work, settings, create=bool(given))
    if not live:
        finish(report, as_json=json, sim=settings.sim)
    elif not is_stored:
        raise typer.Exit(FAILED)
    elif not report.is_complete:
        raise typer.Exit(INCOMPLETE)


async def _load(platform: Platform, requests: Sequence[LoadRequest], *, quiet: bool) -> LoadReport:
    report = LoadReport()
    with LoadDisplay(platform.loader, quiet=quiet, sim=platform.settings.sim):
        for _ in range(_PASSES):
            before, report = report, await platform.loader.load(requests)
            for earlier, one in zip(before.series, report.series, strict=False):
                one.rows_written += earlier.rows_written
                one.requests += earlier.requests
                one.body_bytes += earlier.body_bytes
                one.seconds += earlier.seconds
            if not report.is_complete:
                break
    return report


async def _go_live(
    platform: Platform,
    report: LoadReport,
    only_live: Sequence[Series],
    seconds: float | None,
    *,
    as_json: bool,
) -> bool:
    """Stream what was loaded, and more, until stopped; return whether all that came is stored."""
    began_s = time.monotonic()
    live = Live(platform, "sync", journal=platform.settings.stream.journal)
    with until_stopped() as stop:
        teller = Teller(as_json=as_json, is_quiet=True, ended=stop)
        warm_up()
        async with live:
            seams = Seams(live, report.series)
            await seams.prepare()
            live.service.on(teller)
            await _add(live, [*(one.series for one in report.series), *only_live])
            greet(platform, list(live.service.subscriptions), live)
            live.service.spawn(_tell_seams(seams, teller, as_json=as_json), name="seams")
            await stay(stop, seconds)
        await teller.close()
    for one in seams.open:
        say(f"{one}: its seam is not proven yet; the next `zvtc sync` loads what is owed")
    return print_summary(live, time.monotonic() - began_s)


async def _add(live: Live, series: Sequence[Series]) -> None:
    """Stream what can be streamed, and name the rest."""
    for one in series:
        try:
            await live.service.add([one])
        except NotSupported as e:
            say(f"{one} is not streamed: {e}")


async def _series(platform: Platform, request: LoadRequest) -> Series:
    instrument = await platform.loader.instrument(request.exchange, request.symbol)
    return Series(request.exchange, instrument.symbol, request.kind, request.interval)


async def _tell_seams(seams: Seams, teller: Teller, *, as_json: bool) -> None:
    async for seam in seams.proven():
        if as_json:
            fields = {
                "type": "seam",
                **series_fields(seam.series),
                "start": format_us(seam.start_us),
                "live_from": format_us(seam.live_us),
                "archive_rows": seam.archive_rows,
                "rest_rows": seam.rest_rows,
                "proof": seam.proof,
            }
            teller.write(json_text.dumps(fields))
        else:
            teller.write(
                f"{seam.series}: archive {seam.archive_rows:,} rows, REST {seam.rest_rows:,} rows, "
                f"live from {clock_of(seam.live_us)}, seam proven by {seam.proof}"
            )


async def _held(platform: Platform, exchange: str | None) -> list[LoadRequest]:
    """Return a request for every series held, from its first moment to now."""
    return [
        LoadRequest(one.exchange, one.symbol, one.kind, one.interval)
        for one in (info.series for info in await platform.store.series())
        if exchange is None or one.exchange == exchange
    ]
