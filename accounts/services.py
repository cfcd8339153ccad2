"""Sign-up and sign-in."""

import logging

from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from kombu.exceptions import OperationalError

from accounts import tasks
from accounts.errors import EmailTaken, InvalidCredentials
from accounts.models import User
from lunaos.errors import ValidationFailed

logger = logging.getLogger(__name__)


def sign_up(*, email: str, password: str, name: str) -> User:
    """Make an account and send the welcome mail.

    Raises:
        ValidationFailed: the password is too common, all digits, or resembles the address or name.
        EmailTaken: the address, in any letter case, has an account.
    """
    _check_password(password, User(email=email, name=name))
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name)
            transaction.on_commit(lambda: _send_welcome(user))
    except IntegrityError as e:
        raise EmailTaken() from e
    return user


def log_in(*, request: HttpRequest, email: str, password: str) -> User:
    """Check an address and a password; an unknown address takes the same time as a wrong password.

    Raises:
        InvalidCredentials: unknown address, wrong password or disabled account.
    """
    user = authenticate(request, username=email, password=password)
    if not isinstance(user, User):
        raise InvalidCredentials()
    return user


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as e:
        fields = [
            {"field": "password", "message": error.messages[0], "code": error.code or "invalid"}
            for error in e.error_list
        ]
        raise ValidationFailed(fields=fields) from e


def _send_welcome(user: User) -> None:
    """Enqueue; a queue that is down costs the mail, never the sign-up."""
    try:
        tasks.send_welcome.apply_async((str(user.pk),), retry=False)
    except OperationalError:
        logger.warning("The welcome mail was not queued", exc_info=True)
