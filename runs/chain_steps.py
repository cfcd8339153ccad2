"""The stored steps of chains, until their retention."""

from django.db import transaction
from django.db.models.functions import Now

from runs import texts
from runs.models import Run, RunStep, Status


def load(run: Run) -> list[RunStep]:
    """Return a chain's steps in order; none once they have expired."""
    steps = RunStep.objects.filter(run_id=run.pk, expires_at=run.expires_at, expires_at__gt=Now())
    return list(steps.order_by("position"))


@transaction.atomic
def save(run: Run, step: RunStep, first_token_ms: int | None = None) -> bool:
    """Write a finished step; return False if this execution has lost the run."""
    # The run's first_token_ms is saved now, since a worker that dies later loses it.
    owned = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.RUNNING)
    if not owned.update(first_token_ms=first_token_ms):  # also locks the row
        return False
    RunStep.objects.filter(run_id=run.pk, expires_at=run.expires_at, position=step.position).delete()
    step.output = texts.strip_nul(step.output)
    step.save(force_insert=True)
    return True
