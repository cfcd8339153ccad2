"""What follows for billing on what becomes of an account."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.models import User
from billing import usage_carryover


@receiver(post_save, sender=User)
def restore_usage(instance: User, created: bool, **_: Any) -> None:
    """Count for a new account what its address has used this month, however the account is made."""
    if created:
        usage_carryover.restore_usage(instance)
