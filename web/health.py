"""Health of each part of the platform, by real checks."""

import shutil
import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.cache import cache

from agents import providers
from lunaos import __version__
from lunaos.infra import redis
from lunaos.infra.postgresql.base import writes_refused_within
from lunaos.infra.task_queue import beat_scheduler
from runs.eventlog import capacity
from web import health_checks, provider_reachability
from web.health_checks import Check, Degraded
from web.tasks import HEARTBEAT_KEY

MAX_WORKER_SILENCE_S = 40
MAX_BEAT_SILENCE_S = 30
TEST_KEY_TTL_S = 60
MAX_CHAIN_WAIT_S = 30
MAX_INDEXING_WAIT_S = 60  # of an owner without a started job
TEST_KEY = "lunaos:health-written"
REFUSED_WRITES_WINDOW_S = 30  # a full disk of the server shows in refused writes only
REQUIRED_PARTS = ("database", "cache", "queue")


class ReadOnly(Exception):
    """PostgreSQL answers but accepts no writes: a standby, or set so by operators."""


def _database() -> None:
    [[read_only]] = health_checks.query("SELECT current_setting('transaction_read_only')")
    if read_only == "on":
        raise ReadOnly
    if writes_refused_within(REFUSED_WRITES_WINDOW_S):
        raise Degraded("a write was refused a moment ago")


def _vectors() -> dict[str, Any]:
    if not health_checks.query("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
        raise Degraded("the vector extension is not installed")
    if not settings.EMBEDDINGS_BASE_URL:
        raise Degraded("no embedding model is set up")
    return provider_reachability.last_result(settings.EMBEDDINGS_BASE_URL)


def _cache() -> None:
    cache.set("health", 1, TEST_KEY_TTL_S)
    try:
        redis.event_log().set(TEST_KEY, 1, ex=TEST_KEY_TTL_S)
    except (redis.RedisError, OSError) as e:
        raise Degraded("event logs cannot be written: runs under way are shown by their own process alone") from e
    # The log accepts writes, but new runs are refused.
    if (room := capacity.cached_usage()).refuses_runs:
        raise Degraded(f"event logs take {room.percent} % of their bound: no run begins")


def _beat() -> None:
    try:
        seen = redis.probe_client().get(beat_scheduler.HEARTBEAT_KEY)
    except (redis.RedisError, OSError) as e:  # a cache that hangs says nothing of beat
        raise Degraded("not known: the cache does not answer") from e
    if seen is None or time.time() - float(seen) > MAX_BEAT_SILENCE_S:
        raise Degraded("beat has not reported")


def _disk() -> None:
    # The disk of the embedded servers' data, mails and logs.
    folder = next(each for each in (settings.LUNAOS_HOME, *settings.LUNAOS_HOME.parents) if each.exists())
    if shutil.disk_usage(folder).free < settings.MIN_FREE_BYTES:
        raise Degraded("the disk is almost full")


def _queue() -> dict[str, Any]:
    backlog, oldest_s = health_checks.queue_backlogs()["chains"]
    unfinished, size, unserved_s = health_checks.indexing_backlog()
    waiting: dict[str, Any] = {"backlog": backlog, "oldestWaitingS": round(oldest_s, 1)}
    waiting["indexing"] = {"backlog": unfinished, "bytes": size, "oldestWaitingS": round(unserved_s, 1)}
    seen = redis.client().get(HEARTBEAT_KEY)
    if seen is None or time.time() - float(seen) > MAX_WORKER_SILENCE_S:
        raise Degraded("no worker has reported", waiting)
    if oldest_s > MAX_CHAIN_WAIT_S:
        raise Degraded("chains wait for a worker", waiting)
    if unserved_s > MAX_INDEXING_WAIT_S:
        raise Degraded("index jobs wait for a worker", waiting)
    return waiting


def _llm() -> dict[str, Any]:
    provider = providers.default_provider()
    if not provider.configured:
        raise Degraded("no language model is set up")
    # Of beat's last connection: a check of its own could not be repeated for each request.
    return provider_reachability.last_result(provider.base_url)


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
    """Return the report, and whether all required parts are up."""
    services = health_checks.run_checks(CHECKS)
    statuses = {name: service["status"] for name, service in services.items()}
    report = {
        "status": "ok" if set(statuses.values()) == {"ok"} else "degraded",
        "version": __version__,
        "timestamp": datetime.now(UTC),
        "services": services,
    }
    return report, all(statuses[name] != "down" for name in REQUIRED_PARTS)
