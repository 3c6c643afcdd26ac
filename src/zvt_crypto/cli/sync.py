"""`zvtc sync`: bring series up to now, in one command, with proven seams."""

from typing import Annotated, Final

import typer

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.display import LoadDisplay
from zvt_crypto.cli.flags import JsonFlag, SimFlag, SinceFlag, StoreFlag, parse_exchange
from zvt_crypto.cli.load import ArchiveFlag, IntervalFlag, KindFlag, finish, load_requests
from zvt_crypto.cli.running import run, settings_from
from zvt_crypto.core.errors import UsageError
from zvt_crypto.services.loader import LoadReport, LoadRequest

# While a long load runs, time goes on: the second pass loads what closed meanwhile.
_PASSES: Final = 2


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
    store: StoreFlag = None,
    sim: SimFlag = None,
    json: JsonFlag = False,
) -> None:
    """Bring series up to now: bulk files first, then REST, each seam proven by the ledger.

    Without symbols every series the store holds is extended to now, and its gaps are asked for
    again. Live streaming from there on is not built yet.

    Examples:
      zvtc sync binance BTC-USDT ETH-USDT --interval 1m --since 2024-01-01

      zvtc sync
    """
    settings = settings_from(store, sim, **{"load.archive": archive})
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

    async def work(platform: Platform) -> LoadReport:
        requests = given or await _held(platform, name)
        report = LoadReport()
        with LoadDisplay(platform.loader, quiet=json, sim=settings.sim):
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

    finish(run(work, settings, create=bool(given)), as_json=json, sim=settings.sim)


async def _held(platform: Platform, exchange: str | None) -> list[LoadRequest]:
    """Return a request for every series held, from its first moment to now."""
    return [
        LoadRequest(one.exchange, one.symbol, one.kind, one.interval)
        for one in (info.series for info in await platform.store.series())
        if exchange is None or one.exchange == exchange
    ]
