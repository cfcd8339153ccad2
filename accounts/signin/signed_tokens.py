"""Tokens that go out by mail: signed, with an end, and dead as soon as what they were made for has happened.

None is stored. A token carries a state of the state that it is to change; whoever uses it changes that state in a
conditional update, so that of two parallel uses one wins.
"""

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
    """What a token is for.

    Args:
        state: of a user, the state that makes the token good.
    """

    name: str
    max_age: timedelta
    state: Callable[[User], str]

    @property
    def salt(self) -> str:
        return f"accounts.mail.{self.name}"


PASSWORD_RESET = Purpose(
    "password_reset", timedelta(minutes=30), lambda user: f"{user.email} {user.credentials_fingerprint}"
)
VERIFICATION = Purpose("verification", timedelta(days=3), lambda user: f"{user.email} {user.email_verified_at}")


def sign(purpose: Purpose, user: User) -> str:
    """A token for a user, good for one use."""
    return signing.dumps([str(user.pk), _state_digest(purpose, user)], salt=purpose.salt, compress=True)


def read(purpose: Purpose, token: str) -> User:
    """The user a token was made for.

    Raises:
        MailTokenInvalid: forged, too old, used, or made for another state of the account.
    """
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
