"""One server of a Redis: a small pool of connections, a deadline on every call, a breaker."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from zvt_crypto.cache.breaker import Breaker
from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.redis.target import Address, Target, show_address
from zvt_crypto.ports.cache import CacheCounts

log = logging.getLogger(__name__)

Command = tuple[Any, ...]

# Answers that say that this server cannot serve now, not that the question is wrong.
_UNWELL: Final = ("CLUSTERDOWN", "LOADING", "BUSYLOADING", "MASTERDOWN", "NOAUTH")
_MOST_TROUBLE: Final = 160


class NodeAway(Exception):
    """A server was not asked, or did not answer in time."""


class Node:
    """A server; no call of it takes longer than its deadline, whatever the server does.

    Args:
        address: where it is.
        target: how it is spoken to.
        config: deadlines and bounds.
        trust: file of certificates to trust, for TLS.
        counts: where failures are counted; None where they are no news.
        is_sentinel: whether it is a Sentinel, which has no databases.
    """

    def __init__(
        self,
        address: Address,
        target: Target,
        config: CacheConfig,
        trust: str | None,
        counts: CacheCounts | None,
        *,
        is_sentinel: bool = False,
    ) -> None:
        self.address = address
        self.name = show_address(address)
        self.breaker = Breaker(config.failures)
        self._counts = counts
        self.client = make_client(address, target, config, trust, is_sentinel=is_sentinel)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._is_closed = False

    async def call(self, commands: Sequence[Command], deadline_s: float) -> list[Any]:
        """Return the answers in order; one that is an error is in its place.

        Raises:
            NodeAway: the breaker is open, or no answer came within `deadline_s`.
        """
        if self.breaker.is_open:
            raise NodeAway(self.breaker.trouble)
        answers = await self.ask(commands, deadline_s)
        self.breaker.succeeded()
        return answers

    async def ask(self, commands: Sequence[Command], deadline_s: float) -> list[Any]:
        """Do as `call`, also while the breaker is open, and leave it so.

        Raises:
            NodeAway: no answer came, or one that says that the server is not well.
        """
        if self._is_closed:
            raise NodeAway("it was closed")
        self._under_way += 1
        try:
            async with asyncio.timeout(deadline_s):
                answers = await self._send(commands)
        except TimeoutError:
            self._failed(f"no answer within {deadline_s * 1e3:g} ms")
        except (RedisError, OSError) as e:
            self._failed(trouble_of(e))
        else:
            for answer in answers:
                if isinstance(answer, ResponseError) and (word := _unwell(answer)):
                    self._failed(f"it says {word}")
            return answers
        finally:
            self._under_way -= 1
            self._idle.set()
        raise NodeAway(self.breaker.trouble)

    async def close(self) -> None:
        """Close its connections once the calls under way have ended, which have deadlines."""
        self._is_closed = True
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()
        await self.client.aclose()

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [await self.client.execute_command(*commands[0])]
            except ResponseError as e:
                return [e]
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # pyright: ignore[reportUnusedCoroutine] - it queues
        return await pipeline.execute(raise_on_error=False)

    def _failed(self, trouble: str) -> None:
        """Count a failure, and say so once when the breaker opens.

        Raises:
            NodeAway: always.
        """
        is_opened = self.breaker.failed(trouble)
        if self._counts is not None:
            self._counts.errors += 1
            self._counts.opened += is_opened
            if is_opened:
                log.warning("cache_breaker_opened", extra={"server": self.name, "detail": trouble})
        raise NodeAway(trouble) from None


def make_client(
    address: Address,
    target: Target,
    config: CacheConfig,
    trust: str | None,
    *,
    is_sentinel: bool = False,
) -> Redis:
    """Return a client of one server that tries nothing twice: that is decided here."""
    host, port = address
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "db": 0 if is_sentinel else target.db,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": max(config.look_timeout_s, config.write_timeout_s),
        "max_connections": config.connections,
        "timeout": config.write_timeout_s,
    }
    if not is_sentinel or target.sentinel_auth:
        options |= {"username": target.username, "password": target.password}
    if target.is_tls:
        options |= {"connection_class": SSLConnection, "ssl_ca_certs": trust}
    return Redis.from_pool(BlockingConnectionPool(**options))


def trouble_of(error: BaseException) -> str:
    """Return what went wrong in a few words; servers repeat no password, we cut it all the same."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_MOST_TROUBLE]


def _unwell(answer: ResponseError) -> str:
    # The client takes the first word of some errors away and makes it a type.
    text = f"{type(answer).__name__.removesuffix('Error').upper()} {answer}"
    return next((word for word in _UNWELL if word in text.split()), "")


__all__ = ["Command", "Node", "NodeAway", "make_client", "trouble_of"]
