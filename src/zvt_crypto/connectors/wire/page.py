"""A page as columns, and how it becomes the port's answer: sorted, unique, cut to the question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.connectors.wire.number import Ints
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import SCHEMAS
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import int_to_us, ints_to_us
from zvt_crypto.core.validation import Reason
from zvt_crypto.ports.connector import Fetched, Rejected

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises for bytes that are not the JSON asked for."""

_RAW_CUT: Final = 500

# Asking a schema for its fields makes them anew each time.
_FIELDS: Final = {kind: tuple(schema) for kind, schema in SCHEMAS.items()}


@dataclass(slots=True)
class Page:
    """Columns of one page, all of one length, in the exchange's order.

    Numbers are float64 arrays (NaN where a nullable one is absent), whole numbers may be int64,
    texts are lists. `rejected` are the rows that could not be read.
    """

    columns: dict[str, Any]
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    precision_loss: int = 0


def candle_page(
    page: Page,
    interval: Interval,
    window: Range,
    *,
    now_us: int,
    requests: int = 1,
    body_bytes: int = 0,
) -> Fetched:
    """Return the closed candles of `window`, sorted, the last of equal opens kept.

    Times may be in any unit. Rows outside the window are another question's answer and left out;
    the running candle is left out too, and `asked` then ends where it opens.

    Args:
        page: columns named as in `core.schema.CANDLES`; absent nullable ones become null.
        interval: width of the candles.
        window: what was asked for, in microseconds.
        now_us: the exchange's clock.
        requests: round trips behind the page.
        body_bytes: what they carried.
    """
    width = interval.width_us
    running = interval.floor(now_us) if width is None else now_us - width + 1
    times = _times(page)
    order = _key_order(times)
    table = _table(
        Kind.CANDLES, page.columns, times, order, Range(window.start, min(window.end, running))
    )
    asked = Range(window.start, max(window.start, min(window.end, interval.floor(now_us))))
    page.rejected.extend(_strays(times, window))
    return _fetched(asked, table, page, requests, body_bytes)


def trade_page(page: Page, window: Range, *, requests: int = 1, body_bytes: int = 0) -> Fetched:
    """Return the trades of `window`, sorted by time then id, unique by both.

    Args:
        page: columns named as in `core.schema.TRADES`; `trade_id` as int (sorted as numbers) or
            str, `side` as texts, times in any unit.
        window: what was asked for, in microseconds.
        requests: round trips behind the page.
        body_bytes: what they carried.
    """
    times = _times(page)
    ids = page.columns["trade_id"]
    if len(ids) == 0 or not isinstance(ids[0], str):
        ids = np.asarray(ids, np.int64)
    columns = {**page.columns, "trade_id": pa.array(ids).cast(pa.string())}
    order = _key_order(times, np.asarray(ids))
    table = _table(Kind.TRADES, columns, times, order, window)
    return _fetched(window, table, page, requests, body_bytes)


def funding_page(page: Page, window: Range, *, requests: int = 1, body_bytes: int = 0) -> Fetched:
    """Return the settled funding of `window`, sorted, the last of equal times kept.

    Args:
        page: columns named as in `core.schema.FUNDING`; absent nullable ones become null.
        window: what was asked for, in microseconds.
        requests: round trips behind the page.
        body_bytes: what they carried.
    """
    times = _times(page)
    table = _table(Kind.FUNDING, page.columns, times, _key_order(times), window)
    return _fetched(window, table, page, requests, body_bytes)


def _strays(times: Ints, window: Range) -> list[Rejected]:
    """Return one note of the rows nobody asked for: the page may answer another question."""
    strays = times[(times < window.start) | (times >= window.end)]
    if not len(strays):
        return []
    first, last = int(strays.min()), int(strays.max())
    raw = f"{len(strays)} candles from {first} to {last}, asked for {window.start}..{window.end}"
    return [Rejected(first, Reason.OUTSIDE_WINDOW, raw)]


def _times(page: Page) -> Ints:
    return ints_to_us(np.asarray(page.columns["timestamp"]).astype(np.int64))


def _key_order(times: Ints, ids: npt.NDArray[Any] | None = None) -> npt.NDArray[np.intp] | None:
    """Return the rows to keep, sorted by key, the last of equals kept; None: all as they are."""
    if ids is None:
        if bool((times[1:] > times[:-1]).all()):
            return None
        order = np.argsort(times, kind="stable")
        keys = times[order]
        last = np.append(keys[1:] != keys[:-1], True)
        return order[last]
    step = times[1:] - times[:-1]
    if bool(((step > 0) | ((step == 0) & (ids[1:] > ids[:-1]))).all()):
        return None
    order = np.lexsort((ids, times))
    first, second = times[order], ids[order]
    last = np.append((first[1:] != first[:-1]) | (second[1:] != second[:-1]), True)
    return order[last]


def _table(
    kind: Kind,
    columns: Mapping[str, Any],
    times: Ints,
    order: npt.NDArray[np.intp] | None,
    window: Range,
) -> pa.Table:
    if order is not None:
        times = times[order]
    low, high = np.searchsorted(times, [window.start, max(window.start, window.end)]).tolist()
    is_whole = (low, high) == (0, len(times))
    arrays: list[pa.Array] = []
    for column in _FIELDS[kind]:
        values = times if column.name == "timestamp" else columns.get(column.name)
        if values is None:
            arrays.append(pa.nulls(high - low, column.type))
            continue
        array = _array(values, column)
        if order is not None and column.name != "timestamp":
            array = array.take(pa.array(order))
        arrays.append(array if is_whole else array[low:high])
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[kind])


def _array(values: Any, column: pa.Field) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if not isinstance(values, np.ndarray) or values.dtype not in (np.float64, np.int64):
        return pa.array(values, column.type)
    if values.dtype == np.float64:
        if column.nullable and np.isnan(values).any():
            return pa.array(values, from_pandas=True).cast(column.type)
        if column.type == pa.int64():
            values = values.astype(np.int64)
    elif column.type == pa.float64():
        values = values.astype(np.float64)
    # Several times faster than pa.array, which looks at every value first.
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(column.type, len(values), [None, buffer])


def _fetched(asked: Range, table: pa.Table, page: Page, requests: int, body_bytes: int) -> Fetched:
    return Fetched(
        asked=asked,
        table=table,
        rejected=tuple(page.rejected),
        requests=requests,
        body_bytes=body_bytes,
        precision_loss=page.precision_loss,
    )


def reject(raw: bytes, reason: str, first: Sequence[bytes] = ()) -> Rejected:
    """Return a refused row; its time is told by `first`, its leading cell, if it holds one."""
    moment = None
    if first:
        digits = first[0].strip(b'"')
        if digits.isdigit():
            moment = int_to_us(int(digits[:19]))
    return Rejected(moment, reason, raw[:_RAW_CUT].decode(errors="replace"))


def cut(body: bytes) -> str:
    """Return the beginning of a body, for an error."""
    return body[:200].decode(errors="replace")
