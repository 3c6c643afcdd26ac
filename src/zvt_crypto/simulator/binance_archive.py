"""Binance's public archive (data.binance.vision) of the simulated market.

    data/spot/{daily|monthly}/klines/{SYM}/{INT}/{SYM}-{INT}-{date}.zip[.CHECKSUM]
    data/spot/{daily|monthly}/{aggTrades|trades}/{SYM}/{SYM}-{kind}-{date}.zip[.CHECKSUM]
    data/futures/um/...  the same, and monthly/fundingRate

Daily files appear at 02:00 UTC of the next day, monthly ones on the first Monday of the next
month; anything else is 404. Spot times are microseconds in files of days from 2025-01-01; futures
stay in milliseconds. Futures files from July 2022 begin with a header, one in twenty does not.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import numpy as np

from zvt_crypto.core.interval import US_PER_HOUR
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator import archive, binance_rows, noise
from zvt_crypto.simulator.archive import Period
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.cache import Cache
from zvt_crypto.simulator.encode import Field, Ints, Number, Text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.serving import order_starts
from zvt_crypto.simulator.venue import Encoded, Reply, Request

if TYPE_CHECKING:
    from zvt_crypto.simulator.binance import BinanceVenue

_PATH: Final = re.compile(
    r"/data/(?P<market>spot|futures/um)/(?P<cycle>daily|monthly)/(?P<kind>\w+)/(?P<symbol>[^/]+)/"
    r"(?:(?P<interval>\w+)/)?(?P<file>[^/]+)\.zip(?P<check>\.CHECKSUM)?"
)
_MICROS_SINCE_US: Final = to_us("2025-01-01")
_HEADER_SINCE_US: Final = to_us("2022-07-01")
_PUBLISHED_AT_US: Final = 2 * US_PER_HOUR
_CACHE_BYTES: Final = 128_000_000
_NO_HEADER_SHARE: Final = 0.05

_HEADERS: Final = {
    "klines": b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n",
    "aggTrades": b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,"
    b"is_buyer_maker\n",
    "trades": b"id,price,qty,quote_qty,time,is_buyer_maker\n",
    "fundingRate": b"calc_time,funding_interval_hours,last_funding_rate\n",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One archive file somebody asks for."""

    instrument: Instrument
    kind: str
    bar: Bar | None
    period: Period
    name: str

    @property
    def spot(self) -> bool:
        return self.instrument.kind is Kind.SPOT

    def time(self, times_us: Ints) -> Number:
        """Return times in the unit of this file."""
        micros = self.spot and self.period.start_us >= _MICROS_SINCE_US
        return Number(times_us if micros else times_us // 1_000)


class BinanceArchive:
    """Answers requests under `/data/`."""

    def __init__(self, venue: "BinanceVenue", intervals: dict[str, Bar]) -> None:
        self._venue = venue
        self._bars = {name.replace("1M", "1mo"): bar for name, bar in intervals.items()}
        self._cache: Cache[bytes] = Cache(_CACHE_BYTES, len)

    def instrument_of(self, path: str) -> Instrument | None:
        """Return the instrument whose folder a path is in."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        kind = Kind.SPOT if match["market"] == "spot" else Kind.LINEAR
        return self._venue.lookup(match["symbol"], (kind,))

    def handle(self, request: Request) -> Reply:
        """Return a file, its checksum, or 404."""
        match = _PATH.fullmatch(request.path)
        file = self._find(match, request.now_us) if match else None
        if match is None or file is None or archive.has(request.faults, "archive_404"):
            return _missing(request)
        body = self._body(file, request)
        if body is None:
            return _missing(request)
        if match["check"]:
            digest = hashlib.sha256(body).hexdigest()
            if archive.has(request.faults, "archive_bad_checksum"):
                digest = digest[::-1]
            return Reply(f"{digest}  {file.name}.zip\n".encode(), content_type="text/plain")
        if archive.has(request.faults, "archive_corrupt_zip"):
            body = archive.corrupt(body)
        return Reply(body, content_type="application/zip")

    def _find(self, match: re.Match[str], now_us: int) -> _File | None:
        instrument = self.instrument_of(match.string)
        period = _period(match["file"], monthly=match["cycle"] == "monthly")
        kind, interval = match["kind"], match["interval"]
        if instrument is None or period is None or kind not in _HEADERS:
            return None
        if now_us < _published(period, monthly=match["cycle"] == "monthly"):
            return None
        bar = self._bars.get(interval or "")
        if (kind == "klines") != (bar is not None) or (kind != "klines" and interval):
            return None
        if kind == "fundingRate" and (match["cycle"] != "monthly" or instrument.kind is Kind.SPOT):
            return None
        label = interval if kind == "klines" else kind
        name = f"{instrument.native}-{label}-{period.text}"
        return _File(instrument, kind, bar, period, name) if name == match["file"] else None

    def _body(self, file: _File, request: Request) -> bytes | None:
        spoilers = [f for f in request.faults if f.kind in _ROW_FAULTS]
        if spoilers:
            return self._make(file, request) or None
        body = self._cache.get((file.instrument, file.name), lambda: self._make(file, request))
        return body or None

    def _make(self, file: _File, request: Request) -> bytes:
        """Return the zip, empty when there is nothing to put in it."""
        make: Callable[[_File], Encoded] = {
            "klines": self._klines,
            "trades": self._trades,
            "aggTrades": self._orders,
            "fundingRate": self._funding,
        }[file.kind]
        rows = make(file)
        if not rows[0]:
            return b""
        header = _HEADERS[file.kind] if self._has_header(file) else b""
        text = archive.spoil(rows, header, request.faults)
        return archive.make_zip(f"{file.name}.csv", text, file.period.end_us)

    def _has_header(self, file: _File) -> bool:
        if file.spot or file.period.start_us < _HEADER_SINCE_US:
            return file.kind == "fundingRate"
        return noise.uniform_at(noise.make_key("header", file.name), 0) >= _NO_HEADER_SHARE

    def _klines(self, file: _File) -> Encoded:
        assert file.bar is not None  # noqa: S101 - _find gives klines a bar
        rows = archive.candle_columns(self._venue, file.instrument, file.bar, file.period)

        def written(name: str) -> Field:
            column = getattr(rows, name)
            return column.fixed(8) if file.spot else column

        # The close is the last moment of the candle in the unit of the file.
        closes = file.time(rows.close_us)
        columns: list[Field] = [file.time(rows.open_us)]
        columns += [written(name) for name in ("open", "high", "low", "close", "base")]
        columns += [Number(closes.values - 1), written("quote"), rows.count]
        columns += [written("buy_base"), written("buy_quote"), b"0"]
        return archive.csv_rows(columns, len(rows))

    def _trades(self, file: _File) -> Encoded:
        parts: list[Encoded] = []
        for trades in archive.trade_days(self._venue, file.instrument, file.period):
            price, size = binance_rows.trade_numbers(file.instrument, trades)
            quote = Number(trades.quote, file.instrument.quote_decimals)
            columns: list[Field] = [Number(trades.id), price, size]
            columns += [quote.fixed(8) if file.spot else quote, file.time(trades.time_us)]
            columns += [_flags(file, ~trades.buy), *([b"True"] if file.spot else [])]
            parts.append(archive.csv_rows(columns, len(trades)))
        return archive.join(parts)

    def _orders(self, file: _File) -> Encoded:
        parts = [self._orders_of(file, trades) for trades in
                 archive.trade_days(self._venue, file.instrument, file.period)]  # fmt: skip
        return archive.join(parts)

    def _orders_of(self, file: _File, trades: Trades) -> Encoded:
        starts = order_starts(len(trades))
        ids, price, size, last = binance_rows.merge_orders(file.instrument, trades)
        columns: list[Field] = [ids, price, size, Number(trades.first_id + starts), last]
        columns += [file.time(trades.time_us[starts]), _flags(file, ~trades.buy[starts])]
        columns += [b"True"] if file.spot else []
        return archive.csv_rows(columns, len(starts))

    def _funding(self, file: _File) -> Encoded:
        funding = archive.funding_rows(self._venue, file.instrument, file.period)
        times = self._venue.written_funding_times(file.instrument, funding)
        hours = f"{file.instrument.funding_hours}".encode()
        columns: list[Field] = [file.time(times), hours, Number(funding.rate, 8)]
        return archive.csv_rows(columns, len(times))


_ROW_FAULTS: Final = ("archive_missing_rows", "archive_header", "archive_unsorted")


def _flags(file: _File, values: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Text:
    """Return truth values: capitalised on spot, lower case on futures, as the archive has both."""
    yes, no = (b"True", b"False") if file.spot else (b"true", b"false")
    return Text(np.where(values, yes, no))


def _period(name: str, *, monthly: bool) -> Period | None:
    """Return the days named at the end of a file's name."""
    text = name[-len("2024-01") :] if monthly else name[-len("2024-01-31") :]
    try:
        first = dt.date.fromisoformat(f"{text}-01" if monthly else text)
    except ValueError:
        return None
    if not monthly:
        return Period(to_us(first), to_us(first + dt.timedelta(days=1)), text)
    return Period(to_us(first), to_us(_next_month(first)), text)


def _published(period: Period, *, monthly: bool) -> int:
    """Return when a file appears: the next day, or the first Monday of the next month."""
    if not monthly:
        return period.end_us + _PUBLISHED_AT_US
    first = dt.date.fromisoformat(f"{period.text}-01")
    following = _next_month(first)
    monday = following + dt.timedelta(days=-following.weekday() % 7)
    return to_us(monday) + _PUBLISHED_AT_US


def _next_month(first: dt.date) -> dt.date:
    return dt.date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _missing(request: Request) -> Reply:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
        "<Message>The specified key does not exist.</Message>"
        f"<Key>{request.path[1:]}</Key></Error>"
    )
    return Reply(body.encode(), status=HTTPStatus.NOT_FOUND, content_type="application/xml")
