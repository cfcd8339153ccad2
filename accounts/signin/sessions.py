"""Ending of sessions, in every process from the next request on."""

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
    jwt.revoke(token)
    read_access.publish_change(user.pk)
    trail.record_on_commit(Action.LOGGED_OUT, actor=user, subject=user)


@transaction.atomic
def end_all(user: User, *, actor: User | None = None) -> None:
    """End all sessions of a user, including the admin's; API keys stay valid."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    read_access.publish_change(user.pk)
    trail.record_on_commit(Action.LOGGED_OUT_EVERYWHERE, actor=actor or user, subject=user)


def end_all_of_all_users() -> None:
    """End all sessions of all users, after a restore."""
    # A random epoch, because the old database may have counted beyond the restored epoch plus one.
    User.objects.update(session_epoch=secrets.randbelow(2**30))
    read_access.publish_change(None)
