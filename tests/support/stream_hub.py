"""A hub for feeds in unit tests: a clock of its own, and gaps that wait to be mended by hand."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.record import Side, Trade
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.tabulate import to_table
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.feed import Feed, OpenGap

BASE_US = 1_700_000_000_000_000
SERIES = Series("binance", "BTC-USDT", Kind.TRADES)
INSTRUMENT = Instrument(
    exchange="binance",
    symbol="BTC-USDT",
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    settle=None,
    market=Market.SPOT,
)


@dataclass
class StubHub:
    """What a feed needs around it."""

    config: StreamConfig = field(default_factory=StreamConfig)
    at: int = BASE_US
    gaps: list[OpenGap] = field(default_factory=list[OpenGap])

    def now_us(self) -> int:
        return self.at

    def mend(self, feed: Feed, gap: OpenGap) -> None:
        del feed
        self.gaps.append(gap)

    def advance(self, feed: Feed, seconds: float) -> None:
        self.at += int(seconds * 1_000_000)
        feed.tick(self.at)


def trade(number: int, *, at: int | None = None, trade_id: str | None = None) -> Trade:
    """Return trade `number`, one a millisecond."""
    moment = BASE_US + number * 1_000 if at is None else at
    return Trade(
        SERIES.exchange,
        SERIES.symbol,
        moment,
        moment + 50,
        number if trade_id is None else trade_id,
        100.0 + number,
        1.0,
        Side.BUY,
        1,
    )


def rows(*trades: Trade) -> pa.Table:
    return to_table(Kind.TRADES, trades)


def seen(feed: Feed) -> list[Any]:
    """Return the list that what the feed gives on is put into."""
    into: list[Any] = []
    feed.outlets.append(into.append)
    return into
