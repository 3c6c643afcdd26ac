"""What every system under test in the live benches shares: a stopwatch, questions to the sender."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlencode

_PATIENCE_S = 120.0
_LOOK_S = 0.002


class Lap:
    """Wall and processor time of this process since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()
        self.wall_s = self.cpu_s = 0.0

    def end(self) -> None:
        """Take the time."""
        self.wall_s = time.monotonic() - self._wall
        self.cpu_s = time.process_time() - self._cpu

    def fields(self) -> dict[str, float]:
        """Return it as JSON."""
        return {"wall_s": self.wall_s, "cpu_s": self.cpu_s}


async def ask(url: str, path: str, **query: object) -> bytes:
    """Return the sender's answer to a question over plain HTTP."""
    host, _, port = url.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 26)
    text = f"{path}?{urlencode(query)}" if query else path
    writer.write(f"GET {text} HTTP/1.1\r\nHost: {url}\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(f"the sender answered {path} with {head[:60]!r}")
    return body


async def waited(is_so: Callable[[], bool], what: str) -> None:
    """Return once something is so.

    Raises:
        RuntimeError: it took too long.
    """
    end_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > end_s:
            raise RuntimeError(f"waited in vain for {what}")
        await asyncio.sleep(_LOOK_S)
