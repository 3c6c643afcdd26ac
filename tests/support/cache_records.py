"""One record of every kind, for tests of caches."""

from zvt_crypto.core.instrument import Status
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.record import (
    Book,
    BookReset,
    Candle,
    Disconnected,
    Funding,
    Gap,
    GapRepaired,
    GapUnrecoverable,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Stale,
    Trade,
)
from zvt_crypto.core.series import Kind, Series, candle_series
from zvt_crypto.ports.cache import Event, Held

EXCHANGE, SYMBOL = "binance", "BTC-USDT"
MINUTE_US = 60_000_000
QUOTES = Series(EXCHANGE, SYMBOL, Kind.QUOTES)
TRADES = Series(EXCHANGE, SYMBOL, Kind.TRADES)
CANDLES = candle_series(EXCHANGE, SYMBOL, Interval.M1)


def quote(ts: int, sequence: int | None = None, *, symbol: str = SYMBOL, bid: float = 1.5) -> Quote:
    return Quote(EXCHANGE, symbol, ts, ts + 7, bid, 2.0, bid + 1, None, sequence)


def trade(ts: int, trade_id: int | str, *, symbol: str = SYMBOL) -> Trade:
    return Trade(EXCHANGE, symbol, ts, ts + 7, trade_id, 1.5, 0.25, Side.BUY)


def candle(minute: int, *, recv: int = 0, closed: bool = True, close: float = 1.5) -> Candle:
    opened = minute * MINUTE_US
    recv = recv or opened + MINUTE_US + 5
    return Candle(
        EXCHANGE,
        SYMBOL,
        Interval.M1,
        opened,
        recv,
        1.0,
        2.0,
        0.5,
        close,
        9.0,
        None,
        4,
        None,
        closed,
    )


HELD: list[tuple[Series, Held]] = [
    (QUOTES, quote(100, 3)),
    (Series(EXCHANGE, SYMBOL, Kind.BOOK), quote(101, None)),
    (TRADES, trade(100, 12_345_678_901)),
    (Series("coinbase", "ÖL-USD", Kind.TRADES), Trade("coinbase", "ÖL-USD", 1, 2, "a-b", 0.1, 1e-9,
                                                        Side.UNKNOWN, 3, True)),
    (CANDLES, candle(7)),
    (Series(EXCHANGE, SYMBOL, Kind.MARK_PRICE), MarkPrice(EXCHANGE, SYMBOL, 5, 6, 1.25, None, -1e-4,
                                                          99)),
    (Series(EXCHANGE, SYMBOL, Kind.FUNDING), Funding(EXCHANGE, SYMBOL, 5, 6, 1e-4, 9,
                                                    None, 1, 8.0)),
    (Series(EXCHANGE, SYMBOL, Kind.OPEN_INTEREST), OpenInterest(EXCHANGE, SYMBOL, 5, 6, 12.5)),
    (Series(EXCHANGE, SYMBOL, Kind.LIQUIDATIONS), Liquidation(EXCHANGE, SYMBOL, 5, 6, 1.0, 2.0,
                                                              Side.SELL)),
    (Series(EXCHANGE, SYMBOL, Kind.STATUS), InstrumentStatus(EXCHANGE, SYMBOL, 5, 6, Status.ACTIVE,
                                                             "BREAK")),
]  # fmt: skip

EVENTS: list[tuple[Series, Event]] = [
    *((series, record) for series, record in HELD if series.kind is not Kind.BOOK),
    (Series(EXCHANGE, SYMBOL, Kind.BOOK), Book(
        exchange=EXCHANGE, symbol=SYMBOL, ts_event=5, ts_recv=6, is_snapshot=False,
        bids=[(1.0, 2.0)], asks=[], sequence=9, prev_sequence=8)),
    (TRADES, Gap(TRADES, 1, 2, 3, "ids")),
    (TRADES, GapRepaired(TRADES, 1, 2, 3, 4)),
    (CANDLES, GapUnrecoverable(CANDLES, 1, 2, 3, "gone")),
    (TRADES, Stale(TRADES, 1, 2.5)),
    (QUOTES, Disconnected(QUOTES, 1, "closed")),
    (QUOTES, BookReset(QUOTES, 1, "sequence")),
]  # fmt: skip
