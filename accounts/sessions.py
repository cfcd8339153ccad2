"""The end of sessions, from the next request on and in every process."""

import secrets

from django.db import transaction
from django.db.models import F

from accounts import audit, tokens
from accounts.audit import Action
from accounts.models import User
from lunaos import access


@transaction.atomic
def end(*, user: User, token: str) -> None:
    """End the session that a token stands for."""
    tokens.revoke(token)
    access.changed(user.pk)
    audit.record(Action.LOGGED_OUT, actor=user, subject=user)


@transaction.atomic
def end_all(user: User, *, by: User | None = None) -> None:
    """End all of a user's sessions, those in the admin too; API keys go on.

    Args:
        by: the staff member who does; None for the user.
    """
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    access.changed(user.pk)
    audit.record(Action.LOGGED_OUT_EVERYWHERE, actor=by or user, subject=user)


def end_everybodys() -> None:
    """End all sessions of all users, also those that were ended before the database was set back to an earlier time.

    A random number is none that somebody's sessions have been counted to.
    """
    User.objects.update(session_epoch=secrets.randbelow(2**30))
    access.changed(None)
