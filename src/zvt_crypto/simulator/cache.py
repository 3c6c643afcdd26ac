"""A least-recently-used cache bounded by the weight of what it holds."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Keep recent values while their weights add up to at most `capacity`."""

    def __init__(self, capacity: int, weight: Callable[[Value], int] | None = None) -> None:
        self._capacity = capacity
        self._weight = weight
        self._used = 0
        self._items: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value under `key`, made by `make` when it is not there."""
        items = self._items
        value = items.get(key)
        if value is not None:
            items.move_to_end(key)
            return value
        value = make()
        items[key] = value
        self._used += self._weigh(value)
        while self._used > self._capacity and len(items) > 1:
            _, dropped = items.popitem(last=False)
            self._used -= self._weigh(dropped)
        return value

    def forget(self, is_gone: Callable[[Any], bool]) -> None:
        """Forget what is under the keys of which `is_gone` is true."""
        for key in [key for key in self._items if is_gone(key)]:
            self._used -= self._weigh(self._items.pop(key))

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._used = 0

    def _weigh(self, value: Value) -> int:
        return self._weight(value) if self._weight else 1
