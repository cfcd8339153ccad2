"""Validation, change and reset of passwords."""

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
    """Check a new password with Django's validators, or raise ValidationFailed for the field."""
    try:
        validate_password(password, user)
    except ValidationError as e:
        fields = [
            {"field": field, "message": error.messages[0], "code": error.code or "invalid"} for error in e.error_list
        ]
        raise ValidationFailed(fields=fields) from e


def reauthenticate(*, request: HttpRequest, user: User, password: str, otp: str) -> None:
    """Check a signed-in user's password again; raise WrongPassword (also if locked), OtpRequired or OtpInvalid."""
    if authenticate(request, username=user.email, password=password) != user:
        raise WrongPassword()
    attempt = backends.attempt_of(request)
    second_factor.require(user=user, code=otp, attempt=attempt)
    lockout.record_success(attempt)


def change(*, request: HttpRequest, user: User, current: str, new: str, otp: str = "") -> User:
    """Set a new password and end all sessions; return the updated user for a new token.

    Raises WrongPassword (also after a parallel change), OtpRequired, OtpInvalid, or ValidationFailed for `new`.
    """
    validate(new, user, field="newPassword")  # first, so that a broken rule does not use up a code
    reauthenticate(request=request, user=user, password=current, otp=otp)
    if not _replace(user, new, Action.PASSWORD_CHANGED):
        raise WrongPassword()
    user.refresh_from_db()
    return user


def request_reset(email: str) -> None:
    """Mail a reset token to an address if it has an account, with the same steps for any address."""
    user = User.objects.filter(email=email, is_active=True).first()
    trail.record_on_commit(Action.PASSWORD_RESET_REQUESTED, subject=user)
    if mail_limits.allow("password_reset", email):
        enqueue.on_commit(tasks.send_password_reset, *tasks.recipient_args(user))


def send_reset(user: User, *, actor: User) -> bool:
    """Mail a reset token on behalf of staff; return False if the account or mail limits refuse."""
    # Staff never see the token.
    if not user.is_active or not mail_limits.allow("password_reset", user.email):
        return False
    trail.record_on_commit(Action.PASSWORD_RESET_REQUESTED, actor=actor, subject=user)
    enqueue.on_commit(tasks.send_password_reset, *tasks.recipient_args(user))
    return True


@transaction.atomic
def reset(*, token: str, password: str) -> bool:
    """Set a password with a mailed token; return whether keys of an unconfirmed address were revoked.

    Raises MailTokenInvalid, or ValidationFailed for a password that breaks a rule: the token then stays valid.
    """
    user = signed_tokens.read(signed_tokens.PASSWORD_RESET, token)
    validate(password, user)
    if not _replace(user, password, Action.PASSWORD_RESET):
        raise MailTokenInvalid()
    was_unconfirmed = user.email_verified_at is None
    if was_unconfirmed:  # a stranger may have created the account
        for source in registry.data_sources():
            source.revoke_access(user)
    # The token came by mail, so the user owns the address.
    User.objects.filter(pk=user.pk).update(email_verified_at=Coalesce("email_verified_at", Now()))
    lockout.unlock(user.email)
    lockout.remember_address(user)
    return was_unconfirmed


def _replace(user: User, password: str, action: Action) -> bool:
    # Replace the password that `user` was read with; return False if it has changed since.
    hashed = make_password(password)
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, password=user.password, is_active=True).update(password=hashed):
            return False
        read_access.publish_change(user.pk)
        trail.record_on_commit(action, actor=user, subject=user)
        if mail_limits.allow_notice(user.email, confirmed=user.email_verified_at is not None):
            enqueue.on_commit(tasks.send_password_changed, str(user.pk))
    return True
