"""Is each part up? Real checks, and whether this process may be sent requests."""

import shutil
import socket
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache

from agents import providers
from lunaos import __version__, beat, redis
from lunaos.postgresql.base import writes_refused_within
from web import parts
from web.parts import LIMIT_S, Check, Degraded
from web.tasks import HEARTBEAT_KEY

WORKER_SILENT_AFTER_S = 40
BEAT_SILENT_AFTER_S = 30
WRITTEN_FOR_S = 60
CHAINS_MAY_WAIT_S = 30
REFUSED_WITHIN_S = 30  # by a server that is full, of which nothing else can be seen
REQUIRED = ("database", "cache", "queue")


class ReadOnly(Exception):
    """PostgreSQL answers, and takes no writes: a standby, or one that its operators have set so."""


def _database() -> None:
    [[read_only]] = parts.query("SELECT current_setting('transaction_read_only')")
    if read_only == "on":
        raise ReadOnly
    if writes_refused_within(REFUSED_WITHIN_S):
        raise Degraded("a write was refused a moment ago")


def _vectors() -> None:
    if not parts.query("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
        raise Degraded("the vector extension is not installed")
    if not settings.EMBEDDINGS_BASE_URL:
        raise Degraded("no embedding model is set up")
    _reach(settings.EMBEDDINGS_BASE_URL)


def _cache() -> None:
    """Written as well: a server without memory or disk still answers what is read."""
    cache.set("health", 1, WRITTEN_FOR_S)


def _beat() -> None:
    seen = redis.client().get(beat.HEARTBEAT_KEY)
    if seen is None or time.time() - float(seen) > BEAT_SILENT_AFTER_S:
        raise Degraded("beat has not reported")


def _disk() -> None:
    """Of LUNAOS_HOME: the embedded servers' data, mails and logs."""
    folder = next(each for each in (settings.LUNAOS_HOME, *settings.LUNAOS_HOME.parents) if each.exists())
    if shutil.disk_usage(folder).free < settings.MIN_FREE_BYTES:
        raise Degraded("the disk is almost full")


def _queue() -> dict[str, Any]:
    """With the chains that wait for a worker."""
    backlog, oldest_s = parts.waiting()["chains"]
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


CHECKS: dict[str, Check] = {
    "database": _database,
    "cache": _cache,
    "queue": _queue,
    "beat": _beat,
    "disk": _disk,
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
