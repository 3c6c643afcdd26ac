"""Pages of OKX to tables: candles, trades, settled funding. Pure.

Sizes of swaps count contracts on the wire and are base units here.
"""

from typing import Any, Final

import msgspec
import numpy as np

from zvt_crypto.connectors.okx.spec import NAME
from zvt_crypto.connectors.okx.unit import base_sizes
from zvt_crypto.connectors.wire import (
    Page,
    candle_page,
    decode_objects,
    funding_page,
    rows_to_columns,
    struct_columns,
    trade_page,
)
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_MS, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side
from zvt_crypto.ports.connector import Fetched

# ts, open, high, low, close, vol, volCcy, volCcyQuote, confirm. Column 5 counts contracts on
# swaps, where column 6 is the base; on spot column 5 is the base and column 6 the quote.
_OHLC: Final = ("timestamp", "open", "high", "low", "close")
_SPOT_ROW: Final = (*_OHLC, "volume", None, "quote_volume", "confirm")
_SWAP_ROW: Final = (*_OHLC, None, "volume", "quote_volume", "confirm")
_OPENS: Final = ("timestamp",)


class _Envelope(msgspec.Struct):
    data: msgspec.Raw


class _Trade(msgspec.Struct, rename="camel"):
    trade_id: str
    px: str
    sz: str
    side: str
    ts: str


class _Funding(msgspec.Struct, rename="camel"):
    funding_time: str
    realized_rate: str


class TradePage(msgspec.Struct, frozen=True):
    """One page of trades, newest first on the wire, and where it ended.

    `rows` counts what the page held; `oldest_id` and `oldest_us` are those of its oldest trade,
    None if it held none.
    """

    page: Page
    rows: int
    oldest_id: int | None
    oldest_us: int | None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode

_SIDES: Final = {"buy": Side.BUY.value, "sell": Side.SELL.value}


def parse_candles(body: bytes, market: Market) -> Page:
    """Translate a page of candles or history-candles.

    Args:
        body: the reply.
        market: decides which columns are base and quote volume.

    Returns:
        Columns, oldest first, without bars the exchange says are still running. There is no
        number of trades and no taker split.

    Raises:
        MalformedPayload: not JSON, or not rows of nine.

    Source:
        https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
    """
    names = _SPOT_ROW if market is Market.SPOT else _SWAP_ROW
    page = rows_to_columns(_data(body, "candles"), names, exchange=NAME, what="candles")
    confirm = page.columns.pop("confirm")
    # Turned round here, by a view, a page needs no sorting later: half of its cost.
    page.columns = {name: values[::-1] for name, values in page.columns.items()}
    closed = confirm[::-1] != 0
    if not closed.all():
        page.columns = {name: values[closed] for name, values in page.columns.items()}
    return page


def parse_opens(body: bytes) -> list[int]:
    """Return when the candles of a page open, UTC microseconds, running ones included.

    Raises:
        MalformedPayload: not JSON, or not rows.
    """
    page = rows_to_columns(_data(body, "candles"), _OPENS, exchange=NAME, what="candles")
    return [int(ms) * US_PER_MS for ms in page.columns["timestamp"]]


def finish_candles(
    pages: list[Page],
    interval: Interval,
    window: Range,
    *,
    now_us: int,
    requests: int,
    body_bytes: int,
) -> Fetched:
    """Return what pages of one window, newest first, say together.

    Args:
        pages: as parsed; at least one.
        interval: width of the candles.
        window: what was asked for, in microseconds.
        now_us: the exchange's clock.
        requests: round trips behind the pages.
        body_bytes: what they carried.
    """
    return candle_page(
        join_pages(pages),
        interval,
        window,
        now_us=now_us,
        requests=requests,
        body_bytes=body_bytes,
    )


def parse_trades(body: bytes, instrument: Instrument) -> TradePage:
    """Translate a page of history-trades.

    Args:
        body: the reply.
        instrument: whose trades they are; its contract decides the size in base units.

    Returns:
        Columns in the exchange's order, newest first; `side` is the taker's, as on the wire.

    Raises:
        MalformedPayload: not JSON, or not a list.

    Source:
        https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
    """
    rows, rejected = decode_objects(_data(body, "trades"), _Trade, exchange=NAME, what="trades")
    page = struct_columns(
        rows,
        numbers={
            "timestamp": lambda row: row.ts,
            "trade_id": lambda row: row.trade_id,
            "price": lambda row: row.px,
            "size": lambda row: row.sz,
        },
        plain={"side": lambda row: _SIDES.get(row.side, Side.UNKNOWN.value)},
        rejected=rejected,
    )
    columns = page.columns
    columns["size"] = base_sizes(instrument, columns["size"], columns["price"])
    ids = columns["trade_id"] = columns["trade_id"].astype(np.int64)
    count = len(ids) + len(page.rejected)
    if not len(ids):
        return TradePage(page, count, None, None)
    oldest = int(columns["timestamp"].min()) * US_PER_MS
    return TradePage(page, count, int(ids.min()), oldest)


def finish_trades(pages: list[Page], window: Range, *, requests: int, body_bytes: int) -> Fetched:
    """Return the trades of `window` that pages, newest first, hold together."""
    return trade_page(join_pages(pages), window, requests=requests, body_bytes=body_bytes)


def parse_funding(body: bytes) -> Page:
    """Translate a page of funding-rate-history.

    `funding_rate` is what was charged (`realizedRate`), not the forecast that the wire calls
    `fundingRate`. The width of the period is not said: intervals vary, so it stays null.

    Raises:
        MalformedPayload: not JSON, or not a list.

    Source:
        https://www.okx.com/docs-v5/en/#public-data-rest-api-get-funding-rate-history
    """
    rows, rejected = decode_objects(_data(body, "funding"), _Funding, exchange=NAME, what="funding")
    return struct_columns(
        rows,
        numbers={
            "timestamp": lambda row: row.funding_time,
            "funding_rate": lambda row: row.realized_rate,
        },
        plain={},
        rejected=rejected,
    )


def finish_funding(pages: list[Page], window: Range, *, requests: int, body_bytes: int) -> Fetched:
    """Return the settled funding of `window` that pages, newest first, hold together."""
    return funding_page(join_pages(pages), window, requests=requests, body_bytes=body_bytes)


def join_pages(pages: list[Page]) -> Page:
    """Return the rows of several pages as one, oldest page first: of equal keys its last wins."""
    if len(pages) == 1:
        return pages[0]
    ordered = pages[::-1]
    columns = {
        name: _concat([page.columns[name] for page in ordered]) for name in ordered[0].columns
    }
    return Page(
        columns,
        [bad for page in ordered for bad in page.rejected],
        sum(page.precision_loss for page in ordered),
    )


def oldest_time(page: Page) -> int | None:
    """Return when the oldest row of a page opens or was settled, UTC microseconds."""
    times = page.columns["timestamp"]
    return int(times.min()) * US_PER_MS if len(times) else None


def _concat(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]


def _data(body: bytes, what: str) -> msgspec.Raw:
    try:
        return _decode_envelope(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise MalformedPayload(NAME, what, str(e)) from e
