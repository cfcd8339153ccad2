"""Valkey or Redis, reached in one place."""

from functools import cached_property, lru_cache
from typing import Any

from django.conf import settings
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import Redis
from redis.exceptions import RedisError

__all__ = ["RedisError", "SharedPoolCache", "client"]


@lru_cache
def client() -> Redis:
    """The process's client; its pool is shared by all threads."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)


class CountingClient(RedisCacheClient):
    """`incr` in one round trip instead of two.

    Django asks EXISTS first, to raise for a missing key. The rate limiter has just written the key, so that a missing
    one means it expired this instant, and counting from one is then what a new window does anyway.
    """

    def incr(self, key: str, delta: int) -> int:
        return self.get_client(key, write=True).incr(key, delta)


@lru_cache
def _shared_client(location: str, options: tuple[tuple[str, Any], ...]) -> CountingClient:
    return CountingClient([location], **dict(options))


class SharedPoolCache(RedisCache):
    """Django's Redis cache with one connection pool a process.

    Django keeps a cache object, and so a pool, for each thread and task; under ASGI that means a new connection for
    every request.
    """

    @cached_property
    def _cache(self) -> CountingClient:
        return _shared_client(self._servers[0], tuple(sorted(self._options.items())))
