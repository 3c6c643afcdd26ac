"""Records of a stream as tables of `core.schema`, column by column.

No row becomes a Python object of its own: 2,000 trades take well under a millisecond.
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.record import (
    Book,
    Candle,
    Level,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Trade,
)
from zvt_crypto.core.rows import pc
from zvt_crypto.core.schema import LEVELS, SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind

Storable = Trade | Quote | Book | Candle | MarkPrice | OpenInterest | Liquidation
"""Records that are rows of a kind."""

_SIDES: Final = pa.array([side.value for side in Side])
# Every column walks over all records: so many of them stay in the processor's cache meanwhile.
_PIECE: Final = 2_048
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL


def to_table(kind: Kind, records: Sequence[Any]) -> pa.Table:
    """Return records of one kind as rows of its schema, in the order given.

    Args:
        kind: one that has a table.
        records: the `Storable` of that kind, one instrument's; of candles, one interval's.

    Raises:
        ValueError: there is no table of `kind` that records make.
    """
    make = _COLUMNS.get(kind)
    if make is None:
        raise ValueError(f"records of {kind} are not rows of a table")
    schema = SCHEMAS[kind]
    if not records:
        return schema.empty_table()
    if len(records) <= _PIECE or kind is Kind.LIQUIDATIONS:  # whose ids are counted over all
        return pa.Table.from_arrays(make(records), schema=schema)
    pieces = [
        pa.Table.from_arrays(make(records[at : at + _PIECE]), schema=schema)
        for at in range(0, len(records), _PIECE)
    ]
    return pa.concat_tables(pieces).combine_chunks()


def liquidation_ids(
    times: Sequence[int], sides: Sequence[str], prices: Sequence[float], sizes: Sequence[float]
) -> list[str]:
    """Return what tells liquidations of one moment apart: side, price, size and a number.

    Exchanges give them no id. Of equal ones at one time the number counts on from 0, so those
    that come together stay apart, and one that is delivered again is the same row.
    """
    seen: dict[tuple[int, str], int] = {}
    ids: list[str] = []
    for time, side, price, size in zip(times, sides, prices, sizes, strict=True):
        text = f"{side}-{price!r}-{size!r}"
        number = seen.get((time, text), 0)
        seen[time, text] = number + 1
        ids.append(f"{text}-{number}")
    return ids


def _trades(records: Sequence[Trade]) -> list[pa.Array]:
    return [
        _moments([one.ts_event for one in records]),
        _ids([one.trade_id for one in records]),
        _floats([one.price for one in records]),
        _floats([one.size for one in records]),
        _sides([one.side for one in records]),
        pa.array([one.fills for one in records], pa.int64()),
    ]


def _quotes(records: Sequence[Quote]) -> list[pa.Array]:
    names = ("bid_price", "bid_size", "ask_price", "ask_size")
    return [
        _moments([one.ts_event for one in records]),
        *(pa.array(list(map(attrgetter(name), records)), pa.float64()) for name in names),
        pa.array([one.sequence or 0 for one in records], pa.int64()),
    ]


def _candles(records: Sequence[Candle]) -> list[pa.Array]:
    schema = SCHEMAS[Kind.CANDLES]
    return [
        _moments([one.ts_event for one in records]),
        *(
            pa.array(list(map(attrgetter(field.name), records)), field.type)
            for field in list(schema)[1:]
        ),
    ]


def _mark_prices(records: Sequence[MarkPrice]) -> list[pa.Array]:
    return [
        _moments([one.ts_event for one in records]),
        _floats([one.mark_price for one in records]),
        pa.array([one.index_price for one in records], pa.float64()),
        pa.array([one.predicted_rate for one in records], pa.float64()),
        pa.array([one.next_funding_time for one in records], pa.int64()).cast(TIMESTAMP),
    ]


def _open_interests(records: Sequence[OpenInterest]) -> list[pa.Array]:
    return [
        _moments([one.ts_event for one in records]),
        _floats([one.open_interest for one in records]),
    ]


def _liquidations(records: Sequence[Liquidation]) -> list[pa.Array]:
    times = [one.ts_event for one in records]
    sides = [one.side.value for one in records]
    prices = [one.price for one in records]
    sizes = [one.size for one in records]
    return [
        _moments(times),
        pa.array(liquidation_ids(times, sides, prices, sizes)),
        _floats(prices),
        _floats(sizes),
        pa.array(sides),
    ]


def _snapshots(records: Sequence[Book]) -> list[pa.Array]:
    sides = ([one.bids for one in records], [one.asks for one in records])
    return [
        _moments([one.ts_event for one in records]),
        pa.array([one.sequence or 0 for one in records], pa.int64()),
        *(column for side in sides for column in _levels(side)),
    ]


def _deltas(records: Sequence[Book]) -> list[pa.Array]:
    return [
        *_snapshots(records),
        pa.array([one.prev_sequence for one in records], pa.int64()),
        pa.array([one.first_sequence for one in records], pa.int64()),
    ]


_COLUMNS: Final[dict[Kind, Callable[[Sequence[Any]], list[pa.Array]]]] = {
    Kind.TRADES: _trades,
    Kind.QUOTES: _quotes,
    Kind.CANDLES: _candles,
    Kind.MARK_PRICE: _mark_prices,
    Kind.OPEN_INTEREST: _open_interests,
    Kind.LIQUIDATIONS: _liquidations,
    Kind.BOOK_SNAPSHOTS: _snapshots,
    Kind.BOOK_DELTAS: _deltas,
}


def _moments(times: Sequence[int]) -> pa.Array:
    return pa.Array.from_buffers(TIMESTAMP, len(times), [None, pa.py_buffer(array("q", times))])


def _floats(values: Sequence[float]) -> pa.Array:
    # Python's own arrays take a list in half the time that numpy and Arrow need.
    return pa.Array.from_buffers(
        pa.float64(), len(values), [None, pa.py_buffer(array("d", values))]
    )


def _levels(sides: Sequence[Sequence[Level]]) -> tuple[pa.Array, pa.Array]:
    """Return prices and sizes of one side of each message."""
    offsets = array("i", [0, *accumulate(map(len, sides))])
    flat = array("d", chain.from_iterable(chain.from_iterable(sides)))
    pairs = np.frombuffer(flat, dtype=np.float64).reshape(-1, 2)
    body = pa.py_buffer(offsets)

    def column(values: npt.NDArray[np.float64]) -> pa.Array:
        elements = pa.array(np.ascontiguousarray(values))
        return pa.Array.from_buffers(LEVELS, len(sides), [None, body], children=[elements])

    return column(pairs[:, 0]), column(pairs[:, 1])


def _ids(ids: Sequence[int | str]) -> pa.Array:
    """Return ids as text; numbers are turned into it all at once."""
    if isinstance(ids[0], int):
        try:
            body = pa.py_buffer(array("q", cast("Sequence[int]", ids)))
        except (TypeError, OverflowError):
            pass  # texts among them, or beyond 64 bits
        else:
            numbers = pa.Array.from_buffers(pa.int64(), len(ids), [None, body])
            return pc.cast(numbers, pa.string())
    return pa.array([str(one) for one in ids], pa.string())


def _sides(sides: Sequence[Side]) -> pa.Array:
    # By identity: comparing or hashing members of an enum costs ten times as much.
    codes = [0 if side is _BUY else 1 if side is _SELL else 2 for side in sides]
    body = pa.py_buffer(bytes(codes))
    return _SIDES.take(pa.Array.from_buffers(pa.int8(), len(sides), [None, body]))
