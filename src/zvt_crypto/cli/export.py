"""Rows to a stream: table, CSV, JSON lines in an array, Parquet and Arrow IPC."""

import io
from enum import StrEnum
from typing import BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from zvt_crypto.core.series import Kind

TABLE_ROWS: Final = 40
"""Rows a table shows before it is cut in the middle; the other formats show all."""


class Format(StrEnum):
    """How `query` writes rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"


def write_rows(table: pa.Table, kind: Kind, style: Format, out: BinaryIO) -> None:
    """Write all rows in one format; text formats spell times as `2018-04-07T15:00:00Z`."""
    del kind
    match style:
        case Format.PARQUET:
            # Parquet is written back to front, which a pipe cannot do: build it first.
            buffer = io.BytesIO()
            pq.write_table(table, buffer, compression="zstd")
            out.write(buffer.getbuffer())
        case Format.ARROW:
            with pa.ipc.new_stream(out, table.schema) as writer:
                writer.write_table(table)
        case Format.CSV:
            _text(table).write_csv(out)
        case Format.JSON:
            out.write(_text(table).write_json().encode())
            out.write(b"\n")
        case Format.TABLE:
            with pl.Config(
                tbl_rows=TABLE_ROWS,
                tbl_cols=-1,
                tbl_width_chars=200,
                tbl_hide_column_data_types=True,
                tbl_formatting="UTF8_BORDERS_ONLY",
                float_precision=None,
            ):
                out.write(f"{_text(table)}\n".encode())


def _text(table: pa.Table) -> pl.DataFrame:
    """Return the rows with times as text; a fraction of a second appears only where it is."""
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table became a series")
    times = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime)]
    return frame.with_columns(
        [
            pl.when(pl.col(n).dt.microsecond() == 0)
            .then(pl.col(n).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
            .otherwise(
                pl.col(n).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f").str.strip_chars_end("0") + "Z"
            )
            .alias(n)
            for n in times
        ]
    )
