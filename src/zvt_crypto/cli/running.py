"""Run a command's work: settings from flags, the platform around it, one event loop."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from zvt_crypto.bootstrap.memory import choose_memory_pool, keep_large_blocks
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.services.loader import LoadRequest
from zvt_crypto.settings import Settings, load_settings

T = TypeVar("T")


def settings_from(store: object = None, sim: object = None, **more: object) -> Settings:
    """Return the settings with these flags on top; a flag that is None was not given."""
    settings = load_settings({"store": store, "sim": sim, **more}).settings
    logging.getLogger().setLevel(settings.log_level.upper())
    return settings


def run(
    work: Callable[[Platform], Awaitable[T]],
    settings: Settings,
    *,
    create: bool = False,
    check: Sequence[LoadRequest] = (),
) -> T:
    """Open the platform, do `work`, close it; Ctrl-C and SIGTERM end it in good order.

    Args:
        work: gets the open platform.
        settings: what to build it from.
        create: whether a store that does not exist yet is made.
        check: what `work` will load: if it cannot be, no store is made for it.

    Raises:
        KeyboardInterrupt: the user stopped it; what was committed is kept.
    """

    async def within() -> T:
        async with Platform(settings, create=create, check=check) as platform:
            return await work(platform)

    return run_alone(within)


def run_alone(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` in an event loop; Ctrl-C and SIGTERM end it in good order.

    Raises:
        KeyboardInterrupt: the user stopped it.
    """
    choose_memory_pool()
    keep_large_blocks()

    async def main() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        return await work()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
