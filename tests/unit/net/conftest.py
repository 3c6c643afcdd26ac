"""Virtual time: a loop that jumps to the next timer, and the clock that goes with it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

START_US = 1_767_225_617_250_000  # 2026-01-01 00:00:17.25: no window turns here


class _JumpingSelector(selectors.DefaultSelector):
    """Waits no time at all, but says it did."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody: nothing will ever happen")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now_s


class Sim:
    """Runs a coroutine in virtual time; is its `Clock` too."""

    def __init__(self) -> None:
        self._loop = _JumpingLoop()
        self.wall_step_us = 0
        self.steady_base_s = 1_000.0

    def now_us(self) -> int:
        return START_US + self.wall_step_us + round(self._loop.time() * 1e6)

    def monotonic_s(self) -> float:
        return self.steady_base_s + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(coroutine)
        finally:
            asyncio.set_event_loop(None)

    def close(self) -> None:
        self._loop.close()


@pytest.fixture
def sim() -> Any:
    made = Sim()
    yield made
    made.close()
