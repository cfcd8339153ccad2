"""A run's life: begun with a reservation, finished once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import User
from billing import quota
from lunaos.errors import NotFound
from runs.models import Charge, Run, RunText, Status

GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Args:
        output: what was produced; kept also when the run failed later on.
        produced: whether any of the answer reached the log, which is what makes the execution count.
        first_token_ms: from the request to the first piece of answer, None where none came.
    """

    status: Status
    provider: str
    model: str
    error_code: str = ""
    output: str = ""
    produced: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    duration_ms: int = 0
    first_token_ms: int | None = None


@transaction.atomic
def begin(*, user: User, agent: str, provider: str, model: str, text: str, request_id: str) -> tuple[Run, quota.Usage]:
    """Reserve an execution and write the run.

    Raises:
        QuotaExceeded: nothing is written then.
    """
    usage = quota.reserve(user=user)
    now = datetime.now(UTC)
    run = Run(
        user=user,
        agent=agent,
        provider=provider,
        model=model,
        charged_month=usage.month,
        request_id=request_id,
        created_at=now,
    )
    run.save(force_insert=True)
    RunText(run_id=run.pk, created_at=now, input=text).save(force_insert=True)
    return run, usage


@transaction.atomic
def finish(run: Run, outcome: Outcome) -> bool:
    """Write how a run ended, and settle or release its execution.

    Returns:
        False where somebody else had finished it: the first one counts, and the quota changes once.
    """
    charge = Charge.SETTLED if outcome.produced else Charge.RELEASED
    changed = Run.objects.filter(pk=run.pk, status=Status.RUNNING).update(
        status=outcome.status,
        provider=outcome.provider,
        model=outcome.model,
        error_code=outcome.error_code,
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        cost_usd=outcome.cost_usd,
        duration_ms=outcome.duration_ms,
        first_token_ms=outcome.first_token_ms,
        charge=charge,
        finished_at=datetime.now(UTC),
    )
    if not changed:
        return False
    if outcome.output:
        RunText.objects.filter(run_id=run.pk, created_at=run.created_at).update(output=outcome.output)
    if charge == Charge.RELEASED:
        quota.release(user_id=run.user_id, month=run.charged_month)
    return True


def get(*, user: User, run_id: UUID) -> tuple[Run, RunText | None]:
    """One's own run and its texts; no texts once the retention has dropped them.

    Raises:
        NotFound: no such run, or another user's.
    """
    run = Run.objects.filter(pk=run_id, user=user).first()
    if run is None:
        raise NotFound("There is no such run.")
    return run, RunText.objects.filter(run_id=run.pk, created_at=run.created_at).first()


def end_abandoned(now: datetime | None = None) -> int:
    """End runs that nobody executes any more and give their executions back.

    A process that was killed never finishes its runs, and a stream whose client left while the view still worked never
    starts. Either is older than any run may last.

    Returns:
        How many were ended.
    """
    now = now or datetime.now(UTC)
    oldest = now - timedelta(seconds=settings.LLM_RUN_TIMEOUT_S) - GRACE
    return sum(
        finish(run, Outcome(Status.INTERRUPTED, run.provider, run.model, error_code="interrupted"))
        for run in Run.objects.filter(status=Status.RUNNING, created_at__lt=oldest).iterator()
    )
