"""Sign-up and sign-in."""

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts import mail_limits, tasks
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import EmailTaken, InvalidCredentials
from accounts.models import User
from accounts.signin import backends, lockout, passwords, second_factor
from lunaos.infra.task_queue import enqueue


def sign_up(*, email: str, password: str, name: str) -> User:
    """Create an account and send the welcome mail, within the mail limits of the address.

    Raises ValidationFailed for a weak password, or EmailTaken, in any letter case.
    """
    passwords.validate(password, User(email=email, name=name))
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name)
            trail.record_on_commit(Action.SIGNED_UP, actor=user, subject=user)
    except IntegrityError as e:
        raise EmailTaken() from e
    lockout.remember_address(user)
    if mail_limits.allow("welcome", user.email, limit=mail_limits.MAX_MAILS_PER_HOUR):
        enqueue.on_commit(tasks.send_welcome, str(user.pk))
    return user


def log_in(*, request: HttpRequest, email: str, password: str, otp: str = "") -> User:
    """Check an address in any letter case, a password, and the code of a second factor.

    Raises InvalidCredentials, also for a locked account; OtpRequired or OtpInvalid only if the password is right.
    """
    # An unknown address and a lockout take the same time as a wrong password.
    user = authenticate(request, username=email, password=password)
    if not isinstance(user, User):
        raise InvalidCredentials()
    second_factor.require(user=user, code=otp, attempt=backends.attempt_of(request))
    with transaction.atomic():  # one commit for four writes
        user_logged_in.send(User, request=request, user=user)
    return user
