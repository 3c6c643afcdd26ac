"""Bybit's rows as text: trades of the API and of the archives, candles, funding.

The trade ids of contracts are UUIDs, those of spot numbers; archives repeat the UUIDs, but count
spot trades from 1 every day.
"""

from typing import Final

import numpy as np

from zvt_crypto.simulator import noise
from zvt_crypto.simulator.book import BOOK_SEQUENCES, SEQUENCES
from zvt_crypto.simulator.candle import CandleColumns
from zvt_crypto.simulator.encode import Column, Field, Ints, Number, Text, encode_rows
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Trades
from zvt_crypto.simulator.venue import Encoded, reverse_trades

MS: Final = 1_000
_SPOT_ID_BASE: Final = 2_290_000_000_000_000_000
_RPI_EVERY: Final = 37  # one trade in so many is against a retail price improvement order
_HEX: Final = np.array([list(b"%02x" % n) for n in range(256)], dtype=np.uint8)
_UUID_PARTS: Final = ((0, 0, 8), (9, 8, 12), (14, 12, 16), (19, 16, 20), (24, 20, 32))
_UUID_LENGTH: Final = 36
_GROSS_DECIMALS: Final = 8  # grossValue counts 1e-8 of the settlement coin

CONTRACT_HEADER: Final = (
    b"timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
    b"foreignNotional"
)
SPOT_HEADER: Final = b"id,timestamp,price,volume,side"


def encode_candles(instrument: Instrument, candles: CandleColumns) -> Encoded:
    """Write rows of seven strings, newest first; an inverse contract counts volume in dollars."""
    rows = candles.reversed()
    turnover = rows.base if instrument.kind is Kind.INVERSE else rows.quote
    columns: list[Column] = [rows.open, rows.high, rows.low, rows.close, rows.native, turnover]
    fields: list[Field] = [b'["', Number(rows.open_us // MS)]
    for column in columns:
        fields += [b'","', column.trimmed()]
    return encode_rows([*fields, b'"],'], len(rows))


def encode_trades(instrument: Instrument, trades: Trades, seed: int, step_us: int) -> Encoded:
    """Write rows of `recent-trade`, newest first; `step_us` is how often the book changes."""
    ids, rows = reverse_trades(trades)
    fields: list[Field] = [
        b'{"execId":"', trade_ids(instrument, ids, seed),
        f'","symbol":"{instrument.native}","price":"'.encode(),
        Number(rows.price, instrument.price_decimals),
        b'","size":"', Number(rows.size, instrument.size_decimals, trim=True),
        b'","side":"', _sides(rows, b"Buy", b"Sell"),
        b'","time":"', Number(rows.time_us // MS),
        b'","isBlockTrade":false,"isRPITrade":', Text(np.where(is_rpi(ids), b"true", b"false")),
        b',"seq":"', Number(sequences(rows.time_us, step_us)), b'"},',
    ]  # fmt: skip
    return encode_rows(fields, len(rows))


def encode_contract_archive(
    instrument: Instrument, trades: Trades, seed: int, *, rpi: bool
) -> Encoded:
    """Write lines of a contract's archive, ascending; times are seconds with a fraction."""
    fields: list[Field] = [
        Number(trades.time_us // 100, 4, trim=True),
        f",{instrument.native},".encode(), _sides(trades, b"Buy", b"Sell"),
        b",", Number(trades.size, instrument.size_decimals, trim=True),
        b",", Number(trades.price, instrument.price_decimals, trim=True),
        b",", tick_directions(trades.price), b",", trade_ids(instrument, trades.id, seed),
        b",", _gross(instrument, trades),
        b",", Number(trades.base, instrument.base_decimals, trim=True),
        b",", Number(trades.quote, instrument.quote_decimals, trim=True),
    ]  # fmt: skip
    return encode_rows([*fields, *_rpi_column(trades, rpi=rpi), b"\n"], len(trades))


def encode_spot_archive(instrument: Instrument, trades: Trades, *, rpi: bool) -> Encoded:
    """Write lines of a spot archive, ascending; times are milliseconds, ids start at 1."""
    fields: list[Field] = [
        Number(np.arange(1, len(trades) + 1, dtype=np.int64)),
        b",", Number(trades.time_us // MS),
        b",", Number(trades.price, instrument.price_decimals, trim=True),
        b",", Number(trades.size, instrument.size_decimals, trim=True),
        b",", _sides(trades, b"buy", b"sell"),
    ]  # fmt: skip
    return encode_rows([*fields, *_rpi_column(trades, rpi=rpi), b"\n"], len(trades))


def trade_ids(instrument: Instrument, ids: Ints, seed: int) -> Column:
    """Return the ids Bybit gives trades: numbers on spot, UUIDs on contracts."""
    if instrument.kind is Kind.SPOT:
        return Number(_SPOT_ID_BASE + ids)
    key = noise.make_key(seed, "execId", instrument.symbol)
    words = [noise.uniform(key, ids * 4 + lane) * 2.0**32 for lane in range(4)]
    raw = np.stack(words, axis=1).astype(np.uint32).view(np.uint8).reshape(len(ids), 16)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x50  # version 5
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = _HEX[raw].reshape(len(ids), 32)
    text = np.full((len(ids), _UUID_LENGTH), ord("-"), dtype=np.uint8)
    for at, first, stop in _UUID_PARTS:
        text[:, at : at + stop - first] = digits[:, first:stop]
    return Text(text.reshape(-1).view(f"S{_UUID_LENGTH}"))


def is_rpi(ids: Ints) -> Ints:
    """Return which trades were against a retail price improvement order."""
    return (ids % _RPI_EVERY == 0).astype(np.int64)


def _rpi_column(trades: Trades, *, rpi: bool) -> list[Field]:
    return [b",", Number(is_rpi(trades.id))] if rpi else []


def _sides(trades: Trades, buy: bytes, sell: bytes) -> Text:
    return Text(np.where(trades.buy, buy, sell))


def sequences(time_us: Ints, step_us: int) -> Ints:
    """Return cross sequences, which all trades of one order share.

    They are of one scale with the books': greater than that of the book before the trade, smaller
    than that of the first book with it.
    """
    step, rest = np.divmod(time_us - 1, step_us)
    return step * SEQUENCES + BOOK_SEQUENCES + rest * (SEQUENCES - BOOK_SEQUENCES) // step_us


def _gross(instrument: Instrument, trades: Trades) -> Number:
    inverse = instrument.kind is Kind.INVERSE
    values = trades.base if inverse else trades.quote
    decimals = instrument.base_decimals if inverse else instrument.quote_decimals
    if decimals <= _GROSS_DECIMALS:
        return Number(values * 10 ** (_GROSS_DECIMALS - decimals))
    return Number(values, decimals - _GROSS_DECIMALS, trim=True)


def tick_directions(prices: Ints) -> Text:
    """Return how each price moved against the one before, and where it did not, the last move."""
    moves = np.sign(np.diff(prices, prepend=prices[:1] - 1))
    places = np.where(moves != 0, np.arange(len(moves)), 0)
    last = moves[np.maximum.accumulate(places)]
    words = np.where(last > 0, b"PlusTick", b"MinusTick")
    zeros = np.where(last > 0, b"ZeroPlusTick", b"ZeroMinusTick")
    return Text(np.where(moves == 0, zeros, words))
