"""Pages of Coinbase to tables: candles and trades. Pure.

Volumes and sizes of futures count contracts on the wire and are base units here.
"""

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.connectors.coinbase.spec import NAME
from zvt_crypto.connectors.wire import (
    Page,
    candle_page,
    decimal_product,
    decode_objects,
    struct_columns,
    trade_page,
)
from zvt_crypto.connectors.wire.row import fast_rows
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Side
from zvt_crypto.core.schema import empty_table
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.core.validation import Rejected
from zvt_crypto.ports.connector import Fetched

# In the order Coinbase writes the keys, and our names for them.
_KEYS: Final = [b"start", b"low", b"high", b"open", b"close", b"volume"]
_NAMES: Final = ("timestamp", "low", "high", "open", "close", "volume")
# What is left of a candle without its numbers, and how to leave nothing but its numbers.
_SHAPE: Final = b"{" + b",".join(b'"%b":""' % key for key in _KEYS) + b"}"
_DIGITS: Final = b"0123456789.-"
_WORDS: Final = b'abcdefghijklmnopqrstuvwxyz":'
_TO_ROWS: Final = bytes.maketrans(b"{}", b"[]")

# Public trades carry the MAKER's side (official for the stream; for REST by a recorded reply
# whose prints at the best ask say SELL). Ours is the taker's.
_TAKER: Final = {"BUY": Side.SELL.value, "SELL": Side.BUY.value}


_NANOSECONDS: Final = pa.timestamp("ns", "UTC")


class TradePage(NamedTuple):
    """Trades of one reply, and how many rows it held, unreadable ones included."""

    page: Page
    rows: int


class _CandlePage(msgspec.Struct):
    candles: msgspec.Raw


class _TradePage(msgspec.Struct):
    trades: msgspec.Raw


class _Candle(msgspec.Struct):
    start: str
    low: str
    high: str
    open: str
    close: str
    volume: str


class _Trade(msgspec.Struct):
    trade_id: str
    price: str
    size: str
    time: str
    side: str = ""


_decode_candles = msgspec.json.Decoder(_CandlePage).decode
_decode_trades = msgspec.json.Decoder(_TradePage).decode


def parse_candles(
    body: bytes, instrument: Instrument, interval: Interval, window: Range, *, now_us: int
) -> Fetched:
    """Translate a page of candles, newest first on the wire.

    Args:
        body: the reply.
        instrument: whose candles they are; its contract decides the volume in base units.
        interval: width of the candles.
        window: what was asked for, in microseconds.
        now_us: the exchange's clock: the running bucket is returned like the others.

    Returns:
        The closed candles of `window`. Buckets without trades are absent. There is no quote
        volume, no number of trades and no taker split.

    Raises:
        MalformedPayload: not JSON, or not a list of candles.

    Source:
        https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-candles
    """
    try:
        raw = bytes(_decode_candles(body).candles)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise MalformedPayload(NAME, "candles", str(e)) from e
    page = _fast_candles(raw) or _strict_candles(raw)
    page.columns = {name: values[::-1] for name, values in page.columns.items()}
    page.columns["volume"] = decimal_product(page.columns["volume"], instrument.contract_size)
    return candle_page(page, interval, window, now_us=now_us, body_bytes=len(body))


def no_candles(window: Range) -> Fetched:
    """Return the answer to a window in which no candle opens."""
    return Fetched(window, empty_table(Kind.CANDLES), requests=0)


def _strict_candles(raw: bytes) -> Page:
    rows, rejected = decode_objects(raw, _Candle, exchange=NAME, what="candles")
    return struct_columns(
        rows,
        numbers={
            "timestamp": lambda row: row.start,
            "low": lambda row: row.low,
            "high": lambda row: row.high,
            "open": lambda row: row.open,
            "close": lambda row: row.close,
            "volume": lambda row: row.volume,
        },
        plain={},
        rejected=rejected,
    )


def _fast_candles(raw: bytes) -> Page | None:
    """Return the columns if the page has the one shape Coinbase sends, else None.

    Without its digits such a page is the same few words over and over, which proves its shape;
    without its words it is a page of rows. A third of the time of an object per candle.
    """
    first = raw[: raw.find(b"}")].split(b'"')[1::4]
    if first != _KEYS:
        return None
    shape = raw.translate(None, _DIGITS)
    rows = len(shape) // (len(_SHAPE) + 1)
    if shape != b"[" + b",".join([_SHAPE] * rows) + b"]":
        return None
    return fast_rows(raw.translate(_TO_ROWS, _WORDS), _NAMES)


def parse_trades(body: bytes, instrument: Instrument) -> TradePage:
    """Translate a reply of the product's ticker: its trades, newest first on the wire.

    Args:
        body: the reply.
        instrument: whose trades they are; its contract decides the size in base units.

    Returns:
        Columns in the exchange's order, and how many rows the reply held. `side` is the taker's:
        the opposite of the wire's.

    Raises:
        MalformedPayload: not JSON, or not a list of trades.

    Source:
        https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades
    """
    try:
        raw = _decode_trades(body).trades
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise MalformedPayload(NAME, "trades", str(e)) from e
    rows, rejected = decode_objects(raw, _Trade, exchange=NAME, what="trades")
    page = struct_columns(
        rows,
        numbers={"price": lambda row: row.price, "size": lambda row: row.size},
        plain={
            "timestamp": lambda row: row.time,
            "trade_id": lambda row: row.trade_id,
            "side": lambda row: _TAKER.get(row.side, Side.UNKNOWN.value),
        },
        rejected=rejected,
    )
    _read_times(page)
    columns = page.columns
    columns["trade_id"] = _numbers_if_all(columns["trade_id"])
    columns["size"] = decimal_product(columns["size"], instrument.contract_size)
    return TradePage(page, len(rows) + len(rejected))


def finish_trades(page: Page, window: Range, *, requests: int, body_bytes: int) -> Fetched:
    """Return the trades of `window` that a page holds, each once, oldest first."""
    return trade_page(page, window, requests=requests, body_bytes=body_bytes)


def _read_times(page: Page) -> None:
    """Replace the texts by microseconds; rows without a time of this age are rejected.

    Fractions have zero to nine digits, mixed in one page.
    """
    texts: list[str] = page.columns["timestamp"]
    try:
        times = pa.array(texts, pa.string()).cast(_NANOSECONDS).cast(pa.int64())
        page.columns["timestamp"] = times.to_numpy(zero_copy_only=False) // 1_000
        is_bad = page.columns["timestamp"] <= 0
    except pa.ArrowInvalid:
        # The odd row: the year 0001 stands for no time, and is out of range in nanoseconds.
        slow = [_time_or_zero(text) for text in texts]
        page.columns["timestamp"] = np.array(slow, np.int64)
        is_bad = page.columns["timestamp"] <= 0
    if not is_bad.any():
        return
    for row in np.flatnonzero(is_bad).tolist():
        raw = {name: str(values[row]) for name, values in page.columns.items()}
        raw["timestamp"] = texts[row]
        page.rejected.append(Rejected(None, "no time", str(raw)))
    keep = np.flatnonzero(~is_bad)
    page.columns = {
        name: values[keep] if isinstance(values, np.ndarray) else [values[i] for i in keep.tolist()]
        for name, values in page.columns.items()
    }


def _time_or_zero(text: str) -> int:
    try:
        return to_us(text)
    except (ValueError, OverflowError):
        return 0


def _numbers_if_all(ids: list[str]) -> Any:
    """Return ids as numbers, which is how they count up, unless one is none."""
    try:
        return pa.array(ids, pa.string()).cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return ids
