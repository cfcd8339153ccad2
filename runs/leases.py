"""Who executes a run: a lease that its executor renews and that another may take when it runs out.

Times are the database's, since the clocks of several machines differ.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import BooleanField, F, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from runs import liveness
from runs.models import Run, Status

# A row that somebody else has locked keeps the others of its process from showing life no longer than itself.
RENEW = """
    WITH mine AS (
        SELECT runs_run.id, cancel_requested_at FROM runs_run
        JOIN unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS asked (id, attempt)
            ON runs_run.id = asked.id AND runs_run.attempt = asked.attempt
        WHERE status = 'running'
    ),
    free AS (SELECT id FROM runs_run WHERE id IN (SELECT id FROM mine) FOR NO KEY UPDATE SKIP LOCKED),
    beaten AS (
        UPDATE runs_run SET heartbeat_at = now()
        FROM free, unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS asked (id, attempt)
        WHERE runs_run.id = free.id AND free.id = asked.id AND runs_run.attempt = asked.attempt AND status = 'running'
    )
    SELECT id, cancel_requested_at IS NOT NULL FROM mine
"""

# Owners take turns: first the chain whose owner would have the fewest under way, then the one that waits longest. Rows
# that another worker is claiming are passed over, so that workers that ask together take different ones.
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
    """Running, by their row, without a sign of life for so long."""
    return Run.objects.filter(_expired(seconds))


def abandoned(seconds: float) -> QuerySet[Run]:
    """Running, by their row, without a sign of life for so long, or for DEAD_EXECUTOR_AFTER_S if it died."""
    gone = RawSQL(liveness.EXECUTOR_IS_DEAD, [], output_field=BooleanField())  # noqa: S611 - a constant  # nosec B611 - likewise
    return Run.objects.filter(_expired(seconds) | (_expired(settings.DEAD_EXECUTOR_AFTER_S) & Q(gone)))


def _expired(seconds: float) -> Q:
    return Q(status=Status.RUNNING, heartbeat_at__lt=Now() - timedelta(seconds=seconds))


def renew(attempts: dict[UUID, int]) -> dict[UUID, bool]:
    """Say that these runs are being executed.

    Args:
        attempts: the run's id and which execution of it this is.

    Returns:
        Those that still are this process's to execute, and whether their owner wants them cancelled.
    """
    parameters: dict[str, Any] = {"ids": list(attempts), "attempts": list(attempts.values())}
    with connection.cursor() as cursor:
        cursor.execute(RENEW, parameters)
        return dict(cursor.fetchall())


def claim(run_id: UUID) -> Run | None:
    """Take a waiting chain, or one whose executor has died, for this process to execute.

    Returns:
        None where it has ended, or somebody else executes it.
    """
    free = Run.objects.filter(Q(status=Status.QUEUED) | _expired(settings.LEASE_S), pk=run_id)
    if not free.update(status=Status.RUNNING, attempt=F("attempt") + 1, heartbeat_at=Now()):
        return None
    return Run.objects.get(pk=run_id)


def claim_next(run_id: UUID) -> Run | None:
    """Take the waiting chain whose turn it is, for this process to execute.

    There is a message for each waiting chain, so it does not matter for which one a worker has been woken.

    Args:
        run_id: the chain of the message; taken where none waits and its executor has died.

    Returns:
        None where there is nothing to execute.
    """
    with connection.cursor() as cursor:
        claimed = cursor.execute(CLAIM_NEXT).fetchone()
    return Run.objects.get(pk=claimed[0]) if claimed else claim(run_id)


def release(run: Run, first_token_ms: int | None) -> bool:
    """Let another process claim a chain of this process.

    Args:
        first_token_ms: from the run's creation to the first piece of any answer, None before it.

    Returns:
        Whether the chain still was this execution's to give.
    """
    mine = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.RUNNING)
    return bool(mine.update(status=Status.QUEUED, heartbeat_at=Now(), first_token_ms=first_token_ms))


def requeue(run: Run) -> bool:
    """Let another process claim a chain whose executor has died, and count the loss; whether it was silent still."""
    orphan = Run.objects.filter(_expired(settings.LEASE_S), pk=run.pk)
    return bool(orphan.update(status=Status.QUEUED, heartbeat_at=Now(), losses=F("losses") + 1))
