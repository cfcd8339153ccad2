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


def delete_own_account(*, request: HttpRequest, user: User, password: str, otp: str = "") -> bool:
    """Delete a user's own account.

    Returns:
        Whether it is gone; else it is closed, and a later attempt deletes it.

    Raises:
        WrongPassword, OtpRequired, OtpInvalid, LastSuperuser: nothing happens then.
    """
    passwords.reauthenticate(request=request, user=user, password=password, otp=otp)
    return delete_account(user)


def delete_account(user: User) -> bool:
    """Close an account at once, tokens and keys with it, and delete all of it.

    Returns:
        Whether it is gone; else something that must be ended first cannot be reached, and beat tries again.

    Raises:
        LastSuperuser: nothing happens then.
    """
    changes = {"is_active": False, "session_epoch": F("session_epoch") + 1}
    with transaction.atomic():
        superusers.require_another_superuser(user.pk)
        User.objects.filter(pk=user.pk).update(erasing_since=Coalesce("erasing_since", Now()), **changes)
        suspension.stop_activity(user)
    try:
        _delete_data(user)
    except Exception as e:  # whatever a payment provider, Valkey or the database raises
        alerts.send("account_not_erased", "An account could not be deleted yet.", user_id=str(user.pk), error=repr(e))
        return False
    return True


def retry_pending() -> None:
    """Try again to delete what could not be deleted."""
    for user in User.objects.exclude(erasing_since=None):
        try:
            delete_account(user)
        except LastSuperuser as e:  # closed by a release that did not look
            alerts.send("account_not_erased", str(e), user_id=str(user.pk))


def _delete_data(user: User) -> None:
    for source in registry.data_sources():
        source.prepare_deletion(user)
    with transaction.atomic():
        # for update: who adds a row of this user at this moment waits, and finds the user gone
        mine = User.objects.select_for_update().filter(pk=user.pk).first()
        if mine is None:
            return
        for source in registry.data_sources():
            source.delete(mine)
        trail.anonymise(mine.pk)
        mine.delete()
        with client_info.without_client():  # the row that says why addresses are gone goes with them, or neither does
            trail.record_in_transaction(Action.DELETED, subject=user)
