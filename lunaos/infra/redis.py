"""Clients of Valkey or Redis, for counters and queue, and for runs' events."""

import asyncio
from functools import cache, cached_property
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry as SyncRetry

__all__ = [
    "AsyncRedis",
    "CounterCache",
    "RedisError",
    "RedisTimeout",
    "ResponseError",
    "SharedPoolCache",
    "async_client",
    "async_event_log",
    "client",
    "event_log",
    "probe_client",
]

MAX_KNOWN_KEYS = 10_000
PROBE_TIMEOUT_S = 0.4
MAX_ASYNC_CONNECTIONS = 16  # commands wait for a free one; each takes a fraction of a millisecond

_async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncRedis]] = WeakKeyDictionary()


@cache
def client() -> Redis:
    """Return the process's client, whose connection pool all threads share."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)


@cache
def probe_client() -> Redis:
    """Return the client for health checks; it fails within 2 * PROBE_TIMEOUT_S."""
    return Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=PROBE_TIMEOUT_S,
        socket_connect_timeout=PROBE_TIMEOUT_S,
        retry=SyncRetry(NoBackoff(), 0),
    )


def event_log() -> Redis:
    """Return the process's client for event logs."""
    # With two servers, event logs that fill theirs cannot stop the counters of limits.
    return client() if settings.EVENT_LOG_REDIS_URL == settings.REDIS_URL else _event_log()


@cache
def _event_log() -> Redis:
    return Redis.from_url(settings.EVENT_LOG_REDIS_URL, socket_timeout=2, socket_connect_timeout=1)


def async_client() -> AsyncRedis:
    """Return the running loop's client, which never repeats a command by itself."""
    # A repeated INCR or XADD would count or append twice.
    return _async_client(settings.REDIS_URL)


def async_event_log() -> AsyncRedis:
    """Return the running loop's client for event logs; it never repeats a command."""
    return _async_client(settings.EVENT_LOG_REDIS_URL)


def _async_client(url: str) -> AsyncRedis:
    clients = _async_clients.setdefault(asyncio.get_running_loop(), {})
    if url not in clients:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_ASYNC_CONNECTIONS,
            socket_timeout=2,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        clients[url] = AsyncRedis(connection_pool=pool)
    return clients[url]


class _SharedClient(RedisCacheClient):
    def get_client(self, key: Any = None, *, write: bool = False) -> Redis:
        return client()


class SharedPoolCache(RedisCache):
    """Django's Redis cache with one connection pool per process."""

    # Django keeps a cache object, and so a pool, per thread and task: under ASGI a new connection per request.
    _client_class: type[_SharedClient] = _SharedClient

    @cached_property
    def _cache(self) -> RedisCacheClient:
        kind: Any = self._client_class
        return _shared(kind)


class _CountingClient(_SharedClient):
    def __init__(self, servers: list[str]) -> None:
        super().__init__(servers)
        self._known: set[str] = set()

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        if key in self._known:
            return False
        if len(self._known) > MAX_KNOWN_KEYS:
            self._known.clear()
        added = super().add(key, value, timeout)
        self._known.add(key)  # not before: another thread's count would make the key, without an end
        return added

    def incr(self, key: Any, delta: Any) -> int:
        return client().incr(key, delta)


class CounterCache(SharedPoolCache):
    """Cache whose counters cost one round trip; keys must name their own time window."""

    # Django's take three. `add` asks the server once per key and process; `incr` does not check that the key exists. If
    # the server is emptied within a window, its counters start again and remain as a few bytes.
    _client_class = _CountingClient


@cache
def _shared(kind: Any) -> _SharedClient:
    return kind([settings.REDIS_URL])
