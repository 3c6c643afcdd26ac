"""A plain client of the simulator's sockets, and books built the way venues document it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from zvt_crypto.simulator.server import Simulator


class Socket:
    """One connection; messages come out decoded."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, value: Any) -> None:
        """Send JSON, or a text as it is."""
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        await self.connection.send(text)

    async def raw(self, within_s: float = 10.0) -> str:
        """Return the next message as text."""
        async with asyncio.timeout(within_s):
            return str(await self.connection.recv())

    async def next(self, within_s: float = 10.0) -> Any:
        """Return the next message."""
        return msgspec.json.decode(await self.raw(within_s))

    async def ask(self, value: Any, *, is_answer: Callable[[Any], bool] | None = None) -> Any:
        """Send a request and return its answer, dropping data before it."""
        await self.send(value)
        wanted = is_answer or (lambda m: "result" in m or "error" in m or "event" in m)
        return await self.until(wanted)

    async def until(self, wanted: Callable[[Any], bool], within_s: float = 10.0) -> Any:
        """Return the first message that is wanted."""
        async with asyncio.timeout(within_s):
            while not wanted(message := await self.next(within_s)):
                pass
            return message

    async def take(self, count: int, within_s: float = 10.0) -> list[Any]:
        """Return the next messages."""
        async with asyncio.timeout(within_s):
            return [await self.next(within_s) for _ in range(count)]

    async def collect(self, for_s: float) -> list[Any]:
        """Return all messages of some time."""
        messages: list[Any] = []
        end = time.monotonic() + for_s
        while (left := end - time.monotonic()) > 0:
            try:
                messages.append(await self.next(left))
            except TimeoutError:
                break
        return messages

    async def closed(self, within_s: float = 10.0) -> tuple[int, str]:
        """Read to the end; return the code and reason, 1006 when there was no close frame."""
        async with asyncio.timeout(within_s):
            with suppress(ConnectionClosed):
                while True:  # a client that does not read does not see the close either
                    await self.connection.recv()
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def dial(sim: Simulator, exchange: str, path: str, **options: Any) -> AsyncGenerator[Socket]:
    """Connect to a venue's socket at its prefix; pings are answered unless told otherwise."""
    url = sim.stream_url(exchange) + path
    settings: dict[str, Any] = {"ping_interval": None, "compression": None, "close_timeout": 0.2}
    settings |= options
    async with connect(url, **settings) as connection:
        yield Socket(connection)


async def subscribe_okx(socket: Socket, *arguments: str, instrument: str = "BTC-USDT") -> None:
    """Subscribe channels of one instrument and read the answers."""
    args = [{"channel": channel, "instId": instrument} for channel in arguments]
    await socket.send({"op": "subscribe", "args": args})
    for _ in args:
        await socket.until(lambda m: m.get("event") == "subscribe")


class BookCopy:
    """A book as a client keeps it."""

    def __init__(self, bids: Iterable[list[str]], asks: Iterable[list[str]]) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.apply(bids, asks)

    def apply(self, bids: Iterable[list[str]], asks: Iterable[list[str]]) -> None:
        """Take over changes; a size of zero removes a level."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size, *_ in levels:
                if Decimal(size):
                    side[Decimal(price)] = Decimal(size)
                else:
                    side.pop(Decimal(price), None)

    def same_as(self, truth: dict[str, Any]) -> bool:
        """Return whether it is the book of `/_truth/book`."""
        other = BookCopy(truth["bids"], truth["asks"])
        return (self.bids, self.asks) == (other.bids, other.asks)


class Ask:
    """Requests to the simulator's own paths and to its venues' REST."""

    def __init__(self, client: ClientSession, sim: Simulator) -> None:
        self._client = client
        self._sim = sim

    async def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON of a path."""
        texts = {name: str(value) for name, value in parameters.items()}
        async with self._client.get(f"{self._sim.url}{path}", params=texts) as reply:
            return await reply.json()

    async def truth(self, what: str, **parameters: object) -> Any:
        """Return what `/_truth` says."""
        return await self.get(f"/_truth/{what}", **parameters)

    async def fault(self, kind: str, **fields: object) -> int:
        """Put a fault in force; return its id."""
        async with self._client.post(
            f"{self._sim.url}/_faults", json={"kind": kind, **fields}
        ) as reply:
            assert reply.status == 201, await reply.text()
            return int((await reply.json())[0]["id"])

    async def lift(self, fault: int) -> None:
        """Remove a fault."""
        async with self._client.delete(f"{self._sim.url}/_faults/{fault}") as reply:
            assert (await reply.json()) == {"removed": 1}

    async def stream_stats(self, exchange: str) -> dict[str, Any]:
        """Return the counters of a venue's sockets."""
        return (await self.get("/_stats"))[exchange]["stream"]

    async def stats_when(
        self, exchange: str, wanted: Callable[[dict[str, Any]], bool], within_s: float = 30.0
    ) -> dict[str, Any]:
        """Return the counters of a venue's sockets once they are as wanted."""
        end = time.monotonic() + within_s
        while not wanted(told := await self.stream_stats(exchange)):
            assert time.monotonic() < end, told
            await asyncio.sleep(0.05)
        return told
