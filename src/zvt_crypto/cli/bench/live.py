"""Live rows as a stream service would commit them, and the peer that takes them as bare rows."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from zvt_crypto.cli.bench.simulated import EXCHANGE, START
from zvt_crypto.core.interval import US_PER_MINUTE, US_PER_S, Interval
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.schema import CANDLES, KEYS, QUOTES, SCHEMAS, TRADES
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.store import Batch, Finding

# What one commit holds: series of a kind, and rows of each.
_CANDLES: Final = (50, 1)
_TRADES: Final = (60, 15)
_QUOTES: Final = (10, 5)
TABLES: Final = {Kind.CANDLES: CANDLES, Kind.TRADES: TRADES, Kind.QUOTES: QUOTES}

Rows: TypeAlias = "dict[Kind, list[tuple[Any, ...]]]"
"""One commit as plain tuples, series first, by kind."""


class LiveFeed:
    """Draws commits of a thousand mixed rows, each a little later than the one before."""

    rows = sum(series * each for series, each in (_CANDLES, _TRADES, _QUOTES))
    count = _CANDLES[0] + _TRADES[0] + _QUOTES[0]

    def __init__(self) -> None:
        self._random = np.random.default_rng(7)
        self._step = 0

    def draw(self) -> list[Batch]:
        """Return the batches of the next commit; candles close every minute, trades go on."""
        batches = [self._candle(number) for number in range(_CANDLES[0])]
        batches += [self._trades(number) for number in range(_TRADES[0])]
        batches += [self._quotes(number) for number in range(_QUOTES[0])]
        self._step += 1
        return batches

    def _candle(self, number: int) -> Batch:
        at = START + self._step * US_PER_MINUTE
        price = self._prices(4)
        row: dict[str, list[Any]] = {
            "timestamp": [at],
            "open": [float(price[0])],
            "high": [float(price.max())],
            "low": [float(price.min())],
            "close": [float(price[3])],
            "volume": [12.5],
            "quote_volume": [750_000.25],
            "trade_count": [420],
            "taker_buy_volume": [6.25],
        }
        series = candle_series(EXCHANGE, f"COIN{number}-USDT", Interval.M1)
        return _batch(series, row, at, at + US_PER_MINUTE)

    def _trades(self, number: int) -> Batch:
        start, times = self._moments(_TRADES[1])
        first = self._step * _TRADES[1]
        row = {
            "timestamp": times,
            "trade_id": [str(first + at) for at in range(_TRADES[1])],
            "price": self._prices(_TRADES[1]),
            "size": np.round(self._random.exponential(0.1, _TRADES[1]), 5),
            "side": ["buy" if at % 2 else "sell" for at in range(_TRADES[1])],
            "fills": [1] * _TRADES[1],
        }
        series = Series(EXCHANGE, f"COIN{number}-USDT", Kind.TRADES)
        return _batch(series, row, start, start + US_PER_S)

    def _quotes(self, number: int) -> Batch:
        start, times = self._moments(_QUOTES[1])
        price = self._prices(_QUOTES[1])
        size = np.round(self._random.exponential(1.0, _QUOTES[1]), 5)
        row = {
            "timestamp": times,
            "bid_price": price,
            "bid_size": size,
            "ask_price": price + 0.01,
            "ask_size": size,
            "sequence": np.arange(_QUOTES[1]) + self._step * _QUOTES[1],
        }
        series = Series(EXCHANGE, f"COIN{number}-USDT", Kind.QUOTES)
        return _batch(series, row, start, start + US_PER_S)

    def _moments(self, rows: int) -> tuple[int, Any]:
        start = START + self._step * US_PER_S
        return start, start + np.arange(rows, dtype=np.int64) * (US_PER_S // rows)

    def _prices(self, rows: int) -> Any:
        return np.round(60_000 + self._random.normal(0, 25, rows), 2)


def _batch(series: Series, row: dict[str, Any], start: int, end: int) -> Batch:
    schema = SCHEMAS[series.kind]
    arrays = [pa.array(row[field.name], field.type) for field in schema]
    return Batch(
        series=series,
        table=pa.Table.from_arrays(arrays, schema=schema),
        findings=[Finding(start, end, Verdict.OBSERVED)],
        source=Source.LIVE,
    )


def rows_of(batches: Sequence[Batch]) -> Rows:
    """Return a commit as plain tuples; what that takes is not charged to the peer."""
    rows: Rows = {kind: [] for kind in TABLES}
    for batch in batches:
        name = batch.series.symbol
        columns = [
            (c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c).to_pylist()
            for c in batch.table.columns
        ]
        rows[batch.series.kind] += [(name, *row) for row in zip(*columns, strict=True)]
    return rows


class LivePeer:
    """One plain SQLite table per kind, write-ahead log, synced at every commit."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        for kind, schema in TABLES.items():
            names = ", ".join(f'"{field.name}"' for field in schema)
            key = ", ".join(["series", *KEYS[kind]])
            self._connection.execute(
                f'CREATE TABLE "{kind}" (series TEXT, {names}, PRIMARY KEY ({key})) WITHOUT ROWID'
            )

    def commit(self, rows: Rows) -> None:
        """Write one commit."""
        self._connection.execute("BEGIN IMMEDIATE")
        for kind, mine in rows.items():
            marks = ", ".join("?" for _ in mine[0])
            self._connection.executemany(
                f'INSERT OR REPLACE INTO "{kind}" VALUES ({marks})',  # noqa: S608 - our names
                mine,
            )
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
