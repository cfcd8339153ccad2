"""Reachability of providers: beat's job connects, /health reads the stored result."""

import socket
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import orjson

from lunaos.infra import redis
from web.health_checks import CHECK_TIMEOUT_S, Degraded

KEY_PREFIX = "lunaos:reachable:"  # and host:port, as processes may have different settings
RESULT_TTL_S = 60  # six times the schedule's interval

_probe_lock = threading.Lock()


def probe(base_urls: Iterable[str]) -> None:
    """Connect to each provider and store the result; send no request, which may cost."""
    # A slow name server delays at most one job per process: while one probes, others return at once.
    if not _probe_lock.acquire(blocking=False):
        return
    try:
        for host, port in {_address(url) for url in base_urls if url}:
            redis.client().set(_key(host, port), orjson.dumps(_connect(host, port)), ex=RESULT_TTL_S)
    finally:
        _probe_lock.release()


def last_result(base_url: str) -> dict[str, Any]:
    """Return the stored `status`, `latencyMs` and perhaps `detail`, or raise Degraded."""
    try:
        noted = redis.probe_client().get(_key(*_address(base_url)))
    except (redis.RedisError, OSError) as e:  # a cache that hangs says nothing of the provider
        raise Degraded("not known: the cache does not answer") from e
    if noted is None:
        raise Degraded("no worker has looked whether it can be reached")
    found: dict[str, Any] = orjson.loads(noted)
    return found


def _connect(host: str, port: int) -> dict[str, Any]:
    started, result = time.perf_counter(), {"status": "ok"}
    try:
        socket.create_connection((host, port), timeout=CHECK_TIMEOUT_S).close()
    except OSError as e:  # only the class is stored, since the text may name hosts
        result = {"status": "down", "detail": "timeout" if isinstance(e, TimeoutError) else type(e).__name__}
    return {**result, "latencyMs": round((time.perf_counter() - started) * 1000, 1)}


def _address(base_url: str) -> tuple[str, int]:
    url = urlsplit(base_url)
    return url.hostname or "", url.port or (80 if url.scheme == "http" else 443)


def _key(host: str, port: int) -> str:
    return f"{KEY_PREFIX}{host}:{port}"
