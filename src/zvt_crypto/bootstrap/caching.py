"""Choose a cache engine from its URL."""

from typing import Final

from zvt_crypto.cache.config import CacheConfig
from zvt_crypto.cache.local.local import LocalCache
from zvt_crypto.cache.redis.target import parse_target
from zvt_crypto.core.errors import MissingExtra
from zvt_crypto.ports.cache import Cache, SharedCells
from zvt_crypto.ports.clock import Clock
from zvt_crypto.settings import Settings

MEMORY: Final = "memory://"


def open_cache(settings: Settings, clock: Clock) -> Cache:
    """Return the cache of the settings. Nothing is connected before it is first used.

    Raises:
        BadSetting: the address cannot be read.
        MissingExtra: it is a Redis, and the extra `redis` is not installed.
    """
    mine = settings.caching
    config = CacheConfig(
        ttl_s=mine.ttl_s,
        ring=mine.ring,
        read_timeout_s=mine.read_timeout_s,
        write_timeout_s=mine.write_timeout_s,
    )
    if settings.cache == MEMORY:
        return LocalCache(clock, config)
    target = parse_target(settings.cache)
    try:
        from zvt_crypto.cache.redis.engine import RedisCache  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as e:
        if e.name is None or e.name.split(".")[0] != "redis":
            raise
        raise MissingExtra("a cache in Redis", "redis") from None
    trust = settings.net.trust
    return RedisCache(target, clock, config, trust=None if trust is None else str(trust))


def cells_of(cache: Cache) -> SharedCells | None:
    """Return what machines share rate budgets through, if the cache is one that can."""
    return cache if cache.is_shared and isinstance(cache, SharedCells) else None
