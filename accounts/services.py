"""Sign-up and sign-in."""

from django.contrib.auth import authenticate
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts import audit, outbox, tasks
from accounts.audit import Action
from accounts.errors import EmailTaken, InvalidCredentials
from accounts.models import User
from lunaos.errors import ValidationFailed


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
            outbox.enqueue(tasks.send_welcome, str(user.pk))
            audit.record(Action.SIGNED_UP, actor=user, subject=user)
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
