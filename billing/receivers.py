"""Signal receivers of billing."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.models import User
from billing import usage_carryover


@receiver(post_save, sender=User)
def restore_usage(instance: User, created: bool, **_: Any) -> None:
    """Restore the month's usage of a new account's address, however it is created."""
    if created:
        usage_carryover.restore_usage(instance)
