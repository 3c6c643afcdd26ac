"""The simulator's own paths: what really happened, what was asked, and what goes wrong.

    GET  /_truth/instruments?exchange=
    GET  /_truth/candles?exchange=&symbol=&interval=&start=&end=[&format=arrow]
    GET  /_truth/trades?exchange=&symbol=&start=&end=[&format=arrow]
    GET  /_truth/funding?exchange=&symbol=&start=&end=[&format=arrow]
    GET  /_truth/session?exchange=      of a recorded session: what is there, what was sent
    GET  /_truth/book?exchange=&symbol=[&sequence=]
    GET  /_truth/injected?exchange=[&symbol=][&kind=]
    GET  /_stats        POST /_stats/reset      GET /_clock
    GET  /_requests     the newest requests for data of every venue, oldest first
    GET  /_faults       POST /_faults           DELETE /_faults[/id]

Symbols are canonical, ccxt or native; intervals the platform's nine; times any ISO or epoch
spelling, `[start, end)`. Faults do not touch the truth, but for `outage`, which is part of it.
Numbers are exact texts in JSON and float64 in Arrow; candles are closed ones only, and those of
minutes without trades are left out unless `empty=1`. The book is the whole one of now, or the one
with a sequence number; `injected` lists what stream faults did, oldest first (`injection.py`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
from aiohttp import web

from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator import candle
from zvt_crypto.simulator.bar import bar_of
from zvt_crypto.simulator.candle import CandleColumns, columns_of
from zvt_crypto.simulator.encode import Column, Ints, Number, Text
from zvt_crypto.simulator.instrument import Instrument
from zvt_crypto.simulator.market import Market
from zvt_crypto.simulator.stats import Stats

if TYPE_CHECKING:
    from zvt_crypto.simulator.venue import Venue
    from zvt_crypto.simulator.world import World

Table = dict[str, Any]
_MOST_ROWS = 5_000_000


async def handle(world: "World", raw: web.BaseRequest, path: str) -> web.Response:
    """Answer a request to one of the simulator's own paths."""
    try:
        return await _route(world, raw, path)
    except (ValueError, KeyError) as error:
        text = f"missing parameter {error}" if isinstance(error, KeyError) else str(error)
        return _json({"error": text}, status=400)


async def _route(world: "World", raw: web.BaseRequest, path: str) -> web.Response:
    query, parts = raw.rel_url.query, path.split("/")[1:]
    if parts[0] == "_truth" and raw.method == "GET":
        return _truth(world, query, parts[1:])
    if parts[0] == "_faults":
        return await _faults(world, raw, parts[1:])
    match raw.method, parts:
        case "GET", ["_stats" | "_requests" as wanted]:
            every = {name: venue.stats for name, venue in world.venues.items()}
            told = Stats.describe if wanted == "_stats" else Stats.requests_asked
            return _json({name: told(stats) for name, stats in every.items()})
        case "POST", ["_stats", "reset"]:
            for venue in world.venues.values():
                venue.stats = venue.stats.renewed()
            return _json({"reset": True})
        case "GET", ["_clock"]:
            return _json(world.clock.describe())
        case _:
            return _unknown(raw)


def _truth(world: "World", query: Mapping[str, str], parts: list[str]) -> web.Response:
    match parts:
        case ["instruments"]:
            return _json([_describe(i) for i in _venue(world, query).instruments])
        case ["session"]:
            return _json(world.sessions.describe(query["exchange"]))
        case ["book"]:
            return _json(_book(world, query))
        case ["injected"]:
            return _json(_injected(world, query))
        case [kind] if kind in _TABLES:
            return _table(_TABLES[kind](world, query), query)
        case _:
            return _json({"error": f"no truth about {parts}; known: {' '.join(_TABLES)}"}, 404)


async def _faults(world: "World", raw: web.BaseRequest, parts: list[str]) -> web.Response:
    match raw.method, parts:
        case "GET", []:
            return _json(world.faults.describe())
        case "POST", []:
            return _json(await _add_faults(world, raw), status=201)
        case "DELETE", []:
            return _json({"removed": world.clear_faults()})
        case "DELETE", [text] if text.isdecimal():
            return _json({"removed": world.faults.remove(int(text))})
        case _:
            return _unknown(raw)


def _unknown(raw: web.BaseRequest) -> web.Response:
    return _json({"error": f"no {raw.method} {raw.path}"}, status=404)


async def _add_faults(world: "World", raw: web.BaseRequest) -> list[dict[str, Any]]:
    try:
        value = msgspec.json.decode(await raw.read())
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    values = value if isinstance(value, list) else [value]
    return [world.add_fault(item).describe() for item in values]


def _venue(world: "World", query: Mapping[str, str]) -> "Venue":
    name = query["exchange"]
    if name not in world.venues:
        raise ValueError(f"no exchange {name!r}; known: {' '.join(world.venues)}")
    return world.venues[name]


def _instrument(world: "World", query: Mapping[str, str]) -> tuple["Venue", Instrument]:
    venue = _venue(world, query)
    instrument = venue.find_symbol(query["symbol"])
    if instrument is None:
        raise ValueError(f"{venue.name} has no {query['symbol']!r}")
    return venue, instrument


def _range(world: "World", instrument: Instrument, query: Mapping[str, str]) -> tuple[int, int]:
    now_us = world.clock.now_us()
    start = to_us(query["start"]) if query.get("start") else instrument.listed_us
    end = to_us(query["end"]) if query.get("end") else now_us
    return max(start, instrument.listed_us - 31 * US_PER_DAY), min(end, now_us)


def _candles(world: "World", query: Mapping[str, str]) -> Table:
    venue, instrument = _instrument(world, query)
    bar = bar_of(Interval.parse(query["interval"]))
    start, end = _range(world, instrument, query)
    files = world.files.get((venue.name, instrument.symbol))
    if files is not None:
        columns = files.candles(bar)
        rows = np.zeros(0, dtype=np.int64) if columns is None else columns.open_us
        mask = (rows >= start) & (rows < end)
        columns = columns or columns_of(candle.EMPTY, instrument, bar)
        return _candle_table(columns, mask)
    first = bar.floor(start) if bar.floor(start) == start else bar.next(bar.floor(start))
    stop = bar.floor(end) if bar.floor(end) == end else bar.next(bar.floor(end))
    if bar.width_us and (stop - first) // bar.width_us > _MOST_ROWS:
        raise ValueError(f"more than {_MOST_ROWS} rows; ask for a shorter range")
    candles = _whole(world.market, instrument, query, first, stop)
    columns = columns_of(candles, instrument, bar)
    kept = columns.close_us <= world.clock.now_us()
    if query.get("empty") != "1":
        kept &= candles.count > 0
    return _candle_table(columns, kept)


def _whole(
    market: Market, instrument: Instrument, query: Mapping[str, str], first: int, stop: int
) -> candle.Candles:
    bar = bar_of(Interval.parse(query["interval"]))
    return market.candles(instrument, bar, first, stop)


def _candle_table(columns: CandleColumns, mask: Any) -> Table:
    names = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "base",
             "quote_volume": "quote", "trade_count": "count", "taker_buy_volume": "buy_base",
             "taker_buy_quote_volume": "buy_quote", "native_volume": "native"}  # fmt: skip
    table: Table = {"open_time_us": columns.open_us[mask]}
    for name, own in names.items():
        table[name] = getattr(columns, own).take(mask)
    return table


def _trades(world: "World", query: Mapping[str, str]) -> Table:
    venue, instrument = _instrument(world, query)
    start, end = _range(world, instrument, query)
    days = range(start // US_PER_DAY, -(-end // US_PER_DAY))
    if (venue.name, instrument.symbol) in world.files:
        days = range(0)
    if len(days) * instrument.trades_per_day > _MOST_ROWS:
        raise ValueError(f"more than {_MOST_ROWS} rows; ask for a shorter range")
    parts: dict[str, list[Ints]] = {
        n: [] for n in ("id", "time_us", "price", "base", "size", "buy")
    }
    for day in days:
        trades = world.market.trades(instrument, day)
        mask = (trades.time_us >= start) & (trades.time_us < end)
        for name, own in parts.items():
            own.append(getattr(trades, name)[mask])
    none = [np.zeros(0, dtype=np.int64)]
    joined = {name: np.concatenate(own or none) for name, own in parts.items()}
    sides = np.where(joined["buy"].astype(np.bool_), b"buy", b"sell")
    return {
        "trade_id": joined["id"],
        "time_us": joined["time_us"],
        "price": Number(joined["price"], instrument.price_decimals),
        "size": Number(joined["base"], instrument.base_decimals),
        "native_size": Number(joined["size"], instrument.size_decimals),
        "side": Text(sides),
    }


def _funding(world: "World", query: Mapping[str, str]) -> Table:
    venue, instrument = _instrument(world, query)
    start, end = _range(world, instrument, query)
    files = world.files.get((venue.name, instrument.symbol))
    if files is not None:
        funding = files.funding or world.market.funding(instrument, 0, 0)
    else:
        count = world.market.funding_count(instrument, end) if instrument.funding_hours else 0
        funding = world.market.funding(instrument, 0, count)
    mask = (funding.time_us >= start) & (funding.time_us < end)
    return {
        "funding_time_us": funding.time_us[mask],
        "funding_rate": Number(funding.rate[mask], 8),
    }


def _book(world: "World", query: Mapping[str, str]) -> dict[str, Any]:
    venue, instrument = _instrument(world, query)
    step_us = venue.book_step_us(instrument)
    if "sequence" in query:
        book = venue.books.of_sequence(instrument, int(query["sequence"]), step_us)
    else:
        book = venue.books.at(instrument, world.clock.now_us(), step_us)

    def texts(side: Mapping[int, int]) -> list[list[str]]:
        prices = Number(np.array(list(side), dtype=np.int64), instrument.price_decimals)
        sizes = Number(np.array(list(side.values()), dtype=np.int64), instrument.size_decimals)
        return [list(level) for level in zip(prices.texts(), sizes.texts(), strict=True)]

    return {
        "exchange": venue.name,
        "symbol": instrument.symbol,
        "sequence": book.sequence,
        "time_us": book.time_us,
        "bids": texts(book.bids),
        "asks": texts(book.asks),
    }


def _injected(world: "World", query: Mapping[str, str]) -> list[dict[str, Any]]:
    venue = _venue(world, query)
    symbol = None
    if query.get("symbol"):
        symbol = _instrument(world, query)[1].symbol
    return world.injections(venue.name).describe(symbol=symbol, kind=query.get("kind"))


_TABLES = {"candles": _candles, "trades": _trades, "funding": _funding}


def _describe(instrument: Instrument) -> dict[str, Any]:
    return {
        "exchange": instrument.exchange,
        "symbol": instrument.symbol,
        "native": instrument.native,
        "kind": instrument.kind.value,
        "base": instrument.base,
        "quote": instrument.quote,
        "settle": instrument.settle,
        "price_step": f"{instrument.price_step:f}",
        "size_step": f"{instrument.size_step:f}",
        "contract": f"{instrument.contract:f}",
        "listed_us": instrument.listed_us,
        "funding_hours": instrument.funding_hours,
        "trades_per_day": instrument.trades_per_day,
    }


def _table(table: Table, query: Mapping[str, str]) -> web.Response:
    if query.get("format") == "arrow":
        return _arrow(table)
    columns = {name: _json_values(column) for name, column in table.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _json(rows)


def _json_values(column: Column | Ints) -> list[Any]:
    if isinstance(column, Number | Text):
        return list(column.texts())
    return column.tolist()


def _arrow(table: Table) -> web.Response:
    arrays = {name: _arrow_values(column) for name, column in table.items()}
    sink = pa.BufferOutputStream()
    arrow = pa.table(arrays)
    with pa.ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    body = sink.getvalue().to_pybytes()
    return web.Response(body=body, content_type="application/vnd.apache.arrow.stream")


def _arrow_values(column: Column | Ints) -> Any:
    if isinstance(column, Number):
        return pa.array(column.values / 10.0**column.decimals)
    if isinstance(column, Text):
        texts = column.texts()
        try:
            return pa.array([float(text) for text in texts])
        except ValueError:
            return pa.array(texts)
    return pa.array(column)


def _json(value: Any, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")
