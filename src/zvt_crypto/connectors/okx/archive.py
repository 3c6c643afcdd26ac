"""The bulk files of OKX: which ones there are, and how to read them.

Zip files with one CSV each. Days and months are those of UTC+8, so a day's file runs from 16:00
to 16:00 UTC. Columns are found by the name in the header: old files order them differently, in
two languages and in GBK or UTF-8. No checksum is published; the one inside the zip is verified.

Source: https://www.okx.com/historical-data
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.connectors.okx.spec import ARCHIVE_DELAY_US, CHINA_OFFSET_US, NAME
from zvt_crypto.connectors.okx.unit import base_sizes
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_S, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import from_us, ints_to_us
from zvt_crypto.ports.connector import Rejected

PART_ROWS: Final = 500_000

_PIECE_BYTES: Final = 16 << 20
_MAX_HEADER_BYTES: Final = 64 << 10
_MAX_REJECTED: Final = 10_000
_RAW_CHARS: Final = 500
# Files cut at another hour than documented hold a third of their rows outside of it.
_STRAYS_ALLOWED: Final = 0.01
# Funding is stamped when it was done, up to two seconds after the hour it is for.
_FUNDING_DRIFT_US: Final = 10 * US_PER_S

_COLUMNS: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.TRADES: {
        "created_time": "timestamp",
        "trade_id": "trade_id",
        "price": "price",
        "size": "size",
        "side": "side",
    },
    Kind.CANDLES: {
        "open_time": "timestamp",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "vol": "vol",
        "vol_ccy": "vol_ccy",
        "vol_quote": "quote_volume",
        "confirm": "confirm",
    },
    Kind.FUNDING: {"funding_time": "timestamp", "funding_rate": "funding_rate"},
}
# The order of files that say which instrument a row is of, should the header be missing.
_ORDER: Final[Mapping[Kind, str]] = {
    Kind.TRADES: "instrument_name,trade_id,side,price,size,created_time",
    Kind.CANDLES: "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm",
    Kind.FUNDING: "instrument_name,funding_rate,funding_time",
}
_OUTSIDE: Final = "outside_window"
_WHOLE: Final = frozenset({"timestamp", "trade_id"})
_TEXT: Final = frozenset({"side"})


class NamedFile(NamedTuple):
    """A file, as its address spells it, and the time it answers for."""

    day: str
    date: str
    covers: Range


class Part(NamedTuple):
    """Rows of one stretch of a file, ascending and unique, in the schema of their kind."""

    asked: Range
    table: pa.Table
    rejected: Sequence[Rejected]


# -- which files --------------------------------------------------------------------------------


def daily_files(asked: Range, now_us: int) -> list[NamedFile]:
    """Return the published days of UTC+8 that overlap `asked`: what is needed of D-1 to D+1."""
    first = Interval.D1.floor(asked.start + CHINA_OFFSET_US)
    days = Interval.D1.grid(first, asked.end + CHINA_OFFSET_US).tolist()
    found: list[NamedFile] = []
    for day in days:
        covers = Range(day - CHINA_OFFSET_US, day - CHINA_OFFSET_US + US_PER_DAY)
        if covers.end + ARCHIVE_DELAY_US <= now_us:
            date = from_us(day)
            found.append(NamedFile(date.strftime("%Y%m%d"), date.strftime("%Y-%m-%d"), covers))
    return found


def monthly_files(asked: Range, now_us: int) -> list[NamedFile]:
    """Return the published months that overlap `asked`.

    They answer for months of UTC, which takes the last hours from the file after: see
    `neighbours`. Funding falls on the hour the files are cut at, give or take two seconds.
    """
    months = Interval.MON1.grid(Interval.MON1.floor(asked.start), asked.end).tolist()
    covers = [Range(month, Interval.MON1.shift(month, 1)) for month in months]
    return [_month(c) for c in covers if c.end + US_PER_DAY + ARCHIVE_DELAY_US <= now_us]


def neighbours(covers: Range) -> list[NamedFile]:
    """Return the monthly files that may hold rows of a month of UTC beside its own."""
    before = Range(Interval.MON1.shift(covers.start, -1), covers.start)
    after = Range(covers.end, Interval.MON1.shift(covers.end, 1))
    return [_month(before), _month(after)]


def _month(covers: Range) -> NamedFile:
    date = from_us(covers.start)
    return NamedFile(date.strftime("%Y%m"), date.strftime("%Y-%m"), covers)


# -- reading one --------------------------------------------------------------------------------


def read_parts(
    paths: Sequence[Path],
    kind: Kind,
    instrument: Instrument,
    covers: Range,
    *,
    part_rows: int = PART_ROWS,
) -> Iterator[Part]:
    """Yield the rows of files in parts whose `asked` ranges tile `covers`, ascending.

    Blocks: call it from a thread. Files are read to their end, and their checksum is proven,
    before the first part.

    Args:
        paths: zip files; more than one only for funding.
        kind: what they hold; sizes of trades become base units.
        instrument: whose rows they are; rows that name another one are left out.
        covers: what they answer for. Rows outside are rejected, except of funding, whose files
            are read with their neighbours.
        part_rows: how many rows a part holds, more only where one moment holds more.

    Raises:
        MalformedPayload: not such a zip, broken, a column is missing, or cut at another hour
            than midnight of UTC+8.
    """
    rejected: list[Rejected] = []
    frames: list[pl.DataFrame] = []
    for path in paths:
        for piece in _pieces(path, kind, instrument):
            frame = _read_piece(piece, kind, instrument, rejected)
            frames.append(_inside(frame, kind, covers, rejected))
    rows = pl.concat(frames) if frames else _no_rows(kind)
    strays = sum(bad.reason == _OUTSIDE for bad in rejected)
    if strays > _STRAYS_ALLOWED * (len(rows) + strays) + 1:
        detail = f"{strays} of {len(rows) + strays} rows lie outside the day of UTC+8"
        raise MalformedPayload(NAME, f"an archive of {kind}", detail)
    key = ["timestamp", "trade_id"] if kind is Kind.TRADES else ["timestamp"]
    rows = rows.unique(key, keep="last").sort(key)
    for asked, inside in _cut(rows, covers, part_rows):
        yield Part(asked, _table(inside, kind, instrument), rejected)
        rejected = []


class _Piece(NamedTuple):
    text: bytes
    names: list[str]


def _pieces(path: Path, kind: Kind, instrument: Instrument) -> Iterator[_Piece]:
    """Yield the text in pieces of whole lines, and the names of its columns."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.lower().endswith(".csv")]
            if len(entries) != 1:
                raise _malformed(kind, f"{len(entries)} CSV files in {path.name}")
            with archive.open(entries[0]) as file:
                yield from _lines(file, kind, instrument)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise _malformed(kind, f"{path.name}: {e}") from e


def _lines(file: IO[bytes], kind: Kind, instrument: Instrument) -> Iterator[_Piece]:
    first = file.readline(_MAX_HEADER_BYTES)
    if first.split(b",")[0].strip(b' "').decode("latin-1") == instrument.native:
        names, rest = _header(_ORDER[kind].encode(), kind), first
    else:
        names, rest = _header(first, kind), b""
    while block := file.read(_PIECE_BYTES):
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            continue
        yield _Piece(rest + block[:end], names)
        rest = block[end:]
    if rest.strip():
        yield _Piece(rest, names)


def _header(line: bytes, kind: Kind) -> list[str]:
    """Return our names of the columns; what follows a slash is the same word in Chinese.

    No byte of a GBK or UTF-8 sequence is a slash or a comma, so the line is cut undecoded.
    """
    cells = line.removeprefix(b"\xef\xbb\xbf").strip().split(b",")
    words = [cell.split(b"/")[0].strip(b' "').decode("ascii", "replace") for cell in cells]
    known = _COLUMNS[kind]
    missing = known.keys() - set(words)
    if missing or len(set(words)) != len(words):
        raise _malformed(kind, f"columns {words}, wanted {sorted(known)}")
    return [known.get(word, word) for word in words]


def _read_piece(
    piece: _Piece, kind: Kind, instrument: Instrument, rejected: list[Rejected]
) -> pl.DataFrame:
    """Return the readable rows; a bad cell costs its row, and a size may be `1.912e-05`."""
    wanted = _COLUMNS[kind].values()
    try:
        texts = pl.read_csv(
            piece.text,
            has_header=False,
            new_columns=piece.names,
            infer_schema=False,
            quote_char=None,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as e:
        raise _malformed(kind, str(e)) from e
    if not set(wanted) <= set(texts.columns):
        raise _malformed(kind, f"{len(texts.columns)} columns, not {len(piece.names)}")
    if "instrument_name" in texts.columns:
        texts = texts.filter(pl.col("instrument_name").str.strip_chars('" ') == instrument.native)
    read = texts.select(_cell(name) for name in wanted)
    is_bad = read.select(bad=pl.any_horizontal(pl.col(name).is_null() for name in wanted))["bad"]
    if is_bad.any():
        for row in texts.filter(is_bad).iter_rows():
            _reject(rejected, None, "unreadable", ",".join(str(cell) for cell in row))
        read = read.filter(~is_bad)
    times = ints_to_us(read["timestamp"].to_numpy())
    if kind is Kind.FUNDING:
        nearest = (times + US_PER_HOUR // 2) // US_PER_HOUR * US_PER_HOUR
        times = np.where(np.abs(times - nearest) <= _FUNDING_DRIFT_US, nearest, times)
    return read.with_columns(pl.Series("timestamp", times, pl.Int64))


def _cell(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars(' "\r')
    if name in _TEXT:
        return text.str.to_lowercase()
    value = text.cast(_type(name), strict=False)
    return value if name in _WHOLE else pl.when(value.is_finite()).then(value)


def _inside(
    frame: pl.DataFrame, kind: Kind, covers: Range, rejected: list[Rejected]
) -> pl.DataFrame:
    is_inside = frame["timestamp"].is_between(covers.start, covers.end, closed="left")
    if is_inside.all():
        return frame
    if kind is not Kind.FUNDING:
        for row in frame.filter(~is_inside).iter_rows(named=True):
            _reject(rejected, row["timestamp"], _OUTSIDE, str(row))
    return frame.filter(is_inside)


def _cut(rows: pl.DataFrame, covers: Range, part_rows: int) -> Iterator[tuple[Range, pl.DataFrame]]:
    """Yield sorted rows in parts that end between two moments, so that no moment is split."""
    times = rows["timestamp"].to_numpy()
    start, first = covers.start, 0
    while len(times) - first > part_rows:
        stop = int(np.searchsorted(times, times[first + part_rows], side="left"))
        if stop == first:
            stop = int(np.searchsorted(times, times[first], side="right"))
        if stop == len(times):
            break
        end = int(times[stop])
        yield Range(start, end), rows[first:stop]
        start, first = end, stop
    yield Range(start, covers.end), rows[first:]


def _table(rows: pl.DataFrame, kind: Kind, instrument: Instrument) -> pa.Table:
    columns: dict[str, Any] = {name: rows[name].to_numpy() for name in rows.columns}
    if kind is Kind.TRADES:
        columns["size"] = base_sizes(instrument, columns["size"], columns["price"])
        columns["trade_id"] = rows["trade_id"].cast(pl.String).to_arrow()
        known = pl.col("side").is_in(["buy", "sell"])
        side = pl.when(known).then("side").otherwise(pl.lit(Side.UNKNOWN.value))
        columns["side"] = rows.select(side=side)["side"].to_arrow()
    elif kind is Kind.CANDLES:
        is_spot = instrument.market is Market.SPOT
        columns["volume"] = columns["vol"] if is_spot else columns["vol_ccy"]
        closed = columns["confirm"] != 0
        columns = {name: values[closed] for name, values in columns.items()}
    count = len(columns["timestamp"])
    arrays = [
        pa.array(columns[field.name]).cast(field.type)
        if field.name in columns
        else pa.nulls(count, field.type)
        for field in SCHEMAS[kind]
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[kind])


def _no_rows(kind: Kind) -> pl.DataFrame:
    return pl.DataFrame(schema={name: _type(name) for name in _COLUMNS[kind].values()})


def _type(name: str) -> type[pl.DataType]:
    if name in _TEXT:
        return pl.String
    return pl.Int64 if name in _WHOLE else pl.Float64


def _reject(rejected: list[Rejected], time_us: int | None, reason: str, raw: str) -> None:
    if len(rejected) < _MAX_REJECTED:
        rejected.append(Rejected(time_us, reason, raw[:_RAW_CHARS]))


def _malformed(kind: Kind, detail: str) -> MalformedPayload:
    return MalformedPayload(NAME, f"an archive of {kind}", detail)
