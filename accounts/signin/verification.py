"""Whether an account's address is its owner's."""

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
    """Take an address for confirmed, with the token that was mailed to it.

    Raises:
        MailTokenInvalid: it was used, also by a parallel request, or is too old.
    """
    user = signed_tokens.read(signed_tokens.VERIFICATION, token)
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=Now()):
            raise MailTokenInvalid()
        trail.record_on_commit(Action.EMAIL_VERIFIED, actor=user, subject=user)


def resend(user: User) -> None:
    """Mail another token; nothing happens where the address is confirmed, or too many were mailed."""
    if user.email_verified_at is None and mail_limits.allow("verification", user.email):
        enqueue.on_commit(tasks.send_verification, str(user.pk))


def require_verified_email(user: User) -> None:
    """Raises EmailNotVerified where runs need a confirmed address and this one is not.

    Accounts that are older than the default of a platform with a mail provider are exempt from that default.
    """
    exempt = user.verification_exempt and not settings.REQUIRE_VERIFIED_EMAIL_OF_ALL
    if settings.REQUIRE_VERIFIED_EMAIL and user.email_verified_at is None and not exempt:
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=EmailNotVerified.code)
        raise EmailNotVerified()
