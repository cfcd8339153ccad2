"""What follows on a change of an account, whichever form, command or line of code makes it."""

from typing import Any

from django.db.models.signals import post_save, pre_delete, pre_save
from django.dispatch import receiver

from accounts.models import User
from accounts.staff import superusers, suspension
from lunaos.infra import read_access

CREDENTIAL_FIELDS = {"is_active", "is_staff", "password", "session_epoch"}


@receiver(pre_save, sender=User)
def protect_last_superuser(instance: User, update_fields: Any, **_: Any) -> None:
    """Raise LastSuperuser where this write disables or demotes the last superuser."""
    written = set(superusers.SUPERUSER_FLAGS) & set(update_fields or superusers.SUPERUSER_FLAGS)
    remains_superuser = all(getattr(instance, name) for name in superusers.SUPERUSER_FLAGS)
    if written and not remains_superuser and not instance._state.adding:
        superusers.require_another_superuser(instance.pk)


@receiver(post_save, sender=User)
def close_readers(instance: User, created: bool, update_fields: Any, **_: Any) -> None:
    """Close readers whose credential ends with this write; of a disabled account cancel the runs too."""
    if created or not CREDENTIAL_FIELDS & set(update_fields or CREDENTIAL_FIELDS):
        return
    if instance.is_active:
        read_access.publish_change(instance.pk)
    else:
        suspension.stop_activity(instance)


@receiver(pre_delete, sender=User)
def protect_last_superuser_from_deletion(instance: User, **_: Any) -> None:
    """Raise LastSuperuser where the last superuser is deleted."""
    superusers.require_another_superuser(instance.pk)
