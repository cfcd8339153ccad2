"""Signed links in e-mails of releases before 2026-12, which open Stripe's portal without a sign-in."""

# Today's mails lead to the page with the sign-in. The old links work until they expire, two weeks after the mail.

from datetime import timedelta

from django.core import signing

from accounts.models import User

SALT = "billing.portal"
MAX_AGE = timedelta(days=14)


def verify(token: str) -> User | None:
    """Return the user of a link's token, or None if the link is not valid any more."""
    try:
        user_id, email = signing.loads(token, salt=SALT, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return User.objects.filter(pk=user_id, email=email, is_active=True).first()
