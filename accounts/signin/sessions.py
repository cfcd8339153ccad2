"""The end of sessions, from the next request on and in every process."""

import secrets

from django.db import transaction
from django.db.models import F

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.signin import jwt
from lunaos.infra import read_access


@transaction.atomic
def end(*, user: User, token: str) -> None:
    """End the session that a token stands for."""
    jwt.revoke(token)
    read_access.publish_change(user.pk)
    trail.record_on_commit(Action.LOGGED_OUT, actor=user, subject=user)


@transaction.atomic
def end_all(user: User, *, actor: User | None = None) -> None:
    """End all of a user's sessions, those in the admin too; API keys go on.

    Args:
        actor: the staff member who does; None for the user.
    """
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    read_access.publish_change(user.pk)
    trail.record_on_commit(Action.LOGGED_OUT_EVERYWHERE, actor=actor or user, subject=user)


def end_all_of_all_users() -> None:
    """End all sessions of all users, also those that were ended before the database was set back to an earlier time.

    A random number is none that somebody's sessions have been counted to.
    """
    User.objects.update(session_epoch=secrets.randbelow(2**30))
    read_access.publish_change(None)
