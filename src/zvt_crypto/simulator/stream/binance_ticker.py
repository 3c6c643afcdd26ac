"""Binance's tickers of 24 hours, and which topic a stream's name means."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from zvt_crypto.simulator import bar as bars
from zvt_crypto.simulator import binance_info
from zvt_crypto.simulator.binance import INTERVALS
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.stream.binance_topic import (
    MS,
    AggregateTrades,
    AllBookTickers,
    BookTicker,
    ContractInfo,
    DepthChanges,
    ForceOrders,
    Klines,
    PartialDepth,
    SingleTrades,
    Stream,
    Tick,
    Writer,
    mark_price,
)
from zvt_crypto.simulator.stream.topic import Topic
from zvt_crypto.simulator.venue import Venue

_S: Final = 1_000_000
_DEPTH: Final = re.compile(r"depth(?P<levels>5|10|20)?(?:@(?P<speed>\d+)ms)?")
_SPEEDS: Final = {
    "spot": {None: 1_000, "1000": 1_000, "100": 100},
    "futures": {None: 250, "500": 500, "250": 250, "100": 100, "0": 100},
}
_PUBLIC: Final = ("bookTicker", "depth", "rpiDepth", "trade")


def futures_route(name: str) -> str:
    """Return the route of futures a stream is delivered on."""
    channel = name[1:] if name.startswith("!") else name.partition("@")[2]
    return "public" if channel.startswith(_PUBLIC) else "market"


def make(venue: Venue, name: str, *, spot: bool, micro: bool) -> Topic | None:
    """Return the topic of a stream, or None when there is no such stream."""
    stream = Stream(name, "spot" if spot else "futures", micro=micro)
    if name.startswith("!"):
        kind = Kind.SPOT if spot else Kind.LINEAR
        return _all_market(venue, stream, venue.listed_instruments(kind), spot=spot)
    symbol, _, channel = name.partition("@")
    kinds = (Kind.SPOT,) if spot else (Kind.LINEAR,)
    instrument = venue.lookup(symbol.upper(), kinds) if symbol == symbol.lower() else None
    if instrument is None:
        return None
    return _plain(venue, stream, instrument, channel) or (
        _book(venue, stream, instrument, channel)
        or _klines(venue, stream, instrument, channel)
        or _tick(venue, stream, instrument, channel)
    )


def _plain(venue: Venue, stream: Stream, instrument: Instrument, channel: str) -> Topic | None:
    match channel:
        case "aggTrade":
            return AggregateTrades(venue, stream, instrument)
        case "trade":
            return SingleTrades(venue, stream, instrument)
        case "bookTicker":
            return BookTicker(venue, stream, instrument)
        case "forceOrder" if instrument.is_perpetual:
            return ForceOrders(venue, stream, [instrument])
        case _:
            return None


def _book(venue: Venue, stream: Stream, instrument: Instrument, channel: str) -> Topic | None:
    found = _DEPTH.fullmatch(channel)
    market = "futures" if instrument.is_perpetual else "spot"
    if found is None or found["speed"] not in _SPEEDS[market]:
        return None
    period_us = _SPEEDS[market][found["speed"]] * MS
    if found["levels"]:
        return PartialDepth(venue, stream, instrument, int(found["levels"]), period_us)
    return DepthChanges(venue, stream, instrument, period_us)


def _klines(venue: Venue, stream: Stream, instrument: Instrument, channel: str) -> Topic | None:
    interval = channel.removeprefix("kline_")
    perp = instrument.is_perpetual
    bar = bars.SECOND if interval == "1s" and not perp else INTERVALS.get(interval)
    if bar is None or interval == channel:
        return None
    period_us = 250 * MS if perp else 1_000 * MS if bar is bars.SECOND else 2_000 * MS
    return Klines(venue, stream, instrument, bar, period_us)


def _tick(venue: Venue, stream: Stream, instrument: Instrument, channel: str) -> Topic | None:
    perp = instrument.is_perpetual
    makers: dict[str, tuple[str, int, Callable[[int], bytes | None]]] = {
        "ticker": ("ticker", 2 if perp else 1, lambda t: _encoded(_day(venue, instrument, t))),
        "miniTicker": ("ticker", 2 if perp else 1, lambda t: _encoded(_mini(venue, instrument, t))),
    }
    if perp:
        makers["markPrice"] = ("mark", 3, lambda t: mark_price(venue, instrument, t).encode())
        makers["markPrice@1s"] = ("mark", 1, lambda t: mark_price(venue, instrument, t).encode())
    else:
        makers["avgPrice"] = ("ticker", 1, lambda t: _encoded(_average(venue, instrument, t)))
    if channel not in makers:
        return None
    kind, period_s, make_text = makers[channel]
    return Tick(venue, kind, stream, period_s * _S, make_text, instrument)


def _all_market(
    venue: Venue, stream: Stream, listed: Sequence[Instrument], *, spot: bool
) -> Topic | None:
    def array(one: Callable[[Venue, Instrument, int], object]) -> Callable[[int], bytes]:
        return lambda now_us: msgspec.json.encode([one(venue, i, now_us) for i in listed])

    def marks(now_us: int) -> bytes:
        return ("[" + ",".join([mark_price(venue, i, now_us) for i in listed]) + "]").encode()

    if stream.name == "!miniTicker@arr":
        return Tick(venue, "ticker", stream, (1 if spot else 2) * _S, array(_mini))
    if spot:  # `!ticker@arr` is gone from spot since 2026
        return None
    makers: dict[str, Callable[[], Topic]] = {
        "!ticker@arr": lambda: Tick(venue, "ticker", stream, 2 * _S, array(_day)),
        "!markPrice@arr": lambda: Tick(venue, "mark", stream, 3 * _S, marks),
        "!markPrice@arr@1s": lambda: Tick(venue, "mark", stream, _S, marks),
        "!bookTicker": lambda: AllBookTickers(venue, stream, listed),
        "!forceOrder@arr": lambda: ForceOrders(venue, stream, listed),
        "!contractInfo": lambda: ContractInfo(venue, stream, listed),
    }
    return makers[stream.name]() if stream.name in makers else None


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def _mini(venue: Venue, instrument: Instrument, now_us: int) -> dict[str, object]:
    row = _row(venue, instrument, now_us)
    return {
        "e": "24hrMiniTicker", "E": now_us // MS, "s": instrument.native, "c": row["lastPrice"],
        "o": row["openPrice"], "h": row["highPrice"], "l": row["lowPrice"], "v": row["volume"],
        "q": row["quoteVolume"],
    }  # fmt: skip


def _day(venue: Venue, instrument: Instrument, now_us: int) -> dict[str, object]:
    row = _row(venue, instrument, now_us)
    ticker: dict[str, object] = {
        "e": "24hrTicker", "E": now_us // MS, "s": instrument.native, "p": row["priceChange"],
        "P": row["priceChangePercent"], "w": row["weightedAvgPrice"], "c": row["lastPrice"],
        "Q": row["lastQty"], "o": row["openPrice"], "h": row["highPrice"], "l": row["lowPrice"],
        "v": row["volume"], "q": row["quoteVolume"], "O": row["openTime"], "C": row["closeTime"],
        "F": row["firstId"], "L": row["lastId"], "n": row["count"],
    }  # fmt: skip
    if instrument.is_perpetual:
        return ticker | {"st": 1}
    names = {"x": "prevClosePrice", "b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
    return ticker | {name: row[own] for name, own in names.items()}


def _row(venue: Venue, instrument: Instrument, now_us: int) -> dict[str, object]:
    return binance_info.TICKERS["24hr"](venue, instrument, now_us)  # pyright: ignore[reportArgumentType]


def _average(venue: Venue, instrument: Instrument, now_us: int) -> dict[str, object]:
    price = Writer(instrument).price(venue.world.market.price_at(instrument, now_us))
    return {
        "e": "avgPrice", "E": now_us // MS, "s": instrument.native, "i": "5m", "w": price,
        "T": now_us // MS,
    }  # fmt: skip
