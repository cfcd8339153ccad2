"""What beat has done for the platform as a whole: a sign of life, and notes of what will be looked at later."""

import logging
import time

import orjson
from celery import shared_task
from celery.signals import worker_ready
from django.contrib.sessions.backends.db import SessionStore

from accounts import audit, erasure, lockout, tokens
from billing import addresses
from lunaos import redis
from runs import figures, log, spending
from web import parts

HEARTBEAT_KEY = "lunaos:worker-heartbeat"
EVENT_LOG_KEY = "lunaos:event-log-size"
logger = logging.getLogger(__name__)


@shared_task
def worker_heartbeat() -> None:
    redis.client().set(HEARTBEAT_KEY, time.time(), ex=300)


@worker_ready.connect
def first_heartbeat(**_: object) -> None:
    """Do not wait for beat: a worker that has just started is there."""
    worker_heartbeat()


@shared_task
def note_audit_head() -> None:
    """Log where the audit trail ends: proof, for `verify_audit --head`, should rows be cut off its end later."""
    if head := audit.head():
        logger.info("The audit trail ends at %s", head)


@shared_task
def forget_expired() -> None:
    """Drop what has had its time: counters of failed sign-ins, addresses, ended tokens, sessions, spending, usage."""
    lockout.delete_expired()
    tokens.delete_expired()
    SessionStore.clear_expired()
    spending.delete_expired()
    addresses.forget_past_months()


@shared_task
def finish_erasures() -> None:
    """Delete accounts that could not be deleted when it was asked for."""
    erasure.finish_all()


@shared_task
def note_backlogs() -> None:
    """Write down how many chains and index jobs wait for a worker."""
    for queue, (length, _) in parts.waiting().items():
        figures.note_backlog(queue, length)


@shared_task
def measure_event_log() -> None:
    """Write down how much of Valkey the events of runs take."""
    runs, size = log.size()
    redis.client().set(EVENT_LOG_KEY, orjson.dumps({"runs": runs, "bytes": size}), ex=300)
