"""What stream faults did, so that a test can ask for every gap it should have been told of."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

_KEPT: Final = 20_000


@dataclass(slots=True)
class Injection:
    """One thing a fault did; messages hit one after the other are one injection.

    Attributes:
        kind: of the fault, whose id is `fault`.
        channel: kind and name of the topic, or the path of a connection.
        symbol: canonical symbol, or "".
        connection: id of the one connection it was done to; "" when it was done to all.
        first_id, last_id: ids in the messages hit: trades' or books' own; 0 without any.
        first_us, last_us: times of the events in these messages.
        messages: how many were hit.
        lost: whether what the messages said did not reach the client, or not on time.
        at_us: the simulator's time when it began.
    """

    fault: int
    kind: str
    channel: str
    symbol: str
    connection: str
    first_id: int
    last_id: int
    first_us: int
    last_us: int
    lost: bool
    at_us: int
    messages: int = 1

    def describe(self) -> dict[str, Any]:
        """Return what `/_truth/injected` shows."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def continues(self, other: "Injection") -> bool:
        """Return whether `other` is the message right after, hit by the same fault."""
        mine = (self.fault, self.kind, self.channel, self.symbol, self.connection, self.lost)
        own = (other.fault, other.kind, other.channel, other.symbol, other.connection, other.lost)
        return mine == own


class InjectionLog:
    """The newest injections of one venue."""

    def __init__(self) -> None:
        self._log: deque[Injection] = deque(maxlen=_KEPT)
        self._open: dict[tuple[str, str], Injection] = {}

    def add(self, injection: Injection) -> None:
        """Remember one; it grows the last of its topic when that was the message before."""
        key = (injection.channel, injection.connection)
        last = self._open.get(key)
        if last is not None and last.continues(injection):
            last.last_id, last.last_us = injection.last_id, injection.last_us
            last.messages += 1
            return
        self._log.append(injection)
        self._open[key] = injection
        if len(self._open) > _KEPT:
            self._open.clear()

    def end(self, channel: str, connection: str = "") -> None:
        """Note that a message of a topic went through: what comes next is another injection."""
        if self._open:
            self._open.pop((channel, connection), None)

    def describe(
        self, *, symbol: str | None = None, kind: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the injections, oldest first, of one symbol or kind if asked."""
        return [
            one.describe()
            for one in self._log
            if symbol in (None, one.symbol) and kind in (None, one.kind)
        ]
