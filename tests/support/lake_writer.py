"""A process that writes into a store, and may be told to kill itself on the way.

Run by the tests as `python lake_writer.py STORE MODE NUMBER [POINT [COUNT]]`; a store is the
folder of a lake, or a URL.
"""

import asyncio
import os
import signal
import sys

import numpy as np
import pyarrow as pa

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, candle_series
from zvt_crypto.ports.store import Batch, Finding, Housekeeper, Store

M1 = 60_000_000
T0 = 1_704_067_200_000_000
SERIES = candle_series("binance", "BTC-USDT", Interval.M1)
OTHER = candle_series("okx", "ETH-USDT", Interval.M1)
LARGE = 50_000  # a month and a bit: two segments
SMALL = 300


def candles(start: int, count: int, price: float) -> pa.Table:
    """Return candles whose values depend on time and `price` alone."""
    times = start + np.arange(count) * M1
    close = price + times // M1 % 89 / 10
    columns = [pa.array(times).cast(TIMESTAMP), close, close + 1, close - 1, close, close * 2]
    nulls = [pa.nulls(count, field.type) for field in list(SCHEMAS[Kind.CANDLES])[6:]]
    return pa.table([*columns, *nulls], schema=SCHEMAS[Kind.CANDLES])


def batches(number: int, rows: int) -> list[Batch]:
    """Return what commit `number` brings: rows of two series, next to those of the one before."""
    start = T0 + number * rows * M1
    return [
        Batch(
            series=series,
            table=candles(start, rows, 100.0),
            findings=[Finding(start, start + rows * M1, Verdict.OBSERVED)],
            source=Source.REST,
        )
        for series in (SERIES, OTHER)
    ]


async def opened(place: str) -> Store:
    """Open a store by its folder or URL; importing the other engine would only take time."""
    if "://" in place:
        from zvt_crypto.store.timescale import TimescaleStore

        return await TimescaleStore.open(place, filed_rows=5_000)
    from zvt_crypto.store.lake import LakeStore

    return await LakeStore.open(place)


async def crash(folder: str, rows: int, point: str, count: int) -> None:
    from zvt_crypto.store.lake import LakeStore

    seen = 0

    def crash_point(reached: str) -> None:
        nonlocal seen
        seen += reached == point
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    store = await LakeStore.open(folder, crash_points=crash_point)
    await store.commit(batches(1, rows))
    await store.compact()
    await store.close()


async def endless(folder: str, number: int) -> None:
    """Write until killed: own stretches, and one stretch that all writers fight for."""
    store = await opened(folder)
    sizes = [40, 7_000, 3, 12_000, 900]
    at = T0 + number * 400_000 * M1
    for turn in range(10_000):
        rows = sizes[turn % len(sizes)]
        found = Finding(at, at + rows * M1, Verdict.OBSERVED)
        mine = Batch(
            series=SERIES, table=candles(at, rows, 1.0), findings=[found], source=Source.REST
        )
        start = T0 - 50_000 * M1 + turn % 7 * 1_000 * M1
        shared = Batch(
            series=OTHER,
            table=candles(start, rows, float(number + turn)),
            findings=[Finding(start, start + rows * M1, Verdict.OBSERVED)],
            source=Source.LIVE,
        )
        await store.commit([mine, shared])
        if turn % len(sizes) == 0 and "://" in folder and isinstance(store, Housekeeper):
            await store.upkeep()
        at += rows * M1
        sys.stdout.write(f"{at}\n")
        sys.stdout.flush()


async def steady(folder: str, number: int, turns: int) -> None:
    """Write every `turns`-th row of one stretch, in small and large commits by turns."""
    store = await opened(folder)
    table = candles(T0, 60_000, 5.0)
    mine = table.take(np.arange(number, table.num_rows, turns))
    at = 0
    for size in [10, 6_000, 500, 1, 5_500] * 20:
        if at >= mine.num_rows:
            break
        batch = Batch(series=SERIES, table=mine.slice(at, size), source=Source.REST)
        await store.commit([batch])
        at += size
    await store.close()


if __name__ == "__main__":
    _, root, mode, argument, *rest = sys.argv
    if mode == "crash":
        asyncio.run(crash(root, int(argument), rest[0], int(rest[1])))
    elif mode == "endless":
        asyncio.run(endless(root, int(argument)))
    else:
        asyncio.run(steady(root, int(argument), int(rest[0])))
