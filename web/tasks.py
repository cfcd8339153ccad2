"""What beat has done for the platform as a whole: a sign of life, and notes of what will be looked at later."""

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
    """Note whether the model providers that /health tells of accept connections."""
    provider_reachability.probe([providers.default_provider().base_url, settings.EMBEDDINGS_BASE_URL])


@worker_ready.connect
def first_heartbeat(**_: object) -> None:
    """Do not wait for beat: a worker that has just started is there, and can look at providers beside its work."""
    worker_heartbeat()
    threading.Thread(target=reach_providers, name="reach-providers", daemon=True).start()


@shared_task(name="web.tasks.note_audit_head")
def note_audit_head() -> None:
    """Log where the audit trail ends: proof, for `verify_audit --head`, should rows be cut off its end later."""
    if head := trail.head():
        logger.info("The audit trail ends at %s", head)


@shared_task(name="web.tasks.summarise_audit")
def summarise_audit() -> None:
    trail.summarise()


@shared_task(name="web.tasks.forget_expired")
def forget_expired() -> None:
    """Drop what has had its time: counters of failed sign-ins, addresses, ended tokens, sessions, spending, usage."""
    lockout.delete_expired()
    jwt.delete_expired()
    SessionStore.clear_expired()
    spending.delete_expired()
    usage_carryover.forget_past_months()


@shared_task(name="web.tasks.finish_erasures")
def finish_erasures() -> None:
    """Delete accounts that could not be deleted when it was asked for."""
    deletion.finish_all()


@shared_task(name="web.tasks.note_backlogs")
def note_backlogs() -> None:
    """Write down how many chains and index jobs wait for a worker."""
    for queue, (length, _) in health_checks.queue_backlogs().items():
        stats.note_backlog(queue, length)


@shared_task(name="web.tasks.measure_event_log")
def measure_event_log() -> None:
    """Shorten the logs of runs that have ended, write down what all take, and sound alarms where that is much."""
    runs, size = log.size()
    room = capacity.sweep()
    found = {"runs": runs, "bytes": size, "accounted": room.bytes, "bound": room.bound}
    redis.client().set(EVENT_LOG_KEY, orjson.dumps(found), ex=300)
    capacity.sound_alarms(room)
