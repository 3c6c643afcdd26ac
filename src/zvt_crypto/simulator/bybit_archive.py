"""Bybit's public archive: folders with an open HTML listing, one gzip file of trades a day.

Contracts are under `/trading/`, spot under `/spot/`. What changed over the years is reproduced:
old contract files are newest first, recent files have one more column, and the oldest spot months
exist as monthly files only. A day is published some hours after its end.
"""

import gzip
import itertools
import random
import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, Interval
from zvt_crypto.core.timestamp import from_us, to_us
from zvt_crypto.simulator import bybit_rows
from zvt_crypto.simulator.cache import Cache
from zvt_crypto.simulator.encode import Ints
from zvt_crypto.simulator.faults import Fault, chosen
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.venue import Reply, Request

if TYPE_CHECKING:
    from zvt_crypto.simulator.bybit import BybitVenue

PUBLISHED_AFTER_US: Final = 4 * US_PER_HOUR
RPI_SINCE_DAY: Final = to_us("2025-06-01") // US_PER_DAY
ASCENDING_SINCE_DAY: Final = to_us("2021-12-07") // US_PER_DAY
SPOT_DAILY_SINCE_DAY: Final = to_us("2022-11-01") // US_PER_DAY
ROOTS: Final[dict[str, tuple[Kind, ...]]] = {
    "trading": (Kind.LINEAR, Kind.INVERSE),
    "spot": (Kind.SPOT,),
}
_KEPT_BYTES: Final = 64_000_000
_FILE: Final = re.compile(r"(?P<symbol>.+?)(?P<joint>[-_]?)(?P<date>\d{4}-\d\d(-\d\d)?)\.csv\.gz")
_NOT_FOUND: Final = (
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>"
)


class Archive:
    """The archive of one simulated Bybit."""

    def __init__(self, venue: "BybitVenue") -> None:
        self._venue = venue
        self._files: Cache[bytes] = Cache(_KEPT_BYTES, len)

    def handle(self, request: Request) -> Reply:
        """Answer with a listing or a file."""
        match request.path.split("/")[1:]:
            case [root, ""] if root in ROOTS:
                return self._root(root)
            case [root, symbol, ""] if root in ROOTS:
                return self._folder(request, root, symbol)
            case [root, symbol, name] if root in ROOTS:
                return self._file(request, root, symbol, name)
            case _:
                return _missing()

    def instrument_at(self, path: str) -> Instrument | None:
        """Return the instrument whose folder a path is in."""
        root, _, rest = path[1:].partition("/")
        symbol = rest.partition("/")[0]
        return self._venue.lookup(symbol, ROOTS[root]) if symbol and root in ROOTS else None

    def _root(self, root: str) -> Reply:
        kinds = ROOTS[root]
        listed = [i for i in self._venue.listed_instruments() if i.kind in kinds]
        return _listing(f"/{root}/", sorted(f"{i.native}/" for i in listed))

    def _folder(self, request: Request, root: str, symbol: str) -> Reply:
        instrument = self._venue.lookup(symbol, ROOTS[root])
        if instrument is None or self._has_no_trades(instrument):
            return _missing()
        return _listing(request.path, sorted(self._names(instrument, request.now_us)))

    def _names(self, instrument: Instrument, now_us: int) -> list[str]:
        first = instrument.listed_us // US_PER_DAY
        stop = _published_days(now_us)
        native = instrument.native
        if instrument.kind is not Kind.SPOT:
            return [f"{native}{_day_text(day)}.csv.gz" for day in range(first, stop)]
        daily = range(max(first, SPOT_DAILY_SINCE_DAY), stop)
        months = sorted({_day_text(day)[:7] for day in range(first, min(stop, daily.start))})
        names = [f"{native}-{month}.csv.gz" for month in months]
        return names + [f"{native}_{_day_text(day)}.csv.gz" for day in daily]

    def _file(self, request: Request, root: str, symbol: str, name: str) -> Reply:
        instrument = self._venue.lookup(symbol, ROOTS[root])
        if any(fault.kind == "archive_404" for fault in request.faults):
            return _missing()
        if instrument is None or self._has_no_trades(instrument):
            return _missing()
        days = _days_of(instrument, name, request.now_us)
        if not days:
            return _missing()
        if request.faults:
            body = _damage(request.faults, self._make(instrument, days, request.faults))
        else:
            body = self._files.get(
                (instrument, days.start, days.stop), lambda: self._make(instrument, days, ())
            )
        return Reply(body, content_type="application/gzip")

    def _has_no_trades(self, instrument: Instrument) -> bool:
        """Return whether the instrument is served from a file, which has candles only."""
        return (self._venue.name, instrument.symbol) in self._venue.world.files

    def _make(self, instrument: Instrument, days: range, faults: Sequence[Fault]) -> bytes:
        spot = instrument.kind is Kind.SPOT
        rpi = days.start >= RPI_SINCE_DAY
        header = bybit_rows.SPOT_HEADER if spot else bybit_rows.CONTRACT_HEADER
        if rpi:
            header += b",rpi" if spot else b",RPI"
        parts: list[bytes] = [] if _has(faults, "archive_header") else [header + b"\n"]
        for day in days:
            parts.extend(self._lines(instrument, day, faults, rpi=rpi))
        return gzip.compress(b"".join(parts), compresslevel=1, mtime=0)

    def _lines(
        self, instrument: Instrument, day: int, faults: Sequence[Fault], *, rpi: bool
    ) -> list[bytes]:
        world = self._venue.world
        trades = world.market.trades(instrument, day)
        spot = instrument.kind is Kind.SPOT
        text, offsets = (
            bybit_rows.encode_spot_archive(instrument, trades, rpi=rpi)
            if spot
            else bybit_rows.encode_contract_archive(instrument, trades, world.config.seed, rpi=rpi)
        )
        descending = not spot and day < ASCENDING_SINCE_DAY
        if not descending and not faults:
            return [text]
        at = offsets.tolist()
        lines = [text[a:b] for a, b in itertools.pairwise(at)]
        lines = self._spoil(faults, lines, trades.time_us)
        return lines[::-1] if descending else lines

    def _spoil(self, faults: Sequence[Fault], lines: list[bytes], times: Ints) -> list[bytes]:
        world = self._venue.world
        for fault in faults:
            if fault.kind == "archive_missing_rows":
                gone = chosen(fault, times, world.config.seed, default_share=0.1)
                lines = [line for line, lost in zip(lines, gone, strict=True) if not lost]
                times = times[~np.asarray(gone)]
            elif fault.kind == "archive_unsorted":
                chance = random.Random(world.faults.key(fault))  # noqa: S311 - not a secret
                lines = chance.sample(lines, len(lines))
        return lines


def _days_of(instrument: Instrument, name: str, now_us: int) -> range:
    """Return the days a file name stands for; none if there is no such file."""
    nothing = range(0)
    found = _FILE.fullmatch(name)
    if found is None or found["symbol"] != instrument.native:
        return nothing
    spot, monthly = instrument.kind is Kind.SPOT, found[4] is None
    joint = "" if not spot else "-" if monthly else "_"
    if found["joint"] != joint or (monthly and not spot):
        return nothing
    try:
        start = to_us(date.fromisoformat(found["date"] + ("-01" if monthly else "")))
    except ValueError:
        return nothing
    end = Interval.MON1.shift(start, 1) if monthly else start + US_PER_DAY
    days = range(
        max(start // US_PER_DAY, instrument.listed_us // US_PER_DAY),
        min(end // US_PER_DAY, _published_days(now_us)),
    )
    if spot and monthly:
        return days if end // US_PER_DAY <= SPOT_DAILY_SINCE_DAY else nothing
    return days if not spot or start // US_PER_DAY >= SPOT_DAILY_SINCE_DAY else nothing


def _published_days(now_us: int) -> int:
    """Return the first day that is not published."""
    return (now_us - PUBLISHED_AFTER_US) // US_PER_DAY


def _day_text(day: int) -> str:
    return from_us(day * US_PER_DAY).date().isoformat()


def _has(faults: Sequence[Fault], kind: str) -> bool:
    return any(fault.kind == kind for fault in faults)


def _damage(faults: Sequence[Fault], body: bytes) -> bytes:
    """Spoil the compressed bytes; Bybit has no checksum files, but gzip ends with one."""
    if _has(faults, "archive_corrupt_zip"):
        return body[: len(body) // 2]
    if _has(faults, "archive_bad_checksum"):
        return body[:-8] + bytes(byte ^ 0xFF for byte in body[-8:-4]) + body[-4:]
    return body


def _listing(path: str, names: Sequence[str]) -> Reply:
    links = "\n".join(f'        <li><a href="{name}">{name}</a></li>' for name in names)
    text = (
        f"<!DOCTYPE html>\n<html>\n<head><title>Index of {path}</title></head>\n<body>\n"
        f"    <h1>Index of {path}</h1>\n    <ul>\n{links}\n    </ul>\n</body>\n</html>\n"
    )
    return Reply(text.encode(), content_type="text/html; charset=utf-8")


def _missing() -> Reply:
    return Reply(_NOT_FOUND, status=404, content_type="text/html")
