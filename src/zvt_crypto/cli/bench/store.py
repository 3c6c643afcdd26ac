"""A store: bulk writes, reloads, reads, durable live commits; beside bare tables and files."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.bootstrap.engine import open_store
from zvt_crypto.cli.bench import simulated
from zvt_crypto.cli.bench.engine import Engine, engine_at
from zvt_crypto.cli.bench.live import LiveFeed, rows_of
from zvt_crypto.cli.bench.measure import RATE, Figure, Lap, Series, lap, say, single
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series as DataSeries
from zvt_crypto.core.series import candle_series
from zvt_crypto.ports.store import Batch, Finding, Store

_TRUTH_ROWS: Final = 1_000_000
_COMMIT_ROWS: Final = 500_000
_READ_ROWS: Final = 150_000
_HOT_ROWS: Final = 3 * 1440
_HOT_COMMIT: Final = 60
_LAST: Final = 500
_MANY: Final = 400
_LIVE_COMMITS, _QUICK_LIVE_COMMITS = 300, 20
# Names of stores.
_BULK, _READS, _LIVE = "bulk", "reads", "live"
_FOREVER: Final = Range(0, 1 << 62)


def measure(
    rows: int, repeats: int, *, url: str | None = None, is_quick: bool
) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench on the engine that `url` names and return its settings and figures."""
    with tempfile.TemporaryDirectory(prefix="zvtc-bench-") as name:
        folder = Path(name)
        say("fetching simulated candles")
        with simulated.simulator() as sim:
            candles = asyncio.run(simulated.truth_candles(sim, min(rows, _TRUTH_ROWS)))
        engine = engine_at(url, folder)
        figures = asyncio.run(_all(engine, folder, candles, rows, repeats, is_quick=is_quick))
    return {"store": engine.name, "candles": rows, "repeats": repeats}, figures


async def _all(
    engine: Engine, folder: Path, candles: pa.Table, rows: int, repeats: int, *, is_quick: bool
) -> list[Figure]:
    commits = _QUICK_LIVE_COMMITS if is_quick else _LIVE_COMMITS
    try:
        figures = await _bulk(engine, folder, candles, rows, repeats)
        figures += await _reads(engine, folder, candles, repeats if is_quick else 10 * repeats)
        return figures + await _live(engine, folder, commits, repeats)
    finally:
        for name in (_READS, _LIVE):
            engine.discard(name)
        engine.close()


# -- bulk ----------------------------------------------------------------------------------------


async def _bulk(
    engine: Engine, folder: Path, candles: pa.Table, rows: int, repeats: int
) -> list[Figure]:
    """Write the candles under as many names as it takes, then the same again."""
    batches = _batches(candles, rows)
    total = sum(one.table.num_rows for one in batches)
    wrote, verified, again, files = Series(), Series(), Series(), Series()
    stored_bytes = peer_bytes = 0
    for number in range(1, max(2, repeats // 2) + 1):
        say(f"bulk write {number}: {total:,} rows")
        with tempfile.TemporaryDirectory(prefix="zvtc-bench-", dir=folder) as name:
            place = f"{_BULK}{number}"
            store = await open_store(engine.place(place), Path(name))
            with lap() as taken:
                await _commit_all(store, batches, inserted=total)
            wrote.add_rate(total, taken)
            with lap() as taken:
                await _commit_all(store, batches, inserted=0)
            again.add_rate(total, taken)
            with lap() as taken:
                proof = await store.verify()
            if proof.faults or proof.rows != total:
                raise RuntimeError(f"verify found {proof.rows} rows and {len(proof.faults)} faults")
            verified.add_rate(total, taken)
            stored_bytes = sum(one.stored_bytes for one in await store.series())
            await store.close()
            engine.discard(place)
            say("the same rows to bare Parquet files")
            with lap() as taken:
                for at, batch in enumerate(batches):
                    _frame(batch.table).write_parquet(f"{name}/{at}.parquet")
            files.add_rate(total, taken)
            peer_bytes = sum(_size(f"{name}/{at}.parquet") for at in range(len(batches)))
    return [
        Figure(
            "bulk write with ledger",
            RATE,
            wrote,
            engine.targets.get("bulk"),
            "polars write_parquet",
            files,
            note="the peer neither sorts, hashes, fsyncs nor keeps a ledger",
        ),
        Figure(
            "idempotent reload",
            RATE,
            again,
            engine.targets.get("reload"),
            note="every row compared with what is held; inserted = corrected = 0",
        ),
        Figure("verify: digests recomputed", RATE, verified),
        Figure(
            "stored 1m candle",
            "bytes",
            single(stored_bytes / total),
            engine.targets.get("bytes"),
            "polars write_parquet",
            single(peer_bytes / total),
            note="simulated candles of a market with decimals and trades, not random bits",
        ),
    ]


def _size(path: str) -> int:
    return Path(path).stat().st_size


def _batches(candles: pa.Table, rows: int) -> list[Batch]:
    batches: list[Batch] = []
    left = rows
    for copy in range(-(-rows // candles.num_rows)):
        series = candle_series(simulated.EXCHANGE, f"COIN{copy}-USDT", Interval.M1)
        mine = candles.slice(0, min(left, candles.num_rows))
        left -= mine.num_rows
        starts = range(0, mine.num_rows, _COMMIT_ROWS)
        batches += [_batch(series, mine.slice(at, _COMMIT_ROWS)) for at in starts]
    return batches


def _batch(series: DataSeries, table: pa.Table, source: Source = Source.REST) -> Batch:
    opens = table["timestamp"].cast(pa.int64())
    finding = Finding(opens[0].as_py(), opens[-1].as_py() + US_PER_MINUTE, Verdict.OBSERVED)
    return Batch(series=series, table=table, findings=[finding], source=source)


async def _commit_all(store: Store, batches: Sequence[Batch], *, inserted: int) -> None:
    new = changed = 0
    for batch in batches:
        (done,) = await store.commit([batch])
        new, changed = new + done.inserted, changed + done.corrected
    if (new, changed) != (inserted, 0):
        raise RuntimeError(f"{new} rows inserted and {changed} corrected, not {inserted} and 0")


# -- reads ---------------------------------------------------------------------------------------


async def _reads(engine: Engine, folder: Path, candles: pa.Table, rounds: int) -> list[Figure]:
    """Read one long series, its last days hot, and the newest rows of many."""
    say("reads")
    table = candles.slice(0, min(_READ_ROWS, candles.num_rows))
    cold = max(1, table.num_rows - _HOT_ROWS)
    series = candle_series(simulated.EXCHANGE, simulated.SYMBOL, Interval.M1)
    store = await open_store(engine.place(_READS), folder)
    await store.commit([_batch(series, table.slice(0, cold))])
    for at in range(cold, table.num_rows, _HOT_COMMIT):
        await store.commit([_batch(series, table.slice(at, _HOT_COMMIT), Source.LIVE)])
    many = [
        candle_series(simulated.EXCHANGE, f"COIN{number}-USDT", Interval.M1)
        for number in range(_MANY)
    ]
    for minute in range(3):
        row = table.slice(minute, 1)
        await store.commit([_batch(one, row, Source.LIVE) for one in many])
    engine.fill(table)
    file = folder / "reads.parquet"
    _frame(table).write_parquet(file)
    ours = {name: Series() for name in ("all", "last", "latest")}
    theirs = {name: Series() for name in ("all", "last", "parquet")}
    asked = Range(simulated.START, simulated.START + 2 * _READ_ROWS * US_PER_MINUTE)
    for number in range(rounds + 1):
        taken = [
            await _read_once(store, series, asked, None, table.num_rows),
            await _read_once(store, series, _FOREVER, _LAST, min(_LAST, table.num_rows)),
            await _latest_once(store, many),
        ]
        other = [_peer_once(engine, None), _peer_once(engine, _LAST), _parquet_once(file)]
        if number:  # the first one warms caches up
            for into, value in zip([*ours.values(), *theirs.values()], taken + other, strict=True):
                into.add_ms(value)
    await store.close()
    hot = table.num_rows - cold
    return [
        Figure(
            f"read {table.num_rows:,} candles to Polars",
            "ms",
            ours["all"],
            engine.targets.get("read"),
            engine.peer,
            theirs["all"],
            note=f"{hot:,} of them hot; one bare Parquet file with all of them: "
            f"{theirs['parquet'].median:.1f} ms",
        ),
        Figure(
            "read the last 500",
            "ms",
            ours["last"],
            engine.targets.get("last"),
            engine.peer,
            theirs["last"],
        ),
        Figure(
            f"read the latest of {_MANY} series", "ms", ours["latest"], engine.targets.get("latest")
        ),
    ]


async def _read_once(
    store: Store, series: DataSeries, asked: Range, last: int | None, rows: int
) -> Lap:
    with lap(tidy=False) as taken:
        frame = _frame(await store.read(series, asked, last=last))
    if frame.height != rows:
        raise RuntimeError(f"{frame.height} rows were read, {rows} are held")
    return taken


async def _latest_once(store: Store, many: Sequence[DataSeries]) -> Lap:
    with lap(tidy=False) as taken:
        tables = await store.latest(many)
    if any(one.num_rows != 1 for one in tables):
        raise RuntimeError("a series has no latest row")
    return taken


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table became no frame")
    return frame


def _peer_once(engine: Engine, last: int | None) -> Lap:
    with lap(tidy=False) as taken:
        engine.read(last)
    return taken


def _parquet_once(path: Path) -> Lap:
    with lap(tidy=False) as taken:
        pl.read_parquet(path)
    return taken


# -- live ----------------------------------------------------------------------------------------


async def _live(engine: Engine, folder: Path, commits: int, repeats: int) -> list[Figure]:
    """Commit a thousand mixed rows at a time, one commit after the other, each on the disk."""
    p50, p99, rate = Series(), Series(), Series()
    peer50, peer99, peer_rate = Series(), Series(), Series()
    store = await open_store(engine.place(_LIVE), folder)
    feed, peer = LiveFeed(), engine.live()
    for number in range(repeats + 1):
        say(f"live commits {number} of {repeats}: {commits} of {feed.rows} rows")
        drawn = [feed.draw() for _ in range(commits)]
        times: list[float] = []
        with lap() as whole:
            for batches in drawn:
                began = asyncio.get_running_loop().time()
                await store.commit(batches)
                times.append((asyncio.get_running_loop().time() - began) * 1e3)
        rows = [rows_of(batches) for batches in drawn]
        other: list[float] = []
        with lap() as theirs:
            for one in rows:
                began = asyncio.get_running_loop().time()
                peer.commit(one)
                other.append((asyncio.get_running_loop().time() - began) * 1e3)
        if number == 0:  # series are created with their first rows: once in a store's life
            continue
        rate.add_rate(commits * feed.rows, whole)
        peer_rate.add_rate(commits * feed.rows, theirs)
        for into, values in ((p50, times), (peer50, other)):
            into.values.append(float(np.median(values)))
        for into, values in ((p99, times), (peer99, other)):
            into.values.append(quantiles(values, n=100, method="inclusive")[-1])
    await store.close()
    peer.close()
    name = f"live commit of {feed.rows:,} rows"
    about = f"{feed.count} series of candles, trades and quotes, with ledger; fsynced each"
    return [
        Figure(
            f"{name}, p50", "ms", p50, engine.targets.get("p50"), engine.peer, peer50, note=about
        ),
        Figure(f"{name}, p99", "ms", p99, engine.targets.get("p99"), engine.peer, peer99),
        Figure(
            "live commits, sustained",
            RATE,
            rate,
            engine.targets.get("live"),
            engine.peer,
            peer_rate,
            note="back to back, compaction behind them included; the peer's tables hold bare rows",
        ),
    ]
