"""Deletion of an account with all its data (docs/adr/0036)."""

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
    """Delete the user's own account; return False if a later attempt has to finish.

    Raises WrongPassword, OtpRequired, OtpInvalid or LastSuperuser: the account is then unchanged.
    """
    passwords.reauthenticate(request=request, user=user, password=password, otp=otp)
    return delete_account(user)


def delete_account(user: User) -> bool:
    """Close an account and delete its data; return False if beat has to retry. May raise LastSuperuser."""
    changes = {"is_active": False, "session_epoch": F("session_epoch") + 1}
    with transaction.atomic():
        superusers.require_another_superuser(user.pk)
        User.objects.filter(pk=user.pk).update(erasing_since=Coalesce("erasing_since", Now()), **changes)
        suspension.stop_activity(user)
    try:
        _delete_data(user)
    except Exception as e:  # any error of a payment provider, Valkey or the database
        alerts.send("account_not_erased", "An account could not be deleted yet.", user_id=str(user.pk), error=repr(e))
        return False
    return True


def retry_pending() -> None:
    """Try again to delete accounts whose deletion failed."""
    for user in User.objects.exclude(erasing_since=None):
        try:
            delete_account(user)
        except LastSuperuser as e:  # closed by a release without this check
            alerts.send("account_not_erased", str(e), user_id=str(user.pk))


def _delete_data(user: User) -> None:
    for source in registry.data_sources():
        source.prepare_deletion(user)
    with transaction.atomic():
        # With FOR UPDATE a request that adds a row of this user now waits, and then finds no user.
        locked = User.objects.select_for_update().filter(pk=user.pk).first()
        if locked is None:
            return
        for source in registry.data_sources():
            source.delete(locked)
        trail.anonymise(locked.pk)
        locked.delete()
        # In this transaction: verification accepts missing addresses only together with this row.
        with client_info.without_client():
            trail.record_in_transaction(Action.DELETED, subject=user)
