"""An ordinary WebSocket client for tests of the simulator, built on `websockets`."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

WITHIN_S = 20.0


class Socket:
    """A connection that keeps what it received."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[str] = []

    async def send(self, value: Any) -> None:
        """Send text as it is, anything else as JSON."""
        await self.connection.send(value if isinstance(value, str) else json.dumps(value))

    async def next(self, within_s: float = WITHIN_S) -> str:
        """Return the next text frame."""
        # Not `wait_for`: until Python 3.12 it may swallow the end of an outer timeout.
        async with asyncio.timeout(within_s):
            text = await self.connection.recv()
        assert isinstance(text, str)
        self.received.append(text)
        return text

    async def next_json(self, within_s: float = WITHIN_S) -> Any:
        """Return the next frame, decoded."""
        return json.loads(await self.next(within_s))

    async def take(self, count: int, within_s: float = WITHIN_S) -> list[str]:
        """Return the next frames."""
        async with asyncio.timeout(within_s):
            return [await self.next() for _ in range(count)]

    async def until(self, wanted: Callable[[Any], object], within_s: float = WITHIN_S) -> list[Any]:
        """Return the frames up to the first that is wanted, decoded."""
        found: list[Any] = []
        async with asyncio.timeout(within_s):
            while True:
                found.append(await self.next_json())
                if wanted(found[-1]):
                    return found

    async def silence(self, for_s: float) -> Sequence[str]:
        """Return what still comes in that time."""
        found: list[str] = []
        end_s = time.monotonic() + for_s
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                found.append(await self.next(left_s))
            except TimeoutError:
                break
        return found


@asynccontextmanager
async def open_socket(url: str, trust: ssl.SSLContext | None = None) -> AsyncGenerator[Socket]:
    """Connect to an http address of the simulator as a WebSocket client."""
    address = url.replace("http", "ws", 1)
    async with connect(
        address, ssl=trust, max_size=64 << 20, compression=None, proxy=None, close_timeout=0.5
    ) as connection:
        yield Socket(connection)
