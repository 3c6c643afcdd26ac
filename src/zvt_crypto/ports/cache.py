"""What the services need of a cache. Every engine passes `tests/contract/test_cache.py`.

A cache is never the truth. It answers fast or not at all, and no call fails because its server is
away: reads then know nothing, writes are counted and gone, and `health` says why.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

import msgspec

from zvt_crypto.core.record import (
    Book,
    Candle,
    ControlRecord,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
)
from zvt_crypto.core.series import Kind, Series, candle_series

Held = Trade | Quote | Candle | MarkPrice | Funding | OpenInterest | Liquidation | InstrumentStatus
"""What a cache holds as the latest of a series; of a book it is the top, as a `Quote`."""

Event = Held | Book | ControlRecord
"""What is fanned out to subscribers."""


class Absent(Enum):
    """The answer that there is nothing, which is knowledge too."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Entry(msgspec.Struct, frozen=True):
    """One latest value to keep.

    `record` is of the series' kind; of a book it is the top as a `Quote`. ABSENT is kept only where
    nothing is held. `ttl_s` is for how long, None for what the cache is set to.
    """

    series: Series
    record: Held | Absent
    ttl_s: float | None = None


class Published(msgspec.Struct, frozen=True):
    """One record for the subscribers of its series."""

    series: Series
    record: Event


@dataclass(slots=True)
class CacheCounts:
    """What a cache did since it was opened.

    Attributes:
        hits, misses: values asked for that were held, and that were not.
        unreachable: values asked for that nobody could be asked about.
        taken, refused: values kept, and not kept because a newer one is held.
        lost: values that could not be written.
        published, unpublished: records given to the server for its subscribers, and not.
        received, dropped: records for subscribers here, and those they never saw, being slow.
        errors: calls to a server that failed or took too long.
        opened: times a breaker opened.
        reads, read_s, writes, write_s: calls and the seconds they took together.
    """

    hits: int = 0
    misses: int = 0
    unreachable: int = 0
    taken: int = 0
    refused: int = 0
    lost: int = 0
    published: int = 0
    unpublished: int = 0
    received: int = 0
    dropped: int = 0
    errors: int = 0
    opened: int = 0
    reads: int = 0
    read_s: float = 0.0
    writes: int = 0
    write_s: float = 0.0


@dataclass(slots=True)
class CacheHealth:
    """How a cache is now.

    Attributes:
        is_reachable: whether every key could be read and written a moment ago.
        trouble: why not, in one line without secrets; empty if all is well.
        breakers: whether the breaker is open, by server.
    """

    is_reachable: bool
    trouble: str = ""
    breakers: dict[str, bool] = field(default_factory=dict[str, bool])


class Subscription(Protocol):
    """Records of some series as they are published; an async iterator and context manager.

    Entering it waits until the server knows of it, if there is one. Its queue is bounded and its
    policy `drop_oldest`: a slow consumer misses the oldest records, which `dropped` counts. When
    the connection to the server was lost, a `Disconnected` of each series says that records may be
    missing before what follows.
    """

    dropped: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Published]: ...

    async def aclose(self) -> None:
        """End it; a consumer that waits is told."""
        ...


class Cache(Protocol):
    """Latest values, rings of recent closed candles, and a fan-out; never the truth.

    An older record never replaces a newer one, whoever writes it: see `core`'s event times and
    sequences in `cache.codec.order_of`. No call raises because a server is away.
    """

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        ...

    @property
    def is_shared(self) -> bool:
        """Return whether other processes see what is kept."""
        ...

    @property
    def counts(self) -> CacheCounts:
        """What it did so far."""
        ...

    async def put(self, entries: Sequence[Entry], published: Sequence[Published] = ()) -> int:
        """Keep entries and give records to subscribers, in one go; return how many were kept.

        A closed candle joins the ring of its series too.
        """
        ...

    async def latest(self, series: Sequence[Series]) -> list[Held | Absent | None]:
        """Return the value of each series; None where nothing is known or nobody answers."""
        ...

    async def ring(self, series: Series, last: int) -> list[Candle]:
        """Return at most `last` newest closed candles, oldest first; there may be holes."""
        ...

    async def claim(self, series: Series, for_s: float) -> bool:
        """Return whether this caller is the one to load the series now; True if nobody knows."""
        ...

    def subscribe(self, series: Iterable[Series], *, size: int = 10_000) -> Subscription:
        """Return the records of these series from when it is entered, `size` waiting at most."""
        ...

    def health(self) -> CacheHealth:
        """Return how it is, without asking anybody."""
        ...

    async def close(self) -> None:
        """End connections and subscriptions."""
        ...


class Swapped(msgspec.Struct, frozen=True):
    """What came of a swap: `held` is what is there now, `server_us` the server's clock."""

    is_done: bool
    held: bytes
    server_us: int


@runtime_checkable
class SharedCells(Protocol):
    """Small values that machines change one after the other, by comparing before they swap.

    The first eight bytes of a value are its stamp, new with every change.
    """

    async def swap(self, name: str, stamp: bytes, value: bytes, *, ttl_s: float) -> Swapped:
        """Put `value` in place if what is held bears `stamp`, empty for nothing held.

        Raises:
            CellsAway: nobody answers in time; it may have been done all the same.
        """
        ...


class CellsAway(Exception):
    """Shared cells are out of reach; the caller goes on with what it has."""


_KINDS: Final[dict[type, Kind]] = {
    Trade: Kind.TRADES,
    Quote: Kind.QUOTES,
    Book: Kind.BOOK,
    MarkPrice: Kind.MARK_PRICE,
    Funding: Kind.FUNDING,
    OpenInterest: Kind.OPEN_INTEREST,
    Liquidation: Kind.LIQUIDATIONS,
    InstrumentStatus: Kind.STATUS,
}


def series_of(record: Event) -> Series:
    """Return the series a record of the stream belongs to."""
    if isinstance(record, Candle):
        return candle_series(record.exchange, record.symbol, record.interval)
    kind = _KINDS.get(type(record))
    if kind is None:
        return record.series  # type: ignore[union-attr] # control records name theirs
    return Series(record.exchange, record.symbol, kind)  # type: ignore[union-attr] # and these
