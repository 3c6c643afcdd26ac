"""What a streaming process does once before data comes, so that no first time falls into it."""

import gc

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.record import Candle, Quote, Side, Trade
from zvt_crypto.core.series import Kind
from zvt_crypto.core.tabulate import to_table

# Messages of books are containers, a thousand of them in one: the default of 700 new objects would
# look for garbage at every one. There is none to find: nothing on the way refers back.
_YOUNG, _MIDDLE, _OLD = 50_000, 20, 100


def warm_up() -> None:
    """Make columns once, then exempt what lives so far from the collector, and call that seldom.

    Changes the collector of the whole process, so it is for commands, not for libraries.
    """
    trade = Trade("warm", "UP", 1, 1, 1, 1.0, 1.0, Side.BUY, 1)
    quote = Quote("warm", "UP", 1, 1, 1.0, 1.0, 1.0, 1.0, 1)
    candle = Candle("warm", "UP", Interval.M1, 0, 1, 1.0, 1.0, 1.0, 1.0, 1.0)
    for kind, record in ((Kind.TRADES, trade), (Kind.QUOTES, quote), (Kind.CANDLES, candle)):
        table = pa.concat_tables([to_table(kind, [record])] * 2)
        pl.DataFrame(table).sort("timestamp")
    pa.array(np.zeros(1))
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
