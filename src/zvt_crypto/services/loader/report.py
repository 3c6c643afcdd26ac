"""What a load is asked, how far it is, and what it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Coverage, is_complete
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind, Series

ArchivePolicy = Literal["auto", "always", "never"]
ConfirmPolicy = Literal["holes", "rows"]


class LoadRequest(msgspec.Struct, frozen=True):
    """One series to load over `[start, end)`; None means from its first row, up to now.

    `symbol` may be spelled in any way the instrument table knows.
    """

    exchange: str
    symbol: str
    kind: Kind = Kind.CANDLES
    interval: Interval | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """How a load runs.

    Attributes:
        parallel_series: series worked on at once.
        concurrency: requests in flight by exchange, 8 where none is given; the governor sets
            the pace.
        archive: whether bulk files are used: `auto` takes them where they save requests.
        chunk_windows: pages fetched between two commits; a kill loses at most these.
        chunk_rows: rows after which a commit happens in any case; bounds memory.
        archives_at_once: bulk files in flight for each series.
        confirm: what is asked twice: holes only, or every row. Twice the requests guard against
            an exchange that answers wrong values for a while.
        share: whether units of the work are taken by lease, where the store has leases, so that
            several processes share it.
        lease_s: how long a unit is a worker's unless it is renewed, which happens three times as
            often; so long a killed worker's units wait for another.
    """

    parallel_series: int = 8
    concurrency: Mapping[str, int] = field(default_factory=dict[str, int])
    archive: ArchivePolicy = "auto"
    chunk_windows: int = 48
    chunk_rows: int = 500_000
    archives_at_once: int = 2
    confirm: ConfirmPolicy = "holes"
    share: bool = True
    lease_s: float = 30.0


@dataclass(slots=True)
class SeriesProgress:
    """How far one series is; the worker writes, a display reads at its own pace."""

    series: Series
    total_us: int = 0
    done_us: int = 0
    rows: int = 0
    requests: int = 0
    started_s: float = 0.0
    state: str = "waiting"

    @property
    def fraction(self) -> float:
        """Return the share of the owed time that is settled."""
        return 1.0 if self.total_us == 0 else min(1.0, self.done_us / self.total_us)


@dataclass(slots=True)
class SeriesReport:
    """What a load did to one series.

    `coverage` is the ledger over exactly `asked`; `error` is why it stopped early, if it did;
    `precision_loss` counts values whose decimal text float64 could not hold.
    """

    series: Series
    asked: Range
    rows_written: int = 0
    rows_corrected: int = 0
    rows_rejected: int = 0
    rows_total: int = 0
    requests: int = 0
    body_bytes: int = 0
    precision_loss: int = 0
    seconds: float = 0.0
    coverage: Sequence[Coverage] = ()
    error: CryptoError | None = None

    @property
    def is_complete(self) -> bool:
        """Return whether every moment asked for is settled and none is lost."""
        return self.error is None and is_complete(self.asked, self.coverage)


@dataclass(slots=True)
class LoadReport:
    """What a load did."""

    series: list[SeriesReport] = field(default_factory=list[SeriesReport])

    @property
    def is_complete(self) -> bool:
        """Return whether every series is complete."""
        return all(one.is_complete for one in self.series)


class SeriesPlan(msgspec.Struct, frozen=True):
    """What loading one series would take."""

    series: Series
    asked: Range
    owed: Sequence[Range]
    archive_files: int
    requests: int
    weight: int
    seconds: float
    body_bytes: int
    rows: int
