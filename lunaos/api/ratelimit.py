"""Rate limits in fixed windows, counted by django-ratelimit: one atomic INCR in Valkey per request."""

import logging
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import _split_rate, get_usage
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from lunaos.infra.client_info import customer_network, strip_port
from lunaos.infra.local_counter import LocalCounter
from lunaos.infra.redis import RedisError, RedisTimeout

OPEN_CIRCUIT_S = 5.0
logger = logging.getLogger(__name__)
_local_counter = LocalCounter()


@dataclass(slots=True)
class CircuitBreaker:
    """Circuit breaker of a cache that hangs: one request in OPEN_CIRCUIT_S asks the cache."""

    # All requests wait for a count, those of probes and static files too: time-outs would hold all threads.

    _open_until: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allows_request(self) -> bool:
        """Return whether this request may ask the cache."""
        with self._lock:
            if self._open_until is None:
                return True
            is_due = time.monotonic() >= self._open_until
            if is_due:
                self._open_until = time.monotonic() + OPEN_CIRCUIT_S
            return is_due

    def record_timeout(self) -> None:
        """Open the circuit: the cache has not answered in time."""
        self._open_until = time.monotonic() + OPEN_CIRCUIT_S

    def record_success(self) -> None:
        """Close the circuit: the cache has answered."""
        self._open_until = None


_breaker = CircuitBreaker()


@dataclass(frozen=True, slots=True)
class Window:
    """The state of a client's window."""

    # `count`: counted requests, this one included.

    limit: int
    count: int
    reset: int

    @property
    def exceeded(self) -> bool:
        return self.count > self.limit

    @property
    def first_excess(self) -> bool:
        """Return whether this request is the first above the limit, of all processes."""
        return self.count == self.limit + 1

    @property
    def seconds_left(self) -> int:
        return max(1, self.reset - int(time.time()))

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.count)),
            "X-RateLimit-Reset": str(self.reset),
        }


def client_address(request: HttpRequest) -> str:
    """Return the client's address, behind LUNAOS_TRUSTED_PROXIES proxies."""
    # A port is removed: with it, every connection of a client would count as a client of its own.
    return strip_port(BaseThrottle().get_ident(cast(Request, request)) or "")


def client_network(request: HttpRequest) -> str:
    """Return the network that counts as one client: the address of IPv4, the /64 of IPv6."""
    return customer_network(client_address(request) or "")


def hit(
    request: HttpRequest, *, scope: str, subject: str, rate: str, count: bool = True, local_fallback: bool = False
) -> Window:
    """Count a request, or only read its window."""
    # With the cache down, full or read-only nothing is counted and the request passes: rates fail open, quotas fail
    # closed.
    limit = int(rate.split("/")[0])
    try:
        usage = _count_in_cache(request, group=scope, key=lambda *_: subject, rate=rate, increment=count)
    except RedisError as e:
        logger.warning("Rate limits are not counted, the cache is down: %s", e)
        if local_fallback:
            return _hit_locally(f"{scope}:{subject}", rate)
        return Window(limit, 0, int(time.time()) + 60)
    return Window(usage["limit"], usage["count"], int(time.time()) + usage["time_left"])


def _count_in_cache(request: HttpRequest, **options: Any) -> dict[str, Any]:
    if not _breaker.allows_request():
        raise RedisTimeout("The cache has not answered a moment ago.")
    try:
        usage: dict[str, Any] = get_usage(request, **options)
    except RedisTimeout:
        _breaker.record_timeout()
        raise
    _breaker.record_success()
    return usage


def _hit_locally(key: str, rate: str) -> Window:
    limit, window_s = _split_rate(rate)
    found, left_s = _local_counter.hit(key, window_s)
    return Window(limit, found, math.ceil(time.time() + left_s))


def get_address_window(request: HttpRequest, *, count: bool) -> Window:
    """Return the window of a client without credentials."""
    rate = f"{settings.ANONYMOUS_REQUESTS_PER_MINUTE}/m"
    return hit(request, scope="address", subject=client_network(request), rate=rate, count=count)
