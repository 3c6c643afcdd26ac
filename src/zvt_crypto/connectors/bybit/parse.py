"""Bytes of Bybit to records; pure.

Prices and sizes arrive as strings, times as strings in lists and as numbers elsewhere. Sizes and
volumes are in base coin on spot and linear and in US dollars on inverse, where one contract is
one dollar; everything returned here is in base coin. This module holds the series, `listing`
and `reading` the rest.
"""

from typing import Annotated, Final, Literal

import msgspec
import numpy as np

from zvt_crypto.connectors import wire
from zvt_crypto.connectors.bybit.envelope import Digits, Reply, decode
from zvt_crypto.connectors.bybit.listing import InstrumentPage, parse_instruments
from zvt_crypto.connectors.bybit.reading import parse_book, parse_open_interest, parse_quotes
from zvt_crypto.connectors.bybit.spec import NAME
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_MS, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.connector import Fetched

__all__ = [
    "InstrumentPage",
    "parse_book",
    "parse_candles",
    "parse_first_open",
    "parse_funding",
    "parse_instruments",
    "parse_open_interest",
    "parse_quotes",
    "parse_time",
    "parse_trades",
]

# Inverse counts its volume in dollars and its turnover in coins, the others the other way round.
_CANDLE: Final = ("timestamp", "open", "high", "low", "close", "volume", "quote_volume")
_INVERSE_CANDLE: Final = ("timestamp", "open", "high", "low", "close", "quote_volume", "volume")


class _Rows(msgspec.Struct):
    list: msgspec.Raw
    category: str | None = None
    symbol: str | None = None


_rows_decoder: Final = msgspec.json.Decoder(Reply[_Rows])


def parse_candles(
    body: bytes, instrument: Instrument, interval: Interval, window: Range, *, now_us: int
) -> Fetched:
    """Translate a page of `kline`: the closed candles of `window`, ascending.

    Rows have no sign of being closed: a candle is when its interval has passed on the clock of
    the reply. Bybit publishes neither trade counts nor taker volumes; those columns are null.

    Args:
        body: the reply, newest candle first.
        instrument: whose candles they are; another category or symbol in the reply is an error.
        interval: width that was asked for.
        window: opens that were asked for.
        now_us: the exchange's clock, for a reply without one.

    Raises:
        MalformedPayload: not of the documented shape, or about something else.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/kline
    """
    reply = _decode_rows(body, instrument, "candles")
    names = _INVERSE_CANDLE if instrument.market is Market.INVERSE else _CANDLE
    page = wire.rows_to_columns(reply.result.list, names, exchange=NAME, what="candles")
    return wire.candle_page(
        page, interval, window, now_us=reply.time_us or now_us, body_bytes=len(body)
    )


def parse_first_open(body: bytes, instrument: Instrument) -> int | None:
    """Return the earliest open of a page of `kline` in microseconds, None if it is empty.

    Raises:
        MalformedPayload: not of the documented shape, or about something else.
    """
    reply = _decode_rows(body, instrument, "candles")
    page = wire.rows_to_columns(reply.result.list, _CANDLE, exchange=NAME, what="candles")
    times = page.columns["timestamp"]
    return int(times.min()) * US_PER_MS if len(times) else None


class _Trade(msgspec.Struct, rename="camel"):
    exec_id: str
    price: str
    size: str
    side: Literal["Buy", "Sell"]
    time: Digits


def parse_trades(
    body: bytes, instrument: Instrument, window: Range, *, now_us: int, settle_us: int
) -> Fetched | None:
    """Translate `recent-trade`: what the last page of trades says about `window`.

    The page cannot be moved, so it answers for the stretch from its oldest row to the server's
    clock. Its oldest millisecond may be cut in the middle and its newest may not be over: both
    are left out. A clock ahead of the newest row counts less `settle_us`, since replicas lag.

    Args:
        body: the reply, newest trade first.
        instrument: whose trades they are; decides the unit of sizes.
        window: what was asked for.
        now_us: the exchange's clock, for a reply without one.
        settle_us: how long after its time a trade may still be absent.

    Returns:
        The trades, `asked` cut to what the page covers, or None if it covers nothing of `window`.
        `side` is the taker's; ids are unique per symbol and product only.

    Raises:
        MalformedPayload: not of the documented shape, or about something else.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/recent-trade
    """
    reply = _decode_rows(body, instrument, "trades")
    rows, rejected = wire.decode_objects(reply.result.list, _Trade, exchange=NAME, what="trades")
    times = [int(row.time) * US_PER_MS for row in rows]
    times += [r.timestamp_us for r in rejected if r.timestamp_us is not None]
    if not times:
        return None
    settled = (reply.time_us or now_us) - settle_us
    asked = window.overlap(Range(min(times) + US_PER_MS, max(*times, settled)))
    if asked.is_empty:
        return None
    page = wire.struct_columns(
        rows,
        numbers={"price": lambda row: row.price, "size": lambda row: row.size},
        plain={
            "timestamp": lambda row: int(row.time),
            "trade_id": lambda row: row.exec_id,
            "side": lambda row: row.side.lower(),
        },
        rejected=rejected,
    )
    if instrument.market is Market.INVERSE:
        with np.errstate(divide="ignore", invalid="ignore"):
            page.columns["size"] = page.columns["size"] / page.columns["price"]
    return wire.trade_page(page, asked, body_bytes=len(body))


class _Funding(msgspec.Struct, rename="camel"):
    funding_rate: str
    funding_rate_timestamp: Digits


def parse_funding(body: bytes, instrument: Instrument, window: Range) -> Fetched:
    """Translate a page of `funding/history`, ascending.

    The interval of a contract changes over its life and rows do not name it: `interval_hours`
    is null, and so is the mark price.

    Raises:
        MalformedPayload: not of the documented shape, or about something else.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/history-fund-rate
    """
    reply = _decode_rows(body, instrument, "funding")
    rows, rejected = wire.decode_objects(reply.result.list, _Funding, exchange=NAME, what="funding")
    page = wire.struct_columns(
        rows,
        numbers={"funding_rate": lambda row: row.funding_rate},
        plain={"timestamp": lambda row: int(row.funding_rate_timestamp)},
        rejected=rejected,
    )
    return wire.funding_page(page, window, body_bytes=len(body))


class _Time(msgspec.Struct, rename="camel"):
    time_nano: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$")]


_time_decoder: Final = msgspec.json.Decoder(Reply[_Time])


def parse_time(body: bytes) -> int:
    """Return the exchange's clock in microseconds from `time`.

    Raises:
        MalformedPayload: not of the documented shape.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/time
    """
    return int(decode(_time_decoder, body, "the time").result.time_nano) // 1_000


def _decode_rows(body: bytes, instrument: Instrument, what: str) -> Reply[_Rows]:
    """Return a page of rows, after making sure that it is about `instrument`.

    One id may name a spot pair and a perpetual, so the category counts as well.
    """
    reply = decode(_rows_decoder, body, what)
    result = reply.result
    if result.category not in (None, "", str(instrument.market)):
        raise MalformedPayload(NAME, what, f"category {result.category!r}, not asked for")
    if result.symbol not in (None, "", instrument.native):
        raise MalformedPayload(NAME, what, f"symbol {result.symbol!r}, not asked for")
    return reply
