"""Requeue chains whose worker has died, and resend lost messages."""

import logging
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from chains import queue
from lunaos.infra import redis
from lunaos.infra.database import OUTAGES
from runs import outcomes
from runs.models import Run, Status
from runs.recovery import leases, outages

LOST_AFTER_S = 5
RESEND_INTERVAL_S = 300
logger = logging.getLogger(__name__)


def recover() -> None:
    """Requeue orphaned chains; end those that keep crashing their workers."""
    # A chain is orphaned if its lease has not been renewed for LEASE_S. Each claim raises the attempt, so later
    # writes of the old worker are refused. An error of one chain does not stop the others. Nothing is requeued after
    # an outage of the database, during which no worker could renew its lease (`runs.recovery.outages`).
    orphans = outages.run_query(lambda: list(leases.expired(settings.LEASE_S).exclude(chain="")))
    if outages.is_recent():
        return
    for run in orphans:
        try:
            outages.run_query(partial(_recover, run))
        except OUTAGES:
            raise
        except Exception:
            logger.exception("Chain %s cannot be recovered", run.pk)
    _resend_lost_messages()


def _recover(run: Run) -> None:
    if run.cancel_requested_at or run.losses >= settings.MAX_CHAIN_CRASHES:
        outcomes.interrupt(run, settings.LEASE_S)
    elif leases.requeue(run):
        logger.warning("Chain %s has lost its worker and is requeued", run.pk)
        queue.enqueue(run.pk)


def _resend_lost_messages() -> None:
    # Resend messages of waiting chains that the broker or a worker has lost.
    # If the queue is empty, the messages of all waiting chains are lost. If not, a lost message looks like a waiting
    # one, so every RESEND_INTERVAL_S all messages that have waited that long are sent again; the claim ignores
    # duplicates.
    waiting = _waiting(LOST_AFTER_S)
    if not waiting.exists():
        return
    if queue.length() > 0:
        waiting = _waiting(RESEND_INTERVAL_S)
        if not redis.client().set("lunaos:chains-resent", 1, nx=True, ex=RESEND_INTERVAL_S):
            return
    for run in waiting:
        queue.enqueue(run.pk)


def _waiting(seconds: float) -> QuerySet[Run]:
    return Run.objects.filter(status=Status.QUEUED, heartbeat_at__lt=Now() - timedelta(seconds=seconds))
