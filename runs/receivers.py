"""Receivers of signals about accounts."""

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.staff.suspension import closed
from runs import services
from runs.models import UNFINISHED, Run


@receiver(closed)
def cancel_runs(user: User, **_: Any) -> None:
    """Cancel the runs of a closed account."""
    # They count only if they showed text, since the owner did not cancel them.
    for run in Run.objects.filter(user=user, status__in=UNFINISHED):
        services.cancel(run, by_staff=True)
