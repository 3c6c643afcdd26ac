"""The servers of one Redis: who gets which command, and looking after those that are not well."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Self

from redis.exceptions import MovedError, NoScriptError, ReadOnlyError

from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.redis.node import Command, Node, NodeAway
from zvt_crypto.cache.redis.script import digest_of
from zvt_crypto.cache.redis.target import Address, Target
from zvt_crypto.cache.redis.topology import SlotMap, Topology
from zvt_crypto.net.backoff import backoff
from zvt_crypto.ports.cache import CacheCounts, CacheHealth
from zvt_crypto.ports.clock import Clock

log = logging.getLogger(__name__)

AWAY: Final = object()
"""In place of an answer: nobody could be asked, or nobody answered in time."""

_LEAST_WAIT_S: Final = 0.02
_LEAST_LEFT_S: Final = 0.005
_SENDS: Final = 3  # one may be redirected, and another time bring its script along


@dataclass(slots=True)
class Job:
    """One command and where it goes; `answer` is filled in, an error of the server included.

    Attributes:
        size: values or records it is about.
        is_message: whether any server can take it.
        whole: the script itself, for a server that does not know it yet.
    """

    slot: int
    command: Command
    size: int = 1
    is_message: bool = False
    whole: Command | None = None
    answer: Any = AWAY

    @classmethod
    def script(cls, slot: int, script: str, keys: Sequence[str], arguments: Iterable[Any]) -> Self:
        """Return the job of running a script."""
        tail = (len(keys), *keys, *arguments)
        return cls(slot, ("EVALSHA", digest_of(script), *tail), whole=("EVAL", script, *tail))


class Fleet:
    """Sends jobs to the masters of a target, each within a deadline.

    When a server fails, a task looks who is master of what now, and whether those that failed are
    back, until all is well; calls do not wait for it.
    """

    def __init__(
        self,
        target: Target,
        clock: Clock,
        config: CacheConfig,
        counts: CacheCounts,
        *,
        trust: str | None,
        rng: Random,
    ) -> None:
        self._target = target
        self._clock = clock
        self._config = config
        self._counts = counts
        self._trust = trust
        self._rng = rng
        self._nodes: dict[Address, Node] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._topology = Topology(target, self._open_to_ask, rng, config.look_timeout_s)
        self._map: SlotMap | None = None
        self._looked = asyncio.Event()
        self._trouble = ""
        self._care: asyncio.Task[None] | None = None
        self._is_closed = False
        if target.layout == "single":
            self._adopt(SlotMap(target.hosts))

    def slot_of(self, key: str) -> int:
        """Return the slot of a key."""
        return 0 if self._map is None else self._map.slot_of(key)

    async def ensure(self, deadline_s: float) -> None:
        """Wait for the first look at who is master, for `deadline_s` at most and only once."""
        if self._map is not None or self._looked.is_set():
            return
        self._look_after()
        try:
            async with asyncio.timeout(deadline_s):
                await self._looked.wait()
        except TimeoutError:
            self._trouble = self._trouble or "nobody has answered yet"

    async def run(self, jobs: Sequence[Job], deadline_s: float) -> None:
        """Fill in the answers; AWAY stays where there is none."""
        end_s = self._clock.monotonic_s() + deadline_s
        left_s, waiting = deadline_s, jobs
        for _ in range(_SENDS):
            await self._send(waiting, left_s)
            waiting = [job for job in waiting if self._is_to_repeat(job)]
            left_s = end_s - self._clock.monotonic_s()
            if not waiting or left_s < _LEAST_LEFT_S:
                return

    def pick(self) -> Node:
        """Return a server that is well, for what any of them can do.

        Raises:
            NodeAway: there is none.
        """
        well = [node for node in self._nodes.values() if not node.breaker.is_open]
        if not well:
            self._look_after()
            raise NodeAway(self._trouble or "no server answers")
        return self._rng.choice(well)

    def health(self) -> CacheHealth:
        """Return how it is."""
        breakers = {node.name: node.breaker.is_open for node in self._nodes.values()}
        slots = self._map
        troubles = [f"{n.name}: {n.breaker.trouble}" for n in self._nodes.values()
                    if n.breaker.trouble]  # fmt: skip
        is_whole = slots is not None and slots.is_whole
        trouble = "; ".join(troubles) or ("" if is_whole else self._trouble or "not looked yet")
        return CacheHealth(is_whole and not troubles, trouble, breakers)

    async def close(self) -> None:
        """End all connections."""
        self._is_closed = True
        care, self._care = self._care, None
        if care is not None:
            care.cancel()
            await asyncio.gather(care, return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._nodes.values()), return_exceptions=True)
        await self._topology.close()
        self._nodes.clear()

    # -- sending ---------------------------------------------------------------------------------

    async def _send(self, jobs: Sequence[Job], deadline_s: float) -> None:
        by_node: dict[Node, list[Job]] = {}
        for job in jobs:
            node = self._node_for(job)
            if node is not None:
                by_node.setdefault(node, []).append(job)
        if len(by_node) == 1:
            ((node, mine),) = by_node.items()
            await self._send_to(node, mine, deadline_s)
        elif by_node:
            sending = (self._send_to(node, mine, deadline_s) for node, mine in by_node.items())
            await asyncio.gather(*sending)

    async def _send_to(self, node: Node, jobs: Sequence[Job], deadline_s: float) -> None:
        try:
            answers = await node.call([job.command for job in jobs], deadline_s)
        except NodeAway:
            self._look_after()
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.answer = answer

    def _node_for(self, job: Job) -> Node | None:
        owner = None if self._map is None else self._map.owner(job.slot)
        node = None if owner is None else self._nodes.get(owner)
        if (node is None or node.breaker.is_open) and job.is_message and self._nodes:
            try:
                return self.pick()
            except NodeAway:
                return node
        if node is None:
            self._look_after()
        return node

    def _is_to_repeat(self, job: Job) -> bool:
        answer = job.answer
        if isinstance(answer, NoScriptError) and job.whole is not None:
            job.command, job.answer = job.whole, AWAY
            return True
        if isinstance(answer, MovedError) and self._map is not None:
            address = (answer.host or self._target.hosts[0][0], int(answer.port))
            self._map.move(answer.slot_id, address)
            self._node(address)
            self._look_after()
            job.answer = AWAY
            return True
        if isinstance(answer, ReadOnlyError) and self._target.layout != "single":
            self._look_after()  # the one we took for the master is none any more
        return False

    # -- looking after ---------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Have the servers looked at, unless that is being done."""
        if self._is_closed or (self._care is not None and not self._care.done()):
            return
        self._care = asyncio.create_task(self._tend(), name="cache servers")

    async def _tend(self) -> None:
        """Look until all is well."""
        config = self._config
        waits = backoff(self._rng, first_s=config.probe_first_s, cap_s=config.probe_cap_s)
        while not await self._look():  # noqa: ASYNC110 - nobody tells when a server is back
            await asyncio.sleep(_LEAST_WAIT_S + next(waits))

    async def _look(self) -> bool:
        """Look once who is master, and whether those that failed are well again."""
        try:
            found = await self._topology.find()
        except NodeAway as e:
            self._say_trouble(str(e))
            return False
        finally:
            self._looked.set()
        self._trouble = ""
        self._adopt(found)
        unwell = [self._nodes[one] for one in found.masters if self._nodes[one].breaker.trouble]
        well = await asyncio.gather(*(self._is_back(node) for node in unwell))
        return all(well) and found.is_whole

    async def _is_back(self, node: Node) -> bool:
        if not await self._topology.is_well(node):
            return False
        if node.breaker.is_open:
            log.warning("cache_breaker_closed", extra={"server": node.name})
        node.breaker.succeeded()
        return True

    def _say_trouble(self, trouble: str) -> None:
        if not self._trouble:
            log.warning("cache_unreachable", extra={"cache": self._target.url, "detail": trouble})
        self._trouble = trouble

    def _adopt(self, found: SlotMap) -> None:
        self._map = found
        for address in found.masters:
            self._node(address)
        for address in set(self._nodes) - set(found.masters):
            node = self._nodes.pop(address)
            task = asyncio.create_task(node.close(), name="cache server left")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(
                address, self._target, self._config, self._trust, self._counts
            )
        return self._nodes[address]

    def _open_to_ask(self, address: Address) -> Node:
        is_sentinel = self._target.layout == "sentinel"
        return Node(address, self._target, self._config, self._trust, None, is_sentinel=is_sentinel)
