"""Accounts that staff close for a while: nobody gets in with a password, token or key until they are opened again."""

from functools import partial

from django.db import transaction
from django.db.models import F
from django.dispatch import Signal

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.staff import superusers
from lunaos.infra import read_access

account_closed = Signal()  # with `user`, after the commit that disables an account or begins its deletion


@transaction.atomic
def disable(user: User, *, actor: User) -> bool:
    """Close an account; its sessions end, in the admin too, its readers are closed and its runs are cancelled.

    Returns:
        Whether it was open.

    Raises:
        LastSuperuser: nothing happens then.
    """
    superusers.require_another_superuser(user.pk)
    changes = {"is_active": False, "session_epoch": F("session_epoch") + 1}
    if not User.objects.filter(pk=user.pk, is_active=True).update(**changes):
        return False
    stop_activity(user)
    trail.record_on_commit(Action.DISABLED, actor=actor, subject=user)
    return True


def stop_activity(user: User) -> None:
    """Stop what goes on for an account that was closed, once the transaction under way has committed."""
    read_access.publish_change(user.pk)
    transaction.on_commit(partial(account_closed.send_robust, sender=User, user=user))


@transaction.atomic
def enable(user: User, *, actor: User) -> bool:
    """Open an account again; its API keys open with it, its sessions do not.

    Returns:
        Whether it was closed; one that is being deleted stays so.
    """
    if not User.objects.filter(pk=user.pk, is_active=False, erasing_since=None).update(is_active=True):
        return False
    trail.record_on_commit(Action.ENABLED, actor=actor, subject=user)
    return True
