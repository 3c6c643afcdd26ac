"""Events of Binance's streams as typed rows, and the records they become. Pure.

Every `*_records` function takes one row, the receive time and what is known of native ids; it
raises ValueError or ArithmeticError for a row that cannot be. Prices are checked by the types.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic

import msgspec

from zvt_crypto.connectors.binance.spec import BINANCE, NAME, STATUSES
from zvt_crypto.connectors.wire.amount import Count, P, Sequenced, Z, read_number, read_positive
from zvt_crypto.connectors.wire.level import base_levels, check_order
from zvt_crypto.connectors.wire.moment import EARLIEST_US, moment
from zvt_crypto.connectors.wire.target import UNLISTED, Contract, Known, fan_out
from zvt_crypto.core.instrument import Market, Status
from zvt_crypto.core.interval import US_PER_MS
from zvt_crypto.core.record import (
    Book,
    Candle,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.ports.stream import Ignored, Message

Rows = Sequence[Message]
Make = Callable[[Any, int, Known], Rows]

COIN_ROUTE: Final = "inverse"
"""The socket of COIN-M, on which rows of COIN-M are at home whatever they are resolved to."""

COIN_MARGINED: Final = 2
"""`st` of a row of COIN-M, which all-market streams of USDⓈ-M hold too since 2026-06-30."""

ON_MARKET: Final = "MARKET"
"""`X` of a futures trade between orders; others (INSURANCE_FUND, ADL) are not in the history."""

OTHER_UNIVERSE: Final[Rows] = (Ignored("coin-margined row in a merged stream"),)
OFF_MARKET: Final[Rows] = (Ignored("trade outside the order book"),)
OTHER_WIDTH: Final[Rows] = (Ignored("candle of another width"),)

_INTERVALS: Final = {native: interval for interval, native in BINANCE.intervals.items()}
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
_SIDES: Final = {"BUY": _BUY, "SELL": _SELL}


class AggTrade(msgspec.Struct, Generic[P, Z], gc=False, tag_field="e", tag="aggTrade"):
    """All fills of one taker's order at one price."""

    s: str
    a: Count
    p: P
    q: P
    f: Sequenced
    l: Sequenced  # noqa: E741 - Binance's name
    T: Count
    m: bool
    st: int = 1


class RawTrade(msgspec.Struct, Generic[P, Z], gc=False, tag_field="e", tag="trade"):
    """One fill."""

    s: str
    t: Count
    p: P
    q: P
    T: Count
    m: bool
    X: str = ON_MARKET
    st: int = 1


class BookTicker(msgspec.Struct, Generic[P, Z], gc=False, tag_field="e", tag="bookTicker"):
    """Top of the book; spot names neither event nor time, and an empty side is zero."""

    s: str
    u: Count
    b: Z
    B: Z
    a: Z
    A: Z
    T: Count = 0
    st: int = 1


class DepthUpdate(msgspec.Struct, Generic[P, Z], tag_field="e", tag="depthUpdate"):
    """Changes of a book, or on futures also the whole of its top: the stream's name tells."""

    s: str
    E: Count
    U: Count
    u: Count
    b: list[tuple[P, Z]]
    a: list[tuple[P, Z]]
    T: Count = 0
    pu: Sequenced | None = None
    st: int = 1


class PartialDepth(msgspec.Struct, Generic[P, Z]):
    """The top of a spot book; it names no instrument and no time."""

    lastUpdateId: Count  # noqa: N815 - Binance's name
    bids: list[tuple[P, Z]]
    asks: list[tuple[P, Z]]


class Bar(msgspec.Struct, Generic[P, Z], gc=False):
    """The `k` of a kline event."""

    t: Count
    i: str
    o: P
    c: P
    h: P
    l: P  # noqa: E741 - Binance's name
    v: Z
    q: Z
    V: Z
    Q: Z
    n: Count
    x: bool


class Kline(msgspec.Struct, Generic[P, Z], tag_field="e", tag="kline"):
    """A candle, running or closed."""

    s: str
    k: Bar[P, Z]
    st: int = 1


class Mark(msgspec.Struct, Generic[P, Z], gc=False, tag_field="e", tag="markPriceUpdate"):
    """Mark price; `r` and `T` are the running interval's rate and its end, absent when dated."""

    s: str
    E: Count
    p: P
    i: str = ""
    r: str = ""
    T: Count = 0
    st: int = 1


class ForcedOrder(msgspec.Struct, Generic[P, Z], gc=False):
    """The `o` of a forceOrder event."""

    s: str
    S: str
    p: P
    q: P
    T: Count
    z: Z | None = None


class ForceOrder(msgspec.Struct, Generic[P, Z], tag_field="e", tag="forceOrder"):
    """A liquidation; the largest of a second only."""

    o: ForcedOrder[P, Z]
    st: int = 1


class ContractInfo(msgspec.Struct, Generic[P, Z], gc=False, tag_field="e", tag="contractInfo"):
    """A contract was listed, changed or is being settled."""

    s: str
    E: Count
    cs: str = ""
    st: int = 1


def agg_trade_records(row: AggTrade[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the trade REST gives as the same row: `trade_id` counts rows, `fills` what they fold.

    Raises:
        ValueError: its first fill comes after its last, or its time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    symbol, convert, market, others = found
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    price = row.p
    fills = row.l - row.f + 1
    if fills < 1:
        raise ValueError(f"fills from {row.f} to {row.l}")
    time = row.T * US_PER_MS
    if not EARLIEST_US < time < ts_recv:  # the usual case needs no call
        time = moment(row.T, ts_recv)
    record = Trade(
        NAME,
        symbol,
        time,
        ts_recv,
        row.a,
        price,
        row.q if convert is None else convert(row.q, price),
        _SELL if row.m else _BUY,
        fills,
    )
    return fan_out((record,), others) if others else (record,)


def raw_trade_records(row: RawTrade[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return one fill; `fills` is None, which tells it from a row of the history.

    Raises:
        ValueError: its time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    symbol, convert, market, others = found
    if row.X != ON_MARKET:
        return OFF_MARKET
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    price = row.p
    record = Trade(
        NAME,
        symbol,
        moment(row.T, ts_recv),
        ts_recv,
        row.t,
        price,
        row.q if convert is None else convert(row.q, price),
        _SELL if row.m else _BUY,
    )
    return fan_out((record,), others) if others else (record,)


def quote_records(row: BookTicker[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the top of a book; on spot its time is our receive time.

    Raises:
        ValueError: its time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    symbol, convert, market, others = found
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    bid, bid_size, ask, ask_size = row.b, row.B, row.a, row.A
    if not (bid and bid_size):
        bid = bid_size = None
    elif convert is not None:
        bid_size = convert(bid_size, bid)
    if not (ask and ask_size):
        ask = ask_size = None
    elif convert is not None:
        ask_size = convert(ask_size, ask)
    time = row.T * US_PER_MS
    if not EARLIEST_US < time < ts_recv:
        time = moment(row.T, ts_recv) if time else ts_recv
    record = Quote(NAME, symbol, time, ts_recv, bid, bid_size, ask, ask_size, row.u)
    return fan_out((record,), others) if others else (record,)


def book_records(row: DepthUpdate[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return changes of a book; the number before them is `pu` on futures, `U` - 1 on spot.

    Raises:
        ValueError: its numbers go backwards, or its time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    if row.st == COIN_MARGINED and _is_elsewhere(found.market, known):
        return OTHER_UNIVERSE
    if row.u < row.U:
        raise ValueError(f"changes from {row.U} to {row.u}")
    record = Book(
        exchange=NAME,
        symbol=found.symbol,
        ts_event=moment(row.T or row.E, ts_recv),
        ts_recv=ts_recv,
        is_snapshot=False,
        bids=base_levels(row.b, found.convert),
        asks=base_levels(row.a, found.convert),
        sequence=row.u,
        prev_sequence=row.U - 1 if row.pu is None else row.pu,
        first_sequence=row.U,
    )
    return fan_out((record,), found.others)


def top_records(row: DepthUpdate[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the top of a futures book, which looks like changes but is all of it.

    Raises:
        ValueError: it is not in order, or its time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    if row.st == COIN_MARGINED and _is_elsewhere(found.market, known):
        return OTHER_UNIVERSE
    time = moment(row.T or row.E, ts_recv)
    return _snapshot(found, time, ts_recv, (row.b, row.a), row.u)


def partial_records(native: str, row: PartialDepth[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the top of a spot book at our receive time; `native` is from the stream's name.

    Raises:
        ValueError: it is not in order.
    """
    found = known[native]
    if found is None:
        return UNLISTED
    return _snapshot(found, ts_recv, ts_recv, (row.bids, row.asks), row.lastUpdateId)


def candle_records(row: Kline[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a bar. COIN-M has contracts where others have base volume, and base as quote volume.

    Raises:
        ValueError: it opens where none can, or its prices contradict each other.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    symbol, _, market, others = found
    is_inverse = market is Market.INVERSE
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    bar = row.k
    interval = _INTERVALS.get(bar.i)
    if interval is None:
        return OTHER_WIDTH
    opened = moment(bar.t, ts_recv)
    if not interval.is_open(opened):
        raise ValueError(f"no {interval} candle opens at {bar.t}")
    if not (bar.l <= min(bar.o, bar.c) and max(bar.o, bar.c) <= bar.h):
        raise ValueError("open or close lies outside low and high")
    record = Candle(
        NAME,
        symbol,
        interval,
        opened,
        ts_recv,
        bar.o,
        bar.h,
        bar.l,
        bar.c,
        bar.q if is_inverse else bar.v,
        None if is_inverse else bar.q,
        bar.n,
        bar.Q if is_inverse else bar.V,
        bar.x,
    )
    return fan_out((record,), others)


def mark_records(row: Mark[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return the mark price, and what it says of funding; a dated contract has none.

    Raises:
        ValueError: a number or a time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    symbol, _, market, others = found
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    time = moment(row.E, ts_recv)
    rate = read_number(row.r, exact=known.exact)
    settles = moment(row.T, 0) if row.T else None
    index = read_positive(row.i, exact=known.exact)
    mark = MarkPrice(NAME, symbol, time, ts_recv, row.p, index, rate, settles)
    if rate is None or settles is None:
        return fan_out((mark,), others)
    return fan_out((mark, Funding(NAME, symbol, time, ts_recv, rate, settles)), others)


def liquidation_records(row: ForceOrder[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a liquidation at its order's price, of what was filled of it.

    Raises:
        ValueError: its side is unknown, or its time cannot be.
    """
    order = row.o
    found = known[order.s]
    if found is None:
        return UNLISTED
    symbol, convert, market, others = found
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    side = _SIDES.get(order.S)
    if side is None:
        raise ValueError(f"an order on the side {order.S[:20]!r}")
    size = order.z or order.q
    record = Liquidation(
        NAME,
        symbol,
        moment(order.T, ts_recv),
        ts_recv,
        order.p,
        size if convert is None else convert(size, order.p),
        side,
    )
    return fan_out((record,), others)


def status_records(row: ContractInfo[Any, Any], ts_recv: int, known: Known) -> Rows:
    """Return a contract's state.

    Raises:
        ValueError: its time cannot be.
    """
    found = known[row.s]
    if found is None:
        return UNLISTED
    symbol, _, market, others = found
    if row.st == COIN_MARGINED and _is_elsewhere(market, known):
        return OTHER_UNIVERSE
    status = STATUSES.get(row.cs, Status.UNKNOWN)
    record = InstrumentStatus(NAME, symbol, moment(row.E, ts_recv), ts_recv, status, row.cs[:100])
    return fan_out((record,), others)


def _is_elsewhere(market: Market, known: Known) -> bool:
    """Return whether a row of COIN-M came beside those of another market."""
    return market is not Market.INVERSE and known.route != COIN_ROUTE


def _snapshot(
    found: Contract, time: int, ts_recv: int, sides: tuple[Any, Any], sequence: int
) -> Rows:
    bids, asks = sides
    check_order(bids, asks)
    record = Book(
        exchange=NAME,
        symbol=found.symbol,
        ts_event=time,
        ts_recv=ts_recv,
        is_snapshot=True,
        bids=base_levels(bids, found.convert),
        asks=base_levels(asks, found.convert),
        sequence=sequence,
    )
    return fan_out((record,), found.others)


EVENTS: Final[dict[str, tuple[Any, Make]]] = {
    "aggTrade": (AggTrade, agg_trade_records),
    "trade": (RawTrade, raw_trade_records),
    "bookTicker": (BookTicker, quote_records),
    "depthUpdate": (DepthUpdate, book_records),
    "kline": (Kline, candle_records),
    "markPriceUpdate": (Mark, mark_records),
    "forceOrder": (ForceOrder, liquidation_records),
    "contractInfo": (ContractInfo, status_records),
}
"""Event types that become records, with the row's type and its reading."""
