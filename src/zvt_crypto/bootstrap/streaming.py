"""Live records as an iterator: for asyncio programs, and for plain ones."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

from zvt_crypto.bootstrap.live import Live
from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.subscription import parse_words, resolve
from zvt_crypto.core.record import ControlRecord, DataRecord
from zvt_crypto.core.series import Series
from zvt_crypto.services.stream import CryptoStreamService

Record = DataRecord | ControlRecord
Wanted = str | Series | Iterable[str | Series]

_WAITING: Final = 10_000
_AT_ONCE: Final = 1_000


class LiveStream:
    """Records of some series as they come, data and control records in order, without an end.

    It starts with the first record asked for, or with `async with`, and ends with `aclose`, the
    end of the block, or the door's. What comes is stored meanwhile. A consumer that is slow makes
    the exchange wait: nothing is dropped.

    Args:
        platform: open, and staying so.
        wanted: series, or words such as `binance:BTC-USDT:trades`.
    """

    def __init__(self, platform: Platform, wanted: Wanted) -> None:
        given = [wanted] if isinstance(wanted, (str, Series)) else list(wanted)
        self._series = [one for one in given if isinstance(one, Series)]
        self._words = parse_words([one for one in given if isinstance(one, str)])
        self._platform = platform
        self._live: Live | None = None
        self._records: deque[Record] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._opening = asyncio.Lock()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Return whether it has been ended."""
        return self._is_closed

    @property
    def service(self) -> CryptoStreamService:
        """Return the running service: its feeds, books, handlers, and `set`, `add`, `remove`.

        Raises:
            RuntimeError: it was not started yet.
        """
        if self._live is None:
            raise RuntimeError("the stream has not been started")
        return self._live.service

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        if not self._records:
            await self._wait()
        if not self._records:
            raise StopAsyncIteration
        record = self._records.popleft()
        self._room.set()
        return record

    async def take(self) -> Sequence[Record]:
        """Return the records that wait, at least one; none once the stream is closed."""
        if not self._records:
            await self._wait()
        taken = [self._records.popleft() for _ in range(min(_AT_ONCE, len(self._records)))]
        self._room.set()
        return taken

    async def aclose(self) -> None:
        """End the stream and make durable what came; calling it twice does no harm."""
        self._is_closed = True
        self._records.clear()
        self._room.set()
        self._ready.set()
        async with self._opening:
            live, self._live = self._live, None
            if live is not None:
                await live.__aexit__(None, None, None)

    async def _wait(self) -> None:
        await self._open()
        while not self._records and not self._is_closed:
            self._ready.clear()
            await self._ready.wait()

    async def _open(self) -> None:
        async with self._opening:
            if self._live is not None or self._is_closed:
                return
            series = [*self._series, *await resolve(self._platform, self._words)]
            mine = self._platform.settings.stream
            live = Live(self._platform, "python", journal=mine.journal, share=mine.share)
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(live)
                live.service.on(self._put)
                await live.set(series)
                stack.pop_all()  # `aclose` ends it
            self._live = live

    async def _put(self, record: Record) -> None:
        while len(self._records) >= _WAITING and not self._is_closed:
            self._room.clear()
            await self._room.wait()
        if not self._is_closed:
            self._records.append(record)
            self._ready.set()


class PlainStream:
    """`LiveStream` for plain programs: `for record in db.stream(...)`.

    Leaving the loop does not end it: use it as a context manager, call `close`, or close the door.
    `close` may be called from another thread; the loop then ends.

    Args:
        stream: what it gives on.
        run: runs a coroutine on the door's loop and waits for it.
    """

    def __init__(self, stream: LiveStream, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._stream = stream
        self._run = run
        self._taken: deque[Record] = deque()

    def __enter__(self) -> Self:
        self._run(self._stream.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Record:
        if not self._taken:
            self._taken.extend(self._run(self._stream.take()))
        if not self._taken:
            raise StopIteration
        return self._taken.popleft()

    def close(self) -> None:
        """End the stream and make durable what came; calling it twice does no harm."""
        self._run(self._stream.aclose())


__all__ = ["LiveStream", "PlainStream", "Record", "Wanted"]
