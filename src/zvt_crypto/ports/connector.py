"""What the services need of an exchange."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book, ExchangeStatus, OpenInterest, Quote
from zvt_crypto.core.series import Kind
from zvt_crypto.core.validation import Rejected


class Fetched(msgspec.Struct, frozen=True):
    """Answer to one question about a series.

    `asked` is the range the exchange was asked for and has answered in full, as far as it says;
    `table` holds only rows inside it, sorted, unique by key, in the schema of the kind. A hole in
    the table is a hole in the answer: whether it is one of the market is the caller's to prove.
    `requests` counts round trips, `body_bytes` what they carried.
    """

    asked: Range
    table: pa.Table
    rejected: Sequence[Rejected] = ()
    requests: int = 1
    body_bytes: int = 0
    precision_loss: int = 0


class ArchiveFile(msgspec.Struct, frozen=True):
    """One bulk file of an exchange: `covers` is the whole time it answers for."""

    url: str
    name: str
    kind: Kind
    covers: Range
    checksum_url: str | None = None


class Cost(msgspec.Struct, frozen=True):
    """What a piece of work takes from the exchange."""

    requests: int
    weight: int
    seconds: float
    body_bytes: int


class Connector(Protocol):
    """REST and archive side of one exchange; all times are UTC microseconds.

    Every call waits for the rate governor, retries what may pass, and raises the errors of
    `core.errors`. Every `fetch_` is one question; ranges it is given must come from the matching
    `windows` call, so that one answer can hold them.
    """

    @property
    def exchange(self) -> str:
        """Name of the exchange."""
        ...

    @property
    def settle_s(self) -> float:
        """Return how long after its close a candle may still change or be absent."""
        ...

    async def instruments(self) -> list[Instrument]:
        """Return all instruments of all pages, tradable or not."""
        ...

    async def server_time(self) -> int:
        """Return the exchange's clock."""
        ...

    async def sync_clock(self) -> int:
        """Measure how far our clock is off; return the exchange's time now."""
        ...

    async def status(self) -> ExchangeStatus:
        """Return whether the exchange says it is up, and how far our clock is off."""
        ...

    def source_interval(self, instrument: Instrument, interval: Interval) -> Interval:
        """Return the interval to fetch: `interval` if the exchange has it, else a finer one."""
        ...

    async def first_candle(self, instrument: Instrument, interval: Interval) -> int | None:
        """Return a lower bound of the first open ever, None if the exchange has none."""
        ...

    def reach(self, instrument: Instrument, kind: Kind, now_us: int) -> int:
        """Return the earliest moment REST can still answer for; 0 if there is no limit."""
        ...

    def counts_trade_ids(self, instrument: Instrument) -> bool:
        """Return whether trade ids are numbers that go up one by one, so that a jump is a loss."""
        ...

    def windows(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[Range]:
        """Return `asked` cut into ranges that one `fetch_` answers each, ascending."""
        ...

    async def fetch_candles(
        self, instrument: Instrument, interval: Interval, window: Range
    ) -> Fetched:
        """Return the candles that open in `window`; only intervals of `source_interval`."""
        ...

    def fetch_trades(self, instrument: Instrument, window: Range) -> AsyncIterator[Fetched]:
        """Yield the trades of `window` in parts whose `asked` ranges tile it, ascending."""
        ...

    async def fetch_funding(self, instrument: Instrument, window: Range) -> Fetched:
        """Return the settled funding of `window`."""
        ...

    async def archives(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, asked: Range
    ) -> list[ArchiveFile]:
        """Return the bulk files that answer for parts of `asked`; empty if there are none."""
        ...

    async def archive_size(self, file: ArchiveFile) -> int | None:
        """Return the bytes of a file as it would be downloaded; None if nobody says."""
        ...

    def fetch_archive(
        self, instrument: Instrument, interval: Interval | None, file: ArchiveFile
    ) -> AsyncIterator[Fetched]:
        """Download, check and parse one file; yield parts whose `asked` ranges tile `covers`.

        Raises:
            ArchiveAbsent: the exchange has not published it, now or ever.
            ChecksumMismatch: the file is not what its checksum says, twice.
            MalformedPayload: the file cannot be read.
        """
        ...

    def cost(
        self, instrument: Instrument, kind: Kind, interval: Interval | None, windows: int
    ) -> Cost:
        """Return what that many windows take, at the budget in force."""
        ...

    async def book_snapshot(self, instrument: Instrument, depth: int = 100) -> Book:
        """Return the book, at least `depth` levels a side where the exchange has them."""
        ...

    async def quotes(self, instruments: Sequence[Instrument]) -> list[Quote]:
        """Return the tops of the books."""
        ...

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest of a perpetual."""
        ...


__all__ = ["ArchiveFile", "Connector", "Cost", "Fetched", "Rejected"]
