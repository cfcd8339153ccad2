"""Valkey or Redis, reached in one place."""

from functools import cached_property, lru_cache

from django.conf import settings
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import Redis
from redis.exceptions import RedisError

__all__ = ["CounterCache", "RedisError", "SharedPoolCache", "client"]

KNOWN_KEYS = 10_000


@lru_cache
def client() -> Redis:
    """The process's client; its pool is shared by all threads."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)


class _SharedClient(RedisCacheClient):
    def get_client(self, key: str | None = None, *, write: bool = False) -> Redis:
        return client()


class SharedPoolCache(RedisCache):
    """Django's Redis cache with one connection pool a process.

    Django keeps a cache object, and so a pool, for each thread and task; under ASGI that means a new connection for
    every request.
    """

    _client_class = _SharedClient

    @cached_property
    def _cache(self) -> RedisCacheClient:
        return _shared(self._client_class)


class _CountingClient(_SharedClient):
    def __init__(self, servers: list[str]) -> None:
        super().__init__(servers)
        self._known: set[str] = set()

    def add(self, key: str, value: int, timeout: int | None) -> bool:
        if key in self._known:
            return False
        if len(self._known) > KNOWN_KEYS:
            self._known.clear()
        self._known.add(key)
        return super().add(key, value, timeout)

    def incr(self, key: str, delta: int) -> int:
        return client().incr(key, delta)


class CounterCache(SharedPoolCache):
    """Counts in one round trip what costs Django three: for keys that name their own window, and so never come back.

    `add` asks the server once a key and process, `incr` does not ask whether the key exists. Were the server emptied
    within a window, its counters would begin anew and stay behind as a few bytes.
    """

    _client_class = _CountingClient


@lru_cache
def _shared(kind: type[_SharedClient]) -> _SharedClient:
    return kind([settings.REDIS_URL])
