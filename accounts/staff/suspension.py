"""Disabling and enabling of accounts: a disabled account accepts no password, token or key."""

from functools import partial

from django.db import transaction
from django.db.models import F
from django.dispatch import Signal

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.staff import superusers
from lunaos.infra import read_access

account_closed = Signal()  # sent with `user`, after the commit that disables an account or starts its deletion


@transaction.atomic
def disable(user: User, *, actor: User) -> bool:
    """Disable an account and stop its activity; return whether it changed. May raise LastSuperuser."""
    superusers.require_another_superuser(user.pk)
    changes = {"is_active": False, "session_epoch": F("session_epoch") + 1}
    if not User.objects.filter(pk=user.pk, is_active=True).update(**changes):
        return False
    stop_activity(user)
    trail.record_on_commit(Action.DISABLED, actor=actor, subject=user)
    return True


def stop_activity(user: User) -> None:
    """Close the readers and cancel the runs of a closed account, after the current transaction has committed."""
    read_access.publish_change(user.pk)
    transaction.on_commit(partial(account_closed.send_robust, sender=User, user=user))


@transaction.atomic
def enable(user: User, *, actor: User) -> bool:
    """Enable an account unless it is being deleted."""
    # Its API keys are valid again, its sessions are not.
    if not User.objects.filter(pk=user.pk, is_active=False, erasing_since=None).update(is_active=True):
        return False
    trail.record_on_commit(Action.ENABLED, actor=actor, subject=user)
    return True
