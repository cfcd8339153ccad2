"""Prometheus metrics that all processes share: queues, event log, heartbeat."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lunaos import __version__
from lunaos.infra import redis
from lunaos.infra.observability import metrics
from lunaos.infra.ttl_cache import TtlCache
from runs.metering import spending
from web import health_checks
from web.tasks import EVENT_LOG_KEY, HEARTBEAT_KEY

SHORT_JOBS_QUEUE = "celery"  # the queue of short jobs, in Valkey alone; other jobs have rows


def _database() -> dict[str, Any]:
    waiting = health_checks.queue_backlogs()  # first, since `query` renews a stale connection
    spent = spending.cost_today()
    _, size, unserved_s = health_checks.indexing_backlog()
    indexing = {"bytes": size, "unserved_s": unserved_s}
    return {
        "waiting": waiting,
        "indexing": indexing,
        "spent": {"free": float(spent.free), "paying": float(spent.total - spent.free)},
    }


def _cache() -> dict[str, Any]:
    with redis.client().pipeline(transaction=False) as pipeline:
        pipeline.llen(SHORT_JOBS_QUEUE)
        pipeline.lindex(SHORT_JOBS_QUEUE, -1)
        pipeline.mget(HEARTBEAT_KEY, EVENT_LOG_KEY)
        pipeline.info("memory")
        length, oldest, (heartbeat, event_log), memory = pipeline.execute()
    return {
        "waiting": {SHORT_JOBS_QUEUE: (length, _message_age_s(oldest))},
        "heartbeat": heartbeat and float(heartbeat),
        "event_log": event_log and orjson.loads(event_log),
        "memory": {"used": memory["used_memory"], "limit": memory["maxmemory"]},
    }


def _message_age_s(message: bytes | None) -> float:
    with suppress(ValueError, KeyError, TypeError):
        # The header that `lunaos.celery` adds; a message of another program has none.
        return max(0.0, time.time() - float(orjson.loads(message or b"")["headers"]["sent_at"]))
    return 0.0


CHECKS: dict[str, health_checks.Check] = {"database": _database, "cache": _cache}
shared_figures = TtlCache(lambda: health_checks.run_checks(CHECKS))


class SharedMetrics(Collector):
    """Collector of the shared metrics; each web process reports the same values."""

    def collect(self) -> Iterator[Metric]:
        # A part that is down costs its own metrics only.
        found = shared_figures()
        cache = found["cache"]
        up = {name: int(part["status"] == "ok") for name, part in found.items()}
        waiting = found["database"].get("waiting", {}) | cache.get("waiting", {})
        lengths, ages = ({queue: each[n] for queue, each in waiting.items()} for n in (0, 1))
        log = cache.get("event_log") or {}
        spent = found["database"].get("spent", {})
        indexing = found["database"].get("indexing", {})
        yield _labelled_gauge("version", "lunaos_build_info", "The version that answers.", {__version__: 1})
        yield _labelled_gauge("part", "lunaos_dependency_up", "Whether PostgreSQL and Valkey answer.", up)
        yield _labelled_gauge("queue", "lunaos_queue_length", "Jobs that no worker has taken yet.", lengths)
        yield _labelled_gauge("queue", "lunaos_queue_oldest_seconds", "How long the oldest of them has waited.", ages)
        yield _gauge("lunaos_index_backlog_bytes", "Files that wait for indexing.", indexing.get("bytes"))
        yield _gauge(
            "lunaos_index_unserved_seconds",
            "Longest wait of an owner none of whose index jobs has started, in seconds.",
            indexing.get("unserved_s"),
        )
        yield _labelled_gauge(
            "tier", "lunaos_spend_usd_today", "What the server's provider keys cost since midnight UTC.", spent
        )
        yield _labelled_gauge(
            "kind", "lunaos_valkey_memory_bytes", "Used, and the limit (0: none).", cache.get("memory", {})
        )
        yield _gauge(
            "lunaos_worker_heartbeat_timestamp_seconds", "When beat's last job was done.", cache.get("heartbeat")
        )
        yield _gauge("lunaos_event_log_runs", "Runs whose events Valkey holds.", log.get("runs"))
        full = {kind: log[kind] for kind in ("accounted", "bound") if kind in log}
        yield _labelled_gauge("kind", "lunaos_event_log_room_bytes", "Accounted for event logs, and their bound.", full)
        yield _gauge("lunaos_event_log_bytes", "What they take there, by a sample.", log.get("bytes"))


def _labelled_gauge(label: str, name: str, documentation: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation)
    if value is not None:
        family.add_metric([], value)
    return family


_SHARED = CollectorRegistry()
_SHARED.register(SharedMetrics())


def exposition() -> bytes:
    """Return this process's metrics and the shared ones in Prometheus' format."""
    return metrics.exposition() + generate_latest(_SHARED)
