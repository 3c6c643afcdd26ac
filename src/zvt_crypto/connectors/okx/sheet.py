"""The rows of OKX's CSV files: header to names, text to columns, columns to a table. Pure.

Columns are found by the name in the header: old files order them differently, in two languages
and in GBK or UTF-8. A piece of a file is read as numbers at once; where a cell does not fit it is
read again as text, and the bad cell costs its row.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.connectors.okx.spec import NAME
from zvt_crypto.connectors.okx.unit import base_sizes
from zvt_crypto.core.column import Ints
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_HOUR, US_PER_S
from zvt_crypto.core.record import Side
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import ints_to_us
from zvt_crypto.ports.connector import Rejected

MAX_REJECTED: Final = 10_000
_RAW_CHARS: Final = 500
# Funding is stamped when it was done, up to two seconds after the hour it is for.
_FUNDING_DRIFT_US: Final = 10 * US_PER_S

# The exchange's names of the columns we need, in its order, and ours.
_COLUMNS: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.TRADES: {
        "trade_id": "trade_id",
        "side": "side",
        "price": "price",
        "size": "size",
        "created_time": "timestamp",
    },
    Kind.CANDLES: {
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "vol": "vol",
        "vol_ccy": "vol_ccy",
        "vol_quote": "quote_volume",
        "open_time": "timestamp",
        "confirm": "confirm",
    },
    Kind.FUNDING: {"funding_rate": "funding_rate", "funding_time": "timestamp"},
}
_INSTRUMENT: Final = "instrument_name"
_WHOLE: Final = frozenset({"timestamp", "trade_id"})
_SIDES: Final = pa.array([Side.UNKNOWN.value, Side.BUY.value, Side.SELL.value])
_SIDE_CODES: Final = {Side.BUY.value: 1, Side.SELL.value: 2}


def column_names(first_line: bytes, kind: Kind, native: str) -> tuple[list[str], bool]:
    """Return our names of a file's columns, and whether its first line is data already.

    What follows a slash in a cell is the same word in Chinese. No byte of a GBK or UTF-8 sequence
    is a slash or a comma, so the line is cut undecoded. A file without a header is told by the
    instrument that stands in its place, and has the documented order.

    Raises:
        MalformedPayload: a column is missing or there twice.
    """
    cells = first_line.removeprefix(b"\xef\xbb\xbf").strip().split(b",")
    known = _COLUMNS[kind]
    words = [cell.split(b"/")[0].strip(b' "').decode("ascii", "replace") for cell in cells]
    is_data = words[0] == native
    if is_data:
        words = [_INSTRUMENT, *known]
    if known.keys() - set(words) or len(set(words)) != len(words):
        raise malformed(kind, f"columns {words}, wanted {list(known)}")
    return [known.get(word, word) for word in words], is_data


def no_rows(kind: Kind) -> pl.DataFrame:
    """Return a frame of `kind` without rows."""
    schema = {name: _type(name) for name in _COLUMNS[kind].values()}
    return _tidy(pl.DataFrame(schema=schema), kind)


def read_rows(
    text: bytes, names: list[str], kind: Kind, instrument: Instrument, rejected: list[Rejected]
) -> pl.DataFrame:
    """Return the rows of whole lines; those that cannot be read go to `rejected`.

    Times are microseconds, the side is a code, sizes are as in the file. Rows that name another
    instrument are left out.

    Raises:
        MalformedPayload: no table at all.
    """
    frame = _fast(text, names, kind, instrument)
    if frame is None:
        frame = _strict(text, names, kind, instrument, rejected)
    return _tidy(frame, kind)


def make_table(rows: pl.DataFrame, kind: Kind, instrument: Instrument) -> pa.Table:
    """Return rows in the schema of their kind, sizes and volumes in base units."""
    columns: dict[str, Any] = {name: rows[name].to_numpy() for name in rows.columns}
    if kind is Kind.TRADES:
        columns["size"] = base_sizes(instrument, columns["size"], columns["price"])
        columns["trade_id"] = pa.array(columns["trade_id"]).cast(pa.string())
        columns["side"] = _SIDES.take(pa.array(columns["side"]))
    elif kind is Kind.CANDLES:
        is_spot = instrument.market is Market.SPOT
        columns["volume"] = columns["vol"] if is_spot else columns["vol_ccy"]
        closed = columns["confirm"] != 0
        columns = {name: values[closed] for name, values in columns.items()}
    count = len(columns["timestamp"])
    arrays = [
        _array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(count, field.type)
        for field in SCHEMAS[kind]
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[kind])


def reject(rejected: list[Rejected], time_us: int | None, reason: str, raw: str) -> None:
    """Keep a refused row, up to a bound."""
    if len(rejected) < MAX_REJECTED:
        rejected.append(Rejected(time_us, reason, raw[:_RAW_CHARS]))


def malformed(kind: Kind, detail: str) -> MalformedPayload:
    """Return the error for a file that cannot be read."""
    return MalformedPayload(NAME, f"an archive of {kind}", detail)


def _fast(text: bytes, names: list[str], kind: Kind, instrument: Instrument) -> pl.DataFrame | None:
    """Return the rows if every cell fits its type and every row is the instrument's, else None."""
    if names[0] == _INSTRUMENT:
        lines = text.count(b"\n") + (not text.endswith(b"\n"))
        start = instrument.native.encode() + b","
        if text.count(b"\n" + start) + text.startswith(start) != lines:
            return None
    elif _INSTRUMENT in names:
        return None
    wanted = list(_COLUMNS[kind].values())
    try:
        frame = pl.read_csv(
            b"".join((",".join(names).encode(), b"\n", text)),
            columns=wanted,
            schema_overrides={name: _type(name) for name in wanted},
            quote_char=None,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError:
        return None
    if any(frame[name].null_count() for name in wanted):
        return None
    floats = [name for name in wanted if _type(name) is pl.Float64]
    return frame if all(frame[name].is_finite().all() for name in floats) else None


def _strict(
    text: bytes, names: list[str], kind: Kind, instrument: Instrument, rejected: list[Rejected]
) -> pl.DataFrame:
    """Return the readable rows; a bad cell costs its row."""
    wanted = _COLUMNS[kind].values()
    try:
        texts = pl.read_csv(
            text,
            has_header=False,
            new_columns=names,
            infer_schema=False,
            quote_char=None,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as e:
        raise malformed(kind, str(e)) from e
    if not set(wanted) <= set(texts.columns):
        raise malformed(kind, f"{len(texts.columns)} columns, not {len(names)}")
    if _INSTRUMENT in texts.columns:
        texts = texts.filter(pl.col(_INSTRUMENT).str.strip_chars('" ') == instrument.native)
    read = texts.select(_cell(name) for name in wanted)
    is_bad = read.select(bad=pl.any_horizontal(pl.col(name).is_null() for name in wanted))["bad"]
    if is_bad.any():
        for row in texts.filter(is_bad).head(MAX_REJECTED).iter_rows():
            reject(rejected, None, "unreadable", ",".join(str(cell) for cell in row))
        read = read.filter(~is_bad)
    return read


def _cell(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars(' "\r')
    if name == "side":
        return text
    value = text.cast(_type(name), strict=False)
    return value if name in _WHOLE else pl.when(value.is_finite()).then(value)


def _type(name: str) -> type[pl.DataType]:
    if name == "side":
        return pl.String
    return pl.Int64 if name in _WHOLE else pl.Float64


def _tidy(frame: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    times: Ints = ints_to_us(frame["timestamp"].to_numpy())
    if kind is Kind.FUNDING:
        nearest = (times + US_PER_HOUR // 2) // US_PER_HOUR * US_PER_HOUR
        times = np.where(np.abs(times - nearest) <= _FUNDING_DRIFT_US, nearest, times)
    frame = frame.with_columns(pl.Series("timestamp", times, pl.Int64))
    if kind is Kind.TRADES:
        # A byte instead of a text per row: a busy day has millions.
        word = pl.col("side").str.to_lowercase()
        code = word.replace_strict(_SIDE_CODES, default=0, return_dtype=pl.UInt8)
        frame = frame.with_columns(side=code)
    return frame


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return array if array.type == kind else array.cast(kind)
