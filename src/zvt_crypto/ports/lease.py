"""Leases: who works on what, for processes that share a store.

A lease is a name that one holder has for a while. It keeps nobody from writing: commits are
idempotent and the ledger lets two writers of one series do no harm, so a lease only saves work from
being done twice. A holder that is killed needs no help: its leases expire. One that was paused for
longer than that and goes on finds its leases lost, and what it wrote meanwhile changed nothing that
others had settled. Every engine that has leases passes `tests/contract/test_leases.py`.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec


class Lease(msgspec.Struct, frozen=True):
    """A name somebody holds.

    `expires_us` is in the time of the store, which need not be ours: how long it still holds, told
    by the store when it was asked, is `left_s`.
    """

    name: str
    holder: str
    expires_us: int
    left_s: float
    note: str = ""


@runtime_checkable
class Leases(Protocol):
    """A table of leases (name, holder, expires_us, note), changed atomically between processes.

    What time it is the store says: the clock of the server where there is one, of the machine
    where the store is files on it. Holders with wrong clocks agree all the same, and give durations
    only. From the moment it expires a lease is nobody's, whether it was taken by another or not.
    Leases need not survive a loss of power.
    """

    async def acquire(
        self, names: Sequence[str], holder: str, for_s: float, note: str = ""
    ) -> set[str]:
        """Take the names that are free, expired or `holder`'s already; return those it has now.

        One transaction for hundreds of names. Each that is returned holds for `for_s` from now;
        what others hold stays as it is.

        Raises:
            StoreBusy: the store could not be asked in time; nothing was changed.
        """
        ...

    async def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        """Let those of `names` that are `holder`'s still hold for `for_s` from now; return them.

        One that has expired is lost, even if nobody took it.
        """
        ...

    async def release(self, names: Sequence[str], holder: str) -> None:
        """Give up those of `names` that are `holder`'s."""
        ...

    async def held(self, prefix: str = "") -> list[Lease]:
        """Return the leases that have not expired and whose names begin so, by name."""
        ...


__all__ = ["Lease", "Leases"]
