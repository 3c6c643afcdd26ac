"""Rows that OKX pushes, typed, and the records they become. Pure.

Every `*_records` function takes one decoded frame, the receive time and what is known of native
ids; it raises ValueError or ArithmeticError for a row that cannot be. Prices and sizes are checked
by the types. Times are milliseconds, sizes of contracts become base units.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from zvt_crypto.connectors.okx.spec import NAME, OKX, STATUSES
from zvt_crypto.connectors.wire.amount import Count, P, Sequenced, Z, read_number, read_positive
from zvt_crypto.connectors.wire.level import check_order
from zvt_crypto.connectors.wire.moment import moment
from zvt_crypto.connectors.wire.target import UNLISTED, Contract, Known, fan_out
from zvt_crypto.core.instrument import Market, Status
from zvt_crypto.core.interval import US_PER_HOUR
from zvt_crypto.core.record import (
    Book,
    Candle,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.ports.stream import Ignored, Message

R = TypeVar("R")

Rows = Sequence[Message]
Make = Callable[[Any, Any, int, Known], Rows]

OTHER_WIDTH: Final[Rows] = (Ignored("candle of another width"),)

INTERVALS: Final = {f"candle{native}": interval for interval, native in OKX.intervals.items()}
"""Intervals by channel; from six hours up only the `utc` ones open where ours do."""

Number = str
"""A number that may be absent, which is the empty text."""


class Arg(msgspec.Struct, gc=False):
    """What a frame is about."""

    channel: str
    instId: str = ""  # noqa: N815 - as OKX spells it
    instType: str = ""  # noqa: N815 - as above


class Frame(msgspec.Struct, Generic[R]):
    """A push; `action` tells the whole of a book from changes."""

    arg: Arg
    data: list[R]
    action: str | None = None


class TradeRow(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """Matches of one taker's order at one price: one (`trades-all`) or `count` of them."""

    inst_id: str
    trade_id: Count
    px: P
    sz: P
    side: Literal["buy", "sell"]
    ts: Count
    count: Count | None = None


class Level(msgspec.Struct, Generic[P, Z], gc=False, array_like=True):
    """Price and size, and elements that vary by channel (`books-rpi` has another third one)."""

    price: P
    size: Z


class BookRow(msgspec.Struct, Generic[P, Z], rename="camel"):
    """A book, its top, or changes; old recordings have no sequence."""

    asks: list[Level[P, Z]]
    bids: list[Level[P, Z]]
    ts: Count
    seq_id: Sequenced | None = None
    prev_seq_id: Sequenced | None = None


class TickerRow(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """Best prices beside the statistics of a day."""

    inst_id: str
    ts: Count
    bid_px: Number = ""
    bid_sz: Number = ""
    ask_px: Number = ""
    ask_sz: Number = ""


class CandleRow(msgspec.Struct, Generic[P, Z], gc=False, array_like=True):
    """A bar; before 2022 it ended with `vol_ccy`."""

    ts: Count
    open: P
    high: P
    low: P
    close: P
    vol: Z
    vol_ccy: Z
    vol_ccy_quote: Z | None = None
    confirm: str = "0"


class MarkRow(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """A mark price."""

    inst_id: str
    mark_px: P
    ts: Count


class FundingRow(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """`funding_rate` is the forecast for `funding_time`."""

    inst_id: str
    funding_rate: Number
    funding_time: Count
    next_funding_time: Number = ""
    sett_funding_rate: Number = ""
    sett_state: str = ""
    ts: Count | None = None


class InterestRow(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """Open interest; `oi_ccy` is in base units on linear and inverse contracts."""

    inst_id: str
    oi_ccy: Z
    ts: Count


class LiquidationDetail(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """One order that closed a position."""

    side: Literal["buy", "sell"]
    bk_px: P
    sz: P
    ts: Count


class LiquidationRow(msgspec.Struct, Generic[P, Z], rename="camel"):
    """Liquidations of one instrument."""

    inst_id: str
    details: list[LiquidationDetail[P, Z]]


class StatusRow(msgspec.Struct, Generic[P, Z], gc=False, rename="camel"):
    """An instrument as listed."""

    inst_id: str
    state: str


_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}


def trade_records(frame: Frame[Any], row: TradeRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a trade; `trade_id` is the last of its `fills`, None where each match has a row.

    Raises:
        ValueError: its time cannot be, or it folds no match.
    """
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    symbol, convert, _, others = found
    price = row.px
    fills = row.count
    if fills == 0:
        raise ValueError("a trade of no match")
    record = Trade(
        NAME,
        symbol,
        moment(row.ts, ts_recv),
        ts_recv,
        row.trade_id,
        price,
        row.sz if convert is None else convert(row.sz, price),
        _SIDES[row.side],
        fills,
    )
    return fan_out((record,), others) if others else (record,)


def quote_records(frame: Frame[Any], row: BookRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the top of a book, from `bbo-tbt`; a side may be empty.

    Raises:
        ValueError: its time cannot be.
    """
    found = known[frame.arg.instId]
    if found is None:
        return UNLISTED
    symbol, convert, _, others = found
    bid, bid_size = _best(row.bids, convert)
    ask, ask_size = _best(row.asks, convert)
    time = moment(row.ts, ts_recv)
    record = Quote(NAME, symbol, time, ts_recv, bid, bid_size, ask, ask_size, row.seq_id)
    return fan_out((record,), others) if others else (record,)


def ticker_records(frame: Frame[Any], row: TickerRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the best prices of `tickers`: a quote without `sequence`, unlike that of `bbo-tbt`.

    Raises:
        ValueError: a number or its time cannot be.
    """
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    symbol, convert, _, others = found
    texts = (row.bid_px, row.bid_sz, row.ask_px, row.ask_sz)
    bid, bid_size, ask, ask_size = (read_positive(text, exact=known.exact) for text in texts)
    bid, bid_size = _whole(bid, bid_size, convert)
    ask, ask_size = _whole(ask, ask_size, convert)
    time = moment(row.ts, ts_recv)
    return fan_out((Quote(NAME, symbol, time, ts_recv, bid, bid_size, ask, ask_size),), others)


def book_records(frame: Frame[Any], row: BookRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a book or changes to it, as `action` says; a keep-alive is changes of nothing.

    Raises:
        ValueError: `action` is unknown, a snapshot is not in order, or its time cannot be.
    """
    if frame.action == "update":
        return _book(frame, row, ts_recv, known, is_snapshot=False)
    if frame.action == "snapshot":
        return _book(frame, row, ts_recv, known, is_snapshot=True)
    raise ValueError(f"a book with action {str(frame.action)[:20]!r}")


def top_records(frame: Frame[Any], row: BookRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the top of a book, from `books5`: always all of it.

    Raises:
        ValueError: it is not in order, or its time cannot be.
    """
    return _book(frame, row, ts_recv, known, is_snapshot=True)


def candle_records(frame: Frame[Any], row: CandleRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a bar. Contracts have base volume where spot has quote volume.

    Raises:
        ValueError: it opens where none can, or its prices contradict each other.
    """
    interval = INTERVALS.get(frame.arg.channel)
    if interval is None:
        return OTHER_WIDTH
    found = known[frame.arg.instId]
    if found is None:
        return UNLISTED
    symbol, _, market, others = found
    opened = moment(row.ts, ts_recv)
    if not interval.is_open(opened):
        raise ValueError(f"no {interval} candle opens at {row.ts}")
    if not (row.low <= min(row.open, row.close) and max(row.open, row.close) <= row.high):
        raise ValueError("open or close lies outside low and high")
    if row.confirm not in ("0", "1"):
        raise ValueError(f"a candle with confirm {row.confirm[:20]!r}")
    volume, quote_volume = row.vol_ccy, row.vol_ccy_quote
    if market is Market.SPOT:
        volume = row.vol
        quote_volume = row.vol_ccy if quote_volume is None else quote_volume
    record = Candle(
        NAME,
        symbol,
        interval,
        opened,
        ts_recv,
        row.open,
        row.high,
        row.low,
        row.close,
        volume,
        quote_volume,
        is_closed=row.confirm == "1",
    )
    return fan_out((record,), others)


def mark_records(frame: Frame[Any], row: MarkRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a mark price.

    Raises:
        ValueError: its time cannot be.
    """
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    time = moment(row.ts, ts_recv)
    return fan_out((MarkPrice(NAME, found.symbol, time, ts_recv, row.mark_px),), found.others)


def funding_records(
    frame: Frame[Any], row: FundingRow[Any, Any], ts_recv: int, known: Known
) -> Rows:
    """Return what is said of funding; the settled rate only once it is settled.

    Raises:
        ValueError: a number or a time cannot be.
    """
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    exact = known.exact
    settles = moment(row.funding_time, 0)
    following = int(row.next_funding_time or 0)
    hours = (moment(following, 0) - settles) / US_PER_HOUR if following else None
    record = Funding(
        NAME,
        found.symbol,
        ts_recv if row.ts is None else moment(row.ts, ts_recv),
        ts_recv,
        read_number(row.funding_rate, exact=exact),
        settles,
        read_number(row.sett_funding_rate, exact=exact) if row.sett_state == "settled" else None,
        None,
        hours if hours is not None and hours > 0 else None,
    )
    return fan_out((record,), found.others)


def interest_records(
    frame: Frame[Any], row: InterestRow[Any, Any], ts_recv: int, known: Known
) -> Rows:
    """Return open interest in the coin, as REST gives it: `oi` times the contract has more noise.

    Raises:
        ValueError: its time cannot be.
    """
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    time = moment(row.ts, ts_recv)
    return fan_out((OpenInterest(NAME, found.symbol, time, ts_recv, row.oi_ccy),), found.others)


def liquidation_records(
    frame: Frame[Any], row: LiquidationRow[Any, Any], ts_recv: int, known: Known
) -> Rows:
    """Return liquidations at their bankruptcy price; the side is the closing order's.

    Raises:
        ValueError: a time cannot be.
    """
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    symbol, convert, _, others = found
    records = tuple(
        Liquidation(
            NAME,
            symbol,
            moment(one.ts, ts_recv),
            ts_recv,
            one.bk_px,
            one.sz if convert is None else convert(one.sz, one.bk_px),
            _SIDES[one.side],
        )
        for one in row.details
    )
    return fan_out(records, others)


def status_records(frame: Frame[Any], row: StatusRow[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return an instrument's state at our receive time: the push has no time of its own."""
    del frame
    found = known[row.inst_id]
    if found is None:
        return UNLISTED
    status = STATUSES.get(row.state, Status.UNKNOWN)
    record = InstrumentStatus(NAME, found.symbol, ts_recv, ts_recv, status, row.state[:100])
    return fan_out((record,), found.others)


def _book(
    frame: Frame[Any], row: BookRow[Any, Any], ts_recv: int, known: Known, *, is_snapshot: bool
) -> Rows:
    found = known[frame.arg.instId]
    if found is None:
        return UNLISTED
    bids, asks = _levels(row.bids, found), _levels(row.asks, found)
    if is_snapshot:
        check_order(bids, asks)
    record = Book(
        exchange=NAME,
        symbol=found.symbol,
        ts_event=moment(row.ts, ts_recv),
        ts_recv=ts_recv,
        is_snapshot=is_snapshot,
        bids=bids,
        asks=asks,
        sequence=row.seq_id,
        prev_sequence=None if is_snapshot else row.prev_seq_id,
    )
    return fan_out((record,), found.others)


def _levels(levels: list[Level[Any, Any]], found: Contract) -> list[tuple[Any, Any]]:
    convert = found.convert
    if convert is None:
        return [(level.price, level.size) for level in levels]
    return [(level.price, convert(level.size, level.price)) for level in levels]


def _best(levels: list[Level[Any, Any]], convert: Any) -> tuple[Any, Any]:
    if not levels:
        return None, None
    level = levels[0]
    size = level.size
    if not size:
        return None, None
    return level.price, size if convert is None else convert(size, level.price)


def _whole(price: Any, size: Any, convert: Any) -> tuple[Any, Any]:
    if price is None or size is None:
        return None, None
    return price, size if convert is None else convert(size, price)


CHANNELS: Final[dict[str, tuple[Any, Make]]] = {
    "trades": (TradeRow, trade_records),
    "trades-all": (TradeRow, trade_records),
    "bbo-tbt": (BookRow, quote_records),
    "books": (BookRow, book_records),
    "books-l2-tbt": (BookRow, book_records),
    "books50-l2-tbt": (BookRow, book_records),
    "books-rpi": (BookRow, book_records),
    "books-elp": (BookRow, book_records),
    "books5": (BookRow, top_records),
    "tickers": (TickerRow, ticker_records),
    "mark-price": (MarkRow, mark_records),
    "funding-rate": (FundingRow, funding_records),
    "open-interest": (InterestRow, interest_records),
    "liquidation-orders": (LiquidationRow, liquidation_records),
    "instruments": (StatusRow, status_records),
    **dict.fromkeys(INTERVALS, (CandleRow, candle_records)),
}
"""Channels that become records, with the row's type and its reading."""
