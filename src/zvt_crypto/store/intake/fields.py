"""A series and its tables as the columns of a catalog."""

from collections.abc import Sequence

import pyarrow as pa

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind, Series


def series_key(series: Series) -> tuple[str, str, str, str]:
    """Return the four columns that tell a series from others."""
    interval = series.interval.value if series.interval is not None else ""
    return series.exchange, series.symbol, series.kind.value, interval


def to_series(fields: Sequence[str]) -> Series:
    """Return the series of the catalog's four columns."""
    exchange, symbol, kind, interval = fields
    return Series(exchange, symbol, Kind(kind), Interval(interval) if interval else None)


def table_of(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows from SQL as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(column, pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)
