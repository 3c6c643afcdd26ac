"""The lake: bulk writes, reloads, reads, durable live commits; beside SQLite and bare Parquet."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.bootstrap.engine import open_store
from zvt_crypto.cli.bench import simulated
from zvt_crypto.cli.bench.live import LiveFeed, LivePeer
from zvt_crypto.cli.bench.measure import RATE, Figure, Lap, Series, Target, lap, say, single
from zvt_crypto.core.interval import US_PER_MINUTE, Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import CANDLES
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
_FOREVER: Final = Range(0, 1 << 62)

_RELOAD_ROWS_S: Final = 1_500_000
_LIVE_ROWS_S: Final = 150_000
_CEILING: Final = {
    "read": Target(15.0, is_ceiling=True),
    "last": Target(20.0, is_ceiling=True),
    "p50": Target(5.0, is_ceiling=True),
    "p99": Target(20.0, is_ceiling=True),
    "bytes": Target(30.0, is_ceiling=True),
}


def measure(rows: int, repeats: int, *, is_quick: bool) -> tuple[dict[str, Any], list[Figure]]:
    """Run the bench and return its settings and figures."""
    with tempfile.TemporaryDirectory(prefix="zvtc-bench-") as name:
        folder = Path(name)
        say("fetching simulated candles")
        with simulated.simulator() as url:
            candles = asyncio.run(simulated.truth_candles(url, min(rows, _TRUTH_ROWS)))
        figures = asyncio.run(_all(folder, candles, rows, repeats, is_quick=is_quick))
    return {"candles": rows, "repeats": repeats}, figures


async def _all(
    folder: Path, candles: pa.Table, rows: int, repeats: int, *, is_quick: bool
) -> list[Figure]:
    figures = await _bulk(folder, candles, rows, repeats)
    figures += await _reads(folder, candles, repeats if is_quick else 10 * repeats)
    commits = _QUICK_LIVE_COMMITS if is_quick else _LIVE_COMMITS
    return figures + await _live(folder, commits, repeats)


# -- bulk ----------------------------------------------------------------------------------------


async def _bulk(folder: Path, candles: pa.Table, rows: int, repeats: int) -> list[Figure]:
    """Write the candles under as many names as it takes, then the same again."""
    batches = _batches(candles, rows)
    total = sum(one.table.num_rows for one in batches)
    wrote, verified, again, files = Series(), Series(), Series(), Series()
    stored_bytes = peer_bytes = 0
    for number in range(1, max(2, repeats // 2) + 1):
        say(f"bulk write {number}: {total:,} rows")
        with tempfile.TemporaryDirectory(prefix="zvtc-bench-", dir=folder) as name:
            store = await open_store(f"{name}/store", Path(name))
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
            None,
            "polars write_parquet",
            files,
            note="the peer neither sorts, hashes, fsyncs nor keeps a ledger",
        ),
        Figure(
            "idempotent reload",
            RATE,
            again,
            Target(_RELOAD_ROWS_S),
            note="every row compared with what is held; inserted = corrected = 0",
        ),
        Figure("verify: digests recomputed", RATE, verified),
        Figure(
            "stored 1m candle",
            "bytes",
            single(stored_bytes / total),
            _CEILING["bytes"],
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


async def _reads(folder: Path, candles: pa.Table, rounds: int) -> list[Figure]:
    """Read one long series, its last days hot, and the newest rows of many."""
    say("reads")
    table = candles.slice(0, min(_READ_ROWS, candles.num_rows))
    cold = max(1, table.num_rows - _HOT_ROWS)
    series = candle_series(simulated.EXCHANGE, simulated.SYMBOL, Interval.M1)
    store = await open_store(str(folder / "reads"), folder)
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
    db = folder / "reads.sqlite"
    _fill_sqlite(db, table)
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
        other = [_sqlite_once(db, None), _sqlite_once(db, _LAST), _parquet_once(file)]
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
            _CEILING["read"],
            "SQLite",
            theirs["all"],
            note=f"{hot:,} of them hot; one bare Parquet file with all of them: "
            f"{theirs['parquet'].median:.1f} ms",
        ),
        Figure("read the last 500", "ms", ours["last"], _CEILING["last"], "SQLite", theirs["last"]),
        Figure(f"read the latest of {_MANY} series", "ms", ours["latest"], _CEILING["last"]),
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


def _fill_sqlite(path: Path, table: pa.Table) -> None:
    names = ", ".join(f'"{field.name}"' for field in CANDLES)
    columns = [_plain(table[name]) for name in CANDLES.names]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"CREATE TABLE candles (series INT, {names}, PRIMARY KEY (series, "
                           "timestamp)) WITHOUT ROWID")  # fmt: skip
        marks = ", ".join("?" for _ in CANDLES)
        connection.executemany(
            f"INSERT INTO candles VALUES (1, {marks})",  # noqa: S608 - question marks
            zip(*columns, strict=True),
        )


def _plain(column: Any) -> list[Any]:
    is_time = pa.types.is_timestamp(column.type)
    return (column.cast(pa.int64()) if is_time else column).to_pylist()


def _sqlite_once(path: Path, last: int | None) -> Lap:
    tail = "" if last is None else f" DESC LIMIT {last}"
    with closing(sqlite3.connect(path)) as connection, lap(tidy=False) as taken:
        rows = connection.execute(
            f"SELECT * FROM candles WHERE series = 1 ORDER BY timestamp{tail}"  # noqa: S608
        ).fetchall()
        pl.DataFrame(rows, schema=["series", *CANDLES.names], orient="row")
    return taken


def _parquet_once(path: Path) -> Lap:
    with lap(tidy=False) as taken:
        pl.read_parquet(path)
    return taken


# -- live ----------------------------------------------------------------------------------------


async def _live(folder: Path, commits: int, repeats: int) -> list[Figure]:
    """Commit a thousand mixed rows at a time, one commit after the other, each on the disk."""
    p50, p99, rate = Series(), Series(), Series()
    peer50, peer99, peer_rate = Series(), Series(), Series()
    store = await open_store(str(folder / "live"), folder)
    feed, peer = LiveFeed(), LivePeer(folder / "live.sqlite")
    for number in range(repeats + 1):
        say(f"live commits {number} of {repeats}: {commits} of {feed.rows} rows")
        drawn = [feed.draw() for _ in range(commits)]
        times: list[float] = []
        with lap() as whole:
            for batches in drawn:
                began = asyncio.get_running_loop().time()
                await store.commit(batches)
                times.append((asyncio.get_running_loop().time() - began) * 1e3)
        rows = [peer.rows_of(batches) for batches in drawn]
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
        Figure(f"{name}, p50", "ms", p50, _CEILING["p50"], "SQLite", peer50, note=about),
        Figure(f"{name}, p99", "ms", p99, _CEILING["p99"], "SQLite", peer99),
        Figure(
            "live commits, sustained",
            RATE,
            rate,
            Target(_LIVE_ROWS_S),
            "SQLite",
            peer_rate,
            note="back to back, compaction behind them included; the peer's tables hold bare rows",
        ),
    ]
