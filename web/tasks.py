"""Periodic tasks of the platform as a whole."""

import logging
import threading
import time

import orjson
from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore

from accounts.auditlog import trail
from accounts.privacy import deletion
from accounts.signin import jwt, lockout
from agents import providers
from billing import usage_carryover
from lunaos.infra import redis
from runs import stats
from runs.eventlog import capacity, log
from runs.metering import spending
from web import health_checks, provider_reachability

HEARTBEAT_KEY = "lunaos:worker-heartbeat"
EVENT_LOG_KEY = "lunaos:event-log-size"
logger = logging.getLogger(__name__)


@shared_task(name="web.tasks.worker_heartbeat")
def worker_heartbeat() -> None:
    redis.client().set(HEARTBEAT_KEY, time.time(), ex=300)


@shared_task(name="web.tasks.reach_providers")
def reach_providers() -> None:
    provider_reachability.probe([providers.default_provider().base_url, settings.EMBEDDINGS_BASE_URL])


@worker_ready.connect
def first_heartbeat(**_: object) -> None:
    # Before beat's first run, so that /health is right at once.
    worker_heartbeat()
    threading.Thread(target=reach_providers, name="reach-providers", daemon=True).start()


@shared_task(name="web.tasks.note_audit_head")
def note_audit_head() -> None:
    if head := trail.head():
        # A proof for `verify_audit --head`, if rows are cut off later.
        logger.info("The audit trail ends at %s", head)


@shared_task(name="web.tasks.summarise_audit")
def summarise_audit() -> None:
    trail.summarise()


@shared_task(name="web.tasks.forget_expired")
def forget_expired() -> None:
    lockout.delete_expired()
    jwt.delete_expired()
    SessionStore.clear_expired()
    spending.delete_expired()
    usage_carryover.delete_past_months()


@shared_task(name="web.tasks.finish_erasures")
def finish_erasures() -> None:
    # Deletions that could not be completed at once.
    deletion.retry_pending()


@shared_task(name="web.tasks.note_backlogs")
def note_backlogs() -> None:
    for queue, (length, _) in health_checks.queue_backlogs().items():
        stats.record_backlog(queue, length)


@shared_task(name="web.tasks.measure_event_log")
def measure_event_log() -> None:
    runs, size = log.size()
    room = capacity.sweep()
    found = {"runs": runs, "bytes": size, "accounted": room.used_bytes, "bound": room.max_bytes}
    redis.client().set(EVENT_LOG_KEY, orjson.dumps(found), ex=300)
    capacity.send_alerts(room)
