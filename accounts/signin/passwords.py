"""Passwords: checked, changed by who knows the old one, reset by who reads the account's mail."""

from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest

from accounts import mail_limits, tasks
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import MailTokenInvalid, WrongPassword
from accounts.models import User
from accounts.privacy import registry
from accounts.signin import backends, lockout, second_factor, signed_tokens
from lunaos.errors import ValidationFailed
from lunaos.infra import read_access
from lunaos.infra.task_queue import enqueue


def validate(password: str, user: User, *, field: str = "password") -> None:
    """Hold a new password against Django's validators.

    Args:
        field: the request's, for the error.

    Raises:
        ValidationFailed: it is too common, all digits, or resembles the address or name.
    """
    try:
        validate_password(password, user)
    except ValidationError as e:
        fields = [
            {"field": field, "message": error.messages[0], "code": error.code or "invalid"} for error in e.error_list
        ]
        raise ValidationFailed(fields=fields) from e


def reauthenticate(*, request: HttpRequest, user: User, password: str, otp: str) -> None:
    """Have a user who is signed in prove it once more; failures count towards the lockout.

    Args:
        otp: a code of the second factor, for an account that has one.

    Raises:
        WrongPassword: it is not this user's, or the account is locked.
        OtpRequired, OtpInvalid: the password is right, the code of the second factor is not.
    """
    if authenticate(request, username=user.email, password=password) != user:
        raise WrongPassword()
    attempt = backends.attempt_of(request)
    second_factor.require(user=user, code=otp, attempt=attempt)
    lockout.record_success(attempt)


def change(*, request: HttpRequest, user: User, current: str, new: str, otp: str = "") -> User:
    """Set another password; all sessions end.

    Returns:
        The user as it is now, for a fresh token.

    Raises:
        WrongPassword: `current` is not the password, or has been changed at this very moment.
        OtpRequired, OtpInvalid: of an account with a second factor.
        ValidationFailed: `new` breaks a rule.
    """
    validate(new, user, field="newPassword")  # first, so that a rule that is broken costs no code
    reauthenticate(request=request, user=user, password=current, otp=otp)
    if not _replace(user, new, Action.PASSWORD_CHANGED):
        raise WrongPassword()
    user.refresh_from_db()
    return user


def request_reset(email: str) -> None:
    """Have a token mailed to an address, if it has an account. Takes the same steps for any address."""
    user = User.objects.filter(email=email, is_active=True).first()
    trail.record_on_commit(Action.PASSWORD_RESET_REQUESTED, subject=user)
    if mail_limits.allow("password_reset", email):
        enqueue.on_commit(tasks.send_password_reset, *tasks.recipient_args(user))


def send_reset(user: User, *, actor: User) -> bool:
    """Have a token mailed to a user on behalf of staff, who never see it.

    Returns:
        Whether a mail goes out: not to a closed account, and not when there were too many in this hour.
    """
    if not user.is_active or not mail_limits.allow("password_reset", user.email):
        return False
    trail.record_on_commit(Action.PASSWORD_RESET_REQUESTED, actor=actor, subject=user)
    enqueue.on_commit(tasks.send_password_reset, *tasks.recipient_args(user))
    return True


@transaction.atomic
def reset(*, token: str, password: str) -> None:
    """Set another password with a token from a mail; all sessions end, and a lockout does.

    Raises:
        MailTokenInvalid: it was used, also by a parallel request, is too old, or the password was changed meanwhile.
        ValidationFailed: the password breaks a rule; the token stays good.
    """
    user = signed_tokens.read(signed_tokens.PASSWORD_RESET, token)
    validate(password, user)
    if not _replace(user, password, Action.PASSWORD_RESET):
        raise MailTokenInvalid()
    if user.email_verified_at is None:  # whoever made the account may have been somebody else
        for source in registry.data_sources():
            source.revoke_access(user)
    # who reads the account's mail has shown that the address is theirs
    User.objects.filter(pk=user.pk).update(email_verified_at=Coalesce("email_verified_at", Now()))
    lockout.unlock(user.email)
    lockout.remember_address(user)


def _replace(user: User, password: str, action: Action) -> bool:
    """Write a password over the one that `user` was read with."""
    hashed = make_password(password)
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, password=user.password, is_active=True).update(password=hashed):
            return False
        read_access.publish_change(user.pk)
        trail.record_on_commit(action, actor=user, subject=user)
        if mail_limits.allow_notice(user.email, confirmed=user.email_verified_at is not None):
            enqueue.on_commit(tasks.send_password_changed, str(user.pk))
    return True
