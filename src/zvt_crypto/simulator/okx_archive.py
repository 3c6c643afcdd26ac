"""OKX's download files of the simulated market, and the endpoint that lists them.

    /cdn/okex/traderecords/trades/{daily/YYYYMMDD|monthly/YYYYMM}/{instId}-trades-{date}.zip
    /cdn/okex/traderecords/candlesticks/...                {instId}-candlesticks-{date}.zip
    /cdn/okex/traderecords/swaprates/monthly/YYYYMM/       {instId}-fundingrates-{month}.zip
    /cdn/okex/traderecords/swaprates/daily/YYYYMMDD/       allswap-fundingrates-{date}.zip

Days are those of UTC+8: the file of 2025-09-01 begins at 2025-08-31T16:00Z. A file appears one
day after its last day ended. Before 2022 the trades have another column order and a header in two
languages, at first in GBK. Small sizes are in scientific notation, and funding times up to two
seconds late.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_S
from zvt_crypto.core.timestamp import from_us, to_us
from zvt_crypto.simulator import archive, noise, okx_info
from zvt_crypto.simulator.archive import Period
from zvt_crypto.simulator.bar import MINUTE
from zvt_crypto.simulator.cache import Cache
from zvt_crypto.simulator.encode import Field, Number, Text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.venue import Encoded, Refusal, Reply, Request

if TYPE_CHECKING:
    from zvt_crypto.simulator.okx import OkxVenue

MS: Final = 1_000
ROOT: Final = "/cdn/okex/traderecords/"
_UTC8: Final = 8 * US_PER_HOUR
_PATH: Final = re.compile(
    ROOT + r"(?P<folder>\w+)/(?P<cycle>daily|monthly)/(?P<date>\d{6,8})/"
    r"(?P<name>.+)-(?P<kind>trades|candlesticks|fundingrates)-(?P<text>[\d-]+)\.zip"
)
_FOLDERS: Final = {
    "trades": "trades", "candlesticks": "candlesticks", "fundingrates": "swaprates",
}  # fmt: skip
_MODULES: Final = {"1": "trades", "2": "candlesticks", "3": "fundingrates"}
_MOST_FILES: Final = 10
_OLD_UNTIL_US: Final = to_us("2022-01-01")
_GBK_UNTIL_US: Final = to_us("2021-01-01")
_SMALL: Final = 1e-4  # sizes below are written as 1.912e-05
_CACHE_BYTES: Final = 128_000_000
_LATE_US: Final = 2 * US_PER_S
_OLD_HEADER: Final = "trade_id/交易id,side/交易方向,size/数量,price/价格,created_time/成交时间\n"
_HEADERS: Final = {
    "trades": b"instrument_name,trade_id,side,price,size,created_time\n",
    "candlesticks": b"instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,"
    b"confirm\n",
    "fundingrates": b"instrument_name,funding_rate,funding_time\n",
}


@dataclass(frozen=True, slots=True)
class _File:
    instruments: tuple[Instrument, ...]
    kind: str
    period: Period
    name: str

    @property
    def is_old(self) -> bool:
        return self.kind == "trades" and self.period.start_us < _OLD_UNTIL_US


class OkxArchive:
    """Answers requests for files and for lists of them."""

    def __init__(self, venue: "OkxVenue") -> None:
        self._venue = venue
        self._cache: Cache[bytes] = Cache(_CACHE_BYTES, len)

    def instrument_of(self, path: str) -> Instrument | None:
        """Return the instrument a file is about; none for the file of all swaps."""
        match = _PATH.fullmatch(path)
        return self._venue.lookup(match["name"]) if match else None

    def handle(self, request: Request) -> Reply:
        """Return a file or 404."""
        file = self._find(request.path, request.now_us)
        if file is None or archive.has(request.faults, "archive_404"):
            return _missing()
        if request.faults:
            body = self._make(file, request)
        else:
            key = (file.instruments, file.name)
            body = self._cache.get(key, lambda: self._make(file, request))
        if not body:
            return _missing()
        if archive.has(request.faults, "archive_corrupt_zip"):
            body = archive.corrupt(body)
        return Reply(body, content_type="application/zip")

    def list_files(self, request: Request) -> Reply:
        """Return what `public/market-data-history` finds, newest first."""
        query = request.query
        kind = _MODULES.get(query.get("module", ""))
        cycle, kind_of = query.get("dateAggrType", ""), query.get("instType", "")
        if kind is None or cycle not in ("daily", "monthly") or kind_of not in ("SPOT", "SWAP"):
            raise Refusal(okx_info.error("51000", "Parameter module error"))
        days = _days(query.get("begin", ""), query.get("end", ""), cycle)
        instruments = self._chosen(request, kind_of)
        details = [self._detail(request, kind, cycle, i, days) for i in instruments]
        total = sum(float(detail["groupSizeMB"]) for detail in details)
        row = {
            "dateAggrType": cycle,
            "details": details,
            "totalSizeMB": f"{total:.2f}",
            "ts": str(request.now_us // MS),
        }
        return okx_info.data([row])

    def _chosen(self, request: Request, kind_of: str) -> list[Instrument]:
        spot = kind_of == "SPOT"
        text = request.query.get("instIdList" if spot else "instFamilyList", "")
        names = [name for name in text.split(",") if name]
        if not names or len(names) > _MOST_FILES:
            raise Refusal(okx_info.error("51000", "Parameter instIdList error"))
        listed = [i for i in self._venue.listed_instruments() if (i.kind is Kind.SPOT) == spot]
        return [i for i in listed if "ANY" in names or f"{i.base}-{i.quote}" in names]

    def _detail(
        self, request: Request, kind: str, cycle: str, instrument: Instrument, days: Sequence[str]
    ) -> dict[str, Any]:
        files: list[dict[str, str]] = []
        for text in reversed(days):
            name = f"{instrument.native}-{kind}-{text}"
            path = f"{ROOT}{_FOLDERS[kind]}/{cycle}/{text.replace('-', '')}/{name}.zip"
            file = self._find(path, request.now_us)
            if file is None or file.period.end_us <= instrument.listed_us:
                continue
            start = str(file.period.start_us // MS)
            files.append(
                {
                    "dateTs": start,
                    "filename": f"{name}.zip",
                    "sizeMB": "1.00",
                    "url": f"{request.base_url}{path}",
                }
            )
        spot = instrument.kind is Kind.SPOT
        return {
            "dateRangeEnd": files[0]["dateTs"] if files else "",
            "dateRangeStart": files[-1]["dateTs"] if files else "",
            "groupDetails": files,
            "groupSizeMB": f"{len(files):.2f}",
            "instFamily": "" if spot else f"{instrument.base}-{instrument.quote}",
            "instId": instrument.native if spot else "",
            "instType": "SPOT" if spot else "SWAP",
        }

    def _find(self, path: str, now_us: int) -> _File | None:
        match = _PATH.fullmatch(path)
        if match is None or _FOLDERS[match["kind"]] != match["folder"]:
            return None
        monthly, text, kind = match["cycle"] == "monthly", match["text"], match["kind"]
        period = _period(text, monthly=monthly)
        if period is None or match["date"] != text.replace("-", ""):
            return None
        if now_us < period.end_us + US_PER_DAY:
            return None
        name = f"{match['name']}-{kind}-{text}"
        if kind == "fundingrates" and not monthly:
            swaps = tuple(i for i in self._venue.listed_instruments() if i.is_perpetual)
            return _File(swaps, kind, period, name) if match["name"] == "allswap" else None
        instrument = self._venue.lookup(match["name"])
        if instrument is None or (kind == "fundingrates" and not instrument.is_perpetual):
            return None
        return _File((instrument,), kind, period, name)

    def _make(self, file: _File, request: Request) -> bytes:
        """Return the zip, empty when there is nothing to put in it."""
        make: Callable[[_File, Instrument], Encoded] = {
            "trades": self._trades,
            "candlesticks": self._candles,
            "fundingrates": self._funding,
        }[file.kind]
        rows = archive.join([make(file, instrument) for instrument in file.instruments])
        if not rows[0]:
            return b""
        header = _HEADERS[file.kind]
        if file.is_old:
            gbk = file.period.start_us < _GBK_UNTIL_US
            header = _OLD_HEADER.encode("gbk" if gbk else "utf-8")
        text = archive.spoil(rows, header, request.faults)
        return archive.make_zip(f"{file.name}.csv", text, file.period.end_us)

    def _trades(self, file: _File, instrument: Instrument) -> Encoded:
        days = archive.trade_days(self._venue, instrument, file.period)
        return archive.join([_trade_rows(file, instrument, trades) for trades in days])

    def _candles(self, file: _File, instrument: Instrument) -> Encoded:
        rows = archive.candle_columns(self._venue, instrument, MINUTE, file.period)
        spot = instrument.kind is Kind.SPOT
        volumes = (rows.base, rows.quote) if spot else (rows.native, rows.base)
        numbers = (rows.open, rows.high, rows.low, rows.close, *volumes, rows.quote)
        columns: list[Field] = [instrument.native.encode(), *(n.trimmed() for n in numbers)]
        columns += [Number(rows.open_us // MS), b"1"]
        return archive.csv_rows(columns, len(rows))

    def _funding(self, file: _File, instrument: Instrument) -> Encoded:
        funding = archive.funding_rows(self._venue, instrument, file.period)
        key = noise.make_key(self._venue.world.config.seed, "late", instrument.symbol)
        late = (noise.uniform(key, funding.index) * _LATE_US).astype(np.int64)
        times = Number((funding.time_us + late) // MS)
        rates = Number(funding.rate, 8, trim=True)
        return archive.csv_rows([instrument.native.encode(), rates, times], len(late))


def _trade_rows(file: _File, instrument: Instrument, trades: Trades) -> Encoded:
    ids, time = Number(trades.id), Number(trades.time_us // MS)
    side = Text(np.where(trades.buy, b"buy", b"sell"))
    price = Number(trades.price, instrument.price_decimals, trim=True)
    size = _sizes(Number(trades.size, instrument.size_decimals, trim=True))
    if file.is_old:
        return archive.csv_rows([ids, side, size, price, time], len(trades))
    name = instrument.native.encode()
    return archive.csv_rows([name, ids, side, price, size, time], len(trades))


def _sizes(sizes: Number) -> Number | Text:
    """Return sizes as the files have them: the smallest in scientific notation."""
    small = sizes.values < round(_SMALL * 10**sizes.decimals)
    if not small.any():
        return sizes
    texts = sizes.texts()
    for place in small.nonzero()[0].tolist():
        texts[place] = repr(float(texts[place]))
    return Text.of(texts)


def _days(begin: str, end: str, cycle: str) -> list[str]:
    """Return the days, or months, of UTC+8 from `begin` to `end`, both included."""
    if not (begin.isdecimal() and end.isdecimal()):
        raise Refusal(okx_info.error("51000", "Parameter begin error"))
    first = from_us(int(begin) * MS + _UTC8).date()
    last = from_us(int(end) * MS + _UTC8).date()
    count = (last - first).days + 1
    days = [(first + dt.timedelta(days=n)).isoformat() for n in range(min(count, 400))]
    if cycle == "monthly":
        days = sorted({day[: len("2024-01")] for day in days})
    if len(days) > _MOST_FILES:
        raise Refusal(okx_info.error("51000", "Parameter begin error"))
    return days


def _period(text: str, *, monthly: bool) -> Period | None:
    try:
        first = dt.date.fromisoformat(f"{text}-01" if monthly else text)
    except ValueError:
        return None
    following = first + dt.timedelta(days=1)
    if monthly:
        following = dt.date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return Period(to_us(first) - _UTC8, to_us(following) - _UTC8, text)


def _missing() -> Reply:
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>'
    return Reply(body, status=HTTPStatus.NOT_FOUND, content_type="application/xml")
