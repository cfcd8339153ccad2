"""Signed tokens for mails, which expire and are valid for one use."""

# The server stores no token. A token carries a digest of the state that its use changes. The use is a conditional
# update of that state, so that one of two parallel uses wins. Django's PasswordResetTokenGenerator does not fit: its
# tokens do not name the user, and one setting limits the age of all tokens.

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.core import signing
from django.utils.crypto import salted_hmac

from accounts.errors import MailTokenInvalid
from accounts.models import User


@dataclass(frozen=True, slots=True)
class Purpose:
    """Purpose of a token, with the user's state in which the token is valid."""

    name: str
    max_age: timedelta
    state: Callable[[User], str]

    @property
    def salt(self) -> str:
        return f"accounts.mail.{self.name}"


PASSWORD_RESET = Purpose(
    "password_reset", timedelta(hours=24), lambda user: f"{user.email} {user.credentials_fingerprint}"
)
VERIFICATION = Purpose("verification", timedelta(days=7), lambda user: f"{user.email} {user.email_verified_at}")


def sign(purpose: Purpose, user: User) -> str:
    """Return a token for a user, valid for one use."""
    return signing.dumps([str(user.pk), _state_digest(purpose, user)], salt=purpose.salt, compress=True)


def read(purpose: Purpose, token: str) -> User:
    """Return the user of a token, or raise MailTokenInvalid."""
    try:
        user_id, digest = signing.loads(token, salt=purpose.salt, max_age=purpose.max_age)
    except (signing.BadSignature, ValueError, TypeError) as e:
        raise MailTokenInvalid() from e
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not hmac.compare_digest(digest, _state_digest(purpose, user)):
        raise MailTokenInvalid()
    return user


def _state_digest(purpose: Purpose, user: User) -> str:
    return salted_hmac(purpose.salt, purpose.state(user), algorithm="sha256").hexdigest()[:32]
