"""The bulk files of OKX: which ones there are, and how to read them.

Zip files with one CSV each; its rows are `sheet.py`'s. Days and months are those of UTC+8, so a
day's file runs from 16:00 to 16:00 UTC. No checksum is published; the one inside the zip is
verified.

Source: https://www.okx.com/historical-data
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.connectors.okx.sheet import (
    MAX_REJECTED,
    column_names,
    make_table,
    malformed,
    no_rows,
    read_rows,
    reject,
)
from zvt_crypto.connectors.okx.spec import ARCHIVE_DELAY_US, CHINA_OFFSET_US
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import from_us
from zvt_crypto.ports.connector import Rejected

PART_ROWS: Final = 250_000

_PIECE_BYTES: Final = 16 << 20
_MAX_HEADER_BYTES: Final = 64 << 10
# Files cut at another hour than documented hold a third of their rows outside of it.
_STRAYS_ALLOWED: Final = 0.01
_OUTSIDE: Final = "outside_window"


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
    frames = [no_rows(kind)]
    strays = 0
    for path in paths:
        for text, names in _pieces(path, kind, instrument):
            frame = read_rows(text, names, kind, instrument, rejected)
            is_inside = frame["timestamp"].is_between(covers.start, covers.end, closed="left")
            if not is_inside.all():
                outside = frame.filter(~is_inside)
                frame = frame.filter(is_inside)
                if kind is not Kind.FUNDING:
                    strays += len(outside)
                    for row in outside.head(MAX_REJECTED).iter_rows(named=True):
                        reject(rejected, row["timestamp"], _OUTSIDE, str(row))
            frames.append(frame)
    rows = pl.concat(frames)
    frames.clear()
    if strays > _STRAYS_ALLOWED * (len(rows) + strays) + 1:
        detail = f"{strays} of {len(rows) + strays} rows lie outside the day of UTC+8"
        raise malformed(kind, detail)
    rows = _in_order(rows, kind)
    for asked, inside in _cut(rows, covers, part_rows):
        yield Part(asked, make_table(inside, kind, instrument), rejected)
        rejected = []


def _in_order(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Return rows by time, of trades then by id, each once; most files are in order already."""
    steps = np.diff(rows["timestamp"].to_numpy())
    rising = steps > 0
    key = ["timestamp"]
    if kind is Kind.TRADES:
        key = ["timestamp", "trade_id"]
        rising |= (steps == 0) & (np.diff(rows["trade_id"].to_numpy()) > 0)
    return rows if rising.all() else rows.unique(key, keep="last").sort(key)


def _pieces(path: Path, kind: Kind, instrument: Instrument) -> Iterator[tuple[bytes, list[str]]]:
    """Yield the text in pieces of whole lines, and the names of its columns."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.lower().endswith(".csv")]
            if len(entries) != 1:
                raise malformed(kind, f"{len(entries)} CSV files in {path.name}")
            with archive.open(entries[0]) as file:
                yield from _lines(file, kind, instrument)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise malformed(kind, f"{path.name}: {e}") from e


def _lines(
    file: IO[bytes], kind: Kind, instrument: Instrument
) -> Iterator[tuple[bytes, list[str]]]:
    first = file.readline(_MAX_HEADER_BYTES)
    names, is_data = column_names(first, kind, instrument.native)
    rest = first if is_data else b""
    while block := file.read(_PIECE_BYTES):
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            continue
        yield rest + block[:end], names
        rest = block[end:]
    if rest.strip():
        yield rest, names


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
