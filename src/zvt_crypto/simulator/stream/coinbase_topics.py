"""What Coinbase's channels say of one product, or of the connection itself.

Every message has the same envelope; its `sequence_num` is filled in for each connection
(`CoinbaseStream.seal`). What is written here is how many numbers it leaves out: none, unless a
fault asks for a jump.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from zvt_crypto.core.interval import US_PER_DAY, US_PER_S
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.simulator import coinbase_info as info
from zvt_crypto.simulator.bar import MINUTES
from zvt_crypto.simulator.book import Book, Changes
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.stream import feed
from zvt_crypto.simulator.stream.feed import Candle
from zvt_crypto.simulator.stream.topic import (
    BookTopic,
    CandleTopic,
    InstrumentTopic,
    Push,
    TickTopic,
    Topic,
)

if TYPE_CHECKING:
    from zvt_crypto.simulator.serving import DaySummary
    from zvt_crypto.simulator.venue import Venue

_BATCH_US: Final = 250_000
_RECENT_TRADES: Final = 100
_RECENT_DAYS: Final = 3
_RECENT_CANDLES: Final = 100
_SLOW_TICKER_US: Final = 5 * US_PER_S
_NEVER: Final = "1970-01-01T00:00:00Z"
_NS: Final = 1_000


def write(channel: str, time_us: int, event: dict[str, Any], *, ahead: int = 0) -> bytes:
    """Return a message of one event; `ahead` numbers of the sequence are left out before it.

    There is no `client_id`: recordings of 2026 have none, though the documentation shows one.
    """
    return msgspec.json.encode(
        {
            "channel": channel,
            "timestamp": _nanoseconds(time_us),
            "sequence_num": ahead,
            "events": [event],
        }
    )


def _nanoseconds(time_us: int) -> str:
    """Return a moment as envelopes have it, with nine digits of fraction."""
    return f"{format_us(time_us // US_PER_S * US_PER_S)[:19]}.{time_us % US_PER_S * _NS:09d}Z"


def _microseconds(time_us: int) -> str:
    return f"{format_us(time_us // US_PER_S * US_PER_S)[:19]}.{time_us % US_PER_S:06d}Z"


class HeartbeatTopic(Topic):
    """One message a second, with a counter that grows by one."""

    kind = "status"

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message for every second that passed."""
        seconds = range(since_us // US_PER_S + 1, until_us // US_PER_S + 1)
        return [self._push(second) for second in seconds]

    def _push(self, second: int) -> Push:
        time_us = second * US_PER_S
        moment = format_us(time_us)[:19].replace("T", " ")
        event = {
            "current_time": f"{moment}.000000000 +0000 UTC m=+{second % 1_000_000}.500000000",
            "heartbeat_counter": second % 1_000_000_000,
        }
        return Push(write("heartbeats", time_us, event), time_us)


class MarketTradesTopic(InstrumentTopic):
    """Trades of a quarter of a second, newest first, with the maker's side."""

    kind = "trades"

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the newest trades up to the last batch."""
        until_us = now_us // _BATCH_US * _BATCH_US
        if feed.is_from_file(self.venue, self.instrument):
            return ()
        market = self.venue.world.market
        trades = market.trades(self.instrument, -1)
        for days in range(_RECENT_DAYS):
            since_us = until_us - until_us % US_PER_DAY - days * US_PER_DAY - 1
            trades = market.trades_between(self.instrument, since_us, until_us)
            if len(trades) >= _RECENT_TRADES:
                break
        newest = trades.take(max(0, len(trades) - _RECENT_TRADES), len(trades))
        return [self._push("snapshot", newest, until_us)]

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message a batch in which something traded."""
        pushes: list[Push] = []
        first = since_us // _BATCH_US * _BATCH_US
        for batch_us in range(first, until_us // _BATCH_US * _BATCH_US, _BATCH_US):
            end_us = batch_us + _BATCH_US
            trades = feed.trades_between(self.venue, self.instrument, batch_us, end_us)
            if len(trades):
                pushes.append(self._push("update", trades, end_us))
        return pushes

    def _push(self, kind: str, trades: Trades, time_us: int) -> Push:
        one = self.instrument
        rows = [
            {
                "product_id": one.native,
                "trade_id": str(trades.first_id + at),
                "price": decimal_text(int(trades.price[at]), one.price_decimals),
                "size": decimal_text(int(trades.size[at]), one.size_decimals),
                "time": _microseconds(int(trades.time_us[at])),
                "side": "SELL" if trades.buy[at] else "BUY",
            }
            for at in reversed(range(len(trades)))
        ]
        text = write("market_trades", time_us, {"type": kind, "trades": rows})
        newest_us = int(trades.time_us[-1]) if len(trades) else time_us
        return Push(text, newest_us, trades.first_id, trades.first_id + len(trades) - 1)


class Level2Topic(BookTopic):
    """A book: whole, then every change of it."""

    def encode(self, before: Book, after: Book, changes: Changes, *, reset: bool) -> bytes | None:
        """Write what changed; after a restart the whole book again."""
        if reset:
            return self.snapshot(after)
        if not (changes.bids or changes.asks):
            return None
        moment = _microseconds(after.time_us)
        event = self._event("update", changes, moment)
        ahead = before.sequence - self.venue.books.sequence(self.instrument, before.step)
        return write("l2_data", after.time_us, event, ahead=ahead)

    def snapshot(self, book: Book) -> bytes:
        """Write a whole book, in which no level has a time."""
        whole = Changes(list(book.bids.items()), list(book.asks.items()))
        return write("l2_data", book.time_us, self._event("snapshot", whole, _NEVER))

    def _event(self, kind: str, changes: Changes, moment: str) -> dict[str, Any]:
        one = self.instrument
        updates = [
            {
                "side": side,
                "event_time": moment,
                "price_level": decimal_text(price, one.price_decimals),
                "new_quantity": decimal_text(size, one.size_decimals),
            }
            for side, levels in (("bid", changes.bids), ("offer", changes.asks))
            for price, size in levels
        ]
        return {"type": kind, "product_id": one.native, "updates": updates}


class CandlesTopic(CandleTopic):
    """Candles of five minutes, every second; nothing says that one closed."""

    def __init__(self, venue: "Venue", name: str, instrument: Instrument) -> None:
        super().__init__(venue, name, instrument, MINUTES[5], US_PER_S)

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the newest candles, the running one first."""
        if feed.is_from_file(self.venue, self.instrument):
            return ()
        running_us = self.bar.floor(now_us)
        candles = [feed.candle_at(self.venue, self.instrument, self.bar, now_us)]
        for close_us in range(
            running_us, running_us - _RECENT_CANDLES * self.bar.width_us, -self.bar.width_us
        ):
            if close_us > self.instrument.listed_us:
                closed = feed.candle_closed(self.venue, self.instrument, self.bar, close_us)
                candles.append(closed)
        rows = [self._row(candle) for candle in candles if candle is not None]
        return [Push(write("candles", now_us, {"type": "snapshot", "candles": rows}), now_us)]

    def encode(self, candle: Candle) -> bytes:
        """Write a candle as it stands."""
        event = {"type": "update", "candles": [self._row(candle)]}
        return write("candles", candle.now_us, event)

    def _row(self, candle: Candle) -> dict[str, str]:
        row = candle.columns
        texts = {
            name: column.texts()[0]
            for name, column in (
                ("high", row.high), ("low", row.low), ("open", row.open), ("close", row.close),
                ("volume", row.native),
            )
        }  # fmt: skip
        start = str(candle.open_us // US_PER_S)
        return {"start": start, **texts, "product_id": self.instrument.native}


class TickerTopic(InstrumentTopic):
    """A ticker for every order that traded; its quotes are those of that moment."""

    kind = "ticker"

    def __init__(self, venue: "Venue", name: str, instrument: Instrument) -> None:
        super().__init__(venue, name, instrument)
        self._day: tuple[int, DaySummary | None] = (-1, None)

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the ticker as it is."""
        price = self.venue.world.market.price_at(self.instrument, now_us)
        return [Push(self._write("ticker", "snapshot", now_us, price, quotes=True), now_us)]

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return one message an order."""
        orders = feed.orders_between(self.venue, self.instrument, since_us, until_us)
        pushes: list[Push] = []
        for at, time_us in enumerate(orders.time_us.tolist()):
            text = self._write("ticker", "update", time_us, int(orders.price[at]), quotes=True)
            pushes.append(Push(text, time_us, int(orders.first[at]), int(orders.last[at])))
        return pushes

    def batch(self, tick_us: int) -> bytes | None:
        """Return the message of `ticker_batch`: none if nothing traded since the last one."""
        market, one = self.venue.world.market, self.instrument
        if market.last_id(one, tick_us) == market.last_id(one, tick_us - _SLOW_TICKER_US):
            return None
        price = market.price_at(one, tick_us)
        return self._write("ticker_batch", "update", tick_us, price, quotes=False)

    def _write(self, channel: str, kind: str, time_us: int, price: int, *, quotes: bool) -> bytes:
        one, day = self.instrument, self._summary(time_us)
        decimals = one.price_decimals
        change = (price - day.open) / day.open * 100 if day.open else 0.0
        ticker = {
            "type": "ticker",
            "product_id": one.native,
            "price": decimal_text(price, decimals),
            "volume_24_h": decimal_text(day.native, one.size_decimals),
            "low_24_h": decimal_text(min(day.low, price), decimals),
            "high_24_h": decimal_text(max(day.high, price), decimals),
            "low_52_w": decimal_text(day.low // 2, decimals),
            "high_52_w": decimal_text(day.high * 2, decimals),
            "price_percent_chg_24_h": f"{change:.14f}",
        }
        if quotes:
            book = self.venue.books.at(one, time_us, self.venue.book_step_us(one))
            for name, side in zip(("bid", "ask"), book.top(1), strict=True):
                [(level, size)] = side
                ticker[f"best_{name}"] = decimal_text(level, decimals)
                ticker[f"best_{name}_quantity"] = decimal_text(size, one.size_decimals)
        return write(channel, time_us, {"type": kind, "tickers": [ticker]})

    def _summary(self, time_us: int) -> "DaySummary":
        """Return the statistics of a day, made once a second."""
        second, day = self._day
        if day is None or second != time_us // US_PER_S:
            day = self.venue.day_summary(self.instrument, time_us)
            self._day = (time_us // US_PER_S, day)
        return day


def slow_ticker(venue: "Venue", name: str, instrument: Instrument) -> Topic:
    """Return the topic of `ticker_batch`: every five seconds, if something traded."""
    ticker = TickerTopic(venue, name, instrument)
    return TickTopic(venue, "ticker", name, _SLOW_TICKER_US, ticker.batch, instrument)


class StatusTopic(InstrumentTopic):
    """What a product is; sent once, for nothing of it changes here."""

    kind = "status"

    def opening(self, now_us: int) -> Sequence[Push]:
        """Return the product."""
        about = info.describe(self.venue, self.instrument, now_us)
        product = {
            "product_type": about["product_type"],
            "id": self.instrument.native,
            "base_currency": about["base_currency_id"],
            "quote_currency": about["quote_currency_id"],
            "base_increment": about["base_increment"],
            "quote_increment": about["quote_increment"],
            "display_name": about["display_name"].replace("-", "/"),
            "status": about["status"],
            "status_message": "",
            "min_market_funds": "1",
        }
        event = {"type": "snapshot", "products": [product]}
        return [Push(write("status", now_us, event), now_us)]

    def pushes(self, since_us: int, until_us: int) -> Sequence[Push]:
        """Return nothing."""
        del since_us, until_us
        return ()
