"""Pages of candles, trades and funding to tables. Pure.

`m` or `isBuyerMaker` true means that the buyer waited in the book: the taker sold. The same on
REST and in bulk files, spot and futures.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np

from zvt_crypto.connectors.binance.spec import FUNDING_HOURS, NAME
from zvt_crypto.connectors.wire import (
    Int64,
    Page,
    candle_page,
    decode_objects,
    funding_page,
    rows_to_columns,
    struct_columns,
)
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import US_PER_HOUR, US_PER_S, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side
from zvt_crypto.core.timestamp import int_to_us, ints_to_us
from zvt_crypto.ports.connector import Fetched

CANDLE_COLUMNS: Final = (
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    None,  # close time
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    # and: taker's quote volume, a field to be ignored
)
"""Columns of a kline, on REST and in bulk files."""

# COIN-M counts contracts where the others have base volume, and base volume where they have quote.
_INVERSE_COLUMNS: Final = (
    *CANDLE_COLUMNS[:5],
    None,
    None,
    "volume",
    "trade_count",
    None,
    "taker_buy_volume",
)


def parse_candles(
    body: bytes,
    interval: Interval,
    window: Range,
    *,
    now_us: int,
    market: Market = Market.SPOT,
) -> Fetched:
    """Read a page of klines; the running candle is left out.

    Args:
        body: rows of 12 columns, about 170 bytes each.
        interval: width asked for.
        window: range asked for, microseconds.
        now_us: the exchange's clock.
        market: COIN-M orders volumes otherwise.

    Raises:
        MalformedPayload: not an array of arrays of at least ten scalars.

    Source:
        https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
    """
    names = _INVERSE_COLUMNS if market is Market.INVERSE else CANDLE_COLUMNS
    page = rows_to_columns(body, names, exchange=NAME, what="klines")
    return candle_page(page, interval, window, now_us=now_us, body_bytes=len(body))


def parse_first_open(body: bytes) -> int | None:
    """Return the open, in microseconds, of the earliest kline of a page; None if it is empty.

    Raises:
        MalformedPayload: see `parse_candles`.
    """
    page = rows_to_columns(body, CANDLE_COLUMNS[:1], exchange=NAME, what="klines")
    times = ints_to_us(page.columns["timestamp"].astype(np.int64))
    return int(times.min()) if len(times) else None


class _AggTrade(msgspec.Struct):
    a: Int64
    p: str
    q: str
    f: Int64
    l: Int64  # noqa: E741 - Binance's name
    T: Int64  # as above
    m: bool


class _Trade(msgspec.Struct, rename="camel"):
    id: Int64
    price: str
    qty: str
    time: Int64
    is_buyer_maker: bool


def parse_agg_trades(body: bytes) -> Page:
    """Read a page of aggTrades: one row per taker's order and price.

    `fills` is how many trades a row folds together.

    Raises:
        MalformedPayload: not a JSON array.
    """
    rows, rejected = decode_objects(body, _AggTrade, exchange=NAME, what="aggTrades")
    return struct_columns(
        rows,
        numbers={"price": attrgetter("p"), "size": attrgetter("q")},
        plain={
            "timestamp": attrgetter("T"),
            "trade_id": attrgetter("a"),
            "side": lambda row: taker_side(buyer_is_maker=row.m),
            "fills": lambda row: row.l - row.f + 1,
        },
        rejected=rejected,
    )


def parse_trades(body: bytes) -> Page:
    """Read a page of trades or historicalTrades: one row per fill.

    Raises:
        MalformedPayload: not a JSON array.
    """
    rows, rejected = decode_objects(body, _Trade, exchange=NAME, what="trades")
    return struct_columns(
        rows,
        numbers={"price": attrgetter("price"), "size": attrgetter("qty")},
        plain={
            "timestamp": attrgetter("time"),
            "trade_id": attrgetter("id"),
            "side": lambda row: taker_side(buyer_is_maker=row.is_buyer_maker),
        },
        rejected=rejected,
    )


def taker_side(*, buyer_is_maker: bool) -> Side:
    """Return the side of the order that did not wait."""
    return Side.SELL if buyer_is_maker else Side.BUY


class _Funding(msgspec.Struct, rename="camel"):
    symbol: str
    funding_time: Int64
    funding_rate: str
    mark_price: str | None = None


def parse_funding(body: bytes) -> Page:
    """Read a page of fundingRate; times are rounded to the second, which takes off their jitter.

    `markPrice` is absent or empty on old rows. `interval_hours` is for `with_intervals`.

    Raises:
        MalformedPayload: not a JSON array.
    """
    rows, rejected = decode_objects(body, _Funding, exchange=NAME, what="fundingRate")
    return struct_columns(
        rows,
        numbers={
            "funding_rate": attrgetter("funding_rate"),
            "mark_price": attrgetter("mark_price"),
        },
        plain={"timestamp": lambda row: round_to_second(int_to_us(row.funding_time))},
        nullable={"mark_price"},
        rejected=rejected,
    )


def round_to_second(time_us: int) -> int:
    """Return the nearest whole second."""
    return (time_us + US_PER_S // 2) // US_PER_S * US_PER_S


def finish_funding(
    pages: Sequence[Page], window: Range, *, requests: int, body_bytes: int
) -> Fetched:
    """Join pages and say how many hours each rate was for.

    That is the time since the settlement before it, where it is one of the lengths Binance has;
    else null. So the pages should begin before the window, or its first row's stays unknown.
    """
    times = np.array([t for page in pages for t in page.columns["timestamp"]], np.int64)
    known = np.unique(times)
    steps = np.append(np.nan, np.diff(known) / US_PER_HOUR)
    hours = np.where(np.isin(steps, FUNDING_HOURS), steps, np.nan)[np.searchsorted(known, times)]
    joined = Page(
        {
            "timestamp": times,
            "interval_hours": hours,
            **{
                name: np.concatenate([np.zeros(0), *(p.columns[name] for p in pages)])
                for name in ("funding_rate", "mark_price")
            },
        },
        [bad for page in pages for bad in page.rejected],
        sum(page.precision_loss for page in pages),
    )
    return funding_page(joined, window, requests=requests, body_bytes=body_bytes)
