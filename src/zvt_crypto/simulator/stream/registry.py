"""The venues with sockets. A new one is one line here; the package says how to write it."""

from typing import Final

from zvt_crypto.simulator.stream.binance import BinanceStream
from zvt_crypto.simulator.stream.bybit import BybitStream
from zvt_crypto.simulator.stream.coinbase import CoinbaseStream
from zvt_crypto.simulator.stream.okx import OkxStream
from zvt_crypto.simulator.stream.protocol import StreamVenue

STREAMS: Final[tuple[type[StreamVenue], ...]] = (
    BinanceStream,
    BybitStream,
    CoinbaseStream,
    OkxStream,
)
