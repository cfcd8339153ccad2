"""Is each part up? Real checks, and whether this process may be sent requests."""

import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.cache import cache

from agents import providers
from lunaos import __version__, redis
from web import parts, reachability
from web.parts import Check, Degraded
from web.tasks import HEARTBEAT_KEY

WORKER_SILENT_AFTER_S = 40
CHAINS_MAY_WAIT_S = 30
INDEXING_MAY_WAIT_S = 60  # an owner of whose jobs none has been begun
REQUIRED = ("database", "cache", "queue")


def _database() -> None:
    parts.query("SELECT 1")


def _vectors() -> dict[str, Any]:
    if not parts.query("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
        raise Degraded("the vector extension is not installed")
    if not settings.EMBEDDINGS_BASE_URL:
        raise Degraded("no embedding model is set up")
    return reachability.of(settings.EMBEDDINGS_BASE_URL)


def _cache() -> None:
    cache.get("health")


def _queue() -> dict[str, Any]:
    """With the chains and the index jobs that wait for a worker."""
    backlog, oldest_s = parts.waiting()["chains"]
    unfinished, size, unserved_s = parts.indexing()
    waiting: dict[str, Any] = {"backlog": backlog, "oldestWaitingS": round(oldest_s, 1)}
    waiting["indexing"] = {"backlog": unfinished, "bytes": size, "oldestWaitingS": round(unserved_s, 1)}
    seen = redis.client().get(HEARTBEAT_KEY)
    if seen is None or time.time() - float(seen) > WORKER_SILENT_AFTER_S:
        raise Degraded("no worker has reported", waiting)
    if oldest_s > CHAINS_MAY_WAIT_S:
        raise Degraded("chains wait for a worker", waiting)
    if unserved_s > INDEXING_MAY_WAIT_S:
        raise Degraded("index jobs wait for a worker", waiting)
    return waiting


def _llm() -> dict[str, Any]:
    """The default provider accepted beat's last connection."""
    provider = providers.default()
    if not provider.configured:
        raise Degraded("no language model is set up")
    return reachability.of(provider.base_url)


CHECKS: dict[str, Check] = {
    "database": _database,
    "cache": _cache,
    "queue": _queue,
    "vectors": _vectors,
    "llm": _llm,
}


def check() -> tuple[dict[str, Any], bool]:
    """Check all parts.

    Returns:
        The report of the contract, and whether all required parts are up.
    """
    services = parts.examine(CHECKS)
    statuses = {name: service["status"] for name, service in services.items()}
    report = {
        "status": "ok" if set(statuses.values()) == {"ok"} else "degraded",
        "version": __version__,
        "timestamp": datetime.now(UTC),
        "services": services,
    }
    return report, all(statuses[name] != "down" for name in REQUIRED)
