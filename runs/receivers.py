"""What follows for runs on what becomes of an account."""

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.staff.suspension import account_closed
from runs import services
from runs.models import UNFINISHED, Run


@receiver(account_closed)
def cancel_runs(user: User, **_: Any) -> None:
    """Cancel what is under way; it counts only for what was shown, since the owner did not ask for its end."""
    for run in Run.objects.filter(user=user, status__in=UNFINISHED):
        services.cancel(run, by_staff=True)
