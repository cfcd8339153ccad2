"""Signed links in e-mails, which open Stripe's portal.

A link is valid for two weeks, as long as Stripe retries a payment.
"""

from datetime import timedelta

from django.conf import settings
from django.core import signing

from accounts.models import User

SALT = "billing.portal"
MAX_AGE = timedelta(days=14)


def create(user: User) -> str:
    """Return a link for an e-mail to a user; empty for an unverified address."""
    if user.email_verified_at is None:
        return ""
    token = signing.dumps([str(user.pk), user.email], salt=SALT)
    return f"{settings.PUBLIC_URL}/portal?token={token}"


def verify(token: str) -> User | None:
    """Return the user of a link's token.

    The result is None for a forged or expired token, a changed address and a deleted user.
    """
    try:
        user_id, email = signing.loads(token, salt=SALT, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return User.objects.filter(pk=user_id, email=email, is_active=True).first()
