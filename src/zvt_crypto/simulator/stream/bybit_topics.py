"""What Bybit's topics say: trades, books of four depths, candles, tickers, liquidations.

Trades are those of REST, under the same ids. The book's `seq` is its number in the simulator
(`/_truth/book?sequence=`), of one scale with the `seq` of trades; `u` counts the messages of a
depth, and the book over REST has the `u` of the deepest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec
import numpy as np

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.simulator import bybit_info, bybit_rows
from zvt_crypto.simulator.bar import Bar
from zvt_crypto.simulator.book import Book, Changes, Level
from zvt_crypto.simulator.bybit import DEEPEST_US, BybitVenue
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.stream import feed
from zvt_crypto.simulator.stream.feed import Candle
from zvt_crypto.simulator.stream.topic import (
    BookTopic,
    CandleTopic,
    InstrumentTopic,
    LiquidationTopic,
    Push,
    TopTopic,
)

MS: Final = 1_000
PERIODS_US: Final = {50: 100_000, 200: 100_000, 1_000: DEEPEST_US}
"""How often a depth is sent. The book changes ten times a second, so 20 ms would say no more."""

_RESENT_US: Final = 3 * US_PER_S
_CANDLE_US: Final = US_PER_S
_TICKER_US: Final = 100_000
_MOST_TRADES: Final = 1_024
_PAIRS: Final = (("bid1Price", "bid1Size"), ("ask1Price", "ask1Size"))


def _write(topic: str, kind: str, time_us: int, data: Any, **more: Any) -> bytes:
    frame = {"topic": topic, "type": kind, "ts": time_us // MS, "data": data, **more}
    return msgspec.json.encode(frame)


class TradesTopic(InstrumentTopic):
    """Every trade, those of one order in one message."""

    kind = "trades"

    def __init__(self, venue: BybitVenue, name: str, instrument: Instrument) -> None:
        super().__init__(venue, name, instrument)
        self._topic = f"publicTrade.{instrument.native}"

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message an order; its trades share their moment."""
        trades = feed.trades_between(self.venue, self.instrument, since_us, until_us)
        if not len(trades):
            return ()
        starts = np.flatnonzero(np.diff(trades.time_us, prepend=-1))
        stops = np.concatenate((starts[1:], [len(trades)]))
        rows = self._rows(trades)
        return [
            self._push(trades, rows, at, min(at + _MOST_TRADES, stop))
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
            for at in range(start, stop, _MOST_TRADES)
        ]

    def _push(self, trades: Trades, rows: list[dict[str, Any]], first: int, stop: int) -> Push:
        time_us = int(trades.time_us[first])
        text = _write(self._topic, "snapshot", time_us + MS, rows[first:stop])
        return Push(text, time_us, trades.first_id + first, trades.first_id + stop - 1)

    def _rows(self, trades: Trades) -> list[dict[str, Any]]:
        one, ids = self.instrument, trades.id
        seed = self.venue.world.config.seed
        names = bybit_rows.trade_ids(one, ids, seed).texts()
        step_us = self.venue.book_step_us(one)
        sequences = bybit_rows.sequences(trades.time_us, step_us).tolist()
        ticks = bybit_rows.tick_directions(trades.price).values.tolist()
        rpi = bybit_rows.is_rpi(ids).tolist()
        rows: list[dict[str, Any]] = []
        for at, name in enumerate(names):
            row: dict[str, Any] = {
                "T": int(trades.time_us[at]) // MS,
                "s": one.native,
                "S": "Buy" if trades.buy[at] else "Sell",
                "v": decimal_text(int(trades.size[at]), one.size_decimals),
                "p": decimal_text(int(trades.price[at]), one.price_decimals, trim=False),
            }
            if one.kind is not Kind.SPOT:
                row["L"] = ticks[at].decode()
            row |= {"i": name, "BT": False, "RPI": bool(rpi[at]), "seq": sequences[at]}
            rows.append(row)
        return rows


class DepthTopic(BookTopic):
    """A book of some depth: a snapshot, then what changed of the best levels."""

    def __init__(self, venue: BybitVenue, name: str, instrument: Instrument, depth: int) -> None:
        super().__init__(venue, name, instrument, PERIODS_US[depth])
        self._depth = depth
        self._topic = f"orderbook.{depth}.{instrument.native}"

    def encode(self, before: Book, after: Book, changes: Changes, *, reset: bool) -> bytes | None:
        """Write the change of the best levels; after a reset the whole book, with u = 1."""
        if reset:
            return self.snapshot(after)
        data = {
            "s": self.instrument.native,
            "b": self._side(before.bids, after.bids, changes.bids),
            "a": self._side(before.asks, after.asks, changes.asks),
            **self._numbers(after, self._claimed(before)),
        }
        sent_us = after.time_us + self.period_us
        return _write(self._topic, "delta", sent_us, data, cts=after.time_us // MS)

    def snapshot(self, book: Book) -> bytes:
        """Write the best levels of a book."""
        bids, asks = book.top(self._depth)
        data = {
            "s": self.instrument.native,
            "b": bybit_info.levels(self.instrument, bids),
            "a": bybit_info.levels(self.instrument, asks),
            **self._numbers(book, 0),
        }
        sent_us = book.time_us + self.period_us
        return _write(self._topic, "snapshot", sent_us, data, cts=book.time_us // MS)

    def _numbers(self, book: Book, ahead: int) -> dict[str, int]:
        venue = cast("BybitVenue", self.venue)
        number = venue.update_id(self.instrument, book.step, self.period_us)
        return {"u": number + ahead, "seq": book.sequence}

    def _claimed(self, before: Book) -> int:
        """Return how far ahead a fault moved the book a change says it follows."""
        return before.sequence - self.venue.books.sequence(self.instrument, before.step)

    def _side(
        self, before: Mapping[int, int], after: Mapping[int, int], changed: Sequence[Level]
    ) -> list[list[str]]:
        """Return what turns the best levels of one book into those of another.

        What a fault made up is in neither book; it is passed on.
        """
        old, new = (dict(list(side.items())[: self._depth]) for side in (before, after))
        levels = [(price, 0) for price in old if price not in new]
        levels += [(price, size) for price, size in new.items() if old.get(price) != size]
        levels += [level for level in changed if level[0] not in before and level[0] not in after]
        return bybit_info.levels(self.instrument, levels)


class BestTopic(TopTopic):
    """The best bid and ask: always a snapshot, sent again every 3 s with the same u."""

    def __init__(self, venue: BybitVenue, name: str, instrument: Instrument) -> None:
        super().__init__(venue, name, instrument)
        self._topic = f"orderbook.1.{instrument.native}"

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the best bid and ask of the last period."""
        book = self._book(now_us // self.period_us * self.period_us)
        return [Push(self.encode(book, now_us), book.time_us, book.sequence, book.sequence)]

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return the changes, and the same again where there was none for three seconds."""
        pushes = list(super().pushes(since_us, until_us))
        book = self._book(until_us)
        rested = (until_us - book.time_us) // _RESENT_US * _RESENT_US
        again_us = book.time_us + rested
        if rested and again_us > since_us:
            text = self.encode(book, again_us)
            pushes.append(Push(text, again_us, book.sequence, book.sequence))
        return pushes

    def encode(self, book: Book, now_us: int) -> bytes:
        """Write a snapshot of one level a side."""
        bids, asks = book.top(1)
        venue = cast("BybitVenue", self.venue)
        data = {
            "s": self.instrument.native,
            "b": bybit_info.levels(self.instrument, bids),
            "a": bybit_info.levels(self.instrument, asks),
            "u": venue.update_id(self.instrument, book.step, 0),
            "seq": book.sequence,
        }
        return _write(self._topic, "snapshot", now_us, data, cts=book.time_us // MS)


class KlineTopic(CandleTopic):
    """Candles; `confirm` is true once, when one closed."""

    def __init__(
        self, venue: BybitVenue, name: str, instrument: Instrument, interval: str, bar: Bar
    ) -> None:
        super().__init__(venue, name, instrument, bar, _CANDLE_US)
        self._interval = interval
        self._topic = f"kline.{interval}.{instrument.native}"

    def encode(self, candle: Candle) -> bytes:
        """Write a candle; an inverse contract counts dollars, and coins as turnover."""
        row, is_inverse = candle.columns, self.instrument.kind is Kind.INVERSE
        turnover = row.base if is_inverse else row.quote
        texts = {
            name: column.texts()[0]
            for name, column in (
                ("open", row.open), ("close", row.close), ("high", row.high), ("low", row.low),
                ("volume", row.native), ("turnover", turnover),
            )
        }  # fmt: skip
        data = {
            "start": candle.open_us // MS,
            "end": candle.close_us // MS - 1,
            "interval": self._interval,
            **texts,
            "confirm": candle.closed,
            "timestamp": self._traded_us(candle) // MS,
        }
        return _write(self._topic, "snapshot", candle.now_us, [data])

    def _traded_us(self, candle: Candle) -> int:
        """Return when the last trade of a candle was; its open if there was none."""
        if not candle.last_id:
            return candle.open_us
        market = self.venue.world.market
        since_us, until_us = candle.open_us - 1, min(candle.now_us, candle.close_us - 1)
        day_us = max(since_us, until_us - until_us % (86_400 * US_PER_S) - 1)
        for start_us in (day_us, since_us):
            trades = market.trades_between(self.instrument, start_us, until_us)
            if len(trades):
                return int(trades.time_us[-1])
        return candle.open_us


class TickerTopic(InstrumentTopic):
    """A ticker: on contracts whole once, then only the fields that changed; on spot always whole.

    The statistics of a day move once a second, price and quotes with every change.
    """

    kind = "ticker"

    def __init__(self, venue: BybitVenue, name: str, instrument: Instrument) -> None:
        super().__init__(venue, name, instrument)
        self._topic = f"tickers.{instrument.native}"
        self._slow: tuple[int, dict[str, str]] = (-1, {})
        self._made: dict[int, dict[str, str]] = {}

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the whole ticker of the last period."""
        tick_us = now_us // _TICKER_US * _TICKER_US
        return [Push(self._encode("snapshot", tick_us, self._at(tick_us)), tick_us)]

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return what changed since the message before."""
        tick_us = until_us // _TICKER_US * _TICKER_US
        if tick_us <= since_us:
            return ()
        before = self._at(since_us // _TICKER_US * _TICKER_US)
        after = self._at(tick_us)
        changed = {name: text for name, text in after.items() if before.get(name) != text}
        if not changed:
            return ()
        if self.instrument.kind is Kind.SPOT:
            return [Push(self._encode("snapshot", tick_us, after), tick_us)]
        for pair in _PAIRS:
            if any(name in changed for name in pair):
                changed |= {name: after[name] for name in pair}
        delta = {"symbol": self.instrument.native, **changed}
        return [Push(self._encode("delta", tick_us, delta), tick_us)]

    def _encode(self, kind: str, time_us: int, data: Mapping[str, str]) -> bytes:
        return _write(self._topic, kind, time_us, data, cs=time_us // 100)

    def _at(self, time_us: int) -> dict[str, str]:
        value = self._made.get(time_us)
        if value is None:
            value = self._make(time_us)
            self._made = {when: own for when, own in self._made.items() if when > time_us - 10**7}
            self._made[time_us] = value
        return value

    def _make(self, time_us: int) -> dict[str, str]:
        second = time_us // US_PER_S
        if self._slow[0] != second:
            venue = cast("BybitVenue", self.venue)
            whole = bybit_info.ticker(venue, self.instrument, second * US_PER_S)
            self._slow = (second, whole)
        value = {name: text for name, text in self._slow[1].items() if name not in _REST_ONLY}
        market, one = self.venue.world.market, self.instrument
        price = market.price_at(one, time_us)
        value["lastPrice"] = decimal_text(price, one.price_decimals, trim=False)
        if one.kind is Kind.SPOT:
            return {name: text for name, text in value.items() if "1" not in name}
        worth = float(value["openInterestValue"]) / 2
        value["singleOpenInterestValue"] = f"{worth:.4f}"
        since_us = time_us - _TICKER_US
        earlier = market.price_at(one, since_us)
        word = "PlusTick" if price > earlier else "MinusTick"
        value["tickDirection"] = f"Zero{word}" if price == earlier else word
        bids, asks = self.venue.books.at(one, time_us, self.venue.book_step_us(one)).top(1)
        for (price_name, size_name), side in zip(_PAIRS, (bids, asks), strict=True):
            [[value[price_name], value[size_name]]] = bybit_info.levels(one, side)
        return value


_REST_ONLY: Final = frozenset(
    ("predictedDeliveryPrice", "basisRate", "basis", "deliveryFeeRate", "deliveryTime")
)


class AllLiquidationTopic(LiquidationTopic):
    """All liquidations of a contract."""

    def encode(self, instrument: Instrument, trade: Trades) -> bytes:
        """Write one; the side is the position's: Buy where a long was sold."""
        time_us = int(trade.time_us[0])
        row = {
            "T": time_us // MS,
            "s": instrument.native,
            "S": "Sell" if trade.buy[0] else "Buy",
            "v": decimal_text(int(trade.size[0]), instrument.size_decimals),
            "p": decimal_text(int(trade.price[0]), instrument.price_decimals),
        }
        return _write(f"allLiquidation.{instrument.native}", "snapshot", time_us + MS, [row])
