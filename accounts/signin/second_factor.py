"""Second factor: codes of an authenticator app (RFC 6238), and backup codes for a lost app."""

from django.db import transaction
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import OtpInvalid, OtpRequired
from accounts.models import User
from accounts.signin import lockout

BACKUP_CODE_COUNT = 10
APP_DEVICE_NAME, BACKUP_DEVICE_NAME = "authenticator", "backup codes"


def is_enrolled(user: User) -> bool:
    return TOTPDevice.objects.filter(user=user, confirmed=True).exists()


def verify(user: User, code: str) -> Device | None:
    """Return the device of a valid code: six digits of the app, or a backup code, each valid once."""
    # After each failure, codes are refused for a growing time.
    kind = TOTPDevice if code.isdecimal() else StaticDevice
    with transaction.atomic():
        device = kind.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is not None and device.verify_token(code.lower()):
            return device
    trail.record_on_commit(Action.SECOND_FACTOR_FAILED, subject=user)
    return None


def require(*, user: User, code: str, attempt: lockout.SignInAttempt) -> None:
    """Require a valid code if the account has a second factor; raise OtpRequired or OtpInvalid."""
    if not is_enrolled(user) or (code and verify(user, code)):
        return
    lockout.record_failure(user.email, attempt)
    raise OtpInvalid() if code else OtpRequired()


def require_for_session(*, user: User, code: str) -> None:
    """Require a valid code of a signed-in user, in a request without a password; raise as `require`."""
    if not is_enrolled(user):
        return
    attempt = lockout.count_attempt(user.email)
    if attempt is None:
        lockout.record_failure(user.email, None)
        raise OtpInvalid()
    require(user=user, code=code, attempt=attempt)
    lockout.record_success(attempt)


def pending_device(user: User) -> TOTPDevice:
    """Return the device that a user is setting up, the same until a code confirms it."""
    device = TOTPDevice.objects.filter(user=user, confirmed=False).order_by("pk").first()
    return device or TOTPDevice.objects.create(user=user, name=APP_DEVICE_NAME, confirmed=False)


def enrol(user: User, code: str) -> tuple[TOTPDevice, list[str]] | None:
    """Confirm the pending device; return it with the backup codes, which are shown once."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        device = TOTPDevice.objects.select_for_update().filter(pk=pending_device(user).pk).get()
        if not is_enrolled(user) and device.verify_token(code):
            device.confirmed = True
            device.save(update_fields=["confirmed"])
            trail.record_on_commit(Action.SECOND_FACTOR_SET, actor=user, subject=user)
            return device, _create_backup_codes(user)
    trail.record_on_commit(Action.SECOND_FACTOR_FAILED, actor=user, subject=user)
    return None


def is_throttled(user: User) -> bool:
    """Return whether a wrong code was sent a moment ago, so that right codes are refused too."""
    allowed, _ = pending_device(user).verify_is_allowed()
    return not allowed


@transaction.atomic
def remove(user: User, *, actor: User | None = None) -> None:
    """Remove a lost factor; at the next sign-in the admin asks for a new one."""
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    trail.record_on_commit(Action.SECOND_FACTOR_RESET, actor=actor, subject=user)


def _create_backup_codes(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name=BACKUP_DEVICE_NAME)
    tokens = [StaticToken(device=device, token=StaticToken.random_token()) for _ in range(BACKUP_CODE_COUNT)]
    return [each.token for each in StaticToken.objects.bulk_create(tokens)]
