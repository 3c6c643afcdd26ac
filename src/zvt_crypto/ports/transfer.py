"""What moving data between stores needs of both. Checked by `tests/contract/test_transfer.py`."""

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.parcel import (
    KNOWN,
    Corrected,
    Judged,
    Listing,
    Parcel,
    Refused,
    Seal,
    Tally,
    Unpacked,
)
from zvt_crypto.core.ranges import ALWAYS, Range
from zvt_crypto.core.series import Series
from zvt_crypto.ports.store import Store

PARCEL_ROWS: Final = 500_000
"""The most rows of a parcel: some 50 MB in memory, if heavy rows count as `core.schema` weighs."""


@runtime_checkable
class Transferable(Protocol):
    """A store whose contents can be taken to another engine, and that takes in those of others.

    Nothing is judged anew on the way: the copy of a series answers `read` (also with `as_of`),
    `coverage`, `corrections`, `quarantine`, `reconciliations` and `verify` as the original.
    """

    async def keeping(self) -> list[Series]:
        """Return every series anything is kept of, in order: rows, ledger, refused rows."""
        ...

    async def seal(self, series: Series, asked: Range) -> Seal:
        """Return in short what is held of a stretch, without reading all rows where possible."""
        ...

    async def pack(self, series: Series, asked: Range, *, limit_rows: int = PARCEL_ROWS) -> Parcel:
        """Return all that is held of a stretch, as of one moment.

        If that is more than `limit_rows`, the parcel ends earlier, between two moments: its range
        says where. Rows of one moment are never parted, so it holds more if they are.
        """
        ...

    async def unpack(self, parcel: Parcel, *, replace: bool = False) -> Unpacked:
        """Enter a parcel, in one transaction; return what that changed.

        Rows keep the time they are known since, ledger entries their source and time;
        corrections, refused rows and verdicts are added once, and later verdicts on a bar stay.
        What is held there already is merged as `core.unpacking.merge_in` says. A second time
        changes nothing. Commits that follow are later than anything in the parcel.

        Raises:
            CopyRefused: other data is there; nothing was changed. `replace` lets it win.
            DataError: the parcel is not sound; nothing was changed.
        """
        ...

    async def restate(self, series: Series, asked: Range, ledger: Sequence[Coverage]) -> bool:
        """Take over when the ledger of a stretch was written, where it says the same otherwise.

        A live series is one entry that is written anew every minute: this spares its rows the
        way. Returns False, and changes nothing, if the ledger here says other things.
        """
        ...

    async def pack_instruments(self, exchanges: Sequence[str] | None = None) -> list[Listing]:
        """Return all versions of the instruments of these exchanges, or of all."""
        ...

    async def unpack_instruments(self, listings: Sequence[Listing]) -> int:
        """Enter versions; return of how many instruments. One listed by itself here stays."""
        ...


class TransferStore(Store, Transferable, Protocol):
    """A store that can be copied from and to."""


__all__ = [
    "ALWAYS",
    "KNOWN",
    "PARCEL_ROWS",
    "Corrected",
    "Judged",
    "Listing",
    "Parcel",
    "Refused",
    "Seal",
    "Tally",
    "TransferStore",
    "Transferable",
    "Unpacked",
]
