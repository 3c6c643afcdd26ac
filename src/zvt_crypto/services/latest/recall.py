"""Rows of the store as the records they came from.

The store does not keep when a record was received: `ts_recv` is 0 in what comes from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa

from zvt_crypto.core.column import times_of
from zvt_crypto.core.record import (
    Candle,
    Funding,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.cache import Held

_Row = Mapping[str, Any]


def is_stored(kind: Kind) -> bool:
    """Return whether the store has rows of a kind that are its records; of books it has not."""
    return kind in _MAKERS


def records_of(series: Series, table: pa.Table) -> list[Held]:
    """Return the rows of one series as records, in their order."""
    make = _MAKERS[series.kind]
    names = [name for name in table.schema.names if name != "timestamp"]
    columns = [_plain(table.column(name)) for name in names]
    found: list[Held] = []
    for at, *values in zip(times_of(table).tolist(), *columns, strict=True):
        found.append(make(series, at, dict(zip(names, values, strict=True))))
    return found


def _plain(column: Any) -> list[Any]:
    is_time = pa.types.is_timestamp(column.type)
    return (column.cast(pa.int64()) if is_time else column).to_pylist()


def _trade(series: Series, at: int, row: _Row) -> Trade:
    return Trade(
        series.exchange,
        series.symbol,
        at,
        0,
        row["trade_id"],
        row["price"],
        row["size"],
        Side(row["side"]),
        row["fills"],
    )


def _quote(series: Series, at: int, row: _Row) -> Quote:
    return Quote(
        series.exchange,
        series.symbol,
        at,
        0,
        row["bid_price"],
        row["bid_size"],
        row["ask_price"],
        row["ask_size"],
        row["sequence"] or None,
    )


def _candle(series: Series, at: int, row: _Row) -> Candle:
    if series.interval is None:
        raise ValueError(f"{series} has no interval")
    return Candle(
        series.exchange, series.symbol, series.interval, at, 0, *row.values(), is_closed=True
    )


def _mark_price(series: Series, at: int, row: _Row) -> MarkPrice:
    return MarkPrice(series.exchange, series.symbol, at, 0, *row.values())


def _funding(series: Series, at: int, row: _Row) -> Funding:
    return Funding(
        series.exchange,
        series.symbol,
        at,
        0,
        funding_rate=row["funding_rate"],
        funding_time=at,
        interval_hours=row["interval_hours"],
    )


def _open_interest(series: Series, at: int, row: _Row) -> OpenInterest:
    return OpenInterest(series.exchange, series.symbol, at, 0, row["open_interest"])


def _liquidation(series: Series, at: int, row: _Row) -> Liquidation:
    return Liquidation(
        series.exchange, series.symbol, at, 0, row["price"], row["size"], Side(row["side"])
    )


_MAKERS: Final[dict[Kind, Callable[[Series, int, _Row], Held]]] = {
    Kind.TRADES: _trade,
    Kind.QUOTES: _quote,
    Kind.CANDLES: _candle,
    Kind.MARK_PRICE: _mark_price,
    Kind.FUNDING: _funding,
    Kind.OPEN_INTEREST: _open_interest,
    Kind.LIQUIDATIONS: _liquidation,
}
