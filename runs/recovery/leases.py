"""Leases on runs: renewed by the executor, free for others once expired."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import BooleanField, F, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from runs.models import Run, Status
from runs.recovery import liveness

# Rows that another transaction has locked are skipped, so that they do not delay the heartbeats of the other runs.
# All times are the database's, since the clocks of several machines differ.
RENEW = """
    WITH owned AS (
        SELECT runs_run.id, cancel_requested_at FROM runs_run
        JOIN unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS given (id, attempt)
            ON runs_run.id = given.id AND runs_run.attempt = given.attempt
        WHERE status = 'running'
    ),
    free AS (SELECT id FROM runs_run WHERE id IN (SELECT id FROM owned) FOR NO KEY UPDATE SKIP LOCKED),
    renewed AS (
        UPDATE runs_run SET heartbeat_at = now()
        FROM free, unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS given (id, attempt)
        WHERE runs_run.id = free.id AND free.id = given.id AND runs_run.attempt = given.attempt AND status = 'running'
    )
    SELECT id, cancel_requested_at IS NOT NULL FROM owned
"""

# Fair between owners: first the chain whose owner would have the fewest chains running, then the chain that waits
# longest. SKIP LOCKED: workers that claim at the same time take different chains.
CLAIM_NEXT = """
    UPDATE runs_run SET status = 'running', attempt = attempt + 1, heartbeat_at = now()
    WHERE status = 'queued' AND id = (
        SELECT run.id FROM runs_run AS run JOIN (
            SELECT id, COALESCE(busy.chains, 0)
                + row_number() OVER (PARTITION BY user_id ORDER BY heartbeat_at, id) AS turn
            FROM runs_run LEFT JOIN (
                SELECT user_id, count(*) AS chains FROM runs_run
                WHERE status = 'running' AND chain <> '' GROUP BY user_id
            ) AS busy USING (user_id)
            WHERE status = 'queued' AND chain <> ''
        ) AS waiting ON waiting.id = run.id
        WHERE run.status = 'queued' ORDER BY turn, heartbeat_at, run.id LIMIT 1
        FOR NO KEY UPDATE OF run SKIP LOCKED
    )
    RETURNING id
"""


def expired(seconds: float) -> QuerySet[Run]:
    """Return runs in status running whose last heartbeat is older than `seconds`."""
    return Run.objects.filter(_expired(seconds))


def abandoned(seconds: float) -> QuerySet[Run]:
    """Return expired runs, those of a dead process after DEAD_EXECUTOR_AFTER_S."""
    dead = RawSQL(liveness.EXECUTOR_IS_DEAD, [], output_field=BooleanField())  # noqa: S611 - a constant  # nosec B611 - likewise
    return Run.objects.filter(_expired(seconds) | (_expired(settings.DEAD_EXECUTOR_AFTER_S) & Q(dead)))


def _expired(seconds: float) -> Q:
    return Q(status=Status.RUNNING, heartbeat_at__lt=Now() - timedelta(seconds=seconds))


def renew(attempts: dict[UUID, int]) -> dict[UUID, bool]:
    """Renew the leases of runs, given the attempt of each; skip those that are lost.

    Returns:
        By run id, whether the run's cancellation was requested.
    """
    parameters: dict[str, Any] = {"ids": list(attempts), "attempts": list(attempts.values())}
    with connection.cursor() as cursor:
        cursor.execute(RENEW, parameters)
        return dict(cursor.fetchall())


def claim(run_id: UUID) -> Run | None:
    """Claim a queued chain, or one with an expired lease; return None if taken."""
    free = Run.objects.filter(Q(status=Status.QUEUED) | _expired(settings.LEASE_S), pk=run_id)
    if not free.update(status=Status.RUNNING, attempt=F("attempt") + 1, heartbeat_at=Now()):
        return None
    return Run.objects.get(pk=run_id)


def claim_next(run_id: UUID) -> Run | None:
    """Claim the next queued chain, else the given one if its lease has expired."""
    # There is one message per queued chain, so a worker may take another chain than that of its message.
    with connection.cursor() as cursor:
        claimed = cursor.execute(CLAIM_NEXT).fetchone()
    return Run.objects.get(pk=claimed[0]) if claimed else claim(run_id)


def release(run: Run, first_token_ms: int | None) -> bool:
    # No row matches if another worker has claimed the chain meanwhile.
    owned = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.RUNNING)
    return bool(owned.update(status=Status.QUEUED, heartbeat_at=Now(), first_token_ms=first_token_ms))


def requeue(run: Run) -> bool:
    """Requeue a chain with an expired lease; return False if it was renewed."""
    # The crash is counted: `recovery` ends a chain that keeps crashing its workers.
    orphan = Run.objects.filter(_expired(settings.LEASE_S), pk=run.pk)
    return bool(orphan.update(status=Status.QUEUED, heartbeat_at=Now(), losses=F("losses") + 1))
