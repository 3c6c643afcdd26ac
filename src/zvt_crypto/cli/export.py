"""Rows to a stream: table, CSV, JSON lines in an array, Parquet and Arrow IPC."""

import io
from collections.abc import Sequence
from enum import StrEnum
from typing import BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from zvt_crypto.core.series import Kind

TABLE_ROWS: Final = 40
"""Rows a table shows before it is cut in the middle; the other formats show all."""


_BOOKS: Final = (Kind.BOOK_SNAPSHOTS, Kind.BOOK_DELTAS)
_SHOWN_LEVELS: Final = 2
_SHOWN_TEXT: Final = 120


class Format(StrEnum):
    """How `query` writes rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"


def write_rows(table: pa.Table, kind: Kind, style: Format, out: BinaryIO) -> None:
    """Write all rows in one format; text formats spell times as `2018-04-07T15:00:00Z`.

    Levels of a book are lists. In CSV, which has none, their numbers stand in one field with spaces
    between them; a table shows the first of each side as `price x size`.
    """
    if kind in _BOOKS and style in (Format.CSV, Format.TABLE):
        table = _levels_as_text(table, is_short=style is Format.TABLE)
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
                # Levels of a book are one long text.
                fmt_str_lengths=_SHOWN_TEXT if kind in _BOOKS else None,
                float_precision=None,
            ):
                out.write(f"{_text(table)}\n".encode())


def _levels_as_text(table: pa.Table, *, is_short: bool) -> pa.Table:
    names = [field.name for field in table.schema if pa.types.is_list(field.type)]
    if not is_short:
        for name in names:
            at = table.schema.get_field_index(name)
            texts = [" ".join(map(str, row)) for row in table.column(at).to_pylist()]
            table = table.set_column(at, name, pa.array(texts, pa.string()))
        return table
    sides = {
        side: [
            _shortened(*both)
            for both in zip(
                *(table.column(f"{side}_{what}").to_pylist() for what in ("prices", "sizes")),
                strict=True,
            )
        ]
        for side in ("bid", "ask")
    }
    rest = table.drop_columns(names)
    for side, texts in sides.items():
        rest = rest.append_column(f"{side}s", pa.array(texts, pa.string()))
    return rest


def _shortened(prices: Sequence[float], sizes: Sequence[float]) -> str:
    pairs = zip(prices[:_SHOWN_LEVELS], sizes[:_SHOWN_LEVELS], strict=True)
    text = " ".join(f"{price} x {size}" for price, size in pairs)
    more = len(prices) - _SHOWN_LEVELS
    return f"{text} +{more}" if more > 0 else text


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
