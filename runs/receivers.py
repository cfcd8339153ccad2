from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.staff.suspension import account_closed
from runs import services
from runs.models import UNFINISHED, Run


@receiver(account_closed)
def cancel_runs(user: User, **_: Any) -> None:
    for run in Run.objects.filter(user=user, status__in=UNFINISHED):
        # By staff: the execution then counts only if text was shown, since the owner did not cancel it.
        services.cancel(run, by_staff=True)
