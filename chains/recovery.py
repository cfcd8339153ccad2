"""Chains whose worker has died go on elsewhere; messages that the broker has lost are sent again."""

import logging
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from chains import queue
from lunaos.infra import redis
from lunaos.infra.database import AWAY
from runs import leases, outages, outcomes
from runs.models import Run, Status

LOST_AFTER_S = 5
RESEND_INTERVAL_S = 300
logger = logging.getLogger(__name__)


def recover() -> None:
    """Put orphaned chains back into the queue; end those that keep killing their workers.

    A chain is an orphan when its lease has not been renewed for LEASE_S. Its claim counts the executions, so that what
    the old worker may still write is refused. One chain's trouble does not keep the others.

    While the database was away, hung or refused writes nobody could renew a lease (`runs.outages`).
    """
    orphans = outages.run_query(lambda: list(leases.expired(settings.LEASE_S).exclude(chain="")))
    if outages.is_recent():
        return
    for run in orphans:
        try:
            outages.run_query(partial(_recover, run))
        except AWAY:
            raise
        except Exception:
            logger.exception("Chain %s cannot be taken up", run.pk)
    _resend_lost_messages()


def _recover(run: Run) -> None:
    if run.cancel_requested_at or run.losses >= settings.MAX_CHAIN_CRASHES:
        outcomes.interrupt(run, settings.LEASE_S)
    elif leases.requeue(run):
        logger.warning("Chain %s has lost its worker and goes on elsewhere", run.pk)
        queue.enqueue(run.pk)


def _resend_lost_messages() -> None:
    """A message can be lost with a worker that had just taken it, or with the broker's memory.

    With nothing in the queue, whatever waits has been lost. In a backlog a lost one cannot be told from the others, so
    now and then all that have waited long are sent again: what comes twice is refused by its claim.
    """
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
