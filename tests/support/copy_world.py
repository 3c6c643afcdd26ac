"""A lake to copy: four series of minutes, a day of trades, corrections and hot rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.store.lake import LakeStore

M1 = 60_000_000
DAY = 86_400_000_000
T0 = 1_704_067_200_000_000  # 2024-01-01
CANDLES = [candle_series("binance", f"COIN{n}-USDT", Interval.M1) for n in range(4)]
TRADES = Series("okx", "ETH-USDT-PERP", Kind.TRADES)
MINUTES = 60 * 1_440


def candles(start: int, count: int, price: float = 100.0) -> pa.Table:
    """Return candles of minutes."""
    times = start + np.arange(count) * M1
    close = price + times // M1 % 89 / 10
    columns = [pa.array(times).cast(TIMESTAMP), close, close + 1, close - 1, close, close * 2]
    nulls = [pa.nulls(count, field.type) for field in list(SCHEMAS[Kind.CANDLES])[6:]]
    return pa.table([*columns, *nulls], schema=SCHEMAS[Kind.CANDLES])


def trades(count: int) -> pa.Table:
    """Return trades spread over a day."""
    times = T0 + np.arange(count) * (DAY // count)
    price = 100 + np.arange(count) % 89 / 10
    return pa.table(
        [
            pa.array(times).cast(TIMESTAMP),
            [str(number) for number in range(count)],
            price,
            price,
            ["buy"] * count,
            pa.nulls(count, pa.int64()),
        ],
        schema=SCHEMAS[Kind.TRADES],
    )


def observed(series: Series, table: pa.Table, start: int, end: int) -> Batch:
    """Return a batch whose rows are all there is in a range."""
    finding = Finding(start, end, Verdict.OBSERVED)
    return Batch(series=series, table=table, findings=[finding], source=Source.ARCHIVE)


async def write(folder: Path) -> None:
    """Make the lake."""
    store = await LakeStore.open(folder)
    for series in CANDLES:
        table = candles(T0, MINUTES)
        await store.commit([observed(series, table, T0, T0 + MINUTES * M1)])
    await store.commit([observed(TRADES, trades(300_000), T0, T0 + DAY)])
    # A few corrections, and hot rows after the segments.
    await store.commit([Batch(series=CANDLES[0], table=candles(T0, 10, 7.0), source=Source.REPAIR)])
    late = T0 + MINUTES * M1
    await store.commit([observed(CANDLES[0], candles(late, 90), late, late + 90 * M1)])
    await store.close()
