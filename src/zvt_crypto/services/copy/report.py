"""How far a copy is, and what it did."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from zvt_crypto.core.digest import EMPTY_DIGEST, Digest
from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.parcel import Unpacked
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Verified


class Disagreement(msgspec.Struct, frozen=True):
    """A stretch of which the target does not hold what the source does."""

    range: Range
    detail: str


@dataclass(slots=True)
class SeriesProgress:
    """How far one series is; the copier writes, a display reads at its own pace.

    `rows` were read at the source, `held` were at the target before and not looked at.
    """

    series: Series
    total: int = 0
    rows: int = 0
    held: int = 0
    state: str = "waiting"
    started_s: float = 0.0

    @property
    def fraction(self) -> float:
        """Return the share of the rows that is done."""
        if self.state == "done":
            return 1.0
        return min((self.rows + self.held) / self.total, 1.0) if self.total else 0.0


@dataclass(slots=True)
class SeriesCopy:
    """What was done about one series.

    Attributes:
        series: which.
        rows: rows of the source in the range asked for, at the end.
        digest: of these rows.
        ranges: entries of its ledger in the range asked for, at the end.
        moved: rows that were read at the source.
        parcels: how many parcels they came in.
        changed: what that changed at the target.
        disagreements: where the target does not hold the same after all.
        error: why it was given up, if it was.
    """

    series: Series
    rows: int = 0
    digest: Digest = EMPTY_DIGEST
    ranges: int = 0
    moved: int = 0
    parcels: int = 0
    changed: Unpacked = field(default_factory=Unpacked)
    disagreements: list[Disagreement] = field(default_factory=list[Disagreement])
    error: CryptoError | None = None

    @property
    def is_complete(self) -> bool:
        """Return whether the target holds all of it."""
        return self.error is None and not self.disagreements


class CopyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy did: `verified` is None if the target was not asked to verify itself."""

    series: Sequence[SeriesCopy]
    instruments: int
    seconds: float
    verified: Verified | None

    @property
    def is_complete(self) -> bool:
        """Return whether the target holds everything, and its ledger agrees with its rows."""
        is_sound = self.verified is None or not self.verified.faults
        return is_sound and all(one.is_complete for one in self.series)
