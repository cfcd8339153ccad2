"""Confirmation of e-mail addresses."""

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts import mail_limits, tasks
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import EmailNotVerified, MailTokenInvalid
from accounts.models import User
from accounts.signin import signed_tokens
from lunaos.infra.task_queue import enqueue


def verify(token: str) -> None:
    """Confirm an address with the token that was mailed to it, or raise MailTokenInvalid."""
    user = signed_tokens.read(signed_tokens.VERIFICATION, token)
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=Now()):
            raise MailTokenInvalid()
        trail.record_on_commit(Action.EMAIL_VERIFIED, actor=user, subject=user)


def resend(user: User) -> None:
    """Mail another token, unless the address is confirmed or has reached its mail limit."""
    if user.email_verified_at is None and mail_limits.allow("verification", user.email):
        enqueue.on_commit(tasks.send_verification, str(user.pk))


def resend_for_staff(user: User, *, actor: User) -> bool:
    """Mail another token on behalf of staff; return False if it is confirmed, closed, or at its mail limit."""
    if user.email_verified_at or not user.is_active or not mail_limits.allow("verification", user.email):
        return False
    trail.record_on_commit(Action.VERIFICATION_REQUESTED, actor=actor, subject=user)
    enqueue.on_commit(tasks.send_verification, str(user.pk))
    return True


def request(email: str) -> None:
    """Mail another token to an address whose account is not confirmed, with the same steps for any address."""
    user = User.objects.filter(email=email, email_verified_at=None, is_active=True).first()
    if mail_limits.allow("verification", email):
        enqueue.on_commit(tasks.send_verification, *tasks.recipient_args(user))


def require_verified_email(user: User) -> None:
    """Raise EmailNotVerified if runs need a confirmed address and this one is not confirmed."""
    # Accounts that existed before the rule are exempt, unless LUNAOS_REQUIRE_VERIFIED_EMAIL demands it of all.
    exempt = user.verification_exempt and not settings.REQUIRE_VERIFIED_EMAIL_OF_ALL
    if settings.REQUIRE_VERIFIED_EMAIL and user.email_verified_at is None and not exempt:
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=EmailNotVerified.code)
        raise EmailNotVerified()
