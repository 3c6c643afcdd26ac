"""Books of the past out of a store."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from zvt_crypto.core.bookreplay import BookReplay, BrokenChain
from zvt_crypto.core.errors import BookUnknown
from zvt_crypto.core.interval import US_PER_DAY, US_PER_MINUTE
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.store import Store

_FOREVER_US: Final = 1 << 61
# How far back a whole book is looked for, one after the other: the first is what a stream keeps to.
_LOOKS_US: Final = (20 * US_PER_MINUTE, US_PER_DAY, _FOREVER_US)
# Changes are read so much time at once.
_SLICE_US: Final = 10 * US_PER_MINUTE


async def book_at(
    store: Store, exchange: str, symbol: str, moment: int, depth: int | None = None
) -> Book:
    """Return the book as it stood after the last change up to `moment`.

    Raises:
        BookUnknown: it is not proven by the store.
    """
    whole = await _whole_before(store, Series(exchange, symbol, Kind.BOOK_SNAPSHOTS), moment)
    series = Series(exchange, symbol, Kind.BOOK_DELTAS)
    try:
        return (await _replayed(store, series, whole, moment)).record(series, depth)
    except BrokenChain as e:
        raise BookUnknown(exchange, symbol, format_us(moment), str(e)) from e


async def _replayed(store: Store, series: Series, whole: pa.Table, moment: int) -> BookReplay:
    if not whole.num_rows:
        raise BrokenChain("no whole book is stored before it")
    replay = BookReplay(whole)
    known_to = await _known_to(store, series, Range(replay.time, moment + 1))
    if known_to <= moment and moment > replay.time:
        raise BrokenChain(f"its changes are not known from {format_us(known_to)} on")
    # A whole book is known at its own moment, even if nothing is claimed of what follows.
    for part in _slices(Range(replay.time, max(known_to, replay.time + 1))):
        replay.apply(await store.read(series, part))
    return replay


async def _whole_before(store: Store, series: Series, moment: int) -> pa.Table:
    found = pa.table({})
    for reach in _LOOKS_US:
        asked = Range(max(moment + 1 - reach, -_FOREVER_US), moment + 1)
        found = await store.read(series, asked, last=1)
        if found.num_rows:
            break
    return found


async def _known_to(store: Store, series: Series, asked: Range) -> int:
    """Return up to when nothing is lacking from the start of `asked` on."""
    known = asked.start
    for entry in await store.coverage(series, asked):
        if entry.verdict is not Verdict.OBSERVED or entry.start > known:
            break
        known = entry.end
    return known


def _slices(asked: Range) -> Iterator[Range]:
    start = asked.start
    while start < asked.end:
        end = min(start + _SLICE_US, asked.end)
        yield Range(start, end)
        start = end
