"""Faults of messages: what becomes of the pushes of a topic before they are written to sockets."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from zvt_crypto.simulator.faults import MESSAGE_KINDS, Fault
from zvt_crypto.simulator.injection import Injection
from zvt_crypto.simulator.stream.protocol import StreamVenue, Words
from zvt_crypto.simulator.stream.topic import UNCROSS, Push, Topic

if TYPE_CHECKING:
    from zvt_crypto.simulator.world import World

_BOOKS_ONLY: Final = frozenset(("ws_sequence_jump", "ws_crossed_book"))
_CLOSES_ONLY: Final = frozenset(("ws_late_close", "ws_revised_candle"))
_LOSING: Final = frozenset(
    (
        "ws_drop", "ws_silent_symbol", "ws_sequence_jump", "ws_corrupt", "ws_invalid_utf8",
        "ws_deep", "ws_late_close", "ws_disconnect", "ws_close", "ws_silent", "ws_half_open",
    )
)  # fmt: skip
_GIANT: Final = 2_000_000
_DEEP: Final = 100_000
_DAY_S: Final = 86_400.0
_WRONG: Final[dict[str, Any]] = {
    "nan": "NaN", "negative": "-1", "null": None, "text": "abc", "empty": "",
}  # fmt: skip


class Tamper:
    """The message faults of one venue.

    Attributes:
        holds: whether messages are held back, to be sent after later ones.
    """

    def __init__(self, world: "World", stream: StreamVenue) -> None:
        self._world = world
        self._stream = stream
        self._held: dict[str, list[Push]] = {}
        self._late: dict[str, list[tuple[int, Push]]] = {}
        self._skip: dict[str, tuple[Fault, int]] = {}
        self._crossed: dict[str, bool] = {}
        self._places = 0

    @property
    def holds(self) -> bool:
        """Return whether a message waits to be sent."""
        return bool(self._held or self._late or self._crossed)

    def forget(self, name: str) -> None:
        """Drop what is held back of a topic nobody is subscribed to any more."""
        for held in (self._held, self._late, self._skip, self._crossed):
            held.pop(name, None)

    def note(
        self,
        fault: Fault,
        channel: str,
        push: Push | None = None,
        topic: Topic | None = None,
        connection: str = "",
    ) -> None:
        """Remember what a fault did, and count it."""
        stats = self._stream.venue.stats
        stats.stream.injected[fault.kind] += 1
        stats.injected[fault.kind] += 1
        self.remember(fault, channel, push, topic, connection)

    def remember(
        self,
        fault: Fault,
        channel: str,
        push: Push | None = None,
        topic: Topic | None = None,
        connection: str = "",
    ) -> None:
        """Remember what a fault did; it was counted before."""
        instrument = topic.instrument if topic else None
        ids = (push.first_id, push.last_id, push.time_us) if push else (0, 0, 0)
        first_id, last_id, time_us = ids
        self._world.injections(self._stream.venue.name).add(
            Injection(
                fault.id, fault.kind, channel, instrument.symbol if instrument else "", connection,
                first_id, last_id, time_us, time_us, fault.kind in _LOSING,
                self._world.clock.now_us(),
            )
        )  # fmt: skip

    def apply(self, topic: Topic, pushes: Sequence[Push]) -> list[Push]:
        """Return what is sent in place of `pushes`."""
        concerned = self._world.faults.concerning(
            MESSAGE_KINDS, self._stream.venue.name, topic.where, topic.instrument
        )
        kept = self._due(topic)
        for push in pushes:
            kept += self._apply_one(topic, push, concerned)
        return kept

    def enlarge(self, topic: Topic, pushes: Sequence[Push], connection: str) -> Sequence[Push]:
        """Return what a new subscriber gets first, padded where `ws_giant` means snapshots."""
        for fault in self._world.faults.concerning(
            ("ws_giant",), self._stream.venue.name, topic.where, topic.instrument
        ):
            if not fault.params.get("snapshot") or not self._world.faults.strikes(fault):
                continue
            self.note(fault, topic.where, pushes[-1], topic, connection)
            pushes = [
                replace(push, payload=spoil_text(fault, push.payload, self._stream.words))
                for push in pushes
            ]
        return pushes

    def _apply_one(self, topic: Topic, push: Push, concerned: list[Fault]) -> list[Push]:
        if self._crossed.pop(topic.name, False) and push.remake:
            push = replace(push, payload=push.remake(UNCROSS) or push.payload)
        pushes = [push]
        hit = False
        for fault in concerned:
            if not self._is_meant(fault, topic, push) or not self._strikes(fault, topic):
                continue
            hit = True
            if fault.kind == "ws_sequence_jump" and "shift" not in fault.params:
                self._skip[topic.name] = (fault, int(fault.number("skip", 1)))
                break
            self.note(fault, topic.where, push, topic)
            pushes = [
                own
                for one in pushes
                for own in (self._spoil(fault, topic, one) if one.payload else [one])
            ]
        skipping = self._skip.get(topic.name)
        if skipping is not None:
            fault, left = skipping
            self.note(fault, topic.where, push, topic)
            if left > 1:
                self._skip[topic.name] = (fault, left - 1)
            else:
                del self._skip[topic.name]
            return self._lost(push)
        if not hit:
            self._world.injections(self._stream.venue.name).end(topic.where)
            if topic.name in self._held:
                pushes += self._held.pop(topic.name)
        return pushes

    def _is_meant(self, fault: Fault, topic: Topic, push: Push) -> bool:
        if fault.kind in _BOOKS_ONLY:
            return topic.kind == "book" and push.remake is not None
        if fault.kind in _CLOSES_ONLY:
            return push.closing
        if fault.kind == "ws_wrong_id":
            return topic.kind == "trades"
        if fault.kind == "ws_giant" and fault.params.get("snapshot"):
            return False
        if fault.kind == "ws_reorder":
            return topic.name not in self._held
        return fault.kind != "ws_silent_symbol" or topic.instrument is not None

    def _strikes(self, fault: Fault, topic: Topic) -> bool:
        faults = self._world.faults
        if fault.kind != "ws_silent_symbol" or topic.instrument is None:
            return faults.strikes(fault)
        mark, now_us = f"{topic.venue.name} {topic.instrument.symbol}", self._world.clock.now_us()
        if mark not in fault.marks:
            if not faults.strikes(fault):
                return False
            fault.marks[mark] = now_us + fault.number("for_s", math.inf) * 1e6
        return now_us < fault.marks[mark]

    def _lost(self, push: Push) -> list[Push]:
        """Return what is left of a message that is lost: its number, where they are numbered."""
        return [replace(push, payload=b"")] if self._stream.seals else []

    def _spoil(self, fault: Fault, topic: Topic, push: Push) -> list[Push]:
        match fault.kind:
            case "ws_drop" | "ws_silent_symbol":
                # A symbol that fell silent was never sent; a message dropped was, and counted.
                return self._lost(push) if fault.kind == "ws_drop" else []
            case "ws_duplicate":
                return [push] * int(fault.number("times", 2))
            case "ws_reorder":
                self._places += 1
                push = replace(push, place=self._places)
                self._held.setdefault(topic.name, []).append(push)
                return self._lost(push)
            case "ws_late_close":
                if "delay_s" in fault.params:
                    due_us = self._world.clock.now_us() + round(fault.number("delay_s", 0) * 1e6)
                    self._late.setdefault(topic.name, []).append((due_us, push))
                return []
            case "ws_sequence_jump" | "ws_crossed_book" | "ws_revised_candle":
                payload = push.remake(fault) if push.remake else None
                if fault.kind == "ws_crossed_book":
                    self._crossed[topic.name] = True
                return [push if payload is None else replace(push, payload=payload)]
            case _:
                return [replace(push, payload=spoil_text(fault, push.payload, self._stream.words))]

    def _due(self, topic: Topic) -> list[Push]:
        late = self._late.get(topic.name)
        if not late:
            return []
        now_us = self._world.clock.now_us()
        due = [push for due_us, push in late if due_us <= now_us]
        rest = [(due_us, push) for due_us, push in late if due_us > now_us]
        if rest:
            self._late[topic.name] = rest
        else:
            del self._late[topic.name]
        return due


def spoil_text(fault: Fault, payload: bytes, words: Words) -> bytes:
    """Return a message as a fault leaves it."""
    match fault.kind:
        case "ws_corrupt":
            spoilt = payload[: max(1, len(payload) // 2)]
        case "ws_giant":
            spoilt = payload + b" " * max(0, int(fault.number("bytes", _GIANT)) - len(payload))
        case "ws_invalid_utf8":
            spoilt = payload[:1] + b"\xff\xfe" + payload[1:]
        case "ws_deep":
            depth = int(fault.number("depth", _DEEP))
            spoilt = b"[" * depth + b"]" * depth
        case "ws_future_time":
            ahead = round(fault.number("offset_s", _DAY_S) * words.units_per_s)
            units = words.units_per_s
            spoilt = _rewrite(payload, words.time, lambda value: _later(value, ahead, units))
        case "ws_wrong_id":
            by = int(fault.number("shift", 1_000_000))
            spoilt = _rewrite(payload, words.id, lambda value: _other(value, by))
        case _:
            wrong = _WRONG.get(str(fault.params.get("what", "nan")))
            spoilt = _rewrite(payload, words.number, lambda _value: wrong)
    return spoilt


def _rewrite(payload: bytes, names: frozenset[str | int], change: Any) -> bytes:
    try:
        value = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload  # another fault has spoiled it already
    return msgspec.json.encode(_changed(value, names, change))


def _changed(value: Any, names: frozenset[str | int], change: Any) -> Any:
    """Return a copy of a JSON value with the fields of some names changed, at any depth."""
    if isinstance(value, dict):
        return {
            name: change(own)
            if name in names and not isinstance(own, dict | list)
            else _changed(own, names, change)
            for name, own in value.items()  # pyright: ignore[reportUnknownVariableType]
        }
    if isinstance(value, list):
        return [
            change(own)
            if place in names and not isinstance(own, dict | list)
            else _changed(own, names, change)
            for place, own in enumerate(value)  # pyright: ignore[reportUnknownVariableType]
        ]
    return value


def _later(value: Any, by: int, units_per_s: int) -> Any:
    """Return a time moved: a number, digits, or the text of a date and time."""
    if isinstance(value, str) and "T" in value and value.endswith("Z"):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        moved = moment + timedelta(seconds=by / units_per_s)
        return moved.isoformat().replace("+00:00", "Z")
    return _moved(value, by)


def _other(value: Any, by: int) -> Any:
    """Return another id: a number moved, or a UUID read as one."""
    if isinstance(value, str) and not value.isdecimal():
        try:
            return str(UUID(int=(UUID(value).int + by) % 2**128))
        except ValueError:
            return value
    return _moved(value, by)


def _moved(value: Any, by: int) -> Any:
    """Return a number, or a text of digits, moved; anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value + by
    if isinstance(value, str) and value.isdecimal():
        return str(int(value) + by)
    return value
