"""Reactions to signals: a changed or deleted account, and each sign-in and sign-out."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.signin import lockout
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
    """Close readers whose credential ends with this write."""
    if created or not CREDENTIAL_FIELDS & set(update_fields or CREDENTIAL_FIELDS):
        return
    if instance.is_active:
        read_access.publish_change(instance.pk)
    else:
        suspension.stop_activity(instance)


@receiver(pre_delete, sender=User)
def protect_last_superuser_from_deletion(instance: User, **_: Any) -> None:
    superusers.require_another_superuser(instance.pk)


@receiver(user_login_failed)
def record_failed_login(credentials: dict[str, Any], request: HttpRequest, **_: Any) -> None:
    lockout.record_failure(credentials["username"] or "", getattr(request, "sign_in_attempt", None))


@receiver(user_logged_in)
def record_login(request: HttpRequest, user: User, **_: Any) -> None:
    """Reset the lockout's counter and remember the address."""
    if attempt := getattr(
        request, "sign_in_attempt", None
    ):  # a session made without a password has none: Django's test client
        lockout.record_success(attempt)
    lockout.remember_address(user)
    trail.record_on_commit(Action.LOGGED_IN, actor=user, subject=user)


@receiver(user_logged_out)
def record_logout(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is None:
        return
    if hasattr(request, "session"):
        request.session.delete()  # Django deletes it after this signal: a reader's check would still find the session
    read_access.publish_change(user.pk)
    trail.record_on_commit(Action.LOGGED_OUT, actor=user, subject=user)
