"""The deletion of an account, with all that belongs to it (docs/adr/0036)."""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest

from accounts.auditlog import alerts, trail
from accounts.auditlog.trail import Action
from accounts.errors import LastSuperuser
from accounts.models import User
from accounts.privacy import registry
from accounts.signin import passwords
from accounts.staff import superusers, suspension
from lunaos.infra import client_info


def delete_own(*, request: HttpRequest, user: User, password: str, otp: str = "") -> bool:
    """Delete a user's own account.

    Returns:
        Whether it is gone; else it is closed, and a later attempt deletes it.

    Raises:
        WrongPassword, OtpRequired, OtpInvalid, LastSuperuser: nothing happens then.
    """
    passwords.require(request=request, user=user, password=password, otp=otp)
    return delete(user)


def delete(user: User) -> bool:
    """Close an account at once, tokens and keys with it, and delete all of it.

    Returns:
        Whether it is gone; else something that must be ended first cannot be reached, and beat tries again.

    Raises:
        LastSuperuser: nothing happens then.
    """
    closed = {"is_active": False, "session_epoch": F("session_epoch") + 1}
    with transaction.atomic():
        superusers.spare_last(user.pk)
        User.objects.filter(pk=user.pk).update(erasing_since=Coalesce("erasing_since", Now()), **closed)
        suspension.stop(user)
    try:
        _finish(user)
    except Exception as e:  # whatever a payment provider, Valkey or the database raises
        alerts.send("account_not_erased", "An account could not be deleted yet.", user_id=str(user.pk), error=repr(e))
        return False
    return True


def finish_all() -> None:
    """Try again to delete what could not be deleted."""
    for user in User.objects.exclude(erasing_since=None):
        try:
            delete(user)
        except LastSuperuser as e:  # closed by a release that did not look
            alerts.send("account_not_erased", str(e), user_id=str(user.pk))


def _finish(user: User) -> None:
    for part in registry.all_parts():
        part.prepare(user)
    with transaction.atomic():
        # for update: who adds a row of this user at this moment waits, and finds the user gone
        mine = User.objects.select_for_update().filter(pk=user.pk).first()
        if mine is None:
            return
        for part in registry.all_parts():
            part.erase(mine)
        trail.erase(mine.pk)
        mine.delete()
        with client_info.without_client():  # the row that says why addresses are gone goes with them, or neither does
            trail.record_within(Action.DELETED, subject=user)
