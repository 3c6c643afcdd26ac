"""Download files: rows to CSV to zip, always the same bytes for the same rows, and their faults."""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from isal import isal_zlib

from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.core.timestamp import from_us
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.candle import CandleColumns, columns_of
from zvt_crypto.simulator.encode import Field, encode_rows
from zvt_crypto.simulator.faults import Fault
from zvt_crypto.simulator.instrument import Instrument
from zvt_crypto.simulator.market import Funding, Trades
from zvt_crypto.simulator.venue import Encoded, Venue

_VERSION: Final = 20
_DEFLATE: Final = 8
_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_RAW_DEFLATE: Final = -15


@dataclass(frozen=True, slots=True)
class Period:
    """The days a file covers, `[start_us, end_us)`, and how its name writes them."""

    start_us: int
    end_us: int
    text: str


def csv_rows(columns: Sequence[Field], count: int) -> Encoded:
    """Write rows of comma-separated columns."""
    fields: list[Field] = []
    for column in columns:
        fields += [column, b","]
    fields[-1] = b"\n"
    return encode_rows(fields, count)


def join(parts: Sequence[Encoded]) -> Encoded:
    """Return the rows of all parts, in order."""
    offsets = [np.zeros(1, dtype=np.int64)]
    total = 0
    for text, own in parts:
        offsets.append(own[1:] + total)
        total += len(text)
    return b"".join(text for text, _ in parts), np.concatenate(offsets)


def spoil(rows: Encoded, header: bytes, faults: Sequence[Fault]) -> bytes:
    """Return the CSV text of rows, with what faults do to it."""
    text, offsets = rows
    for fault in faults:
        chance = random.Random(fault.id)  # noqa: S311 - not a secret
        if fault.kind == "archive_header":
            header = b"" if header else b"c" + b",c".join(map(b"%d".__mod__, range(1, 13))) + b"\n"
        elif fault.kind in ("archive_missing_rows", "archive_unsorted"):
            at = offsets.tolist()
            lines = [text[a:b] for a, b in pairwise(at)]
            if fault.kind == "archive_unsorted":
                lines = chance.sample(lines, len(lines))
            else:
                share = fault.number("share", 0.1)
                lines = [line for line in lines if chance.random() >= share]
            text, offsets = b"".join(lines), np.cumsum([0, *map(len, lines)])
    return header + text


def has(faults: Sequence[Fault], kind: str) -> bool:
    """Return whether a fault of `kind` hits."""
    return any(fault.kind == kind for fault in faults)


def corrupt(body: bytes) -> bytes:
    """Return a file whose middle is wrong."""
    middle = len(body) // 2
    return body[:middle] + bytes(b ^ 0xFF for b in body[middle : middle + 64]) + body[middle + 64 :]


def make_zip(name: str, text: bytes, time_us: int) -> bytes:
    """Return a zip file with one member; equal input gives equal bytes."""
    moment = from_us(time_us)
    date = (moment.year - 1980) << 9 | moment.month << 5 | moment.day
    deflate = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _RAW_DEFLATE)
    packed = deflate.compress(text) + deflate.flush()
    check, path = isal_zlib.crc32(text), name.encode()
    sizes = (check, len(packed), len(text), len(path), 0)
    local = _LOCAL.pack(0x04034B50, _VERSION, 0, _DEFLATE, 0, date, *sizes) + path
    central = _CENTRAL.pack(
        0x02014B50, _VERSION, _VERSION, 0, _DEFLATE, 0, date, *sizes, 0, 0, 0, 0, 0
    ) + path  # fmt: skip
    where = len(local) + len(packed)
    end = _END.pack(0x06054B50, 0, 0, 1, 1, len(central), where, 0)
    return b"".join((local, packed, central, end))


def candle_columns(venue: Venue, instrument: Instrument, bar: Bar, period: Period) -> CandleColumns:
    """Return the candles that open in a period, from the market or the instrument's file."""
    files = venue.world.files.get((venue.name, instrument.symbol))
    if files is None:
        start, end = bar.floor(period.start_us), bar.floor(period.end_us - 1)
        rows = venue.world.market.candles(instrument, bar, start, bar.next(end))
        rows = rows.between(period.start_us, period.end_us)
        return columns_of(rows, instrument, bar)
    found = files.candles(bar)
    if found is None:
        none = venue.world.market.candles(instrument, bar, 0, 0)
        return columns_of(none, instrument, bar)
    inside = (found.open_us >= period.start_us) & (found.open_us < period.end_us)
    return found.take(inside)


def trade_days(venue: Venue, instrument: Instrument, period: Period) -> list[Trades]:
    """Return the trades of a period, day by day; a period may cut days."""
    if (venue.name, instrument.symbol) in venue.world.files:
        return []
    days: list[Trades] = []
    for day in range(period.start_us // US_PER_DAY, -(-period.end_us // US_PER_DAY)):
        trades = venue.world.market.trades(instrument, day)
        first, stop = np.searchsorted(trades.time_us, (period.start_us, period.end_us)).tolist()
        if first < stop:
            days.append(trades if stop - first == len(trades) else trades.take(first, stop))
    return days


def funding_rows(venue: Venue, instrument: Instrument, period: Period) -> Funding:
    """Return the settlements of a period."""
    files = venue.world.files.get((venue.name, instrument.symbol))
    if files is not None:
        funding = files.funding or venue.world.market.funding(instrument, 0, 0)
    else:
        count = venue.world.market.funding_count(instrument, period.end_us)
        funding = venue.world.market.funding(instrument, 0, count)
    inside = (funding.time_us >= period.start_us) & (funding.time_us < period.end_us)
    return funding.take(inside)
