"""The simulated venues. A new one is one line here; `venue.py` says how to write it."""

from typing import Final

from zvt_crypto.simulator.binance import BinanceVenue
from zvt_crypto.simulator.bybit import BybitVenue
from zvt_crypto.simulator.coinbase import CoinbaseVenue
from zvt_crypto.simulator.okx import OkxVenue
from zvt_crypto.simulator.venue import Venue

VENUES: Final[tuple[type[Venue], ...]] = (BinanceVenue, BybitVenue, CoinbaseVenue, OkxVenue)
