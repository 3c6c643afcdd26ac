"""Binance's rows, written: candles, trades, aggregate trades, funding."""

from typing import Final

import numpy as np

from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import (
    Column,
    Field,
    Ints,
    Number,
    Text,
    decimal_text,
    encode_rows,
    encode_values,
)
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Funding, Trades
from zvt_crypto.simulator.serving import order_ends, order_starts
from zvt_crypto.simulator.venue import Encoded

MS: Final = 1_000
_SPOT_DECIMALS: Final = 8  # spot writes eight digits whatever the tick; perpetuals the tick's
_RATE_DECIMALS: Final = 8
_MARK_PRICE_SINCE_US: Final = 1_698_710_400_000_000  # older funding rows have no mark price


def encode_candles(instrument: Instrument, candles: CandleColumns) -> Encoded:
    """Write rows of twelve columns, prices and volumes as strings."""
    spot = instrument.kind is Kind.SPOT

    def written(column: Column) -> Column:
        return column.fixed(_SPOT_DECIMALS) if spot else column

    fields: list[Field] = [b"[", Number(candles.open_us // MS), b',"']
    for column in (candles.open, candles.high, candles.low, candles.close):
        fields += [written(column), b'","']
    fields += [written(candles.base), b'",', Number(candles.close_us // MS - 1), b',"']
    fields += [written(candles.quote), b'",', candles.count, b',"']
    fields += [written(candles.buy_base), b'","', written(candles.buy_quote), b'","0"],']
    return encode_rows(fields, len(candles))


def encode_trades(instrument: Instrument, trades: Trades) -> Encoded:
    """Write single trades."""
    spot = instrument.kind is Kind.SPOT
    price, size = trade_numbers(instrument, trades)
    quote = Number(trades.quote, instrument.quote_decimals)
    fields: list[Field] = [b'{"id":', Number(trades.id), b',"price":"', price, b'","qty":"', size]
    fields += [b'","quoteQty":"', quote.fixed(_SPOT_DECIMALS) if spot else quote]
    fields += [b'","time":', Number(trades.time_us // MS), b',"isBuyerMaker":', maker(trades)]
    fields.append(b',"isBestMatch":true},' if spot else b',"isRPITrade":false},')
    return encode_rows(fields, len(trades))


def encode_orders(instrument: Instrument, trades: Trades) -> Encoded:
    """Write aggregate trades: one per taker order, with the ids of the trades in it."""
    starts = order_starts(len(trades))
    if not len(starts):
        return encode_rows([], 0)
    ids, price, size, last = merge_orders(instrument, trades)
    fields: list[Field] = [b'{"a":', ids, b',"p":"', price, b'","q":"', size]
    fields += [b'","f":', Number(trades.first_id + starts), b',"l":', last]
    fields += [b',"T":', Number(trades.time_us[starts] // MS), b',"m":', maker(trades).take(starts)]
    fields.append(b',"M":true},' if instrument.kind is Kind.SPOT else b"},")
    return encode_rows(fields, len(starts))


def merge_orders(instrument: Instrument, trades: Trades) -> tuple[Number, Number, Number, Number]:
    """Return id, price, summed size and last trade id of every order of a day's trades."""
    starts, ends = order_starts(len(trades)), order_ends(len(trades))
    price, size = trade_numbers(instrument, trades)
    first = (trades.first_id - 1) * len(starts) // len(trades) + 1
    ids = Number(np.arange(first, first + len(starts), dtype=np.int64))
    sums = Number(np.add.reduceat(size.values, starts), size.decimals)
    return ids, price.take(starts), sums, Number(trades.first_id + ends)


def trade_numbers(instrument: Instrument, trades: Trades) -> tuple[Number, Number]:
    """Return prices and sizes with the digits Binance writes."""
    price = Number(trades.price, instrument.price_decimals)
    size = Number(trades.size, instrument.size_decimals)
    if instrument.kind is Kind.SPOT:
        return price.fixed(_SPOT_DECIMALS), size.fixed(_SPOT_DECIMALS)
    return price, size


def maker(trades: Trades) -> Text:
    """Return `isBuyerMaker`: true where the taker sold."""
    return Text(np.where(trades.buy, b"false", b"true"))


def encode_funding(instrument: Instrument, funding: Funding, times_us: Ints) -> Encoded:
    """Write settled rates; old rows have an empty mark price."""
    rows = zip(times_us.tolist(), funding.rate.tolist(), funding.price.tolist(), strict=True)
    return encode_values(
        [
            {
                "symbol": instrument.native,
                "fundingTime": time_us // MS,
                "fundingRate": decimal_text(rate, _RATE_DECIMALS, trim=False),
                "markPrice": _mark_price(instrument, time_us, price),
            }
            for time_us, rate, price in rows
        ]
    )


def _mark_price(instrument: Instrument, time_us: int, price: int) -> str:
    if time_us < _MARK_PRICE_SINCE_US or not price:
        return ""
    return decimal_text(price, instrument.price_decimals, trim=False)
