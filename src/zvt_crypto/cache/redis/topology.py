"""Which server holds which slot: asked of the servers themselves."""

import asyncio
from array import array
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import ResponseError

from zvt_crypto.cache.redis.node import Node, NodeAway
from zvt_crypto.cache.redis.target import Address, Target

SLOTS: Final = 16_384
_NOBODY: Final = 0xFFFF


class SlotMap:
    """The masters, and the slots of each; one server has them all where there is no cluster."""

    def __init__(self, masters: Sequence[Address], owners: "array[int] | None" = None) -> None:
        self.masters = list(masters)
        self._owners = owners

    @property
    def is_whole(self) -> bool:
        """Return whether every slot has a master."""
        return self._owners is None or _NOBODY not in self._owners

    def slot_of(self, key: str) -> int:
        """Return the slot of a key; 0 where there is but one server."""
        return 0 if self._owners is None else key_slot(key.encode())

    def owner(self, slot: int) -> Address | None:
        """Return the master of a slot."""
        if self._owners is None:
            return self.masters[0]
        at = self._owners[slot]
        return None if at == _NOBODY else self.masters[at]

    def move(self, slot: int, address: Address) -> None:
        """Take over that a slot has another master."""
        if self._owners is None:
            return
        if address not in self.masters:
            self.masters.append(address)
        self._owners[slot] = self.masters.index(address)


class Topology:
    """Finds the masters of a target.

    Args:
        target: what is asked.
        open_node: makes the connection to an address; Sentinels are asked over these too.
        rng: in which order servers are asked.
        look_timeout_s: what is waited for each.
    """

    def __init__(
        self,
        target: Target,
        open_node: Callable[[Address], Node],
        rng: Random,
        look_timeout_s: float,
    ) -> None:
        self._target = target
        self._open_node = open_node
        self._rng = rng
        self._look_s = look_timeout_s
        self._known: dict[Address, None] = dict.fromkeys(target.hosts)
        self._nodes: dict[Address, Node] = {}

    async def find(self) -> SlotMap:
        """Return who is master of what now.

        Raises:
            NodeAway: nobody who knows answers.
        """
        if self._target.layout == "single":
            return SlotMap(self._target.hosts)
        places = list(self._known)
        self._rng.shuffle(places)
        asking = [asyncio.ensure_future(self._ask(place)) for place in places]
        trouble = "nobody answers"
        try:
            for answered in asyncio.as_completed(asking):
                try:
                    return await answered
                except NodeAway as e:
                    trouble = str(e)
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise NodeAway(trouble)

    async def is_well(self, node: Node) -> bool:
        """Return whether a master serves."""
        layout = self._target.layout
        command = {"single": ("PING",), "sentinel": ("ROLE",), "cluster": ("CLUSTER", "INFO")}
        try:
            (answer,) = await node.ask([command[layout]], self._look_s)
        except NodeAway:
            return False
        if isinstance(answer, Exception):
            return False
        if layout == "sentinel":
            return bool(answer) and _text(answer[0]) == "master"
        return layout == "single" or "cluster_state:ok" in _text(answer)

    async def close(self) -> None:
        """Close the connections used for asking."""
        for node in self._nodes.values():
            await node.close()
        self._nodes.clear()

    async def _ask(self, place: Address) -> SlotMap:
        if place not in self._nodes:
            self._nodes[place] = self._open_node(place)
        node = self._nodes[place]
        if self._target.layout == "sentinel":
            command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._target.master)
            (answer,) = await node.ask([command], self._look_s)
            if not isinstance(answer, (list, tuple)):
                raise NodeAway(f"Sentinel knows no master {self._target.master}")
            return SlotMap([(_text(answer[0]), int(_text(answer[1])))])
        (answer,) = await node.ask([("CLUSTER", "SLOTS")], self._look_s)
        if isinstance(answer, ResponseError):
            raise NodeAway(str(answer))
        return self._read_slots(answer, place)

    def _read_slots(self, answer: Any, asked: Address) -> SlotMap:
        owners = array("H", [_NOBODY]) * SLOTS
        masters: dict[Address, int] = {}
        known = dict.fromkeys(self._target.hosts)
        for first, last, *servers in answer:
            addresses = [(_text(one[0]) or asked[0], int(one[1])) for one in servers]
            known.update(dict.fromkeys(addresses))
            at = masters.setdefault(addresses[0], len(masters))
            owners[first : last + 1] = array("H", [at]) * (last + 1 - first)
        if not masters:
            raise NodeAway("the cluster has no slots")
        self._known = known  # those that left are asked no more
        return SlotMap(list(masters), owners)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
