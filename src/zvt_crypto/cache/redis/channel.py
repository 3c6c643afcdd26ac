"""What Redis publishes, heard over one connection for all subscribers of this process."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from zvt_crypto.cache.codec import decode_message, key_of, series_of_key
from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.fanout import Fanout
from zvt_crypto.cache.redis.node import Node, NodeAway, trouble_of
from zvt_crypto.core.record import Disconnected
from zvt_crypto.core.series import Series
from zvt_crypto.net.backoff import backoff
from zvt_crypto.ports.cache import CacheCounts
from zvt_crypto.ports.clock import Clock

log = logging.getLogger(__name__)

# Looking in on the link is cheap; a half-open one is noticed after two of these.
_PING_S: Final = 5.0
_JOIN_S: Final = 2.0
_LEAST_WAIT_S: Final = 0.05


class Channels:
    """Follows the channels somebody here listens to, across connections.

    Args:
        pick: returns a server that is well.
        prefix: of every channel.
        config: deadlines.
        clock: ours.
        rng: spreads the reconnects of many processes.
        counts: where records are counted.
    """

    def __init__(
        self,
        pick: Callable[[], Node],
        prefix: str,
        *,
        config: CacheConfig,
        clock: Clock,
        rng: Random,
        counts: CacheCounts,
    ) -> None:
        self._pick = pick
        self._prefix = prefix
        self._config = config
        self._clock = clock
        self._rng = rng
        self.fanout = Fanout(counts, self._added, self._removed)
        self._link: PubSub | None = None
        self._task: asyncio.Task[None] | None = None
        self._heard: dict[str, asyncio.Event] = {}
        self._idle = f"{prefix}:idle"  # keeps the link one for subscribers when nobody is left
        self._last_s = 0.0

    async def close(self) -> None:
        """End the connection and all subscriptions."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.fanout.close()

    async def _added(self, series: Sequence[Series]) -> None:
        names = [key_of(self._prefix, one) for one in series]
        waited = [self._heard.setdefault(name, asyncio.Event()) for name in names]
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="cache channels")
        elif self._link is not None:
            with suppress(RedisError, OSError):  # the task finds out, and subscribes to all anew
                await self._link.subscribe(*names)
        with suppress(TimeoutError):
            async with asyncio.timeout(_JOIN_S):
                for one in waited:
                    await one.wait()

    async def _removed(self, series: Sequence[Series]) -> None:
        names = [key_of(self._prefix, one) for one in series]
        for name in names:
            self._heard.pop(name, None)
        if self._link is not None and self._task is not None:
            with suppress(RedisError, OSError):
                await self._link.unsubscribe(*names)

    async def _run(self) -> None:
        waits = backoff(self._rng, first_s=0.1, cap_s=self._config.probe_cap_s)
        while True:
            began_s = self._clock.monotonic_s()
            with suppress(RedisError, OSError, TimeoutError, NodeAway):
                await self._follow(self._pick())
            if self._clock.monotonic_s() - began_s > _PING_S:
                waits = backoff(self._rng, first_s=0.1, cap_s=self._config.probe_cap_s)
            await asyncio.sleep(_LEAST_WAIT_S + next(waits))

    async def _follow(self, node: Node) -> None:
        """Give on what one connection brings until it ends."""
        link = node.client.pubsub()
        try:
            async with asyncio.timeout(_JOIN_S):
                names = [key_of(self._prefix, one) for one in self.fanout.series]
                await link.subscribe(self._idle, *names)
            self._link = link
            self._last_s = self._clock.monotonic_s()
            log.info("cache_subscribed", extra={"server": node.name})
            await self._read(link)
        except (RedisError, OSError, TimeoutError) as e:
            if self._link is link:
                self._lost(trouble_of(e))
            raise
        finally:
            self._link = None
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(self._config.look_timeout_s):
                    await link.aclose()

    async def _read(self, link: PubSub) -> None:
        pinged_s = self._last_s
        while True:
            message = await link.get_message(timeout=1.0)
            now = self._clock.monotonic_s()
            if message is not None:
                self._last_s = now
                self._took(message)
            elif now - self._last_s > 2 * _PING_S:
                raise TimeoutError("the server is silent")
            elif now - max(self._last_s, pinged_s) > _PING_S:
                pinged_s = now
                await link.ping()

    def _took(self, message: dict[str, Any]) -> None:
        kind, channel = message["type"], message["channel"]
        name = channel.decode() if isinstance(channel, bytes) else str(channel)
        if kind == "subscribe":
            if name in self._heard:
                self._heard[name].set()
        elif kind == "message":
            series = series_of_key(self._prefix, name)
            if series is not None:
                self.fanout.give(series, decode_message(series, message["data"]))

    def _lost(self, detail: str) -> None:
        log.warning("cache_channels_lost", extra={"detail": detail})
        now_us = self._clock.now_us()
        for one in self.fanout.series:
            self.fanout.give(one, [Disconnected(one, now_us, f"cache: {detail}")])
