"""Links for mails that open Stripe's portal: signed, for two weeks, which is how long payments are tried again."""

from datetime import timedelta

from django.conf import settings
from django.core import signing

from accounts.models import User

SALT = "billing.portal"
MAX_AGE = timedelta(days=14)


def create(user: User) -> str:
    """A link for a user's mail; empty for an address that is not known to be the user's."""
    if user.email_verified_at is None:
        return ""
    token = signing.dumps([str(user.pk), user.email], salt=SALT)
    return f"{settings.PUBLIC_URL}/portal?token={token}"


def verify(token: str) -> User | None:
    """Whose link it is; None for a forged or an old one, another address meanwhile, or a user who is gone."""
    try:
        user_id, email = signing.loads(token, salt=SALT, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return User.objects.filter(pk=user_id, email=email, is_active=True).first()
