"""A live run: the stream service with its journal, its metrics and its status file around it."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from zvt_crypto.bootstrap.platform import Platform
from zvt_crypto.bootstrap.presence import Presence
from zvt_crypto.bootstrap.stream import stream_service
from zvt_crypto.core.errors import BadSetting, FatalError
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series
from zvt_crypto.net.keeper import LeaseKeeper, new_holder
from zvt_crypto.ports.filler import Answered
from zvt_crypto.ports.lease import Leases
from zvt_crypto.ports.store import Batch, Committed
from zvt_crypto.services.journal import JournalConfig, JournalWriter
from zvt_crypto.services.latest import CachePublisher
from zvt_crypto.services.latest.metrics import CacheCollector
from zvt_crypto.services.stream import CryptoStreamService
from zvt_crypto.services.stream.connection import FrameTap
from zvt_crypto.services.stream.meter import Meter
from zvt_crypto.services.stream.metrics import MetricsServer
from zvt_crypto.services.stream.report import describe
from zvt_crypto.services.stream.sharing import Sharing
from zvt_crypto.settings import Settings
from zvt_crypto.store.memory.memory import MemoryStore


class NoStore(MemoryStore):
    """A store that keeps instruments and no rows: for runs that write a journal only."""

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        """Forget the batches."""
        return [Committed(0, 0, 0) for _ in batches]


class NoFiller:
    """A `Filler` where nothing is stored: it repairs nothing."""

    def settle_s(self, exchange: str) -> float:
        """Return nothing to wait for."""
        del exchange
        return 0.0

    async def fill(self, series: Series, asked: Range, *, again: bool = False) -> None:
        """Refuse.

        Raises:
            FatalError: always.
        """
        del asked, again
        raise _unrepaired(series)

    async def fill_trades(
        self, series: Series, asked: Range, first_id: int, last_id: int | None
    ) -> Answered:
        """Refuse.

        Raises:
            FatalError: always.
        """
        del asked, first_id, last_id
        raise _unrepaired(series)


def _unrepaired(series: Series) -> FatalError:
    return FatalError(
        f"{series} is not repaired: only raw frames are recorded",
        remedy="`zvtc record --with-store` repairs gaps too",
    )


def journal_config(settings: Settings) -> JournalConfig:
    """Return what the settings say about journals."""
    mine = settings.stream
    return JournalConfig(
        segment_bytes=int(mine.journal_segment_bytes),
        segment_s=mine.journal_segment_s,
        flush_s=mine.journal_flush_s,
        retention_bytes=int(mine.journal_retention_bytes) or None,
        retention_s=mine.journal_retention_s,
    )


class Live:
    """The service of one command, opened with everything that watches it; an `async with`.

    Args:
        platform: open, and staying so.
        command: whose run it is: `stream`, `record`, `sync`.
        journal: folder for raw frames.
        is_stored: whether rows go to the platform's store; without, gaps are not repaired.
        share: the group whose subscriptions this process streams its share of.
    """

    service: CryptoStreamService
    meter: Meter

    def __init__(
        self,
        platform: Platform,
        command: str,
        *,
        journal: Path | None = None,
        is_stored: bool = True,
        share: str | None = None,
    ) -> None:
        self.platform = platform
        self.command = command
        self.journal: JournalWriter | None = None
        self.publisher: CachePublisher | None = None
        self.metrics_url = ""
        self.sharing: Sharing | None = None
        self._group = share
        self._journal_folder = journal
        self._is_stored = is_stored
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings = self.platform.settings
        async with AsyncExitStack() as stack:
            self.journal = await self._open_journal(stack)
            self.service = stream_service(
                self.platform,
                # Its directions are words; a tap is given them as text.
                tap=cast("FrameTap | None", self.journal),
                store=None if self._is_stored else NoStore(),
                filler=None if self._is_stored else NoFiller(),
            )
            self.meter = Meter(self.service)
            collectors = await self._publish(stack)
            # Leases go last: others take over once all that came is stored.
            keeper = None if self._group is None else await self._keep(stack)
            await stack.enter_async_context(self.service)
            if keeper is not None and self._group is not None:
                self.sharing = Sharing(self.service, keeper, self._group)
                await stack.enter_async_context(self.sharing)
            looking = asyncio.create_task(self.meter.run(), name="meter")
            stack.callback(looking.cancel)
            if settings.stream.metrics_port is not None:
                server = await stack.enter_async_context(
                    MetricsServer(
                        self.meter,
                        settings.stream.metrics_host,
                        settings.stream.metrics_port,
                        more=collectors,
                    )
                )
                self.metrics_url = server.url
            await stack.enter_async_context(
                Presence(settings.state_dir, self.describe, self.platform.clock)
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def set(self, wanted: Iterable[Series]) -> None:
        """Stream exactly these series; where they are shared, this process's share of them.

        Raises:
            UsageError: an exchange, symbol or kind is wrong; nothing was changed.
        """
        if self.sharing is None:
            await self.service.set(wanted)
        else:
            await self.sharing.set(wanted)

    async def _keep(self, stack: AsyncExitStack) -> LeaseKeeper:
        platform = self.platform
        if not isinstance(platform.store, Leases):
            raise BadSetting("stream.share", "settings", f"{platform.store.url} has no leases")
        return await stack.enter_async_context(
            LeaseKeeper(
                platform.store, new_holder(), platform.settings.stream.lease_s, platform.clock
            )
        )

    async def _publish(self, stack: AsyncExitStack) -> list[CacheCollector]:
        """Lead what comes to the cache, if it is one that others read or that this door reads."""
        cache = self.platform.cache
        if not self._is_stored or not (cache.is_shared or self.command == "python"):
            return []
        publisher = CachePublisher(cache, books=self.service.book)
        self.publisher = await stack.enter_async_context(publisher)
        self.service.on(publisher.take, policy="inline")
        return [CacheCollector(cache, publisher, self.platform.latest)]

    async def _open_journal(self, stack: AsyncExitStack) -> JournalWriter | None:
        if self._journal_folder is None:
            return None
        try:
            return await stack.enter_async_context(
                JournalWriter(self._journal_folder, journal_config(self.platform.settings))
            )
        except OSError as e:
            raise BadSetting(
                "stream.journal", "settings", f"{self._journal_folder}: {e.strerror or e}"
            ) from None

    def describe(self) -> dict[str, Any]:
        """Return what the status file says."""
        settings = self.platform.settings
        journal = self.journal
        told = describe(self.meter)
        if not self._is_stored:
            told["totals"]["rows_stored"] = told["sink"]["rows"] = 0
        return {
            "command": self.command,
            "stage": "live",
            "store": self.platform.store.url if self._is_stored else None,
            "simulator": settings.sim,
            "metrics": self.metrics_url or None,
            "share": None if self.sharing is None else self.sharing.describe(),
            "journal": None
            if journal is None
            else {
                "folder": str(journal.folder),
                "trouble": journal.trouble,
                **msgspec.structs.asdict(journal.counts),
            },
            **told,
        }


def history_presence(platform: Platform, command: str) -> Presence:
    """Return the status file of a command that loads history."""

    def tell() -> dict[str, Any]:
        return {
            "command": command,
            "stage": "history",
            "store": platform.store.url,
            "simulator": platform.settings.sim,
            "loading": [
                {
                    "series": str(one.series),
                    "state": one.state,
                    "rows": one.rows,
                    "fraction": round(one.fraction, 4),
                }
                for one in platform.loader.progress
            ],
            "series": [],
        }

    return Presence(platform.settings.state_dir, tell, platform.clock)


__all__ = ["Live", "NoFiller", "NoStore", "history_presence", "journal_config"]
