"""Arrow schemas, one per kind. The order of fields is the order of columns everywhere.

Times are `timestamp[us, UTC]`; amounts are float64 in base or quote units; null means the exchange
does not say. `timestamp` is the candle's open, the trade's time on the exchange, or the time of
the reading. Within a series rows are unique by `KEYS` and sorted by them.
"""

from typing import Final

import pyarrow as pa

from zvt_crypto.core.series import Kind

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

CANDLES: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("open", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64(), nullable=False),
        pa.field("quote_volume", pa.float64()),
        pa.field("trade_count", pa.int64()),
        pa.field("taker_buy_volume", pa.float64()),
    ]
)

TRADES: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("trade_id", pa.string(), nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("size", pa.float64(), nullable=False),
        # The taker's side: buy, sell or unknown.
        pa.field("side", pa.string(), nullable=False),
        # How many fills of the exchange one row folds together (Binance aggTrades, OKX count).
        pa.field("fills", pa.int64()),
    ]
)

FUNDING: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("funding_rate", pa.float64(), nullable=False),
        pa.field("interval_hours", pa.float64()),
        pa.field("mark_price", pa.float64()),
    ]
)

QUOTES: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("bid_price", pa.float64()),
        pa.field("bid_size", pa.float64()),
        pa.field("ask_price", pa.float64()),
        pa.field("ask_size", pa.float64()),
        # The exchange's number of the update, which tells quotes of one moment apart; 0 where it
        # gives none, and in rows stored before there was this column.
        pa.field("sequence", pa.int64(), nullable=False),
    ]
)

MARK_PRICE: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("mark_price", pa.float64(), nullable=False),
        pa.field("index_price", pa.float64()),
        pa.field("predicted_rate", pa.float64()),
        pa.field("next_funding_time", TIMESTAMP),
    ]
)

OPEN_INTEREST: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("open_interest", pa.float64(), nullable=False),
    ]
)

LIQUIDATIONS: Final = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP, nullable=False),
        # Ours, as exchanges give none: see `core.tabulate.liquidation_ids`.
        pa.field("liquidation_id", pa.string(), nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("size", pa.float64(), nullable=False),
        # Of the order that closed the position: sell when a long was liquidated.
        pa.field("side", pa.string(), nullable=False),
    ]
)

LEVELS: Final = pa.list_(pa.float64())
"""One side's prices, or sizes, of one message; no element is null."""

_SIDES: Final = [
    pa.field(name, LEVELS, nullable=False)
    for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
]
# The exchange's number after the message; 0 where it has none. Time and number alone may repeat:
# numbers start anew in the millisecond they ran in (Bybit), go back (OKX), are those of a whole
# envelope (Coinbase), or are lacking. So who stores books gives a message that does not come after
# the one before it by (time, number) a time a microsecond later: a key is never used twice, and
# the order of keys is the order in which the book changed, over both kinds. See
# `services.stream.keeping`.
_NUMBERED: Final = [
    pa.field("timestamp", TIMESTAMP, nullable=False),
    pa.field("sequence", pa.int64(), nullable=False),
]

BOOK_SNAPSHOTS: Final = pa.schema([*_NUMBERED, *_SIDES])
"""Whole books, best first: the book after the message of this time and number."""

BOOK_DELTAS: Final = pa.schema(
    [
        *_NUMBERED,
        # Sizes are absolute, zero removes the price.
        *_SIDES,
        # The number the book stood at before; null where the exchange counts nothing.
        pa.field("prev_sequence", pa.int64()),
        # The first number the message covers, where one covers several (Binance).
        pa.field("first_sequence", pa.int64()),
    ]
)

SCHEMAS: Final[dict[Kind, pa.Schema]] = {
    Kind.CANDLES: CANDLES,
    Kind.TRADES: TRADES,
    Kind.FUNDING: FUNDING,
    Kind.QUOTES: QUOTES,
    Kind.MARK_PRICE: MARK_PRICE,
    Kind.OPEN_INTEREST: OPEN_INTEREST,
    Kind.LIQUIDATIONS: LIQUIDATIONS,
    Kind.BOOK_SNAPSHOTS: BOOK_SNAPSHOTS,
    Kind.BOOK_DELTAS: BOOK_DELTAS,
}

KEYS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.CANDLES: ("timestamp",),
    Kind.TRADES: ("timestamp", "trade_id"),
    Kind.FUNDING: ("timestamp",),
    Kind.QUOTES: ("timestamp", "sequence"),
    Kind.MARK_PRICE: ("timestamp",),
    Kind.OPEN_INTEREST: ("timestamp",),
    Kind.LIQUIDATIONS: ("timestamp", "liquidation_id"),
    Kind.BOOK_SNAPSHOTS: ("timestamp", "sequence"),
    Kind.BOOK_DELTAS: ("timestamp", "sequence"),
}

_WEIGHTS: Final = {Kind.BOOK_DELTAS: 16, Kind.BOOK_SNAPSHOTS: 500}
"""How many candles a row weighs, measured: some 40 levels of changes, a thousand a side whole."""

LATECOMERS: Final[dict[Kind, tuple[str, ...]]] = {Kind.QUOTES: ("sequence",)}
"""Columns that rows stored by earlier versions lack: whole numbers, 0 in those rows.

They come last in their schema, and `core.digest` counts a 0 in them as nothing, so that what is
known of the old rows stays true.
"""

KNOWN: Final = pa.field("known_us", pa.int64())
"""When a store learned the values of a row: kept beside every row, never shown."""

QUARANTINE: Final = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("interval", pa.string()),
        pa.field("timestamp", TIMESTAMP),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),
        pa.field("written", TIMESTAMP, nullable=False),
    ]
)
"""Rows refused, with the reason."""

CORRECTIONS: Final = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("interval", pa.string()),
        pa.field("timestamp", TIMESTAMP, nullable=False),
        # The rest of the row's key (a trade's id), where the kind has one.
        pa.field("key", pa.string()),
        # The columns beside the key, as JSON objects.
        pa.field("old", pa.string(), nullable=False),
        pa.field("new", pa.string(), nullable=False),
        pa.field("corrected", TIMESTAMP, nullable=False),
    ]
)
"""Rows replaced by other values."""

RECONCILIATIONS: Final = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("timestamp", TIMESTAMP, nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        # Names of columns that do not agree, with commas between them.
        pa.field("differs", pa.string()),
        # What our trades make and what the exchange says, as JSON objects. Not kept of a match:
        # both are the stored candle.
        pa.field("built", pa.string()),
        pa.field("venue", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("written", TIMESTAMP, nullable=False),
    ]
)
"""What the comparison of candles with trades came to, the latest verdict of each bar."""


def weight(kind: Kind) -> int:
    """Return how many ordinary rows a row of a kind weighs: bounds on rows are divided by it."""
    return _WEIGHTS.get(kind, 1)


def empty_table(kind: Kind) -> pa.Table:
    """Return a table of `kind` without rows."""
    return SCHEMAS[kind].empty_table()
