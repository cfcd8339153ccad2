"""Whether an account's address is its owner's."""

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts import audit, mail_limit, mail_tokens, outbox, tasks
from accounts.audit import Action
from accounts.errors import EmailNotVerified, MailTokenInvalid
from accounts.models import User


def verify(token: str) -> None:
    """Take an address for confirmed, with the token that was mailed to it.

    Raises:
        MailTokenInvalid: it was used, also by a parallel request, or is too old.
    """
    user = mail_tokens.read(mail_tokens.VERIFICATION, token)
    with transaction.atomic():
        if not User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=Now()):
            raise MailTokenInvalid()
        audit.record(Action.EMAIL_VERIFIED, actor=user, subject=user)


def resend(user: User) -> None:
    """Mail another token; nothing happens where the address is confirmed, or too many were mailed."""
    if user.email_verified_at is None and mail_limit.take("verification", user.email):
        outbox.enqueue(tasks.send_verification, str(user.pk))


def require(user: User) -> None:
    """Raises EmailNotVerified where runs need a confirmed address and this one is not.

    Accounts that are older than the default of a platform with a mail provider are exempt from that default.
    """
    exempt = user.verification_exempt and not settings.REQUIRE_VERIFIED_EMAIL_OF_ALL
    if settings.REQUIRE_VERIFIED_EMAIL and user.email_verified_at is None and not exempt:
        audit.record(Action.RUN_REFUSED, actor=user, subject=user, reason=EmailNotVerified.code)
        raise EmailNotVerified()
