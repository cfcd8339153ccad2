"""Is each part up? Real checks, side by side, each with a time limit."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache
from django.db import InterfaceError, OperationalError, connection

from agents import providers
from lunaos import __version__, redis
from web.tasks import HEARTBEAT_KEY

LIMIT_S = 1.0
WORKER_SILENT_AFTER_S = 40
CHAINS_MAY_WAIT_S = 30
REQUIRED = ("database", "cache", "queue")
WAITING = """
    SELECT count(*), COALESCE(EXTRACT(EPOCH FROM now() - min(heartbeat_at)), 0)::float
    FROM runs_run WHERE status = 'queued'
"""


class Degraded(Exception):
    """The part answers, but not as it should; its text is shown, and what else there is to say."""

    def __init__(self, detail: str, figures: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.figures = figures or {}


def _database() -> None:
    _query("SELECT 1")


def _vectors() -> None:
    if not _query("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
        raise Degraded("the vector extension is not installed")
    if not settings.EMBEDDINGS_BASE_URL:
        raise Degraded("no embedding model is set up")
    _reach(settings.EMBEDDINGS_BASE_URL)


def _query(sql: str) -> Any:
    """Ask over the thread's kept connection; one that went stale with the server's restart gets a second chance."""
    try:
        return _fetch(sql)
    except (OperationalError, InterfaceError):
        connection.close()
        return _fetch(sql)


def _fetch(sql: str) -> Any:
    with connection.cursor() as cursor:
        return cursor.execute(sql).fetchone()


def _cache() -> None:
    cache.get("health")


def _queue() -> dict[str, Any]:
    """With the chains that wait for a worker."""
    backlog, oldest_s = _query(WAITING)
    waiting = {"backlog": backlog, "oldestWaitingS": round(oldest_s, 1)}
    seen = redis.client().get(HEARTBEAT_KEY)
    if seen is None or time.time() - float(seen) > WORKER_SILENT_AFTER_S:
        raise Degraded("no worker has reported", waiting)
    if oldest_s > CHAINS_MAY_WAIT_S:
        raise Degraded("chains wait for a worker", waiting)
    return waiting


def _llm() -> None:
    """The default provider accepts connections; no request is sent, since that may cost money."""
    provider = providers.default()
    if not provider.configured:
        raise Degraded("no language model is set up")
    _reach(provider.base_url)


def _reach(base_url: str) -> None:
    url = urlsplit(base_url)
    with socket.create_connection((url.hostname, url.port or 443), timeout=LIMIT_S):
        pass


CHECKS: dict[str, Callable[[], dict[str, Any] | None]] = {
    "database": _database,
    "cache": _cache,
    "queue": _queue,
    "vectors": _vectors,
    "llm": _llm,
}
# Twice as many threads as checks: one that hangs delays the next caller's, and the time limit still answers.
_pool = ThreadPoolExecutor(max_workers=2 * len(CHECKS), thread_name_prefix="health")


def check() -> tuple[dict[str, Any], bool]:
    """Check all parts.

    Returns:
        The report of the contract, and whether all required parts are up.
    """
    futures = {name: _pool.submit(_measure, part) for name, part in CHECKS.items()}
    wait(futures.values(), timeout=LIMIT_S)
    services = {name: _result(future) for name, future in futures.items()}
    statuses = {name: service["status"] for name, service in services.items()}
    report = {
        "status": "ok" if set(statuses.values()) == {"ok"} else "degraded",
        "version": __version__,
        "timestamp": datetime.now(UTC),
        "services": services,
    }
    return report, all(statuses[name] != "down" for name in REQUIRED)


def _measure(part: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    started, status, detail = time.perf_counter(), "ok", dict[str, Any]()
    try:
        detail = part() or {}
    except Degraded as e:
        status, detail = "degraded", {"detail": str(e), **e.figures}
    except Exception as e:  # whatever a driver raises; only the kind is shown, its text may name hosts
        status, detail = "down", {"detail": type(e).__name__}
    return {"status": status, "latencyMs": round((time.perf_counter() - started) * 1000, 1), **detail}


def _result(future: Future[dict[str, Any]]) -> dict[str, Any]:
    if future.done():
        return future.result()
    future.cancel()
    return {"status": "down", "latencyMs": LIMIT_S * 1000, "detail": "timeout"}
