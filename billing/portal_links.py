"""Links for mails that open Stripe's portal: signed, for two weeks, which is how long payments are tried again."""

from datetime import timedelta

from django.conf import settings
from django.core import signing

from accounts.models import User

SALT = "billing.portal"
VALID_FOR = timedelta(days=14)


def make(user: User) -> str:
    """A link for a user's mail."""
    return f"{settings.PUBLIC_URL}/portal?token={signing.dumps(str(user.pk), salt=SALT)}"


def read(token: str) -> User | None:
    """Whose link it is; None for a forged or an old one, or a user who is gone."""
    try:
        user_id = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    except signing.BadSignature:
        return None
    return User.objects.filter(pk=user_id, is_active=True).first()
