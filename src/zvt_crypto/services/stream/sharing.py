"""Subscriptions shared by several processes: each streams its fair share, found by leases.

All feeds of one symbol of one exchange stay together: they share topics, and bars are built from
the trades beside them. Such a unit is a lease, and so is being there: members of a group that want
the same list divide it. Who holds more than its share gives units up (what came is stored first),
who holds less takes what is free, and the leases of a killed process expire. What happened between
two holders is a gap like any other: the taker finds it by what is stored, and has it repaired.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.core.series import Series
from zvt_crypto.net.keeper import LeaseKeeper
from zvt_crypto.ports.lease import Lease

log = logging.getLogger(__name__)

PREFIX: Final = "stream/"
"""What the names of all leases of streams begin with."""

_BEAT_S: Final = 1.0
# A unit that could not be subscribed is left to others for so long.
_AVOIDED_S: Final = 30.0


class Subscriber(Protocol):
    """What sharing needs of the stream service."""

    async def check(self, wanted: Iterable[Series]) -> None:
        """Refuse what cannot be streamed."""
        ...

    async def set(self, wanted: Iterable[Series]) -> None:
        """Stream exactly these; what came of others is made durable first."""
        ...


def share_of(me: str, members: Mapping[str, int], units: int) -> int:
    """Return how many of `units` are the share of `me`.

    Shares differ by one at most. Where not all can be equal, those who hold more keep more, so that
    nothing moves without need.

    Args:
        me: one of the members.
        members: how many units each holds now.
        units: how many there are to divide.
    """
    least, more = divmod(units, len(members))
    order = sorted(members, key=lambda one: (-members[one], one))
    return least + (order.index(me) < more)


def by_liking(holder: str, names: Iterable[str]) -> list[str]:
    """Return names in an order of the holder's own, which has nothing to do with that of others.

    Those that take at the same moment so mostly ask for different ones.
    """

    def score(name: str) -> bytes:
        return hashlib.blake2b(f"{holder} {name}".encode(), digest_size=8).digest()

    return sorted(names, key=score)


class Sharing:
    """Keeps a service at its share of what a group streams; an `async with` beside the service.

    The keeper has to be open before the service and closed after it: what came is stored then
    before others may take over.

    Args:
        service: streams our share.
        keeper: holds our leases.
        group: a name; processes that share have the same, and the same store.
    """

    def __init__(self, service: Subscriber, keeper: LeaseKeeper, group: str) -> None:
        self.group = group
        self.members = 0
        self._service = service
        self._keeper = keeper
        self._prefix = f"{PREFIX}{group}/"
        self._wanted: dict[str, list[Series]] = {}
        self._member = ""
        self._streamed: set[str] = set()
        self._avoided: dict[str, float] = {}
        self._failing = ""
        self._task: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="sharing")
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

    async def set(self, wanted: Iterable[Series]) -> None:
        """Share exactly these series with the others of the group that want the same.

        Raises:
            UsageError: an exchange, symbol or kind is wrong; nothing was changed.
        """
        series = sorted(set(wanted))
        await self._service.check(series)
        async with self._changing:
            self._wanted = {}
            for one in series:
                self._wanted.setdefault(self._name(one), []).append(one)
            text = "\n".join(map(str, series))
            digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
            former = self._member
            self._member = f"{self._prefix}member/{digest}/{self._keeper.holder}"
            if former and former != self._member:
                await self._keeper.release([former])
            await self._keeper.acquire([self._member])

    def describe(self) -> dict[str, Any]:
        """Return what there is to tell, plain values."""
        return {
            "group": self.group,
            "members": self.members,
            "units": len(self._wanted),
            "held": len(self._streamed),
            "failing": self._failing,
        }

    def _name(self, series: Series) -> str:
        return f"{self._prefix}unit/{series.exchange}/{series.symbol}"

    async def _run(self) -> None:
        while True:
            # Others that start at this moment are to be seen before anything is taken.
            await asyncio.sleep(_BEAT_S)
            try:
                async with self._changing:
                    await self._step()
                self._failing = ""
            except (CryptoError, OSError) as e:
                if not self._failing:
                    log.warning("stream_sharing_failed", extra={"detail": str(e)})
                self._failing = str(e)

    async def _step(self) -> None:
        """Look around, give up what is too much, take what is free and ours to take.

        Whose a unit is the store says. While it does not answer nothing is given up: should another
        have taken over, both stream, and what they store is the same.
        """
        held = await self._keeper.leases.held(self._prefix)
        ours = [one.name for one in held if one.holder == self._keeper.holder]
        mine = [name for name in ours if name in self._wanted]
        await self._follow(mine)
        await self._keeper.release(set(ours) - {*mine, self._member})
        if self._member not in ours:
            if self._member:
                await self._keeper.acquire([self._member])
            return
        share, free = self._divide(held)
        surplus = by_liking(self._keeper.holder, mine)[share:]
        if surplus:
            await self._give(mine, surplus)
        elif free and len(mine) < share:
            wanted = by_liking(self._keeper.holder, free)[: share - len(mine)]
            await self._take(mine, await self._keeper.acquire(wanted))

    def _divide(self, held: Sequence[Lease]) -> tuple[int, list[str]]:
        """Return how many units are our share, and which are free."""
        place = self._member.rpartition("/")[0] + "/"
        members = {one.holder: 0 for one in held if one.name.startswith(place)}
        self.members = len(members)
        holders = {one.name: one.holder for one in held if one.name in self._wanted}
        counts = Counter(holders.values())
        for holder in members:
            members[holder] = counts[holder]
        # What somebody with another list streams is not ours to divide.
        strangers = sum(holder not in members for holder in holders.values())
        now_s = asyncio.get_running_loop().time()
        free = [
            name
            for name in self._wanted
            if name not in holders and self._avoided.get(name, 0.0) <= now_s
        ]
        share = share_of(self._keeper.holder, members, len(self._wanted) - strangers)
        return share, free

    async def _give(self, mine: Sequence[str], surplus: Sequence[str]) -> None:
        await self._follow([name for name in mine if name not in surplus])
        # Only now, for what came is stored: the next goes on behind it.
        await self._keeper.release(surplus)
        log.info("stream_units_given", extra={"group": self.group, "count": len(surplus)})

    async def _take(self, mine: Sequence[str], got: Collection[str]) -> None:
        try:
            await self._follow([*mine, *got])
        except CryptoError:
            until_s = asyncio.get_running_loop().time() + _AVOIDED_S
            self._avoided.update(dict.fromkeys(got, until_s))
            await self._keeper.release(got)
            raise
        if got:
            log.info("stream_units_taken", extra={"group": self.group, "count": len(got)})

    async def _follow(self, names: Sequence[str]) -> None:
        """Stream exactly the series of these units."""
        self._streamed = set(names)
        await self._service.set([one for name in names for one in self._wanted[name]])


__all__ = ["PREFIX", "Sharing", "Subscriber", "by_liking", "share_of"]
