"""Holding leases: they are renewed while work goes on, and known to be lost when they are."""

import asyncio
import hashlib
import logging
import os
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.ports.clock import Clock
from zvt_crypto.ports.lease import Lease, Leases

log = logging.getLogger(__name__)

RENEWALS: Final = 3
"""How often a lease is renewed in its time: two renewals may fail before it is lost."""


def new_holder() -> str:
    """Return a name that no other holder has: machine, process, since when, and chance."""
    return f"{platform.node()}:{os.getpid()}:{_era()}.{uuid4().hex[:8]}"


def is_dead(holder: str) -> bool:
    """Return whether a holder is known to live no more; of another machine nobody here knows.

    A number of a process means something from one start of a machine to the next, and to those who
    see the same processes, which those in different containers do not.
    """
    _, _, rest = holder.partition(":")
    pid, _, tail = rest.partition(":")
    era = _era()
    if not era or tail.partition(".")[0] != era or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


@cache
def _era() -> str:
    """Return what tells the processes we can see from all others; empty where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it leads to no path
    except OSError:
        return ""
    return hashlib.blake2b(f"{boot}{space}".encode(), digest_size=4).hexdigest()


def told(holder: str) -> str:
    """Return whose a holder's name is, for people."""
    host, _, rest = holder.partition(":")
    pid, _, _ = rest.partition(":")
    return f"pid {pid} on {host}" if pid.isdigit() else holder


class LeaseKeeper:
    """Takes leases for one holder and renews them until they are released; an `async with`.

    `holds` never says yes for longer than the store does: it counts from before the store was
    asked, on a clock that does not jump. A process that was stopped meanwhile, or whose store took
    no renewals, finds its leases lost.

    Args:
        leases: the store's.
        holder: whose leases they are; see `new_holder`.
        for_s: how long one holds unless it is renewed.
        clock: time.
    """

    def __init__(self, leases: Leases, holder: str, for_s: float, clock: Clock) -> None:
        self.leases = leases
        self.holder = holder
        self.for_s = for_s
        self._clock = clock
        self._until_s: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="leases")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.release(list(self._until_s))

    @property
    def names(self) -> set[str]:
        """Return what is held now."""
        return {name for name in self._until_s if self.holds(name)}

    def holds(self, name: str) -> bool:
        """Return whether a lease is still ours."""
        return self._clock.monotonic_s() < self._until_s.get(name, 0.0)

    async def acquire(self, names: Sequence[str], note: str = "") -> set[str]:
        """Take what is free of `names` and keep it; return what is ours now.

        Raises:
            StoreBusy: the store could not be asked in time.
        """
        until_s = self._clock.monotonic_s() + self.for_s
        got = await self.leases.acquire(names, self.holder, self.for_s, note)
        self._until_s.update(dict.fromkeys(got, until_s))
        return got

    async def release(self, names: Iterable[str]) -> None:
        """Give leases up; where the store does not answer they expire by themselves."""
        given = [name for name in names if self._until_s.pop(name, None) is not None]
        if not given:
            return
        try:
            await self.leases.release(given, self.holder)
        except (CryptoError, OSError) as e:
            log.info("leases_unreleased", extra={"count": len(given), "detail": str(e)})

    async def bury(self, held: Iterable[Lease]) -> set[str]:
        """Give up the leases of those who died on this machine, and need not be waited for.

        Returns:
            Their names.
        """
        dead: dict[str, list[str]] = {}
        for one in held:
            if is_dead(one.holder):
                dead.setdefault(one.holder, []).append(one.name)
        for holder, names in dead.items():
            await self.leases.release(names, holder)
            log.info("leases_of_the_dead", extra={"count": len(names), "holder": holder})
        return {name for names in dead.values() for name in names}

    async def renew(self) -> set[str]:
        """Renew all that is held; return what turned out to be lost."""
        asked = list(self._until_s)
        if not asked:
            return set()
        until_s = self._clock.monotonic_s() + self.for_s
        try:
            kept = await self.leases.renew(asked, self.holder, self.for_s)
        except (CryptoError, OSError) as e:
            log.info("leases_unrenewed", extra={"count": len(asked), "detail": str(e)})
            return set()
        lost: set[str] = set()
        for name in asked:
            if name in kept:
                if name in self._until_s:  # it may have been released meanwhile
                    self._until_s[name] = until_s
            elif self._until_s.pop(name, None) is not None:
                lost.add(name)
        if lost:
            log.warning("leases_lost", extra={"count": len(lost), "first": min(lost)})
        return lost

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.for_s / RENEWALS)
            await self.renew()


__all__ = ["RENEWALS", "LeaseKeeper", "is_dead", "new_holder", "told"]
