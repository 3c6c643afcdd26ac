"""The daily trade files of public.bybit.com: which ones there are, and how to read them.

Two dialects, told by their header: `/trading/` for perpetuals (seconds with a fraction) and
`/spot/` (milliseconds, ids that start at 1 every day). No checksum is published; a gzip file
carries one of its own, and a file is read to its end before the first row leaves here.

Files hold up to some million rows, old ones with the newest first. They are read in pieces that
are spilled to a scratch folder and come back in parts by time, so memory does not grow with them.
"""

import datetime as dt
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from isal import igzip, isal_zlib

from zvt_crypto.connectors.bybit.spec import NAME
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_DAY, US_PER_MS, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import TRADES, empty_table
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import from_us, to_us
from zvt_crypto.ports.connector import Rejected

PART_ROWS: Final = 100_000

_Offsets: TypeAlias = npt.NDArray[np.uint32]

# Our names of the columns that are read, by lower-case header; the RPI flag and others are not.
_PERP: Final = {
    "timestamp": "timestamp",
    "trdmatchid": "id",
    "price": "price",
    "size": "size",
    "side": "side",
    "homenotional": "worth",
}
_SPOT: Final = {
    "timestamp": "timestamp",
    "id": "id",
    "price": "price",
    "volume": "size",
    "side": "side",
}
_OPTIONAL: Final = {"homenotional"}

# The order of columns, for a file that starts with a trade at once.
_PERP_HEADER: Final = (
    b"timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
    b"foreignNotional\n"
)
_SPOT_HEADER: Final = b"id,timestamp,price,volume,side\n"
_NUMBERS: Final = {"timestamp", "price", "size", "worth"}

# A checksum that differs is an OSError (BadGzipFile), an end too early an EOFError.
_BROKEN: Final[tuple[type[Exception], ...]] = (
    isal_zlib.IsalError,  # pyright: ignore[reportAssignmentType] - its stub says an instance
    zlib.error,
    OSError,
    EOFError,
)

# Larger ones are parsed no faster; the parser takes several times the text in memory.
_PIECE_BYTES: Final = 8 << 20
_MAX_LINE_BYTES: Final = 1 << 20
# Ten times the largest day seen; what claims more is a trap or another file.
_MAX_TEXT_BYTES: Final = 8 << 30
_MAX_REJECTED: Final = 10_000
_RAW_CHARS: Final = 500
_ID_DIGITS: Final = 8
_DUE_DAYS: Final = 10
_NOTIONAL_TOLERANCE: Final = 1e-3

_HREF: Final = re.compile(rb'href="(?:[^"]*/)?([^"/]+\.csv\.gz)"', re.IGNORECASE)
_DAY: Final = re.compile(r"[_-]?(\d{4}-\d{2}-\d{2})\.csv\.gz")
_MONTH: Final = re.compile(r"[_-](\d{4}-\d{2})\.csv\.gz")

# Ends of the magnitudes a time may be written in, as in `core.timestamp`.
_SECONDS_BELOW: Final = 1e11
_MILLIS_BELOW: Final = 1e14


class NamedFile(NamedTuple):
    """A file of a listing and the time it answers for."""

    name: str
    covers: Range


class Part(NamedTuple):
    """Trades of one stretch of a file, ascending and unique, in the schema of trades."""

    asked: Range
    table: pa.Table
    rejected: Sequence[Rejected]


# -- which files --------------------------------------------------------------------------------


def parse_listing(body: bytes, native: str) -> list[NamedFile]:
    """Return the trade files of a symbol that an HTML listing links to, by time.

    Names: `BTCUSDT2020-03-25.csv.gz` for perpetuals, `BTCUSDT_2022-11-10.csv.gz` for spot and
    `BTCUSDT-2022-10.csv.gz` for whole months of spot. Links to anything else are passed over.
    """
    found: set[NamedFile] = set()
    for match in _HREF.finditer(body):
        name = unquote(match[1].decode("latin-1"))
        if not name.startswith(native):
            continue
        covers = _covers(name[len(native) :])
        if covers is not None:
            found.add(NamedFile(name, covers))
    return sorted(found, key=lambda file: (file.covers, file.name))


def due_files(
    listed: Sequence[NamedFile], native: str, now_us: int, *, is_spot: bool
) -> list[NamedFile]:
    """Return the daily files of the last days, today's included, that a listing does not hold yet.

    They appear some hours after their day, in exceptions later. Naming them keeps those days
    from being taken for days that no file will ever answer for.
    """
    first = Interval.D1.floor(now_us) - _DUE_DAYS * US_PER_DAY
    held = {file.covers.start for file in listed}
    due: list[NamedFile] = []
    for start in range(first, now_us, US_PER_DAY):
        if start not in held:
            date = from_us(start).date().isoformat()
            name = f"{native}{'_' if is_spot else ''}{date}.csv.gz"
            due.append(NamedFile(name, Range(start, start + US_PER_DAY)))
    return due


def choose_files(listed: Sequence[NamedFile], asked: Range) -> list[NamedFile]:
    """Return the fewest listed files that answer for `asked` as far as files can, by time.

    A month's file is taken where a day of it inside `asked` has no file of its own, and the
    days of that month are then left out: no moment is answered for twice.
    """
    days = {f.covers.start: f for f in listed if f.covers.end - f.covers.start == US_PER_DAY}
    months = [f for f in listed if f.covers.end - f.covers.start > US_PER_DAY]
    chosen: list[NamedFile] = []
    for month in months:
        part = month.covers.overlap(asked)
        wanted = Interval.D1.grid(Interval.D1.floor(part.start), part.end)
        if not part.is_empty and any(int(day) not in days for day in wanted):
            chosen.append(month)
    chosen += [
        day
        for day in days.values()
        if not day.covers.overlap(asked).is_empty
        and not any(month.covers.holds(day.covers.start) for month in chosen)
    ]
    return sorted(chosen, key=lambda file: file.covers)


def _covers(tail: str) -> Range | None:
    try:
        if match := _DAY.fullmatch(tail):
            start = to_us(dt.date.fromisoformat(match[1]))
            return Range(start, start + US_PER_DAY)
        if match := _MONTH.fullmatch(tail):
            start = to_us(dt.date.fromisoformat(f"{match[1]}-01"))
            return Range(start, Interval.MON1.shift(start, 1))
    except ValueError:
        return None
    return None


# -- reading one --------------------------------------------------------------------------------


def read_parts(
    path: Path, spill: Path, instrument: Instrument, covers: Range, *, part_rows: int = PART_ROWS
) -> Iterator[Part]:
    """Yield the trades of a file in parts whose `asked` ranges tile `covers`, ascending.

    Blocks: call it from a thread. Memory is that of a few pieces and one part.

    Args:
        path: the gzip file.
        spill: an empty folder for pieces, which the caller removes.
        instrument: whose trades they are; decides the unit of sizes.
        covers: what the file answers for; rows outside are rejected.
        part_rows: how many rows a part holds, more only where one millisecond holds more.

    Raises:
        MalformedPayload: not gzip, cut short, its own checksum differs, a column is missing, or
            thousands of rows cannot be read.

    Source:
        https://public.bybit.com/trading/, https://public.bybit.com/spot/
    """
    rejected: list[Rejected] = []
    pieces: list[_Piece] = []
    times: list[_Offsets] = []
    is_spot = instrument.market is Market.SPOT
    for text in _texts(path, _SPOT_HEADER if is_spot else _PERP_HEADER):
        frame = _parse_piece(text, instrument, covers, rejected)
        if len(frame):
            offsets = (frame["time"].to_numpy() - covers.start) // US_PER_MS
            times.append(offsets.astype(np.uint32))
            pieces.append(_Piece.spilled(frame, spill / f"{len(pieces)}.arrow"))
        del frame, text
    cuts = _cut(times, covers, part_rows)
    del times
    for asked in cuts:
        rows = [piece.between(asked) for piece in pieces if piece.overlaps(asked)]
        yield Part(asked, _finish(rows), rejected)
        rejected = []


class _Piece(NamedTuple):
    """Rows of one piece of text, on disk, and their first and last time."""

    path: Path
    first: int
    last: int

    @classmethod
    def spilled(cls, frame: pl.DataFrame, path: Path) -> "_Piece":
        frame.write_ipc(path)
        times = frame["time"].to_numpy()
        return cls(path, int(times.min()), int(times.max()))

    def overlaps(self, asked: Range) -> bool:
        return self.first < asked.end and asked.start <= self.last

    def between(self, asked: Range) -> pl.DataFrame:
        inside = pl.col("time").is_between(*asked, closed="left")
        return pl.scan_ipc(self.path).filter(inside).collect()


def _cut(pieces: Sequence[_Offsets], covers: Range, part_rows: int) -> list[Range]:
    """Return ranges that tile `covers` and hold about `part_rows` rows each.

    Times are told as milliseconds into `covers`, which for a month are four bytes a row.
    """
    times = np.concatenate([*pieces, np.empty(0, np.uint32)])
    times.sort()
    bounds = np.unique(times[part_rows::part_rows])
    inner = [covers.start + int(offset) * US_PER_MS for offset in bounds if offset]
    return [Range(start, end) for start, end in pairwise([covers.start, *inner, covers.end])]


def _finish(pieces: Sequence[pl.DataFrame]) -> pa.Table:
    """Return rows as a table of trades: ascending by key, each key once."""
    if not pieces:
        return empty_table(Kind.TRADES)
    rows = pl.concat(pieces).sort("time", "trade_id")
    is_again = (rows["time"] == rows["time"].shift(1)) & (
        rows["trade_id"] == rows["trade_id"].shift(1)
    )
    if is_again.any():
        rows = rows.filter(~is_again.fill_null(value=False))
    frame = rows.select(
        pl.col("time").cast(pl.Datetime("us", "UTC")).alias("timestamp"),
        "trade_id",
        "price",
        "size",
        pl.when("is_buy").then(pl.lit("buy")).otherwise(pl.lit("sell")).alias("side"),
        pl.lit(None, pl.Int64).alias("fills"),
    )
    # The oldest level is plain strings: casting string views would copy row by row.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(TRADES)


def _texts(path: Path, usual: bytes) -> Iterator[bytes]:
    """Yield the text in pieces of whole lines, the header line (or the usual one) before each."""
    total = 0
    try:
        with igzip.IGzipFile(path, "rb") as file:
            header = file.readline(_MAX_LINE_BYTES)
            rest = b""
            if header[:1].isdigit():
                header, rest = usual, header
            while block := file.read(_PIECE_BYTES):
                total += len(block)
                end = block.rfind(b"\n") + 1
                if total > _MAX_TEXT_BYTES or not (end or len(block) < _PIECE_BYTES):
                    raise MalformedPayload(NAME, f"the file {path.name}", "it does not end")
                if end:
                    yield b"".join((header, rest, memoryview(block)[:end]))
                    rest = b""
                rest += block[end:]
            if rest.strip() or not total:
                yield header + rest
    except _BROKEN as e:
        raise MalformedPayload(NAME, f"the file {path.name}", str(e)) from e


def _parse_piece(
    text: bytes, instrument: Instrument, covers: Range, rejected: list[Rejected]
) -> pl.DataFrame:
    """Translate lines under a header to trades, and put what is none into `rejected`."""
    dialect = _SPOT if instrument.market is Market.SPOT else _PERP
    names = _columns(text, dialect)
    raw = _read(text, names, as_text=False)
    rows = raw.select(
        _microseconds(pl.col("timestamp")).alias("time"),
        _trade_id(dialect).alias("trade_id"),
        pl.col("price"),
        _base_size(raw, instrument).alias("size"),
        (pl.col("side").str.to_lowercase() == "buy").alias("is_buy"),
        (
            pl.col("price").is_finite()
            & (pl.col("price") > 0)
            & pl.col("size").is_finite()
            & (pl.col("size") > 0)
            & pl.col("side").str.to_lowercase().is_in(["buy", "sell"])
            & (pl.col("id").str.len_bytes() > 0)
        ).alias("is_good"),
    )
    good = rows["is_good"] & rows["time"].is_between(*covers, closed="left")
    good = good.fill_null(value=False)
    if not good.all():
        _reject(
            _read(text, names, as_text=True).filter(~good), rows["time"].filter(~good), rejected
        )
        rows = rows.filter(good)
    return rows.drop("is_good")


def _columns(text: bytes, dialect: Mapping[str, str]) -> dict[str, str]:
    """Return the file's names of the columns we need, mapped to ours; order does not matter."""
    header = text[: text.find(b"\n") + 1 or None].decode("latin-1")
    spelled = {name.strip().lower(): name for name in header.rstrip("\r\n").split(",")}
    if missing := set(dialect) - set(spelled) - _OPTIONAL:
        raise MalformedPayload(NAME, "a trade file", f"no column {', '.join(sorted(missing))}")
    return {spelled[name]: ours for name, ours in dialect.items() if name in spelled}


def _read(text: bytes, names: Mapping[str, str], *, as_text: bool) -> pl.DataFrame:
    numbers = {} if as_text else {n: pl.Float64 for n, ours in names.items() if ours in _NUMBERS}
    try:
        frame = pl.read_csv(
            text,
            columns=list(names),
            schema_overrides=numbers,
            infer_schema=False,
            ignore_errors=True,
            truncate_ragged_lines=True,
            quote_char=None,
            encoding="utf8-lossy",
        )
    except (pl.exceptions.PolarsError, OSError) as e:
        raise MalformedPayload(NAME, "a trade file", str(e)) from e
    return frame.rename(dict(names))


def _microseconds(value: pl.Expr) -> pl.Expr:
    """Return a time of any unit, told by its magnitude; whole microseconds survive a double."""
    scaled = (
        pl.when(value < _SECONDS_BELOW)
        .then(value * 1e6)
        .when(value < _MILLIS_BELOW)
        .then(value * 1e3)
        .otherwise(value)
    )
    return scaled.round().cast(pl.Int64, strict=False)


def _trade_id(dialect: Mapping[str, str]) -> pl.Expr:
    """Return what tells a trade from all others of its symbol.

    Spot numbers start again every day, so the day stands before them, padded to keep the order.
    """
    if dialect is _PERP:
        return pl.col("id")
    day = pl.from_epoch(_microseconds(pl.col("timestamp")), time_unit="us").dt.strftime("%Y%m%d")
    return pl.concat_str(day, pl.lit("-"), pl.col("id").str.zfill(_ID_DIGITS))


def _base_size(raw: pl.DataFrame, instrument: Instrument) -> pl.Expr:
    """Return the size in base coin: `size` itself, or what the dollars of inverse are worth.

    `homeNotional` is that worth in recent files; where it is not (some have the two notionals
    the other way round) price and size decide.
    """
    size = pl.col("size")
    if instrument.market is not Market.INVERSE:
        return size
    worth = size / pl.col("price")
    if "worth" not in raw.columns:
        return worth
    home = pl.col("worth")
    is_worth = ((home - worth).abs() <= worth * _NOTIONAL_TOLERANCE).fill_null(value=False)
    return pl.when(is_worth).then(home).otherwise(worth)


def _reject(rows: pl.DataFrame, times: pl.Series, rejected: list[Rejected]) -> None:
    if len(rejected) + len(rows) > _MAX_REJECTED:
        raise MalformedPayload(NAME, "a trade file", f"over {_MAX_REJECTED} rows are unreadable")
    for row, moment in zip(rows.iter_rows(), times.to_list(), strict=True):
        raw = ",".join("" if value is None else value for value in row)
        reason = "not a trade of the time its file is of"
        rejected.append(Rejected(timestamp_us=moment, reason=reason, raw=raw[:_RAW_CHARS]))
