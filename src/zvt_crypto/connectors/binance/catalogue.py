"""Which bulk files data.binance.vision should have. Pure: nothing is asked.

Months are published on the first Monday of the next one, days on the next day; what is not there
yet, or never was, shows when it is fetched.
Source: https://github.com/binance/binance-public-data
"""

import datetime as dt
from collections.abc import Iterator
from urllib.parse import quote

from zvt_crypto.connectors.binance.spec import (
    ARCHIVE_INTERVALS,
    ARCHIVE_MARKETS,
    BINANCE,
)
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import from_us
from zvt_crypto.ports.connector import ArchiveFile

# What a file of trades holds differs by a factor of 10,000 between pairs; this is a busy one.
_MONDAY = 0


def list_files(
    base_url: str,
    instrument: Instrument,
    kind: Kind,
    interval: Interval | None,
    asked: Range,
    *,
    now_us: int,
) -> list[ArchiveFile]:
    """Return the files for parts of `asked`, ascending; they do not overlap.

    Candles come by whole months where `asked` holds them, else by days; trades by days; funding
    by months.
    """
    folder = ARCHIVE_MARKETS.get(instrument.market)
    pattern = BINANCE.endpoints.get(f"archive_{kind}")
    if folder is None or pattern is None:
        return []
    if kind is Kind.FUNDING and instrument.market is Market.SPOT:
        return []
    if kind is Kind.CANDLES and interval not in ARCHIVE_INTERVALS:
        return []
    files: list[ArchiveFile] = []
    for period, covers in _spans(kind, asked, now_us):
        path = pattern.path.format(
            market=folder,
            period=period,
            symbol=quote(instrument.native, safe=""),
            interval=ARCHIVE_INTERVALS[interval] if interval else "",
            date=from_us(covers.start).strftime("%Y-%m" if period == "monthly" else "%Y-%m-%d"),
        )
        url = f"{base_url.rstrip('/')}{path}"
        files.append(
            ArchiveFile(
                url=url,
                name=url.rpartition("/")[2],
                kind=kind,
                covers=covers,
                checksum_url=f"{url}.CHECKSUM",
            )
        )
    return files


def _spans(kind: Kind, asked: Range, now_us: int) -> Iterator[tuple[str, Range]]:
    """Yield the months and days, all of them past, that answer for parts of `asked`."""
    start, end = max(asked.start, 0), min(asked.end, Interval.D1.floor(now_us))
    at = Interval.D1.floor(start)
    while at < end:
        month = Range(Interval.MON1.floor(at), Interval.MON1.shift(Interval.MON1.floor(at), 1))
        is_whole = start <= month.start and month.end <= end
        if (
            kind is not Kind.TRADES
            and _published_us(month) <= now_us
            and (is_whole or kind is Kind.FUNDING)
        ):
            yield "monthly", month
            at = month.end
        elif kind is Kind.FUNDING:
            at = month.end
        else:
            yield "daily", Range(at, at + US_PER_DAY)
            at += US_PER_DAY


def _published_us(month: Range) -> int:
    """Return the end of the first Monday after a month."""
    first = from_us(month.end)
    monday = first + dt.timedelta(days=(_MONDAY - first.weekday()) % 7)
    return month.end + ((monday - first).days + 1) * US_PER_DAY
