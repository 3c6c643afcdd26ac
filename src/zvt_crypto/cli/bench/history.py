"""REST pages to a frame and to a proven store, beside ccxt on the same pages."""

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
import pyarrow as pa

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.cli.bench import simulated
from zvt_crypto.cli.bench.measure import RATE, Figure, Series, Target, lap, say, single
from zvt_crypto.cli.running import run
from zvt_crypto.core.errors import MissingExtra
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_MS, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.validation import validate_candles
from zvt_crypto.services.loader import LoadReport, LoadRequest

AT_ONCE: Final = 8
"""Requests in flight, ours and the peer's: the loader's own number."""

_FRAME_ROWS_S: Final = 1_400_000
_STORED_ROWS_S: Final = 400_000
_TIMES_CCXT: Final = 3.0
_MONTH_MINUTES: Final = 30 * 1440
_BUDGET_S: Final = 150.0
_BUDGET_SHARE: Final = 0.95
_BUDGET_SYMBOLS: Final = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "DOGE-USDT")

_Runs = dict[str, Series]


def measure(
    rows: int, repeats: int, *, is_quick: bool, has_budget: bool
) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench and return its settings and figures.

    Raises:
        MissingExtra: ccxt is not installed.
    """
    _ccxt()
    with tempfile.TemporaryDirectory(prefix="zvtc-bench-") as name:
        folder = Path(name)
        with simulated.simulator() as url:
            settings = simulated.settings_for(folder, url)
            runs = run(
                lambda platform: _repeat(platform, url, rows, repeats), settings, create=True
            )
            spans = (1440, 2880) if is_quick else (_MONTH_MINUTES, 24 * _MONTH_MINUTES)
            memory = simulated.memory_figures(url, folder, "never", spans, "REST")
        figures = [*_figures(runs), *memory]
        if has_budget:
            figures += _budget(folder, _BUDGET_S)
    return {"candles": rows, "repeats": repeats, "requests_at_once": AT_ONCE}, figures


def _figures(runs: _Runs) -> list[Figure]:
    return [
        Figure(
            "REST pages to frame",
            RATE,
            runs["ours"],
            Target(_FRAME_ROWS_S),
            f"ccxt async x{AT_ONCE}",
            runs["async"],
            Target(_TIMES_CCXT),
            note="ours is validated, in one Polars frame; ccxt's is its bare list of lists",
        ),
        Figure(
            "REST pages to frame, one at a time",
            RATE,
            runs["ours one by one"],
            None,
            "ccxt sync",
            runs["sync"],
            Target(_TIMES_CCXT),
        ),
        Figure(
            "REST pages to proven store",
            RATE,
            runs["stored"],
            Target(_STORED_ROWS_S),
            note="CryptoDataLoader into a new lake, with ledger, digests and fsync",
        ),
    ]


async def _repeat(platform: Platform, url: str, rows: int, repeats: int) -> _Runs:
    connector = platform.connectors[simulated.EXCHANGE]
    # With this the governor learns the limits in force, which the simulator has lifted.
    listed = await connector.instruments()
    instrument = next(one for one in listed if one.symbol == simulated.SYMBOL)
    asked = Range(simulated.START, simulated.START + rows * US_PER_MINUTE)
    windows = connector.windows(instrument, Kind.CANDLES, Interval.M1, asked)
    say(f"warming the simulator's cache: {len(windows)} pages")
    await _ours(platform, instrument, windows, AT_ONCE)
    runs: _Runs = {
        name: Series() for name in ("ours", "async", "stored", "ours one by one", "sync")
    }
    async with _Peer(url) as peer:
        for number in range(1, repeats + 1):
            say(f"repeat {number} of {repeats}")
            with lap() as taken:
                frame = await _ours(platform, instrument, windows, AT_ONCE)
            _check(frame.height, rows)
            runs["ours"].add_rate(rows, taken)
            with lap() as taken:
                got = await peer.fetch(windows, AT_ONCE)
            _check(got, rows)
            runs["async"].add_rate(rows, taken)
            with tempfile.TemporaryDirectory(prefix="zvtc-bench-") as name:
                await _stored(Path(name), url, asked, runs["stored"])
            with lap() as taken:
                frame = await _ours(platform, instrument, windows, 1)
            _check(frame.height, rows)
            runs["ours one by one"].add_rate(rows, taken)
            with lap() as taken:
                got = await asyncio.to_thread(peer.fetch_sync, windows)
            _check(got, rows)
            runs["sync"].add_rate(rows, taken)
    return runs


async def _ours(
    platform: Platform, instrument: Instrument, windows: Sequence[Range], at_once: int
) -> pl.DataFrame:
    connector = platform.connectors[simulated.EXCHANGE]
    tables: dict[int, pa.Table] = {}

    async def one(window: Range) -> None:
        fetched = await connector.fetch_candles(instrument, Interval.M1, window)
        tables[window.start] = validate_candles(fetched.table, Interval.M1, window).table

    await _spread(windows, at_once, one)
    # Joined by Arrow: Polars takes three times as long over a hundred pieces.
    whole = pa.concat_tables([tables[w.start] for w in windows]).combine_chunks()
    frame = pl.from_arrow(whole)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table became no frame")
    return frame


async def _stored(folder: Path, url: str, asked: Range, into: Series) -> None:
    async with Platform(simulated.settings_for(folder, url)) as platform:
        request = LoadRequest(
            simulated.EXCHANGE, simulated.SYMBOL, Kind.CANDLES, Interval.M1, *asked
        )
        await platform.loader.instruments(simulated.EXCHANGE)
        with lap() as taken:
            report = await platform.loader.load([request])
        check_report(report, (asked.end - asked.start) // US_PER_MINUTE)
        into.add_rate(report.series[0].rows_written, taken)


def check_report(report: LoadReport, rows: int) -> None:
    """Refuse figures of a load that did not do the work.

    Raises:
        RuntimeError: it is not complete, or wrote another number of rows.
    """
    if not report.is_complete:
        raise RuntimeError(f"the load is not complete: {report.series[0].error}")
    _check(sum(one.rows_written for one in report.series), rows)


def _check(got: int, wanted: int) -> None:
    if got != wanted:
        raise RuntimeError(f"{got} rows came, {wanted} were asked for")


async def _spread(
    windows: Sequence[Range], at_once: int, one: Callable[[Range], Awaitable[None]]
) -> None:
    queue = iter(windows)

    async def worker() -> None:
        for window in queue:
            await one(window)

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(worker())


# -- the peer ------------------------------------------------------------------------------------


class _Peer:
    """ccxt's binance, its hosts replaced by the simulator and its own throttle switched off."""

    def __init__(self, url: str) -> None:
        sync, asynchronous = _ccxt()
        self._symbol = simulated.SYMBOL.replace("-", "/")
        self._async = asynchronous.binance({"enableRateLimit": False})
        self._sync = sync.binance({"enableRateLimit": False})
        for client in (self._async, self._sync):
            client.urls["api"] = _swapped(client.urls["api"], f"{url}/{simulated.EXCHANGE}")

    async def __aenter__(self) -> Self:
        await self._async.load_markets()
        await asyncio.to_thread(self._sync.load_markets)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._async.close()

    async def fetch(self, windows: Sequence[Range], at_once: int) -> int:
        """Fetch the pages and return how many rows came."""
        pages: dict[int, list[Any]] = {}

        async def one(window: Range) -> None:
            pages[window.start] = await self._async.fetch_ohlcv(self._symbol, "1m", *_ask(window))

        await _spread(windows, at_once, one)
        return sum(len(page) for page in pages.values())

    def fetch_sync(self, windows: Sequence[Range]) -> int:
        """Fetch the pages one after the other and return how many rows came."""
        fetch = self._sync.fetch_ohlcv
        return sum(len(fetch(self._symbol, "1m", *_ask(window))) for window in windows)


def _ask(window: Range) -> tuple[int, int]:
    """Return `since` in milliseconds and `limit`, as ccxt wants them."""
    return window.start // US_PER_MS, (window.end - window.start) // US_PER_MINUTE


def _swapped(value: Any, url: str) -> Any:
    if isinstance(value, str):
        return re.sub(r"^https://[^/]+", url, value)
    return {name: _swapped(own, url) for name, own in value.items()}


def _ccxt() -> tuple[Any, Any]:
    try:
        import ccxt  # noqa: PLC0415 - an extra, and slow to import
        import ccxt.async_support  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("zvtc bench history", "bench") from None
    return ccxt, ccxt.async_support


# -- the budget ----------------------------------------------------------------------------------


def _budget(folder: Path, seconds: float) -> list[Figure]:
    """Load as much as the published limits allow for a while, and ask the simulator about it."""
    say(f"saturating the published limits for {seconds:.0f} s")
    with simulated.simulator(limits="real") as url:
        settings = simulated.settings_for(folder / "budget", url)
        used, refused = run(lambda p: _saturate(p, url, seconds), settings, create=True)
    return [
        Figure(
            "peak share of the published limit",
            "of it",
            single(used),
            Target(_BUDGET_SHARE),
            note=f"fullest minute, at real limits, of {seconds:.0f} s; as the simulator counts",
        ),
        Figure("refusals (429, 418)", "", single(refused), Target(0, is_ceiling=True)),
    ]


async def _saturate(platform: Platform, url: str, seconds: float) -> tuple[float, int]:
    requests = [
        LoadRequest(simulated.EXCHANGE, symbol, Kind.CANDLES, Interval.M1, simulated.START)
        for symbol in _BUDGET_SYMBOLS
    ]
    try:
        async with asyncio.timeout(seconds):
            await platform.loader.load(requests)
    except TimeoutError:
        pass
    else:
        say("the load ended before the time was up: the share may be too low")
    stats = (await simulated.get_json(url, "/_stats"))[simulated.EXCHANGE]
    say(f"{stats['requests']:,} requests, peak shares {stats['peak_share']}")
    return max(stats["peak_share"].values()), stats["429"] + stats["418"]
